"""From a list of tensors to groups: the same name, shape and dtype counted once, packed formats unpacked."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import NamedTuple

from whichgpu.inspect.headers import Tensor
from whichgpu.inspect.names import is_buffer, is_scale, part_of, pattern_of
from whichgpu.inspect.quantisation import Published
from whichgpu.inspect.records import Part, TensorGroup
from whichgpu.inspect.text import clean

_INTEGERS = frozenset({"I32", "U32", "I16", "U16"})
_BYTES = frozenset({"U8", "I8"})


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
    recurrent = _mixed_mixers(recurrent, counts)
    scales = _scale_widths(counts)
    return tuple(
        _group(key, count, stored, scales, published, recurrent)
        for key, (count, stored) in sorted(counts.items(), key=_by_name)
    )


def _by_name(item: tuple[_Key, list[int]]) -> tuple[str, str, tuple[int, ...]]:
    return item[0].pattern, item[0].dtype, item[0].shape


def _mixed_mixers(recurrent: set[str], counts: dict[_Key, list[int]]) -> set[str]:
    """Keep the mixers that are recurrent in every layer that has them (Kimi-Linear shares ``self_attn`` with MLA)."""
    latent = {k.pattern.partition(".kv_a_proj")[0] for k in counts if ".kv_a_proj" in k.pattern}
    return recurrent - latent


def _scale_widths(counts: dict[_Key, list[int]]) -> dict[str, tuple[int, ...]]:
    """Shape of the scale that stands beside each weight pattern."""
    widths: dict[str, tuple[int, ...]] = {}
    for key in counts:
        for suffix in (".weight_scale", ".scales", ".scale", ".weight_scale_inv"):
            if key.pattern.endswith(suffix):
                widths[key.pattern.removesuffix(suffix)] = key.shape
        if key.pattern.endswith("_scales"):
            widths[key.pattern.removesuffix("_scales") + "_blocks"] = key.shape
    return widths


def _group(
    key: _Key,
    count: int,
    stored: int,
    scales: dict[str, tuple[int, ...]],
    published: Published | None,
    recurrent: set[str],
) -> TensorGroup:
    part = part_of(key.pattern)
    if part is Part.ATTENTION and key.pattern.rsplit(".", 2)[0] in recurrent:
        part = Part.SSM
    factor, quantised = _packing(key, scales, published)
    no_parameters = (is_buffer(key.pattern) and _is_mask(key)) or (
        is_scale(key.pattern) and _beside_quantised(key, published)
    )
    logical = _unpacked_shape(key, factor)
    return TensorGroup(
        name=clean(key.pattern),
        part=part,
        shape=logical,
        count=count,
        dtype=key.dtype,
        parameters=0 if no_parameters else prod(key.shape) * count * factor,
        bytes=stored,
        quantised=quantised and not no_parameters,
    )


def _is_mask(key: _Key) -> bool:
    """A causal mask has a square or integer body; a projection's bias is a vector."""
    return not (key.pattern.endswith("bias") and len(key.shape) == 1)


def _beside_quantised(key: _Key, published: Published | None) -> bool:
    if key.pattern.endswith("biases"):
        return published is not None and published.record.method == "mlx"
    return not key.pattern.endswith("router.scale")


def _packing(key: _Key, scales: dict[str, tuple[int, ...]], published: Published | None) -> tuple[int, bool]:
    """Return (logical weights per stored element, whether the weight is quantised)."""
    if is_scale(key.pattern) or is_buffer(key.pattern):
        return 1, False
    base, _, last = key.pattern.rpartition(".")
    bits = int(published.record.bits) if published and published.record.bits else None
    if last in ("qweight", "weight_packed") and key.dtype in _INTEGERS:
        return (32 if "32" in key.dtype else 16) // (bits or 4), True
    if last == "weight_packed" or last.endswith("_blocks"):
        return 2, True
    if last == "weight" and key.dtype == "U32" and base in scales:
        return 32 // (bits or 4), True
    if key.dtype == "F4":
        return 1, True
    if key.dtype in _BYTES and last == "weight":
        return _packed_bytes(key, base, scales, published)
    return 1, key.dtype.startswith("F8_") and key.dtype != "F8_E8M0"


def _packed_bytes(
    key: _Key, base: str, scales: dict[str, tuple[int, ...]], published: Published | None
) -> tuple[int, bool]:
    """Tell FP4 pairs in a byte from INT8: a scale per 16 or 32 inputs belongs to FP4, one per row to INT8."""
    if published is not None and published.record.method == "bitsandbytes":
        packed = (published.record.bits or 8) < 8 and key.dtype == "U8"
        return (2, True) if packed else (1, key.dtype == "I8")
    scale = scales.get(base)
    if (
        scale
        and len(scale) >= 2
        and len(key.shape) >= 2
        and scale[-1] > 0
        and 2 * key.shape[-1] // scale[-1] in (16, 32)
    ):
        return 2, True
    return 1, scale is not None


def _unpacked_shape(key: _Key, factor: int) -> tuple[int, ...]:
    """Logical outputs × inputs of a packed weight; GPTQ stores inputs × outputs, AWQ packs the outputs."""
    if factor == 1 or not key.shape:
        return key.shape
    if key.pattern.endswith("_blocks") and len(key.shape) == 4:
        experts, rows, groups, width = key.shape
        return experts, rows, groups * width * factor
    if key.pattern.endswith(".qweight") and len(key.shape) == 2:
        return key.shape[1], key.shape[0] * factor
    return (*key.shape[:-1], key.shape[-1] * factor)
