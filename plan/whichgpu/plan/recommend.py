"""From an inspection and a workload to needs and ranked plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whichgpu.inspect.records import Grade, Inspection, Origin
from whichgpu.plan import kv_layers
from whichgpu.plan.commands import serve_command
from whichgpu.plan.engine import Engine, Engines
from whichgpu.plan.footprint import footprint_of
from whichgpu.plan.hardware import price_of
from whichgpu.plan.notes import answer_notes, plan_reasons, shortfall
from whichgpu.plan.records import (
    Accelerator,
    Answer,
    Footprint,
    Layout,
    Need,
    Plan,
    Precision,
    PriceOffer,
    Verdict,
    Workload,
)
from whichgpu.plan.refusals import layout_refusal, precision_refusal
from whichgpu.plan.remedies import remedies
from whichgpu.plan.sizing import Sizer, Sizes

_SIDE_BY_SIDE = (Precision.PUBLISHED, Precision.BF16, Precision.FP8)
_CURED = 2
"""Plans that get advice: the first that don't fit."""

_ORDER = {Verdict.FITS: 0, Verdict.UNKNOWN: 1, Verdict.TIGHT: 2, Verdict.NO: 3}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a plan rests on beside the model."""

    accelerators: Sequence[Accelerator]
    offers: Sequence[PriceOffer]
    architectures: Mapping[str, Any]
    """vLLM's registry: ``supported``, ``removed``, ``plugins``, ``pooling``, ``without_pipeline_parallel``."""
    engines: Engines
    date: str


def answer(inspection: Inspection, workload: Workload, facts: Facts) -> Answer:
    """Work out what the model needs and where it runs.

    The recommendation is the cheapest plan that fits at the asked precision; without prices, the one with the
    fewest cards and then the least memory. Where nothing fits safely, the cheapest that is tight or unknown.

    Raises:
        UnknownVersionError: no such version of vLLM is known.
    """
    engine = facts.engines.of(workload.vllm)
    asked = workload.context
    workload = _resolved(inspection, workload, engine)
    sizer = Sizer(inspection, engine, facts.architectures)
    shown = dict.fromkeys((*_SIDE_BY_SIDE, workload.precision))
    chosen = [
        a for a in facts.accelerators if a.key in workload.accelerators or (not workload.accelerators and a.default)
    ]
    plans = [plan(sizer, workload, p, a, facts) for a in chosen for p in shown]
    ranked = tuple(_cured(sizer, workload, sorted(plans, key=_rank), {a.key: a for a in chosen}, facts))
    possible = [p for p in ranked if p.verdict is not Verdict.NO and p.precision is workload.precision]
    return Answer(
        workload=workload,
        needs=tuple(need(sizer, workload, p) for p in shown),
        plans=ranked,
        recommended=possible[0] if possible else None,
        alternatives=_other_vendors([p for p in possible if p.verdict is possible[0].verdict]),
        notes=answer_notes(inspection, workload, asked, engine, facts.architectures, sizer.cache_is_known),
        vllm=engine.version,
        facts_date=facts.date,
    )


def _resolved(inspection: Inspection, workload: Workload, engine: Engine) -> Workload:
    """Fill in the version's share of the card, and cut the context to what the model allows."""
    limit = inspection.architecture.context if inspection.architecture else None
    share = workload.utilisation if workload.utilisation is not None else engine.utilisation
    context = min(workload.context, limit) if limit else workload.context
    return workload.model_copy(update={"context": context, "utilisation": share})


def _other_vendors(fitting: Sequence[Plan]) -> tuple[Plan, ...]:
    """The first plan of every vendor but the recommended one's."""
    first: dict[str, Plan] = {}
    for candidate in fitting:
        first.setdefault(candidate.vendor, candidate)
    return tuple(first.values())[1:]


def _cured(
    sizer: Sizer, workload: Workload, plans: Sequence[Plan], cards: Mapping[str, Accelerator], facts: Facts
) -> Iterator[Plan]:
    """Say what would make the first few plans fit that don't."""
    left = _CURED
    for candidate in plans:
        short = candidate.verdict in (Verdict.TIGHT, Verdict.NO) and candidate.precision is workload.precision
        if not short or candidate.footprint is None or not left:
            yield candidate
            continue
        left -= 1
        card, layout = cards[candidate.accelerator], candidate.footprint.layout
        sizes = sizer.size(workload, candidate.precision, card, layout)
        cures = remedies(sizer, workload, candidate.precision, card, layout, sizes, facts.architectures)
        yield candidate.model_copy(update={"remedies": cures})


def _rank(candidate: Plan) -> tuple[int, float, int, float]:
    price = candidate.usd_per_hour if candidate.usd_per_hour is not None else 1e9
    memory = candidate.footprint.usable if candidate.footprint else 0
    return _ORDER[candidate.verdict], price, candidate.count, memory


def need(sizer: Sizer, workload: Workload, precision: Precision) -> Need:
    """What the model needs at one precision on any card."""
    inspection, known = sizer.inspection, sizer.cache_is_known
    cache = sizer.cache(workload, Layout(tensor_parallel=1))
    blocks = cache.together(workload.concurrency, workload.context)
    return Need(
        precision=precision,
        label=_label(inspection, precision),
        weights_bytes=sizer.total(precision),
        kv_dtype=kv_layers.kv_dtype_of(inspection, workload.kv_dtype),
        kv_bytes_per_token=round(cache.growth) if known else None,
        state_bytes_per_sequence=cache.state,
        kv_bytes=blocks * cache.bytes_per_block[0] if known else None,
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


@dataclass(slots=True)
class _Search:
    """What came of the layouts of one card."""

    fitting: tuple[Layout, Sizes] | None = None
    second: tuple[Layout, Sizes] | None = None
    """The first that is tight or unknown."""
    last: tuple[Layout, Sizes] | None = None
    reasons: tuple[str, ...] = ()


def plan(sizer: Sizer, workload: Workload, precision: Precision, card: Accelerator, facts: Facts) -> Plan:
    """Return the smallest layout that fits on one kind of card, or the reasons why none does."""
    impossible = _impossible(sizer, card, precision)
    if impossible is not None:
        return _made(card, precision, Verdict.NO, None, None, None, facts, (impossible,))
    search = _searched(sizer, workload, precision, card, facts)
    found = search.fitting or search.second or search.last
    if found is None:
        return _made(card, precision, Verdict.NO, None, None, None, facts, search.reasons)
    layout, sizes = found
    footprint = footprint_of(sizer, sizes, workload, layout, detailed=precision is workload.precision)
    if sizes.verdict is Verdict.NO:
        reasons = (shortfall(layout, footprint), *search.reasons)
        return _made(card, precision, Verdict.NO, None, footprint, None, facts, reasons)
    command = serve_command(sizer.inspection, workload, precision, layout, facts.architectures)
    reasons = (
        *plan_reasons(sizer, workload, precision, card, layout, sizes),
        *command.reasons,
        *_smaller(search),
    )
    return _made(card, precision, sizes.verdict, layout, footprint, command.text, facts, reasons)


def _smaller(search: _Search) -> tuple[str, ...]:
    """Say which smaller layout was passed over because it is too close."""
    if search.fitting is None or search.second is None:
        return ()
    layout, sizes = search.second
    if sizes.verdict is not Verdict.TIGHT or layout.cards >= search.fitting[0].cards:
        return ()
    cards = "1 card is" if layout.cards == 1 else f"{layout.cards} cards are"
    return (f"{cards} tight: inside the error of the prediction",)


def _searched(sizer: Sizer, workload: Workload, precision: Precision, card: Accelerator, facts: Facts) -> _Search:
    search, reasons, refused = _Search(), list[str](), set[int]()
    hopeless: Layout | None = None
    for layout in sizer.layouts(card):
        if layout.pipeline_parallel > 1 and layout.cards <= max(card.node_counts) and layout.cards not in refused:
            continue  # inside a node a pipeline is for what tensor parallelism can't split
        refusal = _refusal(sizer, layout, precision, facts)
        if refusal is not None:
            reasons.append(f"{layout.cards} cards ({layout.label}): {refusal}")
            refused.add(layout.cards)
            continue
        if sizer.hopeless(workload, precision, card, layout):
            hopeless = layout
            continue
        sizes = sizer.size(workload, precision, card, layout)
        search.last = layout, sizes
        if sizes.verdict is Verdict.FITS:
            search.fitting = layout, sizes
            break
        if sizes.verdict is not Verdict.NO and search.second is None:
            search.second = layout, sizes
            if sizes.verdict is Verdict.UNKNOWN:
                break
    if search.last is None and hopeless is not None:
        search.last = hopeless, sizer.size(workload, precision, card, hopeless)
    search.reasons = tuple(dict.fromkeys(reasons))
    return search


def _refusal(sizer: Sizer, layout: Layout, precision: Precision, facts: Facts) -> str | None:
    """Why vLLM would refuse a layout; the same on every card, so worked out once."""
    key = (layout, precision)
    if key not in sizer.refusals:
        sizer.refusals[key] = layout_refusal(sizer.inspection, layout, precision, sizer.engine, facts.architectures)
    return sizer.refusals[key]


def _impossible(sizer: Sizer, card: Accelerator, precision: Precision) -> str | None:
    inspection = sizer.inspection
    if inspection.adapter_of is not None:
        return f"an adapter runs on its base model; ask for {inspection.adapter_of}"
    if sizer.total(precision) is None:
        return "the size of the weights at this precision is unknown"
    return precision_refusal(inspection, card, precision)


def _made(
    card: Accelerator,
    precision: Precision,
    verdict: Verdict,
    layout: Layout | None,
    footprint: Footprint | None,
    command: str | None,
    facts: Facts,
    reasons: Sequence[str],
) -> Plan:
    price = price_of(card, facts.offers) if layout is not None else None
    count = layout.cards if layout is not None else 0
    return Plan(
        accelerator=card.key,
        accelerator_name=card.name,
        vendor=card.vendor,
        precision=precision,
        count=count,
        layout=layout,
        footprint=footprint,
        verdict=verdict,
        usd_per_hour=round(price.usd_per_hour * count, 4) if price is not None else None,
        price=price,
        command=command,
        reasons=tuple(reasons),
    )
