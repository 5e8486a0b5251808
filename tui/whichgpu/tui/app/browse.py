"""Browse: one list over pinned and recent models, the catalog, the atlas and the Hub; what is typed filters it or is opened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.events import Key, Paste
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static

from whichgpu.inspect.text import clean
from whichgpu.tui.app.knowledge import (
    FIELDS,
    HEADERS,
    SORTS,
    FilterError,
    Known,
    matching,
    named_by,
    of_atlas,
    of_catalog,
    together,
)
from whichgpu.tui.app.page import Page, is_hub_id
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.app.widgets import Line
from whichgpu.tui.desk.paths import state_path

_SHOWN = 500
MOST = 6
"""Models that are compared at once."""
_PATIENCE = 0.4
"""Seconds without a key before catalog and Hub are asked, and before verdicts are worked out."""
_WORDS = 8
"""Of a paste that are taken: more is no name."""
_FIRST = "First time here? Enter opens a model, p there plans it; / filters, or paste a Hub id or URL and press Enter; ? helps."


class Browse(Page):
    """The home screen."""

    AUTO_FOCUS = "KeyTable"
    HELP = (
        "/ filters as you type, by words and fields: " + ", ".join(FIELDS) + " (class:moe size:<10B licence:apache "
        "gated:no changed:2026). Enter opens the model under the cursor, or the id or URL that you typed. space marks "
        "models (up to six), c compares them; b pins one to the top; o changes the order."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        # Of priority, so that what is typed or pasted right behind it goes into the line.
        Binding("slash", "filter", "Filter", id="browse.filter", key_display="/", priority=True),
        Binding("enter", "open", "Open", id="browse.open"),
        Binding("space", "mark", "Mark", id="browse.mark"),
        Binding("c", "compare", "Compare", id="browse.compare"),
        Binding("b", "pin", "Pin", id="browse.pin"),
        Binding("o", "sort", "Order", show=False, id="browse.order"),
        Binding("d", "folder", "Folder", show=False, id="browse.folder"),
        Binding("a", "app.open('catalog')", "Catalog", id="browse.catalog"),
        Binding("l", "app.open('fleet')", "Fleet", id="browse.fleet"),
        Binding("s", "app.open('silicon')", "Silicon", id="browse.silicon"),
        Binding("escape", "back", "Back", show=False, id="browse.list"),
        # The first letter of a name as often as a wish to leave: it goes into the line, and once more quits.
        Binding("q", "leave", "Quit", id="page.quit", priority=True),
    ]

    class Listed(Message):
        """Part of what is known without a network was read."""

        def __init__(self, models: list[Known]) -> None:
            super().__init__()
            self.models = models

    class Found(Message):
        """Catalog and Hub answered a search, or could not."""

        def __init__(self, words: str, models: list[Known], trouble: str) -> None:
            super().__init__()
            self.words, self.models, self.trouble = words, models, trouble

    class Judged(Message):
        """It was worked out what models run on, and more of the one under the cursor."""

        def __init__(self, workload: object, on: dict[str, str], model: str | None, detail: str) -> None:
            super().__init__()
            self.workload, self.on, self.model, self.detail = workload, on, model, detail

    def __init__(self) -> None:
        super().__init__()
        self._atlas: list[Known] = []
        self._models: list[Known] = []
        self._asked: list[Known] = []
        self._waiting: Timer | None = None
        self._judging: Timer | None = None
        self._trouble = ""
        self._marked: dict[str, None] = {}
        self._on: dict[str, str] = {}
        self._leaving = False
        """Whether the line holds a ``q`` that may have been a wish to leave."""
        self._on_for: object = None
        """The workload that these are for."""

    def body(self) -> Iterable[Widget]:
        yield Line(placeholder="filter, or an id or URL to open", id="filter")
        with Horizontal(id="panes"):
            yield KeyTable(HEADERS, right=(2, 3), wide_only=(3, 5, 6), least={4: 17, 7: 7}, id="models")
            yield Static("", id="detail", markup=False)
        yield Static("" if state_path().exists() else _FIRST, id="hint", markup=False)

    def heading(self) -> str:
        """The atlas is at hand, so that the first paint is of use."""
        self._atlas = of_atlas()
        self._models = list(self._atlas)
        return f"whichgpu  {len(self._models):,} models"

    def on_mount(self) -> None:
        self._show()
        self.call_after_refresh(self._read)

    def on_screen_resume(self) -> None:
        if self._models:
            self._read()

    def show_anew(self) -> None:
        self._on_for = None
        self._read()

    @work(thread=True, exclusive=True, group="local")
    def _read(self) -> None:

        state, local, atlas = self.own_app.state, self.own_app.local, self._atlas
        pinned, recent = ([n for n in names if local or is_hub_id(n)] for names in (state.pinned, state.recent))
        if not self.own_app.restored:
            self.report(self.Listed(together(pinned, recent, (), atlas)))
        catalog = [k for k in of_catalog(self.own_app.desk) if local or is_hub_id(k.name)]
        self.report(self.Listed(together(pinned, recent, catalog, atlas)))

    def on_browse_listed(self, message: Listed) -> None:
        first = not self.own_app.restored
        self._models = message.models
        if first:
            self._restore()
        self._show()
        state = self.own_app.state
        if self._on_for != state.workload:
            from whichgpu.tui.app.verdicts import forget

            forget()
            self._on, self._on_for = {}, state.workload
        if state.recent or state.pinned:
            self.query_one("#hint", Static).update("")
        self._judge_soon()

    def _restore(self) -> None:
        """Filter and order of the last run."""
        self.own_app.restored = True
        field = self.query_one(Input)
        if self.own_app.state.filter and not field.value:
            field.value = self.own_app.state.filter

    def on_input_changed(self, event: Input.Changed) -> None:
        if self._leaving and event.value == "qq":
            self.app.exit()
        self._leaving = self._leaving and event.value == "q"
        self._asked, self._trouble = [], ""
        self._show(top=True)
        if self._waiting is not None:
            self._waiting.stop()
        words = named_by(event.value.strip())
        self._waiting = self.set_timer(_PATIENCE, lambda: self._rest(words))

    def _rest(self, words: str) -> None:
        """The keys rest: remember the filter, and ask catalog and Hub."""
        self._remember(words)
        if len(words) >= 3:
            self._ask(words)

    def _remember(self, words: str) -> None:
        app = self.own_app
        if app.restored and app.state.filter != words:
            app.keep_state(app.state.model_copy(update={"filter": words}))

    @work(thread=True, exclusive=True, group="search")
    def _ask(self, words: str) -> None:
        from whichgpu.tui.app.searching import ask_around

        models, trouble = ask_around(self.own_app.desk, words, self.own_app.offline)
        self.report(self.Found(words, models, trouble))

    def on_browse_found(self, message: Found) -> None:
        if message.words != named_by(self.query_one(Input).value.strip()):
            return  # a newer search is under way
        listed_names = {m.name.lower() for m in self._models}
        self._asked = [k for k in message.models if k.name.lower() not in listed_names]
        self._trouble = message.trouble
        self._show()
        self._judge_soon()

    def on_data_table_row_highlighted(self) -> None:
        self._judge_soon()

    def _judge_soon(self) -> None:
        """Work verdicts out for the rows in view, when the keys rest."""
        if self._judging is not None:
            self._judging.stop()
        self._judging = self.set_timer(_PATIENCE, self._judge_view)

    def _judge_view(self) -> None:
        table = self.query_one(KeyTable)
        verdict_by_name = {k.name: k.on for k in self._models}
        missing = [n for n in table.keys_in_view if not verdict_by_name.get(n) and n not in self._on]
        wide = self.query_one("#detail").display
        if missing or wide:
            self._judge(missing, table.current if wide else None)

    @work(thread=True, exclusive=True, group="verdicts")
    def _judge(self, names: list[str], model: str | None) -> None:
        from whichgpu.tui.app.verdicts import details, verdicts

        workload = self.own_app.state.workload
        verdict_by_name = verdicts(self.own_app.desk, names, workload)
        detail = details(self.own_app.desk, model, workload) if model is not None else ""
        self.report(self.Judged(workload, dict.fromkeys(names, "") | verdict_by_name, model, detail))

    def on_browse_judged(self, message: Judged) -> None:
        if message.model == self.query_one(KeyTable).current:
            self.query_one("#detail", Static).update(message.detail)
        if message.workload != self._on_for:
            return
        self._on |= message.on
        cells = {k.name: self._cells(k) for k in (*self._models, *self._asked) if k.name in message.on}
        self.query_one(KeyTable).show_cells(cells)

    def _show(self, top: bool = False) -> None:
        text = named_by(self.query_one(Input).value.strip())
        try:
            models = self._matching_models(text)
        except FilterError as error:
            self.say("whichgpu", error.message)
            self.query_one("#hint", Static).update(f"✗ {error.message}")
            return
        if str(self.query_one("#hint", Static).content).startswith("✗"):
            self.query_one("#hint", Static).update("")
        self.query_one(KeyTable).show_rows([(k.name, self._cells(k)) for k in models[:_SHOWN]], top)
        every = len(self._models) + len(self._asked)
        count_text = f"{len(models):,} of {every:,} models" if text else f"{len(models):,} models"
        more = f", the first {_SHOWN} shown" if len(models) > _SHOWN else ""
        order = self.own_app.order
        self.say(
            f"whichgpu  {count_text}{more}",
            f"{len(self._marked)} marked" if self._marked else "",
            f"by {order}" if order else "",
            f"filter “{text}”" if text else "",
            self._trouble,
        )

    def _matching_models(self, text: str) -> list[Known]:
        models = matching([*self._models, *self._asked], text) if text else list(self._models)
        if self.own_app.order in SORTS:
            models.sort(key=SORTS[self.own_app.order])
        return models

    def _cells(self, entry: Known) -> tuple[str, ...]:
        mark = "● " if entry.name in self._marked else ""
        model = entry if entry.on else replace(entry, on=self._on.get(entry.name, ""))
        return (f"{mark}{model.cells[0]}", *model.cells[1:])

    def action_mark(self) -> None:
        """Mark the model under the cursor for comparing, or take the mark off."""
        model_name = self.query_one(KeyTable).current
        if model_name in self._marked:
            del self._marked[model_name]
        elif model_name is not None and len(self._marked) < MOST:
            self._marked[model_name] = None
        self._show()
        self.refresh_bindings()

    def action_pin(self) -> None:
        """Keep the model under the cursor on top, or no longer."""
        model_name = self.query_one(KeyTable).current
        if model_name is not None:
            self.own_app.keep_state(self.own_app.state.turned(model_name))
            self._read()

    def action_sort(self) -> None:
        """Turn to the next order."""
        orders = ["", *SORTS]
        self.own_app.order = orders[(orders.index(self.own_app.order) + 1) % len(orders)]
        self._show(top=True)

    def action_compare(self) -> None:
        from whichgpu.tui.app.compare import CompareScreen

        self.app.push_screen(CompareScreen(list(self._marked)))

    def action_folder(self) -> None:
        """Open a folder or file of this machine."""
        from whichgpu.tui.app.folders import FolderScreen

        self.app.push_screen(FolderScreen())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A slash or q in the filter is one; comparing needs two; a browser sees no folders."""
        if action in ("filter", "leave"):
            return not (self.is_mounted and self.query_one(Input).has_focus)
        if action == "compare":
            return len(self._marked) >= 2
        return self.own_app.local if action == "folder" else super().check_action(action, parameters)

    def action_filter(self) -> None:
        field = self.query_one(Input)
        field.select_on_focus = True
        self.set_focus(field)

    def action_leave(self) -> None:
        """Quit by the second ``q``: the first is typed, as it may begin a name."""
        self._leaving = True
        self._type("q", anew=True)
        self.query_one("#hint", Static).update("q again quits, Escape clears; or go on typing a name")

    def on_paste(self, event: Paste) -> None:
        """What is pasted outside of the line goes into it, instead of what is there."""
        event.stop()
        if words := event.text.split()[:_WORDS]:
            self._type(clean(" ".join(words)), anew=True)

    def on_key(self, event: Key) -> None:
        """A letter that is no key of the list begins a filter."""
        bound = event.key in self.active_bindings or event.key in self._bindings.key_to_bindings
        if event.is_printable and event.character is not None and not bound and not self.query_one(Input).has_focus:
            event.stop()
            self._type(event.character)

    def _type(self, text: str, anew: bool = False) -> None:
        field = self.query_one(Input)
        field.select_on_focus = False  # what is typed next goes behind it
        self.set_focus(field)
        field.value = text if anew else field.value + text
        field.cursor_position = len(field.value)

    def action_back(self) -> None:
        """Escape leaves the filter; once more clears it."""
        field = self.query_one(Input)
        if field.has_focus:
            self.set_focus(self.query_one(KeyTable))
        else:
            field.value = ""

    def on_input_submitted(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        named = next((k.name for k in self._models if k.name.lower() == text.lower()), None)
        if named is not None:
            self._open(named)
        elif "/" in text and " " not in text and ":" not in text.replace("://", ""):
            self.own_app.open_model(text)
        else:
            self.action_open()

    def on_data_table_row_selected(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        model_name = self.query_one(KeyTable).current
        if model_name is not None:
            self._open(model_name)

    def _open(self, name: str) -> None:
        """A model that was read from a folder is opened there; a filter that was just typed is remembered too."""
        self._remember(self.query_one(Input).value.strip())
        model = next((k for k in (*self._models, *self._asked) if k.name == name), None)
        self.own_app.open_model(model.path if model is not None and model.path is not None else name)
