"""The layout of one model on one kind of card: which fit, which serve the objective, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, NamedTuple

from whichgpu.plan.adapters import adapters_refusal
from whichgpu.plan.calibration import Calibration
from whichgpu.plan.case import Case
from whichgpu.plan.choices import ON_DEMAND, SPOT
from whichgpu.plan.commands import Command, serve_command
from whichgpu.plan.drafting import draft_refusal
from whichgpu.plan.engine import Engines
from whichgpu.plan.footprint import footprint_of
from whichgpu.plan.gate import Gate
from whichgpu.plan.kernels import NO_ANSWERS, KernelFacts
from whichgpu.plan.layouts import layouts_of
from whichgpu.plan.learned import Learned
from whichgpu.plan.measurements import Measurements, Nearby
from whichgpu.plan.nodes import Machines, launch
from whichgpu.plan.notes import plan_reasons, shortfall, unchecked_start, unsold
from whichgpu.plan.objectives import misses, prefers_speed, rank_of, replicas_for
from whichgpu.plan.operations import Works
from whichgpu.plan.own_settings import (
    on_card,
    setting_reasons,
    settings_beside,
    with_fewer_sequences,
    with_longest_context,
    within_slots,
)
from whichgpu.plan.price_book import PriceBook
from whichgpu.plan.records import (
    Accelerator,
    Footprint,
    Layout,
    Plan,
    Precision,
    Price,
    PriceOffer,
    Speed,
    StartCheck,
    Verdict,
    Workload,
)
from whichgpu.plan.refusals import layout_refusal, model_refusal, precision_refusal
from whichgpu.plan.sizing import Sizer, Sizes
from whichgpu.plan.speed import Speeds
from whichgpu.plan.support import is_pooling
from whichgpu.plan.sureness import sureness_of

_TWINS = (Precision.PUBLISHED, Precision.BF16)
"""What is one plan where a checkpoint is published in BF16."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a plan rests on beside the model."""

    accelerators: Sequence[Accelerator]
    offers: Sequence[PriceOffer]
    architectures: Mapping[str, Any]
    """vLLM's registry: ``supported``, ``removed``, ``plugins``, ``pooling``, ``generating_too`` (pooling classes that stand in
    the tables of generation as well), ``without_pipeline_parallel``, ``takes_video``, ``lora``."""
    engines: Engines
    calibration: Calibration
    date: str
    learned: Learned = field(default_factory=Learned)
    """What trials taught."""
    measurements: Measurements = field(default_factory=Measurements)
    """What others measured."""
    kernels: KernelFacts = NO_ANSWERS
    """What vLLM's selectors answered, by release."""


@dataclass(frozen=True, slots=True)
class _Choices:
    """What vLLM would accept on a kind of node, fewest cards first."""

    layouts: tuple[tuple[Layout, float], ...]
    """Each with what every card would hold of weights that divide evenly: some card holds at least as much."""
    refusals: tuple[str, ...]


@dataclass(slots=True)
class _Search:
    """What came of the layouts of one card."""

    fitting: tuple[Case, Sizes] | None = None
    second: tuple[Case, Sizes] | None = None
    """The first that is tight or unknown."""
    last: tuple[Case, Sizes] | None = None


class _Node(NamedTuple):
    """A kind of node at a precision."""

    counts: tuple[int, ...]
    """Cards that it is rented with."""
    precision: Precision
    card: Accelerator | None
    """Where its kernels decide how experts may be cut."""


class _Prices(NamedTuple):
    """What a card costs."""

    of_kind: Price | None
    """Of the asked kind."""
    other: Price | None
    counts: tuple[int, ...] | None
    """Counts in which it is sold."""


class Planner:
    """Finds the layout of one model on each card, for one workload."""

    def __init__(self, sizer: Sizer, workload: Workload, facts: Facts) -> None:
        self._sizer, self._workload, self._facts = sizer, workload, facts
        self._speeds = Speeds(Works(sizer), facts.calibration, facts.learned)
        self._nearby = Nearby(self._speeds.works, facts.calibration, facts.measurements)
        self._gate = Gate(sizer.model, facts.kernels.of(sizer.engine.version))
        self._pooling = is_pooling(sizer.inspection, facts.architectures)
        self._published_is_bf16 = sizer.published_is_bf16(workload)
        self._book = PriceBook(facts.offers)
        self._prices_of = cache(self._find_prices)
        self._refusal_of = cache(self._find_refusal)
        self._choices_of = cache(self._vet_layouts)
        self._command_of = cache(self._make_command)
        self._workload_on = cache(partial(on_card, workload))
        self._twin_of = cache(self._plan_twin)

    def plan(self, precision: Precision, card: Accelerator) -> Plan:
        """Return the layout that serves the objective on one kind of card, or the reasons why none fits.

        That is the smallest that fits; where speed is what counts, the best within a node for the asked precision.
        """
        refused = self._gate.attention_refusal(self._workload, card)
        refused = refused or adapters_refusal(self._sizer.model, self._workload)
        refused = refused or draft_refusal(self._sizer.model, self._workload)
        impossible = _impossible(self._sizer, card, precision, refused)
        if impossible is not None:
            return _refused_plan(card, precision, (impossible,))
        if not self._published_is_bf16 or precision not in _TWINS:
            return self._find_plan(precision, card)
        return _as(precision, self._twin_of(card))

    def _plan_twin(self, card: Accelerator) -> Plan:
        """The plan of both precisions that are one, under the name that was asked for."""
        asked_precision = self._workload.precision
        return self._find_plan(asked_precision if asked_precision in _TWINS else _TWINS[0], card)

    def _find_plan(self, precision: Precision, card: Accelerator) -> Plan:
        sizer, workload = self._sizer, self._workload
        cut = self._gate.is_cut_by_width(precision)
        choices = self._choices_of(_Node(card.node_counts, precision, card if cut else None))
        search = self._search_layouts(precision, card, choices)
        candidate = search.fitting or search.second or search.last
        if candidate is None:
            return _refused_plan(card, precision, choices.refusals)
        case, sizes = candidate
        if sizes.verdict is Verdict.NO:
            footprint = footprint_of(sizer, case, sizes, precision is workload.precision)
            return _refused_plan(card, precision, (shortfall(case.layout, footprint), *choices.refusals), footprint)
        smallest = self._plan_case(case, sizes, extra=_smaller(search))
        if (
            search.fitting is None
            or precision is not workload.precision
            or not prefers_speed(workload)
            or workload.layout
        ):
            return smallest
        return min((smallest, *self._larger(case, choices)), key=rank_of(workload))

    def _larger(self, smallest: Case, choices: _Choices) -> Iterator[Plan]:
        """Yield what fits on more cards of one node, tensor parallel."""
        for layout, _ in choices.layouts:
            inside = layout.cards <= max(smallest.card.node_counts) and layout.pipeline_parallel == 1
            if not inside or layout.cards <= smallest.layout.cards or layout.data_parallel > 1:
                continue
            case = replace(smallest, layout=layout)
            sizes = self._sizer.size(case)
            if sizes.verdict is Verdict.FITS:
                yield self._plan_case(case, sizes)

    def _search_layouts(self, precision: Precision, card: Accelerator, choices: _Choices) -> _Search:
        sizer = self._sizer
        workload = self._workload_on(card)
        search, room = _Search(), sizer.room(workload, card)
        hopeless: Case | None = None
        for layout, share in choices.layouts:
            case = Case(workload, precision, card, layout)
            if share > room or sizer.fullest(case) > room:
                hopeless = case
                continue
            case, sizes = with_longest_context(sizer, case, sizer.size(case))
            fewer = with_fewer_sequences(sizer, case) if sizes.verdict in (Verdict.TIGHT, Verdict.NO) else None
            if fewer is not None and (fewer_sizes := sizer.size(fewer)).verdict is Verdict.FITS:
                case, sizes = fewer, fewer_sizes
            search.last = case, sizes
            if sizes.verdict is Verdict.FITS:
                search.fitting = case, sizes
                break
            if sizes.verdict is not Verdict.NO and search.second is None:
                search.second = case, sizes
                if sizes.verdict is Verdict.UNKNOWN:
                    break
        if search.last is None and hopeless is not None:
            search.last = hopeless, sizer.size(hopeless)
        return search

    def _vet_layouts(self, node: _Node) -> _Choices:
        """Return the layouts for one kind of node: the same for every card that comes so."""
        layouts, reasons, refused = list[tuple[Layout, float]](), list[str](), set[int]()
        total = self._sizer.table(node.precision, self._workload).total
        asked, cards = self._workload.layout, self._workload.cards
        if asked is not None and cards not in (None, asked.cards):
            reasons.append(f"the layout {asked.label} has {asked.cards} cards, and {cards} were asked for")
        for layout in self._candidates(node):
            inside = layout.pipeline_parallel > 1 and layout.cards <= max(node.counts)
            if inside and layout.cards not in refused and layout != asked:
                continue  # inside a node a pipeline is for what tensor parallelism can't split
            refusal = self._refusal_of((layout, node.precision is Precision.PUBLISHED))
            if refusal is None and node.card is not None:
                refusal = self._gate.experts_refusal(layout, node.precision, node.card)
            if refusal is None:
                layouts.append((layout, total / layout.cards))
            else:
                reasons.append(f"{layout.cards} cards ({layout.label}): {refusal}")
                refused.add(layout.cards)
        return _Choices(tuple(layouts), tuple(dict.fromkeys(reasons)))

    def _candidates(self, node: _Node) -> Sequence[Layout]:
        """The layout that was asked for, else those of the asked number of cards, else all that are worth trying."""
        asked, cards = self._workload.layout, self._workload.cards
        if asked is not None:
            return (asked,) if cards in (None, asked.cards) else ()
        possible = self._sizer.layouts(node.counts)
        if cards is None:
            return possible
        usual = [layout for layout in possible if layout.cards == cards]
        return list(dict.fromkeys([*usual, *layouts_of(cards, self._sizer.inspection, max(node.counts))]))

    def _find_refusal(self, key: tuple[Layout, bool]) -> str | None:
        """Why vLLM would refuse a layout: the same on every card, and at all precisions but the published one."""
        layout, published = key
        return layout_refusal(self._sizer.model, layout, Precision.PUBLISHED if published else Precision.BF16)

    def _make_command(self, key: tuple[Layout, Precision, Workload]) -> Command:
        """Return the command of a layout: the same on every card that sets the same."""
        layout, precision, workload = key
        return serve_command(self._sizer.model, workload, precision, layout)

    def _find_prices(self, card: Accelerator, cards: int) -> _Prices:
        kind = self._workload.price_kind
        other = SPOT if kind == ON_DEMAND else ON_DEMAND
        book = self._book
        return _Prices(book.price(card, kind, cards), book.price(card, other, cards), book.counts(card))

    def _plan_case(self, case: Case, sizes: Sizes, extra: tuple[str, ...] = ()) -> Plan:
        case, sizes = within_slots(self._sizer, case, sizes)
        workload, card, layout = case.workload, case.card, case.layout
        footprint = footprint_of(self._sizer, case, sizes, detailed=case.precision is workload.precision)
        command, prices = self._command_of((layout, case.precision, workload)), self._prices_of(card, layout.cards)
        hourly = prices.of_kind.usd_per_hour * layout.cards if prices.of_kind is not None else None
        speed = None if self._pooling else self._speed(case, sizes, footprint, hourly)
        missed, start = tuple(misses(workload, speed, hourly)), self._gate.check(workload, layout, case.precision, card)
        unchecked = (
            (unchecked_start(self._sizer.model, card),)
            if start is StartCheck.NOT_CHECKED and command.text is not None
            else ()
        )
        reasons = (*plan_reasons(self._sizer, case, sizes), *setting_reasons(self._sizer, self._workload, case, sizes))
        return Plan(
            accelerator=card.key,
            accelerator_name=card.name,
            vendor=card.vendor,
            precision=case.precision,
            count=layout.cards,
            layout=layout,
            footprint=footprint,
            verdict=sizes.verdict,
            usd_per_hour=round(hourly, 4) if hourly is not None else None,
            price=prices.of_kind,
            command=_on_first(command.text, layout, card, self._sizer.engine.version),
            sets=settings_beside(self._workload, workload),
            start=start,
            speed=speed,
            reasons=(*missed, *reasons, *unchecked, *command.reasons, *unsold(card, layout, prices.counts), *extra),
            missed=missed,
            machines=card.machines(layout.cards),
            sureness=sureness_of(start, speed.basis if speed else None, self._is_proven(case)),
            measured=self._nearby.nearest(case) if speed and case.precision is workload.precision else (),
            replicas=replicas_for(workload, speed),
            other_price=prices.other,
        )

    def _is_proven(self, case: Case) -> bool:
        """True where trials of this very plan decide."""
        return self._speeds.learned.correction(self._sizer.inspection, case).exact

    def busiest(self, plan: Plan) -> Speed | None:
        """Return what a plan serves at the largest load that it holds within the limits."""
        if plan.layout is None or plan.speed is None:
            return None
        card = next(a for a in self._facts.accelerators if a.key == plan.accelerator)
        workload = self._workload_on(card)
        workload = workload.model_copy(update={"context": plan.sets.get("context", workload.context)})
        case = Case(workload, plan.precision, card, plan.layout)
        return self._speeds.busiest(case, self._sizer.size(case), plan.usd_per_hour)

    def _speed(self, case: Case, sizes: Sizes, footprint: Footprint, hourly: float | None) -> Speed | None:
        """At the load that serves the asked rate, else at the asked load."""
        if case.workload.cpu_offload_gb and not case.card.unified:
            return None  # weights cross a bus whose rate is unknown
        if case.workload.rate is not None:
            return self._speeds.sustaining(case, sizes, hourly)
        return self._speeds.of(case, footprint, hourly)


def _on_first(text: str | None, layout: Layout, card: Accelerator, version: str) -> str | None:
    """A command with what several machines need: as it is given to the first of them."""
    nodes = card.machines(layout.cards)
    if text is None or nodes == 1:
        return text
    return launch(text, Machines(nodes, "RANK", "FIRST_ADDRESS"), version).first


def _as(precision: Precision, twin: Plan) -> Plan:
    """The same plan under its other name, without the details that only the asked precision has."""
    if twin.precision is precision:
        return twin
    footprint = twin.footprint.model_copy(update={"terms": ()}) if twin.footprint else None
    return twin.model_copy(update={"precision": precision, "footprint": footprint})


def _smaller(search: _Search) -> tuple[str, ...]:
    """Say which smaller layout was passed over because it is too close."""
    if search.fitting is None or search.second is None:
        return ()
    case, sizes = search.second
    count = case.layout.cards
    if sizes.verdict is not Verdict.TIGHT or count >= search.fitting[0].layout.cards:
        return ()
    cards = "1 card is" if count == 1 else f"{count} cards are"
    return (f"{cards} tight: inside the error of the prediction",)


def _impossible(sizer: Sizer, card: Accelerator, precision: Precision, refused: str | None) -> str | None:
    """Why nothing can be planned; ``refused`` is what vLLM's selectors say of the card."""
    inspection = sizer.inspection
    if inspection.adapter_of is not None:
        return f"an adapter runs on its base model; ask for {inspection.adapter_of}"
    if sizer.total(precision) is None:
        return "the size of the weights at this precision is unknown"
    return refused or model_refusal(sizer.model, card) or precision_refusal(inspection, card, precision, sizer.engine)


def _refused_plan(
    card: Accelerator, precision: Precision, reasons: Sequence[str], footprint: Footprint | None = None
) -> Plan:
    """A plan that nothing serves; ``footprint`` is that of the largest layout that was tried."""
    return Plan(
        accelerator=card.key,
        accelerator_name=card.name,
        vendor=card.vendor,
        precision=precision,
        count=0,
        layout=None,
        footprint=footprint,
        verdict=Verdict.NO,
        usd_per_hour=None,
        price=None,
        command=None,
        reasons=tuple(reasons),
    )
