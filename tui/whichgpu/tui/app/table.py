"""A table with vi's keys beside the arrows, right-aligned numbers, and a mark where a cell is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

TOO_SMALL = "whichgpu needs 60 columns; this terminal has fewer. Make it wider; q quits."
"""Shown in place of everything else."""


class KeyTable(DataTable[Text]):
    """Rows by key; changed in place where only cells differ, so that little goes over a slow line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False, id="table.down"),
        Binding("k", "cursor_up", "Up", show=False, id="table.up"),
        Binding("g,home", "scroll_top", "First", show=False, id="table.first"),
        Binding("G,end", "scroll_bottom", "Last", show=False, id="table.last"),
    ]

    def __init__(self, headers: Sequence[str], right: Sequence[int] = (), **options: Any) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False, **options)
        self._headers, self._right = tuple(headers), frozenset(right)
        self._shown: dict[str, tuple[str, ...]] = {}
        self._rows_given: list[tuple[str, Sequence[str]]] = []

    def on_mount(self) -> None:
        for header in self._headers:
            self.add_column(header, key=header)

    def on_resize(self) -> None:
        """What the first column may take changes with the width."""
        if self._rows_given:
            self.show_rows(self._rows_given)

    @property
    def current(self) -> str | None:
        """Key of the row under the cursor."""
        if not self.row_count or not 0 <= self.cursor_row < self.row_count:
            return None
        return self.coordinate_to_cell_key((self.cursor_row, 0)).row_key.value  # type: ignore[arg-type]

    def show_rows(self, rows: Sequence[tuple[str, Sequence[str]]], top: bool = False) -> None:
        """Show rows by key; the same keys in the same order change cells alone. The cursor stays on its key, or goes to the
        first row with ``top``."""
        self._rows_given = list(rows)
        room = self._room(rows)
        wanted = {key: (_cut(cells[0], room), *cells[1:]) for key, cells in rows}
        changed = [key for key, cells in wanted.items() if self._shown.get(key) != cells]
        if list(wanted) == list(self._shown) and len(changed) <= _FEW:
            for key in changed:
                for header, cell, before in zip(self._headers, wanted[key], self._shown[key], strict=True):
                    if cell != before:
                        self.update_cell(key, header, self._cell(header, cell), update_width=True)
        else:
            self._rebuild(wanted, top)
        self._shown = wanted

    def _rebuild(self, wanted: Mapping[str, tuple[str, ...]], top: bool) -> None:
        at = None if top or self.cursor_row == 0 else self.current  # whoever hasn't moved stays at the best
        self.clear()
        for key, cells in wanted.items():
            self.add_row(*(self._cell(h, c) for h, c in zip(self._headers, cells, strict=True)), key=key)
        for at_column, column in enumerate(self.ordered_columns):  # Textual's own measuring sometimes misses rows
            column.content_width = max([column.content_width, *(cell_len(c[at_column]) for c in wanted.values())])
        if at is not None and at in wanted:
            self.move_cursor(row=list(wanted).index(at))

    def _room(self, rows: Sequence[tuple[str, Sequence[str]]]) -> int:
        """Cells that the others leave to the first column, so that nothing is pushed off the screen."""
        others = range(1, len(self._headers))
        widths = [max([len(self._headers[i]), *(len(cells[i]) for _, cells in rows)]) for i in others]
        return max(_LEAST, self.size.width - sum(w + 2 for w in widths) - 4) if self.size.width else 200

    def _cell(self, header: str, text: str) -> Text:
        """Plain text: nothing from outside is markup."""
        style = _STYLES.get(text.split(" ", 1)[0], "")
        return Text(text, style=style, justify="right" if self._headers.index(header) in self._right else "left")


def _cut(text: str, room: int) -> str:
    """Cut in front, since names differ at their ends."""
    return text if len(text) <= room else "…" + text[len(text) - room + 1 :]


_LEAST = 12
_FEW = 60
"""Rows up to which changing cells one by one is quicker than drawing the table anew: each measures its column."""

_STYLES = {"✓": "green", "!": "yellow", "✗": "red", "?": "magenta", "+": "green", "x": "red"}
"""Verdicts are glyph, word and colour."""
