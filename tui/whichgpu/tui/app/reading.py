"""The way from a question to an answer, off the UI's thread: one message when it is there, one when it failed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from textual.message import Message

from whichgpu.catalog.store import Catalog
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.plan.choices import Objective, Precision
from whichgpu.plan.errors import UnknownAcceleratorError
from whichgpu.plan.hardware import read_card
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Answer, Plan, Workload
from whichgpu.tui.answering import Question, Reply, catalog_path, reply_to
from whichgpu.tui.facts import HERE, Own, facts_for
from whichgpu.tui.terminal import Terminal
from whichgpu.tui.workload_words import own_words, workload_words

PLAIN = Terminal(colour=False, unicode=True, narrate=False)
"""How the command line's reports are asked for text without colours."""

CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Sequences at once that are stepped through and drawn."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the plan screen asks: the workload, and the user's own cards and prices."""

    workload: Workload
    own: Own = field(default_factory=Own)
    variant: str | None = None
    """Which GGUF quantisation, where one was asked for."""

    def words(self) -> list[str]:
        """Return it as options of the command line."""
        picked = ["--variant", self.variant] if self.variant is not None else []
        return [*workload_words(self.workload), *own_words(self.own), *picked]


def within_context(load: Workload) -> Workload:
    """Return the workload with lengths that its context holds, as the command line demands: the input is the rest first."""
    if (load.prompt or 1) + (load.output or 1) > max(load.context, 2):
        load = load.model_copy(update={"prompt": None})
    if (load.output or 1) + 1 > max(load.context, 2):
        load = load.model_copy(update={"output": None})
    return load


class Answered(Message):
    """A model was read and planned."""

    def __init__(self, reply: Reply, workload: Workload) -> None:
        super().__init__()
        self.reply, self.workload = reply, workload


class Replanned(Message):
    """A workload was planned anew."""

    def __init__(self, asked: Asked, reply: Reply) -> None:
        super().__init__()
        self.asked, self.reply = asked, reply


class Failed(Message):
    """A model could not be read, or a card, price or version that was asked for is none."""

    def __init__(self, name: str, sentence: str, asked: Asked | None = None) -> None:
        super().__init__()
        self.model, self.sentence, self.asked = name, sentence, asked


def read(name: str, workload: Workload, offline: bool, local: bool = True, fresh: bool = False) -> Answered | Failed:
    """Read a model and answer; keeps the finding. ``fresh`` asks the Hub again, whatever is known.

    Without ``local`` nothing of this machine's file system is told.
    """
    from whichgpu.inspect.reference import parse_reference

    question = Question(
        name, workload, offline=offline, max_age=0.0 if fresh else 600.0, refresh=fresh, catalog=catalog_path(None)
    )
    try:
        if not local and parse_reference(name).kind != "hub":
            return Failed(name, "The app in a browser opens models by their Hub id alone.")
        return Answered(reply_to(question), workload)
    except WhichgpuError as error:
        return Failed(name, f"{error.message} {error.hint}".strip() if local else error.message)


def plan(reply: Reply, asked: Asked, before: Asked) -> Replanned | Failed:
    """Plan another question for a model that is there; facts are read anew only when cards or prices did."""
    facts, keys = reply.facts, reply.answer.workload.accelerators
    try:
        if asked.own != before.own or asked.workload.price_kind != before.workload.price_kind:
            facts, keys, _ = facts_for(asked.own, asked.workload.price_kind, Catalog(catalog_path(None)))
        new_answer = answer(reply.inspection, asked.workload.model_copy(update={"accelerators": keys}), facts)
    except WhichgpuError as error:
        return Failed(reply.inspection.source.name, f"{error.message} {error.hint}".strip(), asked)
    return Replanned(asked, replace(reply, answer=new_answer, facts=facts))


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


def as_command(reply: Reply, asked: Asked, gpu: str | None = None) -> str:
    """Return the one-shot that gives the same record; ``gpu`` narrows it to one accelerator."""
    words = ["whichgpu", "--model", reference_of(reply)]
    own_facts = replace(asked.own, accelerators=(spelled(reply, asked.own, gpu),)) if gpu else asked.own
    return shlex.join([*words, *replace(asked, own=own_facts).words()])


def spelled(reply: Reply, own: Own, gpu: str) -> str:
    """Return an accelerator as the user spelled it, with their memory and price, else its key."""
    for spec in own.accelerators:
        with suppress(UnknownAcceleratorError):
            if read_card(spec, reply.facts.accelerators)[0].key == gpu:
                return spec
    return HERE if gpu.endswith("_here") else gpu
