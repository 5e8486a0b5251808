"""What published 4-bit checkpoints leave as it was.

Nobody converts to four bits while loading: who plans such a precision will serve a checkpoint that somebody publishes. Source: the
exceptions that 28 published checkpoints name (NVIDIA's ModelOpt recipes for NVFP4; AWQ and compressed-tensors for INT4), 2025-08 to 2026-10.
"""

from __future__ import annotations

from whichgpu.inspect.records import Architecture, Part, TensorGroup
from whichgpu.plan.choices import Precision

_FOUR_BIT_FLOATS = frozenset({Precision.NVFP4, Precision.MXFP4})
_MIXERS = frozenset({Part.ATTENTION, Part.SSM})

_ALL_LINEAR = ("qwen3_moe", "nemotron_h")
"""Mixtures whose other layers are converted too, all or nearly all (nvidia/Qwen3-235B-A22B-NVFP4, NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4)."""
_ATTENTION_KEPT = ("gemma4",)
"""Dense models whose attention stays, in INT4 too (nvidia/Gemma-4-31B-IT-NVFP4, cyankiwi/gemma-4-26B-A4B-it-AWQ-4bit)."""


def is_left_alone(group: TensorGroup, precision: Precision, architecture: Architecture | None) -> bool:
    """True for a linear weight that a checkpoint of this precision keeps as the model was published.

    Mixtures give their experts to four bits and keep attention and recurrent layers: these are few bytes and cost most quality.
    """
    if architecture is None:
        return False
    kind = architecture.model_type or ""
    keeps_attention = kind.startswith(_ATTENTION_KEPT)
    if precision is Precision.INT4:
        return keeps_attention and group.part is Part.ATTENTION
    if precision not in _FOUR_BIT_FLOATS or kind.startswith(_ALL_LINEAR):
        return False
    has_experts = any(block.experts for block in architecture.feed_forwards)
    if group.part is Part.DENSE_FFN:  # beside experts in the same layer
        return keeps_attention and has_experts
    return group.part in _MIXERS and (keeps_attention or has_experts)
