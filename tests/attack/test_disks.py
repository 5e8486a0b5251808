"""What disks do: mounts that can't be written, logs that were left open, halves of files that a kill left."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlite_utils import Database

from tests.conftest import Result
from tests.findings import at
from tests.test_catalog_sharing import inspected
from whichgpu.catalog import bundles
from whichgpu.catalog.records import note_finding
from whichgpu.catalog.schema import migrations
from whichgpu.catalog.store import Catalog
from whichgpu.catalog.stores import FileStore
from whichgpu.tui.words.exit_codes import ExitCode

Ask = Callable[..., Result]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", path], check=False, capture_output=True).returncode:
        pytest.skip("mounting takes root")
    yield path
    subprocess.run(["umount", path], check=True)


@contextmanager
def unwritable(disk: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


def killed_while_open(path: Path) -> None:
    """Write one row more, and be gone before it is out of the log."""
    words = "INSERT INTO people (id, name, host) VALUES ('x', 'y', 'z')"
    code = f"import os, sqlite3; c = sqlite3.connect({str(path)!r}); c.execute({words!r}); c.commit(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True)


class TestReadOnly:
    def test_a_catalog_on_it_is_read(self, disk: Path, ask: Ask) -> None:
        path = disk / "catalog.db"
        Catalog(path).add(inspected("Qwen/Qwen3-8B"), note_finding("Qwen/Qwen3-8B", "seen", at(3)))
        with unwritable(disk):
            for words in (("list",), ("show", "Qwen/Qwen3-8B"), ("status",), ("verify",), ("search", "seen")):
                result = ask("catalog", *words, "--catalog", str(path))
                assert result.code == ExitCode.OK, result
            result = ask("catalog", "note", "Qwen/Qwen3-8B", "more", "--catalog", str(path))
            assert (result.code, "it can be read here, and not written" in result.err) == (ExitCode.SYSTEM, True)
            result = ask("-m", "Qwen/Qwen3-8B", "--offline", "--catalog", str(path))
            assert result.code == ExitCode.OK
            assert "Not kept" in result.err
        assert {p.name for p in disk.iterdir()} == {"catalog.db"}

    @pytest.mark.parametrize("log_index", ["there", "gone"])
    def test_what_was_left_open_is_read_whole_or_not_at_all(self, disk: Path, ask: Ask, log_index: str) -> None:
        path = disk / "catalog.db"
        Catalog(path).add(inspected("Qwen/Qwen3-8B"))
        killed_while_open(path)
        if log_index == "gone":
            (disk / "catalog.db-shm").unlink()
        with unwritable(disk):
            result = ask("catalog", "list", "--catalog", str(path))
        if log_index == "there":
            assert result.code == ExitCode.OK
            assert "Qwen/Qwen3-8B" in result.out
        else:
            assert (result.code, "left open" in result.err) == (ExitCode.SYSTEM, True)
        with Catalog(path).reading() as connection:
            assert connection.execute("SELECT name FROM people WHERE id = 'x'").fetchall() == [("y",)]


class TestHalves:
    def test_of_a_backup(self, tmp_path: Path) -> None:
        path = tmp_path / "catalog[1].db"
        database = Database(path)
        migrations.apply(database, stop_before="m002_team")
        database.close()
        for name in ("catalog[1].db.v1.bak.part-999", "catalog[1].db.v2.bak.part-7", "another.db.v1.bak.part-9"):
            (tmp_path / name).write_bytes(b"half")
        Catalog(path).add()
        left = {p.name for p in tmp_path.iterdir() if ".bak" in p.name}
        assert left == {"catalog[1].db.v1.bak", "another.db.v1.bak.part-9"}
        with sqlite3.connect(tmp_path / "catalog[1].db.v1.bak") as backup:
            assert backup.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    def test_of_a_bundle(self, tmp_path: Path) -> None:
        store = FileStore(str(tmp_path / "team"))
        packed = bundles.packed([inspected("Qwen/Qwen3-8B")], at(0))
        store.add(packed)
        folder = tmp_path / "team" / "bundles"
        old, young = (
            folder / f".{name}.{end}" for name, end in zip([*packed, *packed], ("0badc0de", "00c0ffee"), strict=True)
        )
        foreign = folder / ".somebody.s.file"
        for path in (old, young, foreign):
            path.write_bytes(b"half")
        for path in (old, foreign):
            os.utime(path, (time.time() - 7200,) * 2)
        store.add(packed)
        assert (old.exists(), young.exists(), foreign.exists()) == (False, True, True)
        assert store.names() == set(packed)
