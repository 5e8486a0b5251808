"""One model over many layouts: what each card holds, what its pool is, and whether it is enough."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whichgpu.inspect.mixer_kinds import traits
from whichgpu.inspect.records import Grade, Inspection, ModelClass, Origin
from whichgpu.plan import kv_layers
from whichgpu.plan.activations import Activations
from whichgpu.plan.choices import MemoryGroup
from whichgpu.plan.engine import Engine
from whichgpu.plan.kv_pool import Grouping, Pool
from whichgpu.plan.layouts import candidate_layouts, stage_layers
from whichgpu.plan.records import Accelerator, Generation, Layout, Precision, Verdict, Workload
from whichgpu.plan.runtime import CardKind, batch_of, kind_of, runtime_sizes
from whichgpu.plan.terms import GIB, Size
from whichgpu.plan.weight_table import WeightTable
from whichgpu.plan.weights import total_bytes

_WEIGHT_ERROR = {Grade.HEADERS: 0.003, Grade.SIZES: 0.006, Grade.CONFIG: 0.006, Grade.NOTHING: 0.1}
"""Share by which loaded weights may differ (27 layouts of vLLM 0.32's own classes, 60 start-up logs)."""

_DRIFT = 0.12 * GIB
"""What identical starts differ by: the allocator's segments and the card's own use."""


_ANY_CARD = Generation(name="any")
"""Where a pool is asked for without a card: blocks of 16, as on most."""


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

    def __init__(self, inspection: Inspection, engine: Engine, registry: Mapping[str, Any] | None = None) -> None:
        self.inspection, self.engine = inspection, engine
        self._activations = Activations(inspection, engine)
        names = inspection.architecture.names if inspection.architecture else ()
        self._rotary = not any(n in (registry or {}).get("transformers_backend", ()) for n in names)
        self._candidates: dict[tuple[int, ...], tuple[Layout, ...]] = {}
        self._tables: dict[tuple[Precision, bool, bool], WeightTable] = {}
        self._totals: dict[Precision, int | None] = {}
        self._groupings: dict[kv_layers.CacheSetting, Grouping] = {}
        self._caches: dict[tuple[object, ...], Pool] = {}
        self._asked: dict[tuple[object, ...], Pool] = {}
        self._beside: dict[tuple[object, ...], tuple[tuple[Size, ...], int]] = {}
        self._loaded: dict[tuple[object, ...], tuple[tuple[tuple[Size, ...], int], ...]] = {}

    def knows_cache(self, workload: Workload) -> bool:
        """True when every layer's cache can be counted at the workload's precision of it, or there is none by nature."""
        inspection = self.inspection
        if {ModelClass.DIFFUSION, ModelClass.ENCODER}.intersection(inspection.classes):
            return True
        mixers = inspection.architecture.mixers if inspection.architecture else ()
        kv_dtype = kv_layers.kv_dtype_of(inspection, workload.kv_dtype)
        return bool(mixers) and all(kv_layers.is_counted(m, kv_dtype) for m in mixers)

    def layouts(self, card: Accelerator) -> tuple[Layout, ...]:
        """Return the layouts worth trying on a card, fewest cards first."""
        if card.node_counts not in self._candidates:
            self._candidates[card.node_counts] = tuple(candidate_layouts(self.inspection, card))
        return self._candidates[card.node_counts]

    def table(self, precision: Precision, workload: Workload) -> WeightTable:
        """Return the weights at a precision."""
        key = (precision, workload.speculative_tokens > 0, workload.text_only)
        if key not in self._tables:
            self._tables[key] = WeightTable(
                self.inspection, *key, rotary=self._rotary, image_factor=self.engine.image_table_factor
            )
        return self._tables[key]

    def total(self, precision: Precision) -> int | None:
        """Return the bytes of everything that is loaded; ``None`` when the tensors are unknown."""
        if precision not in self._totals:
            self._totals[precision] = total_bytes(self.inspection, precision)
        return self._totals[precision]

    def cache(self, workload: Workload, layout: Layout, card: Accelerator | None = None) -> Pool:
        """Return the shared pool's geometry."""
        generation = card.generation if card is not None else _ANY_CARD
        tokens = batch_of(card, self.engine, workload).tokens if card is not None else 8_192
        ways = layout.tensor_parallel, layout.pipeline_parallel, layout.context_parallel
        key = (ways, generation, tokens, workload.kv_dtype, workload.speculative_tokens)
        if key not in self._asked:
            self._asked[key] = self._pool(workload, layout, generation, tokens)
        return self._asked[key]

    def _pool(self, workload: Workload, layout: Layout, generation: Generation, tokens: int) -> Pool:
        """Return the pool of a setting; settings that make no difference share one."""
        architecture = self.inspection.architecture
        steps = self.engine.in_flight_steps + (layout.pipeline_parallel - 1)
        setting = kv_layers.CacheSetting(
            kv_dtype=kv_layers.kv_dtype_of(self.inspection, workload.kv_dtype),
            tp=layout.tensor_parallel,
            block=kv_layers.block_size(architecture, generation),
            state_blocks=1 if self._attention_free() else self.engine.state_blocks,
            speculative=workload.speculative_tokens,
            scaled_latent=generation.scaled_latent,
            windows=self.engine.hybrid_groups,
        )
        key = (setting, layout.pipeline_parallel, layout.context_parallel, tokens * steps)
        if key not in self._caches:
            if setting not in self._groupings:
                self._groupings[setting] = Grouping(kv_layers.cache_layers(architecture, setting))
            ranges = self._ranges(layout.pipeline_parallel)
            drafted = steps * (1 + workload.speculative_tokens)
            self._caches[key] = Pool(self._groupings[setting], ranges, tokens * steps, drafted, layout.context_parallel)
        return self._caches[key]

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

    def size(self, workload: Workload, precision: Precision, card: Accelerator, layout: Layout) -> Sizes:
        """Work out one layout on one card."""
        usable = int(card.usable_gib * GIB)
        share = workload.utilisation if workload.utilisation is not None else self.engine.utilisation
        budget = int(usable * share)
        stages = self._stages(workload, precision, card, layout, budget)
        cache = self.cache(workload, layout, card)
        poorest = _poorest(stages, cache)
        down, up = _errors(stages[poorest].parts)
        pools = [s.pool for s in stages]
        return Sizes(
            stages=stages,
            poorest=poorest,
            budget=budget,
            usable=usable,
            error_down=down,
            error_up=up,
            cache=cache,
            blocks=cache.blocks(pools),
            verdict=self._verdict(cache, pools, down, up, workload, layout),
        )

    def hopeless(self, workload: Workload, precision: Precision, card: Accelerator, layout: Layout) -> bool:
        """True where the weights alone are too many for a card, which is quick to see."""
        room = self.room(workload, card)
        share = self.table(precision, workload).total / layout.cards
        return share > room or self.fullest(workload, precision, card, layout) > room

    def fullest(self, workload: Workload, precision: Precision, card: Accelerator, layout: Layout) -> int:
        """Return the bytes of weights on the card that holds most of them."""
        return max(self.table(precision, workload).per_stage(layout, card.generation.mxfp4_padding))

    def room(self, workload: Workload, card: Accelerator) -> float:
        """Return the bytes that weights may take on a card if everything errs in their favour."""
        share = workload.utilisation if workload.utilisation is not None else self.engine.utilisation
        return (card.usable_gib * GIB * share + _DRIFT) / (1 - _WEIGHT_ERROR[self.inspection.grade])

    def published_is_bf16(self, workload: Workload) -> bool:
        """True where the published weights are loaded as BF16 to the byte, so that both columns are one."""
        if self.inspection.quantisation is not None:
            return False
        return self.table(Precision.PUBLISHED, workload).same_as(self.table(Precision.BF16, workload))

    def _stages(
        self, workload: Workload, precision: Precision, card: Accelerator, layout: Layout, budget: int
    ) -> tuple[StageSizes, ...]:
        """Work out one card of each pipeline stage."""
        last, kind = layout.pipeline_parallel - 1, kind_of(card, self.engine, workload)
        stages: list[StageSizes] = []
        for index, (parts, weights) in enumerate(self._weights(workload, precision, card, layout)):
            others, size = self._others(workload, precision, kind, layout, index == 0, index == last)
            stages.append(StageSizes(weights, (*parts, *others), budget - weights - size))
        return tuple(stages)

    def _others(
        self, workload: Workload, precision: Precision, kind: CardKind, layout: Layout, first: bool, last: bool
    ) -> tuple[tuple[Size, ...], int]:
        """Return what is not weights: the same on all stages between the ends, and on cards of one kind."""
        ways = layout.tensor_parallel, layout.data_parallel, layout.expert_parallel, layout.cards > 1
        settings = workload.eager, workload.text_only, workload.speculative_tokens
        key = (ways, precision, kind, first, last, settings)
        if key not in self._beside:
            peak = self._activations.size(precision, kind, layout, workload, first, last)
            stays = runtime_sizes(self.inspection, precision, kind, layout, self.engine, workload, last)
            others = (peak, *stays)
            self._beside[key] = others, round(sum(p.bytes for p in others))
        return self._beside[key]

    def _weights(
        self, workload: Workload, precision: Precision, card: Accelerator, layout: Layout
    ) -> tuple[tuple[tuple[Size, ...], int], ...]:
        """Return, per pipeline stage, the weights by component and in all."""
        table, kernels = self.table(precision, workload), card.generation.mxfp4_padding
        key = (id(table), layout, kernels)
        if key not in self._loaded:
            error = _WEIGHT_ERROR[self.inspection.grade]
            read = self.inspection.grade is Grade.HEADERS and precision is Precision.PUBLISHED
            origin = Origin.READ if read else Origin.COMPUTED
            components = table.stages(layout, kernels).items()
            stages: list[tuple[tuple[Size, ...], int]] = []
            for index in range(layout.pipeline_parallel):
                parts = tuple(_tensors(name, s[index], error, origin) for name, s in components if s[index])
                stages.append((parts, round(sum(p.bytes for p in parts))))
            self._loaded[key] = tuple(stages)
        return self._loaded[key]

    def _verdict(
        self, cache: Pool, pools: Sequence[int], down: int, up: int, workload: Workload, layout: Layout
    ) -> Verdict:
        """Compare what is asked with the pool at both ends of its error."""
        if min(pools) + up <= 0:
            return Verdict.NO
        if not self.knows_cache(workload):
            return Verdict.UNKNOWN
        if not cache.anything:
            return Verdict.FITS if min(pools) - down >= 0 else Verdict.TIGHT
        copies = -(-workload.concurrency // layout.data_parallel)
        needed_blocks = cache.together(copies, workload.context) + 1  # one block always stays empty
        if (cache.blocks([p - down for p in pools]) or 0) >= needed_blocks:
            return Verdict.FITS
        return Verdict.TIGHT if (cache.blocks([p + up for p in pools]) or 0) >= needed_blocks else Verdict.NO


def _tensors(component: str, size: float, error: float, origin: Origin) -> Size:
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
