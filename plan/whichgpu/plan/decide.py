"""What a team has to know before it cares about custom chips, in figures: one sum for each of five situations.

Nothing here is a forecast of a chip: what is known is today's plan on a GPU, what is asked is what a claim would have to bring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from whichgpu.inspect.records import Inspection, Origin, Record
from whichgpu.plan.breakeven import Move, Offer, Situation, advice_for, break_even
from whichgpu.plan.records import Accelerator, Plan, Range
from whichgpu.plan.silicon import Chip, missing_evidence

HOURS_A_YEAR = 8760
_MONTHS = 12


class DecisionFigure(Record):
    """One figure with its bounds, its unit and where it comes from."""

    name: str
    unit: str
    expected: float | None
    """``None`` where it is unknown, or never."""
    low: float | None = None
    high: float | None = None
    origin: Origin
    source: str


class ChipEvidence(Record):
    """What the public does not know of a chip."""

    chip: str
    missing: tuple[str, ...]


class Decision(Record):
    """A situation, its figures, the evidence that is missing, and what follows."""

    situation: Situation
    figures: tuple[DecisionFigure, ...]
    evidence: tuple[ChipEvidence, ...] = ()
    advice: str


class Estate(NamedTuple):
    """An owner's data centres and what a chip of its own would cost."""

    megawatts: float
    usd_per_kwh: float
    programme: tuple[float, float]
    """Dollars for design, masks and software: least and most."""
    gains: Sequence[float]
    """Shares of the power that a chip would save at the same work."""


class Baseline(NamedTuple):
    """Today's plan, on the card that a chip is compared with."""

    card: Accelerator
    plan: Plan

    @property
    def watts(self) -> float | None:
        """Power of one card, at the utility's meter where it is known, else of the board."""
        return self.card.facility_watts or self.card.board_watts

    @property
    def watts_source(self) -> str:
        at = "at the meter" if self.card.facility_watts else "of the board alone"
        return f"{self.watts:,.0f} W a card {at}" if self.watts else "its power is unknown"


class Port(NamedTuple):
    """Moving to a cloud's own chip: the shortest and the longest that it takes, and for how much."""

    shortest: Move
    longest: Move
    million_tokens_a_month: float
    horizon: int
    """Months within which it should pay."""
    theirs: float | None = None
    """Claimed dollars per million tokens."""


def owner(estate: Estate, baseline: Baseline) -> Decision:
    """Return what a gain in efficiency saves an owner, and how long a chip of its own takes to earn its cost back."""
    return Decision(
        situation=Situation.OWNER,
        figures=(*_fed(estate, baseline), *(f for gain in estate.gains for f in _gain(estate, baseline, gain))),
        advice=advice_for(Situation.OWNER),
    )


def gpu_cloud(baseline: Baseline) -> Decision:
    """Return what any claim has to beat: the plan that can be rented today."""
    return Decision(
        situation=Situation.GPU_CLOUD, figures=tuple(_today(baseline)), advice=advice_for(Situation.GPU_CLOUD)
    )


def cloud_chip(port: Port, baseline: Baseline) -> Decision:
    """Return what moving costs, and the price per million tokens that earns it back."""
    return Decision(
        situation=Situation.CLOUD_CHIP,
        figures=(*_today(baseline), *_moved(port, baseline)),
        advice=advice_for(Situation.CLOUD_CHIP),
    )


def decode_service(baseline: Baseline) -> Decision:
    """Return the baseline in tokens per watt and in dollars that a service for fast decoding is compared with."""
    return Decision(
        situation=Situation.DECODE_SERVICE,
        figures=(*_today(baseline), *_per_watt(baseline)),
        advice=advice_for(Situation.DECODE_SERVICE),
    )


def startup(chips: Sequence[Chip], baseline: Baseline, inspection: Inspection | None = None) -> Decision:
    """Return which evidence is missing of young companies' chips, beside what they have to beat."""
    return Decision(
        situation=Situation.STARTUP,
        figures=tuple(_today(baseline)),
        evidence=tuple(ChipEvidence(chip=c.key, missing=missing_evidence(c, inspection)) for c in chips),
        advice=advice_for(Situation.STARTUP),
    )


def _fed(estate: Estate, baseline: Baseline) -> Iterator[DecisionFigure]:
    watts, speed = baseline.watts, baseline.plan.speed
    if not watts:
        return
    cards = estate.megawatts * 1e6 / watts
    yield _computed(f"{baseline.card.name} on that power", "cards", cards, baseline.watts_source)
    if speed is not None:
        rate = speed.output_tokens_per_second
        copies = cards / baseline.plan.count
        bounds = Range(expected=copies * rate.expected, low=copies * rate.low, high=copies * rate.high)
        yield _ranged("they write", "tokens/s", bounds, "copies of today's plan, all busy")


def _gain(estate: Estate, baseline: Baseline, gain: float) -> Iterator[DecisionFigure]:
    saved = gain * estate.megawatts
    energy = saved * 1000 * HOURS_A_YEAR * estate.usd_per_kwh
    said = f"at {gain:.0%}"
    yield _computed(f"saved {said}", "MW", saved, "share of the power, at the same work")
    yield _computed(f"energy {said}", "$ a year", energy, f"${estate.usd_per_kwh:g} a kWh, all year")
    yield _payback(f"pays {said}, energy", estate, energy, "the programme's cost over it")
    hourly, watts = baseline.plan.usd_per_hour, baseline.watts
    if hourly is None or not watts:
        return
    rent = gain * estate.megawatts * 1e6 / watts * (hourly / baseline.plan.count) * HOURS_A_YEAR
    yield _computed(f"cards {said}", "$ a year", rent, "not rented, at today's price: the most")
    yield _payback(f"pays {said}, + cards", estate, energy + rent, "the programme's cost over both")


def _payback(name: str, estate: Estate, yearly: float, source: str) -> DecisionFigure:
    least, most = (cost / yearly * _MONTHS if yearly > 0 else None for cost in estate.programme)
    middle = None if least is None or most is None else (least + most) / 2
    return DecisionFigure(
        name=name, unit="months", expected=middle, low=least, high=most, origin=Origin.COMPUTED, source=source
    )


def _today(baseline: Baseline) -> Iterator[DecisionFigure]:
    speed, hourly = baseline.plan.speed, baseline.plan.usd_per_hour
    if hourly is not None:
        yield _computed("today's plan", "$ an hour", hourly, f"{baseline.plan.count} × {baseline.card.name}")
    if speed is None:
        return
    yield _ranged("it writes", "tokens/s", speed.output_tokens_per_second, "predicted")
    yield _ranged("a token takes", "ms", speed.tpot_ms, "predicted")
    if speed.usd_per_million_output is not None:
        yield _ranged("to beat", "$ per M output", speed.usd_per_million_output, "price over predicted rate")


def _per_watt(baseline: Baseline) -> Iterator[DecisionFigure]:
    speed, card = baseline.plan.speed, baseline.card
    if speed is None:
        return
    for where, watts in (("board", card.board_watts), ("at the meter", card.facility_watts)):
        if watts:
            power = watts * baseline.plan.count
            rate = speed.output_tokens_per_second
            bounds = Range(expected=rate.expected / power, low=rate.low / power, high=rate.high / power)
            yield _ranged(f"per watt, {where}", "tokens/s per W", bounds, f"{watts:,} W a card, rated")


def _moved(port: Port, baseline: Baseline) -> Iterator[DecisionFigure]:
    low, high = port.shortest.one_off, port.longest.one_off
    yield DecisionFigure(
        name="moving",
        unit="$",
        expected=(low + high) / 2,
        low=low,
        high=high,
        origin=Origin.COMPUTED,
        source=f"{port.shortest.weeks:g} to {port.longest.weeks:g} weeks of {port.shortest.people:g} people, and the reserve",
    )
    speed = baseline.plan.speed
    ours = speed.usd_per_million_output.expected if speed is not None and speed.usd_per_million_output else None
    if ours is None:
        return
    offer = Offer(ours, ours if port.theirs is None else port.theirs, port.million_tokens_a_month)
    sums = [break_even(offer, move, port.horizon, Situation.CLOUD_CHIP) for move in (port.longest, port.shortest)]
    yield _between(
        "must be below", "$ per M output", [s.needed for s in sums], f"to pay in {port.horizon} months at your load"
    )
    if port.theirs is not None:
        yield _between("pays after", "months", [s.months for s in reversed(sums)], "one-off over what is saved a month")


def _between(name: str, unit: str, ends: Sequence[float | None], source: str) -> DecisionFigure:
    """Between the ends, of which an unknown one is “never”."""
    low, high = ends
    middle = None if low is None or high is None else (low + high) / 2
    return DecisionFigure(
        name=name, unit=unit, expected=middle, low=low, high=high, origin=Origin.COMPUTED, source=source
    )


def _computed(name: str, unit: str, value: float, source: str) -> DecisionFigure:
    return DecisionFigure(name=name, unit=unit, expected=value, origin=Origin.COMPUTED, source=source)


def _ranged(name: str, unit: str, bounds: Range, source: str) -> DecisionFigure:
    return DecisionFigure(
        name=name,
        unit=unit,
        expected=bounds.expected,
        low=bounds.low,
        high=bounds.high,
        origin=Origin.COMPUTED,
        source=source,
    )
