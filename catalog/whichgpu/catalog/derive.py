"""Findings into rows: the table of findings, and the tables that say in columns what their bodies hold."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from whichgpu.catalog.records import ANSWER, INSPECTION, NOTE, PRICE, TAG, TRIAL, Finding

COLUMNS = (
    "identity",
    "kind",
    "about",
    "model",
    "commit_sha",
    "origin",
    "private",
    "made_at",
    "made_by",
    "tool_version",
    "facts_date",
    "local_path",
    "body",
)
_ADD = f"""
INSERT OR IGNORE INTO findings ({", ".join(COLUMNS)}) VALUES ({", ".join("?" * len(COLUMNS))})"""
_EARLIER = """
UPDATE findings SET made_at = ?1, made_by = ?2, private = min(private, ?4), origin = min(origin, ?5)
WHERE identity = ?3 AND ((made_at, made_by) > (?1, ?2) OR private > ?4 OR origin > ?5)"""
"""The same finding twice is one row, of the first who made it: so catalogs merge in any order."""

_LEVEL = 6
_SMALL = 512
"""Characters up to which a body is kept as it is: compressing it would cost more than it saves."""


Rows = list[tuple[str, tuple[Any, ...]]]
"""(table, row) that follow from a finding."""


def insert(connection: sqlite3.Connection, findings: Iterable[Finding]) -> int:
    """Write findings and what follows from them, inside the caller's transaction; return how many are new.

    Raises:
        ValueError: a finding's content is malformed.
    """
    new = write(connection, [(f, rows_of(f)) for f in findings])
    freshen(connection)
    return new


def write(connection: sqlite3.Connection, prepared: Sequence[tuple[Finding, Rows]]) -> int:
    """Write findings with their rows; what models are found by is only marked stale, for ``freshen``."""
    rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for _, own in prepared:
        for table, row in own:
            rows[table].append(row)
    main = [row_of(finding) for finding, _ in prepared]
    before = connection.total_changes
    connection.executemany(_ADD, main)
    new = connection.total_changes - before
    if new < len(main):
        connection.executemany(_EARLIER, [(r[7], r[8], r[0], r[6], r[5]) for r in main])
    for table, values in rows.items():
        marks = ", ".join("?" * len(values[0]))
        connection.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", values)
    touched = {finding.model for finding, _ in prepared if finding.kind in (INSPECTION, NOTE, TAG)}
    connection.executemany("INSERT OR IGNORE INTO stale VALUES (?)", [(model,) for model in touched])
    return new


def freshen(connection: sqlite3.Connection) -> None:
    """Bring what models are found by up to date, inside the caller's transaction."""
    models = [r[0] for r in connection.execute("SELECT model FROM stale")]
    _reword(connection, models)
    connection.executemany("DELETE FROM stale WHERE model = ?", [(model,) for model in models])


def row_of(finding: Finding) -> tuple[Any, ...]:
    """Return a finding as a row of its table."""
    return (
        finding.identity,
        finding.kind,
        finding.about,
        finding.model,
        finding.commit,
        finding.origin,
        int(finding.private),
        finding.made_at,
        finding.made_by,
        finding.tool_version,
        finding.facts_date,
        finding.local_path,
        finding.body if len(finding.body) <= _SMALL else zlib.compress(finding.body.encode(), _LEVEL),
    )


def rows_of(finding: Finding) -> Rows:
    """Return what a finding's content says in columns.

    Raises:
        ValueError: the content does not have the form of its kind.
    """
    try:
        content = json.loads(finding.body)
        if not isinstance(content, dict):
            raise TypeError("no object")
        made = _MAKERS[finding.kind](finding, content)
        return [(table, tuple(_storable(value) for value in row)) for table, row in made]
    except (TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ValueError("malformed") from error


def _storable(value: Any) -> Any:
    """What SQLite can hold in a column; numbers beyond it and nested values are in the body alone."""
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    return value if value is None or isinstance(value, str | float) else None


_Made = Iterator[tuple[str, tuple[Any, ...]]]


def _inspection(finding: Finding, content: Mapping[str, Any]) -> _Made:
    architecture, parameters = content.get("architecture") or {}, content.get("parameters") or {}
    quantisation, source = content.get("quantisation") or {}, content.get("source") or {}
    yield (
        "inspections",
        (
            finding.identity,
            finding.model,
            finding.commit,
            content.get("grade"),
            " ".join(content.get("classes") or ()),
            " + ".join(content.get("classes") or ()),
            " ".join(architecture.get("names") or ()),
            (parameters.get("total") or {}).get("value"),
            (parameters.get("active") or {}).get("value"),
            architecture.get("context"),
            ((content.get("weights") or {}).get("total") or {}).get("value"),
            quantisation.get("label") or "not quantised",
            len(content.get("tensors") or ()),
            _typed(source.get("licence"), str),
            _typed(source.get("gated"), bool),
            _typed(source.get("modified"), str),
        ),
    )


def _typed(value: Any, kind: type) -> Any:
    """A value of that type, else unknown: findings come from others."""
    return value if isinstance(value, kind) else None


def _answer(finding: Finding, content: Mapping[str, Any]) -> _Made:
    workload = content.get("workload") or {}
    best = content.get("recommended")
    for position, plan in enumerate(content.get("plans") or ()):
        if plan.get("verdict") == "no" or plan.get("precision") != workload.get("precision"):
            continue
        foot, speed, layout = plan.get("footprint") or {}, plan.get("speed") or {}, plan.get("layout") or {}
        pool, needed = foot.get("pool"), foot.get("kv_needed")
        yield (
            "plans",
            (
                finding.identity,
                position,
                finding.model,
                plan.get("accelerator"),
                plan.get("count"),
                _label(layout),
                plan.get("precision"),
                workload.get("context"),
                workload.get("concurrency"),
                content.get("vllm"),
                plan.get("verdict"),
                int(best is not None and plan == best),
                plan.get("usd_per_hour"),
                (speed.get("output_tokens_per_second") or {}).get("expected"),
                (speed.get("tpot_ms") or {}).get("expected"),
                (speed.get("usd_per_million_output") or {}).get("expected"),
                pool,
                pool - (needed or 0) if pool is not None else None,
            ),
        )


def _label(layout: Mapping[str, Any]) -> str:
    sizes = (("TP", "tensor_parallel"), ("PP", "pipeline_parallel"), ("DP", "data_parallel"))
    words = [f"{n}{layout[k]}" for n, k in sizes if (layout.get(k) or 1) > 1]
    return " ".join(words + (["EP"] if layout.get("expert_parallel") else [])) or "TP1"


_TRIAL = (
    "accelerator",
    "cards",
    "vllm",
    "layout",
    "precision",
    "context",
    "concurrency",
    "input_tokens",
    "output_tokens",
    "succeeded",
    "weights_bytes",
    "predicted_weights_bytes",
    "pool_bytes",
    "predicted_pool_bytes",
    "tokens_per_second",
    "predicted_tokens_per_second",
    "tpot_ms",
    "predicted_tpot_ms",
    "ttft_ms",
    "usd_per_million_output",
    "tokens_per_joule",
)
"""Keys of a trial's ``summary``, in the order of the table's columns."""


def _trial(finding: Finding, content: Mapping[str, Any]) -> _Made:
    summary = content.get("summary") or {}
    yield "trials", (finding.identity, finding.model, *(summary.get(k) for k in _TRIAL))


_PRICE = (
    "accelerator",
    "usd_per_hour",
    "provider",
    "kind",
    "date",
    "source",
    "region",
    "count",
    "instance",
    "contract",
    "withdrawn",
    "at",
)


def _price(finding: Finding, content: Mapping[str, Any]) -> _Made:
    yield "prices", (finding.identity, *(content.get(k) for k in _PRICE))


def _note(finding: Finding, content: Mapping[str, Any]) -> _Made:
    yield "notes", (finding.identity, finding.model, content.get("text"), content.get("at"), content.get("by"))


def _tag(finding: Finding, content: Mapping[str, Any]) -> _Made:
    attached, at, by = int(bool(content.get("attached"))), content.get("at"), content.get("by")
    yield "tags", (finding.identity, finding.model, content.get("tag"), attached, at, by)


_MAKERS = {INSPECTION: _inspection, ANSWER: _answer, TRIAL: _trial, PRICE: _price, NOTE: _note, TAG: _tag}

_WORDS = """
SELECT coalesce((SELECT group_concat(w, ' ') FROM (SELECT DISTINCT label || ' ' || classes || ' ' || architecture AS w
    FROM inspections WHERE model = ?1 ORDER BY w)), '')
  || ' ' || coalesce((SELECT group_concat(tag, ' ') FROM (SELECT tag FROM current_tags WHERE model = ?1 ORDER BY tag)), '')
  || ' ' || coalesce((SELECT group_concat(text, ' ') FROM
    (SELECT text FROM current_notes WHERE model = ?1 ORDER BY text, at, by)), '')
"""
"""In an order of their own, so that catalogs with the same findings are the same."""
_NEWEST = """
UPDATE models SET (identity, made_at) = (SELECT identity, made_at FROM findings
  WHERE model = ?1 AND kind = 'inspection' ORDER BY made_at DESC, identity LIMIT 1) WHERE model = ?1
"""


def _reword(connection: sqlite3.Connection, models: Iterable[str]) -> None:
    """Say anew what full-text search finds a model by, and which inspection is its newest.

    Without triggers, which a connection that trusts no schema would not run.
    """
    for model in models:
        words = connection.execute(_WORDS, (model,)).fetchone()[0]
        old = connection.execute("SELECT rowid, words FROM models WHERE model = ?", (model,)).fetchone()
        if old is None:
            row = connection.execute("INSERT INTO models (model, words) VALUES (?, ?)", (model, words)).lastrowid
            connection.execute(_INDEX, (row, model, words))
        elif old[1] != words:
            gone = (old[0], model, old[1])
            connection.execute(
                "INSERT INTO models_fts (models_fts, rowid, model, words) VALUES ('delete', ?, ?, ?)", gone
            )
            connection.execute("UPDATE models SET words = ? WHERE rowid = ?", (words, old[0]))
            connection.execute(_INDEX, (old[0], model, words))
        connection.execute(_NEWEST, (model,))


_INDEX = "INSERT INTO models_fts (rowid, model, words) VALUES (?, ?, ?)"
