"""What is said beside the numbers: reasons against a plan, and notes to an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from whichgpu.inspect.records import Grade, Inspection, Part
from whichgpu.inspect.weight_formats import WeightFormat
from whichgpu.plan import padding
from whichgpu.plan.case import Case, ServedModel
from whichgpu.plan.drafting import drafting_notes
from whichgpu.plan.formats import experts_format
from whichgpu.plan.layouts import repeats_cache
from whichgpu.plan.loading import is_read_elsewhere, loading_reasons
from whichgpu.plan.offloading import offloading_reasons
from whichgpu.plan.records import Accelerator, Footprint, Layout, Verdict, Workload
from whichgpu.plan.refusals import is_halved, precision_note
from whichgpu.plan.runtime import GRAPHS_OFF, overestimates_graphs, rocm_image
from whichgpu.plan.sizing import Sizer, Sizes
from whichgpu.plan.support import support_notes
from whichgpu.plan.terms import GIB


def plan_reasons(sizer: Sizer, case: Case, sizes: Sizes) -> Iterator[str]:
    """Yield what speaks against a plan that is made all the same, most important first."""
    card, layout = case.card, case.layout
    if sizes.verdict is Verdict.TIGHT:
        low, high = (sizes.pool - sizes.error_down) / GIB, (sizes.pool + sizes.error_up) / GIB
        yield f"tight: the pool is {low:.1f} to {high:.1f} GiB, and what is asked lies between"
    if sizes.verdict is Verdict.UNKNOWN:
        yield "not all of its cache is known; only what is shown was found to fit"
    yield from loading_reasons(sizer.model)
    yield from offloading_reasons(case, sizes.cache.growth * layout.tensor_parallel)
    note = precision_note(card, case.precision)
    if note is not None:
        yield note
    architecture = sizer.inspection.architecture
    if is_halved(card, sizer.engine) and architecture is not None and architecture.dtype != "F16":
        yield "computed in FP16: the card has no BF16"
    padded = _padding_factor(sizer.inspection, case)
    if padded > 1:
        yield f"this card's kernels pad the MXFP4 experts by {padded - 1:.0%}, which is counted"
    if layout.tensor_parallel > 1 and repeats_cache(sizer.inspection.architecture, layout.tensor_parallel):
        yield from _repeated_cache(sizer, case, sizes)
    nodes = card.machines(layout.cards)
    if nodes > 1:
        yield f"needs {nodes} nodes, each with its command (--target vllm writes them all)"
    if card.vendor == "amd":
        yield f"vLLM's ROCm build serves it, for example the image {rocm_image(sizer.engine.version)}"
    if overestimates_graphs(layout) and sizer.engine.graphs_charged:
        yield f"vLLM's own estimate of CUDA graphs is far too high here; the command has {GRAPHS_OFF}"


def _repeated_cache(sizer: Sizer, case: Case, sizes: Sizes) -> Iterator[str]:
    """Say what data parallel with whole experts would hold, where tensor parallel stores the cache more than once."""
    workload, layout = case.workload, case.layout
    other = replace(case, layout=Layout(tensor_parallel=1, data_parallel=layout.cards, expert_parallel=True))
    if layout.pipeline_parallel > 1 or layout.data_parallel > 1 or case.precision is not workload.precision:
        return
    if sizer.hopeless(other):
        return
    spread = sizer.size(other)
    mine = sizes.cache.sequences(sizes.blocks or 0, workload.context)
    theirs = spread.cache.sequences(spread.blocks or 0, workload.context) * layout.cards
    if mine and theirs > 1.5 * mine:
        options = f"--data-parallel-size {layout.cards} --enable-expert-parallel"
        yield f"its cache is stored on more than one card; {options} would hold {theirs / mine:.1f} × the tokens"


def _padding_factor(inspection: Inspection, case: Case) -> float:
    if experts_format(inspection, case.precision) is not WeightFormat.MXFP4:
        return 1.0
    layout = case.layout
    ways = 1 if layout.expert_parallel else layout.tensor_parallel * layout.data_parallel
    return padding.packed_experts(inspection.architecture, case.card.generation.mxfp4_padding, ways)


def unsold(card: Accelerator, layout: Layout, sold: tuple[int, ...] | None) -> Iterator[str]:
    """Mark a count that no known offer has, where all known offers are for fixed counts."""
    node_cards = min(layout.cards, max(card.node_counts))
    if sold is not None and node_cards not in sold:
        larger = next((c for c in sold if c > node_cards), None)
        cure = f"; the next larger is {larger}" if larger else ""
        yield f"no known offer rents {node_cards} of these in one machine{cure}"


def unchecked_start(model: ServedModel, card: Accelerator) -> str:
    """Say that vLLM was not asked whether it has kernels for a plan."""
    if is_read_elsewhere(model):
        return "not checked: whether it starts (its config or class is not vLLM's own)"
    if card.vendor != "nvidia":
        return (
            "not checked: whether vLLM has kernels for its layers here (its selectors were asked of NVIDIA cards alone)"
        )
    return "not checked: whether vLLM has kernels for its layers here (its selectors were not asked about such layers or this card)"


def shortfall(layout: Layout, footprint: Footprint) -> str:
    """Return why even the largest layout tried is too small."""
    cards = "one card" if layout.cards == 1 else f"even {layout.cards} cards"
    if footprint.pool <= 0:
        verb = "is" if layout.cards == 1 else "are"
        return f"{cards} {verb} {-footprint.pool / GIB:.1f} GiB short per card for the weights alone"
    return f"{cards} hold{'s' if layout.cards == 1 else ''} {footprint.max_sequences or 0} sequences at once"


def answer_notes(sizer: Sizer, workload: Workload, asked_context: int) -> tuple[str, ...]:
    """Return what a reader must know of the whole answer."""
    inspection, engine = sizer.inspection, sizer.engine
    notes: list[str] = []
    if asked_context > workload.context:
        planned = f"the model allows {workload.context:,}, and that is what is planned."
        notes.append(f"Asked for {asked_context:,} tokens; {planned}")
    notes += support_notes(sizer.model)
    if engine.newer_than_known:
        notes.append(f"vLLM {engine.version} is newer than the newest whose rules are known; those are used.")
    tables = sum(group.bytes or 0 for group in inspection.tensors if group.part is Part.LOOKUP)
    if tables:
        size = f"{tables / GIB:.0f} GiB of n-gram tables"
        notes.append(
            f"{size} lie in the host's memory, which vLLM pins (EngramConfig.cpu_offload): each machine needs that much RAM beside."
        )
    if inspection.grade is not Grade.HEADERS:
        notes.append(f"Graded “{inspection.grade.value}”: {inspection.grade_note}.")
    if not sizer.knows_cache(workload):
        notes.append("Not all of its cache is known; it comes on top of what is shown, so leave room for it.")
    if workload.speculative_tokens and not (inspection.architecture and inspection.architecture.mtp_layers):
        notes.append("The model has no next-token layers of its own; --speculative changes nothing.")
    return (*notes, *drafting_notes(workload))
