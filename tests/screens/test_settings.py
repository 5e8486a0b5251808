"""Settings: the file, what turns at once, keys, ASCII."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot
from textual.widgets import Static

from tests.driving import drive, listed, planned, until
from whichgpu.inspect.errors import UsageError
from whichgpu.tui.app import plain
from whichgpu.tui.app.application import WhichgpuApp
from whichgpu.tui.app.settings import SettingsScreen
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.desk import settings
from whichgpu.tui.words import units

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


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
            assert (before[0][3:6:2], after[0][3:6:2]) == (["$/h", "$/Mtok"], ["CHF /h", "CHF /Mtok"])
            assert float(after[1][3].removeprefix("CHF ")) == pytest.approx(2 * float(before[1][3][1:]), abs=0.02)
            assert float(after[1][5].split()[0]) == pytest.approx(2 * float(before[1][5].split()[0]), abs=0.02)
            assert "GB of one card" in str(plan.query_one("#bar", Static).content), "GiB became GB"

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
