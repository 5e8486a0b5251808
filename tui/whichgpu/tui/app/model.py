"""Model: what it is with the evidence, layer by layer, at each precision, its tensors, its config, and chips for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static, TabbedContent, TabPane

from whichgpu import assets
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.records import Inspection
from whichgpu.inspect.text import clean
from whichgpu.tui.app.bars import legend, stacked
from whichgpu.tui.app.layers import layer_map
from whichgpu.tui.app.page import Export, Page
from whichgpu.tui.app.reading import PLAIN, Answered, Failed, read
from whichgpu.tui.app.tensors import TensorTree
from whichgpu.tui.app.widgets import KeyScroll
from whichgpu.tui.asking.question import as_command
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.desk.replanning import Terms, at_every_precision
from whichgpu.tui.words.report_model import what_it_is
from whichgpu.tui.words.report_plans import counts_by_precision, needs, where_it_runs
from whichgpu.tui.words.text_report import one_line

_TABS = ("what", "layers", "precisions", "tensors", "config", "silicon")
_TITLES = ("1 What", "2 Layers", "3 Precisions", "4 Tensors", "5 Config", "6 Silicon")


class ModelScreen(Page):
    """One model."""

    HELP = "What the model is, and how that is known. p plans it; 1 to 6, tab and the arrows change the tab."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p,enter", "plan", "Plan", id="model.plan"),
        Binding("r", "refresh_model", "Read anew", id="model.refresh"),
        *(
            Binding(str(number), f"tab('{name}')", title[2:], show=False, id=f"model.{name}")
            for number, (name, title) in enumerate(zip(_TABS, _TITLES, strict=True), start=1)
        ),
        Binding("q", "app.ask_quit", "Quit", id="page.quit"),
    ]

    class Weighed(Message):
        """Every precision was worked out."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class ConfigRead(Message):
        """The config was read, or could not be."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, name: str) -> None:
        super().__init__()
        self._model = name
        self._config_asked = False
        self.reply: Reply | None = None
        self._terms: Terms | None = None

    def body(self) -> Iterable[Widget]:
        texts = [KeyScroll(Static("", id=f"{name}-text", markup=False)) for name in _TABS]
        heading = Static(f"{'tensors':<30} {'count':>7}  {'shape':<17} {'dtype':<8} {'bytes':>10}", id="tensor-heading")
        texts[_TABS.index("tensors")] = Vertical(heading, TensorTree("tensors", id="tensor-tree"))  # type: ignore[call-overload]
        with TabbedContent(id="tabs"):
            for name, title, content in zip(_TABS, _TITLES, texts, strict=True):
                with TabPane(title, id=name):
                    yield content

    def on_mount(self) -> None:
        self.say(clean(self._model, 200), "reading… (escape cancels)")
        self._read(False)

    @work(thread=True, exclusive=True, group="read")
    def _read(self, fresh: bool) -> None:
        app = self.own_app
        self.report(read(app.desk, self._model, app.state.workload, app.offline, app.local, fresh))

    def action_refresh_model(self) -> None:
        """Read it again, whatever is known."""
        self.say(clean(self._model, 200), "reading…")
        self._config_asked = False
        self._read(True)

    def on_answered(self, message: Answered) -> None:
        self.reply = reply = message.reply
        self._terms = Terms(message.workload)
        self.own_app.opened(reply)
        self._show(reply)
        self._ask_config()
        self.refresh_bindings()

    def show_anew(self) -> None:
        if self.reply is not None:
            self._show(self.reply)

    def _show(self, reply: Reply) -> None:
        inspection = reply.inspection
        self.say(inspection.source.name, inspection.label, one_line(reply))
        self._text("what", _what(reply, self.app.size.width - 4, self.own_app.local))
        self._text("layers", layer_map(inspection.architecture))
        self._weigh(reply)
        self._text("silicon", _silicon(reply))
        self.query_one(TensorTree).show_groups(inspection.tensors)

    @work(thread=True, exclusive=True, group="precisions")
    def _weigh(self, reply: Reply) -> None:
        full_answer = at_every_precision(reply)
        parts = (needs(full_answer, PLAIN), counts_by_precision(full_answer), where_it_runs(reply.answer, PLAIN))
        self.report(self.Weighed("\n\n".join(parts)))

    def on_model_screen_weighed(self, message: Weighed) -> None:
        self._text("precisions", message.text)

    def on_failed(self, message: Failed) -> None:
        self.say(clean(message.model, 200), "✗ not read")
        self._text("what", f"{message.sentence}\n\nescape goes back; r tries again")

    def _text(self, tab: str, text: str) -> None:
        """The reports' lines are indented for a terminal of 80; a scroll bar takes one of these here."""
        self.query_one(f"#{tab}-text", Static).update("\n".join(line.removeprefix("  ") for line in text.splitlines()))

    def on_tabbed_content_tab_activated(self) -> None:
        self._ask_config()

    def _ask_config(self) -> None:
        """The config costs a request: only when someone looks."""
        if self.reply is None or self._config_asked or self.query_one(TabbedContent).active != "config":
            return
        self._config_asked = True
        self._text("config", "reading the config…")
        self._read_config(self.reply.inspection)

    @work(thread=True, exclusive=True, group="config")
    def _read_config(self, inspection: Inspection) -> None:
        from whichgpu.inspect.config_text import config_text

        try:
            name, text = config_text(inspection.source, self.own_app.offline)
        except WhichgpuError as error:
            self.report(self.ConfigRead(f"{error.message} {error.hint}".strip()))
        else:
            self.report(self.ConfigRead(f"{name}\n\n{text}"))

    def on_model_screen_config_read(self, message: ConfigRead) -> None:
        self._text("config", message.text)

    def action_tab(self, name: str) -> None:
        """Show a tab, and let its content take the keys."""
        self.query_one(TabbedContent).active = name
        pane = self.query_one(f"#{name}", TabPane)
        self.set_focus(next(w for w in pane.walk_children(Widget) if w.focusable))

    def action_plan(self) -> None:
        if self.reply is not None and self._terms is not None:
            self.own_app.plan(self.reply, self._terms)

    def one_shot(self) -> str | None:
        if self.reply is None or self._terms is None:
            return None
        return as_command(self.reply, self._terms)

    def export(self) -> Export | None:
        if self.reply is None:
            return None
        inspection = self.reply.inspection
        return Export(f"{inspection.source.name}.json", lambda: inspection.model_dump_json(indent=2))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Planning waits for the answer."""
        return self.reply is not None if action == "plan" else super().check_action(action, parameters)


def _what(reply: Reply, width: int, local: bool) -> str:
    """Facts, what fills the weights, and what could not be read; what is said of this machine only to its user."""
    inspection = reply.inspection
    parts = [(part.value, count) for part, count in inspection.parameters.by_part.items() if count]
    bar_parts, rest = parts[:5], sum(count for _, count in parts[5:])
    bar_parts += [("other", rest)] if rest else []
    bar = [stacked(bar_parts, min(width, 100)), legend(bar_parts, unit="B parameters", size=1e9)] if bar_parts else []
    notes = [f"known from {inspection.grade.value}: {inspection.grade_note}"]
    notes += [f"not read: {text}" for text in inspection.unread]
    notes += [
        f"note: {text}" for text in (*(reply.warnings if local else inspection.warnings), reply.origin_note) if text
    ]
    return "\n".join([what_it_is(inspection, PLAIN), "", *bar, "", *notes])


def _silicon(reply: Reply) -> str:
    from whichgpu.plan.silicon import parse_silicon
    from whichgpu.tui.words.silicon_words import verdict_table

    return verdict_table(parse_silicon(assets.read("silicon.json")), reply.inspection)
