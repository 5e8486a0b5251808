"""Compare: up to six models side by side on the workload, ≠ where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Static

from whichgpu.tui.app.reading import Answered, read
from whichgpu.tui.app.table import TOO_SMALL
from whichgpu.tui.compare_command import side_by_side


class CompareScreen(Screen[None]):
    """Models side by side."""

    HELP = "The marked models on the workload of the plan screen; ≠ marks what differs."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "app.leave", "Back", id="compare.back"),
        Binding("j,down", "down", "Down", show=False, id="compare.down"),
        Binding("k,up", "up", "Up", show=False, id="compare.up"),
        Binding("question_mark", "app.help", "Help", id="app.help"),
        Binding("q", "app.quit", "Quit", id="app.quit"),
    ]

    class Compared(Message):
        """All were read, as far as they could be."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = tuple(names)

    def compose(self) -> ComposeResult:
        yield Static(f"Compare  {len(self._names)} models  reading… (escape cancels)", id="title", markup=False)
        with ScrollableContainer(id="table"):
            yield Static("", id="compared", markup=False)
        yield Static(TOO_SMALL, id="small", markup=False)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._read()

    @work(thread=True, exclusive=True, group="compare")
    def _read(self) -> None:
        app = self.app
        found = [read(n, app.state.workload, app.offline) for n in self._names]  # type: ignore[attr-defined]
        replies = [f.reply for f in found if isinstance(f, Answered)]
        troubles = [f"{f.model}: {f.sentence}" for f in found if not isinstance(f, Answered)]
        self.post_message(self.Compared("\n".join([side_by_side(replies) if replies else "", *troubles])))

    def on_compare_screen_compared(self, message: Compared) -> None:
        self.query_one("#title", Static).update(f"Compare  {len(self._names)} models")
        self.query_one("#compared", Static).update(message.text)

    def action_down(self) -> None:
        self.query_one("#table").scroll_down(animate=False)

    def action_up(self) -> None:
        self.query_one("#table").scroll_up(animate=False)
