"""The app as a whole: workers, defects, verdicts without colour, a long session."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Static

from tests.driving import drive, planned
from whichgpu.plan.records import Verdict
from whichgpu.tui.app.application import WhichgpuApp
from whichgpu.tui.app.table import KeyTable

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


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


_LONG_SESSION = """
import gc
gc.disable()  # as the entry point does for its one-shot
from whichgpu.tui.app import application
from whichgpu.tui.desk.desk import open_desk
from tests.driving import planned

def kept():  # gc.get_objects() would hold the tuples that another thread is building, which breaks them
    gc.collect()
    gc.freeze()
    count = gc.get_freeze_count()
    gc.unfreeze()
    return count

async def turned(app):
    assert gc.isenabled()
    async with app.run_test() as pilot:
        await planned(pilot, app)
        counts = []
        for _ in range(3):
            for _ in range(6):
                await pilot.press("n", "N")
                await pilot.pause(0.1)
            counts.append(kept())
        print(*counts)

application._until_left = turned
application.run(open_desk(), True, "Qwen/Qwen3-8B")
"""


def test_a_long_session_stays_flat() -> None:
    """36 keys leave nothing behind that can't be collected, and collecting is on, whatever the one-shot does for itself."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _LONG_SESSION], capture_output=True, text=True, cwd=root, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    first, _, last = map(int, done.stdout.split())
    assert last < 1.03 * first, done.stdout
