"""Fleet: the list of served models, each sized, and all packed on the cheapest machines."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static, TabbedContent, TabPane
from textual.worker import WorkerCancelled, get_current_worker

from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.text import clean
from whichgpu.plan.fleet_list import FleetEntry, read_fleet
from whichgpu.plan.records import Workload
from whichgpu.tui.app.page import Export, Page, is_hub_id
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.app.widgets import KeyScroll, Line
from whichgpu.tui.asking.question import workload_words
from whichgpu.tui.desk.answering import Question
from whichgpu.tui.desk.fleet import Fleet, list_text, plan_fleet
from whichgpu.tui.words.fleet_report import fleet_record, fleet_sums, machine_rows, model_row
from whichgpu.tui.words.units import dollars, sign

_TAG = "served"
"""Tag in the catalog of what makes the fleet where no file is named."""
_FRESH = 24 * 3600.0
"""Seconds within which the catalog's readings are taken."""


class FleetScreen(Page):
    """Models, machines, totals."""

    HELP = (
        "A file of ids one a line, CSV or YAML (settings of a model: context, concurrency, input, output, rate, precision, "
        f"kv_dtype, replicas), or else the models that carry the tag “{_TAG}” in the catalog. 1 to 3 change the tab."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        # Of priority, so that what is typed or pasted right behind it goes into the line.
        Binding("slash", "name", "File", id="fleet.file", key_display="/", priority=True),
        Binding("enter", "open", "Open", id="fleet.open"),
        Binding("r", "refresh_fleet", "Again", id="fleet.again"),
        Binding("1", "tab('models')", "Models", show=False, id="fleet.models"),
        Binding("2", "tab('machines')", "Machines", show=False, id="fleet.machines"),
        Binding("3", "tab('totals')", "Totals", show=False, id="fleet.totals"),
    ]

    class Counted(Message):
        """So many models were read."""

        def __init__(self, step: str, done: int, total: int) -> None:
            super().__init__()
            self.step, self.done, self.total = step, done, total

    class Packed(Message):
        """The fleet was planned, or could not be."""

        def __init__(self, entries: Sequence[FleetEntry], fleet: Fleet | None, trouble: str) -> None:
            super().__init__()
            self.entries, self.fleet, self.trouble = entries, fleet, trouble

    def __init__(self) -> None:
        super().__init__()
        self._source = ""
        self._entries: Sequence[FleetEntry] = ()
        self._fleet: Fleet | None = None

    def body(self) -> Iterable[Widget]:
        yield Line(placeholder=f"a file of models; nothing is the tag “{_TAG}”", id="filter")
        with TabbedContent(id="tabs"):
            with TabPane("1 Models", id="models"):
                yield KeyTable(
                    lambda: ("model", "what", "size", "copies", "alone on", f"{sign()}/hour"),
                    right=(2, 3, 5),
                    id="fleet-models",
                )
            with TabPane("2 Machines", id="machines"):
                yield KeyTable(
                    lambda: ("of", "machines", f"{sign()}/hour", "full", "models"), right=(1, 2, 3), id="fleet-machines"
                )
            with TabPane("3 Totals", id="totals"):
                yield KeyScroll(Static("", id="fleet-sums", markup=False))

    def on_mount(self) -> None:
        field = self.query_one(Input)
        field.display = self.own_app.local
        self._source = field.value = self.own_app.state.fleet if self.own_app.local else ""
        self.set_focus(self.query_one("#fleet-models"))
        self.action_refresh_fleet()

    def action_refresh_fleet(self) -> None:
        """Read the list and plan it."""
        self.say("Fleet", "reading… (escape cancels)")
        self._plan(self._source, self.own_app.state.workload)

    @work(thread=True, exclusive=True, group="fleet")
    def _plan(self, source: str, workload: Workload) -> None:
        try:
            entries = read_fleet(list_text(source)) if source else self._tagged_entries()
            if not entries:
                self.report(self.Packed((), None, f"No model carries the tag “{_TAG}”: + in the catalog puts it on."))
                return
            question = Question(
                entries[0].model,
                workload,
                offline=self.own_app.offline,
                max_age=_FRESH,
                catalog=self.own_app.desk.catalog,
            )
            fleet = plan_fleet(entries, question, self._count)
            self.report(self.Packed(entries, fleet, ""))
        except WhichgpuError as error:
            self.report(self.Packed((), None, f"{error.message} {error.hint}".strip()))
        except WorkerCancelled:
            pass  # nobody waits for it any more

    def _count(self, step: str, done: int, total: int) -> None:
        if get_current_worker().is_cancelled:
            raise WorkerCancelled
        self.report(self.Counted(step, done, total))

    def _tagged_entries(self) -> tuple[FleetEntry, ...]:
        from whichgpu.catalog.query import search

        rows = search(self.own_app.desk.store, f"tag:{_TAG}", limit=10_000)
        return tuple(FleetEntry(model=r.model) for r in rows if is_hub_id(r.model))

    def on_fleet_screen_counted(self, message: Counted) -> None:
        self.say("Fleet", f"{message.step} {message.done:,}/{message.total:,} (escape cancels)")

    def on_fleet_screen_packed(self, message: Packed) -> None:
        self._entries, self._fleet = message.entries, message.fleet
        if message.fleet is None:
            self.say("Fleet", message.trouble)
            for table in self.query(KeyTable):
                table.show_rows([])
            self.query_one("#fleet-sums", Static).update(message.trouble)
        else:
            self._show(message.fleet)
        self.refresh_bindings()

    def show_anew(self) -> None:
        if self._fleet is not None:
            self._show(self._fleet)

    def _show(self, fleet: Fleet) -> None:
        money = f"{dollars(fleet.packing.usd_per_hour)}/hour"
        failed = f"✗ {len(fleet.failed)} not read" if fleet.failed else ""
        count = f"{len(fleet.planned):,} models on {fleet.packing.cards:,} cards in {len(fleet.packing.machines):,} machines"
        self.say(f"Fleet  {count}", money, failed)
        rows = [(str(number), model_row(p)) for number, p in enumerate(fleet.planned)]
        self.query_one("#fleet-models", KeyTable).show_rows(rows)
        machines = [(str(n), (r[1], r[0], *r[2:])) for n, r in enumerate(machine_rows(fleet.packing.machines))]
        self.query_one("#fleet-machines", KeyTable).show_rows(machines)
        summary_lines = [
            *fleet_sums(fleet, len(self._entries)),
            "",
            *(f"✗ {clean(n)}: {s}" for n, s, _ in fleet.failed),
        ]
        self.query_one("#fleet-sums", Static).update("\n".join([*summary_lines, *(f"note: {n}" for n in fleet.notes)]))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        source = event.value.strip()
        if source == "-":
            self.say("Fleet", "✗ the app has no standard input; name a file")
            return
        self._source = source
        self.own_app.keep_state(self.own_app.state.model_copy(update={"fleet": self._source}))
        self.set_focus(self.query_one("#fleet-models"))
        self.action_refresh_fleet()

    def action_name(self) -> None:
        self.set_focus(self.query_one(Input))

    def action_tab(self, name: str) -> None:
        """Show a tab, and let its content take the keys."""
        self.query_one(TabbedContent).active = name
        self.set_focus(next(w for w in self.query_one(f"#{name}", TabPane).walk_children(Widget) if w.focusable))

    def on_data_table_row_selected(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        """Open the model under the cursor."""
        table = self.query_one("#fleet-models", KeyTable)
        key = table.current
        if self._fleet is not None and key is not None and table.has_focus:
            self.own_app.open_model(self._fleet.planned[int(key)].entry.model)

    def action_back(self) -> None:
        """Escape leaves the line first, then the screen."""
        if self.query_one(Input).has_focus:
            self.set_focus(self.query_one("#fleet-models"))
        else:
            super().action_back()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A slash in the line is one; a browser names no files; machines open nothing."""
        if action == "open":
            return self._fleet is not None and self.is_mounted and self.query_one("#fleet-models").has_focus
        if action == "name":
            return self.own_app.local and not (self.is_mounted and self.query_one(Input).has_focus)
        return super().check_action(action, parameters)

    def one_shot(self) -> str | None:
        words = shlex.join(workload_words(self.own_app.state.workload))
        if self._source:
            return f"whichgpu fleet {shlex.quote(str(Path(self._source).expanduser()))} {words}"
        if not self._entries:
            return None
        names = shlex.join(e.model for e in self._entries)
        return f"printf '%s\\n' {names} | whichgpu fleet - {words}"

    def export(self) -> Export | None:
        fleet = self._fleet
        if fleet is None:
            return None
        return Export("fleet.json", lambda: json.dumps(fleet_record(fleet), indent=2))
