"""Layouts worth trying, fewest cards first, and how pipelines are cut.

Why vLLM would refuse one: ``refusals.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whichgpu.inspect.mixer_kinds import traits
from whichgpu.inspect.records import Architecture, Inspection, ModelClass
from whichgpu.plan.records import Layout

_NODES = (1, 2, 4, 8)
"""Whole nodes tried beyond one, as pipeline stages."""


def candidate_layouts(inspection: Inspection, node_counts: Sequence[int]) -> Iterator[Layout]:
    """Yield layouts on nodes that are rented with so many cards, fewest cards first; of the same size the one that vLLM runs fastest by habit first.

    Within a node: tensor parallel, then tensor × pipeline (where heads or widths do not divide), then data parallel
    with whole experts (large mixtures whose cache tensor parallelism would repeat). Beyond a node: pipeline stages.
    """
    splits = ModelClass.DIFFUSION not in inspection.classes
    for count in node_counts:
        if count == 1 or splits:
            yield Layout(tensor_parallel=count)
        if count > 1 and splits:
            yield from (
                Layout(tensor_parallel=count // stages, pipeline_parallel=stages)
                for stages in (2, 4, 8)
                if stages <= count
            )
            if repeats_cache(inspection.architecture, count):
                yield Layout(tensor_parallel=1, data_parallel=count, expert_parallel=True)
    largest = max(node_counts)
    if splits and largest > 1:
        for nodes in _NODES[1:]:
            yield Layout(tensor_parallel=largest, pipeline_parallel=nodes)
            if repeats_cache(inspection.architecture, largest):
                yield Layout(tensor_parallel=largest, data_parallel=nodes, expert_parallel=True)


def layouts_of(cards: int, inspection: Inspection, largest: int) -> Iterator[Layout]:
    """Yield the layouts of exactly so many cards, of which a node has at most ``largest``: the widest tensor parallelism first.

    vLLM takes any count whose heads, widths and stages divide (config/model.py verify_with_parallel_config).
    """
    if ModelClass.DIFFUSION in inspection.classes:
        return
    for tp in range(min(cards, largest), 0, -1):
        if cards % tp == 0:
            yield Layout(tensor_parallel=tp, pipeline_parallel=cards // tp)
    if cards > 1 and repeats_cache(inspection.architecture, cards):
        yield Layout(tensor_parallel=1, data_parallel=cards, expert_parallel=True)


def repeats_cache(architecture: Architecture | None, tp: int) -> bool:
    """True for a mixture of experts whose cache tensor parallelism stores more than once."""
    if architecture is None or not any(f.kind == "moe" for f in architecture.feed_forwards):
        return False
    return any(traits(m.kind).latent for m in architecture.mixers) or bool(
        architecture.kv_heads and architecture.kv_heads < tp
    )


def stage_layers(layers: int, stages: int) -> list[int]:
    """Return the layers of each pipeline stage (vLLM 0.32 distributed/utils.py get_pp_indices).

    What does not divide goes one each to the stages from the second-last backwards.
    """
    base, remainder = divmod(layers, stages)
    counts = [base] * stages
    for index in range(2, remainder + 2):
        counts[-index] += 1
    return counts
