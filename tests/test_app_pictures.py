"""What the app looks like: SVG snapshots of its screens, offline, with the bundled data."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.driving import drive, listed, opened, planned, settled, until
from tests.planning import model as atlas_model
from whichgpu.catalog.records import Stamp, inspection_finding, note_finding, tag_finding
from whichgpu.catalog.store import Catalog
from whichgpu.tui.app.application import WhichgpuApp
from whichgpu.tui.app.browse import Browse
from whichgpu.tui.app.plan import PlanScreen
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.app.trial import TrialScreen
from whichgpu.tui.app.workload_form import parsed
from whichgpu.tui.asking.question import terms_words

UPDATE = os.environ.get("WHICHGPU_TEST_UPDATE") == "1"
SNAPSHOTS = Path(__file__).parent / "golden" / "app"
STAMP = Stamp(made_at="2026-11-24T08:00:00+00:00", made_by="ada", tool_version="0.1.0")
MODEL = "Qwen/Qwen3-32B"

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHICHGPU_STATE", str(tmp_path / "app.json"))
    monkeypatch.chdir(tmp_path)


async def looks_as_reviewed(pilot: Pilot[None], app: WhichgpuApp, name: str, size: tuple[int, int]) -> None:
    path = SNAPSHOTS / f"{name}-{size[0]}x{size[1]}.svg"
    if UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_without_fonts(await settled(pilot, app)) + "\n")
    reviewed = path.read_text()
    for _ in range(200):  # a busy machine lays a table out late
        if _without_fonts(app.export_screenshot(title="whichgpu", simplify=True)) + "\n" == reviewed:
            return
        await pilot.pause(0.05)
    shown = _without_fonts(await settled(pilot, app)) + "\n"
    assert shown == reviewed, "run with WHICHGPU_TEST_UPDATE=1 and look at it"


def _without_fonts(svg: str) -> str:
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


FROM_MODEL: dict[str, Sequence[str]] = {
    "model": (),
    "layers": ("2",),
    "precisions": ("3",),
    "tensors": ("4", "enter"),
    "chips": ("6",),
}
FROM_PLAN: dict[str, Sequence[str]] = {
    "plan": (),
    "picture": ("t",),
    "said": ("t", "t"),
    "explain": ("e",),
    "curve": ("u",),
    "counts": ("h",),
    "form": ("w",),
    "plans": ("space", "j", "space", "j", "space", "equals_sign"),
    "help": ("question_mark",),
    "jump": ("apostrophe",),
}
WIDE = ("browse", "model", "plan", "curve")


def sizes(*names: str) -> list[tuple[str, tuple[int, int]]]:
    return [(n, s) for n in names for s in ((80, 24), (120, 36)) if s == (80, 24) or n in WIDE]


@pytest.mark.parametrize(("name", "size"), sizes(*FROM_MODEL))
def test_the_model(name: str, size: tuple[int, int]) -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await opened(pilot, app)
        await pilot.press(*FROM_MODEL[name])
        await looks_as_reviewed(pilot, app, name, size)

    drive(task, size=size, model="openai/gpt-oss-20b")


@pytest.mark.parametrize(("name", "size"), sizes(*FROM_PLAN))
def test_the_plan(name: str, size: tuple[int, int]) -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        screen = await planned(pilot, app)
        await pilot.press(*FROM_PLAN[name])
        if name in ("curve", "counts"):
            await until(pilot, lambda: app.screen is not screen and app.screen.query_one(KeyTable).row_count > 3)
        await looks_as_reviewed(pilot, app, name, size)

    drive(task, size=size, model=MODEL)


@pytest.mark.parametrize(("name", "size"), sizes("browse"))
def test_the_list(name: str, size: tuple[int, int]) -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await listed(pilot, app)
        table = app.screen.query_one(KeyTable)
        await until(pilot, lambda: "$" in " ".join(map(str, table.get_row_at(0))))
        await looks_as_reviewed(pilot, app, name, size)

    drive(task, size=size)


def test_fixes() -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        screen = await planned(pilot, app)
        screen.ask(parsed([*terms_words(screen.terms), "--gpu", "H100", "--context", "40960", "--concurrency", "512"]))
        await until(pilot, lambda: screen.chosen is not None and bool(screen.chosen.remedies))
        await pilot.press("f")
        await looks_as_reviewed(pilot, app, "fixes", (80, 24))

    drive(task, model=MODEL)


def test_catalog(tmp_path: Path) -> None:
    models = ("Qwen/Qwen3-8B", "openai/gpt-oss-20b", "deepseek-ai/DeepSeek-V3")
    found = [inspection_finding(atlas_model(m), STAMP) for m in models]
    note = note_finding(models[1], "fast enough for the support bot", STAMP)
    Catalog(tmp_path / "catalog.db").add(*found, note, tag_finding(models[1], "served", True, STAMP))

    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await listed(pilot, app)
        await pilot.press("a")
        await until(pilot, lambda: not isinstance(app.screen, Browse) and app.screen.query_one(KeyTable).row_count == 3)
        await pilot.press("o", "j")
        await looks_as_reviewed(pilot, app, "catalog", (80, 24))

    drive(task)


def test_fleet(tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text(
        "model,replicas\nQwen/Qwen3-8B,4\nopenai/gpt-oss-20b,2\ndeepseek-ai/DeepSeek-V3,1\n"
    )

    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await listed(pilot, app)
        await pilot.press("l", "slash", *"fleet.csv", "enter")
        await until(
            pilot,
            lambda: (
                not isinstance(app.screen, Browse) and app.screen.query_one("#fleet-models", KeyTable).row_count == 3
            ),
        )
        await looks_as_reviewed(pilot, app, "fleet", (80, 24))
        await pilot.press("2")
        await looks_as_reviewed(pilot, app, "machines", (80, 24))

    drive(task)


@pytest.mark.parametrize(("name", "key"), [("silicon", "s"), ("settings", "comma"), ("palette", "colon")])
def test_places(name: str, key: str) -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await listed(pilot, app)
        await pilot.press(key)
        await until(pilot, lambda: not isinstance(app.screen, Browse))
        await looks_as_reviewed(pilot, app, name, (80, 24))

    drive(task, local=False)  # nothing of this machine is in the picture


def test_trial() -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await planned(pilot, app)
        await pilot.press("T")
        await until(pilot, lambda: isinstance(app.screen, TrialScreen))
        app.screen.query_one("#t-where", Input).value = "cpu"
        await pilot.press("e", "enter")
        await looks_as_reviewed(pilot, app, "trial", (80, 24))

    drive(task, model="Qwen/Qwen3-8B")


def test_too_small_and_ascii() -> None:
    async def small(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await opened(pilot, app)
        await looks_as_reviewed(pilot, app, "small", (50, 20))

    drive(small, size=(50, 20), model=MODEL)

    async def letters(pilot: Pilot[None], app: WhichgpuApp) -> None:
        app.draw_ascii(True)
        await planned(pilot, app)
        assert isinstance(app.screen, PlanScreen)
        await looks_as_reviewed(pilot, app, "ascii", (80, 24))

    drive(letters, model=MODEL)
