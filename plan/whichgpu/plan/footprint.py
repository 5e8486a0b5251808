"""The record of one layout on one card, from its sizes."""

from __future__ import annotations

from whichgpu.plan.case import Case
from whichgpu.plan.choices import MemoryGroup
from whichgpu.plan.records import Footprint, Workload
from whichgpu.plan.sizing import Sizer, Sizes


def footprint_of(sizer: Sizer, case: Case, sizes: Sizes, detailed: bool = True) -> Footprint:
    """Return the record; figures are of the pipeline stage that runs out first, broken down when ``detailed``."""
    workload, layout = case.workload, case.layout
    stage, cache, blocks = sizes.stage, sizes.cache, sizes.blocks
    activations = stage.of(MemoryGroup.ACTIVATIONS)
    spent = sizes.budget - stage.pool
    cache_is_known = sizer.knows_cache(workload)
    usable_blocks = blocks if cache_is_known and blocks and blocks > 1 else None
    per_sequence = cache.per_sequence(workload.context) if cache.anything else None
    sequences = cache.sequences(usable_blocks, workload.context) if usable_blocks and cache.anything else 0.0
    per_block = cache.bytes_per_block[sizes.poorest]
    return Footprint(
        layout=layout,
        weights=stage.weights,
        activations=activations,
        runtime=spent - stage.weights - activations,
        terms=tuple(part.term() for part in stage.parts) if detailed else (),
        usable=sizes.usable,
        budget=sizes.budget,
        pool=stage.pool,
        pool_low=stage.pool - sizes.error_down,
        pool_high=stage.pool + sizes.error_up,
        kv_per_token=round(cache.growth / layout.pipeline_parallel),
        state_per_sequence=cache.state // layout.pipeline_parallel,
        kv_needed=cache.together(case.copies, workload.context) * per_block if cache_is_known else None,
        block_size=cache.block,
        bytes_per_block=per_block or None,
        blocks=blocks if cache_is_known else None,
        blocks_per_sequence=per_sequence,
        capacity_tokens=int(sequences * workload.context) if sequences and cache.growth else None,
        printed_tokens=cache.printed(usable_blocks, workload.context, sizer.engine.unified_count)
        if usable_blocks and cache.growth
        else None,
        max_sequences=int(sequences) if cache_is_known and cache.anything else None,
        concurrency=round(cache.concurrency(usable_blocks, workload.context), 2)
        if usable_blocks and per_sequence
        else None,
        longest_context=_longest(sizer, sizes, workload) if usable_blocks else None,
        verdict=sizes.verdict,
    )


def _longest(sizer: Sizer, sizes: Sizes, workload: Workload) -> int | None:
    """Longest single sequence, up to what the model allows; ``None`` where no layer grows with tokens."""
    architecture = sizer.inspection.architecture
    limit = (architecture.context if architecture else None) or workload.context
    if sizes.blocks is None or not sizes.cache.growth:
        return None
    return sizes.cache.longest(sizes.blocks, limit)
