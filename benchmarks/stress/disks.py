"""Full disks, hostile bundles and many writers: what is there stays whole, and what can't be done is one sentence."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.attack.fuzzed_readers import READERS
from tests.attack.test_findings import damaged

from benchmarks.catalog import concurrency
from benchmarks.stress.cells import Cell
from benchmarks.stress.kills import WORKS, findings, prepare
from whichgpu.catalog.bundles import Policy
from whichgpu.catalog.checking import integrity
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.records import Stamp
from whichgpu.catalog.sharing import pull, push
from whichgpu.catalog.store import Catalog
from whichgpu.catalog.stores import FileStore

_STAMP = Stamp(made_at="2026-11-01T10:00:00+00:00", made_by="ada", tool_version="0.1.0")


def full(rounds: int) -> Iterator[Cell]:
    """A small disk (tmpfs) with less and less room; root alone may mount one."""
    for work in WORKS:
        for number in range(rounds):
            room = 4096 * (1 + number * 3)
            with tempfile.TemporaryDirectory() as name:
                if subprocess.run(["mount", "-t", "tmpfs", "none", name], check=False).returncode:
                    yield Cell("disk full", work, "no disk can be mounted here")
                    return
                try:
                    yield Cell("disk full", f"{work}, {room:,} bytes left", _on_a_full_disk(work, Path(name), room))
                finally:
                    subprocess.run(["umount", "-l", name], check=True)


def _on_a_full_disk(work: str, disk: Path, room: int) -> str:
    scene = prepare(disk)
    before = scene.mine.count()
    used = int(
        subprocess.run(["df", "--output=used", "-B1", str(disk)], capture_output=True, check=True).stdout.split()[-1]
    )
    subprocess.run(["mount", "-o", f"remount,size={used + room}", str(disk)], check=True)
    acknowledged = 0

    def acknowledge(number: int) -> None:
        nonlocal acknowledged
        acknowledged = number

    try:
        WORKS[work](scene, acknowledge)
    except CatalogError:
        pass
    except Exception as error:  # noqa: BLE001 - anything but a sentence of ours is the fault
        return f"{type(error).__name__}: {error}"
    subprocess.run(["mount", "-o", f"remount,size={used + 2**26}", str(disk)], check=True)
    wrong = [*integrity(scene.mine).wrong, *integrity(scene.other).wrong]
    if wrong or (work != "prune" and scene.mine.count() < before + acknowledged):
        return f"{wrong[:2]}, {scene.mine.count()} rows of {before} and {acknowledged}"
    WORKS[work](scene, lambda _: None)
    return ""


def hostile(count: int, seed: int) -> Iterator[Cell]:
    """Bundles turned in every way, one at a time between an honest one and ours: the honest is taken, ours is pushed."""
    random, reader = Random(seed), READERS["bundle"]
    honest = reader.seeds()
    packed = [gzip.compress(reader.turn(random, random.choice(honest)), mtime=0, compresslevel=1) for _ in range(count)]
    evil = damaged() | {f"{hashlib.sha256(data).hexdigest()}.jsonl.gz": data for data in packed}
    for number, (name, data) in enumerate(evil.items()):
        with tempfile.TemporaryDirectory() as folder:
            store, mine = FileStore(f"{folder}/team"), Catalog(Path(folder) / "mine.db")
            mine.add(*findings(0, 1))
            push(mine, store, "a", Policy(), _STAMP)
            store.add({name: data})
            other = Catalog(Path(folder) / "other.db")
            other.add(*findings(20, 2))
            try:
                pull(other, store, "b")
                pushed = push(other, store, "b", Policy(), _STAMP).findings
            except Exception as error:  # noqa: BLE001 - one bad bundle must cost itself alone
                yield Cell("hostile bundle", str(number), f"{type(error).__name__}: {error}")
                continue
            there = {f.identity for f in other.find("1")}
            good = {f.identity for f in (*findings(0, 1), *findings(20, 2))} <= there and pushed == 2
            yield Cell(
                "hostile bundle",
                str(number),
                "" if good and not integrity(other).wrong else f"{len(there)} there, {pushed} pushed",
            )


def writers() -> Iterator[Cell]:
    """8 processes × 1,000 writes into one file; each write is a cell."""
    with tempfile.TemporaryDirectory() as name:
        said = dict(concurrency(Path(name)))
    rows = int(said["8 processes × 1,000 writes"].split()[0].replace(",", ""))
    for number in range(8_000):
        fault = "" if number < rows and said["complaints"] == "0" else f"{rows} rows, {said['complaints']} complaints"
        yield Cell("8 writers × 1,000", str(number), fault)
