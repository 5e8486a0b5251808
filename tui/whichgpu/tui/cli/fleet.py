"""``whichgpu fleet``: a list of served models, each classified and sized, and the machines for all of them."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import click
from pydantic_core import to_json

from whichgpu.inspect.text import clean
from whichgpu.plan.fleet_list import read_fleet
from whichgpu.tui.asking.helping import Topical
from whichgpu.tui.asking.options import engine_options, source_options, workload_options
from whichgpu.tui.asking.question import question_of
from whichgpu.tui.asking.table import Finite
from whichgpu.tui.desk.desk import open_desk
from whichgpu.tui.desk.fleet import list_text, plan_fleet
from whichgpu.tui.words.exit_codes import ExitCode, code_of
from whichgpu.tui.words.fleet_report import fleet_record, fleet_report
from whichgpu.tui.words.terminal import Terminal


@click.command(cls=Topical)
@click.argument("source", metavar="FILE|-")
@workload_options
@engine_options
@source_options
@click.option(
    "--fresh",
    type=Finite(0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Take what the catalog read within so many hours; a second run goes on where the first ended.",
)
@click.option(
    "--solver", type=Finite(0, min_open=True), metavar="SECONDS", help="Pack with OR-tools for so long (extra: fleet)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def fleet(source: str, fresh: float, solver: float | None, as_json: bool, **options: Any) -> int:
    """Size a list of models, and pack them on the cheapest machines.

    FILE has ids one a line, a CSV with a model column, or YAML; settings of a model: context, concurrency, input,
    output, rate, precision, kv_dtype, replicas.
    """
    terminal = Terminal.detect()
    entries = read_fleet(list_text(source))
    desk = open_desk(options["catalog"])
    question = question_of({**options, "model": entries[0].model, "variant": None}, desk)
    question = replace(question, max_age=fresh * 3600)
    try:
        planned_fleet = plan_fleet(entries, question, terminal.progress, solver)
    finally:
        terminal.clear_progress()
    click.echo(
        to_json(fleet_record(planned_fleet), indent=2, ensure_ascii=True).decode()
        if as_json
        else terminal.text(fleet_report(planned_fleet, entries))
    )
    sys.stdout.flush()
    for note in planned_fleet.notes:
        click.echo(terminal.text(terminal.folded(f"whichgpu: note: {note}")), err=True)
    for name, sentence, _ in planned_fleet.failed:
        click.echo(terminal.text(terminal.folded(f"whichgpu: error: {clean(name)}: {sentence}")), err=True)
    if planned_fleet.failed:
        return code_of(planned_fleet.failed[0][2])
    return ExitCode.NOTHING_FITS if planned_fleet.packing.unplaced else ExitCode.OK
