"""The way from a question to an answer, off the UI's thread: one message when it is there, one when it failed."""

from __future__ import annotations

from dataclasses import replace

from textual.message import Message

from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.reference import parse_reference
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Workload
from whichgpu.tui.desk.answering import Question, Reply, reply_to
from whichgpu.tui.desk.desk import Desk
from whichgpu.tui.desk.facts import facts_for
from whichgpu.tui.desk.replanning import Terms
from whichgpu.tui.words.terminal import Terminal

PLAIN = Terminal(colour=False, unicode=True, narrate=False)
"""How the command line's reports are asked for text without colours."""


class Answered(Message):
    """A model was read and planned."""

    def __init__(self, reply: Reply, workload: Workload) -> None:
        super().__init__()
        self.reply, self.workload = reply, workload


class Replanned(Message):
    """A workload was planned anew."""

    def __init__(self, terms: Terms, reply: Reply) -> None:
        super().__init__()
        self.terms, self.reply = terms, reply


class Failed(Message):
    """A model could not be read, or a card, price or version that was asked for is none."""

    def __init__(self, name: str, sentence: str, terms: Terms | None = None) -> None:
        super().__init__()
        self.model, self.sentence, self.terms = name, sentence, terms


def read(
    desk: Desk, name: str, workload: Workload, offline: bool, local: bool = True, fresh: bool = False
) -> Answered | Failed:
    """Read a model and answer; keeps the finding. ``fresh`` asks the Hub again, whatever is known.

    Without ``local`` nothing of this machine's file system is told.
    """

    question = Question(
        name, workload, offline=offline, max_age=0.0 if fresh else 600.0, refresh=fresh, catalog=desk.catalog
    )
    try:
        if not local and parse_reference(name).kind != "hub":
            return Failed(name, "The app in a browser opens models by their Hub id alone.")
        return Answered(reply_to(question), workload)
    except WhichgpuError as error:
        return Failed(name, f"{error.message} {error.hint}".strip() if local else error.message)


def plan(desk: Desk, reply: Reply, terms: Terms, before: Terms) -> Replanned | Failed:
    """Plan another question for a model that is there; facts are read anew only when cards or prices did."""
    facts, keys = reply.facts, reply.answer.workload.accelerators
    try:
        if terms.own != before.own or terms.workload.price_kind != before.workload.price_kind:
            facts, keys, _ = facts_for(terms.own, terms.workload.price_kind, desk.store)
        new_answer = answer(reply.inspection, terms.workload.model_copy(update={"accelerators": keys}), facts)
    except WhichgpuError as error:
        return Failed(reply.inspection.source.name, f"{error.message} {error.hint}".strip(), terms)
    return Replanned(terms, replace(reply, answer=new_answer, facts=facts))
