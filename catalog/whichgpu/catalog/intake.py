"""Findings from others, checked one by one: what is malformed, altered or too large is refused with a reason."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from whichgpu.catalog import derive, files
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.records import INSPECTION, Finding
from whichgpu.catalog.rows import COLUMNS, MAX_BODY, finding_of
from whichgpu.catalog.store import Catalog
from whichgpu.catalog.validation import MISFILED, ORPHANED, Fault, fault_of
from whichgpu.inspect.records import Record
from whichgpu.inspect.text import clean

BATCH = 10_000


class Refusal(Record):
    """A record that was not taken."""

    identity: str
    why: str
    later: bool = False
    """True for what may be taken another time, or by a newer whichgpu."""


Source = Callable[[], Iterable[Finding | Refusal]]
"""Opens what findings come from; what it yields may end in a ``CatalogError``."""


class Intake(Record):
    """What came of findings from elsewhere."""

    source: str
    read: int
    new: int
    known: int
    refused: tuple[Refusal, ...]
    kinds: dict[str, int]
    """New findings by kind."""


def checked(finding: Finding, now: datetime | None = None) -> tuple[Finding, derive.Rows] | Refusal:
    """Return a finding as it may be taken with its rows, or why not; what is local to another machine is dropped."""
    fault = fault_of(finding, now or datetime.now(UTC))
    if fault is None:
        try:
            rows = derive.rows_of(finding)
            return (finding if finding.local_path is None else finding.model_copy(update={"local_path": None})), rows
        except ValueError:
            fault = Fault("its content is malformed")
    return Refusal(identity=clean(finding.identity, 32), why=fault.why, later=fault.later)


def take_all(
    catalog: Catalog, sources: Mapping[str, Source], target: str | None = None
) -> dict[str, Intake | CatalogError]:
    """Take several bundles, in whatever order: what rests on an inspection of another is read a second time.

    Returns, per source, what came of it, or why it could not be read to its end.

    Raises:
        CatalogError: this catalog cannot be written, or a source not be opened.
    """
    intakes: dict[str, Intake | CatalogError] = {}
    for source, findings in sources.items():
        intakes[source] = _taken(catalog, source, findings, target)
    if any(isinstance(i, Intake) and i.new for i in intakes.values()):
        for source, first in intakes.items():
            if isinstance(first, Intake) and any(r.why == ORPHANED.why for r in first.refused):
                second = _taken(catalog, source, sources[source], target)
                intakes[source] = second if isinstance(second, CatalogError) else _together(first, second)
    return intakes


def _taken(catalog: Catalog, source: str, findings: Source, target: str | None) -> Intake | CatalogError:
    readable = _Readable(findings())
    try:
        return take(catalog, source, readable, target=target)
    except CatalogError as error:
        if readable.error is None:
            raise
        return error


class _Readable:
    """Findings, and the error that they ended in: it is told from an error of the catalog that takes them."""

    def __init__(self, findings: Iterable[Finding | Refusal]) -> None:
        self._findings = findings
        self.error: CatalogError | None = None

    def __iter__(self) -> Iterator[Finding | Refusal]:
        try:
            yield from self._findings
        except CatalogError as error:
            self.error = error
            raise


def _together(first: Intake, second: Intake) -> Intake:
    new = first.new + second.new
    kinds = {k: first.kinds.get(k, 0) + second.kinds.get(k, 0) for k in {**first.kinds, **second.kinds}}
    known = first.read - new - len(second.refused)
    return second.model_copy(update={"new": new, "known": known, "kinds": dict(sorted(kinds.items()))})


def take(
    catalog: Catalog,
    source: str,
    findings: Iterable[Finding | Refusal],
    dry_run: bool = False,
    target: str | None = None,
) -> Intake:
    """Store what passes; with ``target`` also remember that it is shared there.

    Raises:
        CatalogError: this catalog cannot be written. Batches before that are kept: taking again goes on from there.
    """
    refused: list[Refusal] = []
    kinds: dict[str, int] = {}
    promised: set[str] = set()
    envelopes: Envelopes = {}
    before: dict[str, int] | None = None
    read = new = 0
    waiting = iter(findings)
    now = datetime.now(UTC)
    while batch := list(islice(waiting, BATCH)):
        read += len(batch)
        results = _related(catalog, envelopes, [checked(f, now) if isinstance(f, Finding) else f for f in batch])
        refused += [r for r in results if isinstance(r, Refusal)]
        good = [r for r in results if not isinstance(r, Refusal)]
        if dry_run:
            missing = _missing_findings(catalog, [f for f, _ in good], promised)
            new += len(missing)
            for finding in missing:
                kinds[finding.kind] = kinds.get(finding.kind, 0) + 1
        elif good:
            with catalog.writing(bulk=True) as connection:
                before = _counts_by_kind(connection) if before is None else before
                new += derive.write(connection, good)
                if target is not None:
                    rows = [(target, f.identity) for f, _ in good]
                    connection.executemany("INSERT OR IGNORE INTO shared (target, identity) VALUES (?, ?)", rows)
    if read and not dry_run:
        with catalog.writing(bulk=True) as connection:
            derive.freshen(connection)
            after = _counts_by_kind(connection)
        kinds = {kind: count - (before or {}).get(kind, 0) for kind, count in after.items()}
        kinds = {kind: count for kind, count in kinds.items() if count}
    duplicates = read - new - len(refused)
    return Intake(
        source=source, read=read, new=new, known=duplicates, refused=tuple(refused), kinds=dict(sorted(kinds.items()))
    )


Envelopes = dict[str, tuple[object, ...]]
"""By the identity of an inspection, how it is filed (see ``_filed``)."""

_Checked = tuple[Finding, derive.Rows] | Refusal


def _related(catalog: Catalog, envelopes: Envelopes, results: list[_Checked]) -> list[_Checked]:
    """Refuse what is filed otherwise than the inspection that it rests on, or rests on none that is here yet."""
    findings = [r[0] for r in results if not isinstance(r, Refusal)]
    envelopes.update({f.identity: _filed(f) for f in findings if f.kind == INSPECTION})
    elsewhere = {f.about for f in findings if f.about is not None} - set(envelopes)
    if elsewhere and catalog.path.exists():
        with catalog.reading() as connection:
            if files.steps_of(connection) >= files.SCHEMA_STEPS:
                rows = (connection.execute(_FILED, (identity,)).fetchone() for identity in elsewhere)
                envelopes.update({r[0]: (r[1], r[2], r[3], bool(r[4])) for r in rows if r is not None})
    return [r if isinstance(r, Refusal) else _placed(r, envelopes) for r in results]


def _placed(result: tuple[Finding, derive.Rows], envelopes: Envelopes) -> _Checked:
    finding = result[0]
    if finding.about is None or envelopes.get(finding.about) == _filed(finding):
        return result
    fault = MISFILED if finding.about in envelopes else ORPHANED
    return Refusal(identity=clean(finding.identity, 32), why=fault.why, later=fault.later)


def _filed(finding: Finding) -> tuple[object, ...]:
    return finding.model, finding.commit, finding.origin, finding.private


_FILED = "SELECT identity, model, commit_sha, origin, private FROM findings WHERE identity = ? AND kind = 'inspection'"
_HAS = "SELECT 1 FROM findings WHERE identity = ?"


def _counts_by_kind(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT kind, count(*) FROM findings GROUP BY kind").fetchall())


def _missing_findings(catalog: Catalog, findings: list[Finding], promised: set[str]) -> list[Finding]:
    """Those that the catalog does not have, each once; ``promised`` remembers them over batches."""
    once = {f.identity: f for f in findings if f.identity not in promised}
    promised.update(once)
    if not once or not catalog.path.exists():
        return list(once.values())
    with catalog.reading() as connection:
        if files.steps_of(connection) < files.SCHEMA_STEPS:
            return list(once.values())
        have = {identity for identity in once if connection.execute(_HAS, (identity,)).fetchone() is not None}
    return [f for identity, f in once.items() if identity not in have]


def merge(catalog: Catalog, other: Path, dry_run: bool = False) -> Intake:
    """Take the findings of another catalog file: the union, whatever the order.

    Raises:
        CatalogError: the other file is no catalog, or this one cannot be written.
    """
    return take(catalog, clean(other.name, 80), _foreign(other), dry_run)


def _foreign(path: Path) -> Iterator[Finding | Refusal]:
    """Read the findings of a file that someone else made: its table alone, none of its views or triggers."""
    if not path.is_file():
        raise CatalogError(f"{clean(path)} is no catalog file.", "Give the path of another catalog.")
    with files.translated(path), closing(files.for_reading(path)) as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 * MAX_BODY)
        connection.execute("PRAGMA cell_size_check = ON")
        kind = connection.execute("SELECT type FROM sqlite_master WHERE name = 'findings'").fetchone()
        columns = {r[1] for r in connection.execute("PRAGMA table_info(findings)")} if kind == ("table",) else set()
        if not set(COLUMNS) <= columns:
            raise CatalogError(
                f"{clean(path)} has no findings of this version.",
                "Open it once with this whichgpu (catalog status --catalog FILE), which migrates it.",
            )
        for inspections in ("=", "!="):  # first what the others rest on
            where = f"kind {inspections} 'inspection' ORDER BY identity"
            rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM findings WHERE {where}")
            yield from (_read(row) for row in rows)


def _read(row: tuple[Any, ...]) -> Finding | Refusal:
    try:
        return finding_of(row)
    except CatalogError as error:
        return Refusal(identity=clean(row[0], 32), why=error.message.rstrip("."))
