"""How much of a plan was ever seen: what decides whether it may be recommended at its price."""

from __future__ import annotations

from whichgpu.plan.choices import Seller, SpeedBasis, StartCheck, Sureness
from whichgpu.plan.records import Plan

FACTORS = {Sureness.PROVEN: 1.0, Sureness.SPEED_UNPROVEN: 1.25, Sureness.START_UNPROVEN: 2.0}
"""A plan is recommended before a surer one only where that costs more than so many times as much. Assumed: what a wrong speed or a start
that fails costs an engineer."""

_MARKETPLACE = 3.0
"""The same for a card that only other people's machines are offered of: they come and go."""

_UNKNOWN_COUNT = 1.5
"""The same where it is not said which machines the card is sold in."""

_SEVERAL_MACHINES = 2.0
"""The same for a plan over several machines, whose network is not in any price or speed here."""


def sureness_of(start: StartCheck, basis: SpeedBasis | None, learned: bool) -> Sureness:
    """Return what was seen: vLLM's kernels for these layers, and the speed of this card's; ``learned`` by trials of the team."""
    if learned:
        return Sureness.PROVEN
    if start is not StartCheck.CHECKED:
        return Sureness.START_UNPROVEN
    return Sureness.PROVEN if basis in (None, SpeedBasis.TABLES) else Sureness.SPEED_UNPROVEN


def handicap(plan: Plan) -> float:
    """Return what a plan's cost is multiplied by before it is compared."""
    factor, price = FACTORS[plan.sureness], plan.price
    if plan.machines > 1:
        factor *= _SEVERAL_MACHINES
    if price is None or price.yours:
        return factor
    factor *= _MARKETPLACE if price.seller is Seller.MARKETPLACE else 1.0
    return factor * (1.0 if price.count_stated else _UNKNOWN_COUNT)
