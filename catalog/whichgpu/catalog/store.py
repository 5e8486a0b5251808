"""Findings in and out of a catalog file. Each call opens its own connection, so any thread may use it.

Creating and migrating go through sqlite-utils. Reading and writing an up-to-date file use the standard
library's sqlite3 alone, since importing sqlite-utils costs a one-shot command 0.2 to 0.8 CPU seconds.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from whichgpu.catalog import derive, files
from whichgpu.catalog.files import SCHEMA_STEPS
from whichgpu.catalog.records import ANSWER, INSPECTION, Finding
from whichgpu.catalog.rows import COLUMNS, finding_of
from whichgpu.inspect.text import clean
from whichgpu.plan.records import PriceOffer

_SCHEMA = Path(__file__).with_name("schema.sql")
"""What the migrations of ``schema.py`` come to (``python -m tests.render_docs`` writes it, and a test keeps them equal)."""

_COLUMNS = ", ".join(COLUMNS)
_PRICE_FIELDS = tuple(f for f in PriceOffer.model_fields if f not in ("seller", "inferred"))
_CURRENT_PRICES = f"""
SELECT {", ".join(f"p.{f}" for f in _PRICE_FIELDS)} FROM prices AS p
WHERE withdrawn = 0 AND at = (
  SELECT max(at) FROM prices AS q
  WHERE q.provider = p.provider AND q.contract = p.contract AND (p.contract = 0 OR q.accelerator = p.accelerator)
)
ORDER BY accelerator, usd_per_hour
"""
"""Of each provider the newest refresh, of each contract its last word."""


_BULK_CACHE = "PRAGMA cache_size = -262144"
"""256 MiB of pages: rows land all over the index of identities."""

_TRIALS = """
SELECT t.model, i.architecture, t.accelerator, t.layout, t.cards, t.precision, t.concurrency,
  t.tpot_ms / t.predicted_tpot_ms AS ratio, f.made_at AS at
FROM trials AS t JOIN findings AS f USING (identity) LEFT JOIN inspections AS i ON i.identity = f.about
WHERE t.succeeded = 1 AND t.tpot_ms > 0 AND t.predicted_tpot_ms > 0 AND t.concurrency IS NOT NULL
"""

SAME_MODEL = "model IN (SELECT model FROM models WHERE lower(model) = lower(?))"
"""A name in whatever case, by the small table of models: the large one is indexed by the exact name."""


class Catalog:
    """A SQLite file of findings."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a read-only connection, whose text can be printed: whoever may write a shared file may write anything.

        Raises:
            CatalogError: the file cannot be read.
        """
        with files.translated(self.path), closing(files.for_reading(self.path)) as connection:
            connection.text_factory = _printable
            yield connection

    @contextmanager
    def writing(self, bulk: bool = False) -> Iterator[sqlite3.Connection]:
        """Give a connection inside one write transaction, which is kept whole or not at all; ``bulk`` for many rows.

        Raises:
            CatalogError: the file cannot be written; nothing was changed.
        """
        with files.translated(self.path), closing(files.for_writing(self.path, _migrate)) as connection:
            connection.isolation_level = None
            if bulk:
                connection.execute(_BULK_CACHE)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def add(self, *findings: Finding) -> int:
        """Store findings and return how many are new; the same content twice is one row.

        Raises:
            CatalogError: the file cannot be written; nothing was changed.
        """
        with self.writing() as connection:
            return derive.insert(connection, findings)

    def find(self, where: str, parameters: Sequence[Any] = (), limit: int | None = None) -> list[Finding]:
        """Return findings by a condition on their table, newest first; empty where there is no catalog yet."""
        if not self.path.exists():
            return []
        sql = f"SELECT {_COLUMNS} FROM findings WHERE {where} ORDER BY made_at DESC, identity"
        with self.reading() as connection:
            if not self._is_readable(connection):
                return []
            connection.text_factory = str  # a body is what its identity says, and is validated as a record
            rows = connection.execute(sql + (f" LIMIT {limit}" if limit is not None else ""), parameters).fetchall()
        return [finding_of((*map(_envelope_value, row[:-1]), row[-1])) for row in rows]

    def latest_inspection(self, model: str, commit: str | None = None, by: str | None = None) -> Finding | None:
        """Return the newest inspection of a Hub repository (at a commit, or the start of one; by one reader), or ``None``.

        What was read from a folder of the same name is another model, and is left out.

        Raises:
            CatalogError: the file exists but cannot be read.
        """
        findings = self.find(
            f"kind = ? AND {SAME_MODEL} AND origin IN ('hub', 'cache')"
            " AND (? IS NULL OR substr(commit_sha, 1, length(?)) = ?) AND (? IS NULL OR made_by = ?)",
            (INSPECTION, model, commit, commit, commit, by, by),
            limit=1,
        )
        return findings[0] if findings else None

    def looked_up(self, model: str, commit: str, reference: str, tool_version: str) -> Finding | None:
        """Return what this version of whichgpu read of a repository at a commit when the same was asked of it."""
        findings = self.find(
            "identity = (SELECT identity FROM lookups"
            " WHERE model = lower(?) AND commit_sha = ? AND asked = ? AND tool_version = ?)",
            (model, commit, reference, tool_version),
            limit=1,
        )
        return findings[0] if findings else None

    def head(self, model: str, revision: str) -> tuple[str, str] | None:
        """Return (commit, when it was confirmed) of a branch or tag as last seen."""
        if not self.path.exists():
            return None
        with self.reading() as connection:
            if not self._is_readable(connection):
                return None
            row = connection.execute(
                "SELECT commit_sha, confirmed_at FROM heads WHERE model = lower(?) AND revision = ?",
                (model, revision),
            ).fetchone()
        return (str(row[0]), str(row[1])) if row is not None else None

    def confirm(self, revision: str, reference: str, finding: Finding, at: str) -> None:
        """Remember which commit a branch or tag is at, and which finding answers what was asked of it."""
        if finding.commit is None:
            return
        name = finding.model.lower()
        with self.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO heads (model, revision, commit_sha, confirmed_at) VALUES (?, ?, ?, ?)",
                (name, revision, finding.commit, at),
            )
            key = (name, finding.commit, reference, finding.tool_version, finding.identity)
            connection.execute(
                "INSERT OR REPLACE INTO lookups (model, commit_sha, asked, tool_version, identity) VALUES (?, ?, ?, ?, ?)",
                key,
            )

    def answers_to(self, inspection: str) -> list[Finding]:
        """Return the answers that rest on an inspection, newest first."""
        return self.find("kind = ? AND about = ?", (ANSWER, inspection))

    def prices(self) -> list[PriceOffer]:
        """Return the refreshed offers and the contracts that count; empty where there is no catalog yet.

        Raises:
            CatalogError: the file exists but cannot be read.
        """
        if not self.path.exists():
            return []
        with self.reading() as connection:
            if not self._is_readable(connection):
                return []
            rows = connection.execute(_CURRENT_PRICES).fetchall()
        offers: list[PriceOffer] = []
        for row in rows:
            with suppress(ValidationError):  # a damaged row costs itself alone; catalog verify names it
                offers.append(PriceOffer.model_validate(dict(zip(_PRICE_FIELDS, row, strict=True))))
        return [offer for offer in offers if 0 < offer.usd_per_hour < math.inf]

    def trial_facts(self) -> list[dict[str, Any]]:
        """Return what trials that succeeded teach of speed: fields of ``plan.learned.TrialFact``."""
        if not self.path.exists():
            return []
        with self.reading() as connection:
            if not self._is_readable(connection):
                return []
            cursor = connection.execute(_TRIALS)
            names = [d[0] for d in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def count(self) -> int:
        """Return the number of findings."""
        with self.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM findings").fetchone()[0])

    def is_newer(self) -> bool:
        """True for a file of a newer whichgpu, which is only read."""
        if not self.path.exists():
            return False
        with self.reading() as connection:
            return files.steps_of(connection) > SCHEMA_STEPS

    def is_older(self) -> bool:
        """True for a file whose tables the next write makes or migrates."""
        with self.reading() as connection:
            return files.steps_of(connection) < SCHEMA_STEPS

    def _is_readable(self, connection: sqlite3.Connection) -> bool:
        """True where the tables are those of this version, or of a newer one that keeps them; an older file is migrated
        by the next write."""
        return files.steps_of(connection) >= SCHEMA_STEPS


def _printable(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return text if text.isprintable() else clean(text, len(text))


def _envelope_value(value: Any) -> Any:
    return value if not isinstance(value, str) or value.isprintable() else clean(value, len(value))


def _migrate(connection: sqlite3.Connection) -> None:
    """Apply pending migrations inside the caller's write lock, so that two first runs at once do not collide.

    An empty file gets what they come to, statement by statement: sqlite-utils costs a first run a tenth of its time.
    """
    if files.steps_of(connection) == 0:
        for statement in _SCHEMA.read_text(encoding="utf-8").split(";\n\n"):
            connection.execute(statement)
        return
    from whichgpu.catalog.frameless import Database
    from whichgpu.catalog.schema import migrations

    migrations.apply(Database(connection))


def people_of(connection: sqlite3.Connection, rows: Iterable[tuple[str, str, str]]) -> None:
    """Remember who pseudonyms are; this stays in the file."""
    connection.executemany("INSERT OR REPLACE INTO people (id, name, host) VALUES (?, ?, ?)", rows)
