"""``whichgpu trial``: prove a plan with a short real vLLM run, and keep what was measured."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from whichgpu.catalog.errors import CatalogError
from whichgpu.plan.targets import skypilot_name
from whichgpu.trial.elsewhere import Machines, elsewhere, go, hosts_of
from whichgpu.trial.launch import Launcher, launcher_of
from whichgpu.trial.nodes import Left, Place, lend, read_place
from whichgpu.trial.process import new_name
from whichgpu.trial.records import Load, Outcome, Trial
from whichgpu.trial.run import Progress, Step, TrialRequest, measure_server, run_trial
from whichgpu.tui.asking.helping import TopicalGroup
from whichgpu.tui.asking.question import question_of, workload_words
from whichgpu.tui.asking.trial_options import trial_options
from whichgpu.tui.cli import trial_upkeep
from whichgpu.tui.cli.trial_tiny import try_tiny_out
from whichgpu.tui.desk.desk import open_desk
from whichgpu.tui.desk.trials import Prepared, TrialOptions, keep_record, prepare, trials_folder
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.terminal import Terminal
from whichgpu.tui.words.trial_report import report, step_line
from whichgpu.tui.words.trial_words import before
from whichgpu.tui.words.units import wrapped


@click.group(cls=TopicalGroup, invoke_without_command=True)
@trial_options
@click.pass_context
def trial(context: click.Context, /, **options: Any) -> int | None:
    """Prove a plan with a short real vLLM run on this machine, and keep what was measured.

    From then on every recommendation for that model and card uses it (--no-calibration leaves it out).
    """
    if context.invoked_subcommand is not None:
        return None
    if options["model"] is None:
        raise click.UsageError("Name a model with --model.")
    return _try_out(options)


def _try_out(options: Mapping[str, Any]) -> int:
    """Run a trial, print predicted beside measured, keep it."""
    if options["tiny"]:
        return try_tiny_out(options, _options(options))
    if options["node"] is not None and (options["server"] is not None or options["on"] is not None):
        raise click.UsageError("--node is for a vLLM that is started here: leave --server and --on out.")
    terminal, trial_options = Terminal.detect(), _options(options)
    try:
        prepared = prepare(question_of(options, open_desk(options["catalog"])), trial_options, terminal.progress)
    finally:
        terminal.clear_progress()
    request = prepared.request
    if options["on"] is not None:
        return _elsewhere(prepared, options, terminal)
    for line in before(prepared, trial_options):
        click.echo(terminal.text("\n".join(wrapped(f"whichgpu: {line}", 0, 2))), err=True)
    if options["dry_run"]:
        click.echo(terminal.text(" ".join(["vllm", *request.serve])))
        return ExitCode.OK
    launcher, root = launcher_of(options["vllm_at"]), trials_folder(options["folder"])

    def narrate(step: Step) -> None:
        terminal.progress(step_line(step), 0, 1)

    if trial_options.place is not None and trial_options.place.rank > 0:
        return _lend(request, trial_options.place, launcher, root, narrate, terminal)
    try:
        if trial_options.server is not None:
            folder = root / new_name()
            trial = measure_server(request, trial_options.server, launcher, folder, narrate)
        else:
            trial, folder = run_trial(request, launcher, root, narrate)
    finally:
        terminal.clear_progress()
    _keep(prepared, trial, terminal)
    click.echo(trial.model_dump_json(indent=2) if options["as_json"] else terminal.text(report(trial)))
    if trial.outcome is not Outcome.MEASURED:
        click.echo(terminal.text(f"whichgpu: note: the log is {folder / 'vllm.log'}"), err=True)
    return ExitCode.OK if trial.outcome is Outcome.MEASURED else ExitCode.SYSTEM


def _lend(
    request: TrialRequest, place: Place, launcher: Launcher, root: Path, narrate: Progress, terminal: Terminal
) -> int:
    """Lend this machine's cards to number 0, which measures and keeps the record."""
    try:
        lent = lend(request, place, launcher, root, narrate)
    finally:
        terminal.clear_progress()
    served = lent.left is Left.SERVED
    cards = request.layout.cards // request.nodes
    summary = f"lent {cards} card{'s' if cards > 1 else ''} for {lent.seconds:.0f} s: {lent.left.value}"
    lines = [f"whichgpu: {summary}"]
    if lent.failure is not None:
        lines += [f"{lent.failure.sentence} {lent.failure.hint}", *lent.failure.lines]
    if not served:
        lines.append(f"whichgpu: note: the log is {lent.folder / 'vllm.log'}")
    click.echo(terminal.text("\n".join(lines)), err=True)
    return ExitCode.OK if served else ExitCode.SYSTEM


def _options(options: Mapping[str, Any]) -> TrialOptions:
    return TrialOptions(
        loads=tuple(Load(concurrency=n, prompt=prompt, output=output) for n, prompt, output in options["sweep"]),
        vllm_words=_words(options["vllm_args"]),
        budget=options["budget"],
        real_weights=options["real_weights"],
        cpu=options["cpu"],
        kv_memory=options["kv_memory"],
        server=options["server"],
        place=read_place(options["node"]) if options["node"] is not None else None,
        elsewhere=options["on"] is not None,
        machines=len(hosts_of(options["on"] or "")) or None,
        anyway=options["anyway"],
    )


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise click.UsageError("A quote is open in --vllm-args: close it.") from error


def _elsewhere(prepared: Prepared, options: Mapping[str, Any], terminal: Terminal) -> int:
    """Print how the same trial runs on another machine, or run it there and keep its record."""
    request = prepared.request
    card = next((c for c in prepared.reply.facts.accelerators if c.key == request.accelerator), None)
    workload = prepared.reply.answer.workload.model_copy(
        update={"prompt": request.prompt, "output": request.output, "cards": request.layout.cards}
    )
    words = ["--model", request.model, *workload_words(workload)]
    words += ["--sweep", ",".join(load.words for load in request.loads), "--budget", f"{request.budget:g}"]
    words += ["--vllm-args", options["vllm_args"]] if options["vllm_args"] else []
    words += [] if request.dummy else ["--real-weights"]
    words += ["--cpu", "--kv-memory", f"{options['kv_memory']:g}"] if request.cpu else []
    words += ["--vllm-at", options["vllm_at"]] if options["vllm_at"] is not None else []
    minutes = int(request.budget // 60 + 30)
    machines = Machines(
        skypilot_name(card) if card is not None else request.accelerator.upper(),
        request.layout.cards // request.nodes,
        request.nodes,
        "local" if options["vllm_at"] is not None else "vllm,local",
    )
    plan = elsewhere(options["on"], words, machines, minutes)
    if not options["go"]:
        click.echo(terminal.text(plan.text()))
        return ExitCode.OK
    folder = trials_folder(options["folder"]) / new_name()
    folder.mkdir(parents=True)
    trial = go(plan, folder, minutes * 60.0)
    _keep(prepared, trial, terminal)
    click.echo(trial.model_dump_json(indent=2) if options["as_json"] else terminal.text(report(trial)))
    return ExitCode.OK if trial.outcome is Outcome.MEASURED else ExitCode.SYSTEM


def _keep(prepared: Prepared, record: Trial, terminal: Terminal) -> None:
    try:
        keep_record(prepared, record)
    except CatalogError as error:
        click.echo(terminal.text(f"whichgpu: note: Not kept: {error.message}"), err=True)


for _command in trial_upkeep.COMMANDS:
    trial.add_command(_command)


@click.group(hidden=True)
def trials() -> None:
    """The team's trials: whichgpu trials report."""


trials.add_command(trial_upkeep.report)
