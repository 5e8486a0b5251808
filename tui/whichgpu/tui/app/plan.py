"""Plan: the workload by keys, every accelerator with its verdict, and one card's memory; every figure moves at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from whichgpu.plan.choices import KvDtype, Objective, Precision
from whichgpu.plan.records import Answer, Plan, Workload
from whichgpu.plan.speed import lengths
from whichgpu.tui.app import plan_text
from whichgpu.tui.app.page import Export, Page
from whichgpu.tui.app.reading import Failed, Replanned, plan
from whichgpu.tui.app.state import LOAD
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.app.words import Words
from whichgpu.tui.asking.question import as_command
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.desk.replanning import CONCURRENCIES, Terms, over_concurrency, spelled, within_context
from whichgpu.tui.words.plans import plan_in_words

_SETTLE = 0.08
"""Seconds after the last key before the work starts: holding a key plans once."""
_CONTEXTS = (1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144, 1_048_576)
_MOST = 6
"""Plans that are compared at once."""
_LENGTHS = (16, 64, 128, 256, 512, *_CONTEXTS)


class PlanScreen(Page):
    """The centre piece."""

    HELP = (
        "Keys change the workload, in capitals the other way: c context, n sequences at once, i input, r reply, "
        "p precision, v KV cache, o objective, s spot; w opens everything else. e explains the row under the cursor, "
        "f lists what would make it fit, u shows what more sequences buy, h every number of cards; space marks rows, "
        "= compares them."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "context(1)", "Context", show=False, id="plan.context"),
        Binding("C", "context(-1)", "Less context", show=False, id="plan.context_less"),
        Binding("n", "concurrency(1)", "More at once", show=False, id="plan.concurrency"),
        Binding("N", "concurrency(-1)", "Fewer at once", show=False, id="plan.concurrency_less"),
        Binding("i", "length('prompt', 1)", "Longer input", show=False, id="plan.input"),
        Binding("I", "length('prompt', -1)", "Shorter input", show=False, id="plan.input_less"),
        Binding("r", "length('output', 1)", "Longer reply", show=False, id="plan.reply"),
        Binding("R", "length('output', -1)", "Shorter reply", show=False, id="plan.reply_less"),
        Binding("p", "cycle('precision')", "Precision", show=False, id="plan.precision"),
        Binding("v", "cycle('kv_dtype')", "KV cache", show=False, id="plan.kv"),
        Binding("o", "cycle('objective')", "Objective", show=False, id="plan.objective"),
        Binding("s", "spot", "Spot", show=False, id="plan.spot"),
        Binding("w", "workload", "Workload", id="plan.workload"),
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
        super().__init__()
        self.reply = reply
        self.terms = self._settled = terms
        self._settling: Timer | None = None
        self._drawing: Timer | None = None
        self._plots: dict[str, str] = {}
        self._marked: dict[str, None] = {}
        self._turned: dict[str, object] = {}
        """What the keys and the form have changed of the load: remembered for other models once it is planned."""

    @property
    def workload(self) -> Workload:
        """What is asked now."""
        return self.terms.workload

    @property
    def result(self) -> Answer:
        """What was answered last."""
        return self.reply.answer

    def body(self) -> Iterable[Widget]:
        with Horizontal(id="panes"):
            yield Static("", id="workload", markup=False)
            with Vertical(id="right"):
                yield KeyTable(plan_text.headers, right=(2, 3, 4, 5, 6), id="plans")
                with VerticalScroll(id="below", can_focus=False):
                    yield Static("", id="bar", markup=False)

    def on_mount(self) -> None:
        self._show()
        self.set_focus(self.query_one(KeyTable))

    def on_resize(self) -> None:
        self._show_workload("")
        self.call_after_refresh(self._show_card)  # once the bar's own width is the new one

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
        self._show_card()
        self.refresh_bindings()

    def on_data_table_row_selected(self) -> None:
        self.action_explain()

    def ask(self, terms: Terms) -> None:
        """Ask something else, and plan it when the keys rest."""
        self.terms = terms
        self._show_workload("…")
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(_SETTLE, self._plan)

    def _turn(self, **changes: object) -> None:
        """Ask for a workload that differs so, and remember what of it is the load."""
        self._turned |= {field: value for field, value in changes.items() if field in LOAD}
        self._change(changes)

    def _change(self, changes: Mapping[str, object]) -> None:
        named = {"context_auto": False} if "context" in changes else {}
        workload = within_context(Workload.model_validate(self.workload.model_dump() | dict(changes) | named))
        self.ask(replace(self.terms, workload=workload))

    @work(thread=True, exclusive=True, group="plan")
    def _plan(self) -> None:
        self.report(plan(self.own_app.desk, self.reply, self.terms, self._settled))

    def action_context(self, step: int) -> None:
        """A longer or shorter context, up to what the model allows."""
        limit = self.reply.inspection.architecture.context if self.reply.inspection.architecture else None
        choices = [c for c in _CONTEXTS if limit is None or c <= limit] or [self.workload.context]
        self._turn(context=stepped(choices, self._within_limit.context, step))

    def action_concurrency(self, step: int) -> None:
        """More or fewer sequences at once."""
        self._turn(concurrency=stepped(CONCURRENCIES, self.workload.concurrency, step))

    def action_length(self, field: str, step: int) -> None:
        """A longer or shorter input or reply, within the context."""
        prompt, output = lengths(self.workload)
        other, at = (output, prompt) if field == "prompt" else (self.workload.prompt or 1, output)
        choices = [c for c in _LENGTHS if c + other <= self.workload.context]
        self._turn(**{field: stepped(choices, at, step)})

    def action_cycle(self, name: str) -> None:
        """The next of a few choices."""
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

    def action_workload(self) -> None:
        """Everything that can be asked, as a form."""
        from whichgpu.tui.app.workload_form import WorkloadForm

        def take(terms: Terms | None) -> None:
            if terms is not None:
                before, now = self.workload, terms.workload
                self._turned |= {f: getattr(now, f) for f in LOAD if getattr(now, f) != getattr(before, f)}
                self.ask(terms)

        self.app.push_screen(WorkloadForm(self.terms), take)

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
        self.query_one(KeyTable).show_rows([(p.accelerator, self._row(p)) for p in self._at_precision])
        self._show_card()
        self.refresh_bindings()

    def show_anew(self) -> None:
        self._plots.clear()
        self._show()

    def _row(self, plan: Plan) -> tuple[str, ...]:
        name, *rest = plan_text.row(plan)
        return (f"● {name}" if plan.accelerator in self._marked else name, *rest)

    @property
    def _within_limit(self) -> Workload:
        """The workload as this model can have it: no longer than its context."""
        limit = self.reply.inspection.architecture.context if self.reply.inspection.architecture else None
        return self.workload.model_copy(update={"context": min(self.workload.context, limit or self.workload.context)})

    def _show_workload(self, mark: str) -> None:
        if self.app.size.width >= 120:
            text = "\n".join(f"{name:<12}{value}" for name, value in plan_text.workload_lines(self._within_limit, mark))
        else:
            text = plan_text.two_lines(self._within_limit, mark)
        self.query_one("#workload", Static).update(text)

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
            self._drawing = self.set_timer(3 * _SETTLE, lambda: self._draw(current_plan.accelerator))

    @work(thread=True, exclusive=True, group="plots")
    def _draw(self, accelerator: str) -> None:
        question = self._settled
        self.report(self.Drawn(question, accelerator, over_concurrency(self.reply, question.workload, accelerator)))

    def on_plan_screen_drawn(self, message: Drawn) -> None:
        if message.terms == self._settled:
            self._plots[message.accelerator] = plan_text.plots(message.plans)
            self._show_card()


def stepped(choices: list[int] | tuple[int, ...], at: int, step: int) -> int:
    """The next larger or smaller choice, or the same at the ends."""
    beyond = [c for c in choices if (c > at if step > 0 else c < at)]
    return (min(beyond) if step > 0 else max(beyond)) if beyond else at
