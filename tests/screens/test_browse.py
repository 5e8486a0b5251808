"""The list of models: filters, pins, folders, its footer and its first paint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DirectoryTree, Static

from tests.driving import drive, listed, opened, title, until
from tests.hub import shapes
from tests.planning import ask as plans_of
from whichgpu.tui.app.application import WhichgpuApp
from whichgpu.tui.app.browse import Browse
from whichgpu.tui.app.catalog import CatalogScreen
from whichgpu.tui.app.folders import FolderScreen
from whichgpu.tui.app.keys import Keys
from whichgpu.tui.app.knowledge import FilterError, Known, matching, together
from whichgpu.tui.app.model import ModelScreen
from whichgpu.tui.app.settings import SettingsScreen
from whichgpu.tui.app.state import load as load_state
from whichgpu.tui.app.table import KeyTable

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


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
