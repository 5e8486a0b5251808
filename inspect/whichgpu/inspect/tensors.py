"""From a list of tensors to groups: the same name, shape and dtype counted once, packed formats unpacked."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import NamedTuple

from whichgpu.inspect.errors import UnreadableError
from whichgpu.inspect.headers import Tensor
from whichgpu.inspect.names import is_buffer, is_scale, part_of, pattern_of
from whichgpu.inspect.packing import unpacked_shape
from whichgpu.inspect.quantisation import Published
from whichgpu.inspect.records import Part, TensorGroup
from whichgpu.inspect.text import clean

MOST_GROUPS = 10_000
"""Of names, dtypes and shapes; published models have some hundreds, those with a width per layer a few thousand."""


class _Key(NamedTuple):
    pattern: str
    dtype: str
    shape: tuple[int, ...]


def group_tensors(
    tensors: Iterable[Tensor], layers: int | None, published: Published | None
) -> tuple[TensorGroup, ...]:
    """Group tensors and count the model's parameters in each group.

    Packed integers are unpacked: GPTQ and AWQ ``qweight``, compressed-tensors ``weight_packed``, NVFP4 and MXFP4
    bytes, bitsandbytes NF4, MLX. Scales and buffers count as bytes but not as parameters. Tensors of layers that
    hold a recurrent state (``A_log``) are put under SSM, whatever they are called.

    Raises:
        UnreadableError: the names form no layers, so that almost each is a group of its own.
    """
    counts: dict[_Key, list[int]] = {}
    recurrent = set[str]()
    for tensor in tensors:
        key = _Key(pattern_of(tensor.name, layers), tensor.dtype, tensor.shape)
        entry = counts.setdefault(key, [0, 0])
        entry[0] += 1
        entry[1] += tensor.bytes
        if tensor.name.endswith(".A_log"):
            recurrent.add(key.pattern.rpartition(".")[0])
        if len(counts) > MOST_GROUPS:
            raise UnreadableError(
                f"Over {MOST_GROUPS:,} tensors differ in name or shape and form no layers; that is no model."
            )
    recurrent = _mixed_mixers(recurrent, counts)
    siblings = {k.pattern: k.shape for k in counts}
    return tuple(
        _group(key, count, stored, siblings, published, recurrent)
        for key, (count, stored) in sorted(counts.items(), key=_by_name)
    )


def _by_name(item: tuple[_Key, list[int]]) -> tuple[str, str, tuple[int, ...]]:
    return item[0].pattern, item[0].dtype, item[0].shape


def _mixed_mixers(recurrent: set[str], counts: dict[_Key, list[int]]) -> set[str]:
    """Keep the mixers that are recurrent in every layer that has them.

    Kimi-Linear shares ``self_attn`` with MLA, Nemotron-H ``mixer`` with attention.
    """
    shared = {k.pattern.partition(".kv_a_proj")[0] for k in counts if ".kv_a_proj" in k.pattern}
    shared |= {k.pattern.partition(".q_proj")[0] for k in counts if ".mixer.q_proj" in k.pattern}
    return recurrent - shared


def _group(
    key: _Key,
    count: int,
    stored: int,
    siblings: dict[str, tuple[int, ...]],
    published: Published | None,
    recurrent: set[str],
) -> TensorGroup:
    part = part_of(key.pattern)
    if part is Part.ATTENTION and key.pattern.rsplit(".", 2)[0] in recurrent:
        part = Part.SSM
    packed = unpacked_shape(key.pattern, key.dtype, key.shape, siblings, published)
    mask = is_buffer(key.pattern) and _is_mask(key)
    scale = is_scale(key.pattern) and _beside_quantised(key, published)
    logical = packed or key.shape
    return TensorGroup(
        name=clean(key.pattern),
        part=part,
        shape=logical,
        count=count,
        dtype=key.dtype,
        parameters=0 if mask or scale else prod(logical) * count,
        bytes=stored,
        quantised=not mask and not scale and (packed is not None or _is_fp8(key.dtype)),
    )


def _is_fp8(dtype: str) -> bool:
    return dtype.startswith("F8_") and dtype != "F8_E8M0"


def _is_mask(key: _Key) -> bool:
    """A causal mask has a square or integer body; a projection's bias is a vector."""
    return not (key.pattern.endswith("bias") and len(key.shape) == 1)


def _beside_quantised(key: _Key, published: Published | None) -> bool:
    if key.pattern.endswith("biases"):
        return published is not None and published.record.method == "mlx"
    return not key.pattern.endswith("router.scale")
