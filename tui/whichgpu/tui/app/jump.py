"""Jump: a letter on every pane that takes keys; pressing it goes there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Label, Tab

_LETTERS = "asdfghjklwertuiop"


def targets(screen: Screen[object]) -> list[Widget]:
    """Return what can be jumped to, from the top left: panes that take focus, and tabs."""
    widgets: list[Widget] = [w for w in screen.focus_chain if w.region and w.__class__.__name__ != "ContentTabs"]
    widgets += [tab for tab in screen.query(Tab) if tab.display and tab.region]
    return sorted(widgets, key=lambda w: (w.region.y, w.region.x))[: len(_LETTERS)]


class Jump(ModalScreen[Widget | None]):
    """Letters over the screen below."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "Back", id="jump.back")]

    def __init__(self, places: Sequence[Widget]) -> None:
        super().__init__()
        self._places = dict(zip(_LETTERS, places, strict=False))

    def compose(self) -> ComposeResult:
        for letter, place in self._places.items():
            label = Label(f" {letter} ", classes="jump", markup=False)
            label.styles.offset = place.region.offset
            yield label

    def on_key(self, event: Key) -> None:
        if event.character in self._places:
            event.stop()
            self.dismiss(self._places[event.character])
