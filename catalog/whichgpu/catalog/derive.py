"""Findings into rows: the table of findings, and the tables that say in columns what their bodies hold."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.records import ANSWER, INSPECTION, NOTE, PRICE, TAG, TRIAL, Finding
from whichgpu.catalog.rows import COLUMNS, finding_of, row_of
from whichgpu.plan.records import Layout

_ADD = f"""
INSERT OR IGNORE INTO findings ({", ".join(COLUMNS)}) VALUES ({", ".join(f":{c}" for c in COLUMNS)})"""
_EARLIER = """
UPDATE findings SET made_at = :made_at, made_by = :made_by, private = min(private, :private), origin = min(origin, :origin)
WHERE identity = :identity AND ((made_at, made_by) > (:made_at, :made_by) OR private > :private OR origin > :origin)"""
"""The same finding twice is one row, of the first who made it: so catalogs merge in any order."""

_BATCH = 1000
"""Findings that are derived at once."""


Row = Mapping[str, Any]
"""Value by column."""

Rows = list[tuple[str, Row]]
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
    rows: dict[str, list[Row]] = defaultdict(list)
    for _, derived_rows in prepared:
        for table, row in derived_rows:
            rows[table].append(row)
    main = [row_of(finding) for finding, _ in prepared]
    before = connection.total_changes
    connection.executemany(_ADD, main)
    new = connection.total_changes - before
    if new < len(main):
        connection.executemany(_EARLIER, main)
    _insert_rows(connection, rows)
    touched = {finding.model for finding, _ in prepared if finding.kind in (INSPECTION, NOTE, TAG)}
    connection.executemany("INSERT OR IGNORE INTO stale (model) VALUES (?)", [(model,) for model in touched])
    return new


def rederive(connection: sqlite3.Connection) -> None:
    """Fill empty derived tables from the findings, inside the caller's transaction; what can't be read stays out of them."""
    cursor = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM findings")
    while batch := cursor.fetchmany(_BATCH):
        rows: dict[str, list[Row]] = defaultdict(list)
        models = set()
        for values in batch:
            with suppress(ValueError, CatalogError):
                finding = finding_of(values)
                for table, row in rows_of(finding):
                    rows[table].append(row)
                models.add(finding.model)
        _insert_rows(connection, rows)
        connection.executemany("INSERT OR IGNORE INTO stale (model) VALUES (?)", [(model,) for model in models])
    freshen(connection)


def _insert_rows(connection: sqlite3.Connection, rows: Mapping[str, Sequence[Row]]) -> None:
    for table, values in rows.items():
        columns = list(values[0])
        marks = ", ".join(f":{column}" for column in columns)
        connection.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)


def freshen(connection: sqlite3.Connection) -> None:
    """Bring what models are found by up to date, inside the caller's transaction."""
    models = [r[0] for r in connection.execute("SELECT model FROM stale")]
    _reword(connection, models)
    connection.executemany("DELETE FROM stale WHERE model = ?", [(model,) for model in models])


def rows_of(finding: Finding) -> Rows:
    """Return what a finding's content says in columns.

    Raises:
        ValueError: the content does not have the form of its kind.
    """
    try:
        content = json.loads(finding.body)
        if not isinstance(content, dict):
            raise TypeError("no object")
        rows = _MAKERS[finding.kind](finding, content)
        return [(table, {column: _storable(value) for column, value in row.items()}) for table, row in rows]
    except (TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ValueError("malformed") from error


def _storable(value: Any) -> Any:
    """What SQLite can hold in a column; numbers beyond it and nested values are in the body alone."""
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    return value if value is None or isinstance(value, str | float) else None


_Made = Iterator[tuple[str, Row]]


def _inspection(finding: Finding, content: Mapping[str, Any]) -> _Made:
    architecture, parameters = content.get("architecture") or {}, content.get("parameters") or {}
    quantisation, source = content.get("quantisation") or {}, content.get("source") or {}
    row = {
        "identity": finding.identity,
        "model": finding.model,
        "commit_sha": finding.commit,
        "grade": content.get("grade"),
        "classes": " ".join(content.get("classes") or ()),
        "label": " + ".join(content.get("classes") or ()),
        "architecture": " ".join(architecture.get("names") or ()),
        "parameters": (parameters.get("total") or {}).get("value"),
        "active_parameters": (parameters.get("active") or {}).get("value"),
        "context": architecture.get("context"),
        "weights_bytes": ((content.get("weights") or {}).get("total") or {}).get("value"),
        "published": quantisation.get("label") or "not quantised",
        "tensor_groups": len(content.get("tensors") or ()),
        "licence": _value_of_type(source.get("licence"), str),
        "gated": _value_of_type(source.get("gated"), bool),
        "modified": _value_of_type(source.get("modified"), str),
    }
    yield "inspections", row


def _value_of_type(value: Any, kind: type) -> Any:
    """A value of that type, else unknown: findings come from others."""
    return value if isinstance(value, kind) else None


def _answer(finding: Finding, content: Mapping[str, Any]) -> _Made:
    workload = content.get("workload") or {}
    best = content.get("recommended")
    for position, plan in enumerate(content.get("plans") or ()):
        if plan.get("verdict") == "no" or plan.get("precision") != workload.get("precision"):
            continue
        foot, speed = plan.get("footprint") or {}, plan.get("speed") or {}
        layout = Layout.model_validate(plan["layout"]) if plan.get("layout") else Layout(tensor_parallel=1)
        pool, needed, copies = foot.get("pool"), foot.get("kv_needed"), plan.get("replicas") or 1
        hourly = plan.get("usd_per_hour")
        row = {
            "identity": finding.identity,
            "position": position,
            "model": finding.model,
            "accelerator": plan.get("accelerator"),
            "cards": plan["count"] * copies if plan.get("count") is not None else None,
            "layout": layout.label,
            "precision": plan.get("precision"),
            "context": workload.get("context"),
            "concurrency": workload.get("concurrency"),
            "vllm": content.get("vllm"),
            "verdict": plan.get("verdict"),
            "recommended": int(best is not None and plan == best),
            "usd_per_hour": hourly * copies if hourly is not None else None,
            "tokens_per_second": (speed.get("output_tokens_per_second") or {}).get("expected"),
            "tpot_ms": (speed.get("tpot_ms") or {}).get("expected"),
            "usd_per_million_output": (speed.get("usd_per_million_output") or {}).get("expected"),
            "pool_bytes": pool,
            "headroom_bytes": pool - (needed or 0) if pool is not None else None,
        }
        yield "plans", row


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
"""Fields of a trial's ``Summary``: its columns. Named here, since importing the record costs a one-shot its time."""


def _trial(finding: Finding, content: Mapping[str, Any]) -> _Made:
    if content.get("tiny") is not None:
        return  # figures of a model that nobody serves: no table of measurements has them
    summary = content.get("summary") or {}
    columns = {k: summary.get(k) for k in _TRIAL}
    yield "trials", {"identity": finding.identity, "model": finding.model, **columns}


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
    yield "prices", {"identity": finding.identity, **{k: content.get(k) for k in _PRICE}}


def _note(finding: Finding, content: Mapping[str, Any]) -> _Made:
    words = {k: content.get(k) for k in ("text", "at", "by")}
    yield "notes", {"identity": finding.identity, "model": finding.model, **words}


def _tag(finding: Finding, content: Mapping[str, Any]) -> _Made:
    words = {k: content.get(k) for k in ("tag", "at", "by")} | {"attached": int(bool(content.get("attached")))}
    yield "tags", {"identity": finding.identity, "model": finding.model, **words}


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
