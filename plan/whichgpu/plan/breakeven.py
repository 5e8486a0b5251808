"""What another chip's price claim has to be, before moving to it pays.

one-off = weeks × people × weekly cost + reserve; saving a month = (ours − theirs) × million tokens a month.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

from whichgpu.inspect.records import Record


class Situation(StrEnum):
    """Where a team stands towards custom chips."""

    OWNER = "owner"
    """Builds data centres and may build chips."""
    GPU_CLOUD = "gpu-cloud"
    """vLLM on rented GPUs with open models."""
    CLOUD_CHIP = "cloud-chip"
    """Trainium or TPU inside the cloud that is used already."""
    DECODE_SERVICE = "decode-service"
    """A service for fast decoding, such as Groq's."""
    STARTUP = "startup"
    """Chips of a young company that run transformers alone."""


_ADVICE = {
    Situation.OWNER: (
        "At that scale the question is the chip's whole cost over its life, not a price per token: count design, masks"
        " and software over the tokens that it will ever serve, and keep GPUs for the architectures that come next."
    ),
    Situation.GPU_CLOUD: (
        "Captive chips are not for sale, so the comparison is between GPUs: measure tokens per second at your own median"
        " batch, and take the cheapest card whose latency you accept."
    ),
    Situation.CLOUD_CHIP: (
        "vLLM has plugins for both (vllm-neuron, vLLM on TPU), so a port is weeks, not months, where the plugin lists your"
        " model; run it there on the same workload before you sign, and count the weeks again for every new architecture."
    ),
    Situation.DECODE_SERVICE: (
        "You buy tokens, not chips: compare their price per token with yours at your load, and see that your model is on"
        " their list and that you can leave with a change of URL."
    ),
    Situation.STARTUP: (
        "A chip for transformers alone cannot serve the next state-space or hybrid model: take no commitment without"
        " hardware that you can rent today, and put a reserve for going back into the sum."
    ),
}


def advice_for(situation: Situation) -> str:
    """Return what follows for a situation, whatever the figures."""
    return _ADVICE[situation]


class BreakEven(Record):
    """The sum; dollars per million tokens and dollars."""

    ours: float
    theirs: float
    million_tokens_a_month: float
    one_off: float
    """Migration and reserve; at the longest migration, where a range was given, as are ``months``, ``needed`` and ``pays``."""
    one_off_shortest: float
    """The same at the shortest."""
    saving_a_month: float
    """Negative where theirs costs more."""
    months: float | None
    """Until the one-off is earned back; ``None`` for never."""
    months_shortest: float | None
    horizon: int
    """Months within which it should be."""
    needed: float | None
    """Price per million tokens that earns it back just within the horizon; ``None`` where no price would."""
    pays: bool
    advice: str


class Offer(NamedTuple):
    """Two prices in dollars per million tokens, and the load that they are for."""

    ours: float
    theirs: float
    million_tokens_a_month: float


class Move(NamedTuple):
    """What moving takes."""

    weeks: float
    people: float
    weekly_cost: float
    """Dollars a person costs a week."""
    reserve: float = 0
    """Dollars kept for going back."""

    @property
    def one_off(self) -> float:
        return self.weeks * self.people * self.weekly_cost + self.reserve


class Claim(NamedTuple):
    """What a chip's makers say of it, on this load: of all chips together."""

    tokens_per_second: float
    usd_per_hour: float
    watts: float | None = None

    @property
    def usd_per_million(self) -> float:
        return self.usd_per_hour / (self.tokens_per_second * 3600 / 1e6)

    @property
    def tokens_per_joule(self) -> float | None:
        """Tokens per second and watt."""
        return self.tokens_per_second / self.watts if self.watts else None


def break_even(offer: Offer, move: Move, horizon: int, situation: Situation, shortest: Move | None = None) -> BreakEven:
    """Return when moving pays, and which price would make it pay within ``horizon`` months.

    ``move`` is the longest that it may take, and decides; ``shortest`` the least.
    """
    ours, theirs, million_tokens_a_month = offer
    one_off, one_off_shortest = move.one_off, (shortest or move).one_off
    saving = (ours - theirs) * million_tokens_a_month
    months, months_shortest = _months(one_off, saving), _months(one_off_shortest, saving)
    needed = ours - one_off / (horizon * million_tokens_a_month)
    pays = months <= horizon and saving > 0
    return BreakEven(
        ours=ours,
        theirs=theirs,
        million_tokens_a_month=million_tokens_a_month,
        one_off=one_off,
        one_off_shortest=one_off_shortest,
        saving_a_month=saving,
        months=months if math.isfinite(months) else None,
        months_shortest=months_shortest if math.isfinite(months_shortest) else None,
        horizon=horizon,
        needed=needed if needed > 0 else None,
        pays=pays,
        advice=_ADVICE[situation],
    )


def _months(one_off: float, saving: float) -> float:
    """Months until a one-off is earned back; infinite where nothing is saved."""
    if saving > 0:
        return one_off / saving
    return 0.0 if one_off == 0 and saving == 0 else math.inf
