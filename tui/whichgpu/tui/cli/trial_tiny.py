"""``whichgpu trial --tiny``: a start without the hardware."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from whichgpu.catalog.errors import CatalogError
from whichgpu.trial.launch import launcher_of
from whichgpu.trial.records import Outcome
from whichgpu.trial.run import Step
from whichgpu.trial.tiny import try_tiny
from whichgpu.tui.asking.question import question_of
from whichgpu.tui.desk.desk import open_desk
from whichgpu.tui.desk.tiny_trials import keep_tiny, prepare_tiny
from whichgpu.tui.desk.trials import TrialOptions, trials_folder
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.terminal import Terminal
from whichgpu.tui.words.tiny_report import before_tiny
from whichgpu.tui.words.trial_report import report, step_line
from whichgpu.tui.words.units import wrapped

_SENSELESS = {
    "on": "--tiny runs here, on whatever machine this is: leave --on out.",
    "server": "--tiny starts a server of its own: leave --server out.",
    "node": "--tiny runs on one machine: leave --node out.",
    "sweep": "A tiny model's speed means nothing: leave --sweep out.",
    "real_weights": "A tiny model has none of the published weights: leave --real-weights out.",
}
"""Options that a tiny trial can't keep, with what is said of each."""


def try_tiny_out(options: Mapping[str, Any], trial_options: TrialOptions) -> int:
    """Run it, say what it proved, keep it.

    Raises:
        UsageError: an option that makes no sense with a tiny model.
    """
    for name, sentence in _SENSELESS.items():
        if options.get(name):
            raise click.UsageError(sentence)
    terminal, question = Terminal.detect(), question_of(options, open_desk(options["catalog"]))
    workload = question.workload
    if (workload.cards or 1) > 1 or (workload.layout is not None and workload.layout.cards > 1):
        raise click.UsageError("A tiny model runs on one card: leave --cards and the layout out.")
    try:
        prepared = prepare_tiny(question, trial_options, terminal.progress)
    finally:
        terminal.clear_progress()
    for line in before_tiny(prepared.request):
        click.echo(terminal.text("\n".join(wrapped(f"whichgpu: {line}", 0, 2))), err=True)
    if options["dry_run"]:
        return ExitCode.OK
    launcher, root = launcher_of(options["vllm_at"]), trials_folder(options["folder"])

    def narrate(step: Step) -> None:
        terminal.progress(step_line(step), 0, 1)

    try:
        trial, folder = try_tiny(prepared.request, launcher, root, narrate)
    finally:
        terminal.clear_progress()
    try:
        keep_tiny(prepared, trial)
    except CatalogError as error:
        click.echo(terminal.text(f"whichgpu: note: Not kept: {error.message}"), err=True)
    click.echo(trial.model_dump_json(indent=2) if options["as_json"] else terminal.text(report(trial)))
    if trial.outcome is Outcome.MEASURED:
        return ExitCode.OK
    click.echo(terminal.text(f"whichgpu: note: the log is {folder / 'vllm.log'}"), err=True)
    return ExitCode.SYSTEM
