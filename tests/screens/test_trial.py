"""A trial in the app, live."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from tests.driving import drive, planned, title, until
from whichgpu.catalog.store import Catalog
from whichgpu.tui.app.application import WhichgpuApp
from whichgpu.tui.app.plan import PlanScreen
from whichgpu.tui.app.trial import TrialScreen
from whichgpu.tui.app.words import Words

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def said(app: WhichgpuApp) -> str:
    return str(app.screen.query_one("#words Static", Static).content)


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
