"""The catalog file: opened, created and migrated on first use, written in one short transaction.

Creating and migrating go through sqlite-utils. Reading and writing an up-to-date file use the standard
library's sqlite3 alone, since importing sqlite-utils costs a one-shot command 0.2 to 0.8 CPU seconds.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from whichgpu.catalog import prices
from whichgpu.catalog.errors import CatalogError, NewerCatalogError
from whichgpu.catalog.records import Finding
from whichgpu.inspect.text import clean
from whichgpu.plan.records import PriceOffer

SCHEMA_STEPS = 2
"""Number of migrations in ``schema.py``; a test keeps the two together."""

_BUSY_SECONDS = 10
_COLUMNS = "identity, kind, origin, model, commit_sha, made_at, tool_version, facts_date, inspection_identity, body"


class Catalog:
    """A SQLite file of findings. Each call opens its own connection, so any thread may use it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, *findings: Finding) -> int:
        """Store findings and return how many are new; the same content twice is one row.

        Raises:
            CatalogError: the file cannot be written; nothing was changed.
        """
        with self._translated(), closing(self._open()) as connection, connection:
            before = connection.total_changes
            connection.executemany(
                f"INSERT OR IGNORE INTO findings ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(*_row(f), zlib.compress(f.body.encode())) for f in findings],
            )
            return connection.total_changes - before

    def latest_inspection(self, model: str, commit: str | None = None) -> Finding | None:
        """Return the newest inspection of a Hub repository (at a commit, or the start of one), or ``None``.

        What was read from a folder of the same name is another model, and is left out.

        Raises:
            CatalogError: the file exists but cannot be read.
        """
        if not self.path.exists():
            return None
        with self._translated(), closing(self._connect(read_only=True)) as connection:
            if not 0 < self._steps(connection) <= SCHEMA_STEPS:
                return None
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM findings WHERE kind = 'inspection' AND lower(model) = lower(?)"
                " AND origin IN ('hub', 'cache') AND (? IS NULL OR substr(commit_sha, 1, length(?)) = ?) ORDER BY made_at DESC LIMIT 1",
                (model, commit, commit, commit),
            ).fetchone()
        return _finding(row) if row is not None else None

    def add_prices(self, offers: Iterable[PriceOffer], made_at: str, withdrawn: bool = False) -> int:
        """Store offers and return how many are new; ``withdrawn`` takes contracts back.

        Raises:
            CatalogError: the file cannot be written; nothing was changed.
        """
        rows = prices.rows_of(offers, made_at, withdrawn)
        marks = ", ".join("?" * len(prices.COLUMNS.split(",")))
        with self._translated(), closing(self._open()) as connection, connection:
            before = connection.total_changes
            connection.executemany(f"INSERT OR IGNORE INTO prices ({prices.COLUMNS}) VALUES ({marks})", rows)
            return connection.total_changes - before

    def prices(self) -> list[PriceOffer]:
        """Return the refreshed offers and the contracts that count; empty where there is no catalog yet.

        Raises:
            CatalogError: the file exists but cannot be read.
        """
        if not self.path.exists():
            return []
        with self._translated(), closing(self._connect(read_only=True)) as connection:
            present = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'prices'").fetchone()
            return prices.current(connection) if present is not None else []

    def count(self) -> int:
        """Return the number of findings."""
        with self._translated(), closing(self._connect(read_only=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM findings").fetchone()[0])

    def _open(self) -> sqlite3.Connection:
        """Connect for writing; create or migrate first where needed."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._connect()
        try:
            steps = self._steps(connection)
            if steps > SCHEMA_STEPS:
                raise NewerCatalogError(
                    f"{clean(self.path)} was written by a newer whichgpu.",
                    "Update whichgpu, or choose another --catalog.",
                )
            if steps < SCHEMA_STEPS:
                _migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self, read_only: bool = False) -> sqlite3.Connection:
        if not read_only:
            return sqlite3.connect(self.path, timeout=_BUSY_SECONDS)
        return sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)

    def _steps(self, connection: sqlite3.Connection) -> int:
        """Migrations already applied to the file."""
        present = connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone()
        if present is None:
            return 0
        count = connection.execute(
            "SELECT count(*) FROM _sqlite_migrations WHERE migration_set = 'whichgpu'"
        ).fetchone()
        return int(count[0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise CatalogError(
                f"The catalog {clean(self.path)} cannot be used: {clean(error, 80)}.",
                "Choose another file with --catalog.",
            ) from error
        except OSError as error:
            raise CatalogError(
                f"The catalog {clean(self.path)} cannot be used: {clean(error.strerror or error, 80)}.",
                "Choose another file with --catalog.",
            ) from error


def _migrate(connection: sqlite3.Connection) -> None:
    """Apply pending migrations under one write lock, so that two first runs at once do not collide."""
    from sqlite_utils import Database

    from whichgpu.catalog.schema import migrations

    isolation, connection.isolation_level = connection.isolation_level, None
    connection.execute("BEGIN IMMEDIATE")
    try:
        migrations.apply(Database(connection))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    connection.isolation_level = isolation


def _row(finding: Finding) -> tuple[str | None, ...]:
    return (
        finding.identity,
        finding.kind,
        finding.origin,
        finding.model,
        finding.commit,
        finding.made_at,
        finding.tool_version,
        finding.facts_date,
        finding.inspection_identity,
    )


def _finding(row: tuple[Any, ...]) -> Finding:
    try:
        body = zlib.decompress(row[9]).decode()
    except (zlib.error, UnicodeDecodeError, TypeError) as error:
        raise CatalogError("A finding in the catalog is damaged.", "Inspect the model again.") from error
    names = ("identity", "kind", "origin", "model", "commit", "made_at", "tool_version", "facts_date")
    values = dict(zip((*names, "inspection_identity"), row[:9], strict=True))
    try:
        return Finding.model_validate({**values, "body": body})
    except ValidationError as error:
        raise CatalogError("A finding in the catalog is damaged.", "Inspect the model again.") from error
