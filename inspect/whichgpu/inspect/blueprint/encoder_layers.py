"""Pieces that encoders and encoder-decoders are made of."""

from __future__ import annotations

from whichgpu.inspect.blueprint.table import Row, matrix
from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.records import Part

_A, _F = Part.ATTENTION, Part.DENSE_FFN


def number(view: ConfigView, *keys: str) -> int:
    """A size that the config names, else 0."""
    return as_integer(view.value(*keys)) or 0


def self_attention(name: str, width: int, inner: int, bias: bool, key_bias: bool = True) -> list[Row]:
    """q, k, v and o of one attention block."""
    rows = matrix(f"{name}.q", _A, inner, width, bias) + matrix(f"{name}.k", _A, inner, width, bias and key_bias)
    return rows + matrix(f"{name}.v", _A, inner, width, bias) + matrix(f"{name}.o", _A, width, inner, bias)


def mlp(width: int, inner: int, bias: bool, gated: bool = False) -> list[Row]:
    """Two matrices, or three with a gate."""
    rows = matrix("mlp.fc1", _F, inner, width, bias) + matrix("mlp.fc2", _F, width, inner, bias)
    return rows + (matrix("mlp.gate", _F, inner, width, bias) if gated else [])


def times(rows: list[Row], layers: int, name: str = "layers") -> list[Row]:
    """The rows of one layer, for all of them."""
    return [Row(f"{name}.*.{r.name}", r.part, r.shape, r.count * layers, r.linear) for r in rows]
