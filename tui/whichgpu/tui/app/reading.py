"""The way from a name to an answer, off the UI's thread: one message when it is there, one when it failed."""

from __future__ import annotations

from textual.message import Message

from whichgpu.inspect.errors import WhichgpuError
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Answer, Workload
from whichgpu.tui.answering import Question, Reply, catalog_path, reply_to


class Answered(Message):
    """A model was read and planned."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class Replanned(Message):
    """A workload was planned anew."""

    def __init__(self, workload: Workload, result: Answer) -> None:
        super().__init__()
        self.workload, self.result = workload, result


class Failed(Message):
    """A model could not be read."""

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__()
        self.model, self.sentence = name, sentence


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
        return Answered(reply_to(question))
    except WhichgpuError as error:
        return Failed(name, f"{error.message} {error.hint}".strip() if local else error.message)


def plan(reply: Reply, workload: Workload) -> Replanned:
    """Plan another workload for a model that is there."""
    return Replanned(workload, answer(reply.inspection, workload, reply.facts))


def as_command(reply: Reply, workload: Workload, gpu: str | None = None) -> str:
    """Return the one-shot that gives the same record."""
    import shlex

    words = ["whichgpu", "--model", reply.inspection.source.path or reply.inspection.source.name]
    words += ["--context", str(workload.context), "--concurrency", str(workload.concurrency)]
    words += ["--precision", workload.precision.value] if workload.precision.value != "published" else []
    words += ["--kv-dtype", workload.kv_dtype.value] if workload.kv_dtype.value != "auto" else []
    words += ["--objective", workload.objective.value] if workload.objective.value != "cost" else []
    words += ["--spot"] if workload.price_kind == "spot" else []
    words += ["--gpu", gpu] if gpu else []
    return shlex.join(words)
