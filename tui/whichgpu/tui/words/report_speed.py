"""How fast a plan serves and what its tokens cost, in words."""

from __future__ import annotations

from whichgpu.plan.choices import Nearness, SpeedBasis
from whichgpu.plan.records import NearestMeasurement, Plan, Range, SecondOpinion, Speed
from whichgpu.tui.words.units import dollars, wrapped


def speed_lines(plan: Plan) -> list[str]:
    """Return speed, cost and what limits them, each with its range."""
    speed = plan.speed
    if speed is None:
        return []
    load = f"{speed.running:,} at once, {speed.prompt_tokens:,} tokens in and {speed.output_tokens:,} out"
    rate = _rate(speed.output_tokens_per_second)
    lines = wrapped(f"serves {rate} tokens/s out ({load})", 2)
    burst = (
        f"; {_brief(speed.ttft_burst_ms)} if all arrive at once" if speed.ttft_burst_ms and speed.running > 1 else ""
    )
    lines += wrapped(f"{_time(speed.tpot_ms)} per token, first token after {_time(speed.ttft_ms)}{burst}", 2)
    if speed.usd_per_million_output is not None and speed.usd_per_million_total is not None:
        both = f"{_money(speed.usd_per_million_total)} counting input too"
        lines += wrapped(f"{_money(speed.usd_per_million_output)} per million output tokens, {both}", 2)
    limit = f"limited by {speed.limit}"
    if speed.output_tokens_per_joule is not None:
        limit += f"; {speed.output_tokens_per_joule:.2f} tokens/s per watt of board power"
    if speed.output_tokens_per_facility_joule is not None:
        limit += f", {speed.output_tokens_per_facility_joule:.2f} at the data centre's meter"
    lines += wrapped(limit, 2)
    if speed.learned is not None:
        lines += wrapped(f"time per token × {speed.learned_factor:.2f} by {speed.learned}", 2)
    lines += wrapped(f"measured: {nearest_words(plan)}", 2)
    lines += _second(plan)
    if speed.waiting:
        lines += wrapped(f"but: {speed.waiting:,} of the asked sequences queue: the pool holds no more", 2)
    if not speed.in_range:
        lines += wrapped(f"how sure: {_evidence(speed)}, hence the width of the range", 2)
    return lines


def nearest_words(plan: Plan) -> str:
    """What others measured nearest to a plan, beside what is predicted for that very point."""
    return _measured(plan, plan.measured[0]) if plan.measured else "no public run of it on this card is known here"


def measured_table(plan: Plan) -> list[str]:
    """Return every measurement that stands beside a plan."""
    return [line for near in plan.measured for line in wrapped(_measured(plan, near), 2)]


def _measured(plan: Plan, near: NearestMeasurement) -> str:
    row = near.measurement
    cards = f"{row.layout.cards} × {plan.accelerator_name}"
    value = f"{row.tpot_ms:.1f} ms per token" if row.tpot_ms else f"{row.output_tokens_per_second:,.0f} tokens/s"
    load = f"{row.concurrency:,.0f} at once, {row.prompt_tokens:,} in and {row.output_tokens:,} out"
    other = f"; {near.near}: {row.weights}" if near.near is Nearness.OTHER_WEIGHTS else ""
    return f"{value} on {cards} ({load}; {row.engine}, {row.source}){_ours(near)}{other}"


def _ours(near: NearestMeasurement) -> str:
    if near.ours_ms is None:
        return ""
    if near.measurement.tpot_ms is not None:
        return f"; ours {near.ours_ms:.1f}"
    return f"; ours {near.measurement.concurrency / near.ours_ms * 1e3:,.0f}"


def _second(plan: Plan) -> list[str]:
    return wrapped(opinion_words(plan.second_opinion), 2) if plan.second_opinion is not None else []


def opinion_words(other: SecondOpinion) -> str:
    """The other estimator's figure beside ours, rejected with a word where it can't be."""
    if other.tpot_ms is None or other.output_tokens_per_second is None:
        return f"{other.source} has no figure: {other.note}"
    note = f"; {other.note}" if other.note else ""
    return f"{other.source} says {other.output_tokens_per_second:,.0f} tokens/s, {other.tpot_ms:.1f} ms per token{note}"


def step_table(speed: Speed) -> list[str]:
    """Return where the time of one output token goes."""
    step = speed.step_ms
    named = (
        ("weights", step.weights),
        ("compute", step.compute),
        ("KV cache", step.kv_cache),
        ("links", step.links),
        ("overheads", step.overheads),
        ("others' prefills", step.prefills),
    )
    parts = [f"{name} {value:.2f}" for name, value in named if value >= 0.005]
    total = f"= {speed.tpot_ms.expected:.2f} ms per output token"
    words = " + ".join(parts)
    return wrapped(f"{words} {total}", 2)


def _evidence(speed: Speed) -> str:
    if speed.basis in (None, SpeedBasis.TABLES):
        return "more at once than any measurement that we hold"
    return f"kernel times are {speed.basis}"


def _rate(figure: Range) -> str:
    return f"{figure.expected:,.0f} ({figure.low:,.0f} to {figure.high:,.0f})"


def _time(figure: Range) -> str:
    if figure.expected >= 1000:
        return f"{figure.expected / 1e3:.1f} s ({figure.low / 1e3:.1f} to {figure.high / 1e3:.1f})"
    digits = 1 if figure.expected < 100 else 0
    return f"{figure.expected:.{digits}f} ms ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def _brief(figure: Range) -> str:
    return f"{figure.expected / 1e3:.1f} s" if figure.expected >= 1000 else f"{figure.expected:.0f} ms"


def _money(figure: Range) -> str:
    return f"{dollars(figure.expected)} ({dollars(figure.low)} to {dollars(figure.high)})"
