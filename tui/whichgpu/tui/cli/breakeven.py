"""``whichgpu breakeven``: when another chip's claim pays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from whichgpu.plan.breakeven import BreakEven, Claim, Move, Offer, Situation, break_even
from whichgpu.tui.asking.helping import Topical
from whichgpu.tui.asking.options import engine_options, question_options, source_options
from whichgpu.tui.asking.question import question_of
from whichgpu.tui.asking.table import Finite, Span
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
@click.option("--theirs", type=Finite(0, min_open=True), help="Dollars per million tokens as claimed there.")
@click.option("--claim-tps", type=Finite(0, min_open=True), help="Or its tokens a second as claimed, with --claim-usd.")
@click.option("--claim-usd", type=Finite(0, min_open=True), help="Dollars an hour of the chips that give --claim-tps.")
@click.option("--claim-watts", type=Finite(0, min_open=True), help="Watts of the chips that give --claim-tps.")
@click.option("--tokens", type=Finite(0, min_open=True), required=True, help="Tokens a month, for example 5e9.")
@click.option("--weeks", type=Span(), default="4", show_default=True, help="Weeks of migration; 2-6 is a range.")
@click.option("--people", type=Finite(0), default=2, show_default=True, help="People who do it.")
@click.option("--weekly", type=Finite(0), default=5000, show_default=True, help="Dollars a person costs a week.")
@click.option("--hourly", type=Finite(0), help="Or dollars that a person costs an hour, 40 hours a week.")
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
    claim = _claim(options)
    theirs = claim.usd_per_million if claim is not None else options["theirs"]
    weekly = options["weekly"] if options["hourly"] is None else 40 * options["hourly"]
    shortest, longest = (Move(w, options["people"], weekly, options["reserve"]) for w in options["weeks"])
    payback = break_even(
        Offer(ours, theirs, options["tokens"] / 1e6),
        longest,
        horizon=options["months"],
        situation=Situation(options["situation"]),
        shortest=shortest,
    )
    text = _text(payback, origin, claim)
    click.echo(payback.model_dump_json(indent=2) if options["as_json"] else terminal.text(text))
    return ExitCode.OK if payback.pays else ExitCode.NOTHING_FITS


def _claim(options: Mapping[str, Any]) -> Claim | None:
    """Return the claim where it is given as a rate; a price per token and a rate would be two."""
    rate, hourly = options["claim_tps"], options["claim_usd"]
    if (rate is None) != (hourly is None) or (options["claim_watts"] is not None and rate is None):
        raise click.UsageError("A claimed rate is --claim-tps and --claim-usd, and --claim-watts if it is known.")
    if (rate is None) == (options["theirs"] is None):
        raise click.UsageError("Give the claim once: --theirs, or --claim-tps with --claim-usd.")
    return None if rate is None else Claim(rate, hourly, options["claim_watts"])


def _predicted_cost(options: Mapping[str, Any], terminal: Terminal) -> tuple[float | None, str]:
    if options["model"] is None:
        return None, ""
    plan = reply_narrated(question_of(options, open_desk(options["catalog"])), terminal).answer.recommended
    cost = plan.speed.usd_per_million_output if plan is not None and plan.speed is not None else None
    if plan is None or cost is None:
        return None, ""
    span = f"{dollars(cost.low)} to {dollars(cost.high)}"
    energy = plan.speed.output_tokens_per_joule if plan.speed is not None else None
    watts = f", {energy:.2f} tokens/s per watt of the boards" if energy is not None else ""
    return cost.expected, f"predicted, {span}, output tokens on {cards_in_words(plan)}{watts}"


def _text(payback: BreakEven, origin: str, claim: Claim | None) -> str:
    saving = payback.saving_a_month
    lines = wrapped(f"here       {dollars(payback.ours)} per million tokens ({origin})", 0, 11)
    lines += [
        f"claimed    {dollars(payback.theirs)} per million tokens" + _watts(claim),
        f"load       {payback.million_tokens_a_month:,.0f} million tokens a month",
        f"one-off    {_span(payback.one_off_shortest, payback.one_off, dollars)} for moving, and the reserve for going back",
        f"saving     {dollars(saving)} a month" if saving >= 0 else f"loss       {dollars(-saving)} a month",
        "",
    ]
    if payback.months is None:
        verdict = "It never pays: the claim is not below what you have."
    else:
        verdict = f"It pays after {_span(payback.months_shortest or 0.0, payback.months, _tenths)} months; asked: within {payback.horizon}."
    lines += wrapped(verdict)
    if payback.needed is None:
        lines += wrapped(f"No price would pay within {payback.horizon} months at this load.")
    elif not payback.pays:
        lines += wrapped(
            f"The number to beat: {payback.needed:,.4f} dollars per million tokens, measured at your load."
        )
    return "\n".join([*lines, "", *wrapped(payback.advice)])


def _span(low: float, high: float, shown: Callable[[float], str]) -> str:
    return shown(low) if low == high else f"{shown(low)} to {shown(high)}"


def _tenths(value: float) -> str:
    return f"{value:,.1f}"


def _watts(claim: Claim | None) -> str:
    if claim is None or claim.tokens_per_joule is None:
        return ""
    return f", {claim.tokens_per_joule:.2f} tokens/s per watt"
