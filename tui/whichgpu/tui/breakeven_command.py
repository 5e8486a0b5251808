"""``whichgpu breakeven``: when another chip's claim pays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from whichgpu.plan.breakeven import BreakEven, Situation, break_even
from whichgpu.tui.exit_codes import ExitCode
from whichgpu.tui.one_shot import replied
from whichgpu.tui.plan_words import cards_in_words
from whichgpu.tui.terminal import Terminal
from whichgpu.tui.units import dollars, wrapped


def compute(options: Mapping[str, Any]) -> int:
    """Print the sum; exit 1 where moving does not pay within the horizon."""
    terminal = Terminal.detect()
    ours, origin = options["ours"], "as you said"
    if ours is None:
        ours, origin = _predicted_cost(options, terminal)
    if ours is None:
        raise click.UsageError("Give --ours, or a --model whose price is known.")
    payback = break_even(
        ours=ours,
        theirs=options["theirs"],
        million_tokens_a_month=options["tokens"] / 1e6,
        weeks=options["weeks"],
        people=options["people"],
        weekly_cost=options["weekly"],
        reserve=options["reserve"],
        horizon=options["months"],
        situation=Situation(options["situation"]),
    )
    click.echo(payback.model_dump_json(indent=2) if options["as_json"] else terminal.text(_text(payback, origin)))
    return ExitCode.OK if payback.pays else ExitCode.NOTHING_FITS


def _predicted_cost(options: Mapping[str, Any], terminal: Terminal) -> tuple[float | None, str]:
    if options["model"] is None:
        return None, ""
    plan = replied(options, terminal).answer.recommended
    cost = plan.speed.usd_per_million_output if plan is not None and plan.speed is not None else None
    if plan is None or cost is None:
        return None, ""
    span = f"{dollars(cost.low)} to {dollars(cost.high)}"
    return cost.expected, f"predicted, {span}, output tokens on {cards_in_words(plan)}"


def _text(found: BreakEven, origin: str) -> str:
    saving = found.saving_a_month
    lines = wrapped(f"here       {dollars(found.ours)} per million tokens ({origin})", 0, 11)
    lines += [
        f"claimed    {dollars(found.theirs)} per million tokens",
        f"load       {found.million_tokens_a_month:,.0f} million tokens a month",
        f"one-off    {dollars(found.one_off)} for moving, and the reserve for going back",
        f"saving     {dollars(saving)} a month" if saving >= 0 else f"loss       {dollars(-saving)} a month",
        "",
    ]
    if found.months is None:
        verdict = "It never pays: the claim is not below what you have."
    else:
        verdict = f"It pays after {found.months:,.1f} months; asked: within {found.horizon}."
    lines += wrapped(verdict)
    if found.needed is None:
        lines += wrapped(f"No price would pay within {found.horizon} months at this load.")
    elif not found.pays:
        lines += wrapped(f"The number to beat: {found.needed:,.4f} dollars per million tokens, measured at your load.")
    return "\n".join([*lines, "", *wrapped(found.advice)])
