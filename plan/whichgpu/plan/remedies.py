"""What would make a plan fit: one change at a time, each recomputed, best first."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from whichgpu.inspect.weight_formats import WeightFormat
from whichgpu.plan.case import Case
from whichgpu.plan.footprint import footprint_of
from whichgpu.plan.gate import Gate
from whichgpu.plan.records import Accelerator, KvDtype, Layout, Precision, Remedy, Verdict, Workload
from whichgpu.plan.refusals import layout_refusal, precision_refusal
from whichgpu.plan.runtime import batch_of
from whichgpu.plan.sizing import Sizer, Sizes
from whichgpu.plan.terms import GIB

_ORDER = {Verdict.FITS: 0, Verdict.TIGHT: 1, Verdict.UNKNOWN: 2, Verdict.NO: 3}
_FOUR_BITS = frozenset({WeightFormat.INT4, WeightFormat.NF4, WeightFormat.NVFP4, WeightFormat.MXFP4})
_WORTH_SAYING = 1.01
"""Changes that win less than one part in a hundred are left out."""


@dataclass(frozen=True, slots=True)
class _Change:
    """One thing to do differently."""

    flag: str
    case: Case
    asks_less: bool = False
    """True where the question shrinks rather than the need."""
    other_checkpoint: bool = False
    """True where somebody has to have made the checkpoint: an option of the one at hand goes first."""


def remedies(sizer: Sizer, case: Case, gate: Gate) -> tuple[Remedy, ...]:
    """Return the changes that help and that vLLM takes: those that make it fit first, of these the ones that ask for less last, and of the rest
    the ones on the fewest cards first, options of the checkpoint at hand before another one."""
    ranked_remedies: list[tuple[tuple[int, bool, int, bool, float], Remedy]] = []
    sizes = sizer.size(case)
    before = footprint_of(sizer, case, sizes)
    for change in _changes(sizer, case, sizes):
        if gate.refuses(change.case):
            continue
        after = sizer.size(change.case)
        footprint = footprint_of(sizer, change.case, after, detailed=False)
        tokens = (footprint.capacity_tokens or 0) / max(1, before.capacity_tokens or 1)
        freed = footprint.pool - before.pool
        helps = tokens > _WORTH_SAYING or freed > 0.01 * GIB or _ORDER[after.verdict] < _ORDER[sizes.verdict]
        if not helps or (after.verdict is Verdict.NO and freed < 0.1 * GIB and tokens <= _WORTH_SAYING):
            continue
        remedy = Remedy(
            flag=change.flag,
            effect=_effect(change, freed, tokens if before.capacity_tokens else 0.0),
            verdict=after.verdict,
            pool=footprint.pool,
            capacity_tokens=footprint.capacity_tokens,
            max_sequences=footprint.max_sequences,
            changes=_changed_settings(case.workload, change.case) if change.case.layout == case.layout else {},
        )
        rank = (
            _ORDER[after.verdict],
            change.asks_less,
            change.case.layout.cards,
            change.other_checkpoint,
            -tokens or -float(freed),
        )
        ranked_remedies.append((rank, remedy))
    return tuple(remedy for _, remedy in sorted(ranked_remedies, key=lambda item: item[0]))


def _changed_settings(before: Workload, changed: Case) -> dict[str, str | int | float | bool]:
    """What another workload has to say so that the planner comes to this change."""
    utilisation_update = {"utilisation_asked": True} if changed.workload.utilisation != before.utilisation else {}
    after = changed.workload.model_copy(update={"precision": changed.precision, **utilisation_update})
    old = before.model_dump(mode="json")
    return {name: value for name, value in after.model_dump(mode="json").items() if value != old[name]}


def _effect(change: _Change, freed: int, tokens: float) -> str:
    if change.asks_less:
        return "asks for less"
    words = [f"frees {freed / GIB:.1f} GiB"] if freed > 0.05 * GIB else []
    words += [f"{tokens:.1f} × tokens"] if tokens > 1.05 else []
    return ", ".join(words) or "a little more room"


def _changes(sizer: Sizer, case: Case, sizes: Sizes) -> Iterator[_Change]:
    for flag, settings in _settings(sizer, case.workload, case.card):
        yield _Change(flag, _asking(case, settings))
    unquantised = case.precision in (Precision.PUBLISHED, Precision.BF16) and sizer.inspection.quantisation is None
    if unquantised and precision_refusal(sizer.inspection, case.card, Precision.FP8, sizer.engine) is None:
        yield _Change("--quantization fp8", replace(case, precision=Precision.FP8))
    if (
        _is_above_four_bits(sizer, case)
        and precision_refusal(sizer.inspection, case.card, Precision.INT4, sizer.engine) is None
    ):
        yield _Change(
            "a 4-bit checkpoint of it (AWQ, GPTQ)", replace(case, precision=Precision.INT4), other_checkpoint=True
        )
    for other in _layouts(sizer, case):
        yield _Change(_layout_flags(other), replace(case, layout=other))
    yield from _smaller_questions(case, sizes)


def _is_above_four_bits(sizer: Sizer, case: Case) -> bool:
    quantisation = sizer.inspection.quantisation
    formats = quantisation.formats if quantisation is not None and case.precision is Precision.PUBLISHED else ()
    return case.precision in (Precision.PUBLISHED, Precision.BF16, Precision.FP8) and not _FOUR_BITS.intersection(
        formats
    )


def _asking(case: Case, settings: Mapping[str, Any]) -> Case:
    return replace(case, workload=case.workload.model_copy(update=settings))


def _settings(sizer: Sizer, workload: Workload, card: Accelerator) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield vLLM options that leave model and cards as they are."""
    batch, architecture = batch_of(card, sizer.engine, workload), sizer.inspection.architecture
    if sizer.kv_dtype(workload.kv_dtype, card.generation) == "bf16":
        yield "--kv-cache-dtype fp8", {"kv_dtype": KvDtype.FP8}
    for sequences in (256, 64):
        if batch.sequences > sequences >= workload.concurrency:
            yield f"--max-num-seqs {sequences}", {"max_sequences": sequences}
            break
    if batch.tokens > 2048:
        yield "--max-num-batched-tokens 2048", {"batched_tokens": 2048}
    if not workload.eager and sizer.engine.graphs_charged:
        yield "--enforce-eager", {"eager": True}
    if (workload.utilisation or sizer.engine.utilisation) < 0.95:
        yield "--gpu-memory-utilization 0.95", {"utilisation": 0.95}
    if architecture is not None and architecture.towers and not workload.text_only:
        yield "--language-model-only", {"text_only": True}


def _layouts(sizer: Sizer, case: Case) -> Iterator[Layout]:
    """Yield the next larger layout, the same cards with their cache shared, and the same cards with whole experts."""
    if case.workload.layout is not None:
        return
    layout, candidates = case.layout, sizer.layouts(case.card.node_counts)
    tried = [layout.model_copy(update={"context_parallel": layout.tensor_parallel})]
    larger = [o for o in candidates if o.cards > layout.cards and case.workload.cards is None]
    tried += [o for o in candidates if o.cards == layout.cards and o.data_parallel > 1]
    accepted = [o for o in (*tried, *larger) if layout_refusal(sizer.model, o, case.precision) is None]
    if layout.tensor_parallel > 1:
        yield from (o for o in accepted if o in tried and o != layout)
    yield from (o for o in accepted if o in larger and o.pipeline_parallel == layout.pipeline_parallel)


def _layout_flags(layout: Layout) -> str:
    sizes = (
        ("--tensor-parallel-size", layout.tensor_parallel),
        ("--pipeline-parallel-size", layout.pipeline_parallel),
        ("--data-parallel-size", layout.data_parallel),
        ("--decode-context-parallel-size", layout.context_parallel),
    )
    words = [f"{flag} {size}" for flag, size in sizes if size > 1]
    return " ".join([*words, "--enable-expert-parallel"] if layout.expert_parallel else words)


def _smaller_questions(case: Case, sizes: Sizes) -> Iterator[_Change]:
    """Yield the longest context and the most sequences that fit safely."""
    workload = case.workload
    pools = [stage.pool - sizes.error_down for stage in sizes.stages]
    blocks = (sizes.cache.blocks(pools) or 0) - 1
    if blocks < 1 or not sizes.cache.anything:
        return
    context = bisect_right(
        range(1, workload.context + 1), blocks, key=lambda tokens: sizes.cache.together(case.copies, tokens)
    )
    context -= context % 256
    if 256 <= context < workload.context:
        yield _Change(f"--max-model-len {context}", _asking(case, {"context": context}), asks_less=True)
    sequences = int(sizes.cache.sequences(blocks + 1, workload.context)) * case.layout.data_parallel
    if 1 <= sequences < workload.concurrency:
        yield _Change(f"{sequences} sequences at once", _asking(case, {"concurrency": sequences}), asks_less=True)
