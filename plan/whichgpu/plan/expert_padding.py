"""How much larger MXFP4 experts become on a card: kernels round both their sides up.

Source: vLLM 0.32 fused_moe/oracle/mxfp4.py and quantization/mxfp4.py. NVIDIA: intermediate to 128, hidden to 256
(Marlin and TRT-LLM; Hopper's Triton kernels come within 0.5 % of that: gpt-oss-20b 13.64 GiB measured with 0.19).
ROCm: both to 256. Others: none (gpt-oss-20b on an Arc Pro B60: 12.87 GiB, its unpadded size).
"""

from __future__ import annotations

from whichgpu.inspect.records import Architecture, Inspection
from whichgpu.plan.records import Accelerator, Precision

_MULTIPLES = {"nvidia": (128, 256), "amd": (256, 256)}
"""Vendor: multiples of (intermediate size on one card, hidden size)."""


def padding(inspection: Inspection, precision: Precision, card: Accelerator, tp: int) -> float:
    """Return loaded bytes / unpadded bytes of the routed experts; 1.0 where they are not MXFP4."""
    label = inspection.quantisation.label if inspection.quantisation else ""
    packed = precision is Precision.MXFP4 or (precision is Precision.PUBLISHED and "mxfp4" in label)
    multiples = _MULTIPLES.get(card.vendor)
    if not packed or multiples is None or inspection.architecture is None:
        return 1.0
    return _ratio(inspection.architecture, multiples, tp)


def _ratio(architecture: Architecture, multiples: tuple[int, int], tp: int) -> float:
    width = next((f.intermediate for f in architecture.feed_forwards if f.kind == "moe"), None)
    if not width or not architecture.hidden:
        return 1.0
    local = max(1, width // tp)
    inner, outer = multiples
    return _rounded(local, inner) / local * _rounded(architecture.hidden, outer) / architecture.hidden


def _rounded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
