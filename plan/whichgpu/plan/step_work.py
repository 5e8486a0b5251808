"""What one card moves and computes in a decoding step and in a prefill, from the inspection and a layout.

Bytes come from the same tables that size the memory, so quantisation, replication and padding are already in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from whichgpu.inspect.mixer_kinds import CacheForm, MixerKind, traits
from whichgpu.inspect.records import Architecture, Inspection, Mixer, ModelClass, Part, TensorGroup
from whichgpu.inspect.weight_formats import WeightFormat
from whichgpu.plan.case import Case
from whichgpu.plan.formats import dense_format, experts_format
from whichgpu.plan.kv_pool import Grouping
from whichgpu.plan.records import Accelerator, Kernels, Layout, Precision, Support
from whichgpu.plan.sizing import Sizer
from whichgpu.plan.weight_table import WeightTable

_IDLE = frozenset(
    {Part.EMBEDDING, Part.LOOKUP, Part.VISION, Part.AUDIO, Part.PROJECTOR, Part.MTP, Part.ROUTED_EXPERTS, Part.ADAPTER}
)
"""Not read by every step: a lookup, encoders, drafts; the experts are counted by how many a batch touches."""

_READ = frozenset(part.value for part in Part if part not in _IDLE)
_FP4_FACTOR = 2
"""Dense FP4 rate over FP8: B200, GB200, MI350X and MI355X; B300 and GB300 have 3 (vendor figures), counted as 2."""


@dataclass(frozen=True, slots=True)
class Rates:
    """FLOP/s of one card for this model's linear layers, and how their weights are unpacked."""

    dense: float
    experts: float
    unpacked: bool
    """True where weights of four bits are unpacked to BF16 before they are multiplied (Marlin, Triton)."""
    fused: bool
    """True where experts of four bits run in one fused kernel with their routing (TRT-LLM kernels of Blackwell)."""


@dataclass(frozen=True, slots=True)
class StepWork:
    """One card of one pipeline stage. Bytes and FLOP; per token of one data-parallel rank where it says so."""

    weights: float
    """Bytes that every step reads, whatever its batch."""
    experts: float
    """Bytes of routed experts on the card, of which a batch touches some."""
    expert_count: int
    top_k: int
    dense_flop: float
    """Per token: every linear layer but the routed experts."""
    expert_flop: float
    """Per token."""
    caches: tuple[tuple[float, int], ...]
    """(bytes per token, tokens seen at most; 0 for all) of the layers' caches."""
    state: float
    """Bytes of recurrent state per sequence."""
    attended: tuple[tuple[float, int], ...]
    """(FLOP per pair, tokens seen at most) of the layers with attention."""
    layers: float
    moe_layers: float
    latent_layers: float
    """Layers with latent attention, which launch more kernels."""
    collectives: int
    """All-reduces per layer under tensor parallelism: two, three where queries and keys are normalised as a whole."""
    hidden: int
    rates: Rates

    def touched(self, tokens: float, variety: float = 1.0) -> float:
        """Share of the experts that a batch needs: 1 − (1 − k/E)^(B^variety); drawn evenly when ``variety`` is 1."""
        if not self.expert_count:
            return 0.0
        draws: float = max(1.0, tokens) ** variety
        return float(1 - (1 - min(1.0, self.top_k / self.expert_count)) ** draws)

    def cached(self, context: float) -> float:
        """Bytes of cache that one sequence of this length reads per step."""
        return self.state + sum(size * (min(context, span) if span else context) for size, span in self.caches)

    def prefill_flop(self, tokens: float) -> float:
        """FLOP of attention over a prompt: half of all pairs, or a band as wide as the window."""
        return sum(flop * tokens * (min(tokens / 2, span) if span else tokens / 2) for flop, span in self.attended)


class _Reading(NamedTuple):
    """What decides which bytes a step reads."""

    table: WeightTable
    layout: Layout
    kernels: Kernels


class Works:
    """The work of one model on any card; what does not depend on the card is summed once."""

    def __init__(self, sizer: Sizer) -> None:
        self._sizer = sizer
        self.inspection = inspection = sizer.inspection
        architecture = inspection.architecture
        decodes = not {ModelClass.DIFFUSION, ModelClass.ENCODER}.intersection(inspection.classes)
        has_shape = architecture is not None and architecture.hidden and architecture.mixers
        self._architecture = architecture if decodes and has_shape else None
        self._tied = tied = bool(architecture and architecture.tied_embeddings)
        busy = [g for g in inspection.tensors if g.part not in _IDLE or (tied and g.part is Part.EMBEDDING)]
        self._dense = [g for g in busy if g.part is not Part.NORM]
        self._experts = [g for g in inspection.tensors if g.part is Part.ROUTED_EXPERTS]
        self._dense_parameters = sum(g.parameters for g in busy)
        self._routed_parameters = sum(g.parameters for g in self._experts)
        blocks, mixers = (architecture.feed_forwards, architecture.mixers) if architecture else ((), ())
        self._block = next((f for f in blocks if f.kind == "moe"), None)
        self._share = (self._block.top_k or 1) / (self._block.experts or 1) if self._block else 0.0
        self._moe_layers = sum(f.layers for f in blocks if f.kind == "moe")
        self._latent_layers = sum(m.layers for m in mixers if traits(m.kind).latent)
        self._attended = _attention_flop(mixers)
        self._collectives = 3 if architecture and _whole_norms(inspection, architecture) else 2
        self._caches_of = cache(_caches)
        self._read_of = cache(self._read_bytes)
        self._formats_of = cache(self._weight_formats)

    def of(self, case: Case) -> StepWork | None:
        """Return the work of one card, averaged over stages; ``None`` for what does not decode token by token."""
        layout, card = case.layout, case.card
        architecture, stages = self._architecture, layout.pipeline_parallel
        if architecture is None or not architecture.layers or architecture.hidden is None or not self._dense_parameters:
            return None
        table = self._sizer.table(case.precision, case.workload)
        read, experts = self._read_of(_Reading(table, layout, card.generation.mxfp4_padding))
        block = self._block
        ranks = layout.tensor_parallel * stages
        caches, state = self._caches_of(self._sizer.cache(case.workload, layout, card).grouping)
        return StepWork(
            weights=read,
            experts=experts,
            expert_count=(block.experts or 0) if block else 0,
            top_k=(block.top_k or 1) if block else 0,
            dense_flop=2.0 * self._dense_parameters / ranks,
            expert_flop=2.0 * self._routed_parameters * self._share / ranks,
            caches=tuple((size / stages, span) for size, span in caches),
            state=state / stages,
            attended=tuple((flop / ranks, span) for flop, span in self._attended),
            layers=architecture.layers / stages,
            moe_layers=self._moe_layers / stages,
            latent_layers=self._latent_layers / stages,
            collectives=self._collectives,
            hidden=architecture.hidden,
            rates=self._rates(case.precision, card),
        )

    def _read_bytes(self, reading: _Reading) -> tuple[float, float]:
        """Bytes on one card that every step reads, and of routed experts."""
        stages = reading.layout.pipeline_parallel
        sizes = reading.table.stages(reading.layout, reading.kernels)
        bytes_by_part = {name: sum(values) / stages for name, values in sizes.items()}
        read = sum(size for name, size in bytes_by_part.items() if name in _READ)
        if self._tied and stages == 1:
            read += bytes_by_part.get(Part.EMBEDDING.value, 0.0)
        return read, bytes_by_part.get(Part.ROUTED_EXPERTS.value, 0.0)

    def _weight_formats(self, precision: Precision) -> tuple[WeightFormat | None, WeightFormat | None]:
        """Formats of the linear weights and of the routed experts."""
        inspection = self.inspection
        return (
            _format(inspection, precision, self._dense, routed=False),
            _format(inspection, precision, self._experts, routed=True),
        )

    def _rates(self, precision: Precision, card: Accelerator) -> Rates:
        """Return the rates at which a card multiplies this model's weights.

        What is stored in four bits is multiplied in BF16 unless the card has FP4 (NVFP4) or takes FP8 inputs (MXFP4
        on Blackwell and CDNA 4): vLLM 0.32 layers/quantization.
        """
        dense, experts = self._formats_of(precision)
        return Rates(
            dense=_rate(dense, card),
            experts=_rate(experts, card),
            unpacked=_needs_unpacking(experts if self._experts else dense, card),
            fused=bool(self._experts) and _native_fp4(experts, card),
        )


def _whole_norms(inspection: Inspection, architecture: Architecture) -> bool:
    """True where one norm spans all query heads, so that its variance needs all ranks (MiniMax-M2, OLMo 2)."""
    wide = (architecture.heads or 0) * (architecture.head_dim or 0)
    return any(g.name.endswith("q_norm.weight") and wide and g.shape[-1:] == (wide,) for g in inspection.tensors)


def _caches(grouping: Grouping) -> tuple[tuple[tuple[float, int], ...], float]:
    """Sum layers that see the same; states are read and written once a step."""
    sizes: dict[int, float] = {}
    for layer in grouping.caches:
        if layer.kind is not CacheForm.STATE:
            sizes[layer.span] = sizes.get(layer.span, 0.0) + layer.token_bytes
    return tuple((size, span) for span, size in sizes.items()), 2.0 * grouping.state


def _attention_flop(mixers: Iterable[Mixer]) -> list[tuple[float, int]]:
    """FLOP per pair of tokens of each kind of attention: 4 × heads × head size, scores and values together."""
    return [
        (2.0 * (m.heads or 0) * _widths(m) * m.layers, m.window or 0)
        for m in mixers
        if traits(m.kind).softmax and m.heads
    ]


def _widths(mixer: Mixer) -> int:
    """Elements of one head's key and value."""
    if mixer.kind is MixerKind.MLA:
        return (mixer.nope_head_dim or 128) + (mixer.rope_head_dim or 64) + (mixer.v_head_dim or 128)
    return (mixer.head_dim or 0) + (mixer.v_head_dim or mixer.head_dim or 0)


def _format(
    inspection: Inspection, precision: Precision, groups: list[TensorGroup], routed: bool
) -> WeightFormat | None:
    """Format of most of these weights; ``None`` for BF16."""
    weight_format = (experts_format if routed else dense_format)(inspection, precision)
    if precision is not Precision.PUBLISHED:
        return weight_format
    total = sum(g.parameters for g in groups)
    quantised = sum(g.parameters for g in groups if g.quantised)
    if inspection.quantisation is None or not total or quantised < total / 2:
        return None
    return weight_format or (WeightFormat.INT4 if (inspection.quantisation.bits or 16) <= 4 else None)


def _rate(weight_format: WeightFormat | None, card: Accelerator) -> float:
    bf16 = (card.bf16_tflops or 0.0) * 1e12
    fp8 = (card.fp8_tflops or card.bf16_tflops or 0.0) * 1e12
    if weight_format in (WeightFormat.FP8, WeightFormat.MXFP8, WeightFormat.INT8):
        return fp8
    if not _native_fp4(weight_format, card):
        return bf16
    return fp8 * _FP4_FACTOR if weight_format is WeightFormat.NVFP4 else fp8


def _needs_unpacking(weight_format: WeightFormat | None, card: Accelerator) -> bool:
    return weight_format in _FOUR_BITS and not _native_fp4(weight_format, card)


_FOUR_BITS = (WeightFormat.INT4, WeightFormat.NF4, WeightFormat.NVFP4, WeightFormat.MXFP4)


def _native_fp4(weight_format: WeightFormat | None, card: Accelerator) -> bool:
    if weight_format is WeightFormat.NVFP4:
        return card.generation.nvfp4 is Support.NATIVE
    return weight_format is WeightFormat.MXFP4 and card.generation.mxfp4 is Support.NATIVE
