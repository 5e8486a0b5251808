"""``whichgpu silicon``: custom chips, who can use them, and what a model can expect of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from whichgpu import assets
from whichgpu.plan.choices import DEFAULT_CONCURRENCY, DEFAULT_CONTEXT
from whichgpu.plan.records import Workload
from whichgpu.plan.silicon import Chip, parse_silicon
from whichgpu.tui.asking.options import source_options
from whichgpu.tui.desk.answering import Question, reply_to
from whichgpu.tui.desk.desk import open_desk
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.silicon_words import _table, _verdicts, verdict_table, whole
from whichgpu.tui.words.terminal import Terminal


@click.command()
@click.argument("chip", required=False)
@click.option("-m", "--model", help="Say what this model can expect of each chip.")
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def silicon(chip: str | None, model: str | None, as_json: bool, **options: Any) -> int:
    """List custom chips (TPU, Trainium, Groq, …): who can use them, and what a model can expect."""
    terminal = Terminal.detect()
    chips = parse_silicon(assets.read("silicon.json"))
    if chip is not None:
        chips = matching_chips(chips, chip)
    if model is None:
        text = whole(chips[0]) if len(chips) == 1 else _table(chips)
        click.echo(json.dumps([c.model_dump(mode="json") for c in chips], indent=2) if as_json else terminal.text(text))
        return ExitCode.OK
    workload = Workload(context=DEFAULT_CONTEXT, concurrency=DEFAULT_CONCURRENCY)
    question = Question(
        model,
        workload,
        offline=options["offline"],
        quick=options["quick"],
        refresh=options["refresh"],
        max_age=options["max_age"] * 60,
        catalog=open_desk(options["catalog"]).catalog,
    )
    try:
        inspection = reply_to(question, terminal.progress).inspection
    finally:
        terminal.clear_progress()
    verdicts = _verdicts(chips, inspection)
    if as_json:
        click.echo(json.dumps([v.model_dump(mode="json") for v in verdicts], indent=2))
    else:
        click.echo(terminal.text(verdict_table(chips, inspection)))
    return ExitCode.OK


def matching_chips(chips: Sequence[Chip], name: str) -> tuple[Chip, ...]:
    query = name.lower()
    matches = tuple(c for c in chips if c.key == query) or tuple(
        c for c in chips if query in f"{c.key} {c.name} {c.builder}".lower()
    )
    if not matches:
        keys = ", ".join(c.key for c in chips)
        raise click.ClickException(f"No chip matches “{name}”. Known: {keys}.")
    return matches
