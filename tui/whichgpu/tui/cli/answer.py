"""``whichgpu --model X``: ask, print, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from whichgpu.plan.case import Case, ServedModel
from whichgpu.plan.choices import TARGETS
from whichgpu.plan.hardware import find
from whichgpu.plan.own_settings import as_planned
from whichgpu.plan.records import Verdict
from whichgpu.tui.asking.helping import Topical
from whichgpu.tui.asking.options import engine_options, question_options, source_options
from whichgpu.tui.asking.question import question_of
from whichgpu.tui.cli.common import Shell
from whichgpu.tui.desk.answering import Question, Reply, reply_to
from whichgpu.tui.desk.desk import Desk, open_desk
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.plans import plan_in_words
from whichgpu.tui.words.terminal import Terminal


def answer_once(options: Mapping[str, Any], shell: Shell) -> int:
    """Answer one question on stdout; narrate on stderr."""
    desk = open_desk(options["catalog"])
    terminal = Terminal.detect(quiet=options["quiet"])
    if options["opens"] and (options["as_json"] or not _on_terminal()):
        raise click.UsageError("--open needs a terminal, and no --json.")
    question = question_of(options, desk)
    reply = reply_narrated(question, terminal)
    _print(reply, options, terminal)
    if _is_opened(options, desk):
        return shell.open_app(desk, options["offline"], None, answered=(reply, question))
    best = reply.answer.recommended
    safe = best is not None and best.verdict in (Verdict.FITS, Verdict.UNKNOWN)
    return ExitCode.OK if safe else ExitCode.NOTHING_FITS


def _is_opened(options: Mapping[str, Any], desk: Desk) -> bool:
    """Whether the app follows: asked for, or by the key o where the settings offer it."""
    if options["opens"]:
        return True
    if (
        options["as_json"]
        or options["quiet"]
        or not _on_terminal()
        or desk.settings is None
        or not desk.settings.press_o
    ):
        return False
    click.echo("press o to open it in the app, another key to end ", err=True, nl=False)
    key = click.getchar()
    click.echo("", err=True)
    return key == "o"


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


@click.command("command", cls=Topical)
@question_options
@engine_options
@source_options
@click.option(
    "--target", type=click.Choice(TARGETS), default="vllm", show_default=True, help="What to write the plan for."
)
def command_for(target: str, **options: Any) -> int:
    """Print the recommended plan as a command or file: vLLM, docker, SGLang, TensorRT-LLM, Kubernetes, SkyPilot."""
    if options["model"] is None:
        raise click.UsageError("Name a model with --model.")
    from whichgpu.plan.targets import Deployment, render

    terminal = Terminal.detect()
    reply = reply_narrated(question_of(options, open_desk(options["catalog"])), terminal)
    plan = reply.answer.recommended
    if plan is None or plan.layout is None or plan.command is None:
        why = plan.reasons[0] if plan is not None and plan.reasons else "Nothing fits."
        click.echo(terminal.text(f"whichgpu: error: no command: {why} whichgpu --model says more."), err=True)
        return ExitCode.NOTHING_FITS
    engine = reply.facts.engines.of(reply.answer.vllm)
    deployment = Deployment(
        served=ServedModel(reply.inspection, engine, reply.facts.architectures),
        case=Case(
            as_planned(reply.answer.workload, plan),
            plan.precision,
            find(plan.accelerator, reply.facts.accelerators),
            plan.layout,
        ),
        plan=plan,
    )
    click.echo(terminal.text(render(target, deployment)))
    click.echo(terminal.text(f"whichgpu: for {plan_in_words(plan)}"), err=True)
    return ExitCode.OK if plan.verdict in (Verdict.FITS, Verdict.UNKNOWN) else ExitCode.NOTHING_FITS


def reply_narrated(question: Question, terminal: Terminal) -> Reply:
    """Answer a question, narrating on stderr."""
    try:
        return reply_to(question, terminal.progress)
    finally:
        terminal.clear_progress()


def _print(reply: Reply, options: Mapping[str, Any], terminal: Terminal) -> None:
    if options["as_json"]:
        from whichgpu.tui.words.json_report import as_json

        click.echo(as_json(reply))
    elif options["quiet"]:
        from whichgpu.tui.words.text_report import one_line

        click.echo(terminal.text(one_line(reply)))
    else:
        from whichgpu.tui.words.text_report import report

        click.echo(terminal.text(report(reply, terminal, options["explain"])), color=terminal.colour)
    sys.stdout.flush()
    if not options["quiet"]:
        for note in filter(None, (reply.origin_note, *reply.warnings)):
            click.echo(terminal.text(terminal.folded(f"whichgpu: note: {note}")), err=True)
