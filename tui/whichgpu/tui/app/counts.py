"""Counts: every accelerator with every number of cards at once: the verdict, and one figure that a key turns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from whichgpu.plan.records import Plan, Verdict
from whichgpu.tui.app.page import Export, Page
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.asking.question import as_command
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.desk.replanning import Terms, over_counts
from whichgpu.tui.words.units import NOTHING, big, dollars, memory_unit, sign

COUNTS = (1, 2, 4, 8)
_GLYPHS = {Verdict.FITS: "✓", Verdict.TIGHT: "!", Verdict.NO: "✗", Verdict.UNKNOWN: "?"}


def _headroom(plan: Plan) -> str:
    return f"{big(plan.footprint.headroom):,.1f}" if plan.footprint is not None else NOTHING


def _cost(plan: Plan) -> str:
    cost = plan.speed.usd_per_million_output if plan.speed else None
    return dollars(cost.expected) if cost else NOTHING


def _rate(plan: Plan) -> str:
    return f"{plan.speed.output_tokens_per_second.expected:,.0f}" if plan.speed else NOTHING


_FIGURES: tuple[tuple[Callable[[], str], Callable[[Plan], str]], ...] = (
    (lambda: f"{memory_unit()} left on a card", _headroom),
    (lambda: "tokens/s out", _rate),
    (lambda: f"{sign()}/Mtok out", _cost),
    (lambda: f"{sign()}/hour", lambda p: dollars(p.total_usd_per_hour)),
)


class CountsScreen(Page):
    """Accelerator by count."""

    HELP = "Every accelerator with 1, 2, 4 and 8 cards at the asked workload. v turns the figure: room, speed, cost, price."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "turn", "Figure", id="counts.figure"),
        Binding("m", "one_shot", "Command", id="page.command"),
    ]

    class Counted(Message):
        """All were planned."""

        def __init__(self, plans: Mapping[str, Mapping[int, Plan]]) -> None:
            super().__init__()
            self.plans = plans

    def __init__(self, reply: Reply, terms: Terms) -> None:
        super().__init__()
        self._reply, self._terms, self._figure = reply, terms, 0
        self._plans: Mapping[str, Mapping[int, Plan]] = {}

    def body(self) -> Iterable[Widget]:
        yield KeyTable(("card", *(str(c) for c in COUNTS)), id="counts")

    def on_mount(self) -> None:
        self.say("Counts", "planning… (escape cancels)")
        self.set_focus(self.query_one(KeyTable))
        self._count()

    @work(thread=True, exclusive=True, group="counts")
    def _count(self) -> None:
        self.report(self.Counted(over_counts(self._reply, self._terms.workload, COUNTS)))

    def on_counts_screen_counted(self, message: Counted) -> None:
        self._plans = message.plans
        self._show()
        self.refresh_bindings()

    def _show(self) -> None:
        load = self._terms.workload
        name, figure = _FIGURES[self._figure]
        self.say(
            f"verdict and {name()}",
            f"{load.context:,} × {load.concurrency:,} at {load.precision.value}",
            self._reply.inspection.source.name,
        )
        self.query_one(KeyTable).show_rows([(key, _row(key, plans, figure)) for key, plans in self._plans.items()])

    def show_anew(self) -> None:
        self._show()

    def action_turn(self) -> None:
        """The next figure."""
        self._figure = (self._figure + 1) % len(_FIGURES)
        self._show()

    def one_shot(self) -> str | None:
        return as_command(self._reply, self._terms, self.query_one(KeyTable).current)

    def export(self) -> Export | None:
        if not self._plans:
            return None
        return Export(f"{self._reply.inspection.source.name}-counts.json", partial(_as_json, dict(self._plans)))


def _as_json(by_card: Mapping[str, Mapping[int, Plan]]) -> str:
    records = {k: {str(c): p.model_dump(mode="json") for c, p in plans.items()} for k, plans in by_card.items()}
    return json.dumps(records, indent=2)


def _row(key: str, plans: Mapping[int, Plan], figure: Callable[[Plan], str]) -> tuple[str, ...]:
    cells = []
    for count in COUNTS:
        plan = plans.get(count)
        if plan is None or plan.layout is None or plan.verdict is Verdict.NO:
            cells.append("✗ no")
        else:
            cells.append(f"{_GLYPHS[plan.verdict]} {figure(plan)}")
    return (key.upper().replace("_", " "), *cells)
