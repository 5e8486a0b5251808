"""What one card multiplies, reads and exchanges in a step, from the inspection and a layout: kernel by kernel, by its shape.

Bytes come from the same tables that size the memory, so quantisation, replication and padding are already in them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from whichgpu.inspect.mixer_kinds import CacheForm, MixerKind, traits
from whichgpu.inspect.records import Architecture, Inspection, Mixer, ModelClass, Part, TensorGroup
from whichgpu.inspect.weight_formats import WeightFormat
from whichgpu.plan import allocator
from whichgpu.plan.case import Case
from whichgpu.plan.formats import dense_format, experts_format
from whichgpu.plan.kv_pool import Grouping
from whichgpu.plan.records import Generation, Precision, Support
from whichgpu.plan.sharding import Ways, spread_of
from whichgpu.plan.sizing import Sizer
from whichgpu.plan.weights import engine_bytes, is_quantised

_IDLE = frozenset(
    {Part.EMBEDDING, Part.LOOKUP, Part.VISION, Part.AUDIO, Part.PROJECTOR, Part.MTP, Part.ADAPTER, Part.NORM}
)
"""Not multiplied by every step: lookups, encoders, drafts; norms are counted per layer."""

_NO_HEAD = re.compile(r"position|per_layer|token_type")
"""Embeddings that no tied head is."""


_HYPER = re.compile(r"layers\.\*\.hc_")


class Matrix(NamedTuple):
    """One kind of multiplication: all its launches of a step together, on one card of one stage."""

    key: str
    """Constants of its kernel (``KernelTimes.matrices``)."""
    launches: float
    stored: float
    """Bytes of weights."""
    parameters: float
    width: float
    """Inputs and outputs of one token, all launches together."""


class Experts(NamedTuple):
    """Routed experts: all layers of a stage together."""

    key: str
    launches: float
    stored: float
    parameters: float
    total: int
    """Experts of one layer, over all cards."""
    top_k: int

    def touched(self, tokens: float, variety: float = 1.0) -> float:
        """Share of the experts that so many tokens need: 1 − (1 − k/E)^(T^variety); drawn evenly when ``variety`` is 1."""
        draws: float = max(1.0, tokens) ** variety
        return float(1 - (1 - min(1.0, self.top_k / self.total)) ** draws)


class Reading(NamedTuple):
    """Caches that a decoding step reads, all layers of one kind together."""

    token_bytes: float
    """Per token of a sequence."""
    span: int
    """Tokens seen at most; 0 for all."""
    latent: bool

    def read(self, context: float) -> float:
        """Bytes for one sequence of this length."""
        return self.token_bytes * (min(context, self.span) if self.span else context)


class Attention(NamedTuple):
    """Layers of one kind of softmax attention."""

    layers: float
    flop: float
    """Per pair of tokens in a prefill, all layers together."""
    latent_flop: float
    """Per cached token in a decoding step, where all heads share a latent; else 0, as memory decides."""
    span: int
    latent: bool

    def pairs(self, tokens: float) -> float:
        """Pairs of tokens over a prompt: half of all, or a band as wide as the window."""
        return tokens * (min(tokens / 2, self.span) if self.span else tokens / 2)


@dataclass(frozen=True, slots=True)
class Operations:
    """One step of one card of one pipeline stage."""

    matrices: tuple[Matrix, ...]
    experts: Experts | None
    attention: tuple[Attention, ...]
    readings: tuple[Reading, ...]
    cache_key: str
    """Precision of the cache."""
    state: float
    """Bytes of recurrent state per sequence, all layers together."""
    state_layers: float
    layers: float
    moe_layers: float
    normed_layers: float
    """Layers that normalise queries and keys."""
    mixing_sites: float
    """Blocks with hyper-connections around them."""
    reductions: float
    """All-reduces under tensor parallelism: one after each block that ends in a row-parallel matrix, more where norms span all heads."""
    vocabulary: int
    hidden: int

    @property
    def stored(self) -> float:
        """Bytes of weights, experts included."""
        return sum(m.stored for m in self.matrices) + (self.experts.stored if self.experts else 0.0)

    def read(self, context: float) -> float:
        """Bytes of cache and state that one sequence of this length reads per step."""
        return self.state + sum(r.read(context) for r in self.readings)


class _Cut(NamedTuple):
    """What decides the shapes on one card."""

    precision: Precision
    ways: Ways
    stages: int
    generation: Generation


class Works:
    """The operations of one model on any card; what does not depend on the card is worked out once."""

    def __init__(self, sizer: Sizer) -> None:
        self.sizer = sizer
        self.inspection = inspection = sizer.inspection
        architecture = inspection.architecture
        decodes = not {ModelClass.DIFFUSION, ModelClass.ENCODER}.intersection(inspection.classes)
        has_shape = architecture and architecture.hidden and architecture.mixers and architecture.layers
        self._architecture = architecture if decodes and has_shape else None
        tied = bool(architecture and architecture.tied_embeddings)
        self._dense = [g for g in inspection.tensors if _is_dense(g, tied)]
        self._routed = [g for g in inspection.tensors if g.part is Part.ROUTED_EXPERTS and g.parameters]
        self._weights_of = cache(self._weights)
        self._readings_of = cache(_readings)
        self._operations_of = cache(self._operations)

    def of(self, case: Case) -> Operations | None:
        """Return the operations of one card, averaged over stages; ``None`` for what does not decode token by token."""
        layout, card = case.layout, case.card
        if self._architecture is None or not self._dense:
            return None
        cut = _Cut(case.precision, Ways.of(layout), layout.pipeline_parallel, card.generation)
        pool = self.sizer.cache(case.workload, layout, card)
        cache_key = self.sizer.kv_dtype(case.workload.kv_dtype, card.generation)
        return self._operations_of(cut, pool.grouping, cache_key, layout.tensor_parallel)

    def _operations(self, cut: _Cut, grouping: Grouping, cache_key: str, tp: int) -> Operations:
        architecture, stages = self._architecture, cut.stages
        assert architecture is not None
        matrices, experts = self._weights_of(cut)
        readings, state, state_layers = self._readings_of(grouping)
        blocks, mixers = architecture.feed_forwards, architecture.mixers
        mixing = sum(m.layers for m in mixers if m.kind is not MixerKind.NONE)
        feeding = sum(f.layers for f in blocks if f.kind != "none")
        norms = _normed_layers(self.inspection)
        whole_norms = norms if _whole_norms(self.inspection, architecture) else 0
        return Operations(
            matrices=matrices,
            experts=experts,
            attention=tuple(_attention(m, tp, stages) for m in mixers if traits(m.kind).softmax and m.heads),
            readings=tuple(r._replace(token_bytes=r.token_bytes / stages) for r in readings),
            cache_key=cache_key,
            state=2.0 * state / stages,
            state_layers=state_layers / stages,
            layers=(architecture.layers or 1) / stages,
            moe_layers=sum(f.layers for f in blocks if f.kind == "moe") / stages,
            normed_layers=norms / stages,
            mixing_sites=_mixing_sites(self.inspection) / stages,
            reductions=(mixing + feeding + whole_norms) / stages,
            vocabulary=architecture.vocabulary or 0,
            hidden=architecture.hidden or 0,
        )

    def _weights(self, cut: _Cut) -> tuple[tuple[Matrix, ...], Experts | None]:
        """Shapes of what multiplies on one card, of one stage."""
        sums: dict[tuple[str, str], Matrix] = {}
        for group in self._dense:
            matrix = self._matrix(group, cut)
            place = (allocator.merged_name(group.name, group.part), matrix.key)
            before = sums.get(place)
            sums[place] = matrix if before is None else _merged(before, matrix)
        return tuple(sums.values()), self._experts(cut)

    def _bytes(self, group: TensorGroup, precision: Precision) -> int:
        return engine_bytes(group, precision, self._architecture, self.sizer.engine.classes)

    def _matrix(self, group: TensorGroup, cut: _Cut) -> Matrix:
        cards = spread_of(group, self._architecture, self.sizer.engine.classes, cut.ways)
        rows, columns = group.shape[-2:]
        quantised = is_quantised(group, cut.precision, self._architecture)
        weight_format = _format(self.inspection, cut.precision, routed=False) if quantised else None
        stored = self._bytes(group, cut.precision) / cards / cut.stages
        width = (rows + columns) * group.count / cards / cut.stages
        key = _kernel_key(weight_format, cut.generation, routed=False)
        return Matrix(key, group.count / cut.stages, stored, group.parameters / cards / cut.stages, width)

    def _experts(self, cut: _Cut) -> Experts | None:
        architecture, groups = self._architecture, self._routed
        block = next((f for f in architecture.feed_forwards if f.kind == "moe"), None) if architecture else None
        if architecture is None or block is None or not groups or not block.experts:
            return None
        cards = spread_of(groups[0], architecture, self.sizer.engine.classes, cut.ways) * cut.stages
        quantised = sum(g.parameters for g in groups if is_quantised(g, cut.precision, architecture))
        parameters = sum(g.parameters for g in groups)
        weight_format = _format(self.inspection, cut.precision, routed=True) if quantised > parameters / 2 else None
        layers = sum(f.layers for f in architecture.feed_forwards if f.kind == "moe")
        return Experts(
            key=_kernel_key(weight_format, cut.generation, routed=True),
            launches=layers / cut.stages,
            stored=sum(self._bytes(g, cut.precision) for g in groups) / cards,
            parameters=parameters / cards,
            total=block.experts,
            top_k=block.top_k or 1,
        )


def _is_dense(group: TensorGroup, tied: bool) -> bool:
    """True for matrices that every token is multiplied with."""
    if group.part is Part.EMBEDDING:
        return tied and len(group.shape) == 2 and _NO_HEAD.search(group.name) is None
    return (
        group.part not in _IDLE
        and group.part is not Part.ROUTED_EXPERTS
        and group.parameters > 0
        and len(group.shape) == 2
        and not (tied and group.part is Part.HEAD)
        and _HYPER.search(group.name) is None
    )


def _merged(one: Matrix, other: Matrix) -> Matrix:
    """Two matrices that vLLM multiplies as one: the inputs are read once."""
    launches = max(one.launches, other.launches)
    sums = (one.stored + other.stored, one.parameters + other.parameters, one.width + other.width)
    return Matrix(one.key, launches, *sums)


def _attention(mixer: Mixer, tp: int, stages: int) -> Attention:
    heads = max(1.0, (mixer.heads or 0) / tp)
    layers = mixer.layers / stages
    latent = traits(mixer.kind).latent
    shared = 2.0 * heads * (2 * (mixer.kv_lora_rank or 0) + (mixer.rope_head_dim or 0)) * layers
    return Attention(
        layers=layers,
        flop=2.0 * heads * _widths(mixer) * layers,
        latent_flop=shared if mixer.kind is MixerKind.MLA else 0.0,
        span=mixer.window or 0,
        latent=latent,
    )


def _widths(mixer: Mixer) -> int:
    """Elements of one head's key and value."""
    if mixer.kind is MixerKind.MLA:
        return (mixer.nope_head_dim or 128) + (mixer.rope_head_dim or 64) + (mixer.v_head_dim or 128)
    return (mixer.head_dim or 0) + (mixer.v_head_dim or mixer.head_dim or 0)


def _readings(grouping: Grouping) -> tuple[tuple[Reading, ...], float, int]:
    """Caches of layers that see the same, bytes of states, and how many layers have one."""
    sizes: dict[tuple[int, bool], float] = defaultdict(float)
    states = 0
    for layer in grouping.caches:
        if layer.kind is CacheForm.STATE:
            states += 1
        else:
            sizes[layer.chosen or layer.span, layer.mla] += layer.token_bytes
    readings = tuple(Reading(size, span, latent) for (span, latent), size in sizes.items())
    return readings, float(grouping.state), states


def _normed_layers(inspection: Inspection) -> int:
    """Layers that normalise their queries."""
    return max((g.count for g in inspection.tensors if _is_query_norm(g)), default=0)


def _mixing_sites(inspection: Inspection) -> int:
    """Blocks with hyper-connections around them (DeepSeek-V4: ``hc_attn``, ``hc_ffn``)."""
    return max((g.count for g in inspection.tensors if _HYPER.search(g.name) and g.part is not Part.MTP), default=0)


def _is_query_norm(group: TensorGroup) -> bool:
    return group.part is Part.NORM and group.name.endswith("q_norm.weight") and not group.name.startswith("mtp")


def _whole_norms(inspection: Inspection, architecture: Architecture) -> bool:
    """True where one norm spans all query heads, so that its variance needs all ranks (MiniMax-M2, OLMo 2)."""
    wide = (architecture.heads or 0) * (architecture.head_dim or 0)
    return any(_is_query_norm(g) and wide and g.shape[-1:] == (wide,) for g in inspection.tensors)


def _format(inspection: Inspection, precision: Precision, *, routed: bool) -> WeightFormat | None:
    """Format of quantised weights; four-bit integers where a published quantisation names none."""
    weight_format = (experts_format if routed else dense_format)(inspection, precision)
    if weight_format is not None or precision is not Precision.PUBLISHED or inspection.quantisation is None:
        return weight_format
    return WeightFormat.INT4 if (inspection.quantisation.bits or 16) <= 4 else None


def _kernel_key(weight_format: WeightFormat | None, generation: Generation, *, routed: bool) -> str:
    """Name of the kernel that multiplies weights of a format on a generation of cards.

    What is stored in four bits is multiplied in BF16 unless the card has FP4 (NVFP4, and MXFP4 of both operands) or takes FP8
    inputs (routed experts in MXFP4 on Blackwell and CDNA 4): vLLM 0.32 layers/quantization.
    """
    if weight_format is WeightFormat.NVFP4:
        return "nvfp4" if generation.nvfp4 is Support.NATIVE else "int4"
    if weight_format is WeightFormat.MXFP4:
        native = "mxfp4 by fp8" if routed else "nvfp4"
        return native if generation.mxfp4 is Support.NATIVE else "mxfp4"
    if weight_format in (WeightFormat.INT4, WeightFormat.NF4):
        return "int4"
    if weight_format in (WeightFormat.FP8, WeightFormat.MXFP8):
        return "fp8" if generation.fp8 is not Support.WEIGHT_ONLY else "int8"
    if weight_format is WeightFormat.INT8:
        return "fp8"
    return "int8" if weight_format is WeightFormat.INT8_PACKED else "bf16"
