"""Compare: up to six models, or plans of one model, side by side; ≠ where they differ."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from whichgpu.plan.records import Plan
from whichgpu.tui.app.page import Export, Page
from whichgpu.tui.app.reading import Answered, read
from whichgpu.tui.app.widgets import KeyScroll
from whichgpu.tui.asking.question import workload_words
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.words.comparison import compared_record, plans_side_by_side, side_by_side


class CompareScreen(Page):
    """Models side by side."""

    HELP = "The marked models on the workload of the plan screen; ≠ marks what differs."
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "app.ask_quit", "Quit", id="page.quit")]

    class Compared(Message):
        """All were read, as far as they could be."""

        def __init__(self, replies: list[Reply], troubles: list[str]) -> None:
            super().__init__()
            self.replies, self.troubles = replies, troubles

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = tuple(names)
        self._replies: list[Reply] = []
        self._troubles: list[str] = []

    def body(self) -> Iterable[Widget]:
        yield KeyScroll(Static("", id="compared", markup=False), id="table")

    def on_mount(self) -> None:
        self.say(f"Compare  {len(self._names)} models", "reading… (escape cancels)")
        self.set_focus(self.query_one("#table"))
        self._read()

    @work(thread=True, exclusive=True, group="compare")
    def _read(self) -> None:
        app = self.own_app
        readings = [read(app.desk, n, app.state.workload, app.offline, app.local) for n in self._names]
        replies = [f.reply for f in readings if isinstance(f, Answered)]
        troubles = [f"✗ {f.model}: {f.sentence}" for f in readings if not isinstance(f, Answered)]
        self.report(self.Compared(replies, troubles))

    def on_compare_screen_compared(self, message: Compared) -> None:
        self._replies, self._troubles = message.replies, message.troubles
        self.show_anew()

    def show_anew(self) -> None:
        self.say(f"Compare  {len(self._names)} models")
        text = side_by_side(self._replies) if self._replies else ""
        self.query_one("#compared", Static).update("\n".join([text, *self._troubles]))
        self.refresh_bindings()

    def one_shot(self) -> str | None:
        return shlex.join(["whichgpu", "compare", *self._names, *workload_words(self.own_app.state.workload)])

    def export(self) -> Export | None:
        if not self._replies:
            return None
        replies = tuple(self._replies)
        return Export("compare.json", lambda: json.dumps([compared_record(r) for r in replies], indent=2))


class ComparePlans(Page):
    """Plans of one model side by side."""

    HELP = "The marked accelerators for this model and workload; ≠ marks what differs."
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "app.ask_quit", "Quit", id="page.quit")]

    def __init__(self, name: str, plans: Sequence[Plan], command: str) -> None:
        super().__init__()
        self._model, self._plans, self._command = name, plans, command

    def body(self) -> Iterable[Widget]:
        yield KeyScroll(Static(plans_side_by_side(self._plans), id="compared", markup=False), id="table")

    def on_mount(self) -> None:
        self.say(f"Compare  {len(self._plans)} plans", self._model)
        self.set_focus(self.query_one("#table"))

    def show_anew(self) -> None:
        self.query_one("#compared", Static).update(plans_side_by_side(self._plans))

    def one_shot(self) -> str | None:
        return self._command

    def export(self) -> Export | None:
        plans = tuple(self._plans)
        return Export(
            f"{self._model}-plans.json", lambda: json.dumps([p.model_dump(mode="json") for p in plans], indent=2)
        )
