"""kill -9 at a random moment, again and again, over everything that writes: what was acknowledged is there, and no file is broken.

Each victim is forked from a process that has everything imported, so that the moment falls into the work and not into starting.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.catalog import made
from benchmarks.stress.cells import Cell
from whichgpu.catalog import bundles, sharing
from whichgpu.catalog.bundles import Policy
from whichgpu.catalog.checking import integrity
from whichgpu.catalog.intake import merge
from whichgpu.catalog.records import Finding, Stamp
from whichgpu.catalog.store import Catalog
from whichgpu.catalog.stores import FileStore
from whichgpu.catalog.upkeep import prune

_STAMP = Stamp(made_at="2026-11-01T10:00:00+00:00", made_by="ada", tool_version="0.1.0")
_COUNT = 60


@dataclass(frozen=True, slots=True)
class Scene:
    """A catalog, a store and another catalog, as they lie before a kill."""

    folder: Path
    mine: Catalog
    other: Catalog
    store: FileStore

    @classmethod
    def at(cls, folder: Path) -> Scene:
        return cls(folder, Catalog(folder / "mine.db"), Catalog(folder / "other.db"), FileStore(str(folder / "team")))


def findings(first: int, count: int) -> list[Finding]:
    """Findings that a catalog takes, numbered."""
    return [made(number) for number in range(first, first + count)]


def _write(scene: Scene, acknowledge: Callable[[int], None]) -> None:
    for number, finding in enumerate(findings(1000, _COUNT)):
        scene.mine.add(finding)
        acknowledge(number + 1)


def _merge(scene: Scene, _: Callable[[int], None]) -> None:
    merge(scene.mine, scene.other.path)


def _push(scene: Scene, _: Callable[[int], None]) -> None:
    sharing.push(scene.other, scene.store, "team", Policy(), _STAMP)


def _pull(scene: Scene, _: Callable[[int], None]) -> None:
    sharing.pull(scene.mine, scene.store, "team")


def _sync(scene: Scene, _: Callable[[int], None]) -> None:
    sharing.pull(scene.mine, scene.store, "team")
    sharing.push(scene.mine, scene.store, "team", Policy(), _STAMP)


def _prune(scene: Scene, _: Callable[[int], None]) -> None:
    prune(scene.mine, 0, apply=True)


def _migrate(scene: Scene, _: Callable[[int], None]) -> None:
    Catalog(scene.folder / "old.db").add()


WORKS: dict[str, Callable[[Scene, Callable[[int], None]], None]] = {
    "write": _write, "merge": _merge, "push": _push, "pull": _pull, "sync": _sync, "prune": _prune, "migrate": _migrate,
}  # fmt: skip


def prepare(folder: Path) -> Scene:
    """Lay out a scene in a folder."""
    scene = Scene.at(folder)
    scene.mine.add(*findings(0, _COUNT))
    scene.other.add(*findings(_COUNT // 2, 4 * _COUNT))
    for start in range(0, 3 * _COUNT, _COUNT):
        scene.store.add(bundles.packed(findings(2000 + start, _COUNT), _STAMP))
    _old_catalog(folder / "old.db")
    return scene


def _old_catalog(path: Path) -> None:
    from sqlite_utils import Database

    from whichgpu.catalog.schema import migrations

    database = Database(path)
    migrations.apply(database, stop_before="m002_team")
    row = {"kind": "inspection", "origin": "hub", "model": "a/b", "commit_sha": "c0", "made_at": _STAMP.made_at}
    table: Any = database["findings"]
    for number in range(200):
        table.insert(
            {**row, "identity": str(number), "tool_version": "0", "inspection_identity": "", "body": b"x" * 500}
        )
    database.close()


def _killed(work: str, scene: Scene, after: float) -> int:
    """Fork, work, and be killed; return how many writes had been acknowledged."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(readable)
        try:
            WORKS[work](scene, lambda number: (os.write(writable, number.to_bytes(2, "big")), None)[1])
        finally:
            os._exit(0)
    os.close(writable)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    said = b""
    while part := os.read(readable, 65_536):
        said += part
    os.close(readable)
    return int.from_bytes(said[-2:], "big") if said else 0


def _judge(work: str, scene: Scene, acknowledged: int, before: int) -> str:
    """Look at what a kill left, then do the work once more to its end."""
    wrong = [*integrity(scene.mine).wrong, *integrity(scene.other).wrong]
    if wrong:
        return f"broken: {wrong[:3]}"
    if work != "prune" and scene.mine.count() < before + acknowledged:
        return f"{scene.mine.count()} rows after {before} and {acknowledged} acknowledged"
    for name in scene.store.names():
        bundles.check_name(name, scene.store.read(name))
    WORKS[work](scene, lambda _: None)
    wrong = [*integrity(scene.mine).wrong, *integrity(scene.other).wrong]
    parts = [p.name for p in scene.folder.iterdir() if ".part" in p.name]
    return f"afterwards: {wrong[:3]} {parts}" if wrong or parts else ""


def _killing(work: str, rounds: int, seed: int) -> list[Cell]:
    random, cells = Random(f"{work} {seed}"), list[Cell]()
    with tempfile.TemporaryDirectory() as name:
        template = Path(name) / "template"
        template.mkdir()
        prepare(template)
        timed = Path(name) / "timed"
        shutil.copytree(template, timed)
        begun = time.monotonic()
        WORKS[work](Scene.at(timed), lambda _: None)
        whole = time.monotonic() - begun
        for number in range(rounds):
            folder = Path(name) / str(number)
            shutil.copytree(template, folder)
            scene = Scene.at(folder)
            before, after = scene.mine.count(), random.random() * whole * 1.1
            try:
                fault = _judge(work, scene, _killed(work, scene, after), before)
            except Exception as error:  # noqa: BLE001 - whatever a kill left may raise anything, and is the fault
                fault = f"{type(error).__name__}: {error}"
            cells.append(Cell(f"kill -9: {work}", f"after {after * 1e3:.1f} ms", fault))
            shutil.rmtree(folder)
    return cells


def _trials(rounds: int, seed: int) -> Iterator[Cell]:
    """A trial killed at a random moment leaves no vLLM behind: its supervisor sees that we are gone."""
    from tests.tiny_models import CONFIGS

    from whichgpu.trial import supervisor
    from whichgpu.trial.process import state_of

    random = Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vllm = folder / "vllm"
        vllm.write_text(f"#!{sys.executable}\n" + (Path("tests") / "fake_vllm.py").read_text())
        vllm.chmod(0o755)
        (folder / "tiny").mkdir()
        (folder / "tiny" / "config.json").write_text(json.dumps(CONFIGS["dense"]))
        words = [sys.executable, "-m", "whichgpu", "trial", "-m", str(folder / "tiny"), "--cpu", "--vllm-at", str(vllm)]
        words += ["--folder", str(folder / "runs"), "--context", "1024", "--catalog", str(folder / "c.db")]
        environment = {**os.environ, "FAKE_VLLM": "hang"}
        for _ in range(rounds):
            shutil.rmtree(folder / "runs", ignore_errors=True)
            victim = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
            time.sleep(0.5 + random.random() * 2)
            victim.kill()
            victim.wait()
            groups = [state_of(run).get("group") for run in (folder / "runs").glob("*")]
            until = time.monotonic() + 20
            while (
                left := [g for g in groups if isinstance(g, int) and supervisor.is_there(g)]
            ) and time.monotonic() < until:
                time.sleep(0.1)
            yield Cell("kill -9: trial", f"{len(groups)} runs", f"{left} still there" if left else "")


def cells(rounds: int, trials: int, seed: int) -> list[Cell]:
    """Kill so often, spread over everything that writes, and so many trials."""
    each = -(-rounds // len(WORKS))
    with ProcessPoolExecutor(2) as pool:
        parts = list(pool.map(partial(_killing, rounds=each, seed=seed), WORKS))
    return [*(cell for part in parts for cell in part), *_trials(trials, seed)]
