"""Catalog: what was found before, searched by words and fields; notes, tags, history and differences of each model."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from whichgpu.catalog import upkeep
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.query import FIELDS, SORTS, Row, search
from whichgpu.catalog.records import Finding, note_finding, tag_finding
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.errors import UsageError
from whichgpu.inspect.text import clean
from whichgpu.tui.app.page import Export, Page
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.app.widgets import Line
from whichgpu.tui.app.words import Words
from whichgpu.tui.desk.annotating import annotate, tag_word
from whichgpu.tui.desk.answering import stamp
from whichgpu.tui.words.catalog_words import diff_text, history_text, status_text
from whichgpu.tui.words.units import NOTHING, dollars, parameters, sign

_PAGE = 300
"""Rows that are read at once; the next come when the cursor gets near the end."""
_NEAR = 30


class CatalogScreen(Page):
    """Findings of everyone who shares this catalog."""

    HELP = (
        f"/ searches by words and fields (class:moe params:>100B): {', '.join(FIELDS)}. "
        "n notes, + tags, - takes a tag off, h is the model's history, d what changed between its two newest readings, "
        "i what the file holds and where it is shared, o the order."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        # Of priority, so that what is typed or pasted right behind it goes into the line.
        Binding("slash", "ask('search')", "Search", id="catalog.search", key_display="/", priority=True),
        Binding("enter", "open", "Open", id="catalog.open"),
        Binding("n", "ask('note')", "Note", id="catalog.note"),
        Binding("plus", "ask('tag')", "Tag", id="catalog.tag", key_display="+"),
        Binding("minus", "ask('untag')", "Untag", show=False, id="catalog.untag", key_display="-"),
        Binding("h", "tell('history')", "History", id="catalog.history"),
        Binding("d", "tell('diff')", "Diff", id="catalog.diff"),
        Binding("i", "tell('status')", "File", id="catalog.status"),
        Binding("o", "sort", "Order", show=False, id="catalog.order"),
    ]

    class Found(Message):
        """A page of a search was read, or could not be."""

        def __init__(self, query: str, offset: int, rows: list[Row], trouble: str | None) -> None:
            super().__init__()
            self.query, self.offset, self.rows, self.trouble = query, offset, rows, trouble

    class Noted(Message):
        """The notes on a model were read."""

        def __init__(self, model: str, notes: list[dict[str, str]]) -> None:
            super().__init__()
            self.model, self.notes = model, notes

    class Told(Message):
        """A history, a difference or the status was read, or could not be."""

        def __init__(self, title: str, text: str) -> None:
            super().__init__()
            self.title, self.text = title, text

    def __init__(self) -> None:
        super().__init__()
        self._query, self._asking, self._order = "", "search", next(iter(SORTS))
        self._rows: dict[str, Row] = {}
        self._whole = True

    @property
    def _store(self) -> Catalog:
        return self.own_app.desk.store

    def body(self) -> Iterable[Widget]:
        yield Line(id="filter", placeholder="words and fields, for example class:moe gpu:h200")
        yield KeyTable(_headers, right=(2, 4, 5), wide_only=(6, 7), id="models")
        yield Static("", id="below", markup=False)

    def on_mount(self) -> None:
        self.say("Catalog", "reading…")
        self.set_focus(self.query_one(KeyTable))
        self._search(0)

    @work(thread=True, exclusive=True, group="catalog")
    def _search(self, offset: int) -> None:
        query = self._query
        try:
            rows = search(self._store, query, self._order, _PAGE, offset)
            self.report(self.Found(query, offset, rows, None))
        except CatalogError as error:
            trouble = f"{error.message} {error.hint}".strip() if self.own_app.local else "The catalog can't be read."
            self.report(self.Found(query, 0, [], trouble))

    def on_catalog_screen_found(self, message: Found) -> None:
        if message.query != self._query:
            return
        cells = [(r.model, _cells(r)) for r in message.rows]
        if message.offset:
            self._rows |= {r.model: r for r in message.rows}
            self.query_one(KeyTable).show_more(cells)
        else:
            self._rows = {r.model: r for r in message.rows}
            self.query_one(KeyTable).show_rows(cells)
        self._whole = len(message.rows) < _PAGE
        more = "" if self._whole else "+"
        query_text = f"“{self._query}”" if self._query else ""
        remark = message.trouble or (
            "" if self._rows or query_text else "empty: every model that you open is kept here"
        )
        self.say(f"Catalog  {len(self._rows):,}{more} models", query_text, f"by {self._order}", remark)
        self.refresh_bindings()

    @work(thread=True)
    def _keep(self, finding: Finding) -> None:
        try:
            annotate(self._store, finding)
        except CatalogError as error:
            self.report(self.Found(self._query, 0, list(self._rows.values()), error.message))
            return
        self._search(0)

    def action_ask(self, what: str) -> None:
        """Ask for words in the line at the top."""
        field = self.query_one(Input)
        self._asking = what
        field.value = self._query if what == "search" else ""
        texts = {"search": "words and fields", "note": "a note; empty takes yours back"}
        field.placeholder = texts.get(what, "one word")
        self.set_focus(field)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        text, model = event.value.strip(), self.query_one(KeyTable).current
        self.set_focus(self.query_one(KeyTable))
        if self._asking == "search":
            self._query = text
            self._search(0)
        elif model is not None and self._asking == "note":
            self._keep(note_finding(model, text, stamp()))
        elif model is not None and text:
            try:
                self._keep(tag_finding(model, tag_word(text), self._asking == "tag", stamp()))
            except UsageError as error:
                self.notify(error.message, severity="error", markup=False)

    def action_sort(self) -> None:
        """Turn to the next order."""
        orders = list(SORTS)
        self._order = orders[(orders.index(self._order) + 1) % len(orders)]
        self._search(0)

    def on_data_table_row_highlighted(self) -> None:
        table = self.query_one(KeyTable)
        if table.current is not None:
            self._read_notes(table.current)
        if not self._whole and table.cursor_row >= table.row_count - _NEAR:
            self._whole = True  # until the page is there
            self._search(table.row_count)

    @work(thread=True, exclusive=True, group="notes")
    def _read_notes(self, model: str) -> None:
        with suppress(CatalogError):  # the search has said what is wrong
            self.report(self.Noted(model, upkeep.notes(self._store, model)))

    def on_catalog_screen_noted(self, message: Noted) -> None:
        if message.model == self.query_one(KeyTable).current:
            lines = [f"{clean(n['at'], 10)} {clean(n['by'], 40)}: {clean(n['text'], 300)}" for n in message.notes[-4:]]
            self.query_one("#below", Static).update("\n".join(lines))

    def action_tell(self, what: str) -> None:
        """History or difference of the model under the cursor, or the file's status."""
        self._tell(what, self.query_one(KeyTable).current or "")

    @work(thread=True, exclusive=True, group="tell")
    def _tell(self, what: str, model: str) -> None:
        tellers: dict[str, tuple[str, Callable[[], str]]] = {
            "history": (f"History of {clean(model)}", lambda: history_text(self._store, model)),
            "diff": (f"The two newest readings of {clean(model)}", lambda: diff_text(self._store, model, None)),
            "status": ("The catalog", lambda: status_text(self._store, upkeep.status(self._store))),
        }
        title, teller = tellers[what]
        try:
            self.report(self.Told(title, teller()))
        except CatalogError as error:
            self.report(self.Told(title, f"{error.message} {error.hint}".strip()))

    def show_anew(self) -> None:
        self.query_one(KeyTable).show_rows([(r.model, _cells(r)) for r in self._rows.values()])

    def on_catalog_screen_told(self, message: Told) -> None:
        self.app.push_screen(Words(message.title, message.text))

    def on_data_table_row_selected(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        row = self._rows.get(self.query_one(KeyTable).current or "")
        if row is not None:
            self.own_app.open_model(row.local_path or row.model)

    def action_back(self) -> None:
        """Escape leaves the line first, then the screen."""
        if self.query_one(Input).has_focus:
            self.set_focus(self.query_one(KeyTable))
        else:
            super().action_back()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is done to a model needs one; a browser is not told where the file is."""
        if parameters == ("search",):
            return not (self.is_mounted and self.query_one(Input).has_focus)
        if parameters == ("status",):
            return self.own_app.local
        if action in ("open", "tell") or parameters in (("note",), ("tag",), ("untag",)):
            return bool(self._rows)
        return super().check_action(action, parameters)

    def one_shot(self) -> str | None:
        words = shlex.join(["whichgpu", "catalog", *(["search", self._query] if self._query else ["list"])])
        return f"{words} --sort {self._order}" if self._order != next(iter(SORTS)) else words

    def export(self) -> Export | None:
        if not self._rows:
            return None
        rows = tuple(self._rows.values())
        return Export("catalog.jsonl", lambda: "\n".join(r.model_dump_json() for r in rows) + "\n")


def _headers() -> tuple[str, ...]:
    return "model", "what", "size", "on", f"{sign()}/h", f"{sign()}/Mtok", "licence", "read", "tags"


def _cells(row: Row) -> tuple[str, ...]:
    cards = f"{row.cards} × {(row.accelerator or '').upper().replace('_', ' ')}" if row.accelerator else NOTHING
    return (
        clean(row.model, 200),
        clean((row.label or "?").replace("multimodal", "mm"), 16),
        parameters(row.parameters),
        cards,
        dollars(row.usd_per_hour),
        dollars(row.usd_per_million_output),
        clean(row.licence or "", 16),
        (row.made_at or "")[:10],
        clean(row.tags or "", 20),
    )
