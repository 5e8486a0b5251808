"""What makes one plan better than another, and the limits that a plan may miss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from whichgpu.plan.choices import Sureness
from whichgpu.plan.records import Objective, Plan, Speed, Verdict, Workload
from whichgpu.plan.sureness import handicap

_ORDER = {Verdict.FITS: 0, Verdict.UNKNOWN: 1, Verdict.TIGHT: 2, Verdict.NO: 3}
_LAST = 1e12

Rank = tuple[int, int, float, float, int, float]


def prefers_speed(workload: Workload) -> bool:
    """True where more cards than the model needs may serve it better."""
    fast = workload.objective in (Objective.LATENCY, Objective.THROUGHPUT, Objective.POWER)
    return fast or workload.max_tpot_ms is not None or workload.max_ttft_ms is not None or workload.rate is not None


def rank_of(workload: Workload) -> Callable[[Plan], Rank]:
    """Return the key that sorts plans, best first: what fits, within the limits, then the objective, then price."""

    def rank(plan: Plan) -> Rank:
        cost = plan.usd_per_hour * plan.replicas if plan.usd_per_hour is not None else _LAST
        memory = plan.footprint.usable if plan.footprint else 0
        return (
            _ORDER[plan.verdict],
            len(plan.missed),
            _value(plan, _aim(plan, workload), cost) * _doubt(plan, workload),
            cost,
            plan.count * plan.replicas,
            memory,
        )

    return rank


def _doubt(plan: Plan, workload: Workload) -> float:
    """What a price is multiplied by before it is compared: of two prices the surer one may be higher."""
    return (
        handicap(plan) if workload.objective is Objective.COST and not (plan.missed and _is_hurried(workload)) else 1.0
    )


def _is_hurried(workload: Workload) -> bool:
    return workload.max_tpot_ms is not None or workload.max_ttft_ms is not None


def _aim(plan: Plan, workload: Workload) -> Objective:
    """The objective; among plans that are too slow, the nearest miss is the fastest."""
    return Objective.LATENCY if plan.missed and _is_hurried(workload) else workload.objective


def _value(plan: Plan, objective: Objective, cost: float) -> float:
    speed = plan.speed
    if objective is Objective.COST:
        return cost
    if objective is Objective.FEWEST:
        return plan.count * plan.replicas or _LAST
    if speed is None:
        return _LAST
    if objective is Objective.LATENCY:
        return speed.tpot_ms.high
    rate = speed.output_tokens_per_second
    if objective is Objective.THROUGHPUT:
        return -rate.low * plan.replicas
    return -(speed.output_tokens_per_joule or 0.0) * rate.low / rate.expected


def why_lost(first: Plan, second: Plan, workload: Workload) -> str:
    """Return why one plan ranks behind another, and what it has for it."""
    if second.verdict is not first.verdict:
        return f"it is only “{second.verdict.value}”"
    if second.missed:
        return second.missed[0]
    against, better = list[str](), list[str]()
    for name, mine, theirs, more_is_better in _measures(first, second):
        if mine is None or theirs is None or not min(mine, theirs) or mine == theirs:
            continue
        factor = max(mine, theirs) / min(mine, theirs)
        worse = (theirs < mine) == more_is_better
        if factor >= 1.01:
            (against if worse else better).append(f"{factor:.2f} × {name[0] if worse else name[1]}")
    if not against:
        unpriced = second.usd_per_hour is None and workload.objective is Objective.COST
        against = ["no dated price is known"] if unpriced else ["no difference that counts"]
    return ", ".join(against) + (f"; for it: {', '.join(better)}" if better else "")


def _measures(first: Plan, second: Plan) -> Iterator[tuple[tuple[str, str], float | None, float | None, bool]]:
    """Yield (words for worse and better), both values, and whether more is better."""

    def hourly(plan: Plan) -> float | None:
        return plan.usd_per_hour * plan.replicas if plan.usd_per_hour is not None else None

    yield ("the price an hour", "cheaper an hour"), hourly(first), hourly(second), False
    yield ("the cards", "fewer cards"), first.count * first.replicas, second.count * second.replicas, False
    if first.speed is None or second.speed is None:
        return
    one, two = first.speed, second.speed
    yield ("the time per token", "faster per token"), one.tpot_ms.expected, two.tpot_ms.expected, False
    costs = one.usd_per_million_output, two.usd_per_million_output
    if costs[0] is not None and costs[1] is not None:
        yield ("the cost per token", "cheaper per token"), costs[0].expected, costs[1].expected, False


def front(plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """Return the plans that no other beats in price, time per token and sureness at once, cheapest first."""
    comparable = [p for p in plans if p.usd_per_hour is not None and p.speed is not None]
    comparable.sort(key=lambda p: (p.total_usd_per_hour or 0.0, p.speed.tpot_ms.expected if p.speed else 0.0))
    best: list[Plan] = []
    for plan in comparable:
        if not any(_beats(other, plan) for other in best):
            best.append(plan)
    return tuple(best)


_LEVELS = tuple(Sureness)


def _beats(other: Plan, plan: Plan) -> bool:
    """True for a plan that is as fast and as sure as one that costs no less."""
    if other.speed is None or plan.speed is None:
        return False
    sure = _LEVELS.index(other.sureness) <= _LEVELS.index(plan.sureness)
    return sure and other.speed.tpot_ms.expected <= plan.speed.tpot_ms.expected


def replicas_for(workload: Workload, speed: Speed | None) -> int:
    """Copies that keep up with the asked rate of requests, at the low end of what one may serve."""
    if workload.rate is None or speed is None:
        return 1
    tokens_per_second = workload.rate * speed.output_tokens
    return max(1, -int(-tokens_per_second // speed.output_tokens_per_second.low))


def misses(workload: Workload, speed: Speed | None, usd_per_hour: float | None) -> Iterator[str]:
    """Yield the limits that a plan does not keep at the slow end of its range."""
    if workload.max_usd_per_hour is not None:
        total = usd_per_hour * replicas_for(workload, speed) if usd_per_hour is not None else None
        if total is None:
            yield "its price is unknown, and a limit was asked"
        elif total > workload.max_usd_per_hour:
            yield f"${total:,.2f} an hour is more than ${workload.max_usd_per_hour:,.2f}"
    for name, limit, measure in (
        ("a token takes", workload.max_tpot_ms, speed.tpot_ms if speed else None),
        ("the first token takes", workload.max_ttft_ms, speed.ttft_ms if speed else None),
    ):
        if limit is None:
            continue
        if measure is None:
            yield "its speed is unknown, and a limit was asked"
        elif measure.high > limit:
            yield f"{name} {measure.expected:,.1f} ms, and may take {measure.high:,.1f}, more than {limit:,.1f}"
