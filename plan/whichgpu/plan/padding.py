"""How much larger a weight becomes on a card, because its kernels round rows and columns up.

MXFP4 experts (vLLM 0.32 fused_moe/oracle/mxfp4.py, quantization/mxfp4.py):
- Marlin and TRT-LLM (Ampere, Ada, Blackwell): intermediate to 128, hidden to 256 (gpt-oss-120b 65.97 GiB logged).
- Triton kernels (Hopper): packed inputs to 256, outputs to 128 (gpt-oss-20b 13.64 GiB on one card, 7.01 on two).
- ROCm: both to 256. Others: none (gpt-oss-20b on an Arc Pro B60: 12.87 GiB, its unpadded size).

Rows on ROCm (VLLM_ROCM_MOE_PADDING, VLLM_ROCM_FP8_PADDING, both on by default): unquantised experts and FP8 linear
layers get 256 bytes more per row where a row is a multiple of 512 bytes.
"""

from __future__ import annotations

from whichgpu.inspect.records import Architecture
from whichgpu.plan.records import Kernels


def packed_experts(architecture: Architecture | None, kernels: Kernels, ways: int) -> float:
    """Return loaded / unpadded bytes of MXFP4 experts whose width is split ``ways`` times."""
    if kernels is Kernels.PLAIN or architecture is None:
        return 1.0
    width = next((f.intermediate for f in architecture.feed_forwards if f.kind == "moe"), None)
    if not width or not architecture.hidden:
        return 1.0
    local, hidden = max(1, width // ways), architecture.hidden
    if kernels is Kernels.TRITON:
        first = _round_up(hidden, 256) / hidden * _round_up(2 * local, 128) / (2 * local)
        second = _round_up(local, 256) / local * _round_up(hidden, 128) / hidden
        return (2 * first + second) / 3
    inner, outer = (256, 256) if kernels is Kernels.ROCM else (128, 256)
    return _round_up(local, inner) / local * _round_up(hidden, outer) / hidden


def rows(row_bytes: int) -> float:
    """Return loaded / stored bytes of rows of this many bytes on ROCm."""
    return (row_bytes + 256) / row_bytes if row_bytes and row_bytes % 512 == 0 else 1.0


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
