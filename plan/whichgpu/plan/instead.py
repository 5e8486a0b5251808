"""What else somebody may want than the recommended plan, and for what: a few plans, each for a reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whichgpu.plan.choices import InsteadOf, Sureness
from whichgpu.plan.records import Instead, Plan, Verdict

_ROOMY, _ROOMY_GIB = 2.0, 8
"""Times the recommended plan's spare memory, and GiB, from which a plan is roomy."""

_FAST = 0.67
"""Share of the recommended plan's time per token from which a plan is fast."""

_DEAREST = 4.0
"""Times the recommended plan's price beyond which nothing is offered instead."""


def instead(plans: Sequence[Plan], possible: Sequence[Plan], front: Sequence[Plan]) -> tuple[Instead, ...]:
    """Return what may stand beside the first of ``possible``, cheapest first; ``front`` are those that nothing beats."""
    if not possible:
        return ()
    chosen: dict[str, Instead] = {}
    for kind, plan in _wishes(possible, front):
        if plan.accelerator != possible[0].accelerator:
            chosen.setdefault(plan.accelerator, Instead(plan=plans.index(plan), kind=kind))
    return tuple(sorted(chosen.values(), key=lambda i: plans[i.plan].total_usd_per_hour or 0.0))


def _wishes(possible: Sequence[Plan], front: Sequence[Plan]) -> Iterator[tuple[InsteadOf, Plan]]:
    best = possible[0]
    cost = best.total_usd_per_hour
    offered = [p for p in possible if p.verdict is Verdict.FITS and _costs_at_most(p, cost)]
    if cost is not None:
        cheaper = [p for p in offered if (p.total_usd_per_hour or cost) < cost]
        yield from ((InsteadOf.CHEAPEST, p) for p in sorted(cheaper, key=lambda p: p.total_usd_per_hour or 0.0)[:1])
    levels = list(Sureness)
    surer = [p for p in offered if levels.index(p.sureness) < levels.index(best.sureness)]
    yield from ((InsteadOf.SURER, p) for p in surer[:1])
    for vendor in dict.fromkeys(p.vendor for p in offered if p.vendor != best.vendor):
        yield InsteadOf.OTHER_VENDOR, next(p for p in offered if p.vendor == vendor)
    if best.speed is not None:
        limit = _FAST * best.speed.tpot_ms.expected
        fast = [p for p in front if p in offered and p.speed is not None and p.speed.tpot_ms.expected <= limit]
        yield from ((InsteadOf.FAST, p) for p in fast[:1])
    room = max(_ROOMY * _spare(best), _spare(best) + _ROOMY_GIB * 2**30)
    roomy = sorted((p for p in offered if _spare(p) >= room), key=lambda p: p.total_usd_per_hour or 0.0)
    yield from ((InsteadOf.ROOMY, p) for p in roomy[:1])


def _costs_at_most(plan: Plan, cost: float | None) -> bool:
    return plan.total_usd_per_hour is not None and (cost is None or plan.total_usd_per_hour <= _DEAREST * cost)


def _spare(plan: Plan) -> float:
    return float(plan.footprint.headroom or 0) if plan.footprint is not None else 0.0
