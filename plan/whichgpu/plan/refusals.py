"""Why vLLM would refuse a layout or a precision, each with the rule that says so.

Sources: vLLM 0.32 config/model.py verify_with_parallel_config, layers/linear.py, vocab_parallel_embedding.py,
quantization/{fp8,utils/marlin_utils}.py, mamba_mixer2, config/parallel.py, platforms/*, get_min_capability.
"""

from __future__ import annotations

from collections.abc import Iterator

from whichgpu.inspect.mixer_kinds import MixerKind, traits
from whichgpu.inspect.records import Architecture, Inspection, Quantisation
from whichgpu.inspect.weight_formats import WeightFormat
from whichgpu.plan.case import ServedModel
from whichgpu.plan.engine import Engine
from whichgpu.plan.loading import loading_refusal
from whichgpu.plan.records import Accelerator, Layout, Precision, Support
from whichgpu.plan.support import newer_class

_RUNS_AS = {
    WeightFormat.NVFP4: Precision.NVFP4,
    WeightFormat.MXFP4: Precision.MXFP4,
    WeightFormat.FP8: Precision.FP8,
    WeightFormat.MXFP8: Precision.FP8,
    WeightFormat.INT8: Precision.INT8,
    WeightFormat.INT8_PACKED: Precision.INT8,
    WeightFormat.INT4: Precision.INT4,
}
"""The precision whose least capability a format shares, the most demanding first; NF4 computes as plain BF16."""


def layout_refusal(model: ServedModel, layout: Layout, precision: Precision) -> str | None:
    """Return why vLLM would refuse a layout, or ``None``."""
    architecture = model.architecture
    if architecture is None:
        return None
    checks = (
        _heads(architecture, layout.tensor_parallel),
        _recurrent(architecture, layout.tensor_parallel),
        _widths(architecture, layout),
        _blocks(model, layout, precision),
        _stages(architecture, layout, model),
        _experts(architecture, layout),
        _shared_context(architecture, layout),
    )
    return next((reason for check in checks for reason in check), None)


def _heads(architecture: Architecture, tp: int) -> Iterator[str]:
    if tp == 1:
        return
    if architecture.heads and architecture.heads % tp:
        yield f"{architecture.heads} attention heads do not divide by {tp}"
    latent = any(traits(m.kind).latent for m in architecture.mixers)
    for kv in dict.fromkeys([architecture.kv_heads, *(m.kv_heads for m in architecture.mixers)]):
        if kv and not latent and kv % tp and tp % kv:
            yield f"{kv} key/value heads and {tp} cards do not divide"
    if architecture.vocabulary and (-(-architecture.vocabulary // 64) * 64) % tp:
        yield f"the padded vocabulary does not divide by {tp}"


def _recurrent(architecture: Architecture, tp: int) -> Iterator[str]:
    for mixer in architecture.mixers:
        if not traits(mixer.kind).split_by_heads:
            continue
        if mixer.heads and mixer.heads % tp:
            yield f"{mixer.heads} heads of {mixer.kind} layers do not divide by {tp}"
        if mixer.key_heads and mixer.key_heads % tp:
            yield f"{mixer.key_heads} key heads of {mixer.kind} layers do not divide by {tp}"
        if mixer.groups and mixer.groups > 1 and mixer.groups % tp:
            yield f"{mixer.groups} groups of Mamba 2 layers do not divide by {tp}"


def _widths(architecture: Architecture, layout: Layout) -> Iterator[str]:
    tp = layout.tensor_parallel
    for block in architecture.feed_forwards:
        ways = tp if block.kind == "dense" else 1 if layout.expert_parallel else tp * layout.data_parallel
        if block.intermediate and block.intermediate % ways:
            yield f"feed-forward width {block.intermediate} does not divide by {ways}"
        if block.shared_intermediate and block.shared_intermediate % tp:
            yield f"shared expert width {block.shared_intermediate} does not divide by {tp}"


def _blocks(model: ServedModel, layout: Layout, precision: Precision) -> Iterator[str]:
    """What a published quantisation allows: scales come in blocks or groups that no card may cut."""
    quantisation, architecture = model.inspection.quantisation, model.architecture
    if quantisation is None or precision is not Precision.PUBLISHED or architecture is None:
        return
    tp = layout.tensor_parallel
    for block in architecture.feed_forwards:
        expert = block.kind == "moe"
        ways = (1 if layout.expert_parallel else tp * layout.data_parallel) if expert else tp
        if not block.intermediate or ways == 1:
            continue
        local = block.intermediate // ways
        weight_format = quantisation.experts_format if expert else quantisation.format
        if quantisation.block and weight_format is WeightFormat.FP8 and local % quantisation.block[0]:
            if not expert or not model.engine.block_fp8_refined or local % 32:
                kind = "experts'" if expert else "feed-forward"
                cure = "; --enable-expert-parallel keeps experts whole" if expert else ""
                yield f"{kind} width {local} per card is no multiple of the FP8 block {quantisation.block[0]}{cure}"
        elif weight_format is WeightFormat.INT4:
            group = quantisation.group
            if group and local % group:
                yield f"width {local} per card is no multiple of the quantisation group {group}"
            elif not expert and local % 64:
                yield f"width {local} per card is no multiple of Marlin's 64"


def _stages(architecture: Architecture, layout: Layout, model: ServedModel) -> Iterator[str]:
    stages = layout.pipeline_parallel
    if stages == 1:
        return
    if architecture.layers and architecture.layers < stages:
        yield f"{architecture.layers} layers cannot make {stages} stages"
    for name in architecture.names:
        single = name.startswith(model.engine.classes.single_stage)
        if single or name in model.registry.get("without_pipeline_parallel", ()):
            yield f"{name} has no pipeline parallelism in vLLM"


def _experts(architecture: Architecture, layout: Layout) -> Iterator[str]:
    experts = max((f.experts or 0 for f in architecture.feed_forwards), default=0)
    if layout.expert_parallel and experts < layout.tensor_parallel * layout.data_parallel:
        yield f"{experts} experts are fewer than {layout.tensor_parallel * layout.data_parallel} cards"


def _shared_context(architecture: Architecture, layout: Layout) -> Iterator[str]:
    """Decode context parallel: MLA by any divisor, grouped heads only beyond one card per head, no windows."""
    shared, tp = layout.context_parallel, layout.tensor_parallel
    if shared == 1:
        return
    kinds = {m.kind for m in architecture.mixers}
    if any(traits(kind).windowed for kind in kinds):
        yield "decode context parallel does not take sliding windows"
    elif tp % shared:
        yield f"decode context parallel {shared} does not divide {tp} cards"
    elif MixerKind.MLA not in kinds and (architecture.kv_heads or tp) * shared > tp:
        yield f"{architecture.kv_heads} key/value heads on {tp} cards leave none to share a context"


_VENDOR_WORDS = {"nvidia": "NVIDIA", "amd": "AMD", "intel": "Intel"}
_CHECKED_VENDORS = frozenset(_VENDOR_WORDS)
"""Vendors whose implementations the registry knows; others have plugins of their own."""


def model_refusal(model: ServedModel, card: Accelerator) -> str | None:
    """Return why vLLM cannot load a model, or has no kernel for its layers on a card; ``None`` where neither is known."""
    version = model.engine.version
    against = loading_refusal(model)
    if against is not None:
        return against
    later = newer_class(model)
    if later is not None:
        return f"vLLM {version} has no {later[0]}; it came with {later[1]}"
    names = model.architecture.names if model.architecture is not None else ()
    for name in names:
        vendors = model.registry.get("vendors", {}).get(name)
        if vendors is not None and card.vendor in _CHECKED_VENDORS and card.vendor not in vendors:
            there = " and ".join(_VENDOR_WORDS[v] for v in vendors)
            return f"vLLM {model.registry.get('vllm', version)} has {name} for {there} cards alone"
    if not card.generation.built:
        return f"vLLM's own builds leave {card.capability} out, which {card.name} is"
    capability, least = card.compute_capability, model.engine.sparse_latent_capability
    mixers = model.architecture.mixers if model.architecture is not None else ()
    is_sparse = any(traits(m.kind).latent and (m.index_head_dim or m.kind is MixerKind.COMPRESSED) for m in mixers)
    if is_sparse and capability is not None and capability < least:
        return f"vLLM {version} has no kernel for sparse latent attention below compute capability {least:g}; {card.name} has {capability}"
    return None


def precision_refusal(
    inspection: Inspection, accelerator: Accelerator, precision: Precision, engine: Engine
) -> str | None:
    """Return why a card cannot run a precision, or ``None``."""
    weight_precision = _published_precision(inspection) if precision is Precision.PUBLISHED else precision
    capability = accelerator.compute_capability
    if capability is None:
        return _unsupported(accelerator, weight_precision)
    halved = is_halved(accelerator, engine)
    architecture = inspection.architecture
    if halved and architecture is not None and architecture.model_type in engine.classes.no_halves:
        return (
            f"{accelerator.name} has no BF16, and {architecture.model_type} overflows in FP16: vLLM would fall back to FP32,"
            " twice the memory"
        )
    if weight_precision is None or (halved and weight_precision is Precision.BF16):
        least = engine.oldest_capability
    else:
        least = engine.least_capability[weight_precision]
    if precision is Precision.PUBLISHED and inspection.quantisation is not None:
        least = max(least, _method_capability(inspection.quantisation, engine))
    if capability < least:
        name = weight_precision.value if weight_precision is not None else "vLLM"
        return f"{name} needs compute capability {least}, {accelerator.name} has {capability}"
    return None


def _method_capability(quantisation: Quantisation, engine: Engine) -> float:
    by_format = engine.method_capability.get(quantisation.method, {})
    return min((by_format.get(f, 0.0) for f in quantisation.formats), default=0.0)


def is_halved(accelerator: Accelerator, engine: Engine) -> bool:
    """True where vLLM computes in FP16 what is published in BF16 (config/model.py _resolve_auto_dtype)."""
    return accelerator.compute_capability is not None and accelerator.compute_capability < engine.halved_below


def _unsupported(accelerator: Accelerator, precision: Precision | None) -> str | None:
    """Why a card without a compute capability cannot run a precision (vLLM 0.32 platforms/rocm.py supports_fp8)."""
    if precision is Precision.FP8 and accelerator.generation.fp8 is Support.NONE:
        return f"FP8 needs CDNA 3 or RDNA 4, {accelerator.name} has neither"
    if precision is Precision.NVFP4 and accelerator.generation.nvfp4 is Support.NONE:
        return "NVFP4 needs an NVIDIA card"
    return None


def _published_precision(inspection: Inspection) -> Precision | None:
    """The precision that a published checkpoint runs at; ``None`` for FP16, which every card computes."""
    formats = inspection.quantisation.formats if inspection.quantisation else ()
    for weight_format, precision in _RUNS_AS.items():
        if weight_format in formats:
            return precision
    dtype = inspection.architecture.dtype if inspection.architecture else None
    return None if dtype == "F16" else Precision.BF16


def precision_note(accelerator: Accelerator, precision: Precision) -> str | None:
    """Say when a precision runs, but not natively."""
    if precision is Precision.FP8 and accelerator.generation.fp8 is Support.WEIGHT_ONLY:
        return "FP8 runs weight-only here (no FP8 tensor cores)"
    if precision is Precision.NVFP4 and accelerator.generation.nvfp4 is Support.WEIGHT_ONLY:
        return "NVFP4 runs weight-only here (no FP4 tensor cores)"
    return None
