"""Packed weights: the logical shape behind integers that hold several weights each.

What the names and shapes of the neighbours prove comes first (scales, zero points, ``quant_state``); the config's
bits decide only where they leave a choice.
"""

from __future__ import annotations

from math import prod

from whichgpu.inspect.quantisation import Published

_SCALES = (".weight_scale", ".scales", ".scale", ".weight_scale_inv")
_WORDS = {"I32": 32, "U32": 32, "I16": 16, "U16": 16}
_FOUR_BIT_GROUPS = (16, 32)
"""Inputs per scale of NVFP4 and MXFP4; INT8 has one scale per row."""

Shape = tuple[int, ...]


def unpacked_shape(
    pattern: str, dtype: str, shape: Shape, siblings: dict[str, Shape], published: Published | None
) -> Shape | None:
    """Return outputs × inputs of a packed weight, its own shape if it is quantised one to one, else ``None``.

    ``siblings`` maps every name pattern of the model to its shape.
    """
    base, _, last = pattern.rpartition(".")
    bits = int(published.record.bits) if published is not None and published.record.bits else None
    if last == "qweight" and dtype in _WORDS and len(shape) == 2:
        return _grouped_shape(base, shape, siblings, bits)
    if last == "weight_packed" and dtype in _WORDS and shape:
        return (*shape[:-1], shape[-1] * _WORDS[dtype] // (bits or 4))
    if last == "weight_packed" and shape:
        return (*shape[:-1], 2 * shape[-1])
    if last.endswith("_blocks") and len(shape) == 4:
        return shape[0], shape[1], shape[2] * shape[3] * 2
    if last == "weight" and dtype == "U32" and f"{base}.scales" in siblings and shape:
        return (*shape[:-1], shape[-1] * 32 // (bits or 4))
    if last == "W_q" and dtype in ("U8", "I32"):
        return (prod(shape) * (8 if dtype == "U8" else 32) // (bits or 4),)
    if dtype == "F4":
        return shape
    return (
        _bytes(pattern, base, dtype, shape, siblings, published) if dtype in ("U8", "I8") and last == "weight" else None
    )


def _grouped_shape(base: str, shape: Shape, siblings: dict[str, Shape], bits: int | None) -> Shape:
    """GPTQ packs inputs (inputs × bits / 32, outputs), AWQ packs outputs (inputs, outputs × bits / 32)."""
    scales, zeros = siblings.get(f"{base}.scales"), siblings.get(f"{base}.qzeros")
    outputs = scales[-1] if scales else shape[1]
    if outputs and outputs != shape[1]:
        return outputs, shape[0]
    if zeros and outputs and zeros[-1]:
        bits = max(1, 32 * zeros[-1] // outputs)
    return shape[1], shape[0] * 32 // (bits or 4)


def _bytes(
    pattern: str, base: str, dtype: str, shape: Shape, siblings: dict[str, Shape], published: Published | None
) -> Shape | None:
    """Tell two FP4 or NF4 weights in a byte from one INT8."""
    if f"{pattern}.quant_state.bitsandbytes__nf4" in siblings or f"{pattern}.quant_state.bitsandbytes__fp4" in siblings:
        return (2 * prod(shape),)
    if published is not None and published.record.method == "bitsandbytes":
        return (2 * prod(shape),) if (published.record.bits or 8) < 8 and dtype == "U8" else shape
    scale = next((siblings[base + s] for s in _SCALES if base + s in siblings), None)
    if scale and len(scale) >= 2 and len(shape) >= 2 and scale[-1] and 2 * shape[-1] // scale[-1] in _FOUR_BIT_GROUPS:
        return (*shape[:-1], 2 * shape[-1])
    return shape if scale is not None or f"{base}.SCB" in siblings else None


def detected_method(patterns: set[str]) -> str | None:
    """Name the quantisation that tensor names alone prove, for repositories whose config is silent."""
    if any(".quant_state.bitsandbytes__" in p for p in patterns) or any(p.endswith(".SCB") for p in patterns):
        return "bitsandbytes"
    if any(p.endswith(".qweight") for p in patterns):
        return "gptq or awq"
    if any(p.endswith("_blocks") for p in patterns):
        return "mxfp4"
    return "compressed-tensors" if any(p.endswith(".weight_packed") for p in patterns) else None
