"""What a pasted log says, in lines."""

from __future__ import annotations

from whichgpu.trial.logs import LoggedStart
from whichgpu.trial.pasted import Pasted
from whichgpu.trial.records import Memory
from whichgpu.tui.words.units import UNKNOWN, memory, wrapped

_SAME = 0.05
"""Sequences by which a sum may differ for rounding."""


def report(pasted: Pasted) -> list[str]:
    """Return figures, stages, and why it ended where it did; what the log lacks is "unknown"."""
    start = pasted.start
    figures = {"version": start.version or UNKNOWN, **_figures(start.memory)}
    if start.engines > 1:
        figures["engines"] = _engines(start)
    if pasted.starts > 1:
        figures["starts"] = f"{pasted.starts} in this log; of the last that says anything"
    lines = [f"{name:<12} {value}" for name, value in figures.items()]
    lines += [f"{name:<12} {seconds:g} s" for name, seconds in start.stages.items()]
    failure = pasted.failure
    if failure is not None:
        lines += [
            "",
            *wrapped(f"{failure.sentence} {failure.hint}", 0, 2),
            *(f"  | {line[:120]}" for line in failure.lines[:4]),
        ]
    return lines


def _engines(start: LoggedStart) -> str:
    longest, each, together = start.memory.max_model_len, start.memory.concurrency, start.concurrency_all
    if longest is None or each is None or together is None:
        return str(start.engines)
    which = "each as above" if abs(each * start.engines - together) < _SAME else "the smallest as above"
    return f"{start.engines}, {which}; {together:g} × {longest:,} in all"


def _figures(said: Memory) -> dict[str, str]:
    concurrency = UNKNOWN
    if said.concurrency is not None and said.max_model_len is not None:
        concurrency = f"{said.concurrency:g} × {said.max_model_len:,}"
    return {
        "card": memory(said.total_bytes),
        "weights": memory(said.weights_bytes),
        "pool": memory(said.pool_bytes),
        "activations": memory(said.activation_bytes),
        "CUDA graphs": memory(said.graph_bytes),
        "tokens": f"{said.tokens:,}" if said.tokens is not None else UNKNOWN,
        "concurrency": concurrency,
    }
