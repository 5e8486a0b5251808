"""The frontier: dollars an hour against the time of a token, a dot for every card, with the cursor of the table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.message import Message
from textual_plotext import PlotextPlot

from whichgpu.inspect.text import clean
from whichgpu.plan.records import Answer, Plan, Verdict, Workload
from whichgpu.tui.words.plans import short_name
from whichgpu.tui.words.units import converted, dollars, sign


class Standing(StrEnum):
    """What a dot is: a glyph for each, so that a picture without colours says the same."""

    BEATEN = "○"
    TIGHT = "~"
    FRONT = "★"


_CURSOR, _LINE, _LIMIT_DOWN, _LIMIT_ACROSS = "◆", "·", "┆", "╌"
_STYLES = {_CURSOR: "bold reverse", Standing.FRONT: "bold green", Standing.TIGHT: "yellow", Standing.BEATEN: "dim"}
_TICKS = (1, 1.5, 2, 3, 5, 7)
_NEAR = 6
"""Cells from a click within which a dot is meant."""
_LEAST = 20
"""Cells across below which there is no picture."""
_ROOM = 0.06
"""Share of an axis that is left free on either side."""


class Dot(NamedTuple):
    """A card in the picture."""

    key: str
    name: str
    cost: float
    """US dollars an hour, of all replicas."""
    ms: float
    """Milliseconds per token, expected."""
    standing: Standing


def dots(answer: Answer) -> list[Dot]:
    """Return the plans at the asked precision that have a price and a speed, those that nothing beats last, and so on top."""
    front = {answer.plans[i].accelerator for i in answer.front}
    found = []
    for plan in answer.plans:
        cost, speed = plan.total_usd_per_hour, plan.speed
        if plan.precision is not answer.workload.precision or not cost or speed is None or plan.verdict is Verdict.NO:
            continue
        found.append(Dot(plan.accelerator, short_name(plan), cost, speed.tpot_ms.expected, _standing(plan, front)))
    return sorted(found, key=lambda d: d.standing is Standing.FRONT)


def _standing(plan: Plan, front: Iterable[str]) -> Standing:
    if plan.accelerator in front:
        return Standing.FRONT
    return Standing.BEATEN if plan.verdict is Verdict.FITS else Standing.TIGHT


class Axis(NamedTuple):
    """A logarithmic axis, in powers of ten."""

    low: float
    high: float

    def ticks(self, most: int) -> list[float]:
        """Return round figures on it, at most so many."""
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        every = [t * 10.0**d for d in decades for t in _TICKS if self.low <= math.log10(t * 10.0**d) <= self.high]
        return every[:: math.ceil(len(every) / max(1, most))]

    def share(self, value: float) -> float:
        """Return how far along it a value lies, from 0 to 1."""
        return (math.log10(value) - self.low) / (self.high - self.low)


def axis_of(values: Sequence[float]) -> Axis:
    """Return an axis that holds all values, with room on either side."""
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(_ROOM * (high - low), 0.04)
    return Axis(low - room, high + room)


class FrontierPlot(PlotextPlot, can_focus=True):
    """The picture. Keys and clicks move the cursor, which is the table's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "step(1)", "Next row", show=False, id="plot.down"),
        Binding("k,up", "step(-1)", "Row before", show=False, id="plot.up"),
        Binding("right", "dearer(1)", "Dearer", show=False, id="plot.right"),
        Binding("left", "dearer(-1)", "Cheaper", show=False, id="plot.left"),
    ]

    class Stepped(Message):
        """The cursor is to go so many rows down."""

        def __init__(self, rows: int) -> None:
            super().__init__()
            self.rows = rows

    class Chosen(Message):
        """The cursor is to go to a card."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self) -> None:
        super().__init__(id="plot")
        self.theme = "clear"  # the colours are ours, by glyph
        self._dots: list[Dot] = []
        self._cursor: str | None = None
        self._load: Workload | None = None
        self._axes: tuple[Axis, Axis] | None = None
        self._frame = (0, 0, 0, 0)
        """Left column, top row, right column and bottom row of what was drawn last."""

    def show_answer(self, answer: Answer, cursor: str | None) -> None:
        """Show an answer's dots, with the cursor on one."""
        self._dots, self._load, self._cursor = dots(answer), answer.workload, cursor
        self.refresh()

    def move_to(self, cursor: str | None) -> None:
        """Show the cursor elsewhere."""
        if cursor != self._cursor:
            self._cursor = cursor
            self.refresh()

    def action_step(self, rows: int) -> None:
        """A row of the table down or up."""
        self.post_message(self.Stepped(rows))

    def action_dearer(self, step: int) -> None:
        """The next dot to the right or left."""
        keys = [d.key for d in sorted(self._dots, key=lambda d: (d.cost, d.ms))]
        if keys:
            at = keys.index(self._cursor) + step if self._cursor in keys else 0
            self.post_message(self.Chosen(keys[min(max(at, 0), len(keys) - 1)]))

    def on_click(self, event: Click) -> None:
        """The dot that is nearest to a click."""
        near = sorted((abs(x - event.x) + 2 * abs(y - event.y), dot.key) for x, y, dot in self._places())
        if near and near[0][0] <= _NEAR:
            self.post_message(self.Chosen(near[0][1]))

    def _places(self) -> Iterator[tuple[int, int, Dot]]:
        """Column and row of each dot, as the library rounds them."""
        if self._axes is None:
            return
        across, up = self._axes
        left, top, right, bottom = self._frame
        for dot in self._dots:
            column = left + 1 + round(across.share(dot.cost) * (right - left - 2))
            yield column, bottom - 1 - round(up.share(dot.ms) * (bottom - top - 2)), dot

    def render(self) -> Text:
        """Axes, frontier, limits, dots and names."""
        if not self._dots:
            return Text("Nothing here has both a price and a time per token.", style="dim")
        plot, width, height = self.plt, self.size.width, self.size.height
        if width < _LEAST or height < _LEAST // 3:
            return Text("")
        plot.clear_figure()
        plot.theme("clear")
        plot.plotsize(width, height)
        plot._set_size(width, height)  # as textual-plotext does: plotsize alone keeps an old size
        self._draw_axes()
        self._draw_limits()
        self._draw_dots()
        cells = [list(line.ljust(width)) for line in Text.from_ansi(plot.build()).plain.splitlines()]
        self._frame = cells[0].index("┌"), 0, cells[0].index("┐"), next(y for y, row in enumerate(cells) if "└" in row)
        self._write_words(cells)
        text = Text("\n".join("".join(line) for line in cells), no_wrap=True)
        for glyph, style in _STYLES.items():
            text.highlight_regex(str(glyph), style)
        return text

    def _write_words(self, cells: list[list[str]]) -> None:
        """The meaning of axes and glyphs on the frame, and names where they hide nothing: the cursor's first."""
        left, _, right, bottom = self._frame
        meaning = f" ms per token · {Standing.FRONT} unbeaten {Standing.BEATEN} beaten {Standing.TIGHT} tight "
        for dot in self._dots:
            if dot.key == self._cursor:
                meaning += f"{_CURSOR} {clean(dot.name)} {dollars(dot.cost)} {dot.ms:.1f} ms "
        for at, letter in enumerate(meaning[: right - left - 2]):
            cells[0][left + 1 + at] = letter
        across = f" {sign()}/hour "
        for at, letter in enumerate(across):
            cells[bottom][right - len(across) + at] = letter
        named = [p for p in self._places() if p[2].key == self._cursor or p[2].standing is Standing.FRONT]
        for column, line, dot in sorted(named, key=lambda p: p[2].key != self._cursor):
            _write_name(cells[line], column, dot.name, right)

    def _draw_axes(self) -> None:
        across, up = axis_of([d.cost for d in self._dots]), axis_of([d.ms for d in self._dots])
        self._axes = across, up
        self.plt.xlim(*across)
        self.plt.ylim(*up)
        shift = math.log10(converted(1.0))  # round figures of the currency that is shown
        costs = Axis(across.low + shift, across.high + shift).ticks(max(2, self.size.width // 12))
        times = up.ticks(max(2, self.size.height // 2))
        self.plt.xticks([math.log10(t) - shift for t in costs], [f"{sign()}{t:g}" for t in costs])
        self.plt.yticks([math.log10(t) for t in times], [f"{t:g}" for t in times])

    def _draw_limits(self) -> None:
        load, axes = self._load, self._axes
        if load is None or axes is None:
            return
        across, up = axes
        if load.max_usd_per_hour and across.low < math.log10(load.max_usd_per_hour) < across.high:
            at = math.log10(load.max_usd_per_hour)
            self.plt.plot([at, at], list(up), marker=_LIMIT_DOWN)
        if load.max_tpot_ms and up.low < math.log10(load.max_tpot_ms) < up.high:
            at = math.log10(load.max_tpot_ms)
            self.plt.plot(list(across), [at, at], marker=_LIMIT_ACROSS)

    def _draw_dots(self) -> None:
        faster: list[Dot] = []  # what is surer, and no faster than a cheaper one, is on the front too, beside this line
        for dot in sorted((d for d in self._dots if d.standing is Standing.FRONT), key=lambda d: (d.cost, d.ms)):
            faster += [dot] if not faster or dot.ms < faster[-1].ms else []
        if len(faster) > 1:
            self.plt.plot([math.log10(d.cost) for d in faster], [math.log10(d.ms) for d in faster], marker=_LINE)
        chosen = [d for d in self._dots if d.key == self._cursor]
        for dot in self._dots:
            self._scatter(dot, dot.standing)
        for dot in chosen:
            self._scatter(dot, _CURSOR)

    def _scatter(self, dot: Dot, glyph: str) -> None:
        self.plt.scatter([math.log10(dot.cost)], [math.log10(dot.ms)], marker=str(glyph))


def _write_name(line: list[str], column: int, name: str, end: int) -> None:
    """Beside a dot, on the side that is free; nowhere where neither is."""
    words = clean(name)
    for start in (column + 2, column - 1 - len(words)):
        around = line[max(0, start - 1) : start + len(words) + 1]
        if (
            start > 0
            and start + len(words) < end
            and not set(around) - {" ", _LINE, _CURSOR, *map(str, Standing)}
            and (not set(line[start : start + len(words)]) - {" ", _LINE})
        ):
            line[start : start + len(words)] = words
            return
