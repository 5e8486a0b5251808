"""What people ask of a catalog: words and fields (``llama class:moe params:>100B gpu:h200 cpm:<0.5``) into SQL.

Values are bound, never spliced; what is no known field is an error, so that a typing slip does not find everything.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from whichgpu.catalog import derive
from whichgpu.catalog.errors import CatalogError, QueryError
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.records import Record
from whichgpu.inspect.text import clean

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12, "gib": 2.0**30, "mib": 2.0**20, "gb": 1e9}
_NUMBER = re.compile(r"(<=|>=|<|>|=)?\s*(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)
_NUMERIC = {
    "params": "i.parameters",
    "active": "i.active_parameters",
    "context": "i.context",
    "weights": "i.weights_bytes",
}
_PLANNED = {
    "cards": "p.cards",
    "price": "p.usd_per_hour",
    "cpm": "p.usd_per_million_output",
    "tps": "p.tokens_per_second",
    "tpot": "p.tpot_ms",
}
_TEXT = {
    "model": "m.model",
    "grade": "i.grade",
    "published": "i.published",
    "arch": "i.architecture",
    "licence": "i.licence",
    "license": "i.licence",
}
_GATED = {"yes": 1, "no": 0}
SORTS = {
    "date": "m.made_at DESC",
    "model": "m.model COLLATE NOCASE",
    "params": "i.parameters DESC",
    "context": "i.context DESC",
    "price": "usd_per_hour IS NULL, usd_per_hour",
    "cpm": "usd_per_million_output IS NULL, usd_per_million_output",
}
FIELDS = (
    *_NUMERIC,
    *_PLANNED,
    *(name for name in _TEXT if name != "license"),
    "class",
    "gated",
    "gpu",
    "tag",
    "by",
    "since",
    "modified",
)

_BEST = """(SELECT b.rowid FROM plans AS b JOIN findings AS f USING (identity)
  WHERE b.model = m.model AND b.recommended = 1 ORDER BY f.made_at DESC LIMIT 1)"""
_SELECT = f"""
SELECT m.model, i.label, i.parameters, i.context, i.published, i.grade, i.licence, i.gated, i.modified, m.made_at, m.identity,
  b.accelerator, b.cards, b.usd_per_hour, b.tokens_per_second, b.usd_per_million_output,
  (SELECT group_concat(tag, ' ') FROM current_tags WHERE model = m.model) AS tags,
  (SELECT local_path FROM findings WHERE identity = m.identity) AS local_path
FROM models AS m JOIN inspections AS i ON i.identity = m.identity
LEFT JOIN plans AS b ON b.rowid = {_BEST}
"""


class Row(Record):
    """A model in the catalog: its newest inspection and what its newest answer recommended."""

    model: str
    label: str | None
    parameters: int | None
    context: int | None
    published: str | None
    grade: str | None
    licence: str | None
    gated: bool | None
    modified: str | None
    made_at: str | None
    identity: str
    accelerator: str | None
    cards: int | None
    usd_per_hour: float | None
    tokens_per_second: float | None
    usd_per_million_output: float | None
    tags: str | None
    local_path: str | None = None
    """Where the model was read, for one of this machine's folders."""


@dataclass(slots=True)
class _Query:
    where: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    planned: list[str] = field(default_factory=list)
    planned_values: list[Any] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


def search(catalog: Catalog, text: str, sort: str = "date", limit: int = 50, offset: int = 0) -> list[Row]:
    """Return the models that match, a page of them.

    Raises:
        QueryError: an unknown field, or a value that is none.
        CatalogError: the catalog cannot be read.
    """
    sql, values = compiled(text, sort)
    if not catalog.path.exists():
        return []
    _freshen(catalog)
    with catalog.reading() as connection:
        rows = connection.execute(f"{sql} LIMIT ? OFFSET ?", (*values, limit, offset)).fetchall()
    listed: list[Row] = []
    for row in rows:
        with suppress(ValidationError):  # a damaged row costs itself alone; catalog verify names it
            listed.append(Row(**dict(zip(Row.model_fields, row, strict=True))))
    return listed


def _freshen(catalog: Catalog) -> None:
    """Finish what an interrupted import left undone; where the file can't be written, search what is there."""
    with catalog.reading() as connection:
        stale = connection.execute("SELECT 1 FROM stale LIMIT 1").fetchone() is not None
    if stale:
        with suppress(CatalogError), catalog.writing() as connection:
            derive.freshen(connection)


def compiled(text: str, sort: str = "date") -> tuple[str, list[Any]]:
    """Return SQL without its limit, and what is bound in it."""
    query = _Query()
    for term in _terms(text):
        _add(query, term)
    if query.words:
        query.where.append("m.rowid IN (SELECT rowid FROM models_fts WHERE models_fts MATCH ?)")
        query.values.append(" ".join(_prefix_term(word) for word in query.words))
    if query.planned:
        inner = " AND ".join(["p.model = m.model", "p.verdict = 'fits'", *query.planned])
        query.where.append(f"EXISTS (SELECT 1 FROM plans AS p WHERE {inner})")
        query.values += query.planned_values
    condition = f"WHERE {' AND '.join(query.where)}" if query.where else ""
    return f"{_SELECT} {condition} ORDER BY {SORTS[sort]}, m.model", query.values


def _terms(text: str) -> Sequence[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise QueryError("The search has an open quote.", "Close it, or leave it out.") from error


def _prefix_term(word: str) -> str:
    """A word as full-text search takes it literally, matching beginnings."""
    quoted = word.replace('"', '""')
    return f'"{quoted}"*'


def _add(query: _Query, term: str) -> None:
    name, colon, value = term.partition(":")
    name = name.lower()
    if not colon or not re.fullmatch(r"[a-z]+", name):
        query.words.append(term)
    elif not value:
        raise QueryError(f"“{clean(term)}” has no value.", f"Write {name}:VALUE.")
    elif name in _NUMERIC or name in _PLANNED:
        operator, number = comparison(name, value)
        condition = f"{(_NUMERIC | _PLANNED)[name]} {operator} ?"
        planned = name in _PLANNED
        (query.planned if planned else query.where).append(condition)
        (query.planned_values if planned else query.values).append(number)
    elif name == "gpu":
        query.planned.append("p.accelerator LIKE ? ESCAPE '\\'")
        query.planned_values.append(_like(re.sub(r"[\s-]+", "_", value.lower())))
    else:
        _add_text(query, name, value)


def _add_text(query: _Query, name: str, value: str) -> None:
    if name in _TEXT:
        query.where.append(f"{_TEXT[name]} LIKE ? ESCAPE '\\'")
        query.values.append(_like(value))
    elif name == "class":
        query.where.append("(' ' || i.classes || ' ') LIKE ? ESCAPE '\\'")
        query.values.append(_like(f" {value.lower()} "))
    elif name == "tag":
        query.where.append("EXISTS (SELECT 1 FROM current_tags AS t WHERE t.model = m.model AND t.tag = ?)")
        query.values.append(value)
    elif name == "by":
        query.where.append("EXISTS (SELECT 1 FROM findings AS g WHERE g.model = m.model AND g.made_by = ?)")
        query.values.append(value)
    elif name in ("since", "modified"):
        query.where.append(f"{'m.made_at' if name == 'since' else 'i.modified'} >= ?")
        query.values.append(value)
    elif name == "gated":
        if value.lower() not in _GATED:
            raise QueryError(f"“{clean(value)}” is neither yes nor no.", "Write gated:yes or gated:no.")
        query.where.append("i.gated = ?")
        query.values.append(_GATED[value.lower()])
    else:
        raise QueryError(
            f"“{clean(name)}” is no field.", f"Fields: {', '.join(FIELDS)}. Put words with a colon in quotes."
        )


def _like(value: str) -> str:
    return "%" + value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


def comparison(name: str, value: str) -> tuple[str, float]:
    """Read ``>7B``, ``<=0.5``, ``100k`` as operator and number.

    Raises:
        QueryError: it is no number.
    """
    match = _NUMBER.fullmatch(value)
    if match is None or match[3].lower() not in _UNITS:
        raise QueryError(f"“{clean(value)}” is no number.", f"Write for example {name}:>100 or params:>7B.")
    return match[1] or "=", float(match[2]) * _UNITS[match[3].lower()]
