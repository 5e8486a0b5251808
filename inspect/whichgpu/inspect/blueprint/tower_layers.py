"""Pieces that image and audio encoders and the blocks after them are made of."""

from __future__ import annotations

from whichgpu.inspect.blueprint.encoder_layers import number, times
from whichgpu.inspect.blueprint.table import Row, matrix, norm
from whichgpu.inspect.records import Part

__all__ = ["attention", "feed_forward", "layer_norms", "number", "times"]


def attention(
    part: Part,
    width: int,
    bias: bool = True,
    inner: int | None = None,
    kv: int | None = None,
    into: int | None = None,
    key_bias: bool = True,
    name: str = "attn",
) -> list[Row]:
    """q, k, v and o: ``inner`` wide inside, ``kv`` for keys and values, which may come from something ``into`` wide."""
    inner = inner or width
    kv, into = kv or inner, into or width
    rows = matrix(f"{name}.q_proj", part, inner, width, bias) + matrix(f"{name}.o_proj", part, width, inner, bias)
    return (
        rows
        + matrix(f"{name}.k_proj", part, kv, into, bias and key_bias)
        + matrix(f"{name}.v_proj", part, kv, into, bias)
    )


def feed_forward(
    part: Part, width: int, inner: int, bias: bool = True, gated: bool = False, name: str = "mlp"
) -> list[Row]:
    """Two matrices, or three with a gate."""
    rows = matrix(f"{name}.up", part, inner, width, bias) + matrix(f"{name}.down", part, width, inner, bias)
    return rows + (matrix(f"{name}.gate", part, inner, width, bias) if gated else [])


def layer_norms(width: int, count: int, kind: str = "layer") -> list[Row]:
    """So many norms of one width."""
    return [Row(row.name, row.part, row.shape, count) for row in norm("norms", width, kind)]
