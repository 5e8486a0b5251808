"""Text over everything: help, an explanation, a command."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class Words(ModalScreen[None]):
    """Text over everything; escape leaves, y copies what it is given to copy."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Back", id="words.back"),
        Binding("j,down", "scroll(1)", "Down", show=False, id="words.down"),
        Binding("k,up", "scroll(-1)", "Up", show=False, id="words.up"),
        Binding("pagedown", "scroll(10)", "Page down", show=False, id="words.page_down"),
        Binding("pageup", "scroll(-10)", "Page up", show=False, id="words.page_up"),
        Binding("y", "copy", "Copy", id="words.copy"),
    ]

    def __init__(self, title: str, text: str, to_copy: str | None = None) -> None:
        super().__init__()
        self._title, self._text, self._to_copy = title, text, to_copy

    def compose(self) -> ComposeResult:
        copies = ", y copies" if self._to_copy is not None else ""
        with VerticalScroll(id="words"):
            yield Static(f"{self._title}  (escape goes back{copies})\n\n{self._text}", markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Copying needs something."""
        return self._to_copy is not None if action == "copy" else True

    def action_scroll(self, lines: int) -> None:
        self.query_one("#words").scroll_relative(y=lines, animate=False)

    def action_copy(self) -> None:
        """By OSC 52, which works over SSH."""
        self.app.copy_to_clipboard(self._to_copy or "")
        self.notify("copied", markup=False)
