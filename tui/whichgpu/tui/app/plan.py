"""Plan: the workload by keys, every accelerator with its verdict, and one card's memory; every figure moves at once."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import DataTable, Static

from whichgpu.plan.records import Answer, Plan
from whichgpu.tui.app import plan_text
from whichgpu.tui.app.frontier import FrontierPlot
from whichgpu.tui.app.page import Export
from whichgpu.tui.app.reading import PLAIN, Failed, Replanned
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.app.turning import KEYS, SETTLE, Turning
from whichgpu.tui.app.widgets import KeyScroll
from whichgpu.tui.app.words import Words
from whichgpu.tui.asking.question import as_command
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.desk.replanning import Terms, over_concurrency, spelled
from whichgpu.tui.words.answer_lines import caveats, headline
from whichgpu.tui.words.plans import plan_in_words

_MOST = 6
"""Plans that are compared at once."""
_VIEWS = ("-table", "-plot", "-said")
"""What the middle of a narrow screen shows, one after the other; a wide one has all of it, or one of them alone."""


class PlanScreen(Turning):
    """The centre piece."""

    HELP = (
        "Dollars an hour against the time of a token, ★ where nothing is better in both; t turns table, picture and everything "
        "that the command line says. Keys change the workload, in capitals the other way: c context, n sequences at once, "
        "i input, r reply (L shorter), p precision, v KV cache, o objective, s spot; w opens everything else, R goes back to the "
        "defaults, a asks all cards, also those that nobody is known to rent. z sorts by the next column, Z the other way, as does a "
        "click on a head. e explains the row under the cursor, f lists what would make it fit, u shows what more sequences buy, "
        "h every number of cards; space marks rows, = compares them."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        *KEYS,
        Binding("t", "turn_view", "Picture", id="plan.view"),
        Binding("z", "sort(1)", "Sort", show=False, id="plan.sort"),
        Binding("Z", "sort(-1)", "Other way", show=False, id="plan.sort_other"),
        Binding("e,enter", "explain", "Explain", id="plan.explain"),
        Binding("f", "fixes", "Fixes", id="plan.fixes"),
        Binding("u", "curve", "Curve", id="plan.curve"),
        Binding("h", "counts", "Counts", id="plan.counts"),
        Binding("T", "trial", "Trial", id="plan.trial"),
        Binding("space", "mark", "Mark", show=False, id="plan.mark"),
        Binding("equals_sign", "compare", "Compare", id="plan.compare", key_display="="),
        Binding("y", "copy", "Copy", id="plan.copy"),
    ]

    class Drawn(Message):
        """It was worked out what more sequences buy on a card."""

        def __init__(self, terms: Terms, accelerator: str, plans: list[Plan]) -> None:
            super().__init__()
            self.terms, self.accelerator, self.plans = terms, accelerator, plans

    def __init__(self, reply: Reply, terms: Terms) -> None:
        super().__init__(reply, terms)
        self._drawing: Timer | None = None
        self._plots: dict[str, str] = {}
        self._marked: dict[str, None] = {}
        self._sorted: tuple[int | None, bool] = (None, False)
        """The column that the table is sorted by, and whether from the most; the answer's own order where it is none."""

    @property
    def result(self) -> Answer:
        """What was answered last."""
        return self.reply.answer

    def body(self) -> Iterable[Widget]:
        with Horizontal(id="panes"):
            with VerticalScroll(id="left", can_focus=False):
                yield Static("", id="workload", markup=False)
                yield Static("", id="doubts", markup=False)
            with Vertical(id="right"):
                yield Static("", id="rent", markup=False)
                yield Static("", id="counted", markup=False)
                yield FrontierPlot()
                yield KeyTable(
                    lambda: plan_text.headers(*self._sorted),
                    right=plan_text.RIGHT,
                    wide_only=plan_text.WIDE,
                    id="plans",
                )
                with VerticalScroll(id="below", can_focus=False):
                    yield Static("", id="bar", markup=False)
                with KeyScroll(id="said"):
                    yield Static("", id="said-text", markup=False)

    def on_mount(self) -> None:
        self._show()
        self.set_focus(self.query_one(KeyTable))

    def on_resize(self) -> None:
        self._show_workload("")
        self.call_after_refresh(self._show_fitted)  # once the widgets' own widths are the new ones

    def on_replanned(self, message: Replanned) -> None:
        if message.terms == self.terms:
            self.own_app.remember(self._turned)
            self._turned = {}
            self.reply, self._settled, self._plots = message.reply, message.terms, {}
            self._show()

    def on_failed(self, message: Failed) -> None:
        """A card, price or version that is none: the last answer stays."""
        if message.terms != self.terms:
            return
        self.terms, self._turned = self._settled, {}
        self._show_workload("")
        self.say(self.reply.inspection.source.name, f"✗ {message.sentence}")
        self.notify(message.sentence, severity="error", markup=False)

    def on_data_table_row_highlighted(self) -> None:
        self.query_one(FrontierPlot).move_to(self.query_one(KeyTable).current)
        self._show_card()
        self.refresh_bindings()

    def on_data_table_row_selected(self) -> None:
        self.action_explain()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """A click on a head sorts by it, a second one the other way."""
        column = int(event.column_key.value or 0)
        self._sorted = (column, self._sorted == (column, False))
        self._show()

    def on_frontier_plot_stepped(self, message: FrontierPlot.Stepped) -> None:
        table = self.query_one(KeyTable)
        table.move_cursor(row=table.cursor_row + message.rows)

    def on_frontier_plot_chosen(self, message: FrontierPlot.Chosen) -> None:
        self.query_one(KeyTable).move_to(message.key)

    def action_sort(self, step: int) -> None:
        """The next column, or the same one the other way."""
        column, down = self._sorted
        shown = self.query_one(KeyTable).columns_shown
        if step < 0:
            self._sorted = (column, not down) if column is not None else self._sorted
        else:
            at = shown.index(column) + 1 if column in shown else 0
            self._sorted = (shown[at] if at < len(shown) else None, False)
        self._show()

    def action_turn_view(self) -> None:
        """Table, picture, and everything that the command line says."""
        at = next((i for i, view in enumerate(_VIEWS) if self.has_class(view)), 0)
        view = _VIEWS[(at + 1) % len(_VIEWS)]
        self.remove_class(*_VIEWS)
        self.add_class(view)
        shown: Widget = {"-plot": self.query_one(FrontierPlot), "-said": self.query_one(KeyScroll)}.get(
            view, self.query_one(KeyTable)
        )
        self.set_focus(shown)
        self.call_after_refresh(self._show_fitted)

    def show_asked(self) -> None:
        self._show_workload("…")

    def action_explain(self) -> None:
        current_plan = self.chosen
        if current_plan is not None:
            self.app.push_screen(
                Words(
                    current_plan.accelerator_name, plan_text.explained(self.result, current_plan), current_plan.command
                )
            )

    def action_fixes(self) -> None:
        """What would make the row under the cursor fit; the chosen one is asked."""
        from whichgpu.tui.app.fixes import Fixes

        def take(changes: dict[str, Any] | None) -> None:
            if changes:
                self._change(changes)

        current_plan = self.chosen
        if current_plan is not None:
            self.app.push_screen(Fixes(current_plan), take)

    def action_curve(self) -> None:
        """Its card over concurrency."""
        current_plan = self.chosen
        if current_plan is not None:
            from whichgpu.tui.app.curve import CurveScreen

            self.app.push_screen(
                CurveScreen(self.reply, self._settled, current_plan.accelerator, current_plan.accelerator_name)
            )

    def action_counts(self) -> None:
        """Every card with every number of them."""
        from whichgpu.tui.app.counts import CountsScreen

        self.app.push_screen(CountsScreen(self.reply, self._settled))

    def action_mark(self) -> None:
        """Mark the row under the cursor for comparing, or take the mark off."""
        key = self.query_one(KeyTable).current
        if key in self._marked:
            del self._marked[key]
        elif key is not None and len(self._marked) < _MOST:
            self._marked[key] = None
        self._show()

    def action_compare(self) -> None:
        """The marked plans side by side."""
        from whichgpu.tui.app.compare import ComparePlans

        plans = self._marked_plans
        specs = tuple(spelled(self.reply, self._settled.own, p.accelerator) for p in plans)
        own_facts = replace(self._settled.own, accelerators=specs)
        command = as_command(self.reply, replace(self._settled, own=own_facts))
        self.app.push_screen(ComparePlans(self.reply.inspection.source.name, plans, command))

    @property
    def _marked_plans(self) -> list[Plan]:
        return [p for p in self._at_precision if p.accelerator in self._marked]

    def action_trial(self) -> None:
        """Prove it with a short real run."""
        from whichgpu.tui.app.trial import TrialScreen

        self.app.push_screen(TrialScreen(self.reply, self._settled, self.chosen))

    def action_copy(self) -> None:
        """The command of the row under the cursor, by OSC 52."""
        current_plan = self.chosen
        if current_plan is not None and current_plan.command is not None:
            self.app.copy_to_clipboard(current_plan.command)
            self.notify(f"copied: {current_plan.command[:60]}", markup=False)

    def one_shot(self) -> str | None:
        current_plan = self.chosen
        return as_command(self.reply, self._settled, current_plan.accelerator if current_plan is not None else None)

    def export(self) -> Export | None:
        from whichgpu.tui.words.json_report import as_json

        return Export(f"{self.reply.inspection.source.name}-plan.json", partial(as_json, self.reply))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Copying needs a command, fixes something to mend, a trial a machine of one's own."""
        current_plan = self.chosen
        if action == "copy":
            return current_plan is not None and current_plan.command is not None
        if action == "compare":
            return len(self._marked_plans) >= 2
        if action == "fixes":
            return current_plan is not None and bool(current_plan.remedies)
        return self.own_app.local if action == "trial" else super().check_action(action, parameters)

    @property
    def chosen(self) -> Plan | None:
        """The plan under the cursor, at the asked precision."""
        if not self.is_mounted:
            return None
        key = self.query_one(KeyTable).current
        return next((p for p in self._at_precision if p.accelerator == key), None)

    @property
    def _at_precision(self) -> list[Plan]:
        return [p for p in self.result.plans if p.precision is self.result.workload.precision]

    def _show(self) -> None:
        self.say(self.reply.inspection.source.name, plan_in_words(self.result.recommended))
        self._show_workload("")
        plans = plan_text.in_order(self._at_precision, *self._sorted)
        most = plan_text.most_of(plans)
        front = {self.result.plans[i].accelerator for i in self.result.front}
        beaten = {p.accelerator for p in plans if p.accelerator not in front}
        table = self.query_one(KeyTable)
        table.show_rows([(p.accelerator, plan_text.row(p, most, self._mark_of(p, front))) for p in plans], faint=beaten)
        self.query_one(FrontierPlot).show_answer(self.result, table.current)
        self._show_fitted()
        self.refresh_bindings()

    def show_anew(self) -> None:
        self._plots.clear()
        self._show()

    def _mark_of(self, plan: Plan, front: Container[str]) -> str:
        if plan.accelerator in self._marked:
            return "● "
        return "★ " if plan.accelerator in front else "  "

    def _show_workload(self, mark: str) -> None:
        actions = self.turned_by_keys
        if self.app.size.width >= 120:
            text = "\n".join(
                f"{name:<12}{value}" for name, value in plan_text.workload_lines(self.within_limit, mark, actions)
            )
        else:
            text = plan_text.two_lines(self.within_limit, mark, actions)
        self.query_one("#workload", Static).update(text)
        unusual = self.unusual
        counted = plan_text.counted(self.result, self.reply.facts)
        chip = f"not default: {', '.join(unusual)} × R resets" if unusual else ""
        self.query_one("#counted", Static).update("  ·  ".join(w for w in (counted, chip, "a all", "z sort") if w))

    def _show_fitted(self) -> None:
        """What is wrapped to the width of its place."""
        across = self.app.size.width
        for name, text in (("#rent", headline), ("#doubts", partial(caveats, others=False)), ("#said-text", caveats)):
            place = self.query_one(name, Static)
            fitted = text(self.reply, replace(PLAIN, width=max(30, min(120, place.content_size.width or across - 2))))
            place.update(fitted if isinstance(fitted, str) else "\n".join(fitted))
        self._show_card()

    def _show_card(self) -> None:
        current_plan = self.chosen
        if current_plan is None:
            self.query_one("#bar", Static).update("")
            return
        width = max(20, self.query_one("#bar").size.width or self.app.size.width - 4)
        plots = self._plots.get(current_plan.accelerator)
        self.query_one("#bar", Static).update(
            "\n".join([plan_text.card(current_plan, width), *([plots] if plots else [])])
        )
        if plots is None and self.app.size.height >= 32:
            if self._drawing is not None:
                self._drawing.stop()
            self._drawing = self.set_timer(3 * SETTLE, lambda: self._draw(current_plan.accelerator))

    @work(thread=True, exclusive=True, group="plots")
    def _draw(self, accelerator: str) -> None:
        question = self._settled
        self.report(self.Drawn(question, accelerator, over_concurrency(self.reply, question.workload, accelerator)))

    def on_plan_screen_drawn(self, message: Drawn) -> None:
        if message.terms == self._settled:
            self._plots[message.accelerator] = plan_text.plots(message.plans)
            self._show_card()
