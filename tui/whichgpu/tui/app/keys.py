"""The footer: the keys that work now, in one line that is drawn as one, and marked where it is cut."""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

from textual.content import Content
from textual.events import Click
from textual.screen import Screen
from textual.widget import Widget

_GAPS = (2, 1)
"""Cells between two keys: the second where the first leaves no room for all."""


class _Key(NamedTuple):
    key: str
    shown: str
    description: str
    enabled: bool

    @property
    def width(self) -> int:
        return Content(self.shown).cell_length + 1 + Content(self.description).cell_length


class Keys(Widget, can_focus=False):
    """The screen's bindings. One widget for all of them: Textual's Footer makes one for each key, styles each, and makes
    them anew whenever a binding changes, which holds the first paint up and costs bytes on a slow line."""

    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__()
        self._keys: tuple[_Key, ...] = ()

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._update_keys)

    def _update_keys(self, screen: Screen[object]) -> None:
        """Draw anew only where the keys differ: little goes over a slow line. A terminal that hasn't the focus keeps what it has, and
        a screen that opens there has its keys."""
        if (self._keys and not self.app.app_focus) or not self.is_attached or screen is not self.screen:
            return
        key_by_action: dict[str, _Key] = {}
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.show and binding.action not in key_by_action:
                key_display = self.app.get_key_display(binding)
                key_by_action[binding.action] = _Key(binding.key, key_display, binding.description, active.enabled)
        if self._keys != (keys := tuple(key_by_action.values())):
            self._keys = keys
            self.refresh()

    def _placed_keys(self) -> list[tuple[int, _Key]]:
        """(left, key) of those that there is room for, with two cells kept for the mark where some are left out."""
        for gap in _GAPS:
            lefts = list(accumulate((key.width + gap for key in self._keys), initial=0))
            if lefts[-1] - gap <= self.size.width:
                return list(zip(lefts, self._keys, strict=False))
        return [(left, k) for left, k in zip(lefts, self._keys, strict=False) if left + k.width + 2 <= self.size.width]

    def render(self) -> Content:
        """Key and description of each."""
        line = Content("")
        placed = self._placed_keys()
        for left, key in placed:
            dim = "" if key.enabled else " dim"
            gap = " " * (left - line.cell_length)
            parts = (key.shown, f"bold $footer-key-foreground{dim}"), (f" {key.description}", dim.strip())
            line = Content.assemble(line, gap, *parts)
        return line if len(placed) == len(self._keys) else Content.assemble(line, " …")

    def on_click(self, event: Click) -> None:
        """A click on a key presses it."""
        at = event.get_content_offset(self)
        for left, key in self._placed_keys() if at is not None else ():
            if at is not None and left <= at.x < left + key.width and key.enabled:
                self.app.simulate_key(key.key)
