"""The layout of one model on one kind of card: which fit, which serve the objective, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whichgpu.plan.choices import ON_DEMAND, SPOT
from whichgpu.plan.commands import Command, serve_command
from whichgpu.plan.engine import Engines
from whichgpu.plan.footprint import footprint_of
from whichgpu.plan.learned import Learned
from whichgpu.plan.notes import plan_reasons, shortfall, unsold
from whichgpu.plan.objectives import misses, prefers_speed, rank_of, replicas_for
from whichgpu.plan.prices import price_of, sold_counts
from whichgpu.plan.records import (
    Accelerator,
    Footprint,
    Kernels,
    Layout,
    Plan,
    Precision,
    Price,
    PriceOffer,
    Speed,
    Verdict,
    Workload,
)
from whichgpu.plan.refusals import layout_refusal, precision_refusal
from whichgpu.plan.roofline import Calibration
from whichgpu.plan.sizing import Sizer, Sizes
from whichgpu.plan.speed import speed_of
from whichgpu.plan.step_work import Works
from whichgpu.plan.support import is_pooling

_TWINS = (Precision.PUBLISHED, Precision.BF16)
"""What is one plan where a checkpoint is published in BF16."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a plan rests on beside the model."""

    accelerators: Sequence[Accelerator]
    offers: Sequence[PriceOffer]
    architectures: Mapping[str, Any]
    """vLLM's registry: ``supported``, ``removed``, ``plugins``, ``pooling``, ``generating_too`` (pooling classes that stand in
    the tables of generation as well), ``without_pipeline_parallel``."""
    engines: Engines
    calibration: Calibration
    date: str
    learned: Learned = field(default_factory=Learned)
    """What trials taught."""


@dataclass(frozen=True, slots=True)
class _Choices:
    """What vLLM would accept on a kind of node, fewest cards first."""

    layouts: tuple[tuple[Layout, float], ...]
    """Each with what every card would hold of weights that divide evenly: some card holds at least as much."""
    refusals: tuple[str, ...]


@dataclass(slots=True)
class _Search:
    """What came of the layouts of one card."""

    fitting: tuple[Layout, Sizes] | None = None
    second: tuple[Layout, Sizes] | None = None
    """The first that is tight or unknown."""
    last: tuple[Layout, Sizes] | None = None


class Planner:
    """Finds the layout of one model on each card, for one workload."""

    def __init__(self, sizer: Sizer, workload: Workload, facts: Facts) -> None:
        self._sizer, self._workload, self._facts = sizer, workload, facts
        self._works = Works(sizer)
        self._pooling = is_pooling(sizer.inspection, facts.architectures)
        self._prices: dict[str, tuple[Price | None, Price | None, tuple[int, ...] | None]] = {}
        self._refusals: dict[tuple[Layout, bool], str | None] = {}
        self._choices: dict[tuple[tuple[int, ...], Precision, Kernels], _Choices] = {}
        self._published_is_bf16 = sizer.published_is_bf16(workload)
        self._commands: dict[tuple[Layout, Precision], Command] = {}
        self._twins: dict[str, Plan] = {}

    def plan(self, precision: Precision, card: Accelerator) -> Plan:
        """Return the layout that serves the objective on one kind of card, or the reasons why none fits.

        That is the smallest that fits; where speed is what counts, the best within a node for the asked precision.
        """
        impossible = _impossible(self._sizer, card, precision)
        if impossible is not None:
            return _make_plan(card, precision, Verdict.NO, None, None, None, None, None, (impossible,))
        if not self._published_is_bf16 or precision not in _TWINS:
            return self._find_plan(precision, card)
        if card.key not in self._twins:
            asked_precision = self._workload.precision
            self._twins[card.key] = self._find_plan(asked_precision if asked_precision in _TWINS else precision, card)
        return _as(precision, self._twins[card.key])

    def _find_plan(self, precision: Precision, card: Accelerator) -> Plan:
        sizer, workload = self._sizer, self._workload
        choices = self._acceptable_layouts(precision, card)
        search = _search_layouts(sizer, workload, precision, card, choices)
        candidate = search.fitting or search.second or search.last
        if candidate is None:
            return _make_plan(card, precision, Verdict.NO, None, None, None, None, None, choices.refusals)
        if candidate[1].verdict is Verdict.NO:
            footprint = footprint_of(sizer, candidate[1], workload, candidate[0], precision is workload.precision)
            reasons = (shortfall(candidate[0], footprint), *choices.refusals)
            return _make_plan(card, precision, Verdict.NO, None, footprint, None, None, None, reasons)
        smallest = self._plan_layout(precision, card, *candidate, extra=_smaller(search))
        if search.fitting is None or precision is not workload.precision or not prefers_speed(workload):
            return smallest
        return min((smallest, *self._larger(precision, card, candidate[0])), key=rank_of(workload))

    def _larger(self, precision: Precision, card: Accelerator, smallest: Layout) -> Iterator[Plan]:
        """Yield what fits on more cards of one node, tensor parallel."""
        for layout, _ in self._acceptable_layouts(precision, card).layouts:
            inside = layout.cards <= max(card.node_counts) and layout.pipeline_parallel == 1
            if not inside or layout.cards <= smallest.cards or layout.data_parallel > 1:
                continue
            sizes = self._sizer.size(self._workload, precision, card, layout)
            if sizes.verdict is Verdict.FITS:
                yield self._plan_layout(precision, card, layout, sizes)

    def _acceptable_layouts(self, precision: Precision, card: Accelerator) -> _Choices:
        """Return the layouts for one kind of node: the same for every card that comes so, so worked out once."""
        key = (card.node_counts, precision, card.generation.mxfp4_padding)
        if key not in self._choices:
            self._choices[key] = self._vet_layouts(precision, card)
        return self._choices[key]

    def _vet_layouts(self, precision: Precision, card: Accelerator) -> _Choices:
        layouts, reasons, refused = list[tuple[Layout, float]](), list[str](), set[int]()
        total, asked_cards = self._sizer.table(precision, self._workload).total, self._workload.cards
        candidates = [layout for layout in self._sizer.layouts(card) if asked_cards in (None, layout.cards)]
        if not candidates:
            counts = sorted({layout.cards for layout in self._sizer.layouts(card)})
            reasons.append(f"no layout has {asked_cards} cards; there are {', '.join(map(str, counts))}")
        for layout in candidates:
            if layout.pipeline_parallel > 1 and layout.cards <= max(card.node_counts) and layout.cards not in refused:
                continue  # inside a node a pipeline is for what tensor parallelism can't split
            refusal = self._refusal(layout, precision)
            if refusal is None:
                layouts.append((layout, total / layout.cards))
            else:
                reasons.append(f"{layout.cards} cards ({layout.label}): {refusal}")
                refused.add(layout.cards)
        return _Choices(tuple(layouts), tuple(dict.fromkeys(reasons)))

    def _refusal(self, layout: Layout, precision: Precision) -> str | None:
        """Why vLLM would refuse a layout: the same on every card, and at all precisions but the published one."""
        key = (layout, precision is Precision.PUBLISHED)
        if key not in self._refusals:
            engine, registry = self._sizer.engine, self._facts.architectures
            self._refusals[key] = layout_refusal(self._sizer.inspection, layout, precision, engine, registry)
        return self._refusals[key]

    def _command(self, precision: Precision, layout: Layout) -> Command:
        """Return the command of a layout: the same on every card."""
        key = (layout, precision)
        if key not in self._commands:
            inspection, registry = self._sizer.inspection, self._facts.architectures
            self._commands[key] = serve_command(inspection, self._workload, precision, layout, registry)
        return self._commands[key]

    def _price(self, card: Accelerator) -> tuple[Price | None, Price | None, tuple[int, ...] | None]:
        """Return the price of the asked kind, that of the other, and the counts in which the card is sold."""
        if card.key not in self._prices:
            offers, kind = self._facts.offers, self._workload.price_kind
            other = SPOT if kind == ON_DEMAND else ON_DEMAND
            self._prices[card.key] = (
                price_of(card, offers, kind),
                price_of(card, offers, other),
                sold_counts(card, offers),
            )
        return self._prices[card.key]

    def _plan_layout(
        self, precision: Precision, card: Accelerator, layout: Layout, sizes: Sizes, extra: tuple[str, ...] = ()
    ) -> Plan:
        sizer, workload, facts = self._sizer, self._workload, self._facts
        footprint = footprint_of(sizer, sizes, workload, layout, detailed=precision is workload.precision)
        command = self._command(precision, layout)
        price, other, sold = self._price(card)
        hourly = price.usd_per_hour * layout.cards if price is not None else None
        speed = (
            None
            if self._pooling
            else speed_of(
                self._works, workload, precision, card, layout, footprint, facts.calibration, hourly, facts.learned
            )
        )
        missed = tuple(misses(workload, speed, hourly))
        reasons = (
            *missed,
            *plan_reasons(sizer, workload, precision, card, layout, sizes),
            *command.reasons,
            *unsold(card, layout, sold),
            *extra,
        )
        plan = _make_plan(card, precision, sizes.verdict, layout, footprint, command.text, speed, price, reasons)
        replicas = replicas_for(workload, speed)
        return plan.model_copy(update={"missed": missed, "replicas": replicas, "other_price": other})


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
    layout, sizes = search.second
    if sizes.verdict is not Verdict.TIGHT or layout.cards >= search.fitting[0].cards:
        return ()
    cards = "1 card is" if layout.cards == 1 else f"{layout.cards} cards are"
    return (f"{cards} tight: inside the error of the prediction",)


def _search_layouts(
    sizer: Sizer, workload: Workload, precision: Precision, card: Accelerator, choices: _Choices
) -> _Search:
    search, room = _Search(), sizer.room(workload, card)
    hopeless: Layout | None = None
    for layout, share in choices.layouts:
        if share > room or sizer.fullest(workload, precision, card, layout) > room:
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
    return search


def _impossible(sizer: Sizer, card: Accelerator, precision: Precision) -> str | None:
    inspection = sizer.inspection
    if inspection.adapter_of is not None:
        return f"an adapter runs on its base model; ask for {inspection.adapter_of}"
    if sizer.total(precision) is None:
        return "the size of the weights at this precision is unknown"
    return precision_refusal(inspection, card, precision, sizer.engine)


def _make_plan(
    card: Accelerator,
    precision: Precision,
    verdict: Verdict,
    layout: Layout | None,
    footprint: Footprint | None,
    command: str | None,
    speed: Speed | None,
    price: Price | None,
    reasons: Sequence[str],
) -> Plan:
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
        speed=speed,
        reasons=tuple(reasons),
    )
