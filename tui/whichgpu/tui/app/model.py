"""Model: what it is with the evidence, what it needs, and its tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static, TabbedContent, TabPane

from whichgpu.inspect.records import TensorGroup
from whichgpu.inspect.text import clean
from whichgpu.tui.answering import Reply
from whichgpu.tui.app.reading import Answered, Failed, read
from whichgpu.tui.app.table import TOO_SMALL, KeyTable
from whichgpu.tui.report_model import what_it_is
from whichgpu.tui.report_plans import needs
from whichgpu.tui.terminal import Terminal
from whichgpu.tui.text_report import one_line
from whichgpu.tui.units import memory

if TYPE_CHECKING:
    from whichgpu.tui.app.application import WhichgpuApp

PLAIN = Terminal(colour=False, unicode=True, narrate=False)


class ModelScreen(Screen[None]):
    """One model."""

    HELP = "What the model is, and how that is known. p plans it; tab and the arrows change the tab."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "app.leave", "Back", id="model.back"),
        Binding("p,enter", "plan", "Plan", id="model.plan"),
        Binding("r", "refresh_model", "Read anew", id="model.refresh"),
        Binding("1", "tab('what')", "What", show=False, id="model.what"),
        Binding("2", "tab('tensors')", "Tensors", show=False, id="model.tensors"),
        Binding("3", "tab('silicon')", "Silicon", show=False, id="model.silicon"),
        Binding("question_mark", "app.help", "Help", id="app.help"),
        Binding("q", "app.quit", "Quit", id="app.quit"),
    ]

    def __init__(self, name: str) -> None:
        super().__init__()
        self._model = name
        self.reply: Reply | None = None

    def compose(self) -> ComposeResult:
        yield Static(f"{clean(self._model, 200)}  reading… (escape cancels)", id="title", markup=False)
        with TabbedContent(id="tabs"):
            with TabPane("1 What it is", id="what"), VerticalScroll():
                yield Static("", id="facts", markup=False)
            with TabPane("2 Tensors", id="tensors"):
                yield KeyTable(("tensors", "count", "shape", "dtype", "bytes"), right=(1, 4), id="groups")
            with TabPane("3 Silicon", id="silicon"), VerticalScroll():
                yield Static("", id="chips", markup=False)
        yield Static(TOO_SMALL, id="small", markup=False)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._read(False)

    @work(thread=True, exclusive=True, group="read")
    def _read(self, fresh: bool) -> None:
        app: WhichgpuApp = self.app  # type: ignore[assignment]
        self.post_message(read(self._model, app.state.workload, app.offline, app.local, fresh))

    def action_refresh_model(self) -> None:
        self.query_one("#title", Static).update(f"{clean(self._model, 200)}  reading…")
        self._read(True)

    def on_answered(self, message: Answered) -> None:
        self.reply = reply = message.reply
        self.app.opened(reply)  # type: ignore[attr-defined]
        inspection = reply.inspection
        self.query_one("#title", Static).update(
            f"{inspection.source.name}  ·  {inspection.label}  ·  {one_line(reply)}"
        )
        note = f"\n\n{reply.origin_note}" if reply.origin_note else ""
        text = f"{what_it_is(inspection, PLAIN)}\n\n{needs(reply.answer, PLAIN)}{note}"
        self.query_one("#facts", Static).update(text)
        rows = [(str(index), _group(group)) for index, group in enumerate(inspection.tensors)]
        self.query_one("#groups", KeyTable).show_rows(rows)
        self.query_one("#chips", Static).update(_silicon(reply))
        self.refresh_bindings()

    def on_failed(self, message: Failed) -> None:
        self.query_one("#title", Static).update(f"{clean(message.model, 200)}  ✗ not read")
        self.query_one("#facts", Static).update(f"{message.sentence}\n\nescape goes back; r tries again")

    def action_tab(self, name: str) -> None:
        self.query_one(TabbedContent).active = name

    def action_plan(self) -> None:
        if self.reply is not None:
            self.app.plan(self.reply)  # type: ignore[attr-defined]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Planning waits for the answer."""
        return None if action == "plan" and self.reply is None else True


def _group(group: TensorGroup) -> tuple[str, ...]:
    shape = " × ".join(map(str, group.shape))
    return clean(group.name, 120), f"{group.count:,}", shape, group.dtype, memory(group.bytes)


def _silicon(reply: Reply) -> str:
    from whichgpu import assets
    from whichgpu.plan.silicon import parse_silicon, verdict_on

    chips = parse_silicon(assets.read("silicon.json"))
    found = [(chip.name, verdict_on(chip, reply.inspection)) for chip in chips]
    return "\n".join(f"{name:<24} {v.outlook.value:<24} {v.why}" for name, v in found)
