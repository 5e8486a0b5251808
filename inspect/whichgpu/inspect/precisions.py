"""Weight formats: bits per weight and what their scales cost. Sources: vLLM 0.32 layers/quantization, OCP MX 1.0."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from whichgpu.inspect.weight_formats import WeightFormat

DTYPE_BITS: dict[str, int] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Bits per element of every safetensors dtype."""

_TORCH_DTYPES = {
    "bfloat16": "BF16",
    "float16": "F16",
    "half": "F16",
    "float32": "F32",
    "float": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
}


def safetensors_dtype(torch_name: object) -> str | None:
    """Translate ``torch.bfloat16`` or ``bfloat16`` to ``BF16``; ``None`` for anything unknown."""
    return _TORCH_DTYPES.get(torch_name.removeprefix("torch.")) if isinstance(torch_name, str) else None


@dataclass(frozen=True, slots=True)
class Scheme:
    """A quantised format of linear weights.

    ``bits`` are the bits of one weight. Scales cost ``scale_bits`` per ``group`` inputs (or per ``block`` of
    outputs × inputs, or per output row when neither is set); ``zero_bits`` per group come on top when asymmetric.
    """

    name: str
    format: WeightFormat
    bits: float
    scale_bits: int = 0
    group: int | None = None
    block: tuple[int, int] | None = None
    zero_bits: float = 0
    experts_only: bool = False
    """True for formats that are published for routed experts alone (MXFP4 of gpt-oss, FP4 of DeepSeek-V4)."""

    def bytes_of(self, shape: tuple[int, ...]) -> int:
        """Bytes of one weight of this logical shape (outputs × inputs), scales included."""
        weights = prod(shape)
        stored = ceil(weights * self.bits / 8)
        outputs, inputs = (shape[0], prod(shape[1:])) if len(shape) > 1 else (1, weights)
        if self.block is not None:
            scales = ceil(outputs / self.block[0]) * ceil(inputs / self.block[1])
        elif self.group is not None and self.group > 0:
            scales = outputs * ceil(inputs / self.group)
        else:
            scales = outputs
        return stored + ceil(scales * (self.scale_bits + self.zero_bits) / 8)


FP8_TENSOR = Scheme("fp8", WeightFormat.FP8, 8, scale_bits=0)
FP8_CHANNEL = Scheme("fp8", WeightFormat.FP8, 8, scale_bits=32)
"""A scale per output row (compressed-tensors, strategy ``channel``)."""

FP8_BLOCK = Scheme("fp8 block", WeightFormat.FP8, 8, scale_bits=32, block=(128, 128))
INT8 = Scheme("int8", WeightFormat.INT8, 8, scale_bits=32)
INT4_G128 = Scheme("int4", WeightFormat.INT4, 4, scale_bits=16, group=128)
MXFP4 = Scheme("mxfp4", WeightFormat.MXFP4, 4, scale_bits=8, group=32)
MXFP8 = Scheme("mxfp8", WeightFormat.MXFP8, 8, scale_bits=8, group=32)
NVFP4 = Scheme("nvfp4", WeightFormat.NVFP4, 4, scale_bits=8, group=16)
NF4 = Scheme("nf4", WeightFormat.NF4, 4, scale_bits=8, group=64)
