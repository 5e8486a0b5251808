"""Driving the app with keys, without a terminal: what its tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Static

from whichgpu.tui.app.application import WhichgpuApp
from whichgpu.tui.app.browse import Browse
from whichgpu.tui.app.model import ModelScreen
from whichgpu.tui.app.plan import PlanScreen
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.app.workload_form import parsed
from whichgpu.tui.asking.question import terms_words
from whichgpu.tui.desk.desk import open_desk

Task = Callable[[Pilot[None], WhichgpuApp], Any]


def drive(
    task: Task, size: tuple[int, int] = (80, 24), offline: bool = True, model: str | None = None, local: bool = True
) -> None:
    async def run() -> None:
        app = WhichgpuApp(open_desk(), offline=offline, model=model, local=local)
        async with app.run_test(size=size) as pilot:
            await task(pilot, app)

    asyncio.run(run())


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """Wait for what a worker will bring."""
    for _ in range(1000):
        if true():
            return
        await pilot.pause(0.02)
    raise AssertionError("it did not happen")


def title(app: WhichgpuApp) -> str:
    return str(app.screen.query_one("#title", Static).content)


async def listed(pilot: Pilot[None], app: WhichgpuApp) -> None:
    await until(pilot, lambda: isinstance(app.screen, Browse) and app.screen.query_one(KeyTable).row_count > 0)


async def opened(pilot: Pilot[None], app: WhichgpuApp) -> ModelScreen:
    await until(pilot, lambda: isinstance(app.screen, ModelScreen) and app.screen.reply is not None)
    assert isinstance(app.screen, ModelScreen)
    return app.screen


async def planned(pilot: Pilot[None], app: WhichgpuApp) -> PlanScreen:
    await opened(pilot, app)
    await pilot.press("p")
    await until(pilot, lambda: isinstance(app.screen, PlanScreen) and app.screen.query_one(KeyTable).row_count > 0)
    assert isinstance(app.screen, PlanScreen)
    return app.screen


async def settled(pilot: Pilot[None], app: WhichgpuApp) -> str:
    """Return the screen once it shows the same twice; a busy machine lays a table out late."""
    before, now = "", app.export_screenshot(title="whichgpu", simplify=True)
    while before != now:
        await pilot.wait_for_animation()
        await pilot.pause(0.7)
        before, now = now, app.export_screenshot(title="whichgpu", simplify=True)
    return now


def parsed_with(screen: PlanScreen, words: list[str]) -> Any:
    return parsed([*terms_words(screen.terms), *words])
