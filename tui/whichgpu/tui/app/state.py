"""What the app remembers between runs. A file that can't be read is as if it weren't there."""

from __future__ import annotations

from contextlib import suppress

from pydantic import ValidationError

from whichgpu.inspect.bounded import json_of, read_bounded
from whichgpu.inspect.records import Record
from whichgpu.plan.choices import DEFAULT_CONCURRENCY, DEFAULT_CONTEXT
from whichgpu.plan.records import Workload
from whichgpu.tui.desk.paths import state_path

LOAD = ("context", "concurrency", "prompt", "output")
"""Fields of a workload that say what is served, whichever the model; the others are of one model's session."""


class State(Record):
    """Kept in the user's state folder."""

    workload: Workload = Workload(context=DEFAULT_CONTEXT, concurrency=DEFAULT_CONCURRENCY)
    recent: tuple[str, ...] = ()
    """Models that were opened, newest first."""
    pinned: tuple[str, ...] = ()
    """Models that stay on top."""
    filter: str = ""
    """What the browser was filtered by."""
    sort: str = ""
    """What the browser was sorted by; empty is its own order."""
    fleet: str = ""
    """The list of served models that was opened last."""

    def opened(self, model: str) -> State:
        """Return the state after opening a model."""
        return self.model_copy(update={"recent": (model, *(r for r in self.recent if r != model))[:12]})

    def turned(self, model: str) -> State:
        """Return the state with a model pinned, or no longer."""
        others = tuple(p for p in self.pinned if p != model)
        return self.model_copy(update={"pinned": others if model in self.pinned else (model, *others)})


_MOST_BYTES = 2**20


def load() -> State:
    """Return the state, or a new one."""
    try:
        state = State.model_validate(json_of(read_bounded(state_path(), _MOST_BYTES)))
    except (OSError, ValueError, ValidationError):
        return State()
    load = {field: getattr(state.workload, field) for field in LOAD}
    return state.model_copy(update={"workload": State().workload.model_copy(update=load)})


def save(state: State) -> None:
    """Keep the state, whole or not at all; where that fails the app goes on."""
    target = state_path()
    with suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        part.write_text(state.model_dump_json(), encoding="utf-8")
        part.replace(target)
