"""Curve: one card over more and more sequences at once: how many cards, how fast, at what price, and how long a context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Static

from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Plan, Workload
from whichgpu.tui.answering import Reply
from whichgpu.tui.app.plan import GLYPHS
from whichgpu.tui.app.reading import as_command
from whichgpu.tui.app.table import TOO_SMALL, KeyTable
from whichgpu.tui.app.words import Words
from whichgpu.tui.units import NOTHING, dollars

CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_BAR = 16


class Drawn(Message):
    """The curve was computed."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        super().__init__()
        self.plans = plans


def over_concurrency(reply: Reply, workload: Workload, accelerator: str) -> list[Plan]:
    """Plan one accelerator at every concurrency, as the command line would with ``--gpu`` and ``--concurrency``."""
    only = replace(reply.facts, accelerators=[a for a in reply.facts.accelerators if a.key == accelerator])
    found = []
    for concurrency in CONCURRENCIES:
        result = answer(reply.inspection, workload.model_copy(update={"concurrency": concurrency}), only)
        found += [p for p in result.plans if p.precision is workload.precision][:1]
    return found


class CurveScreen(Screen[None]):
    """Tokens per second and dollars per million tokens as a plot of bars, with its figures."""

    HELP = "What more sequences at once buy on this card: each row is planned anew, so the number of cards may grow."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "app.leave", "Back", id="curve.back"),
        Binding("m", "command", "Command", id="curve.command"),
        Binding("question_mark", "app.help", "Help", id="app.help"),
        Binding("q", "app.quit", "Quit", show=False, id="app.quit"),
    ]

    def __init__(self, reply: Reply, workload: Workload, accelerator: str, name: str) -> None:
        super().__init__()
        self._reply, self._workload, self._accelerator, self._name = reply, workload, accelerator, name

    def compose(self) -> ComposeResult:
        yield Static(f"{self._name}: planning {len(CONCURRENCIES)} loads…", id="title", markup=False)
        headers = ("at once", "verdict", "cards", "tok/s", "", "$/Mtok", "ms/token", "longest")
        yield KeyTable(headers, right=(0, 2, 3, 5, 6, 7), id="curve")
        yield Static(TOO_SMALL, id="small", markup=False)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(KeyTable).focus()
        self._draw()

    @work(thread=True, exclusive=True, group="curve")
    def _draw(self) -> None:
        self.post_message(Drawn(over_concurrency(self._reply, self._workload, self._accelerator)))

    def on_drawn(self, message: Drawn) -> None:
        context = f"{self._workload.context:,} tokens of context"
        self.query_one("#title", Static).update(f"{self._reply.inspection.source.name} on {self._name}  ·  {context}")
        rates = [p.speed.output_tokens_per_second.expected if p.speed else 0.0 for p in message.plans]
        most = max([*rates, 1.0])
        pairs = zip(CONCURRENCIES, message.plans, rates, strict=False)
        rows = [(str(n), curve_row(n, plan, rate / most)) for n, plan, rate in pairs]
        self.query_one(KeyTable).show_rows(rows)

    def action_command(self) -> None:
        """The one-shot behind the row under the cursor."""
        at = int(self.query_one(KeyTable).current or CONCURRENCIES[0])
        load = self._workload.model_copy(update={"concurrency": at})
        text = as_command(self._reply, load, self._accelerator)
        self.app.push_screen(Words("The same on the command line", text))


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
