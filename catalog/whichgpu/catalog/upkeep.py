"""What the catalog says of itself, and how it is looked after: notes and tags, differences, status, pruning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from whichgpu.catalog import files
from whichgpu.catalog.errors import CatalogError, NothingKeptError
from whichgpu.catalog.records import INSPECTION, Finding
from whichgpu.catalog.store import SAME_MODEL, Catalog
from whichgpu.inspect.records import Record
from whichgpu.inspect.text import clean

_SAME = ("source", "tensors", "evidence", "selection", "warnings", "unread")
"""Parts of an inspection whose differences say nothing, or show elsewhere."""


class Change(Record):
    """One field that differs."""

    field: str
    before: str
    after: str


class Status(Record):
    """The file and what it holds."""

    bytes: int | None
    journal: str | None
    steps: int
    network: str | None
    models: int
    kinds: dict[str, int]
    shared: dict[str, int]


def notes(catalog: Catalog, model: str) -> list[dict[str, str]]:
    """Return everyone's current note on a model."""
    with catalog.reading() as connection:
        rows = connection.execute("SELECT text, at, by FROM current_notes WHERE model = ? ORDER BY at", (model,))
        return [{"text": r[0], "at": r[1], "by": r[2]} for r in rows]


def tags(catalog: Catalog, model: str) -> list[str]:
    """Return the tags that are on a model."""
    with catalog.reading() as connection:
        rows = connection.execute("SELECT tag FROM current_tags WHERE model = ? ORDER BY tag", (model,))
        return [r[0] for r in rows]


def status(catalog: Catalog) -> Status:
    """Return what the file is and holds; an older one is migrated first.

    Raises:
        CatalogError: it is no catalog, or damaged.
    """
    network = files.on_network(catalog.path.parent)
    if not catalog.path.exists():
        return Status(bytes=None, journal=None, steps=0, network=network, models=0, kinds={}, shared={})
    if catalog.is_older():
        with catalog.writing():
            pass  # migrates
    with catalog.reading() as connection:
        kinds = dict(connection.execute("SELECT kind, count(*) FROM findings GROUP BY kind ORDER BY kind").fetchall())
        shared = dict(connection.execute("SELECT target, count(*) FROM shared GROUP BY target").fetchall())
        return Status(
            bytes=catalog.path.stat().st_size,
            journal=connection.execute("PRAGMA journal_mode").fetchone()[0],
            steps=files.steps_of(connection),
            network=network,
            models=connection.execute("SELECT count(*) FROM models").fetchone()[0],
            kinds=kinds,
            shared=shared,
        )


def pair(catalog: Catalog, first: str, second: str | None) -> tuple[Finding, Finding]:
    """Return two inspections: of two models (``NAME`` or ``NAME@COMMIT``), or the two newest of one, older first.

    Raises:
        CatalogError: there are not two.
    """
    if second is not None:
        return _inspection_named(catalog, first), _inspection_named(catalog, second)
    findings = catalog.find(f"kind = ? AND {SAME_MODEL}", (INSPECTION, first), 2)
    if len(findings) < 2:
        raise CatalogError(f"The catalog has no two readings of {clean(first)}.", "Name a second model.")
    return findings[1], findings[0]


def _inspection_named(catalog: Catalog, text: str) -> Finding:
    name, _, commit = text.partition("@")
    findings = catalog.find(
        f"kind = ? AND {SAME_MODEL} AND (? = '' OR substr(commit_sha, 1, length(?)) = ?)",
        (INSPECTION, name, commit, commit, commit),
        1,
    )
    if not findings:
        raise NothingKeptError(f"The catalog has nothing of {clean(text)}.", "whichgpu catalog list shows what it has.")
    return findings[0]


def differences(before: Finding, after: Finding) -> list[Change]:
    """Return the fields of two inspections that differ."""
    one, two = (dict(_flat(json.loads(f.body))) for f in (before, after))
    return [
        Change(field=name, before=_display_text(one.get(name)), after=_display_text(two.get(name)))
        for name in dict.fromkeys([*one, *two])
        if one.get(name) != two.get(name)
    ]


def _display_text(value: object) -> str:
    return (
        "–" if value is None else f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    )


def _flat(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        name = f"{prefix}{key}"
        if not prefix and key in _SAME:
            continue
        if isinstance(value, dict) and set(value) >= {"value", "unit"}:
            yield name, value["value"]
        elif isinstance(value, dict):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list):
            yield (
                name,
                ", ".join(map(str, value)) if all(isinstance(v, str | int) for v in value) else json.dumps(value),
            )
        else:
            yield name, value


_REPLACED = """
SELECT f.identity FROM findings AS f JOIN plans AS p ON p.identity = f.identity
WHERE f.kind = 'answer' AND f.made_at < ? AND EXISTS (
  SELECT 1 FROM findings AS g JOIN plans AS q ON q.identity = g.identity
  WHERE g.kind = 'answer' AND g.model = f.model AND g.made_at > f.made_at
    AND q.context = p.context AND q.concurrency = p.concurrency AND q.precision = p.precision)
GROUP BY f.identity
"""


def prune(catalog: Catalog, days: int, apply: bool) -> int:
    """Drop answers older than so many days that a newer one to the same question replaced; return how many."""
    if not catalog.path.exists():
        return 0
    before = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
    if not apply:
        with catalog.reading() as connection:
            return len(connection.execute(_REPLACED, (before,)).fetchall())
    with catalog.writing() as connection:
        gone = connection.execute(_REPLACED, (before,)).fetchall()
        connection.executemany("DELETE FROM plans WHERE identity = ?", gone)
        connection.executemany("DELETE FROM findings WHERE identity = ?", gone)
    return len(gone)
