"""The app's further screens, each by its tasks: filters, pins, folders, fixes, the form, counts, fleet, settings, trial."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import DirectoryTree, Input, OptionList, Static, TabbedContent

from tests.driving import drive, listed, opened, planned, title, until
from tests.hub import HubStandIn, shapes
from tests.planning import ask as plans_of
from tests.planning import model as atlas_model
from whichgpu.catalog.records import inspection_finding, tag_finding
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.errors import UsageError
from whichgpu.inspect.records import Part, TensorGroup
from whichgpu.plan.choices import DEFAULT_CONCURRENCY
from whichgpu.plan.records import KvDtype, Objective, Precision, Verdict, Workload
from whichgpu.trial.records import Load
from whichgpu.tui.app import plain
from whichgpu.tui.app.application import WhichgpuApp
from whichgpu.tui.app.browse import Browse
from whichgpu.tui.app.catalog import CatalogScreen
from whichgpu.tui.app.compare import ComparePlans
from whichgpu.tui.app.counts import CountsScreen
from whichgpu.tui.app.fixes import Fixes
from whichgpu.tui.app.fleet import FleetScreen
from whichgpu.tui.app.folders import FolderScreen
from whichgpu.tui.app.jump import Jump
from whichgpu.tui.app.keys import Keys
from whichgpu.tui.app.knowledge import FilterError, Known, matching, together
from whichgpu.tui.app.layers import layer_map
from whichgpu.tui.app.model import ModelScreen
from whichgpu.tui.app.plan import PlanScreen
from whichgpu.tui.app.settings import SettingsScreen
from whichgpu.tui.app.silicon import SiliconScreen
from whichgpu.tui.app.state import State, save
from whichgpu.tui.app.state import load as load_state
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.app.tensors import tree_of
from whichgpu.tui.app.trial import TrialScreen, read_form
from whichgpu.tui.app.words import Words
from whichgpu.tui.app.workload_form import WorkloadForm, parsed
from whichgpu.tui.asking.question import asked_words, workload_words
from whichgpu.tui.desk import settings
from whichgpu.tui.desk.answering import stamp
from whichgpu.tui.desk.desk import open_desk
from whichgpu.tui.desk.replanning import over_counts, within_context
from whichgpu.tui.words import units

Start = Callable[..., HubStandIn]

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHICHGPU_STATE", str(tmp_path / "app.json"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def usual_units() -> Any:
    yield
    units.show(units.Shown())


def said(app: WhichgpuApp) -> str:
    return str(app.screen.query_one("#words Static", Static).content)


class TestBrowse:
    def test_filters_by_fields(self) -> None:
        models = [
            Known("a/small", "atlas", ("moe",), 3 * 10**9, 4096, "mit", False, "2026-03-01"),
            Known("b/large", "Hub", ("multimodal", "moe"), 90 * 10**9, 8192, "llama3", True, "2025-03-01"),
            Known("c/unknown", "Hub"),
        ]

        def names(text: str) -> list[str]:
            return [k.name for k in matching(models, text)]

        assert names("class:moe size:<10B") == ["a/small"]
        assert names("size:>10b") == ["b/large"]
        assert names("licence:mit") == names("license:mit") == ["a/small"]
        assert names("gated:yes") == ["b/large"]
        assert names("gated:no") == ["a/small"], "unknown is neither"
        assert names("changed:2026") == ["a/small"]
        assert names("from:hub large") == ["b/large"]
        assert len(names("class: size:<")) == 3, "a field that is being typed filters nothing"
        with pytest.raises(FilterError, match="no field"):
            names("colour:red")
        with pytest.raises(FilterError, match="no number"):
            names("size:large")

    def test_a_wrong_field_is_a_word_in_the_title(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            rows = app.screen.query_one(KeyTable).row_count
            await pilot.press("slash", *"colour:red")
            await pilot.pause()
            assert "is no field of class" in title(app)
            assert app.screen.query_one(KeyTable).row_count == rows

        drive(task)

    def test_pinned_come_first_and_stay(self) -> None:
        found = together(
            ["z/z"], ["a/a", "z/z"], [Known("a/a", "catalog")], [Known("z/z", "atlas"), Known("b/b", "atlas")]
        )
        assert [(k.name, k.source) for k in found] == [("z/z", "pinned"), ("a/a", "recent"), ("b/b", "atlas")]

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            await until(pilot, lambda: app._state is not None)
            await pilot.press("G", "b")
            last = load_state().pinned[0]
            await until(pilot, lambda: "pinned" in str(app.screen.query_one(KeyTable).get_row(last)[-1]))
            await pilot.press("g")
            assert app.screen.query_one(KeyTable).current == last

        drive(task)
        drive_again: list[str] = []

        async def again(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            await until(pilot, lambda: "pinned" in str(app.screen.query_one(KeyTable).get_row_at(0)[-1]))
            drive_again.append("seen")

        drive(again)
        assert drive_again

    def test_what_it_runs_on_is_worked_out_for_the_rows_in_view(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            table = app.screen.query_one(KeyTable)
            await until(pilot, lambda: "×" in str(table.get_row_at(0)[3]))
            name = table.current
            assert name is not None
            best = plans_of(name).recommended
            assert best is not None
            assert str(table.get_row_at(0)[3]).startswith(f"{best.count} × {best.accelerator.upper().split('_')[0]}")
            assert str(table.get_row_at(50)[3]) == "", "nobody looks there"

        drive(task)

    def test_order_and_filter_are_remembered(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            await until(pilot, lambda: app.restored)
            await pilot.press("o", "o", "slash", *"moe", "enter")
            await opened(pilot, app)

        drive(task)
        assert (load_state().sort, load_state().filter) == ("size", "moe")

        async def again(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await until(pilot, lambda: "by size" in title(app) and "filter “moe”" in title(app))

        drive(again)

    def test_the_first_run_teaches_itself_and_the_second_does_not(self) -> None:
        async def first(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            await until(pilot, lambda: "First time here?" in str(app.screen.query_one("#hint", Static).content))

        drive(first)

        async def opening(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await opened(pilot, app)

        drive(opening, model="Qwen/Qwen3-8B")

        async def later(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await until(pilot, lambda: app.restored)
            assert str(app.screen.query_one("#hint", Static).content) == ""

        drive(later)

    def test_a_folder_is_picked_and_opened(self, tmp_path: Path) -> None:
        model = tmp_path / "mine"
        model.mkdir()
        for name, content in shapes.qwen3_06b().files.items():
            if isinstance(content, bytes):
                (model / name).write_bytes(content)
        (tmp_path / "notes.txt").write_text("no model")

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            await pilot.press("d")
            await until(pilot, lambda: isinstance(app.screen, FolderScreen))
            tree = app.screen.query_one(DirectoryTree)
            await until(pilot, lambda: len(tree.root.children) == 1)
            await pilot.press("j", "o")
            await until(pilot, lambda: isinstance(app.screen, ModelScreen))
            await until(pilot, lambda: "reading" not in title(app))

        drive(task)

    def test_a_browser_gets_no_folders_trials_or_settings(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            await pilot.press("d")
            assert isinstance(app.screen, Browse)
            await pilot.press("comma")
            await until(pilot, lambda: isinstance(app.screen, SettingsScreen))
            await pilot.press("enter")
            assert not Path(os.environ["WHICHGPU_CONFIG"]).exists()
            shown = " ".join(str(s.content) for s in app.screen.query(Static))
            assert str(Path(os.environ["WHICHGPU_STATE"]).parent) not in shown

        drive(task, local=False)


class TestFooter:
    def test_what_there_is_no_room_for_leaves_a_mark(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            keys = app.screen.query_one(Keys)
            await until(pilot, lambda: "Silicon" in str(keys.render()))
            assert not str(keys.render()).endswith("…")
            await pilot.resize_terminal(62, 24)
            await until(pilot, lambda: str(keys.render()).endswith(" …"))
            assert keys.render().cell_length <= keys.size.width

        drive(task)

    def test_a_click_presses_the_key_and_only_keys_that_can_work_are_there(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            keys = app.screen.query_one(Keys)
            await until(pilot, lambda: "Catalog" in str(keys.render()))
            assert "Compare" not in str(keys.render())
            await pilot.press("space", "j", "space")
            await until(pilot, lambda: "c Compare" in str(keys.render()))
            await pilot.click(Keys, offset=(1 + str(keys.render()).index("Catalog"), 0))
            await until(pilot, lambda: isinstance(app.screen, CatalogScreen))

        drive(task)

    def test_the_first_paint_has_the_rows_and_they_are_put_in_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        counts: list[int] = []
        rendered: list[int] = []
        build, lines = KeyTable._rebuild, KeyTable.render_lines

        def built(table: KeyTable, *given: Any) -> None:
            counts.append(len(given[0]))
            build(table, *given)

        def drawn(table: KeyTable, crop: Any) -> Any:
            rendered.append(table.row_count)
            return lines(table, crop)

        monkeypatch.setattr(KeyTable, "_rebuild", built)
        monkeypatch.setattr(KeyTable, "render_lines", drawn)

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await until(pilot, lambda: app.restored)
            assert len(counts) == 1
            assert rendered[0] > 20

        drive(task)


class TestModel:
    def test_layers_precisions_and_tensors(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await opened(pilot, app)
            layers = str(screen.query_one("#layers-text", Static).content)
            assert "ABABABABAB ABABABABAB ABAB" in layers
            assert "A = 12 × sliding-window attention of 128" in layers
            await until(pilot, lambda: "NVFP4" in str(screen.query_one("#precisions-text", Static).content))
            await pilot.press("4", "enter")
            await pilot.pause()
            assert screen.query_one(TabbedContent).active == "tensors"

        drive(task, model="openai/gpt-oss-20b")

    def test_the_config_is_read_only_when_someone_looks(self, start_hub: Start) -> None:
        hub = start_hub({"acme/qwen": shapes.qwen3_06b()})

        def configs() -> int:
            return sum(r.path.endswith("/config.json") for r in hub.requests())

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await opened(pilot, app)
            before = configs()
            await pilot.press("5")
            await until(pilot, lambda: '"num_key_value_heads"' in str(screen.query_one("#config-text", Static).content))
            assert configs() == before + 1
            await pilot.press("4", "5")
            assert configs() == before + 1

        drive(task, offline=False, model="acme/qwen")

    def test_without_a_network_the_config_says_so(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await opened(pilot, app)
            await pilot.press("5")
            await until(pilot, lambda: "not on this machine" in str(screen.query_one("#config-text", Static).content))

        drive(task, model="Qwen/Qwen3-8B")

    def test_a_model_is_exported_and_never_over_another_file(self, tmp_path: Path) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await opened(pilot, app)
            await pilot.press("x", "x", "m")
            await until(pilot, lambda: isinstance(app.screen, Words))
            assert "whichgpu --model Qwen/Qwen3-8B" in said(app)

        drive(task, model="Qwen/Qwen3-8B")
        first, second = (tmp_path / f"Qwen-Qwen3-8B{tail}.json" for tail in ("", "-2"))
        assert json.loads(first.read_text())["source"]["name"] == "Qwen/Qwen3-8B"
        assert second.read_text() == first.read_text()

    def test_unknown_layouts_are_said(self) -> None:
        assert "unknown" in layer_map(None)
        architecture = atlas_model("Qwen/Qwen3-8B").architecture
        assert architecture is not None
        bare = architecture.model_copy(update={"mixer_layout": (), "feed_forward_layout": ()})
        assert "does not say" in layer_map(bare)


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("abc*"), min_size=1, max_size=4), st.integers(1, 9), st.integers(0, 10**9)),
        max_size=30,
    )
)
def test_the_tree_counts_every_tensor_once(named: list[tuple[list[str], int, int]]) -> None:
    groups = [
        TensorGroup(name=".".join(n), part=Part.OTHER, shape=(1,), count=c, dtype="BF16", parameters=0, bytes=b)
        for n, c, b in named
    ]
    root = tree_of(groups)
    assert root.count == sum(c for _, c, _ in named)
    assert root.bytes == sum(b for *_, b in named)


class TestPlan:
    def test_a_fix_is_chosen_and_asked(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            screen.ask(parsed_with(screen, ["--gpu", "H100", "--context", "40960", "--concurrency", "512"]))
            await until(pilot, lambda: screen.chosen is not None and bool(screen.chosen.remedies))
            assert screen.chosen is not None
            remedies = screen.chosen.remedies
            await pilot.press("f")
            await until(pilot, lambda: isinstance(app.screen, Fixes))
            first = next(r for r in remedies if r.changes)
            app.screen.query_one(OptionList).highlighted = remedies.index(first)
            await pilot.press("enter")
            await until(pilot, lambda: screen.asked == screen._settled and isinstance(app.screen, PlanScreen))
            name, value = next(iter(first.changes.items()))
            assert screen.workload.model_dump(mode="json")[name] == value
            plan = next(p for p in screen.result.plans if p.precision is screen.workload.precision)
            assert plan.footprint is not None
            assert (plan.verdict, plan.footprint.pool) == (first.verdict, first.pool), "as it was recomputed"

        drive(task, model="Qwen/Qwen3-32B")

    def test_the_form_asks_and_refuses_by_the_command_lines_rules(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.press("w")
            await until(pilot, lambda: isinstance(app.screen, WorkloadForm))
            app.screen.query_one("#ooutput", Input).value = "9000"
            app.screen.query_one("#ocontext", Input).focus()
            await pilot.press("enter")
            assert "more than the context" in str(app.screen.query_one("#form-trouble", Static).content)
            app.screen.query_one("#ooutput", Input).value = "256"
            app.screen.query_one("#ogpu", Input).value = "H100:80GB:$1.85 L40S"
            app.screen.query_one("#omax-tpot", Input).value = "50"
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, PlanScreen) and screen.asked == screen._settled)
            assert {p.accelerator for p in screen.result.plans} == {"h100_sxm", "l40s"}
            assert (screen.workload.output, screen.workload.max_tpot_ms) == (256, 50)
            await pilot.press("m")
            await until(pilot, lambda: isinstance(app.screen, Words))
            assert "--output 256 --max-tpot 50" in said(app).replace("\n", " ")

        drive(task, model="Qwen/Qwen3-8B")

    def test_hints_of_the_form_are_marked_where_they_are_cut(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await planned(pilot, app)
            await pilot.press("w")
            await until(pilot, lambda: app.screen.query_one("#ocards", Input).placeholder.endswith("…"))
            await pilot.resize_terminal(160, 40)
            await until(pilot, lambda: app.screen.query_one("#ocards", Input).placeholder.endswith("as serve)."))

        drive(task, model="Qwen/Qwen3-8B")

    def test_a_card_that_is_none_leaves_the_last_answer(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            before = screen.result
            screen.ask(parsed_with(screen, ["--gpu", "H9000"]))
            await until(pilot, lambda: "✗" in title(app))
            assert "H9000" in title(app)
            assert screen.result is before
            assert screen.asked.own.accelerators == ()

        drive(task, model="Qwen/Qwen3-8B")

    def test_lengths_are_stepped_within_the_context(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.press("I", "I", "r")
            assert (screen.workload.prompt, screen.workload.output) == (2048, 2048)
            await pilot.press("C", "C", "C")
            assert screen.workload.context == 1024
            assert (screen.workload.prompt or 1) + (screen.workload.output or 1) <= 1024

        drive(task, model="Qwen/Qwen3-8B")

    def test_every_card_with_every_count(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.press("h")
            await until(
                pilot, lambda: isinstance(app.screen, CountsScreen) and app.screen.query_one(KeyTable).row_count > 3
            )
            table = app.screen.query_one(KeyTable)
            row = [str(c) for c in table.get_row("h100_sxm")]
            assert row[1] == "✗ no", "the weights alone have twice one card's memory"
            assert row[3].startswith("✓ "), "Llama 70B on four H100"
            await pilot.press("v")
            assert "tokens/s" in title(app)
            plans = over_counts(screen.reply, screen.workload, (4,))["h100_sxm"]
            assert plans[4].count == 4

        drive(task, model="meta-llama/Llama-3.1-70B-Instruct")

    def test_plans_are_marked_and_compared(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await planned(pilot, app)
            await pilot.press("equals_sign")
            assert isinstance(app.screen, PlanScreen), "comparing needs two"
            await pilot.press("space", "j", "space", "equals_sign")
            await until(pilot, lambda: isinstance(app.screen, ComparePlans))
            text = str(app.screen.query_one("#compared", Static).content)
            assert "≠" in text
            assert "ms per token" in text

        drive(task, model="Qwen/Qwen3-8B")

    def test_a_tall_screen_plots_the_row(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await until(pilot, lambda: "to 1,024" in str(screen.query_one("#bar", Static).content))
            assert "longest" in str(screen.query_one("#bar", Static).content)

        drive(task, model="Qwen/Qwen3-8B", size=(120, 36))

    def test_a_tired_request_is_not_shown(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            shown = screen.result
            await pilot.press("n", "n", "n", "N", "N", "N")
            await until(pilot, lambda: screen.result is not shown and screen.asked == screen._settled)
            assert screen.result.workload.concurrency == screen.workload.concurrency == 16

        drive(task, model="Qwen/Qwen3-8B")


def parsed_with(screen: PlanScreen, words: list[str]) -> Any:
    return parsed([*asked_words(screen.asked), *words])


workloads = st.builds(
    Workload,
    context=st.integers(4096, 10**6),
    concurrency=st.integers(1, 10**4),
    prompt=st.none() | st.integers(1, 2000),
    output=st.none() | st.integers(1, 2000),
    rate=st.none() | st.floats(0.01, 1e4),
    precision=st.sampled_from(Precision),
    kv_dtype=st.sampled_from(KvDtype),
    objective=st.sampled_from(Objective),
    price_kind=st.sampled_from(["on-demand", "spot"]),
    busy=st.floats(0.01, 1),
    max_tpot_ms=st.none() | st.floats(0.1, 1e4),
    max_usd_per_hour=st.none() | st.floats(0.1, 1e4),
    vllm=st.none() | st.just("0.19"),
    max_sequences=st.none() | st.integers(1, 10**4),
    batched_tokens=st.none() | st.integers(1, 10**5),
    eager=st.booleans(),
    speculative_tokens=st.integers(0, 8),
    text_only=st.booleans(),
)


@given(workloads)
def test_a_workload_as_words_is_the_same_workload(workload: Workload) -> None:
    """What the app shows as a command asks what the app asked."""
    found = parsed(workload_words(workload)).workload
    close = {n: pytest.approx(v, rel=1e-9) if isinstance(v, float) else v for n, v in workload.model_dump().items()}
    assert found.model_dump() == close


def test_a_share_that_was_asked_for_is_in_the_words() -> None:
    asked = Workload(context=8192, concurrency=4, utilisation=0.8, utilisation_asked=True)
    assert parsed(workload_words(asked)).workload == asked
    with pytest.raises(click.ClickException):
        parsed(["--context", "none"])


class TestPlaces:
    def test_help_lists_keys_with_ids_and_what_cannot_work_now(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            await pilot.press("question_mark")
            await until(pilot, lambda: isinstance(app.screen, Words))
            text = said(app)
            assert "browse.filter" in text
            assert "table.down" in text
            (compare,) = [line for line in text.splitlines() if "browse.compare" in line]
            assert "(not now)" in compare

        drive(task)

    def test_all_actions_are_in_the_palette(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await planned(pilot, app)
            titles = {c.title for c in app.get_system_commands(app.screen)}
            assert {"plan: Copy", "plan: Explain", "go: fleet", "theme: ansi-dark", "page: Back"} <= titles
            await pilot.press("colon")
            await until(pilot, lambda: isinstance(app.screen, CommandPalette))
            await pilot.press(*"silicon")
            await pilot.pause(0.5)
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, SiliconScreen))
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, Words) and "source" in said(app))

        drive(task, model="Qwen/Qwen3-8B")

    def test_jumping_goes_to_a_pane_and_to_a_tab(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await opened(pilot, app)
            await pilot.press("apostrophe")
            await until(pilot, lambda: isinstance(app.screen, Jump))
            await pilot.press("f")
            await until(pilot, lambda: app.screen is screen)
            await until(pilot, lambda: screen.query_one(TabbedContent).active != "what")
            await pilot.press("apostrophe", "escape")
            await until(pilot, lambda: app.screen is screen)

        drive(task, model="Qwen/Qwen3-8B")

    def test_a_fleet_from_a_file_and_from_the_tag(self, tmp_path: Path) -> None:
        (tmp_path / "fleet.txt").write_text("Qwen/Qwen3-8B\nopenai/gpt-oss-20b\nnobody/nothing\n")

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            await pilot.press("l")
            await until(pilot, lambda: isinstance(app.screen, FleetScreen) and "No model carries" in title(app))
            await pilot.press("slash", *"fleet.txt", "enter")
            await until(pilot, lambda: "2 models on" in title(app))
            assert "1 not read" in title(app)
            assert app.screen.query_one("#fleet-models", KeyTable).row_count == 2
            sums = str(app.screen.query_one("#fleet-sums", Static).content)
            assert "2 of 3 models answered" in sums
            assert "nobody/nothing" in sums
            await pilot.press("m")
            await until(pilot, lambda: isinstance(app.screen, Words))
            assert "whichgpu fleet fleet.txt" in said(app)
            await pilot.press("escape", "x", "enter")
            await opened(pilot, app)

        drive(task)
        assert load_state().fleet == "fleet.txt"
        assert json.loads((tmp_path / "fleet.json").read_text())["totals"]["models"] == 2
        load_state()
        found = inspection_finding(atlas_model("Qwen/Qwen3-8B"), stamp())
        Catalog(tmp_path / "catalog.db").add(found, tag_finding("Qwen/Qwen3-8B", "served", True, stamp()))

        async def tagged(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            app.keep_state(app.state.model_copy(update={"fleet": ""}))
            await pilot.press("l")
            await until(pilot, lambda: "1 models on" in title(app))
            await pilot.press("m")
            await until(pilot, lambda: isinstance(app.screen, Words))
            assert "Qwen/Qwen3-8B | whichgpu fleet -" in said(app).replace("\n", " ")

        drive(tagged)

    def test_the_catalog_tells_history_difference_and_status(self, tmp_path: Path) -> None:
        async def opening(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await opened(pilot, app)

        drive(opening, model="Qwen/Qwen3-8B")

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            await pilot.press("a")
            await until(pilot, lambda: "1 models" in title(app))
            for key, words in (("h", "inspection"), ("i", "schema"), ("d", "")):
                await pilot.press(key)
                await until(pilot, lambda: isinstance(app.screen, Words))
                assert words in said(app)
                await pilot.press("escape")
            await pilot.press("o", "x")
            await until(pilot, lambda: "by model" in title(app))

        drive(task)
        assert json.loads((tmp_path / "catalog.jsonl").read_text())["model"] == "Qwen/Qwen3-8B"

    def test_a_long_catalog_comes_page_by_page(self, tmp_path: Path) -> None:
        base = atlas_model("Qwen/Qwen3-8B")
        found = [
            inspection_finding(
                base.model_copy(update={"source": base.source.model_copy(update={"name": f"a/m{number:04}"})}), stamp()
            )
            for number in range(650)
        ]
        Catalog(tmp_path / "catalog.db").add(*found)

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            await pilot.press("a")
            await until(pilot, lambda: isinstance(app.screen, CatalogScreen) and "300+ models" in title(app))
            table = app.screen.query_one(KeyTable)
            await pilot.press("G")
            await until(pilot, lambda: "600+ models" in title(app))
            await pilot.press("G")
            await until(pilot, lambda: "650 models" in title(app))
            await pilot.press("G")
            await until(pilot, lambda: table.row_count == 650)
            assert table.current == "a/m0000", "the oldest"

        drive(task)


class TestSettings:
    def test_defaults_comments_and_what_people_wrote_stay(self, tmp_path: Path) -> None:
        path = tmp_path / "config.toml"
        assert settings.load() == settings.Settings()
        settings.save({"memory_unit": "GB"})
        assert "# GiB (2^30 bytes) or GB (10^9)" in path.read_text()
        path.write_text(path.read_text() + '\n# mine\n"plan.copy" = "Y"\n')
        settings.save({"theme": "ansi-dark"})
        assert "# mine" in path.read_text()
        assert settings.load().keys == {"plan.copy": "Y"}
        assert settings.load().memory_unit == "GB"

    @pytest.mark.parametrize(
        "text", ["theme = ", 'theme = "pink"', 'colour = "red"', "per_usd = 0", 'currency = "dollars"', "\x00"]
    )
    def test_a_broken_file_is_said_and_never_written_over(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "config.toml"
        path.write_text(text)
        with pytest.raises(UsageError):
            settings.load()
        with pytest.raises(UsageError):
            settings.save({"theme": "ansi-dark"})
        assert path.read_text() == text

    def test_the_command_line_takes_them_too(self, tmp_path: Path, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        words = ("-m", "Qwen/Qwen3-8B", "--offline", "--gpu", "H100:80GB:$2")
        before = ask(*words).out
        monkeypatch.delenv("WHICHGPU_CATALOG")
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        (tmp_path / "config.toml").write_text(
            f'memory_unit = "GB"\ncurrency = "EUR"\nper_usd = 0.5\ncatalog = "{tmp_path}/team.db"\n'
        )
        after = ask(*words).out
        assert "$2.00" in before
        assert "$" not in after
        assert "€1.00" in after
        assert "GiB" not in after
        assert (tmp_path / "team.db").exists()
        monkeypatch.delenv("WHICHGPU_CATALOG", raising=False)
        (tmp_path / "config.toml").write_text("theme =")
        assert ask(*words).code == 2

    def test_a_setting_is_turned_and_holds_at_once(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            await pilot.press("comma")
            await until(pilot, lambda: isinstance(app.screen, SettingsScreen))
            await pilot.press("enter")
            assert app.theme == settings.THEMES[1]
            await pilot.press("j", "enter")
            assert app.get_line_filters()
            table = app.screen.query_one(KeyTable)
            names = [*settings.Settings.model_fields]
            for name, text in (("currency", "EUR"), ("per_usd", "0.5"), ("currency", "dollars"), ("currency", "EUR")):
                table.move_cursor(row=names.index(name))
                await pilot.press("enter", *["backspace"] * 3, *("full_stop" if c == "." else c for c in text), "enter")
                await pilot.pause()
            assert units.dollars(2.0) == "€1.00"

        drive(task)
        found = settings.load()
        assert (found.theme, found.ascii, found.currency) == (settings.THEMES[1], True, "EUR")

    def test_units_and_currency_hold_on_screens_that_are_open(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            plan = await planned(pilot, app)
            table = plan.query_one(KeyTable)
            before = [c.label.plain for c in table.ordered_columns], [str(c) for c in table.get_row_at(0)]
            await pilot.press("comma")
            await until(pilot, lambda: isinstance(app.screen, SettingsScreen))
            settings.save({"currency": "CHF", "per_usd": 2.0})
            app.screen.query_one(KeyTable).move_cursor(row=list(settings.MEANINGS).index("memory_unit"))
            await pilot.press("enter", "escape")
            await until(pilot, lambda: app.screen is plan)
            after = [c.label.plain for c in table.ordered_columns], [str(c) for c in table.get_row_at(0)]
            assert (before[0][-2:], after[0][-2:]) == (["$/h", "$/Mtok"], ["CHF /h", "CHF /Mtok"])
            assert float(after[1][-2].removeprefix("CHF ")) == pytest.approx(2 * float(before[1][-2][1:]), abs=0.02)
            assert before[1][3] != after[1][3], "GiB became GB"

        drive(task, model="Qwen/Qwen3-32B")

    def test_keys_are_remapped_by_their_ids(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            app.take(replace(app.desk, settings=settings.Settings(keys={"plan.copy": "Y"})))
            await planned(pilot, app)
            await pilot.press("y")
            assert app.clipboard == ""
            await pilot.press("Y")
            assert app.clipboard.startswith("vllm serve")

        drive(task, model="Qwen/Qwen3-8B")

    def test_ascii_mode_draws_nothing_else(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            app.draw_ascii(True)
            for key in ("p", "e", "escape", "u", "escape", "4"):
                await planned(pilot, app) if key == "p" else await pilot.press(key)
                await pilot.pause(0.3)
                lines = app.screen._compositor.render_strips()
                assert all(strip.text.isascii() for strip in lines), [s.text for s in lines if not s.text.isascii()]

        drive(task, model="Qwen/Qwen3-8B")

    @given(st.text(max_size=80))
    def test_ascii_is_as_wide(self, text: str) -> None:
        from rich.cells import cell_len

        found = plain.plain(text)
        assert found.isascii()
        assert cell_len(found) == cell_len(text) or not text.isprintable()


class TestFoundByReading:
    """Each of these once went wrong."""

    def test_a_hub_that_refuses_is_a_word_in_the_title(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from whichgpu.inspect.errors import AccessError
        from whichgpu.tui.app.searching import ask_around

        def refuse(words: str) -> Any:
            raise AccessError("The token is not accepted.", "")

        monkeypatch.setattr("whichgpu.tui.app.searching.search_hub", refuse)
        assert ask_around(open_desk(), "llama", offline=False)[1] == "the Hub: The token is not accepted."

    def test_marks_outlive_no_row(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.press("space", "j", "space")
            screen.ask(parsed_with(screen, ["--gpu", "B200"]))
            await until(pilot, lambda: len(screen.result.plans) <= 3)
            await pilot.press("equals_sign")
            assert isinstance(app.screen, PlanScreen)

        drive(task, model="Qwen/Qwen3-8B")

    def test_an_open_quote_in_the_form_is_said(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await planned(pilot, app)
            await pilot.press("w")
            await until(pilot, lambda: isinstance(app.screen, WorkloadForm))
            app.screen.query_one("#ogpu", Input).value = 'H100"'
            await pilot.press("enter")
            assert "close the quote" in str(app.screen.query_one("#form-trouble", Static).content)

        drive(task, model="Qwen/Qwen3-8B")

    def test_a_refused_workload_is_not_remembered(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            screen.ask(parsed_with(screen, ["--vllm", "abc"]))
            await until(pilot, lambda: "✗" in title(app))

        drive(task, model="Qwen/Qwen3-8B")
        assert load_state().workload.vllm is None

    def test_prices_of_the_user_hold_for_spot_and_in_the_command(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            screen.ask(parsed_with(screen, ["--gpu", "H100:60GB:$0.10", "--gpu", "L40S"]))
            await until(pilot, lambda: screen.asked == screen._settled and len(screen.result.plans) > 1)
            await pilot.press("s")
            await until(pilot, lambda: screen.result.workload.price_kind == "spot")
            best = screen.result.recommended
            assert best is not None
            assert best.usd_per_hour == pytest.approx(0.10 * best.count)
            await until(pilot, lambda: screen.chosen is not None)
            assert "--gpu 'H100:60GB:$0.10'" in (screen.one_shot() or "")

        drive(task, model="Qwen/Qwen3-8B")

    def test_a_short_model_leaves_the_users_context_alone(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            assert screen.result.workload.context == 4096
            await pilot.press("n")
            await until(pilot, lambda: screen.result.workload.concurrency == 32)

        drive(task, model="01-ai/Yi-34B")
        assert load_state().workload.context == 8192

    @given(st.integers(1, 10_000), st.none() | st.integers(1, 10_000), st.none() | st.integers(1, 10_000))
    def test_lengths_are_within_the_context(self, context: int, prompt: int | None, output: int | None) -> None:
        load = Workload(context=context, concurrency=1, prompt=prompt, output=output)
        assert parsed(workload_words(within_context(load))).workload.context == context

    def test_a_name_typed_in_full_is_that_model(self) -> None:
        async def opening(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await opened(pilot, app)

        drive(opening, model="Qwen/Qwen3-8B-FP8")

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await until(pilot, lambda: app.restored)
            await pilot.press("slash", *"qwen", "slash", *"qwen3-8b", "enter")
            screen = await opened(pilot, app)
            assert screen.reply is not None
            assert screen.reply.inspection.source.name == "Qwen/Qwen3-8B"

        drive(task)

    def test_the_fleet_reads_no_standard_input(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            await pilot.press("l", "slash", "minus", "enter")
            await until(pilot, lambda: "no standard input" in title(app))

        drive(task)
        assert load_state().fleet == ""

    def test_a_finding_of_others_with_odd_terms_is_unknown(self, tmp_path: Path) -> None:
        base = atlas_model("Qwen/Qwen3-8B")
        found = inspection_finding(base, stamp())
        body = json.loads(found.body)
        body["source"] |= {"gated": 7, "licence": ["x"], "modified": {}}
        from whichgpu.catalog.query import search
        from whichgpu.catalog.records import canonical, identity_of

        text = canonical(body)
        odd = found.model_copy(
            update={"body": text, "identity": identity_of(found.kind, found.about, found.tool_version, text)}
        )
        Catalog(tmp_path / "catalog.db").add(odd)
        (row,) = search(Catalog(tmp_path / "catalog.db"), "qwen")
        assert (row.gated, row.licence, row.modified) == (None, None, None)

    def test_a_browser_is_told_no_paths(self, tmp_path: Path) -> None:
        from whichgpu.tui.app.state import State, save

        save(State(recent=("/home/ada/secret", "Qwen/Qwen3-8B"), pinned=("./mine",)))

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await until(pilot, lambda: app.restored)
            await until(pilot, lambda: "recent" in str(app.screen.query_one(KeyTable).get_row_at(0)[-1]))
            assert app.screen.query_one(KeyTable).current == "Qwen/Qwen3-8B"
            await pilot.press("slash", *"secret")
            await pilot.pause()
            table = app.screen.query_one(KeyTable)
            assert not any("/home" in str(table.get_row_at(at)[0]) for at in range(table.row_count))

        drive(task, local=False)

    def test_file_names_are_text(self, tmp_path: Path) -> None:
        (tmp_path / "a\x1b]0;pwn\x07[red]b").mkdir()

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            await pilot.press("d")
            await until(pilot, lambda: isinstance(app.screen, FolderScreen))
            tree = app.screen.query_one(DirectoryTree)
            await until(pilot, lambda: len(tree.root.children) == 1)
            label = str(tree.root.children[0].label)
            assert "\x1b" not in label
            assert "[red]" in label

        drive(task)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("where", "localhost:8000"), ("loads", "0"), ("loads", "a"), ("budget", "inf"), ("cache", "-5"), ("cache", "nan"), ("weights", "reel"), ("vllm", '"/x')],
    )  # fmt: skip
    def test_the_trials_form_keeps_the_rules(self, name: str, value: str) -> None:
        usual = {"where": "cpu", "vllm": "", "loads": "1,4", "budget": "60", "weights": "dummy", "cache": "64"}
        assert read_form(usual).options.loads == (Load(concurrency=1), Load(concurrency=4))
        with pytest.raises(UsageError):
            read_form(usual | {name: value})


class TestTrial:
    """The engine's stand-in, through the app: the real one is driven by the same functions in test_trial.py."""

    async def opened(self, pilot: Pilot[None], app: WhichgpuApp, at: str) -> TrialScreen:
        await planned(pilot, app)
        await pilot.press("T")
        await until(pilot, lambda: isinstance(app.screen, TrialScreen))
        screen = app.screen
        assert isinstance(screen, TrialScreen)
        await until(pilot, lambda: "Write cpu at" in self.text(screen) or "vllm serve" in self.text(screen))
        for name, value in (("where", "cpu"), ("vllm", at), ("loads", "2")):
            screen.query_one(f"#t-{name}", Input).value = value
        await pilot.press("e", "enter")
        await until(pilot, lambda: "this machine's CPU" in self.text(screen))
        return screen

    def text(self, screen: TrialScreen) -> str:
        return str(screen.query_one("#trial-text", Static).content)

    def test_it_says_what_runs_shows_the_stages_and_keeps_the_record(
        self, tmp_path: Path, fake: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        at, seen = fake("ok"), list[str]()

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await self.opened(pilot, app, at)
            assert "vllm serve Qwen/Qwen3-8B" in self.text(screen)
            await pilot.press("m")
            await until(pilot, lambda: isinstance(app.screen, Words))
            assert f"--vllm-at {at} --sweep 2 --budget 300 --cpu" in said(app)
            await pilot.press("escape", "s")
            await until(pilot, lambda: seen.append(title(app)) or "Kept in the catalog" in self.text(screen))  # type: ignore[func-returns-value]
            assert "measured" in title(app)
            assert "predicted" in self.text(screen)
            assert "tokens/s out" in self.text(screen)
            await pilot.press("x")

        drive(task, model="Qwen/Qwen3-8B")
        assert any("escape stops it" in t for t in seen)
        assert list(tmp_path.glob("trial-*.json"))
        with Catalog(tmp_path / "catalog.db").reading() as connection:
            assert connection.execute("SELECT count(*) FROM trials").fetchone() == (1,)

    def test_escape_stops_it_and_vllm_with_it(
        self, tmp_path: Path, fake: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from whichgpu.trial.process import living

        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        at = fake("slow-bench")

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await self.opened(pilot, app, at)
            await pilot.press("s")
            await until(pilot, lambda: "2 at once" in self.text(screen))
            assert living(tmp_path / "state" / "whichgpu" / "trials")
            await pilot.press("escape")
            await until(pilot, lambda: "Stopped; vLLM is gone" in self.text(screen))
            assert not living(tmp_path / "state" / "whichgpu" / "trials")
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, PlanScreen))

        drive(task, model="Qwen/Qwen3-8B")


def test_workers_touch_no_widget_on_any_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading or changing the tree of widgets from a worker's thread fails here, whatever screen does it."""
    main, strangers = threading.get_ident(), list[str]()
    for kind, name in ((Static, "update"), (KeyTable, "show_rows"), (Widget, "query_one"), (Widget, "refresh")):
        real = getattr(kind, name)

        def watched(self: Any, *args: Any, real: Any = real, name: str = name, **options: Any) -> Any:
            if threading.get_ident() != main:
                strangers.append(f"{type(self).__name__}.{name}")
            return real(self, *args, **options)

        monkeypatch.setattr(kind, name, watched)

    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await planned(pilot, app)
        for keys in (
            ("c",),
            ("u",),
            ("escape", "h"),
            ("escape", "T"),
            ("escape", "escape", "5"),
            ("escape", "a"),
            ("i",),
        ):
            await pilot.press(*keys)
            await pilot.pause(0.4)
        await pilot.press("escape", "escape", "l")
        await pilot.pause(0.4)

    drive(task, model="Qwen/Qwen3-8B", size=(120, 36))
    assert strangers == []


def test_a_defect_ends_in_one_sentence_with_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from whichgpu.tui.app.delivery import crash_sentence

    try:
        raise RuntimeError("boom")
    except RuntimeError as error:
        sentence = crash_sentence(error).plain
    assert sentence.startswith("whichgpu: error: The app did not expect this: RuntimeError: boom.")
    log = tmp_path / "crash.log"
    assert str(log) in sentence
    assert "boom" in log.read_text()


def test_verdicts_are_never_colour_alone() -> None:
    from whichgpu.tui.app.plan_text import GLYPHS

    assert set(GLYPHS) == set(Verdict)
    assert len(set(GLYPHS.values())) == len(GLYPHS)


def test_a_wide_list_shows_the_row_beside_it() -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await listed(pilot, app)
        detail = app.screen.query_one("#detail", Static)
        await pilot.press("slash", *"gpt-oss-20b", "escape")
        await until(pilot, lambda: "mxfp4 experts" in str(detail.content))
        assert "12.8 GiB" in str(detail.content)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: not detail.display)

    drive(task, size=(120, 36))


class TestFaultsOfTheFirstApp:
    """Each was seen by a person in a terminal; the mechanism is mended."""

    def test_limits_and_fixes_stay_with_the_model_they_were_asked_for(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.press("n", "o")  # more at once, another objective
            await until(pilot, lambda: screen._settled == screen.asked)
            screen.ask(parsed_with(screen, ["--cards", "1", "--max-price", "1"]))
            await until(pilot, lambda: screen._settled == screen.asked)
            screen._change({"context": 256})  # as a fix does
            await until(pilot, lambda: screen._settled == screen.asked)
            load = app.state.workload
            assert load.concurrency > DEFAULT_CONCURRENCY, "the load is the user's, whichever the model"
            assert load.context == 8192, "a fix is this model's"
            assert (load.cards, load.max_usd_per_hour, load.objective) == (None, None, Objective.COST)

        drive(task, model="Qwen/Qwen3-8B")

    def test_limits_that_an_older_app_had_remembered_are_dropped(self, tmp_path: Path) -> None:
        workload = Workload(context=4096, concurrency=4, cards=1, max_usd_per_hour=1.0, objective=Objective.LATENCY)
        save(State(workload=workload))
        assert load_state().workload == Workload(context=4096, concurrency=4)

    def test_arrows_move_through_the_form_and_what_is_typed_is_in_view(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await planned(pilot, app)
            await pilot.press("w")
            await until(pilot, lambda: isinstance(app.screen, WorkloadForm))
            first = app.focused
            for _ in range(20):
                await pilot.press("down")
            await pilot.pause(0.2)
            line = app.focused
            assert line is not None
            assert line is not first
            assert 0 < line.region.y < 24
            assert line.region.height == 1, "it is on the screen"
            await pilot.press("up")
            assert app.focused is not line

        drive(task, model="Qwen/Qwen3-8B", size=(80, 24))

    @pytest.mark.parametrize("size", [(100, 12), (80, 15), (80, 24)])
    def test_small_heights_have_rows(self, size: tuple[int, int]) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.pause(0.3)
            table = screen.query_one("#plans", KeyTable)
            assert table.size.height >= 4, "a header and three rows"
            assert screen.query_one("#below").size.height >= 2, "and what the row under the cursor has"

        drive(task, model="Qwen/Qwen3-8B", size=size)

    def test_the_memory_bar_takes_the_new_width(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.pause(0.3)
            for width in (118, 70, 100):
                await pilot.resize_terminal(width, 24)
                await pilot.pause(0.4)
                bar = screen.query_one("#bar", Static)
                assert len(str(bar.content).splitlines()[0]) == bar.size.width

        drive(task, model="Qwen/Qwen3-8B")


_LONG_SESSION = """
import gc
gc.disable()  # as the entry point does for its one-shot
from whichgpu.tui.app import application
from whichgpu.tui.desk.desk import open_desk
from tests.driving import planned

async def turned(app):
    assert gc.isenabled()
    async with app.run_test() as pilot:
        await planned(pilot, app)
        counts = []
        for _ in range(3):
            for _ in range(6):
                await pilot.press("n", "N")
                await pilot.pause(0.1)
            counts.append(len(gc.get_objects()))
        print(*counts)

application._until_left = turned
application.run(open_desk(), True, "Qwen/Qwen3-8B")
"""


def test_a_long_session_stays_flat() -> None:
    """36 keys: what they leave behind is collected, whatever the one-shot has switched off for itself."""
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", _LONG_SESSION], capture_output=True, text=True, cwd=root, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    first, _, last = map(int, done.stdout.split())
    assert last < 1.03 * first, done.stdout
