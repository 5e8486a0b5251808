"""Plan: the workload by keys, every accelerator with its verdict, and one card's memory; every figure moves at once."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Footer, Static

from whichgpu.plan.choices import KvDtype, Objective, Precision
from whichgpu.plan.records import Answer, Plan, Verdict, Workload
from whichgpu.tui.answering import Reply
from whichgpu.tui.app.bars import legend, memory_parts, stacked
from whichgpu.tui.app.reading import Replanned, as_command, plan
from whichgpu.tui.app.table import TOO_SMALL, KeyTable
from whichgpu.tui.app.words import Words
from whichgpu.tui.report_explain import explanation
from whichgpu.tui.report_plans import cures
from whichgpu.tui.terminal import Terminal
from whichgpu.tui.units import GIB, NOTHING, dollars

PLAIN = Terminal(colour=False, unicode=True, narrate=False)
GLYPHS = {Verdict.FITS: "✓ fits", Verdict.TIGHT: "! tight", Verdict.NO: "✗ no", Verdict.UNKNOWN: "? unknown"}
_SETTLE = 0.08
"""Seconds after the last key before the work starts: holding a key plans once."""

_CONTEXTS = (1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144, 1_048_576)
_CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class PlanScreen(Screen[None]):
    """The centre piece."""

    HELP = (
        "c C context, n N sequences at once, p precision, v KV cache, o objective, s spot. e explains the row under the"
        " cursor, u shows what more sequences buy on it, y copies its command, m shows the one-shot that gives the same."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "app.leave", "Back", id="plan.back"),
        Binding("c", "context(1)", "Context", show=False, id="plan.context", key_display="c C"),
        Binding("C", "context(-1)", "Less context", show=False, id="plan.context_less"),
        Binding("n", "concurrency(1)", "At once", show=False, id="plan.concurrency", key_display="n N"),
        Binding("N", "concurrency(-1)", "Fewer at once", show=False, id="plan.concurrency_less"),
        Binding("p", "cycle('precision')", "Precision", show=False, id="plan.precision"),
        Binding("v", "cycle('kv_dtype')", "KV", show=False, id="plan.kv"),
        Binding("o", "cycle('objective')", "Objective", show=False, id="plan.objective"),
        Binding("s", "spot", "Spot", show=False, id="plan.spot"),
        Binding("e,enter", "explain", "Explain", id="plan.explain"),
        Binding("u", "curve", "Curve", id="plan.curve"),
        Binding("y", "copy", "Copy", id="plan.copy"),
        Binding("m", "command", "Command", id="plan.command"),
        Binding("question_mark", "app.help", "Help", id="app.help"),
        Binding("q", "app.quit", "Quit", show=False, id="app.quit"),
    ]

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self._reply = reply
        self.result: Answer = reply.answer
        self.workload: Workload = reply.answer.workload
        self._settling: Timer | None = None

    def compose(self) -> ComposeResult:
        yield Static("", id="title", markup=False)
        with Horizontal(id="panes"):
            yield Static("", id="workload", markup=False)
            with Vertical(id="right"):
                yield KeyTable(
                    ("card", "verdict", "cards", "left", "tok/s", "$/h", "$/Mtok"), right=(2, 3, 4, 5, 6), id="plans"
                )
                with VerticalScroll(id="below"):
                    yield Static("", id="bar", markup=False)
        yield Static(TOO_SMALL, id="small", markup=False)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._show()
        self.query_one(KeyTable).focus()

    def on_resize(self) -> None:
        self._show_card()

    def on_replanned(self, message: Replanned) -> None:
        if message.workload == self.workload:
            self.result = message.result
            self._show()

    def on_data_table_row_highlighted(self) -> None:
        self._show_card()

    def on_data_table_row_selected(self) -> None:
        self.action_explain()

    def _turn(self, **changes: object) -> None:
        """Change the workload, and plan it when the keys rest."""
        self.workload = self.workload.model_copy(update=changes)
        self.app.remember(self.workload)  # type: ignore[attr-defined]
        self._show_workload("…")
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(_SETTLE, self._plan)

    @work(thread=True, exclusive=True, group="plan")
    def _plan(self) -> None:
        self.post_message(plan(self._reply, self.workload))

    def action_context(self, step: int) -> None:
        limit = self._reply.inspection.architecture.context if self._reply.inspection.architecture else None
        choices = [c for c in _CONTEXTS if limit is None or c <= limit] or [self.workload.context]
        self._turn(context=_stepped(choices, self.workload.context, step))

    def action_concurrency(self, step: int) -> None:
        self._turn(concurrency=_stepped(_CONCURRENCIES, self.workload.concurrency, step))

    def action_cycle(self, name: str) -> None:
        every: dict[str, list[Any]] = {
            "precision": [Precision.PUBLISHED, Precision.BF16, Precision.FP8, Precision.INT4, Precision.NVFP4],
            "kv_dtype": list(KvDtype),
            "objective": list(Objective),
        }
        choices, at = every[name], getattr(self.workload, name)
        following = choices[(choices.index(at) + 1) % len(choices)] if at in choices else choices[0]
        self._turn(**{name: following})

    def action_spot(self) -> None:
        self._turn(price_kind="on-demand" if self.workload.price_kind == "spot" else "spot")

    def action_explain(self) -> None:
        found = self.chosen
        if found is not None:
            self.app.push_screen(Words(found.accelerator_name, _explained(self.result, found)))

    def action_curve(self) -> None:
        """Its card over concurrency."""
        found = self.chosen
        if found is not None:
            from whichgpu.tui.app.curve import CurveScreen

            self.app.push_screen(CurveScreen(self._reply, self.workload, found.accelerator, found.accelerator_name))

    def action_copy(self) -> None:
        found = self.chosen
        if found is not None and found.command is not None:
            self.app.copy_to_clipboard(found.command)
            self.notify(f"copied: {found.command[:60]}", markup=False)

    def action_command(self) -> None:
        gpu = self.chosen.accelerator if self.chosen is not None else None
        self.app.push_screen(Words("The same on the command line", as_command(self._reply, self.workload, gpu)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Copying needs a command."""
        found = self.chosen
        return None if action == "copy" and (found is None or found.command is None) else True

    @property
    def chosen(self) -> Plan | None:
        """The plan under the cursor, at the asked precision."""
        if not self.is_mounted:
            return None
        key = self.query_one(KeyTable).current
        return next((p for p in self._asked if p.accelerator == key), None)

    @property
    def _asked(self) -> list[Plan]:
        return [p for p in self.result.plans if p.precision is self.result.workload.precision]

    def _show(self) -> None:
        best = self.result.recommended
        words = f"{best.count} × {best.accelerator_name} {dollars(best.usd_per_hour)}/h" if best else "nothing fits"
        self.query_one("#title", Static).update(f"{self._reply.inspection.source.name}  ·  {words}")
        self._show_workload("")
        self.query_one(KeyTable).show_rows([(p.accelerator, _row(p)) for p in self._asked])
        self._show_card()
        self.refresh_bindings()

    def _show_workload(self, mark: str) -> None:
        load = self.workload
        lines = (
            f"c context      {load.context:,}{mark}",
            f"n at once      {load.concurrency:,}",
            f"p precision    {load.precision.value}",
            f"v KV cache     {load.kv_dtype.value}",
            f"o objective    {load.objective.value}",
            f"s prices       {load.price_kind}",
        )
        wide = self.app.size.width >= 120
        self.query_one("#workload", Static).update("\n".join(lines) if wide else _two_lines(load, mark))

    def _show_card(self) -> None:
        found = self.chosen
        text = (
            _card(found, max(20, self.query_one("#bar").size.width or self.app.size.width - 4))
            if found is not None
            else ""
        )
        self.query_one("#bar", Static).update(text)


def _stepped(choices: list[int] | tuple[int, ...], at: int, step: int) -> int:
    """The next larger or smaller choice, or the same at the ends."""
    beyond = [c for c in choices if (c > at if step > 0 else c < at)]
    return (min(beyond) if step > 0 else max(beyond)) if beyond else at


def _two_lines(load: Workload, mark: str) -> str:
    return (
        f"c {load.context:,} tokens{mark} · n {load.concurrency:,} at once · p {load.precision.value} · v KV {load.kv_dtype.value}\n"
        f"o {load.objective.value} · s {load.price_kind}"
    )


def _row(found: Plan) -> tuple[str, ...]:
    speed, foot = found.speed, found.footprint
    cost = speed.usd_per_million_output.expected if speed and speed.usd_per_million_output else None
    cards = (
        f"{found.count} {found.layout.label}"
        if found.layout is not None and found.count > 1
        else str(found.count or NOTHING)
    )
    return (
        found.accelerator.upper().replace("_", " "),
        GLYPHS[found.verdict],
        cards,
        f"{foot.headroom / GIB:,.1f}" if foot is not None and found.layout is not None else NOTHING,
        f"{speed.output_tokens_per_second.expected:,.0f}" if speed else NOTHING,
        dollars(found.usd_per_hour),
        dollars(cost),
    )


def _card(found: Plan, width: int) -> str:
    """The memory of one card, and what speaks against the plan or mends it."""
    parts = memory_parts(found)
    lines = [stacked(parts, width), legend(parts)] if parts else []
    lines += [f"but: {reason}" for reason in found.reasons[:3]]
    lines += [line.strip() for line in cures(found, 3) if line.strip()]
    lines += [found.command] if found.command is not None else []
    return "\n".join(lines)


def _explained(result: Answer, found: Plan) -> str:
    """``--explain`` of this plan, whatever is recommended."""
    return explanation(result.model_copy(update={"recommended": found}), PLAIN) or "\n".join(found.reasons)
