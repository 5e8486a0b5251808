"""``whichgpu --model X``: ask, print, and the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from whichgpu.plan.records import KvDtype, Objective, Precision, Verdict, Workload
from whichgpu.tui.answering import Question, Reply, catalog_path, reply_to
from whichgpu.tui.exit_codes import ExitCode
from whichgpu.tui.facts import Own
from whichgpu.tui.plan_words import plan_in_words
from whichgpu.tui.terminal import Terminal


def answer_once(options: Mapping[str, Any]) -> int:
    """Answer one question on stdout; narrate on stderr."""
    terminal = Terminal.detect(quiet=options["quiet"])
    if options["opens"] and (options["as_json"] or not _on_terminal()):
        raise click.UsageError("--open needs a terminal, and no --json.")
    reply = replied(options, terminal)
    _print(reply, options, terminal)
    if _is_opened(options, terminal):
        from whichgpu.tui.app.application import run as run_app

        if options["catalog"] is not None:
            os.environ["WHICHGPU_CATALOG"] = str(catalog_path(options["catalog"]))
        return run_app(options["offline"], None, answered=(reply, question_of(options)))
    best = reply.answer.recommended
    safe = best is not None and best.verdict in (Verdict.FITS, Verdict.UNKNOWN)
    return ExitCode.OK if safe else ExitCode.NOTHING_FITS


def _is_opened(options: Mapping[str, Any], terminal: Terminal) -> bool:
    """Whether the app follows: asked for, or by the key o where the settings offer it."""
    from whichgpu.tui.config_path import config_path

    if options["opens"]:
        return True
    if options["as_json"] or options["quiet"] or not _on_terminal() or not config_path().exists():
        return False
    from whichgpu.tui.settings import load

    if not load().press_o:
        return False
    click.echo("press o to open it in the app, another key to end ", err=True, nl=False)
    key = click.getchar()
    click.echo("", err=True)
    return key == "o"


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def print_target(options: Mapping[str, Any], target: str) -> int:
    """Print the recommended plan as another tool takes it, and nothing else on stdout."""
    from whichgpu.plan.hardware import find
    from whichgpu.plan.targets import Deployment, render

    terminal = Terminal.detect()
    reply = replied(options, terminal)
    plan = reply.answer.recommended
    if plan is None or plan.layout is None or plan.command is None:
        why = plan.reasons[0] if plan is not None and plan.reasons else "Nothing fits."
        click.echo(terminal.text(f"whichgpu: error: no command: {why} whichgpu --model says more."), err=True)
        return ExitCode.NOTHING_FITS
    deployment = Deployment(
        inspection=reply.inspection,
        workload=reply.answer.workload,
        plan=plan,
        layout=plan.layout,
        card=find(plan.accelerator, reply.facts.accelerators),
        vllm=reply.answer.vllm,
        registry=reply.facts.architectures,
    )
    click.echo(terminal.text(render(target, deployment)))
    click.echo(terminal.text(f"whichgpu: for {plan_in_words(plan)}"), err=True)
    return ExitCode.OK if plan.verdict in (Verdict.FITS, Verdict.UNKNOWN) else ExitCode.NOTHING_FITS


def replied(options: Mapping[str, Any], terminal: Terminal) -> Reply:
    """Answer the command line's question, narrating on stderr."""
    try:
        return reply_to(question_of(options), terminal.progress)
    finally:
        terminal.clear_progress()


def question_of(options: Mapping[str, Any]) -> Question:
    """Return the question that the command line asks.

    Raises:
        UsageError: a request longer than the context.
    """
    request = (options["prompt"] or 1) + (options["output"] or 1)
    if request > max(options["context"], 2):
        raise click.UsageError(
            f"Input and output are {request:,} tokens, more than the context of {options['context']:,}: raise --context."
        )
    return Question(
        model=options["model"],
        workload=_workload(options),
        own=Own(
            accelerators=options["gpus"],
            excluded=options["exclude"],
            prices=options["prices"],
            price_file=_path(options["price_file"]),
            card_file=_path(options["gpu_file"]),
            providers=options["providers"],
            calibrated=not options["no_calibration"],
        ),
        offline=options["offline"],
        quick=options["quick"],
        second_opinion=options.get("second_opinion", False),
        variant=options["variant"],
        refresh=options["refresh"],
        max_age=options["max_age"] * 60,
        catalog=catalog_path(options["catalog"]),
    )


def _workload(options: Mapping[str, Any]) -> Workload:
    return Workload(
        context=options["context"],
        concurrency=options["concurrency"],
        prompt=options["prompt"],
        output=options["output"],
        rate=options["rate"],
        objective=Objective(options["objective"]),
        max_tpot_ms=options["max_tpot"],
        max_ttft_ms=options["max_ttft"],
        max_usd_per_hour=options["max_price"],
        cards=options["cards"],
        busy=options["busy"],
        price_kind="spot" if options["spot"] else "on-demand",
        precision=Precision(options["precision"]),
        kv_dtype=KvDtype(options["kv_dtype"]),
        vllm=options["vllm"],
        utilisation=options["gpu_memory_utilization"],
        utilisation_asked=options["gpu_memory_utilization"] is not None,
        max_sequences=options["max_num_seqs"],
        batched_tokens=options["max_num_batched_tokens"],
        eager=options["enforce_eager"],
        speculative_tokens=options["speculative"],
        text_only=options["text_only"],
    )


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text is not None else None


def _print(reply: Reply, options: Mapping[str, Any], terminal: Terminal) -> None:
    if options["as_json"]:
        from whichgpu.tui.json_report import as_json

        click.echo(as_json(reply))
    elif options["quiet"]:
        from whichgpu.tui.text_report import one_line

        click.echo(terminal.text(one_line(reply)))
    else:
        from whichgpu.tui.text_report import report

        click.echo(terminal.text(report(reply, terminal, options["explain"])), color=terminal.colour)
    sys.stdout.flush()
    if not options["quiet"]:
        for note in filter(None, (reply.origin_note, *reply.warnings)):
            click.echo(terminal.text(terminal.folded(f"whichgpu: note: {note}")), err=True)
