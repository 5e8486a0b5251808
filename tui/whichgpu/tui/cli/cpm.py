"""``whichgpu cpm``: the cost per million tokens of any rate and price, without a model."""

from __future__ import annotations

import json

import click

from whichgpu.plan.cost import TokenCost, token_cost
from whichgpu.tui.asking.table import Finite
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.terminal import Terminal
from whichgpu.tui.words.units import dollars, wrapped


@click.command()
@click.option("--usd", type=Finite(0, min_open=True), required=True, help="Dollars an hour of all cards together.")
@click.option("--tps", type=Finite(0, min_open=True), required=True, help="Tokens a second of all cards together.")
@click.option("--watts", type=Finite(0, min_open=True), help="Power of all cards together.")
@click.option(
    "--busy",
    type=Finite(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Share of the paid time that it is used.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def cpm(usd: float, tps: float, watts: float | None, busy: float, as_json: bool) -> int:
    """Say what a million tokens cost at a price and a rate: dollars an hour ÷ (tokens/s × 3,600 ÷ 1,000,000)."""
    cost = token_cost(usd, tps, watts, busy)
    click.echo(json.dumps(cost.model_dump(mode="json"), indent=2) if as_json else Terminal.detect().text(_text(cost)))
    return ExitCode.OK


def _text(cost: TokenCost) -> str:
    hourly = f"{cost.tokens_per_hour / 1e6:,.2f} million tokens an hour"
    lines = wrapped(
        f"{dollars(cost.usd_per_million)} per million tokens: {dollars(cost.usd_per_hour)} an hour for {hourly}"
    )
    if cost.tokens_per_joule is not None and cost.kwh_per_million is not None:
        lines += wrapped(
            f"{cost.tokens_per_joule:.2f} tokens/s per watt, {cost.kwh_per_million:.2f} kWh per million tokens"
        )
    return "\n".join(lines)
