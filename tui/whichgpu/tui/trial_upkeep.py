"""``whichgpu trial list|stop|clean|report`` and ``whichgpu read-log``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from tabulate import tabulate

from whichgpu.catalog.records import trial_finding
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.text import clean
from whichgpu.plan.records import Workload
from whichgpu.trial.elsewhere import read_record
from whichgpu.trial.errors import TrialError
from whichgpu.trial.failures import explain
from whichgpu.trial.logs import read_log
from whichgpu.trial.process import clean_up, end, living, state_of
from whichgpu.trial.records import Failure
from whichgpu.tui.answering import Question, catalog_path, keep_trial, reply_to
from whichgpu.tui.exit_codes import ExitCode
from whichgpu.tui.terminal import Terminal
from whichgpu.tui.trial_prepare import trials_folder
from whichgpu.tui.trial_report import report
from whichgpu.tui.units import NOTHING, memory, wrapped


def list_runs(folder: str | None) -> int:
    """Print the runs whose vLLM is still there."""
    runs = living(trials_folder(folder))
    terminal = Terminal.detect()
    for run in runs:
        click.echo(terminal.text(f"{run.name}  process {state_of(run).get('pid')}  {run}"))
    if not runs:
        click.echo(terminal.text("No vLLM of a trial is running."))
    return ExitCode.OK


def stop_runs(name: str | None, folder: str | None) -> int:
    """Stop one run, or all that live."""
    runs = [run for run in living(trials_folder(folder)) if name in (None, run.name)]
    if name is not None and not runs:
        raise TrialError(f"No run {clean(name, 60)} is there.", "whichgpu trial list shows them.")
    for run in runs:
        end(run)
    click.echo(Terminal.detect().text(f"{len(runs)} stopped."))
    return ExitCode.OK


def clean_runs(keep: int, folder: str | None) -> int:
    """Stop what killed machines left, and drop the logs of ended runs."""
    dropped = clean_up(trials_folder(folder), keep)
    click.echo(Terminal.detect().text(f"{dropped} runs dropped, {keep} of the newest kept."))
    return ExitCode.OK


def import_record(source: str, catalog: str | None) -> int:
    """Keep a trial's record that was made elsewhere, with what is known of its model."""
    trial = read_record(sys.stdin.read() if source == "-" else _text(Path(source).expanduser()))
    workload = Workload(context=trial.context, concurrency=int(trial.summary.get("concurrency") or 1))
    question = Question(trial.model, workload, max_age=3600.0, catalog=catalog_path(catalog))
    terminal = Terminal.detect()
    try:
        reply = reply_to(question, terminal.progress)
    finally:
        terminal.clear_progress()
    keep_trial(question, reply, lambda found, now: trial_finding(found, trial.model_dump(mode="json"), now))
    click.echo(terminal.text(report(trial)))
    return ExitCode.OK


def report_trials(as_csv: bool, catalog: str | None) -> int:
    """Print the team's trials: measured beside predicted."""
    store = Catalog(catalog_path(catalog))
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


def show_log(source: str, as_json: bool) -> int:
    """Print what a vLLM log says of memory, its stages, and why it failed where it did."""
    text = sys.stdin.read() if source == "-" else _text(Path(source).expanduser())
    log = read_log(text)
    failure: Failure | None = explain(text)
    if failure is not None and log.ready and failure.kind == "unknown":
        failure = None
    if as_json:
        click.echo(log.model_dump_json(indent=2))
        return ExitCode.OK
    log_memory = log.memory
    figures = {
        "version": log.version or "unknown",
        "weights": memory(log_memory.weights_bytes),
        "pool": memory(log_memory.pool_bytes),
        "activations": memory(log_memory.activation_bytes),
        "CUDA graphs": memory(log_memory.graph_bytes),
        "tokens": f"{log_memory.tokens:,}" if log_memory.tokens is not None else "unknown",
        "concurrency": f"{log_memory.concurrency:g} × {log_memory.max_model_len:,}"
        if log_memory.concurrency and log_memory.max_model_len
        else "unknown",
    }
    lines = [f"{name:<12} {value}" for name, value in figures.items()]
    lines += [f"{name:<12} {seconds:g} s" for name, seconds in log.stages.items()]
    if failure is not None:
        lines += [
            "",
            *wrapped(f"{failure.sentence} {failure.hint}", 0, 2),
            *(f"  | {line[:120]}" for line in failure.lines[:4]),
        ]
    click.echo(Terminal.detect().text("\n".join(lines)))
    return ExitCode.OK


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise TrialError(f"{clean(path)} cannot be read: {clean(error.strerror or error)}.", "") from error
