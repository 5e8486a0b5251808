"""A model's plan, asked again: other workloads, every concurrency, every count; pure."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from whichgpu.plan.choices import Objective, Precision
from whichgpu.plan.errors import UnknownAcceleratorError
from whichgpu.plan.hardware import read_card
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Answer, Plan, Workload
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.desk.facts import HERE, Own

CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Sequences at once that are stepped through and drawn."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the plan screen asks: the workload, and the user's own cards and prices."""

    workload: Workload
    own: Own = field(default_factory=Own)
    variant: str | None = None
    """Which GGUF quantisation, where one was asked for."""


def within_context(load: Workload) -> Workload:
    """Return the workload with lengths that its context holds, as the command line demands: the input is the rest first."""
    if load.context_auto:
        return load
    if (load.prompt or 1) + (load.output or 1) > max(load.context, 2):
        load = load.model_copy(update={"prompt": None})
    if (load.output or 1) + 1 > max(load.context, 2):
        load = load.model_copy(update={"output": None})
    return load


_FURTHER = (Precision.INT4, Precision.NVFP4)


def at_every_precision(reply: Reply) -> Answer:
    """Return the answer with what the model needs, and how many cards, at INT4 and NVFP4 too."""
    full_answer = reply.answer
    for precision in _FURTHER:
        if all(n.precision is not precision for n in full_answer.needs):
            load = full_answer.workload.model_copy(update={"precision": precision})
            more = answer(reply.inspection, load, reply.facts, side_by_side=False)
            full_answer = full_answer.model_copy(
                update={"needs": full_answer.needs + more.needs, "plans": full_answer.plans + more.plans}
            )
    return full_answer


def over_concurrency(reply: Reply, workload: Workload, accelerator: str) -> list[Plan]:
    """Plan one accelerator at every concurrency, as the command line would with ``--gpu`` and ``--concurrency``."""
    only = replace(reply.facts, accelerators=[a for a in reply.facts.accelerators if a.key == accelerator])
    plans = []
    for concurrency in CONCURRENCIES:
        load = workload.model_copy(update={"concurrency": concurrency, "accelerators": (accelerator,)})
        result = answer(reply.inspection, load, only, side_by_side=False)
        plans += [p for p in result.plans if p.precision is workload.precision][:1]
    return plans


def over_counts(reply: Reply, workload: Workload, counts: Sequence[int]) -> dict[str, dict[int, Plan]]:
    """Plan every accelerator with each number of cards: by accelerator, then by count."""
    plans_by_card: dict[str, dict[int, Plan]] = {}
    for count in counts:
        cards = [a.model_copy(update={"node_counts": (count,)}) for a in reply.facts.accelerators]
        load = workload.model_copy(update={"objective": Objective.FEWEST, "cards": None})
        result = answer(reply.inspection, load, replace(reply.facts, accelerators=cards), side_by_side=False)
        for card_plan in result.plans:
            plan_by_count = plans_by_card.setdefault(card_plan.accelerator, {})
            if card_plan.count == count or card_plan.layout is None:  # more nodes of that many cards are another count
                plan_by_count[count] = card_plan
    return plans_by_card


def reference_of(reply: Reply) -> str:
    """Return what the model is asked for by: a path of the user's, else its id, wherever it was read from."""
    source = reply.inspection.source
    if source.kind in ("folder", "file") and source.path is not None:
        return source.path
    return f"{source.name}@{source.revision}" if source.revision not in (None, "main") else source.name


def spelled(reply: Reply, own: Own, gpu: str) -> str:
    """Return an accelerator as the user spelled it, with their memory and price, else its key."""
    for spec in own.accelerators:
        with suppress(UnknownAcceleratorError):
            if read_card(spec, reply.facts.accelerators)[0].key == gpu:
                return spec
    return HERE if gpu.endswith("_here") else gpu
