"""Layouts that vLLM would accept, and why it would refuse the others.

Source: vLLM 0.32 config/model.py verify_with_parallel_config, layers/linear.py, platforms/*.
"""

from __future__ import annotations

from collections.abc import Iterator

from whichgpu.inspect.records import Architecture, Inspection, ModelClass
from whichgpu.plan.records import Accelerator, Layout, Precision

_NODES = (1, 2, 4, 8)
"""Whole nodes tried beyond one, as pipeline stages."""

_SPLIT_BY_HEADS = frozenset({"mamba2", "gdn", "kda"})
"""Recurrent mixers that vLLM 0.32 mamba_mixer2 and mamba_utils split by heads."""

_MIN_CAPABILITY = {
    Precision.BF16: 8.0,
    Precision.FP8: 7.5,
    Precision.INT4: 7.5,
    Precision.NVFP4: 7.5,
    Precision.MXFP4: 8.0,
}
"""Least CUDA compute capability per precision (vLLM 0.32 get_min_capability); below 8.9 FP8 runs weight-only."""

_OLDEST = 7.5
"""vLLM 0.32's wheels are built for CUDA 13, which dropped Volta."""


def candidate_layouts(inspection: Inspection, accelerator: Accelerator) -> Iterator[tuple[Layout, str | None]]:
    """Yield layouts, fewest cards first, each with the reason against it or ``None``."""
    splits = _can_split(inspection)
    for count in accelerator.node_counts:
        if count == 1 or splits:
            yield Layout(tensor_parallel=count), refusal(inspection.architecture, count)
    largest = max(accelerator.node_counts)
    for nodes in _NODES[1:]:
        if splits and largest > 1:
            reason = refusal(inspection.architecture, largest) or _stage_refusal(inspection.architecture, nodes)
            yield Layout(tensor_parallel=largest, pipeline_parallel=nodes), reason


def _can_split(inspection: Inspection) -> bool:
    """Pipelines of diffusers are not spread by vLLM."""
    return ModelClass.DIFFUSION not in inspection.classes


def refusal(architecture: Architecture | None, tp: int) -> str | None:
    """Return why vLLM would refuse a tensor-parallel size, or ``None``."""
    if tp == 1 or architecture is None:
        return None
    if architecture.heads and architecture.heads % tp:
        return f"{architecture.heads} attention heads do not divide by {tp}"
    kv = architecture.kv_heads
    latent = any(m.kind in ("mla", "compressed") for m in architecture.mixers)
    if kv and not latent and kv % tp and tp % kv:
        return f"{kv} key/value heads and {tp} cards do not divide"
    if architecture.vocabulary and (-(-architecture.vocabulary // 64) * 64) % tp:
        return f"the padded vocabulary does not divide by {tp}"
    for mixer in architecture.mixers:
        if mixer.kind in _SPLIT_BY_HEADS and mixer.heads and mixer.heads % tp:
            return f"{mixer.heads} heads of {mixer.kind} layers do not divide by {tp}"
    for block in architecture.feed_forwards:
        if block.intermediate and block.intermediate % tp:
            return f"feed-forward width {block.intermediate} does not divide by {tp}"
    return None


def stage_layers(layers: int, stages: int) -> list[int]:
    """Return the layers of each pipeline stage (vLLM 0.32 distributed/utils.py get_pp_indices).

    What does not divide goes one each to the stages from the second-last backwards.
    """
    base, left = divmod(layers, stages)
    counts = [base] * stages
    for index in range(2, left + 2):
        counts[-index] += 1
    return counts


def _stage_refusal(architecture: Architecture | None, stages: int) -> str | None:
    if architecture is not None and architecture.layers and architecture.layers < stages:
        return f"{architecture.layers} layers cannot make {stages} stages"
    return None


def precision_refusal(inspection: Inspection, accelerator: Accelerator, precision: Precision) -> str | None:
    """Return why a card cannot run a precision, or ``None``."""
    wanted = _published_precision(inspection) if precision is Precision.PUBLISHED else precision
    try:
        capability = float(accelerator.capability)
    except ValueError:
        return "NVFP4 needs an NVIDIA card" if wanted is Precision.NVFP4 else None
    least = _MIN_CAPABILITY[wanted] if wanted is not None else _OLDEST
    if capability < least:
        name = wanted.value if wanted is not None else "vLLM"
        return f"{name} needs compute capability {least}, {accelerator.name} has {capability}"
    return None


def _published_precision(inspection: Inspection) -> Precision | None:
    """The precision that a published checkpoint runs at; ``None`` for FP16, which every card computes."""
    label = inspection.quantisation.label if inspection.quantisation else ""
    for precision in (Precision.NVFP4, Precision.MXFP4, Precision.FP8, Precision.INT4):
        if precision.value in label:
            return precision
    dtype = inspection.architecture.dtype if inspection.architecture else None
    return None if dtype == "F16" else Precision.BF16


def precision_note(accelerator: Accelerator, precision: Precision) -> str | None:
    """Say when a precision runs, but not natively."""
    try:
        native = float(accelerator.capability)
    except ValueError:
        return None
    if precision is Precision.FP8 and native < 8.9:
        return "FP8 runs weight-only here (no FP8 tensor cores)"
    if precision is Precision.NVFP4 and native < 10:
        return "NVFP4 runs weight-only here (no FP4 tensor cores)"
    return None
