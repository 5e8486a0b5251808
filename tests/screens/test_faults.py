"""What reading and use have found: each stays mended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.events import Paste
from textual.pilot import Pilot
from textual.widgets import DirectoryTree, Input, Static

from tests.driving import drive, listed, opened, parsed_with, planned, title, until
from tests.planning import model as atlas_model
from whichgpu.catalog.records import inspection_finding
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.errors import UsageError
from whichgpu.plan.choices import DEFAULT_CONCURRENCY
from whichgpu.plan.records import Objective, Workload
from whichgpu.trial.records import Load
from whichgpu.tui.app.application import WhichgpuApp
from whichgpu.tui.app.folders import FolderScreen
from whichgpu.tui.app.keys import Keys
from whichgpu.tui.app.plan import PlanScreen
from whichgpu.tui.app.state import State, save
from whichgpu.tui.app.state import load as load_state
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.app.trial import read_form
from whichgpu.tui.app.workload_form import WorkloadForm, parsed
from whichgpu.tui.asking.question import workload_words
from whichgpu.tui.desk.answering import stamp
from whichgpu.tui.desk.desk import open_desk
from whichgpu.tui.desk.replanning import within_context

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def said(app: WhichgpuApp) -> str:
    return str(app.screen.query_one("#words Static", Static).content)


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
            screen.ask(parsed_with(screen, ["--vllm", "0.1"]))
            await until(pilot, lambda: "✗" in title(app))

        drive(task, model="Qwen/Qwen3-8B")
        assert load_state().workload.vllm is None

    def test_prices_of_the_user_hold_for_spot_and_in_the_command(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            screen.ask(parsed_with(screen, ["--gpu", "H100:60GB:$0.10", "--gpu", "L40S"]))
            await until(pilot, lambda: screen.terms == screen._settled and len(screen.result.plans) > 1)
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


class TestFaultsOfTheFirstApp:
    """Each was seen by a person in a terminal; the mechanism is mended."""

    def test_limits_and_fixes_stay_with_the_model_they_were_asked_for(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.press("n", "o")  # more at once, another objective
            await until(pilot, lambda: screen._settled == screen.terms)
            screen.ask(parsed_with(screen, ["--cards", "1", "--max-price", "1"]))
            await until(pilot, lambda: screen._settled == screen.terms)
            screen._change({"context": 256})  # as a fix does
            await until(pilot, lambda: screen._settled == screen.terms)
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

    @pytest.mark.parametrize(
        ("pasted", "listed_first"),
        [
            ("qwen3-32b\n", "Qwen/Qwen3-32B"),
            ("https://huggingface.co/openai/gpt-oss-20b/tree/main", "openai/gpt-oss-20b"),
            ("  Qwen/Qwen3-8B\r\n", "Qwen/Qwen3-8B"),
        ],
    )
    def test_a_paste_goes_to_the_line_and_enter_opens_what_it_names(self, pasted: str, listed_first: str) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            app.post_message(Paste(pasted))
            await until(pilot, lambda: app.screen.query_one(KeyTable).current == listed_first)
            assert "is no field" not in title(app)
            await pilot.press("enter")
            screen = await opened(pilot, app)
            assert screen.reply is not None
            assert screen.reply.inspection.source.name == listed_first

        drive(task)

    def test_a_hostile_paste_is_text(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            app.post_message(Paste("\x1b]0;pwn\x07" + "a " * 10_000))
            await until(pilot, lambda: bool(app.screen.query_one(Input).value))
            value = app.screen.query_one(Input).value
            assert value.isprintable()
            assert len(value) < 300

        drive(task)

    def test_a_name_that_begins_with_q_is_typed_and_nothing_quits(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await listed(pilot, app)
            await pilot.press(*"qwen3-32b")
            assert app.is_running
            assert app.screen.query_one(Input).value == "qwen3-32b"
            assert app.screen.query_one(KeyTable).current == "Qwen/Qwen3-32B"
            await pilot.press("escape", "escape", "e")
            assert app.screen.query_one(Input).value == "e", "a letter that is no key begins a filter"

        drive(task)

    @pytest.mark.parametrize("model", [None, "Qwen/Qwen3-8B"])
    def test_one_key_alone_never_quits(self, model: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("whichgpu.tui.app.application._PATIENCE", 600.0)  # however busy the machine is

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await (listed(pilot, app) if model is None else planned(pilot, app))
            await pilot.press("q")
            await pilot.pause()
            assert not app._exit
            await pilot.press("q")
            await until(pilot, lambda: app._exit)

        drive(task, model=model)

    def test_a_terminal_without_focus_has_its_footer(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await opened(pilot, app)
            await pilot.press("escape")
            app.app_focus = False
            await pilot.press("enter")
            await opened(pilot, app)
            keys = app.screen.query_one(Keys)
            await until(pilot, lambda: "Plan" in str(keys.render()))

        drive(task, model="Qwen/Qwen3-8B")
