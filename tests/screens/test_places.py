"""Screens reached from everywhere: help, palette, jumps, fleet, catalog."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widgets import Static, TabbedContent

from tests.driving import drive, listed, opened, planned, title, until
from tests.planning import model as atlas_model
from whichgpu.catalog.records import inspection_finding, tag_finding
from whichgpu.catalog.store import Catalog
from whichgpu.tui.app.application import WhichgpuApp
from whichgpu.tui.app.catalog import CatalogScreen
from whichgpu.tui.app.fleet import FleetScreen
from whichgpu.tui.app.jump import Jump
from whichgpu.tui.app.silicon import SiliconScreen
from whichgpu.tui.app.state import load as load_state
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.app.words import Words
from whichgpu.tui.desk.answering import stamp

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def said(app: WhichgpuApp) -> str:
    return str(app.screen.query_one("#words Static", Static).content)


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
