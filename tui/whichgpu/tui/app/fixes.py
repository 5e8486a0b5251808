"""Fixes: what would make a plan fit, each as it was recomputed; Enter asks for it."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from whichgpu.plan.records import Plan, Remedy
from whichgpu.tui.app.plan_text import GLYPHS


class Fixes(ModalScreen[dict[str, Any] | None]):
    """Gives the workload's fields to change, or nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Back", id="fixes.back"),
        Binding("j", "move(1)", "Down", show=False, id="fixes.down"),
        Binding("k", "move(-1)", "Up", show=False, id="fixes.up"),
    ]

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def compose(self) -> ComposeResult:
        options = [Option(_line(r), disabled=not r.changes) for r in self._plan.remedies]
        with Vertical(id="form"):
            yield Static(
                f"What would make {self._plan.accelerator_name} fit, each alone (Enter asks for it)\n", markup=False
            )
            yield OptionList(*options, markup=False, id="fixes")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(dict(self._plan.remedies[event.option_index].changes))

    def action_move(self, step: int) -> None:
        options = self.query_one(OptionList)
        options.action_cursor_down() if step > 0 else options.action_cursor_up()


def _line(remedy: Remedy) -> str:
    alone = "" if remedy.changes else "  (another layout: for the command line)"
    return f"{GLYPHS[remedy.verdict]:<9} {remedy.flag}: {remedy.effect}{alone}"
