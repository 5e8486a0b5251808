"""A trial of a model made tiny, in words: what will be cut, what that proved, and what it did not."""

from __future__ import annotations

from whichgpu.trial.records import Outcome, Tiny, Trial
from whichgpu.trial.tiny import TinyRequest
from whichgpu.tui.words.units import memory, wrapped


def before_tiny(request: TinyRequest) -> list[str]:
    """Say what will run."""
    cut = " ".join(request.shrunk.cuts)
    return [f"{request.name} made tiny, with random weights; at most {request.budget:.0f} s; {cut}"]


def tiny_report(trial: Trial, tiny: Tiny) -> str:
    """Return what was proved and what was not, and a failure in a sentence."""
    where = "this machine's CPU" if trial.accelerator == "cpu" else trial.accelerator.upper()
    size = f", {memory(tiny.weights_bytes)} of weights" if tiny.weights_bytes is not None else ""
    lines = wrapped(f"{trial.model} made tiny{size}, on {where}, vLLM {trial.vllm or 'unknown'}", 0, 2)
    if trial.failure is not None:
        lines += wrapped(f"{trial.outcome.value}: {trial.failure.sentence} {trial.failure.hint}".strip(), 0, 2)
        lines += [f"  | {line[:150]}" for line in trial.failure.lines[:4]]
    lines += _listed("cut", tiny.cuts)
    lines += _listed("proved", tiny.proves) if trial.outcome is Outcome.MEASURED else []
    lines += _listed("not proved", tiny.not_proved)
    stages = ", ".join(f"{s.name} {s.seconds:.1f}" for s in trial.stages)
    return "\n".join([*lines, "", *wrapped(f"seconds: {stages}; {trial.seconds:.0f} in all", 2, 4)])


def _listed(title: str, sentences: tuple[str, ...]) -> list[str]:
    if not sentences:
        return []
    return ["", f"  {title}", *(line for sentence in sentences for line in wrapped(sentence, 4, 6))]
