"""Browse: one list over recent models, the catalog, the atlas and the Hub; what is typed filters it or is opened."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Footer, Input, Static

from whichgpu.tui.app.knowledge import Known, matching
from whichgpu.tui.app.table import TOO_SMALL, KeyTable

_SHOWN = 500
MOST = 6
"""Models that are compared at once."""

_PATIENCE = 0.4
"""Seconds without a key before the Hub is asked."""


class Browse(Screen[None]):
    """The home screen."""

    HELP = (
        "/ filters as you type; Enter opens the model under the cursor, or the id or URL that you typed. space marks models"
        " (up to six), c compares them."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="browse.filter"),
        Binding("enter", "open", "Open", id="browse.open"),
        Binding("escape", "leave_filter", "List", show=False, id="browse.list"),
        Binding("space", "mark", "Mark", id="browse.mark"),
        Binding("c", "compare", "Compare", id="browse.compare"),
        Binding("a", "app.catalog", "Catalog", id="browse.catalog"),
        Binding("s", "app.silicon", "Silicon", id="browse.silicon"),
        Binding("question_mark", "app.help", "Help", id="app.help"),
        Binding("q", "app.quit", "Quit", id="app.quit"),
    ]

    class Listed(Message):
        """What is known without a network was read."""

        def __init__(self, models: list[Known]) -> None:
            super().__init__()
            self.models = models

    class Found(Message):
        """The Hub answered a search, or could not."""

        def __init__(self, words: str, names: list[str], trouble: str | None = None) -> None:
            super().__init__()
            self.words, self.names, self.trouble = words, names, trouble

    def __init__(self) -> None:
        super().__init__()
        self._models: list[Known] = []
        self._hub: list[Known] = []
        self._waiting: Timer | None = None
        self._trouble = ""
        self._marked: dict[str, None] = {}

    def compose(self) -> ComposeResult:
        yield Static("whichgpu  reading what is known…", id="title", markup=False)
        yield Input(placeholder="filter, or an id or URL to open", id="filter")
        with Vertical():
            yield KeyTable(("model", "what", "size", "context", "from"), right=(2, 3), id="models")
        yield Static(TOO_SMALL, id="small", markup=False)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(KeyTable).focus()
        self._read()

    def on_screen_resume(self) -> None:
        if self._models:
            self._read()

    @work(thread=True, exclusive=True, group="local")
    def _read(self) -> None:
        from whichgpu.tui.app.knowledge import local_models

        self.post_message(self.Listed(local_models(self.app.state.recent)))  # type: ignore[attr-defined]

    def on_browse_listed(self, message: Listed) -> None:
        self._models = message.models
        self._show()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._show(top=True)
        if self._waiting is not None:
            self._waiting.stop()
        words = event.value.strip()
        self._hub = []
        if len(words) >= 3 and not self.app.offline:  # type: ignore[attr-defined]
            self._waiting = self.set_timer(_PATIENCE, lambda: self._ask_hub(words))

    @work(thread=True, exclusive=True, group="hub")
    def _ask_hub(self, words: str) -> None:
        from whichgpu.inspect.errors import NetworkError
        from whichgpu.inspect.sources.hub_search import search_hub

        try:
            self.post_message(self.Found(words, search_hub(words)))
        except NetworkError:
            self.post_message(self.Found(words, [], "offline: atlas and catalog"))

    def on_browse_found(self, message: Found) -> None:
        if message.words != self.query_one(Input).value.strip():
            return  # a newer search is under way
        known = {m.name.lower() for m in self._models}
        self._hub = [Known(n, "", "", "", "Hub") for n in message.names if n.lower() not in known]
        self._trouble = message.trouble or ""
        self._show()

    def _show(self, top: bool = False) -> None:
        text = self.query_one(Input).value.strip()
        found = matching([*self._models, *self._hub], text) if text else list(self._models)
        found += [k for k in self._hub if k not in found]
        self.query_one(KeyTable).show_rows([(k.name, self._cells(k)) for k in found[:_SHOWN]], top)
        shown = f"{len(found):,} of {len(self._models) + len(self._hub):,} models" if text else f"{len(found):,} models"
        more = f", the first {_SHOWN} shown" if len(found) > _SHOWN else ""
        words = [
            f"whichgpu  {shown}{more}",
            *([f"{len(self._marked)} marked"] if self._marked else []),
            *([f"filter “{text}”"] if text else []),
            *([self._trouble] if self._trouble else []),
        ]
        self.query_one("#title", Static).update("  ·  ".join(words))

    def _cells(self, known: Known) -> tuple[str, ...]:
        mark = "● " if known.name in self._marked else ""
        return (f"{mark}{known.cells[0]}", *known.cells[1:])

    def action_mark(self) -> None:
        """Mark the model under the cursor for comparing, or take the mark off."""
        chosen = self.query_one(KeyTable).current
        if chosen in self._marked:
            del self._marked[chosen]
        elif chosen is not None and len(self._marked) < MOST:
            self._marked[chosen] = None
        self._show()
        self.refresh_bindings()

    def action_compare(self) -> None:
        from whichgpu.tui.app.compare import CompareScreen

        self.app.push_screen(CompareScreen(list(self._marked)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Comparing needs two."""
        return None if action == "compare" and len(self._marked) < 2 else True

    def action_filter(self) -> None:
        self.query_one(Input).focus()

    def action_leave_filter(self) -> None:
        """Escape leaves the filter; once more clears it."""
        field = self.query_one(Input)
        if field.has_focus:
            self.query_one(KeyTable).focus()
        else:
            field.value = ""

    def on_input_submitted(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        if "/" in text and not any(k.name.lower() == text.lower() for k in self._models):
            self.app.open_model(text)  # type: ignore[attr-defined]
            return
        self.action_open()

    def on_data_table_row_selected(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        chosen = self.query_one(KeyTable).current
        if chosen is not None:
            self.app.open_model(chosen)  # type: ignore[attr-defined]
