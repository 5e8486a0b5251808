"""What quantised weights are stored as: the type that sizes, kernels and rates go by."""

from __future__ import annotations

from enum import StrEnum


class WeightFormat(StrEnum):
    """Format of linear weights; the exact bits, groups and blocks stand beside it."""

    FP8 = "fp8"
    MXFP8 = "mxfp8"
    INT8 = "int8"
    """Integers of eight bits that are multiplied as such."""
    INT8_PACKED = "int8 packed"
    """Integers of five to eight bits that are unpacked to sixteen before they are multiplied (GPTQ, AutoRound)."""
    INT4 = "int4"
    """Integers of up to four bits with a scale per group of inputs."""
    NF4 = "nf4"
    """bitsandbytes' four bits, either kind."""
    NVFP4 = "nvfp4"
    MXFP4 = "mxfp4"


def formats_of_label(label: str) -> tuple[WeightFormat | None, WeightFormat | None]:
    """Return (format, experts' format) of a record that was kept before formats were typed, from its short label.

    Nothing else may read a label; what is inspected today carries its formats.
    """
    dense_label, plus, experts_label = label.lower().removesuffix(" experts").partition(" + ")
    if label.lower().startswith("gguf"):
        return None, None
    dense = _format_in(dense_label)
    if plus:
        experts = _format_in(experts_label)
        return (experts, dense) if experts in _EIGHT_BITS and dense not in _EIGHT_BITS else (dense, experts)
    return (None if label.endswith(" experts") else dense), dense


_EIGHT_BITS = (WeightFormat.FP8, WeightFormat.MXFP8, WeightFormat.INT8)


def _format_in(label: str) -> WeightFormat | None:
    if label.startswith(("gptq", "auto-round", "inc")) and any(word in label for word in _OLD_INTEGERS):
        return WeightFormat.INT8_PACKED
    if label.startswith("bitsandbytes"):
        return WeightFormat.INT8 if "int8" in label else WeightFormat.NF4 if " " in label else None
    for words, weight_format in _OLD_WORDS:
        if any(word in label for word in words):
            return weight_format
    return None


_OLD_INTEGERS = ("int8", "int7", "int6", "int5")
_OLD_WORDS = (
    (("nvfp4",), WeightFormat.NVFP4),
    (("mxfp4",), WeightFormat.MXFP4),
    (("mxfp8",), WeightFormat.MXFP8),
    (("fp8",), WeightFormat.FP8),
    (_OLD_INTEGERS, WeightFormat.INT8),
    (("int4", "int3", "int2", "w4a"), WeightFormat.INT4),
)
