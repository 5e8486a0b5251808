"""A table with vi's keys beside the arrows, right-aligned numbers, columns by width, and a mark where a cell is cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable

Rows = Sequence[tuple[str, Sequence[str]]]
"""(key, cells)."""
Headers = Callable[[], Sequence[str]]
"""Labels of the columns, asked for whenever rows are shown: a unit or currency in them may change."""

_WIDE = 112
"""Width of a table from which everything is shown."""
_LEAST = 12
_AHEAD = 60
"""Rows that are added at once: more than any screen shows."""
_FEW = 60
"""Rows up to which changing cells one by one is quicker than drawing the table anew: each measures its column."""

_MARKS = ("● ", "★ ", "  ")

_STYLES = {"✓": "green", "!": "yellow", "✗": "red", "★": "bold green", "?": "magenta", "+": "green", "x": "red"}
"""Verdicts are glyph, word and colour."""


class KeyTable(DataTable[Text]):
    """Rows by key; changed in place where only cells differ, so that little goes over a slow line.

    ``wide_only`` are the columns that a narrow table leaves out, ``least`` the cells that columns have even when what
    will come isn't there yet, so that nothing moves when it comes.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False, id="table.down"),
        Binding("k", "cursor_up", "Up", show=False, id="table.up"),
        Binding("g,home", "scroll_top", "First", show=False, id="table.first"),
        Binding("G,end", "scroll_bottom", "Last", show=False, id="table.last"),
    ]

    def __init__(
        self,
        headers: Sequence[str] | Headers,
        right: Sequence[int] = (),
        wide_only: Sequence[int] = (),
        least: Mapping[int, int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False, **options)
        self._asked_headers = headers if callable(headers) else lambda: headers
        self._headers, self._right, self._wide_only = (
            tuple(self._asked_headers()),
            frozenset(right),
            frozenset(wide_only),
        )
        self._least = dict(least or {})
        self._columns_shown: tuple[int, ...] = ()
        self._shown: dict[str, tuple[str, ...]] = {}
        self._rows_given: Rows = ()
        self._faint: AbstractSet[str] = frozenset()
        self._adding = False
        self._kept: str | None = None
        """Where the cursor was before the columns were taken away."""

    def on_mount(self) -> None:
        self._set_columns()

    def on_resize(self) -> None:
        """What is shown, and what the first column may take, changes with the width."""
        if self._set_columns() or self._rows_given:
            self.show_rows(self._rows_given)

    @property
    def current(self) -> str | None:
        """Key of the row under the cursor."""
        if not self.row_count or not 0 <= self.cursor_row < self.row_count:
            return None
        return self.coordinate_to_cell_key((self.cursor_row, 0)).row_key.value  # type: ignore[arg-type]

    @property
    def columns_shown(self) -> tuple[int, ...]:
        """Numbers of the columns that there is room for."""
        return self._columns_shown

    def move_to(self, key: str) -> None:
        """Put the cursor on a row."""
        if key in self._shown:
            at = list(self._shown).index(key)
            self._add(at + _AHEAD)
            self.move_cursor(row=at)

    def show_rows(self, rows: Rows, top: bool = False, faint: AbstractSet[str] | None = None) -> None:
        """Show rows by key; the same keys in the same order change cells alone. The cursor stays on its key, or goes to the
        first row with ``top``. Rows far below the screen are added when the cursor comes near them. ``faint`` are keys of rows
        that are dim."""
        self._rows_given = rows
        dimmed_anew = faint is not None and faint != self._faint
        self._faint = faint if faint is not None else self._faint
        self._name_columns()
        cells_by_key = self._cells_by_key(rows)
        there = list(self._shown)[: self.row_count]
        changed = [key for key in there if cells_by_key.get(key) != self._shown[key]]
        same = (
            len(cells_by_key) == len(self._shown) and len(changed) <= _FEW and list(cells_by_key) == list(self._shown)
        )
        if not dimmed_anew and same and all(self._holds(cells_by_key[key]) for key in changed):
            for key in changed:
                for at, cell, before in zip(self._columns_shown, cells_by_key[key], self._shown[key], strict=True):
                    if cell != before:
                        self.update_cell(key, str(at), self._cell(at, cell, key), update_width=False)
            self._shown = cells_by_key
        else:
            self._rebuild(cells_by_key, top)

    def show_more(self, rows: Rows) -> None:
        """Put rows at the end."""
        added = [(key, cells) for key, cells in rows if key not in self._shown]
        self._rows_given = [*self._rows_given, *added]
        self._shown = self._shown | self._cells_by_key(added)
        self._add_near()

    def show_cells(self, rows: Mapping[str, Sequence[str]]) -> None:
        """Change the cells of some rows."""
        self.show_rows([(key, rows.get(key, cells)) for key, cells in self._rows_given])

    def watch_cursor_coordinate(self, before: Coordinate, after: Coordinate) -> None:
        """Rows come before the cursor reaches them."""
        super().watch_cursor_coordinate(before, after)
        self._add_near()

    def watch_scroll_y(self, before: float, after: float) -> None:
        """And before a wheel does."""
        super().watch_scroll_y(before, after)
        self._add_near()

    def action_scroll_bottom(self) -> None:
        """The last of all rows."""
        self._add(len(self._shown))
        super().action_scroll_bottom()

    @property
    def keys_in_view(self) -> list[str]:
        """Keys of the rows that are on the screen now."""
        first = max(0, int(self.scroll_y))
        return list(self._shown)[first : first + max(1, self.size.height)]

    @property
    def _width(self) -> int:
        """Cells across; before the first layout the whole screen's, so that rows are there for the first paint."""
        return self.size.width or self.app.size.width

    def _set_columns(self) -> bool:
        """Choose the columns by the width; True when they changed."""
        wide = self._width >= _WIDE
        columns = tuple(i for i in range(len(self._headers)) if wide or i not in self._wide_only)
        if columns == self._columns_shown:
            return False
        self._kept = self.current if self.cursor_row else None
        self._shown, self._columns_shown = {}, columns
        self.clear(columns=True)
        for at in columns:
            self.add_column(self._headers[at], key=str(at))
        return True

    def _name_columns(self) -> None:
        """Take up labels that have changed."""
        if self._headers != (headers := tuple(self._asked_headers())):
            self._headers, self._columns_shown = headers, ()
            self._set_columns()

    def _cells_by_key(self, rows: Rows) -> dict[str, tuple[str, ...]]:
        columns = self._columns_shown
        room = self._room(rows)
        return {key: (_cut(cells[0], room), *(cells[i] for i in columns[1:])) for key, cells in rows}

    def _rebuild(self, cells_by_key: dict[str, tuple[str, ...]], top: bool) -> None:
        at = self._kept or (self.current if self.cursor_row else None)  # whoever hasn't moved stays at the best
        at, self._kept = None if top else at, None
        self._shown = {}  # nothing is added to what is being taken away
        self.clear()
        self._shown = cells_by_key
        for number, column in zip(self._columns_shown, self.ordered_columns, strict=True):
            column.content_width = max(cell_len(column.label.plain), self._least.get(number, 0))
        row = list(cells_by_key).index(at) if at is not None and at in cells_by_key else 0
        self._add(row + _AHEAD)
        if row:
            self.move_cursor(row=row)

    def _holds(self, cells: Sequence[str]) -> bool:
        """True where no cell is wider than its column is drawn."""
        return all(cell_len(c) <= column.content_width for c, column in zip(cells, self.ordered_columns, strict=True))

    def _add_near(self) -> None:
        """Add rows when the cursor or the screen gets near the last one."""
        if self._adding:
            return  # adding a row moves the cursor, as the table sees it
        reached = max(self.cursor_row, int(self.scroll_y) + self.size.height)
        if self.row_count < len(self._shown) and reached > self.row_count - _AHEAD // 2:
            self._add(self.row_count + _AHEAD)

    def _add(self, count: int) -> None:
        """Add rows until there are so many."""
        new = list(self._shown.items())[self.row_count : count]
        self._adding = True
        for key, cells in new:
            self.add_row(*(self._cell(i, c, key) for i, c in zip(self._columns_shown, cells, strict=True)), key=key)
        self._adding = False
        for number, column in enumerate(self.ordered_columns):  # Textual's own measuring sometimes misses rows
            column.content_width = max([column.content_width, *(cell_len(c[number]) for _, c in new)])

    def _room(self, rows: Rows) -> int:
        """Cells that the others leave to the first column, so that nothing is pushed off the screen."""
        others = self._columns_shown[1:]
        widths = [
            max([len(self._headers[i]), self._least.get(i, 0), *(len(cells[i]) for _, cells in rows)]) for i in others
        ]
        return max(_LEAST, self._width - sum(w + 2 for w in widths) - 4)

    def _cell(self, at: int, text: str, key: str) -> Text:
        """Plain text: nothing from outside is markup."""
        style = _STYLES.get(text.split(" ", 1)[0], "dim" if key in self._faint else "")
        return Text(text, style=style, justify="right" if at in self._right else "left")


def _cut(text: str, room: int) -> str:
    """Cut in front, since names differ at their ends; a mark stays."""
    if len(text) <= room:
        return text
    mark = next((m for m in _MARKS if text.startswith(m)), "")
    return f"{mark}…{text[len(text) - room + 1 + len(mark) :]}"
