"""Text over everything: help, an explanation, a command."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class Words(ModalScreen[None]):
    """Text over everything; escape leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Back", id="words.back"),
        Binding("j,down", "down", "Down", show=False, id="words.down"),
        Binding("k,up", "up", "Up", show=False, id="words.up"),
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="words"):
            yield Static(f"{self._title}  (escape goes back)\n\n{self._text}", markup=False)

    def action_down(self) -> None:
        self.query_one("#words").scroll_down(animate=False)

    def action_up(self) -> None:
        self.query_one("#words").scroll_up(animate=False)
