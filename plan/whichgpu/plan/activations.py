"""The peak beside what stays on a card: one profiled step's forward pass, sampler or encoder, whichever is largest.

Sources: vLLM 0.32 v1/worker/gpu_model_runner.profile_run and v1/worker/gpu/model_runner (V2), v1/sample; the
factors from 36 controlled starts of 0.19.0 on H100 and 0.11 logs, each with its cause:

- forward: tokens × dtype × (4.25 hidden + 3 widths): residual, norm and attention output, and the gate, up and
  product of one feed-forward (CodeLlama-7B 0.77 GiB, Granite-3.3-8B 0.85).
- sampler: sequences × vocabulary × (logits + FP32 copy, probabilities and noise), 14.5 bytes from 0.18 on, 38 before
  (sorted copies), beside the step's hidden states (Llama-3.1-8B 1.89 GiB with 0.19, 4.76 with 0.11).
- encoder: patches × dtype × (6 hidden + 2 widths) for the largest batch of images that a step may take.
"""

from __future__ import annotations

from whichgpu.inspect.mixer_kinds import MixerKind
from whichgpu.inspect.records import Architecture, Inspection, Part, Tower
from whichgpu.inspect.weight_formats import WeightFormat
from whichgpu.plan.case import ServedModel
from whichgpu.plan.choices import MemoryGroup
from whichgpu.plan.engine import Batch, Engine
from whichgpu.plan.formats import dense_format
from whichgpu.plan.media import ENCODERS, encoded_patches
from whichgpu.plan.records import ExpertKernel, Precision
from whichgpu.plan.runtime import StageCase, expert_kernel
from whichgpu.plan.terms import GIB, Size, computed

_DTYPE = 2
_HIDDEN_COPIES = 4.25
_STAGE_COPIES = 2.5
"""Hidden states and residual that a stage sends on, received and sent."""

_ROCM_LEAST = 0.15
"""No controlled start on ROCm is known; one log shows a fifth of what CUDA takes."""

_TILES = 4
"""Tiles of one image under cross attention (Mllama), of which V0 profiles one image per sequence."""

_SAMPLER_BASE = 0.06 * GIB


class Activations:
    """The peak of one model under one version of vLLM; what its cards have in common is worked out once."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        architecture = model.architecture
        if architecture is not None:
            self._width = 3 * _dense_width(architecture) + _quantised_input(model.inspection)
            self._attention = _attention_width(architecture)
            self._copies = _HIDDEN_COPIES + 3 * (_residual_streams(model.inspection) - 1)

    def size(self, case: StageCase) -> Size:
        """Return the peak on one card of a pipeline stage."""
        architecture, engine = self._model.architecture, self._model.engine
        if architecture is None or not architecture.hidden:
            return computed(
                "activations",
                GIB,
                (0.3, 2.0),
                "an allowance: the hidden size is unknown",
                group=MemoryGroup.ACTIVATIONS,
            )
        embeds = _embeds(architecture, case)
        passing = embeds + _passing_experts(self._model.inspection, case)
        candidates = [self._forward(architecture.hidden, case, passing)]
        if case.last:
            candidates.append(_sampler(architecture, engine, case.card.batch, embeds))
        if case.first:
            loaded = (t for t in architecture.towers if Part(t.modality) not in case.without)
            candidates += [_encoder(t, architecture, engine, case) for t in loaded]
        largest = max(candidates, key=lambda s: s.bytes)
        low = max(s.low for s in candidates) * (_ROCM_LEAST if case.card.vendor == "amd" else 1)
        return largest._replace(low=low, high=max(s.high for s in candidates))

    def _forward(self, hidden: int, case: StageCase, passing: float) -> Size:
        copies = self._copies + (0 if case.first and case.last else _STAGE_COPIES)
        widest = max(self._width, self._attention) / case.ways.tensor_parallel
        size = case.card.batch.tokens * _DTYPE * (copies * hidden + widest) + passing
        why = "one step of max_num_batched_tokens through the widest layer"
        return computed("forward pass", size, (0.6, 1.25), why, "--max-num-batched-tokens", MemoryGroup.ACTIVATIONS)


def _embeds(architecture: Architecture, case: StageCase) -> float:
    """Input embeddings that a multimodal model keeps beside its tokens."""
    if not architecture.towers or case.without == ENCODERS:
        return 0.0
    return case.card.batch.tokens * (architecture.hidden or 0) * _DTYPE


def _attention_width(architecture: Architecture) -> int:
    """Queries, output and keys of the widest attention layer."""
    widths = (
        ((m.heads or 0) * 2 + (m.kv_heads or 0)) * (m.head_dim or 0)
        for m in architecture.mixers
        if m.kind is not MixerKind.MLA
    )
    return max(widths, default=0)


def _passing_experts(inspection: Inspection, case: StageCase) -> float:
    """What Triton's MXFP4 kernels allocate for one layer and give back: rows × (3 widths + hidden) × 2."""
    architecture = inspection.architecture
    block = next((f for f in architecture.feed_forwards if f.kind == "moe"), None) if architecture else None
    if (
        architecture is None
        or block is None
        or expert_kernel(inspection, case.precision, case.card) is not ExpertKernel.TRITON_MXFP4
    ):
        return 0.0
    ways = case.ways
    ranks = 1 if ways.expert_parallel else ways.tensor_parallel * ways.data_parallel
    rows = case.card.batch.tokens * (block.top_k or 1)
    return rows * 2.0 * (3 * (block.intermediate or 0) // ranks + (architecture.hidden or 0))


def _residual_streams(inspection: Inspection) -> int:
    """Residual streams of hyper-connections (DeepSeek-V4: hc_mult), each in BF16 and once more in FP32."""
    hidden = inspection.architecture.hidden if inspection.architecture else None
    widths = [g.shape[-1] for g in inspection.tensors if "hc_" in g.name and g.name.endswith("_fn") and g.shape]
    return max((w // hidden for w in widths), default=1) if hidden else 1


def _dense_width(architecture: Architecture) -> int:
    """Widest block that every token passes; the routed experts' share lies in their workspace."""
    widths = [f.intermediate if f.kind == "dense" else f.shared_intermediate for f in architecture.feed_forwards]
    return max((w or 0 for w in widths), default=0)


def _quantised_input(inspection: Inspection) -> float:
    """Eight-bit activations beside the others, in widths of two bytes."""
    quantisation, architecture = inspection.quantisation, inspection.architecture
    eight = dense_format(inspection, Precision.PUBLISHED) in _EIGHT_BITS
    eight = eight or (quantisation is not None and not quantisation.formats and quantisation.bits == 8)
    return _dense_width(architecture) / 2 if eight and architecture is not None else 0.0


_EIGHT_BITS = (WeightFormat.FP8, WeightFormat.MXFP8, WeightFormat.INT8)


def _sampler(architecture: Architecture, engine: Engine, batch: Batch, embeds: float) -> Size:
    logits = batch.sequences * (architecture.vocabulary or 0)
    hidden = batch.tokens * (architecture.hidden or 0) * _DTYPE
    size = logits * (engine.sampler_bytes + _DTYPE) + _SAMPLER_BASE + hidden + embeds
    why = f"max_num_seqs × vocabulary × {engine.sampler_bytes + _DTYPE:.1f} bytes, beside the hidden states"
    return computed("sampler", size, (0.93, 1.06), why, "--max-num-seqs", MemoryGroup.ACTIVATIONS)


def _encoder(tower: Tower, architecture: Architecture, engine: Engine, case: StageCase) -> Size:
    batch = case.card.batch
    patches = encoded_patches(tower, batch, case.media_limits)
    if engine.whole_prompts and any(m.kind is MixerKind.CROSS for m in architecture.mixers):
        per_image = ((tower.image_size or 0) // (tower.patch_size or 1)) ** 2
        patches = max(patches, batch.sequences * _TILES * per_image)
    hidden, width = tower.hidden or 1152, tower.intermediate or 4304
    outputs = batch.tokens * (architecture.hidden or 0) * _DTYPE
    size = patches * _DTYPE * (6 * hidden + 2 * width / case.ways.tensor_parallel) + outputs
    why = f"{patches:,} patches through the {tower.modality} encoder at once"
    return computed(
        f"{tower.modality} encoder", size, (0.4, 1.9), why, "--limit-mm-per-prompt", MemoryGroup.ACTIVATIONS
    )
