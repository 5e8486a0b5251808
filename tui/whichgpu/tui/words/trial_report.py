"""What a trial measured, in words: predicted beside measured, the loads, and what goes on while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from whichgpu.trial.records import LoadPoint, Trial
from whichgpu.trial.run import Step
from whichgpu.tui.words.tiny_report import tiny_report
from whichgpu.tui.words.units import NOTHING, dollars, memory, sign, wrapped


def step_line(step: Step) -> str:
    """One line on what goes on: seconds, stage, and while a load runs what it does now."""
    live = step.live
    parts = [f"{step.seconds:5.0f} s  {step.what}"]
    if live is not None:
        parts += [f"{live.tokens_per_second:,.0f} tok/s"] if live.tokens_per_second is not None else []
        parts += [f"TTFT {_ms(live.ttft_ms)} ms"] if live.ttft_ms is not None else []
        parts += [f"cache {live.cache_used:.0%}"] if live.cache_used is not None else []
        parts += [f"{live.waiting:.0f} queue"] if live.waiting else []
        parts += [f"{live.watts:,.0f} W"] if live.watts is not None else []
    return " · ".join(parts)


def report(trial: Trial) -> str:
    """Return predicted beside measured, the loads, and a failure in a sentence; of a tiny model what it proved."""
    if trial.tiny is not None:
        return tiny_report(trial, trial.tiny)
    cards = f"{trial.cards} × {trial.accelerator.upper()}{_machines(trial)}"
    lines = [f"{trial.model} on {cards} ({trial.layout.label}), vLLM {trial.vllm or 'unknown'}"]
    if trial.failure is not None:
        lines += wrapped(f"{trial.outcome.value}: {trial.failure.sentence} {trial.failure.hint}".strip(), 0, 2)
        lines += [f"  | {line[:150]}" for line in trial.failure.lines[:4]]
    rows = _comparison_rows(trial)
    if rows:
        table = tabulate(rows, ("", "predicted", "measured", "off"), tablefmt="plain", disable_numparse=True,
                        colalign=("left", "right", "right", "right"))  # fmt: skip
        lines += ["", *(f"  {line}".rstrip() for line in str(table).splitlines())]
    if trial.points:
        lines += ["", *_loads(trial.points)]
    stages = ", ".join(f"{s.name} {s.seconds:.1f}" for s in trial.stages)
    lines += ["", *wrapped(f"seconds: {stages}; {trial.seconds:.0f} in all", 2, 4)]
    return "\n".join(lines)


def _machines(trial: Trial) -> str:
    return f" in {trial.nodes} machines" if trial.nodes > 1 else ""


def _comparison_rows(trial: Trial) -> list[tuple[str, ...]]:
    measured_memory, prediction = trial.memory, trial.predicted
    best = trial.summary
    pairs = (
        ("weights", prediction.weights_bytes, measured_memory.weights_bytes, memory),
        ("pool", prediction.pool_bytes, measured_memory.pool_bytes, memory),
        ("tokens in the pool", prediction.tokens, measured_memory.tokens, lambda v: f"{v:,.0f}"),
        ("ms per token", best.predicted_tpot_ms, best.tpot_ms, lambda v: f"{v:,.1f}"),
        ("tokens/s out", best.predicted_tokens_per_second, best.tokens_per_second, lambda v: f"{v:,.0f}"),
        (f"{sign()} per Mtok out", None, best.usd_per_million_output, dollars),
        ("tokens per joule", None, best.tokens_per_joule, lambda v: f"{v:,.2f}"),
    )
    return [_pair(name, a, b, show) for name, a, b, show in pairs if a is not None or b is not None]


def _pair(name: str, predicted: Any, measured: Any, show: Any) -> tuple[str, ...]:
    off = f"{(predicted - measured) / measured:+.1%}" if predicted is not None and measured else NOTHING
    return (
        name,
        show(predicted) if predicted is not None else NOTHING,
        show(measured) if measured is not None else NOTHING,
        off,
    )


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
    table = tabulate(rows, headers, tablefmt="plain", disable_numparse=True, colalign=("right",) * 9)
    return [f"  {line}".rstrip() for line in str(table).splitlines()]


def _ms(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.1f}" if value < 1000 else f"{value / 1e3:,.2f} s"
