"""Lines to type in, scrolling text and trees with vi's keys beside the arrows."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer
from textual.widgets import Input, Tree

TREE_KEYS: tuple[BindingType, ...] = (
    Binding("j", "cursor_down", "Down", show=False, id="tree.down"),
    Binding("k", "cursor_up", "Up", show=False, id="tree.up"),
    Binding("g,home", "scroll_home", "First", show=False, id="tree.first"),
    Binding("G,end", "scroll_end", "Last", show=False, id="tree.last"),
)


class Line(Input):
    """A line to type in; its cursor doesn't blink, which would send bytes twice a second."""

    def on_mount(self) -> None:
        self.cursor_blink = False


class FormLine(Line):
    """A line of a form: up and down go from line to line, before anything around it scrolls."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "app.focus_next", "Next", show=False, id="form.next"),
        Binding("up", "app.focus_previous", "Previous", show=False, id="form.previous"),
    ]


class KeyScroll(ScrollableContainer):
    """Text that is longer than the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False, id="text.down"),
        Binding("k", "scroll_up", "Up", show=False, id="text.up"),
        Binding("g", "scroll_home", "First", show=False, id="text.first"),
        Binding("G", "scroll_end", "Last", show=False, id="text.last"),
    ]


class KeyTree(Tree[object]):
    """A tree."""

    ICON_NODE, ICON_NODE_EXPANDED = "▸ ", "▾ "
    BINDINGS: ClassVar[list[BindingType]] = [*TREE_KEYS]
