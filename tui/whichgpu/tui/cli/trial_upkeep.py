"""``whichgpu trial list|stop|clean|report`` and ``whichgpu read-log``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from pydantic_core import to_json
from tabulate import tabulate

from whichgpu.catalog.records import trial_finding
from whichgpu.inspect.bounded import read_ends, read_piped
from whichgpu.inspect.text import clean
from whichgpu.plan.records import Workload
from whichgpu.trial.elsewhere import read_record
from whichgpu.trial.errors import TrialError
from whichgpu.trial.own_wheel import write_own_wheel
from whichgpu.trial.pasted import read_pasted
from whichgpu.trial.process import clean_up, end, living, state_of
from whichgpu.tui.asking.trial_options import folder_option
from whichgpu.tui.cli.common import with_desk
from whichgpu.tui.desk.answering import Question, keep_trial, reply_to
from whichgpu.tui.desk.desk import Desk
from whichgpu.tui.desk.trials import trials_folder
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.log_report import report as log_report
from whichgpu.tui.words.terminal import Terminal
from whichgpu.tui.words.trial_report import report as trial_report
from whichgpu.tui.words.units import NOTHING


@click.command("list")
@folder_option
def list_runs(folder: str | None) -> int:
    """List runs whose vLLM is still there."""
    runs = living(trials_folder(folder))
    terminal = Terminal.detect()
    for run in runs:
        click.echo(terminal.text(f"{run.name}  process {state_of(run).get('pid')}  {run}"))
    if not runs:
        click.echo(terminal.text("No vLLM of a trial is running."))
    return ExitCode.OK


@click.command()
@click.argument("name", required=False)
@folder_option
def stop(name: str | None, folder: str | None) -> int:
    """Stop a run, or all that are left."""
    runs = [run for run in living(trials_folder(folder)) if name in (None, run.name)]
    if name is not None and not runs:
        raise TrialError(f"No run {clean(name, 60)} is there.", "whichgpu trial list shows them.")
    for run in runs:
        end(run)
    click.echo(Terminal.detect().text(f"{len(runs)} stopped."))
    return ExitCode.OK


@click.command("clean")
@click.option("--keep", type=click.IntRange(0), default=5, show_default=True, help="Runs to keep.")
@folder_option
def clean_runs(keep: int, folder: str | None) -> int:
    """Stop what a killed machine left, and drop old runs."""
    dropped = clean_up(trials_folder(folder), keep)
    click.echo(Terminal.detect().text(f"{dropped} runs dropped, {keep} of the newest kept."))
    return ExitCode.OK


@click.command("import")
@click.argument("source", metavar="FILE|-")
@with_desk
def import_record(source: str, desk: Desk) -> int:
    """Keep the record of a trial that ran elsewhere (trial --json)."""
    trial = read_record(_text(source, _MOST_RECORD))
    workload = Workload(context=trial.context, concurrency=trial.summary.concurrency or 1)
    question = Question(trial.model, workload, max_age=3600.0, catalog=desk.catalog)
    terminal = Terminal.detect()
    try:
        reply = reply_to(question, terminal.progress)
    finally:
        terminal.clear_progress()
    keep_trial(question, reply, lambda found, now: trial_finding(found, trial.model_dump(mode="json"), now))
    click.echo(terminal.text(trial_report(trial)))
    return ExitCode.OK


@click.command("wheel")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
def wheel(folder: Path) -> int:
    """Write this whichgpu as a wheel, for a machine that --on names."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = write_own_wheel(folder)
    except OSError as error:
        raise TrialError(
            f"{clean(folder)} cannot be written: {clean(error.strerror or error)}.", "Name another folder."
        ) from error
    click.echo(Terminal.detect().text(f"{clean(path, 4096)}"))
    return ExitCode.OK


@click.command()
@click.option("--csv", "as_csv", is_flag=True, help="As CSV.")
@with_desk
def report(as_csv: bool, desk: Desk) -> int:
    """Print the team's trials: measured beside predicted."""
    store = desk.store
    with store.reading() as connection:
        cursor = connection.execute("SELECT * FROM measured_vs_predicted ORDER BY model, accelerator, concurrency")
        names, rows = [d[0] for d in cursor.description], cursor.fetchall()
    if as_csv:
        import csv

        writer = csv.writer(sys.stdout)
        writer.writerow(names)
        writer.writerows(rows)
        return ExitCode.OK
    if not rows:
        click.echo(Terminal.detect().text("No trial has been kept yet. whichgpu trial --model X makes one."))
        return ExitCode.OK
    cell_rows = [
        (
            clean(str(r[0]).rsplit("/", 1)[-1], 22),
            f"{r[2]} × {str(r[1]).upper()}",
            str(r[5] or NOTHING),
            _number(r[6], 2**30),
            _percent(r[8]),
            _number(r[9]),
            _percent(r[11]),
        )
        for r in rows
    ]
    headers = ("model", "on", "at once", "pool GiB", "off", "tok/s", "off")
    click.echo(Terminal.detect().text(str(tabulate(cell_rows, headers, tablefmt="plain", disable_numparse=True))))
    return ExitCode.OK


def _number(value: float | None, unit: float = 1) -> str:
    return NOTHING if value is None else f"{value / unit:,.1f}"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.1f}%"


@click.command("read-log")
@click.argument("source", metavar="FILE|-")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def read_log(source: str, as_json: bool) -> int:
    """Say what a vLLM log holds, of any version from 0.5: memory, stages, and why it failed."""
    pasted = read_pasted(_data(source, _MOST_LOG), "What is piped in" if source == "-" else source)
    if as_json:
        reason = pasted.failure.model_dump(mode="json") if pasted.failure is not None else None
        record = {**pasted.start.model_dump(mode="json"), "starts": pasted.starts, "failure": reason}
        click.echo(to_json(record, indent=2, ensure_ascii=True).decode())
        return ExitCode.OK
    click.echo(Terminal.detect().text("\n".join(log_report(pasted))))
    return ExitCode.OK


_MOST_RECORD, _MOST_LOG = 16 * 2**20, 64 * 2**20


def _text(source: str, most: int) -> str:
    return _data(source, most).decode(errors="replace")


def _data(source: str, most: int) -> bytes:
    """Of what is longer, the start and the end: a log says at one what was planned and at the other why it ended."""
    try:
        return read_piped(most) if source == "-" else read_ends(Path(source).expanduser(), most)
    except OSError as error:
        raise TrialError(
            f"{clean(source)} cannot be read: {clean(error.strerror or error)}.",
            "Give a file, or - for what is piped in.",
        ) from error


COMMANDS = (list_runs, stop, clean_runs, import_record, wheel, report)
