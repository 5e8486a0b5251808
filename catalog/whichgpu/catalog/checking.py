"""Whether a catalog is whole, without doing twice what was done before."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.records import ANSWER, Finding, identity_of
from whichgpu.catalog.rows import unpacked
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.text import clean

_MARK = "whole"
_BATCH = 1000


class Integrity(NamedTuple):
    """What a check of findings came to."""

    checked: int
    wrong: tuple[str, ...]


def integrity(catalog: Catalog, everything: bool = True) -> Integrity:
    """Check the file by SQLite's own means, and that findings are what they are named by.

    Args:
        everything: False leaves out findings that an earlier check found whole: they are immutable, and what alters them in
            the file itself is for a check of everything.

    Raises:
        CatalogError: the file cannot be read.
    """
    with catalog.reading() as connection:
        pragma = "integrity_check" if everything else "quick_check"
        wrong = [r[0] for r in connection.execute(f"PRAGMA {pragma}") if r[0] != "ok"]
        connection.text_factory = bytes  # a column may hold anything
        first = 0 if everything else _marked(connection)
        newest, checked = first, 0
        cursor = connection.execute(
            "SELECT rowid, identity, kind, about, tool_version, body FROM findings WHERE rowid > ? ORDER BY rowid",
            (first,),
        )
        while rows := cursor.fetchmany(_BATCH):
            checked += len(rows)
            newest = rows[-1][0]
            wrong += [fault for row in rows if (fault := _fault(*row[1:])) is not None]
    if not wrong:
        with (
            suppress(CatalogError),
            catalog.writing() as connection,
        ):  # a catalog that is only read is checked whole each time
            connection.execute("INSERT OR REPLACE INTO marks (name, value) VALUES (?, ?)", (_MARK, newest))
    return Integrity(checked, tuple(wrong))


def _marked(connection: sqlite3.Connection) -> int:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'marks'").fetchone() is None:
        return 0
    row = connection.execute("SELECT value FROM marks WHERE name = ?", (_MARK,)).fetchone()
    return int(row[0]) if row is not None else 0


def _fault(identity: bytes, kind: bytes, about: bytes | None, version: bytes, body: bytes) -> str | None:
    name = clean(identity.decode(errors="replace"), 32)
    try:
        # A body that is kept as it is, is text; one that is compressed, a blob. Both come as bytes here.
        text = body.decode() if body[:1] in (b"{", b"[") else unpacked(body)
        named_by = identity_of(kind.decode(), about.decode() if about is not None else None, version.decode(), text)
    except (zlib.error, ValueError, AttributeError, TypeError):
        return f"{name}: damaged"
    return None if named_by == identity.decode(errors="replace") else f"{name}: altered"


def answers_to_check(catalog: Catalog, facts: str) -> Iterator[Finding]:
    """Yield the stored answers, newest first, less those that an earlier check found unchanged by the same facts."""
    with catalog.reading() as connection:
        known = "AND identity NOT IN (SELECT identity FROM unchanged WHERE facts = ?)"
        has_memory = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'unchanged'").fetchone() is not None
        where = f"WHERE kind = ? {known if has_memory else ''} ORDER BY made_at DESC, identity"
        values = (ANSWER, facts) if has_memory else (ANSWER,)
        identities = [row[0] for row in connection.execute(f"SELECT identity FROM findings {where}", values)]
    for identity in identities:
        with suppress(CatalogError):  # damaged: integrity has said so
            yield from catalog.find("identity = ?", (identity,), 1)


def remember_unchanged(catalog: Catalog, identities: Iterable[str], facts: str) -> None:
    """Remember which answers are as today's facts would have them; in a catalog that is only read, nothing is."""
    with suppress(CatalogError), catalog.writing() as connection:
        connection.execute("DELETE FROM unchanged WHERE facts != ?", (facts,))
        rows = [(identity, facts) for identity in identities]
        connection.executemany("INSERT OR REPLACE INTO unchanged (identity, facts) VALUES (?, ?)", rows)
