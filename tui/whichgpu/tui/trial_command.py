"""``whichgpu trial``: prove a plan with a short real vLLM run, and keep what was measured."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.records import trial_finding
from whichgpu.inspect.records import Inspection
from whichgpu.plan.commands import serve_words
from whichgpu.plan.records import Accelerator, Layout, Plan, Verdict
from whichgpu.plan.sizing import Sizer
from whichgpu.plan.speed import lengths
from whichgpu.plan.targets import SKY_NAMES
from whichgpu.plan.weight_table import ROUNDING
from whichgpu.trial.elsewhere import elsewhere, go
from whichgpu.trial.errors import TrialError
from whichgpu.trial.gpus import gpus_here
from whichgpu.trial.launch import launcher_of
from whichgpu.trial.process import new_name
from whichgpu.trial.records import LoadPoint, Outcome, Predicted, Trial
from whichgpu.trial.run import TrialRequest, measure_server, run_trial
from whichgpu.tui.answering import Question, Reply, keep_trial, reply_to
from whichgpu.tui.exit_codes import ExitCode
from whichgpu.tui.facts import HERE
from whichgpu.tui.one_shot import question_of
from whichgpu.tui.terminal import Terminal
from whichgpu.tui.units import GIB, NOTHING, dollars, memory, wrapped

_START_SECONDS, _LOAD_SECONDS = 60, 30
"""What a start and one load take at least, for the estimate."""

CPU = Accelerator(
    key="cpu",
    name="CPU",
    vendor="cpu",
    usable_gib=1.0,
    marketed_gb=1,
    bandwidth_gbs=50.0,
    bf16_tflops=None,
    fp8_tflops=None,
    board_watts=None,
    capability="cpu",
    node_counts=(1,),
    confidence="low",
    sources={"memory": "this machine's; vLLM's CPU build is told how much of it the cache may take"},
)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request with what it rests on."""

    request: TrialRequest
    reply: Reply
    plan: Plan | None


def try_out(options: Mapping[str, Any]) -> int:
    """Run a trial, print predicted beside measured, keep it."""
    terminal = Terminal.detect()
    prepared = _prepare(options, terminal)
    if prepared is None:
        return ExitCode.NOTHING_FITS
    request = prepared.request
    if options["on"] is not None:
        return _elsewhere(prepared, options, terminal)
    for line in _before(prepared, options):
        click.echo(terminal.text(line), err=True)
    if options["dry_run"]:
        click.echo(terminal.text(" ".join(["vllm", *request.serve])))
        return ExitCode.OK
    launcher = launcher_of(options["vllm_at"])
    root = trials_folder(options["folder"])
    try:
        if options["server"] is not None:
            trial = measure_server(request, options["server"], launcher, root / new_name(), _narrator(terminal))
            folder = root / trial.identity
        else:
            trial, folder = run_trial(request, launcher, root, _narrator(terminal))
    finally:
        terminal.clear_progress()
    _keep(prepared, trial, options, terminal)
    click.echo(trial.model_dump_json(indent=2) if options["as_json"] else terminal.text(report(trial)))
    if trial.outcome is not Outcome.MEASURED:
        click.echo(terminal.text(f"whichgpu: note: the log is {folder / 'vllm.log'}"), err=True)
    return ExitCode.OK if trial.outcome is Outcome.MEASURED else ExitCode.SYSTEM


def _elsewhere(prepared: _Prepared, options: Mapping[str, Any], terminal: Terminal) -> int:
    """Print how the same trial runs on another machine, or run it there and keep its record."""
    request, key = prepared.request, prepared.request.accelerator
    words = ["--model", request.model, "--context", str(request.context), "--input", str(request.prompt)]
    words += [
        "--output",
        str(request.output),
        "--sweep",
        ",".join(map(str, request.loads)),
        "--budget",
        f"{request.budget:g}",
    ]
    words += ["--concurrency", str(options["concurrency"]), "--precision", request.precision.value]
    words += [] if request.dummy else ["--real-weights"]
    minutes = int(request.budget // 60 + 30)
    plan = elsewhere(options["on"], words, (SKY_NAMES.get(key, key.upper()), request.layout.cards), minutes)
    if not options["go"]:
        click.echo(terminal.text(plan.text()))
        return ExitCode.OK
    folder = trials_folder(options["folder"]) / new_name()
    folder.mkdir(parents=True)
    trial = go(plan, folder, minutes * 60.0)
    _keep(prepared, trial, options, terminal)
    click.echo(trial.model_dump_json(indent=2) if options["as_json"] else terminal.text(report(trial)))
    return ExitCode.OK if trial.outcome is Outcome.MEASURED else ExitCode.SYSTEM


def trials_folder(given: str | None) -> Path:
    """Return where runs are kept: the option, else the user's state folder."""
    if given is not None:
        return Path(given).expanduser().absolute()
    from platformdirs import user_state_path

    return user_state_path("whichgpu", appauthor=False) / "trials"


def _narrator(terminal: Terminal) -> Any:
    return lambda step, seconds: terminal.progress(f"{seconds:5.0f} s  {step}", 0, 1)


def _prepare(options: Mapping[str, Any], terminal: Terminal) -> _Prepared | None:
    """Work out what to run, or say why nothing does."""
    question, cpu = question_of(options), bool(options["cpu"])
    if not (cpu or question.own.accelerators or options["server"] or options["on"]):
        question = replace(question, own=replace(question.own, accelerators=(HERE,)))
    reply = _replied(question, terminal)
    loads = tuple(options["sweep"]) or (reply.answer.workload.concurrency,)
    if cpu:
        return _Prepared(_on_cpu(reply, options, loads), reply, None)
    plan = reply.answer.recommended
    if plan is None and options["anyway"]:
        asked = [p for p in reply.answer.plans if p.precision is reply.answer.workload.precision and p.footprint]
        plan = asked[0] if asked else None
    if plan is None or plan.footprint is None:
        why = next((p.reasons[0] for p in reply.answer.plans if p.reasons), "no card is known")
        click.echo(terminal.text(f"whichgpu: error: Nothing fits: {why}. --anyway tries it all the same."), err=True)
        return None
    return _Prepared(_on_gpus(reply, plan, options, loads), reply, plan)


def _replied(question: Question, terminal: Terminal) -> Reply:
    try:
        return reply_to(question, terminal.progress)
    finally:
        terminal.clear_progress()


def _on_gpus(reply: Reply, plan: Plan, options: Mapping[str, Any], loads: Sequence[int]) -> TrialRequest:
    foot, speed = plan.footprint, plan.speed
    assert foot is not None
    card = next(a for a in reply.facts.accelerators if a.key == plan.accelerator)
    cards = tuple(range(foot.layout.cards)) if card.key.endswith("_here") else ()
    predicted = Predicted(
        weights_bytes=foot.weights,
        pool_bytes=foot.pool,
        tokens=foot.printed_tokens,
        tokens_per_second=speed.output_tokens_per_second.expected if speed else None,
        tpot_ms=speed.tpot_ms.expected / speed.learned_factor if speed else None,
        usd_per_hour=plan.usd_per_hour,
    )
    return _request(reply, card.key.removesuffix("_here"), foot.layout, predicted, options, loads, cards, ())


def _on_cpu(reply: Reply, options: Mapping[str, Any], loads: Sequence[int]) -> TrialRequest:
    """On vLLM's CPU build: weights and tokens are predicted, speed is not."""
    sizer = Sizer(reply.inspection, reply.facts.engines.of(reply.answer.workload.vllm), reply.facts.architectures)
    workload, layout, size = reply.answer.workload, Layout(tensor_parallel=1), int(options["kv_memory"] * 2**20)
    parts = sizer.table(workload.precision, workload).stages(layout)
    cache = sizer.cache(workload, layout, CPU)
    blocks = cache.blocks([size]) if sizer.cache_is_known else None
    predicted = Predicted(
        weights_bytes=sum(held[0] for name, held in parts.items() if name != ROUNDING),
        pool_bytes=size,
        tokens=cache.printed(blocks, workload.context, sizer.engine.unified_count) if blocks else None,
        tokens_per_second=None,
        tpot_ms=None,
        usd_per_hour=None,
    )
    extra = ("--dtype", "bfloat16", "--enforce-eager", "--kv-cache-memory-bytes", str(size))
    return _request(reply, "cpu", layout, predicted, options, loads, (), extra)


def _request(
    reply: Reply,
    accelerator: str,
    layout: Layout,
    predicted: Predicted,
    options: Mapping[str, Any],
    loads: Sequence[int],
    cards: tuple[int, ...],
    extra: Sequence[str],
) -> TrialRequest:
    workload, inspection = reply.answer.workload, reply.inspection
    words = serve_words(inspection, workload, workload.precision, layout, reply.facts.architectures)
    prompt, output = lengths(workload)
    return TrialRequest(
        model=_absolute(words[2]),
        name=inspection.source.name,
        commit=inspection.source.commit,
        accelerator=accelerator,
        layout=layout,
        precision=workload.precision,
        context=workload.context,
        serve=("serve", _absolute(words[2]), *words[3:], *extra),
        loads=tuple(loads),
        prompt=prompt,
        output=output,
        budget=float(options["budget"]),
        predicted=predicted,
        dummy=not options["real_weights"],
        cpu=bool(options["cpu"]),
        cards=cards,
    )


def _absolute(model: str) -> str:
    """A folder as vLLM finds it from anywhere."""
    return str(Path(model).resolve()) if Path(model).is_dir() else model


def _before(prepared: _Prepared, options: Mapping[str, Any]) -> list[str]:
    """Say what will run, on what, how long it takes, and what stands in the way.

    Raises:
        TrialError: real weights do not fit on the disk.
    """
    request, plan = prepared.request, prepared.plan
    least = _START_SECONDS + _LOAD_SECONDS * len(request.loads)
    weights = "dummy weights: nothing is downloaded" if request.dummy else _download(prepared.reply.inspection)
    where = f"{request.layout.cards} × {plan.accelerator_name}" if plan is not None else "this machine's CPU"
    load = f"{', '.join(map(str, request.loads))} at once, {request.prompt:,} tokens in and {request.output:,} out"
    time = f"about {least} s, at most {request.budget:.0f}"
    what = f"whichgpu: {request.name} on {where} ({request.layout.label}), {weights}; {load}; {time}"
    lines = ["\n".join(wrapped(what, 0, 2))]
    if plan is not None and plan.verdict is not Verdict.FITS:
        lines.append(f"whichgpu: note: the prediction is “{plan.verdict.value}”")
    if plan is not None and plan.accelerator.endswith("_here") and not options["server"]:
        busy = [g for g in gpus_here()[: request.layout.cards] if g.processes]
        lines += [f"whichgpu: note: {g.processes} processes use GPU {g.index} already" for g in busy]
    return lines


def _download(inspection: Inspection) -> str:
    from huggingface_hub import constants

    size = inspection.weights.total.value
    place = Path(constants.HF_HUB_CACHE)
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if size is not None and inspection.source.kind == "hub" and size > free and not os.environ.get("HF_HUB_OFFLINE"):
        raise TrialError(
            f"The weights are {size / GIB:,.1f} GiB, and {free / GIB:,.1f} are free.",
            "Without --real-weights none are needed.",
        )
    return f"real weights: {memory(size)}, {free / GIB:,.0f} GiB free on the disk"


def _keep(prepared: _Prepared, trial: Trial, options: Mapping[str, Any], terminal: Terminal) -> None:
    try:
        keep_trial(
            question_of(options),
            prepared.reply,
            lambda found, now: trial_finding(found, trial.model_dump(mode="json"), now),
        )
    except CatalogError as error:
        click.echo(terminal.text(f"whichgpu: note: Not kept: {error.message}"), err=True)


def report(trial: Trial) -> str:
    """Return predicted beside measured, the loads, and a failure in a sentence."""
    lines = [
        f"{trial.model} on {trial.cards} × {trial.accelerator.upper()} ({trial.layout.label}), vLLM {trial.vllm or 'unknown'}"
    ]
    if trial.failure is not None:
        lines += wrapped(f"{trial.outcome.value}: {trial.failure.sentence} {trial.failure.hint}".strip(), 0, 2)
        lines += [f"  | {line[:150]}" for line in trial.failure.lines[:4]]
    rows = _compared(trial)
    if rows:
        made = tabulate(rows, ("", "predicted", "measured", "off"), tablefmt="plain", disable_numparse=True,
                        colalign=("left", "right", "right", "right"))  # fmt: skip
        lines += ["", *(f"  {line}".rstrip() for line in str(made).splitlines())]
    if trial.points:
        lines += ["", *_loads(trial.points)]
    stages = ", ".join(f"{s.name} {s.seconds:.1f}" for s in trial.stages)
    lines += ["", *wrapped(f"seconds: {stages}; {trial.seconds:.0f} in all", 2, 4)]
    return "\n".join(lines)


def _compared(trial: Trial) -> list[tuple[str, ...]]:
    found, told = trial.memory, trial.predicted
    best = trial.summary
    pairs = (
        ("weights", told.weights_bytes, found.weights_bytes, memory),
        ("pool", told.pool_bytes, found.pool_bytes, memory),
        ("tokens in the pool", told.tokens, found.tokens, lambda v: f"{v:,.0f}"),
        ("ms per token", told.tpot_ms, best["tpot_ms"], lambda v: f"{v:,.1f}"),
        ("tokens/s out", told.tokens_per_second, best["tokens_per_second"], lambda v: f"{v:,.0f}"),
        ("$ per Mtok out", None, best["usd_per_million_output"], dollars),
        ("tokens per joule", None, best["tokens_per_joule"], lambda v: f"{v:,.2f}"),
    )
    return [_pair(name, a, b, show) for name, a, b, show in pairs if a is not None or b is not None]


def _pair(name: str, told: Any, found: Any, show: Any) -> tuple[str, ...]:
    off = f"{(told - found) / found:+.1%}" if told is not None and found else NOTHING
    return name, show(told) if told is not None else NOTHING, show(found) if found is not None else NOTHING, off


def _loads(points: Sequence[LoadPoint]) -> list[str]:
    rows = [
        (
            str(p.concurrency),
            f"{p.output_tokens_per_second:,.0f}",
            _ms(p.tpot_ms.p50),
            _ms(p.tpot_ms.p99),
            _ms(p.ttft_ms.p50),
            _ms(p.ttft_ms.p99),
            f"{p.cache_used:.0%}" if p.cache_used is not None else NOTHING,
            str(p.waiting) if p.waiting is not None else NOTHING,
            f"{p.power.watts:,.0f}" if p.power and p.power.watts is not None else NOTHING,
        )
        for p in points
    ]
    headers = ("at once", "tok/s", "TPOT p50", "p99", "TTFT p50", "p99", "cache", "queue", "W")
    made = tabulate(rows, headers, tablefmt="plain", disable_numparse=True, colalign=("right",) * 9)
    return [f"  {line}".rstrip() for line in str(made).splitlines()]


def _ms(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.1f}" if value < 1000 else f"{value / 1e3:,.2f} s"
