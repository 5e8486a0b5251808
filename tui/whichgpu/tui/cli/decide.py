"""``whichgpu decide``: whether custom chips are a team's question, in figures, for five situations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from whichgpu import assets
from whichgpu.plan import decide as sums
from whichgpu.plan.breakeven import Move, Situation
from whichgpu.plan.silicon import Access, Chip, parse_silicon
from whichgpu.tui.asking.helping import Topical
from whichgpu.tui.asking.options import engine_options, question_options, source_options
from whichgpu.tui.asking.question import question_of
from whichgpu.tui.asking.table import Finite, Span
from whichgpu.tui.cli.answer import reply_narrated
from whichgpu.tui.cli.silicon import matching_chips
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.desk.desk import open_desk
from whichgpu.tui.words.decision_words import decision_in_words, situations_in_words
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.terminal import Terminal


@click.command(cls=Topical)
@click.argument("situation", required=False, type=click.Choice([s.value for s in Situation]))
@click.option(
    "--megawatts",
    type=Finite(0, min_open=True),
    default=10_000,
    show_default=True,
    help="owner: power of your data centres.",
)
@click.option(
    "--gain",
    type=Finite(0, 100, min_open=True),
    multiple=True,
    help="owner: percent of power saved; repeatable (default: 20 and 40).",
)
@click.option(
    "--kwh", type=Finite(0, min_open=True), default=0.08, show_default=True, help="owner: dollars a kWh (assumed)."
)
@click.option(
    "--programme",
    type=Span(),
    default="5e8-1.5e9",
    show_default=True,
    help="owner: dollars that a chip of your own costs (assumed).",
)
@click.option("--weeks", type=Span(), default="2-6", show_default=True, help="cloud-chip: weeks of moving.")
@click.option("--people", type=Finite(0), default=2, show_default=True, help="cloud-chip: people who move.")
@click.option(
    "--hourly",
    type=Finite(0),
    default=125,
    show_default=True,
    help="cloud-chip: dollars that a person costs an hour, 40 a week.",
)
@click.option(
    "--tokens", type=Finite(0, min_open=True), default=1e10, show_default=True, help="cloud-chip: tokens a month."
)
@click.option(
    "--theirs", type=Finite(0, min_open=True), help="cloud-chip: dollars per million tokens as claimed there."
)
@click.option(
    "--months", type=click.IntRange(1, 120), default=12, show_default=True, help="cloud-chip: months to pay within."
)
@click.option("--chip", help="startup: this chip (default: all that are sold by contract).")
@question_options
@engine_options
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def decide(**options: Any) -> int:
    """Say in figures whether custom chips are your question: what a claim has to beat, bring or prove."""
    terminal = Terminal.detect()
    if options["situation"] is None:
        click.echo(terminal.text(situations_in_words()))
        return ExitCode.OK
    if options["model"] is None:
        raise click.UsageError("Say what is served: --model MODEL.")
    situation = Situation(options["situation"])
    asked = _on_one_card(options, situation)
    reply = reply_narrated(question_of(asked, open_desk(options["catalog"])), terminal)
    decision = _decision(situation, options, reply)
    name = reply.inspection.source.name
    click.echo(
        decision.model_dump_json(indent=2) if options["as_json"] else terminal.text(decision_in_words(decision, name))
    )
    return ExitCode.OK


def _on_one_card(options: Mapping[str, Any], situation: Situation) -> dict[str, Any]:
    """The options; chips are compared with an H100, unless cards are named or the cheapest is the question."""
    if options["gpus"] or situation is Situation.GPU_CLOUD:
        return dict(options)
    return {**options, "gpus": ("H100",)}


def _decision(situation: Situation, options: Mapping[str, Any], reply: Reply) -> sums.Decision:
    baseline = _baseline(reply)
    match situation:
        case Situation.OWNER:
            gains = tuple(g / 100 for g in options["gain"]) or (0.2, 0.4)
            return sums.owner(sums.Estate(options["megawatts"], options["kwh"], options["programme"], gains), baseline)
        case Situation.GPU_CLOUD:
            return sums.gpu_cloud(baseline)
        case Situation.CLOUD_CHIP:
            return sums.cloud_chip(_port(options), baseline)
        case Situation.DECODE_SERVICE:
            return sums.decode_service(baseline)
        case Situation.STARTUP:
            return sums.startup(_chips(options["chip"]), baseline, reply.inspection)


def _baseline(reply: Reply) -> sums.Baseline:
    plan = reply.answer.recommended
    if plan is None:
        raise click.ClickException(
            "No card that was asked serves it, so there is nothing to compare with. Name others with --gpu."
        )
    card = next(c for c in reply.facts.accelerators if c.key == plan.accelerator)
    return sums.Baseline(card, plan)


def _port(options: Mapping[str, Any]) -> sums.Port:
    shortest, longest = (Move(weeks, options["people"], 40 * options["hourly"]) for weeks in options["weeks"])
    return sums.Port(shortest, longest, options["tokens"] / 1e6, options["months"], options["theirs"])


def _chips(name: str | None) -> tuple[Chip, ...]:
    chips = parse_silicon(assets.read("silicon.json"))
    return matching_chips(chips, name) if name else tuple(c for c in chips if c.access is Access.CONTRACT)
