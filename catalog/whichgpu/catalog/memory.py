"""Answers that need not be planned again: by a key of all that decides them, in this file alone."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from whichgpu.catalog import files
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.rows import unpacked
from whichgpu.catalog.store import Catalog

_MOST = 5_000
"""Answers that are remembered; the longest unused go first."""


def recall(catalog: Catalog, keys: Sequence[str]) -> dict[str, str]:
    """Return the bodies that are remembered, by key; nothing where the catalog can't be read."""
    bodies: dict[str, str] = {}
    with suppress(CatalogError):
        if not catalog.path.exists():
            return bodies
        with catalog.reading() as connection:
            if files.steps_of(connection) < files.SCHEMA_STEPS:
                return bodies
            for key in keys:
                row = connection.execute("SELECT body FROM remembered WHERE key = ?", (key,)).fetchone()
                with suppress(ValueError, TypeError, zlib.error):  # damaged: it is planned again
                    bodies |= {key: unpacked(row[0])} if row is not None else {}
    return bodies


def remember(catalog: Catalog, bodies: Mapping[str, str], used: Sequence[str]) -> None:
    """Remember bodies by key, and that others were used; in a catalog that can't be written, nothing is."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with suppress(CatalogError), catalog.writing(bulk=True) as connection:
        connection.executemany("UPDATE remembered SET used_at = ? WHERE key = ?", [(now, key) for key in used])
        rows = [(key, zlib.compress(body.encode(), 1), now) for key, body in bodies.items()]
        connection.executemany("INSERT OR REPLACE INTO remembered (key, body, used_at) VALUES (?, ?, ?)", rows)
        connection.execute(
            "DELETE FROM remembered WHERE key NOT IN (SELECT key FROM remembered ORDER BY used_at DESC, key LIMIT ?)",
            (_MOST,),
        )
