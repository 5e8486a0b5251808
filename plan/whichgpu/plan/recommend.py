"""From an inspection and a workload to needs and ranked plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from whichgpu.inspect.records import Grade, Inspection, Origin
from whichgpu.plan import kv_layers
from whichgpu.plan.case import Case, ServedModel
from whichgpu.plan.engine import Engine
from whichgpu.plan.gate import Gate
from whichgpu.plan.instead import instead
from whichgpu.plan.notes import answer_notes
from whichgpu.plan.objectives import front, rank_of, why_lost
from whichgpu.plan.operations import Works
from whichgpu.plan.own_settings import least_context
from whichgpu.plan.price_book import PriceBook
from whichgpu.plan.records import (
    Accelerator,
    Answer,
    Layout,
    Need,
    Plan,
    Precision,
    RunnerUp,
    Verdict,
    Workload,
)
from whichgpu.plan.remedies import remedies
from whichgpu.plan.search import Facts, Planner
from whichgpu.plan.sizing import Sizer

_SIDE_BY_SIDE = (Precision.PUBLISHED, Precision.BF16, Precision.FP8)
_CURED = 2
"""Plans that get advice: the first that don't fit."""


def answer(inspection: Inspection, workload: Workload, facts: Facts, side_by_side: bool = True) -> Answer:
    """Work out what the model needs and where it runs; ``side_by_side`` also at other precisions than the asked one.

    The recommendation is the cheapest plan that fits at the asked precision; without prices, the one with the
    fewest cards and then the least memory. Where nothing fits safely, the cheapest that is tight or unknown.

    Raises:
        UnknownVersionError: no such version of vLLM is known.
    """
    engine = facts.engines.of(workload.vllm)
    asked_context = workload.context
    workload = _resolve_workload(inspection, workload, engine)
    sizer = Sizer(ServedModel(inspection, engine, facts.architectures))
    precisions = dict.fromkeys((*(_SIDE_BY_SIDE if side_by_side else ()), workload.precision))
    cards = candidates(workload, facts)
    planner = Planner(sizer, workload, facts)
    plans = [planner.plan(p, a) for a in cards for p in precisions if _is_compared(a, p, workload)]
    gate = Gate(sizer.model, facts.kernels.of(engine.version))
    by_key = {a.key: a for a in cards}
    ranked = tuple(_add_remedies(sizer, gate, workload, sorted(plans, key=rank_of(workload)), by_key))
    possible = [p for p in ranked if p.verdict is not Verdict.NO and p.precision is workload.precision and not p.missed]
    best = possible[0] if possible else None
    unbeaten = front([p for p in possible if p.verdict is Verdict.FITS])
    return Answer(
        workload=workload,
        needs=tuple(need(sizer, workload, p) for p in precisions),
        plans=ranked,
        recommended=best,
        busiest=planner.busiest(best) if best is not None else None,
        unpriced=len(facts.accelerators) - len(cards) if not workload.accelerators else 0,
        alternatives=_other_vendors([p for p in possible if p.verdict is possible[0].verdict]),
        runner_up=_runner_up(ranked, possible, workload),
        front=tuple(ranked.index(p) for p in unbeaten),
        instead=instead(ranked, possible, unbeaten),
        notes=answer_notes(sizer, workload, asked_context),
        vllm=engine.version,
        facts_date=facts.date,
    )


def candidates(workload: Workload, facts: Facts) -> list[Accelerator]:
    """Return the cards that are asked: those that the user named, else all that somebody rents."""
    if workload.accelerators:
        return [a for a in facts.accelerators if a.key in workload.accelerators]
    book = PriceBook(facts.offers)
    return [a for a in facts.accelerators if book.has(a, workload.price_kind)]


def _is_compared(card: Accelerator, precision: Precision, workload: Workload) -> bool:
    """True for what is worked out: the asked precision on every card, the others beside it on those that people ask about first."""
    return precision is workload.precision or card.default or card.key in workload.accelerators


def with_second_opinion(inspection: Inspection, answer: Answer, facts: Facts) -> Answer:
    """Return the answer with aiconfigurator-core's word on the recommended plan.

    Raises:
        FactsError: the package is not installed.
    """
    from whichgpu.plan.second_opinion import second_opinion

    best = answer.recommended
    if best is None:
        return answer
    workload = answer.workload
    card = next(a for a in facts.accelerators if a.key == best.accelerator)
    works = Works(Sizer(ServedModel(inspection, facts.engines.of(workload.vllm), facts.architectures)))
    layout = best.layout or Layout(tensor_parallel=1)
    operations = works.of(Case(workload, best.precision, card, layout))
    opinion = second_opinion(best, inspection, facts.calibration.machine(card, layout), operations)
    annotated_plan = best.model_copy(update={"second_opinion": opinion})
    plans = tuple(annotated_plan if p is best else p for p in answer.plans)
    return answer.model_copy(update={"recommended": annotated_plan, "plans": plans})


def _resolve_workload(inspection: Inspection, workload: Workload, engine: Engine) -> Workload:
    """Fill in the version's share of the card, and cut the context to what the model allows."""
    limit = inspection.architecture.context if inspection.architecture else None
    share = workload.utilisation if workload.utilisation is not None else engine.utilisation
    context = limit if limit and (workload.context_auto or workload.context > limit) else workload.context
    return workload.model_copy(update={"context": context, "utilisation": share})


def _runner_up(ranked: Sequence[Plan], possible: Sequence[Plan], workload: Workload) -> RunnerUp | None:
    """The next plan on another card; where limits are asked, also one that misses them."""
    if not possible:
        return None
    first = possible[0]
    candidates = [p for p in ranked if p.verdict is not Verdict.NO and p.precision is workload.precision]
    second = next((p for p in candidates if p.accelerator != first.accelerator), None)
    return RunnerUp(plan=ranked.index(second), why=why_lost(first, second, workload)) if second is not None else None


def _other_vendors(fitting: Sequence[Plan]) -> tuple[Plan, ...]:
    """The first plan of every vendor but the recommended one's."""
    first: dict[str, Plan] = {}
    for candidate in fitting:
        first.setdefault(candidate.vendor, candidate)
    return tuple(first.values())[1:]


def _add_remedies(
    sizer: Sizer, gate: Gate, workload: Workload, plans: Sequence[Plan], cards: Mapping[str, Accelerator]
) -> Iterator[Plan]:
    """Say what would make the first few plans fit that don't."""
    quota = _CURED
    workload = workload.model_copy(update={"context": least_context(workload)}) if workload.context_auto else workload
    for candidate in plans:
        short = candidate.verdict in (Verdict.TIGHT, Verdict.NO) and candidate.precision is workload.precision
        if not short or candidate.footprint is None or not quota:
            yield candidate
            continue
        quota -= 1
        case = Case(workload, candidate.precision, cards[candidate.accelerator], candidate.footprint.layout)
        yield candidate.model_copy(update={"remedies": remedies(sizer, case, gate)})


def need(sizer: Sizer, workload: Workload, precision: Precision) -> Need:
    """What the model needs at one precision on any card."""
    inspection, cache_is_known = sizer.inspection, sizer.knows_cache(workload)
    cache = sizer.cache(workload, Layout(tensor_parallel=1))
    blocks = cache.together(workload.concurrency, workload.context)
    return Need(
        precision=precision,
        label=_label(inspection, precision),
        weights_bytes=sizer.total(precision),
        kv_dtype=kv_layers.kv_dtype_of(inspection, workload.kv_dtype),
        kv_bytes_per_token=round(cache.growth) if cache_is_known else None,
        state_bytes_per_sequence=cache.state,
        kv_bytes=blocks * cache.bytes_per_block[0] if cache_is_known else None,
        origin=Origin.READ
        if inspection.grade is Grade.HEADERS and precision is Precision.PUBLISHED
        else Origin.COMPUTED,
        notes=_need_notes(inspection, precision),
    )


def _label(inspection: Inspection, precision: Precision) -> str:
    if precision is not Precision.PUBLISHED:
        return precision.value.upper()
    if inspection.quantisation is not None:
        return f"as published ({inspection.quantisation.label})"
    dtypes = [d for d in inspection.weights.by_dtype if d]
    return f"as published ({dtypes[0].lower()})" if dtypes else "as published"


def _need_notes(inspection: Inspection, precision: Precision) -> tuple[str, ...]:
    if (
        precision is Precision.PUBLISHED
        and not inspection.quantisation
        and "F32" in list(inspection.weights.by_dtype)[:1]
    ):
        return ("FP32 files are loaded as BF16",)
    return ()
