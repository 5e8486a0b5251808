"""``whichgpu breakeven``: when another chip's claim pays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from whichgpu.plan.breakeven import BreakEven, Move, Offer, Situation, break_even
from whichgpu.tui.asking.helping import Topical
from whichgpu.tui.asking.options import engine_options, question_options, source_options
from whichgpu.tui.asking.question import question_of
from whichgpu.tui.asking.table import Finite
from whichgpu.tui.cli.answer import reply_narrated
from whichgpu.tui.desk.desk import open_desk
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.plans import cards_in_words
from whichgpu.tui.words.terminal import Terminal
from whichgpu.tui.words.units import dollars, wrapped


@click.command(cls=Topical)
@click.option(
    "--ours", type=Finite(0, min_open=True), help="Dollars per million tokens here; without it predicted for --model."
)
@click.option(
    "--theirs", type=Finite(0, min_open=True), required=True, help="Dollars per million tokens as claimed there."
)
@click.option("--tokens", type=Finite(0, min_open=True), required=True, help="Tokens a month, for example 5e9.")
@click.option("--weeks", type=Finite(0), default=4, show_default=True, help="Weeks of migration.")
@click.option("--people", type=Finite(0), default=2, show_default=True, help="People who do it.")
@click.option("--weekly", type=Finite(0), default=5000, show_default=True, help="Dollars a person costs a week.")
@click.option("--reserve", type=Finite(0), default=0, show_default=True, help="Dollars kept for going back.")
@click.option("--months", type=click.IntRange(1, 120), default=12, show_default=True, help="Months to pay within.")
@click.option(
    "--situation",
    type=click.Choice(["owner", "gpu-cloud", "cloud-chip", "decode-service", "startup"]),
    default="gpu-cloud",
    show_default=True,
    help="Where you stand towards custom chips.",
)
@question_options
@engine_options
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def breakeven(**options: Any) -> int:
    """Say when moving to another chip pays, and which price per million tokens it has to beat."""
    terminal = Terminal.detect()
    ours, origin = options["ours"], "as you said"
    if ours is None:
        ours, origin = _predicted_cost(options, terminal)
    if ours is None:
        raise click.UsageError("Give --ours, or a --model whose price is known.")
    payback = break_even(
        Offer(ours, options["theirs"], options["tokens"] / 1e6),
        Move(options["weeks"], options["people"], options["weekly"], options["reserve"]),
        horizon=options["months"],
        situation=Situation(options["situation"]),
    )
    click.echo(payback.model_dump_json(indent=2) if options["as_json"] else terminal.text(_text(payback, origin)))
    return ExitCode.OK if payback.pays else ExitCode.NOTHING_FITS


def _predicted_cost(options: Mapping[str, Any], terminal: Terminal) -> tuple[float | None, str]:
    if options["model"] is None:
        return None, ""
    plan = reply_narrated(question_of(options, open_desk(options["catalog"])), terminal).answer.recommended
    cost = plan.speed.usd_per_million_output if plan is not None and plan.speed is not None else None
    if plan is None or cost is None:
        return None, ""
    span = f"{dollars(cost.low)} to {dollars(cost.high)}"
    return cost.expected, f"predicted, {span}, output tokens on {cards_in_words(plan)}"


def _text(payback: BreakEven, origin: str) -> str:
    saving = payback.saving_a_month
    lines = wrapped(f"here       {dollars(payback.ours)} per million tokens ({origin})", 0, 11)
    lines += [
        f"claimed    {dollars(payback.theirs)} per million tokens",
        f"load       {payback.million_tokens_a_month:,.0f} million tokens a month",
        f"one-off    {dollars(payback.one_off)} for moving, and the reserve for going back",
        f"saving     {dollars(saving)} a month" if saving >= 0 else f"loss       {dollars(-saving)} a month",
        "",
    ]
    if payback.months is None:
        verdict = "It never pays: the claim is not below what you have."
    else:
        verdict = f"It pays after {payback.months:,.1f} months; asked: within {payback.horizon}."
    lines += wrapped(verdict)
    if payback.needed is None:
        lines += wrapped(f"No price would pay within {payback.horizon} months at this load.")
    elif not payback.pays:
        lines += wrapped(
            f"The number to beat: {payback.needed:,.4f} dollars per million tokens, measured at your load."
        )
    return "\n".join([*lines, "", *wrapped(payback.advice)])
