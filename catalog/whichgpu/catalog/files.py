"""The catalog's file: opened for many at once, created, migrated after a backup, and every failure one sentence."""

from __future__ import annotations

import glob
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from whichgpu.catalog.errors import CatalogError, NewerCatalogError
from whichgpu.inspect.text import clean

SCHEMA_STEPS = 5
"""Number of migrations in ``schema.py``; a test keeps the two together."""

BUSY_SECONDS = 60.0
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "lustre", "beegfs", "fuse.sshfs", "ceph"})
"""File systems whose locks and shared memory SQLite's write-ahead log can't rely on."""

_MOUNTS = Path("/proc/mounts")


def on_network(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """Return the kind of network file system that a path is on; ``None`` for a local or an unknown one."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
        full = str(path.resolve())
    except OSError:
        return None
    best = ("", "")
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        inside = full == point or full.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            best = point, fields[2]
    return best[1] if best[1] in _NETWORK else None


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's failures into one sentence."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        reason = "it can be read here, and not written" if _is_unwritable(error, path) else clean(error, 80)
        raise CatalogError(
            f"The catalog {clean(path)} cannot be used: {reason}.", "Choose another file with --catalog."
        ) from error
    except UnicodeDecodeError as error:  # of SQLite's own message, which quotes what is damaged
        raise CatalogError(f"The catalog {clean(path)} is damaged.", "Choose another file with --catalog.") from error
    except OSError as error:
        raise CatalogError(
            f"The catalog {clean(path)} cannot be used: {clean(error.strerror or error, 80)}.",
            "Choose another file with --catalog.",
        ) from error


def for_reading(path: Path) -> sqlite3.Connection:
    """Connect read-only; nothing of the file's own schema is trusted to run.

    The write-ahead log wants a file beside the catalog even of readers. Where none can be made (a read-only mount), the
    catalog is read as what doesn't change.

    Raises:
        CatalogError: nothing can be written there, and what was written last is still in the log.
    """
    connection = _read_only(path, "mode=ro")
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError as error:
        connection.close()
        if not _is_unwritable(error, path):
            raise
        log = path.with_name(f"{path.name}-wal")
        if log.is_file() and log.stat().st_size:
            raise CatalogError(
                f"The catalog {clean(path)} was left open by a machine that writes it, and can't be read whole here.",
                "Ask anything of it where it can be written (whichgpu catalog status), or copy it from there.",
            ) from error
        connection = _read_only(path, "immutable=1")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_unwritable(error: sqlite3.DatabaseError, path: Path) -> bool:
    """True where a catalog is there, and SQLite may write neither it nor beside it."""
    primary = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) and path.is_file()


def _read_only(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, timeout=BUSY_SECONDS)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def for_writing(path: Path, migrate: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """Connect for writing; create or migrate first where needed.

    Raises:
        NewerCatalogError: the file has a schema that this version does not know; it can still be read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        steps = steps_of(connection)
        if steps == 0 and _holds_other_things(connection):
            raise CatalogError(
                f"{clean(path)} is a database of something else; it is left as it is.",
                "Choose another file with --catalog.",
            )
        if steps > SCHEMA_STEPS:
            raise NewerCatalogError(
                f"{clean(path)} was written by a newer whichgpu; it is only read.",
                "Update whichgpu, or choose another --catalog.",
            )
        if steps < SCHEMA_STEPS:
            _grow(connection, path, steps, migrate)
        # In the write-ahead log a power cut costs at most the last findings, never the file; without it, the file.
        if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def steps_of(connection: sqlite3.Connection) -> int:
    """Migrations already applied to a file."""
    present = connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone()
    if present is None:
        return 0
    count = connection.execute("SELECT count(*) FROM _sqlite_migrations WHERE migration_set = 'whichgpu'").fetchone()
    return int(count[0])


def _holds_other_things(connection: sqlite3.Connection) -> bool:
    """True for a file that has tables, none of them made by us."""
    return (
        connection.execute("SELECT 1 FROM sqlite_master WHERE name NOT LIKE '\\_%' ESCAPE '\\'").fetchone() is not None
    )


def _grow(
    connection: sqlite3.Connection, path: Path, steps: int, migrate: Callable[[sqlite3.Connection], None]
) -> None:
    """Create the tables, or migrate after a backup beside the file; the write-ahead log where the disk is local."""
    if steps == 0 and on_network(path) is None:
        with suppress(sqlite3.OperationalError):  # another first run is at it, and sets the same
            connection.execute("PRAGMA journal_mode = WAL")
    isolation, connection.isolation_level = connection.isolation_level, None
    connection.execute("BEGIN IMMEDIATE")
    try:
        if 0 < steps_of(connection) < SCHEMA_STEPS:
            _backed_up(path, steps)
        migrate(connection)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    connection.isolation_level = isolation


def _backed_up(path: Path, steps: int) -> None:
    """Copy the file as it was before it is migrated: ``catalog.db.v1.bak``.

    Whoever migrates holds the catalog's write lock: half a copy that is there is of somebody who was killed at it.
    """
    target = path.with_name(f"{path.name}.v{steps}.bak")
    for left in path.parent.glob(f"{glob.escape(path.name)}.v*.bak.part-*"):
        left.unlink(missing_ok=True)
    if target.exists():
        return
    part = target.with_name(f"{target.name}.part-{os.getpid()}")
    read_only = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(read_only, uri=True)) as source, closing(sqlite3.connect(part)) as copy:
        source.backup(copy)
    shutil.move(part, target)
