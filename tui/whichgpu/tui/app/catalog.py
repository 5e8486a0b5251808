"""Catalog: what was found before, searched by words and fields; notes and tags on the model under the cursor."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from whichgpu.catalog import upkeep
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.query import FIELDS, Row, search
from whichgpu.catalog.records import Finding, note_finding, tag_finding
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.text import clean
from whichgpu.tui.answering import catalog_path, stamp
from whichgpu.tui.app.table import TOO_SMALL, KeyTable
from whichgpu.tui.units import NOTHING, dollars, parameters

_SHOWN = 500


class CatalogScreen(Screen[None]):
    """Findings of everyone who shares this catalog."""

    HELP = f"/ searches by words and fields: {', '.join(FIELDS)} (class:moe params:>100B). n notes, + tags, - takes a tag off."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", id="catalog.back"),
        Binding("slash", "ask('search')", "Search", id="catalog.search"),
        Binding("n", "ask('note')", "Note", id="catalog.note"),
        Binding("plus", "ask('tag')", "Tag", id="catalog.tag", key_display="+"),
        Binding("minus", "ask('untag')", "Untag", show=False, id="catalog.untag", key_display="-"),
        Binding("enter", "open", "Open", show=False, id="catalog.open"),
        Binding("question_mark", "app.help", "Help", id="app.help"),
        Binding("q", "app.quit", "Quit", show=False, id="app.quit"),
    ]

    class Found(Message):
        """A search ended, with the notes and tags of its models, or could not be done."""

        def __init__(self, rows: list[Row], trouble: str | None) -> None:
            super().__init__()
            self.rows, self.trouble = rows, trouble

    class Noted(Message):
        """The notes on a model were read."""

        def __init__(self, model: str, notes: list[dict[str, str]]) -> None:
            super().__init__()
            self.model, self.notes = model, notes

    def __init__(self) -> None:
        super().__init__()
        self._store = Catalog(catalog_path(None))
        self._query, self._asking = "", "search"
        self._rows: dict[str, Row] = {}

    def compose(self) -> ComposeResult:
        yield Static("Catalog", id="title", markup=False)
        yield Input(id="filter", placeholder="words and fields, for example class:moe gpu:h200")
        yield KeyTable(("model", "what", "size", "on", "$/h", "$/Mtok", "tags"), right=(2, 4, 5), id="models")
        yield Static("", id="below", markup=False)
        yield Static(TOO_SMALL, id="small", markup=False)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(KeyTable).focus()
        self._search()

    @work(thread=True, exclusive=True, group="catalog")
    def _search(self) -> None:
        try:
            self.post_message(self.Found(search(self._store, self._query, limit=_SHOWN), None))
        except CatalogError as error:
            self.post_message(self.Found([], f"{error.message} {error.hint}".strip()))

    def on_catalog_screen_found(self, message: Found) -> None:
        self._rows = {r.model: r for r in message.rows}
        asked = f"  ·  “{self._query}”" if self._query else ""
        said = f"  ·  {message.trouble}" if message.trouble else ""
        self.query_one("#title", Static).update(f"Catalog  {len(message.rows):,} models{asked}{said}")
        self.query_one(KeyTable).show_rows([(r.model, _cells(r)) for r in message.rows])

    @work(thread=True)
    def _keep(self, finding: Finding) -> None:
        try:
            self._store.add(finding)
        except CatalogError as error:
            self.post_message(self.Found(list(self._rows.values()), error.message))
            return
        self._search()

    def action_ask(self, what: str) -> None:
        """Ask for words in the line at the top."""
        field = self.query_one(Input)
        self._asking = what
        field.value = self._query if what == "search" else ""
        field.placeholder = {"search": "words and fields", "note": "a note; empty takes yours back"}.get(
            what, "one word"
        )
        field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        text, model = event.value.strip(), self.query_one(KeyTable).current
        self.query_one(KeyTable).focus()
        if self._asking == "search":
            self._query = text
            self._search()
        elif model is not None and self._asking == "note":
            self._keep(note_finding(model, text, stamp()))
        elif model is not None and text and not any(c.isspace() for c in text):
            self._keep(tag_finding(model, text, self._asking == "tag", stamp()))

    def on_data_table_row_highlighted(self) -> None:
        model = self.query_one(KeyTable).current
        if model is not None:
            self._read_notes(model)

    @work(thread=True, exclusive=True, group="notes")
    def _read_notes(self, model: str) -> None:
        with suppress(CatalogError):  # the search has said what is wrong
            self.post_message(self.Noted(model, upkeep.notes(self._store, model)))

    def on_catalog_screen_noted(self, message: Noted) -> None:
        if message.model == self.query_one(KeyTable).current:
            lines = [f"{n['at'][:10]} {n['by']}: {clean(n['text'], 300)}" for n in message.notes[-4:]]
            self.query_one("#below", Static).update("\n".join(lines))

    def on_data_table_row_selected(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        model = self.query_one(KeyTable).current
        if model is not None:
            self.app.open_model(model)  # type: ignore[attr-defined]

    def action_leave(self) -> None:
        """Escape leaves the line first, then the screen."""
        if self.query_one(Input).has_focus:
            self.query_one(KeyTable).focus()
        else:
            self.app.pop_screen()


def _cells(row: Row) -> tuple[str, ...]:
    cards = f"{row.cards} × {(row.accelerator or '').upper().replace('_', ' ')}" if row.accelerator else NOTHING
    return (
        clean(row.model, 200),
        clean((row.label or "?").replace("multimodal", "mm"), 16),
        parameters(row.parameters),
        cards,
        dollars(row.usd_per_hour),
        dollars(row.usd_per_million_output),
        clean(row.tags or "", 20),
    )
