"""Curve: one card over more and more sequences at once: how many cards, how fast, at what price, and how long a context."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from whichgpu.plan.records import Plan
from whichgpu.tui.app.page import Export, Page
from whichgpu.tui.app.plan_text import GLYPHS
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.asking.question import as_command
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.desk.replanning import CONCURRENCIES, Terms, over_concurrency
from whichgpu.tui.words.units import NOTHING, dollars, sign

_BAR = 16


class CurveScreen(Page):
    """Tokens per second and dollars per million tokens as a plot of bars, with its figures."""

    HELP = "What more sequences at once buy on this card: each row is planned anew, so the number of cards may grow."
    BINDINGS: ClassVar[list[BindingType]] = [Binding("m", "one_shot", "Command", id="page.command")]

    class Drawn(Message):
        """The curve was computed."""

        def __init__(self, plans: Sequence[Plan]) -> None:
            super().__init__()
            self.plans = plans

    def __init__(self, reply: Reply, terms: Terms, accelerator: str, name: str) -> None:
        super().__init__()
        self._reply, self._terms, self._accelerator, self._card = reply, terms, accelerator, name
        self._plans: Sequence[Plan] = ()

    def body(self) -> Iterable[Widget]:
        yield KeyTable(_headers, right=(0, 2, 3, 5, 6, 7), id="curve")

    def on_mount(self) -> None:
        self.say(self._card, f"planning {len(CONCURRENCIES)} loads… (escape cancels)")
        self.set_focus(self.query_one(KeyTable))
        self._draw()

    @work(thread=True, exclusive=True, group="curve")
    def _draw(self) -> None:
        self.report(self.Drawn(over_concurrency(self._reply, self._terms.workload, self._accelerator)))

    def on_curve_screen_drawn(self, message: Drawn) -> None:
        self._plans = message.plans
        self.show_anew()

    def show_anew(self) -> None:
        context = f"{self._terms.workload.context:,} tokens of context"
        self.say(f"{self._reply.inspection.source.name} on {self._card}", context)
        rates = [p.speed.output_tokens_per_second.expected if p.speed else 0.0 for p in self._plans]
        most = max([*rates, 1.0])
        pairs = zip(CONCURRENCIES, self._plans, rates, strict=False)
        self.query_one(KeyTable).show_rows([(str(n), curve_row(n, plan, rate / most)) for n, plan, rate in pairs])
        self.refresh_bindings()

    def one_shot(self) -> str | None:
        """The one-shot behind the row under the cursor."""
        at = int(self.query_one(KeyTable).current or CONCURRENCIES[0])
        load = self._terms.workload.model_copy(update={"concurrency": at})
        return as_command(self._reply, replace(self._terms, workload=load), self._accelerator)

    def export(self) -> Export | None:
        if not self._plans:
            return None
        name = f"{self._reply.inspection.source.name}-{self._accelerator}-curve.json"
        return Export(name, partial(_as_json, tuple(self._plans)))


def _as_json(plans: Sequence[Plan]) -> str:
    pairs = zip(CONCURRENCIES, plans, strict=False)
    return json.dumps([{"concurrency": n, "plan": p.model_dump(mode="json")} for n, p in pairs], indent=2)


def _headers() -> tuple[str, ...]:
    return "at once", "verdict", "cards", "tok/s", "", f"{sign()}/Mtok", "ms/token", "longest"


def curve_row(concurrency: int, plan: Plan, share: float) -> tuple[str, ...]:
    """Cells of one load; ``share`` is its tokens per second over the most."""
    speed, foot = plan.speed, plan.footprint
    longest = foot.longest_context if foot is not None and plan.layout is not None else None
    cost = speed.usd_per_million_output.expected if speed and speed.usd_per_million_output else None
    return (
        f"{concurrency:,}",
        GLYPHS[plan.verdict],
        str(plan.count or NOTHING),
        f"{speed.output_tokens_per_second.expected:,.0f}" if speed else NOTHING,
        "█" * max(1, round(share * _BAR)) if speed else "",
        dollars(cost),
        f"{speed.tpot_ms.expected:,.1f}" if speed else NOTHING,
        f"{longest:,}" if longest is not None else NOTHING,
    )
