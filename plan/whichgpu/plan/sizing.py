"""One model over many layouts: what each card holds, what its pool is, and whether it is enough."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from whichgpu.inspect.mixer_kinds import traits
from whichgpu.inspect.records import Grade, Mixer, ModelClass, Origin, Part
from whichgpu.plan import kv_layers
from whichgpu.plan.activations import Activations
from whichgpu.plan.adapters import ADAPTERS, WHY, Adapters, adapters_of
from whichgpu.plan.case import Case, ServedModel
from whichgpu.plan.choices import MemoryGroup
from whichgpu.plan.drafting import draft_size, is_known
from whichgpu.plan.kv_pool import Grouping, Pool, Schedule
from whichgpu.plan.layouts import candidate_layouts, stage_layers
from whichgpu.plan.media import unloaded_parts
from whichgpu.plan.offloading import left_on_card, offloaded_bytes
from whichgpu.plan.records import Accelerator, Generation, Kernels, KvDtype, Layout, Precision, Verdict, Workload
from whichgpu.plan.runtime import StageCase, batch_of, has_checked_states, kind_of, runtime_sizes, stage_case
from whichgpu.plan.terms import GIB, Size, computed
from whichgpu.plan.weight_table import WeightTable
from whichgpu.plan.weights import total_bytes

_WEIGHT_ERROR = {Grade.HEADERS: 0.003, Grade.SIZES: 0.006, Grade.CONFIG: 0.006, Grade.NOTHING: 0.1}
"""Share by which loaded weights may differ (27 layouts of vLLM 0.32's own classes, 60 start-up logs)."""

_DRIFT = 0.12 * GIB
"""What identical starts differ by: the allocator's segments and the card's own use."""


_ANY_CARD = Generation(name="any")
"""Where a pool is asked for without a card: blocks of 16, as on most."""


class _TableKey(NamedTuple):
    """What the weights of a model depend on."""

    precision: Precision
    speculative: bool
    without: frozenset[Part]
    """Encoders that are not loaded."""
    adapters: Adapters | None


class _Loaded(NamedTuple):
    """What decides the weights of each stage."""

    table: _TableKey
    layout: Layout
    kernels: Kernels
    offloaded: int
    """Bytes per card that the host may take over."""


class _PoolKey(NamedTuple):
    """What decides the geometry of the shared pool."""

    ways: tuple[int, int, int]
    """Tensor, pipeline and context parallel."""
    generation: Generation
    tokens: int
    """max_num_batched_tokens."""
    kv_dtype: KvDtype
    speculative_tokens: int
    draft: tuple[Mixer, ...]
    """Layers of a draft model."""


class _Geometry(NamedTuple):
    """The same, less what makes no difference."""

    setting: kv_layers.CacheSetting
    stages: int
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class StageSizes:
    """One card of one pipeline stage."""

    weights: int
    parts: tuple[Size, ...]
    """Weights by component, then activations, then what stays resident."""
    pool: int

    def of(self, group: MemoryGroup) -> int:
        return round(sum(p.bytes for p in self.parts if p.group is group))


@dataclass(frozen=True, slots=True)
class Sizes:
    """One layout on one card, worked out."""

    stages: tuple[StageSizes, ...]
    poorest: int
    """Index of the stage whose pool holds least."""
    budget: int
    usable: int
    error_down: int
    """Bytes by which the pool may be smaller than predicted."""
    error_up: int
    cache: Pool
    blocks: int | None
    verdict: Verdict

    @property
    def stage(self) -> StageSizes:
        return self.stages[self.poorest]

    @property
    def pool(self) -> int:
        return self.stage.pool


class Sizer:
    """Sizes of one model under one version of vLLM; what layouts have in common is worked out once."""

    def __init__(self, model: ServedModel) -> None:
        self.model = model
        self.inspection, self.engine = model.inspection, model.engine
        self._activations = Activations(model)
        self._candidates_of = cache(self._list_candidates)
        self._table_of = cache(self._make_table)
        self._total_of = cache(self._sum_total)
        self._grouping_of = cache(self._group_caches)
        self._pool_of = cache(self._find_pool)
        self._geometry_of = cache(self._make_pool)
        self._others_of = cache(self._size_others)
        self._weights_of = cache(self._size_weights)

    def knows_cache(self, workload: Workload) -> bool:
        """True when every layer's cache can be counted at the workload's precision of it, or there is none by nature."""
        inspection = self.inspection
        if not is_known(workload.draft):
            return False
        if {ModelClass.DIFFUSION, ModelClass.ENCODER}.intersection(inspection.classes):
            return True
        mixers = inspection.architecture.mixers if inspection.architecture else ()
        kv_dtype = kv_layers.kv_dtype_of(inspection, workload.kv_dtype)
        return bool(mixers) and all(kv_layers.is_counted(m, kv_dtype) for m in mixers)

    def kv_dtype(self, asked: KvDtype, generation: Generation) -> str:
        """Return the precision of the cache on a generation of cards: ``bf16`` or ``fp8``."""
        return kv_layers.kv_dtype_of(self.inspection, asked, kv_layers.default_kv_dtype(self.model, generation))

    def layouts(self, node_counts: tuple[int, ...]) -> tuple[Layout, ...]:
        """Return the layouts worth trying on a kind of node, fewest cards first."""
        return self._candidates_of(node_counts)

    def _list_candidates(self, node_counts: tuple[int, ...]) -> tuple[Layout, ...]:
        return tuple(candidate_layouts(self.inspection, node_counts))

    def table(self, precision: Precision, workload: Workload) -> WeightTable:
        """Return the weights at a precision."""
        return self._table_of(self._table_key(precision, workload))

    def _table_key(self, precision: Precision, workload: Workload) -> _TableKey:
        without = unloaded_parts(self.model, workload)
        return _TableKey(precision, workload.speculative_tokens > 0, without, adapters_of(workload))

    def _make_table(self, key: _TableKey) -> WeightTable:
        return WeightTable(self.model, *key)

    def total(self, precision: Precision) -> int | None:
        """Return the bytes of everything that is loaded; ``None`` when the tensors are unknown."""
        return self._total_of(precision)

    def _sum_total(self, precision: Precision) -> int | None:
        return total_bytes(self.inspection, precision)

    def cache(self, workload: Workload, layout: Layout, card: Accelerator | None = None) -> Pool:
        """Return the shared pool's geometry."""
        generation = card.generation if card is not None else _ANY_CARD
        tokens = batch_of(card, self.engine, workload).tokens if card is not None else 8_192
        ways = layout.tensor_parallel, layout.pipeline_parallel, layout.context_parallel
        mixers = (workload.draft.mixers or ()) if workload.draft is not None else ()
        return self._pool_of(_PoolKey(ways, generation, tokens, workload.kv_dtype, workload.drafted, mixers))

    def _find_pool(self, key: _PoolKey) -> Pool:
        """Return the pool of a setting; settings that make no difference share one."""
        tp, stages, shared = key.ways
        steps = self.engine.in_flight_steps + (stages - 1)
        setting = kv_layers.CacheSetting(
            kv_dtype=self.kv_dtype(key.kv_dtype, key.generation),
            tp=tp,
            block=kv_layers.block_size(self.inspection.architecture, key.generation),
            state_blocks=1 if self._attention_free() else self.engine.state_blocks,
            speculative=key.speculative_tokens,
            scaled_latent=key.generation.scaled_latent,
            delta_checkpoints=key.generation.delta_checkpoints,
            windows=self.engine.hybrid_groups,
            draft=key.draft,
        )
        schedule = Schedule(key.tokens * steps, steps * (1 + key.speculative_tokens), shared)
        return self._geometry_of(_Geometry(setting, stages, schedule))

    def _make_pool(self, geometry: _Geometry) -> Pool:
        return Pool(self._grouping_of(geometry.setting), self._ranges(geometry.stages), geometry.schedule)

    def _group_caches(self, setting: kv_layers.CacheSetting) -> Grouping:
        return Grouping(kv_layers.cache_layers(self.model, setting))

    def _attention_free(self) -> bool:
        mixers = self.inspection.architecture.mixers if self.inspection.architecture else ()
        return all(traits(m.kind).attention_free for m in mixers)

    def _ranges(self, stages: int) -> list[range]:
        architecture = self.inspection.architecture
        layers = (architecture.layers if architecture else None) or stages
        layers = max(layers, len(architecture.mixer_layout) if architecture else 0)
        if stages == 1:
            return [range(10**6)]
        bounds = [0]
        for count in stage_layers(layers, stages):
            bounds.append(bounds[-1] + count)
        return [range(low, high) for low, high in itertools.pairwise(bounds)]

    def size(self, case: Case) -> Sizes:
        """Work out one layout on one card."""
        usable = int(case.card.usable_gib * GIB)
        budget = int(usable * self._share(case.workload))
        stages = self._stages(case, budget)
        pool = self.cache(case.workload, case.layout, case.card)
        poorest = _poorest(stages, pool)
        down, up = _errors(stages[poorest].parts)
        pools = [s.pool for s in stages]
        return Sizes(
            stages=stages,
            poorest=poorest,
            budget=budget,
            usable=usable,
            error_down=down,
            error_up=up,
            cache=pool,
            blocks=pool.blocks(pools),
            verdict=self._verdict(case, pool, pools, (down, up)),
        )

    def _share(self, workload: Workload) -> float:
        return workload.utilisation if workload.utilisation is not None else self.engine.utilisation

    def hopeless(self, case: Case) -> bool:
        """True where the weights alone are too many for a card, which is quick to see."""
        room = self.room(case.workload, case.card)
        share = self.table(case.precision, case.workload).total / case.layout.cards
        return share > room or self.fullest(case) > room

    def fullest(self, case: Case) -> int:
        """Return the bytes of weights on the card that holds most of them."""
        table = self.table(case.precision, case.workload)
        return max(table.per_stage(case.layout, case.card.generation.mxfp4_padding))

    def room(self, workload: Workload, card: Accelerator) -> float:
        """Return the bytes that weights may take on a card if everything errs in their favour."""
        budget = card.usable_gib * GIB * self._share(workload) + (0 if card.unified else workload.cpu_offload_gb * GIB)
        return (budget + _DRIFT) / (1 - _WEIGHT_ERROR[self.inspection.grade])

    def published_is_bf16(self, workload: Workload) -> bool:
        """True where the published weights are loaded as BF16 to the byte, so that both columns are one."""
        if self.inspection.quantisation is not None:
            return False
        return self.table(Precision.PUBLISHED, workload).same_as(self.table(Precision.BF16, workload))

    def _stages(self, case: Case, budget: int) -> tuple[StageSizes, ...]:
        """Work out one card of each pipeline stage."""
        kind = kind_of(case.card, self.engine, case.workload)
        loaded = _Loaded(
            self._table_key(case.precision, case.workload),
            case.layout,
            case.card.generation.mxfp4_padding,
            offloaded_bytes(case.workload, case.card, self.inspection, case.precision),
        )
        stages: list[StageSizes] = []
        for index, (parts, weights) in enumerate(self._weights_of(loaded)):
            others, size = self._others_of(stage_case(case, kind, index, loaded.table.without))
            draft = draft_size(case.workload.draft, case.layout.tensor_parallel)
            if draft is not None and index == case.layout.pipeline_parallel - 1:
                parts, weights = (*parts, draft), weights + round(draft.bytes)
            stages.append(StageSizes(weights, (*parts, *others), budget - weights - size))
        return tuple(stages)

    def _size_others(self, case: StageCase) -> tuple[tuple[Size, ...], int]:
        """Return what is not weights: the same on all stages between the ends, and on cards of one kind."""
        others = (self._activations.size(case), *runtime_sizes(self.model, case))
        return others, round(sum(p.bytes for p in others))

    def _size_weights(self, loaded: _Loaded) -> tuple[tuple[tuple[Size, ...], int], ...]:
        """Return, per pipeline stage, the weights by component and in all."""
        error = _WEIGHT_ERROR[self.inspection.grade]
        read = self.inspection.grade is Grade.HEADERS and loaded.table.precision is Precision.PUBLISHED
        origin = Origin.READ if read else Origin.COMPUTED
        components = self._table_of(loaded.table).stages(loaded.layout, loaded.kernels).items()
        stages: list[tuple[tuple[Size, ...], int]] = []
        for index in range(loaded.layout.pipeline_parallel):
            parts = tuple(_tensors(name, s[index], error, origin) for name, s in components if s[index])
            parts = left_on_card(parts, loaded.offloaded)
            stages.append((parts, round(sum(p.bytes for p in parts))))
        return tuple(stages)

    def _verdict(self, case: Case, pool: Pool, sizes: Sequence[int], errors: tuple[int, int]) -> Verdict:
        """Compare what is asked with the pool at both ends of its error."""
        down, up = errors
        if min(sizes) + up <= 0:
            return Verdict.NO
        if not self.knows_cache(case.workload):
            return Verdict.UNKNOWN
        if not pool.anything:
            return Verdict.FITS if min(sizes) - down >= 0 else Verdict.TIGHT
        needed_blocks = pool.together(case.copies, case.workload.context) + 1  # one block always stays empty
        if case.workload.max_sequences is not None and has_checked_states(self.model, case.workload):
            needed_blocks = max(needed_blocks, batch_of(case.card, self.engine, case.workload).sequences)
        if (pool.blocks([s - down for s in sizes]) or 0) >= needed_blocks:
            return Verdict.FITS
        return Verdict.TIGHT if (pool.blocks([s + up for s in sizes]) or 0) >= needed_blocks else Verdict.NO


def _tensors(component: str, size: float, error: float, origin: Origin) -> Size:
    if component == ADAPTERS:
        return computed(component, size, (1.0, 1.0), WHY, "--max-lora-rank", MemoryGroup.WEIGHTS)
    low, high = size * (1 - error), size * (1 + error)
    return Size(component, size, low, high, origin, "tensors of this component on one card", MemoryGroup.WEIGHTS)


def _poorest(stages: Sequence[StageSizes], cache: Pool) -> int:
    """The stage that runs out first: fewest blocks, or without a cache the least memory."""

    def room(index: int) -> float:
        size = cache.bytes_per_block[index]
        return stages[index].pool / size if size else stages[index].pool

    return min(range(len(stages)), key=room)


def _errors(parts: Iterable[Size]) -> tuple[int, int]:
    """Return (how much smaller, how much larger) the pool may be: weights err together, the rest independently."""
    down = up = 0.0
    down_weights = up_weights = 0.0
    for part in parts:
        if part.group is MemoryGroup.WEIGHTS:
            down_weights += part.high - part.bytes
            up_weights += part.bytes - part.low
        else:
            down += (part.high - part.bytes) ** 2
            up += (part.bytes - part.low) ** 2
    down, up = down + down_weights**2 + _DRIFT**2, up + up_weights**2 + _DRIFT**2
    return round(math.sqrt(down)), round(math.sqrt(up))
