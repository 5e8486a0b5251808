"""What the app remembers between runs: the last model and workload. A file that can't be read is as if it weren't there."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from whichgpu.inspect.records import Record
from whichgpu.plan.choices import DEFAULT_CONCURRENCY, DEFAULT_CONTEXT
from whichgpu.plan.records import Workload


class State(Record):
    """Kept in the user's state folder."""

    workload: Workload = Workload(context=DEFAULT_CONTEXT, concurrency=DEFAULT_CONCURRENCY)
    recent: tuple[str, ...] = ()
    """Models that were opened, newest first."""

    def opened(self, model: str) -> State:
        """Return the state after opening a model."""
        return self.model_copy(update={"recent": (model, *(r for r in self.recent if r != model))[:12]})


def path() -> Path:
    """Return where the state is kept: ``WHICHGPU_STATE``, else the user's state folder."""
    if stated := os.environ.get("WHICHGPU_STATE"):
        return Path(stated).expanduser()
    from platformdirs import user_state_path

    return user_state_path("whichgpu", appauthor=False) / "app.json"


def load() -> State:
    """Return the state, or a new one."""
    try:
        return State.model_validate(json.loads(path().read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return State()


def save(state: State) -> None:
    """Keep the state, whole or not at all; where that fails the app goes on."""
    target = path()
    with suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        part.write_text(state.model_dump_json(), encoding="utf-8")
        part.replace(target)
