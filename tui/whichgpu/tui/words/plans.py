"""A plan, its cards and its price in words: the one spelling that every report, list and title uses."""

from __future__ import annotations

from whichgpu.plan.records import Plan, Verdict
from whichgpu.tui.words.units import dollars

_MARKS = {Verdict.TIGHT: ", tight", Verdict.UNKNOWN: ", as far as is known"}


def cards_in_words(plan: Plan, name: str | None = None) -> str:
    """``2 × H200 SXM``, and with several copies ``46 replicas of 2 × H200 SXM``; ``name`` is a shorter one of the card."""
    cards = f"{plan.count} × {name or plan.accelerator_name}"
    return f"{plan.replicas} replicas of {cards}" if plan.replicas > 1 else cards


def card_in_words(plan: Plan) -> str:
    """The same with the card's name as short as it is clear: ``1 × RTX PRO 6000``."""
    short = plan.accelerator_name.split(" (")[0]
    for word in ("GeForce ", "Instinct ", " Blackwell", " Server Edition", " Workstation"):
        short = short.replace(word, "")
    return cards_in_words(plan, short)


def price_in_words(plan: Plan) -> str:
    """What all of it costs an hour: ``$96.14/h``; ``no dated price`` where none is known."""
    total = plan.total_usd_per_hour
    return f"{dollars(total)}/h" if total is not None else "no dated price"


def plan_in_words(plan: Plan | None, name: str | None = None) -> str:
    """A plan in one line: ``46 replicas of 1 × H100 SXM5, $96.14/h, tight``."""
    if plan is None:
        return "nothing fits"
    return f"{cards_in_words(plan, name)}, {price_in_words(plan)}{_MARKS.get(plan.verdict, '')}"


def short_name(plan: Plan) -> str:
    """A card's key as lists show it: ``H100 SXM``."""
    return plan.accelerator.replace("_", " ").upper()
