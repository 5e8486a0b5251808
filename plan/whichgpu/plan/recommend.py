"""From an inspection and a workload to needs and ranked plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whichgpu.inspect.records import Grade, Inspection, ModelClass, Origin
from whichgpu.plan import kv_cache, layouts, runtime, weights
from whichgpu.plan.commands import serve_command
from whichgpu.plan.expert_padding import padding
from whichgpu.plan.hardware import price_of
from whichgpu.plan.records import Accelerator, Answer, Footprint, Layout, Need, Plan, Precision, PriceOffer, Workload
from whichgpu.plan.support import support_notes

_GIB = 2**30
_SIDE_BY_SIDE = (Precision.PUBLISHED, Precision.BF16, Precision.FP8)


@dataclass(frozen=True, slots=True)
class Facts:
    """The hardware facts that a plan rests on."""

    accelerators: Sequence[Accelerator]
    offers: Sequence[PriceOffer]
    architectures: Mapping[str, Any]
    """vLLM's registry: ``supported``, ``removed``, ``plugins``, ``pooling``."""
    date: str


def answer(inspection: Inspection, workload: Workload, facts: Facts) -> Answer:
    """Work out what the model needs and where it runs.

    The recommendation is the cheapest fitting plan at the asked precision; without prices, the one with the
    fewest cards and then the least memory.
    """
    asked = workload.context
    workload = _within_context(inspection, workload)
    shown = dict.fromkeys((*_SIDE_BY_SIDE, workload.precision))
    needs = tuple(need(inspection, workload, p) for p in shown)
    chosen = [
        a for a in facts.accelerators if a.key in workload.accelerators or (not workload.accelerators and a.default)
    ]
    plans = [plan(inspection, workload, p, a, facts) for a in chosen for p in shown]
    ranked = tuple(sorted(plans, key=_rank))
    fitting = [p for p in ranked if p.fits and p.precision is workload.precision]
    return Answer(
        workload=workload,
        needs=needs,
        plans=ranked,
        recommended=fitting[0] if fitting else None,
        alternatives=_other_vendors(fitting),
        notes=(*_context_note(asked, workload), *_notes(inspection, facts)),
        facts_date=facts.date,
    )


def _within_context(inspection: Inspection, workload: Workload) -> Workload:
    """Cut the asked context to what the model allows; ``_context_note`` says so."""
    limit = inspection.architecture.context if inspection.architecture else None
    return workload.model_copy(update={"context": limit}) if limit and workload.context > limit else workload


def _context_note(asked: int, workload: Workload) -> tuple[str, ...]:
    if asked <= workload.context:
        return ()
    return (f"Asked for {asked:,} tokens; the model allows {workload.context:,}, and that is what is planned.",)


def _other_vendors(fitting: Sequence[Plan]) -> tuple[Plan, ...]:
    """The first plan of every vendor but the recommended one's."""
    first: dict[str, Plan] = {}
    for candidate in fitting:
        first.setdefault(candidate.vendor, candidate)
    return tuple(first.values())[1:]


def _rank(candidate: Plan) -> tuple[int, float, int, float]:
    price = candidate.usd_per_hour if candidate.usd_per_hour is not None else 1e9
    memory = candidate.footprint.usable if candidate.footprint else 0
    return int(not candidate.fits), price, candidate.count, memory


def need(inspection: Inspection, workload: Workload, precision: Precision) -> Need:
    """What the model needs at one precision on any card."""
    dtype = kv_cache.kv_dtype_of(inspection, workload.kv_dtype)
    mixers = inspection.architecture.mixers if inspection.architecture else ()
    cache = kv_cache.cache_of(mixers, dtype)
    known = _cache_is_known(inspection)
    return Need(
        precision=precision,
        label=_label(inspection, precision),
        weights_bytes=weights.total_bytes(inspection, precision),
        kv_dtype=dtype,
        kv_bytes_per_token=cache.growth if known else None,
        state_bytes_per_sequence=cache.state,
        kv_bytes=cache.sequence(workload.context) * workload.concurrency if known else None,
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


def _cache_is_known(inspection: Inspection) -> bool:
    """True when every layer's cache can be counted, or there is none by nature."""
    if {ModelClass.DIFFUSION, ModelClass.ENCODER}.intersection(inspection.classes):
        return True
    mixers = inspection.architecture.mixers if inspection.architecture else ()
    return bool(mixers) and all(kv_cache.is_counted(m) for m in mixers)


def plan(inspection: Inspection, workload: Workload, precision: Precision, card: Accelerator, facts: Facts) -> Plan:
    """Return the smallest layout that fits on one kind of card, or the reasons why none does."""
    reasons: list[str] = []
    impossible = _impossible(inspection, card, precision)
    if impossible is not None:
        return _refused(card, precision, impossible)
    last: tuple[Layout, Footprint] | None = None
    for layout, refusal in layouts.candidate_layouts(inspection, card):
        if refusal is not None:
            reasons.append(f"{layout.cards} cards: {refusal}")
            continue
        found = footprint(inspection, workload, precision, card, layout)
        last = (layout, found)
        if found.headroom >= 0 and found.pool >= 0:
            return _fitting(inspection, workload, precision, card, layout, found, facts)
    if last is not None:
        reasons.insert(0, _shortfall(*last))
    return _refused(card, precision, *reasons)


def _impossible(inspection: Inspection, card: Accelerator, precision: Precision) -> str | None:
    if inspection.adapter_of is not None:
        return f"an adapter runs on its base model; ask for {inspection.adapter_of}"
    if weights.total_bytes(inspection, precision) is None:
        return "the size of the weights at this precision is unknown"
    return layouts.precision_refusal(inspection, card, precision)


def _shortfall(layout: Layout, found: Footprint) -> str:
    if found.pool < 0:
        return f"even {layout.cards} cards are {-found.pool / _GIB:.1f} GiB short per card for the weights alone"
    return f"even {layout.cards} cards hold {found.max_sequences or 0} sequences at once"


def _refused(card: Accelerator, precision: Precision, *reasons: str) -> Plan:
    return Plan(
        accelerator=card.key,
        accelerator_name=card.name,
        vendor=card.vendor,
        precision=precision,
        count=0,
        layout=None,
        footprint=None,
        fits=False,
        usd_per_hour=None,
        price=None,
        command=None,
        reasons=reasons,
    )


def _fitting(
    inspection: Inspection,
    workload: Workload,
    precision: Precision,
    card: Accelerator,
    layout: Layout,
    found: Footprint,
    facts: Facts,
) -> Plan:
    price = price_of(card, facts.offers)
    reasons = [r for r in (layouts.precision_note(card, precision),) if r is not None]
    command = serve_command(inspection, workload, precision, layout, facts.architectures)
    reasons += command.reasons
    padded = padding(inspection, precision, card, layout.tensor_parallel)
    if padded > 1:
        reasons.append(f"this card's kernels pad the MXFP4 experts by {padded - 1:.0%}, which is counted")
    if layout.pipeline_parallel > 1:
        reasons.append(f"needs {layout.pipeline_parallel} nodes")
    if found.headroom < 0.05 * found.budget:
        reasons.append("tight: less than 5 % of the card is left")
    return Plan(
        accelerator=card.key,
        accelerator_name=card.name,
        vendor=card.vendor,
        precision=precision,
        count=layout.cards,
        layout=layout,
        footprint=found,
        fits=True,
        usd_per_hour=round(price.usd_per_hour * layout.cards, 4) if price is not None else None,
        price=price,
        command=command.text,
        reasons=tuple(reasons),
    )


def footprint(
    inspection: Inspection, workload: Workload, precision: Precision, card: Accelerator, layout: Layout
) -> Footprint:
    """Bytes on the fullest card of a layout."""
    architecture = inspection.architecture
    tp, pp = layout.tensor_parallel, layout.pipeline_parallel
    mixers = architecture.mixers if architecture else ()
    cache = kv_cache.cache_of(mixers, kv_cache.kv_dtype_of(inspection, workload.kv_dtype), tp, pp)
    loaded = weights.bytes_per_card(inspection, precision, tp, pp, padding(inspection, precision, card, tp))
    activations = runtime.activation_bytes(architecture, card, tp)
    overhead = runtime.runtime_bytes(architecture, card, tp, graphs=cache.anything)
    usable = int(card.usable_gib * _GIB)
    budget = int(usable * workload.utilisation)
    pool = budget - loaded - activations - overhead
    known = _cache_is_known(inspection)
    per_sequence = cache.sequence(workload.context)
    return Footprint(
        layout=layout,
        weights=loaded,
        kv_per_token=cache.growth,
        state_per_sequence=cache.state,
        kv_needed=per_sequence * workload.concurrency if known else None,
        activations=activations,
        runtime=overhead,
        usable=usable,
        budget=budget,
        pool=pool,
        capacity_tokens=int(pool / per_sequence * workload.context) if known and pool > 0 and cache.growth else None,
        max_sequences=max(0, pool // per_sequence) if known and per_sequence else None,
    )


def _notes(inspection: Inspection, facts: Facts) -> tuple[str, ...]:
    notes = list(support_notes(inspection, facts.architectures))
    if inspection.grade is not Grade.HEADERS:
        notes.append(f"Graded “{inspection.grade.value}”: {inspection.grade_note}.")
    if not _cache_is_known(inspection):
        notes.append("Not all of its cache is known; it comes on top of what is shown, so leave room for it.")
    notes.append("Activations, CUDA graphs and NCCL are a first estimate (±2 GiB per card).")
    return tuple(notes)
