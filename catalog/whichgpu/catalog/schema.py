"""The catalog's schema as numbered, transactional migrations (sqlite-utils).

``findings`` is the truth; the tables beside it are what its bodies say, for plain SQL, and can be made anew from them.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from whichgpu.catalog.frameless import Migrations

if TYPE_CHECKING:
    from whichgpu.catalog.frameless import Database

migrations = Migrations("whichgpu")

MEANING = {
    "findings": "Every record, immutable: `identity` is the SHA-256 of kind, about, tool_version and the canonical JSON"
    " body (32 digits); `body` is that JSON, zlib-compressed where it is long. When and by whom it was first made lies beside.",
    "inspections": "What models are, one row per reading. Parameters and bytes are counts; NULL is unknown.",
    "plans": "What answers hold at the asked precision, all that is not “no”; recommended = 1 marks the recommendation.",
    "trials": "What was measured beside what had been predicted.",
    "prices": "Offers of card-hours: refreshed lists and contracts; a withdrawn row takes a contract back.",
    "notes": "Notes on models; the newest of each writer counts (view current_notes), the others are its history.",
    "tags": "Tags put on models and taken off; the last word counts (view current_tags).",
    "models": "One row per model: what full-text search finds it by (models_fts), and its newest inspection.",
    "people": "Who the pseudonyms are. Stays in this file unless shared with --names.",
    "heads": "Which commit a branch was at, and when that was confirmed. Local.",
    "lookups": "Which inspection answers what was asked of a commit, per version of whichgpu: the cache. Local.",
    "stale": "Models whose search words are still to be said anew after an interrupted import. Local.",
    "shared": "What a target is known to have. Local.",
    "bundles": "Bundles of a target that were read or written. Local.",
    "marks": "How far verify has come: the row up to which findings were whole. Local.",
    "unchanged": "Answers that verify found unchanged, and the facts that it compared them by. Local.",
    "remembered": "Answers of fleets, by the SHA-256 of all that decides them. Local.",
}
"""What the tables are for, as docs/catalog.md shows it."""


def _create(db: Database, name: str, columns: dict[str, type], pk: str | tuple[str, ...], required: str = "") -> None:
    table: Any = db[name]
    table.create(columns, pk=pk, not_null=set(required.split()))


@migrations()
def m001_findings(db: Database) -> None:
    """Findings: immutable records by content hash; the body is zlib-compressed JSON."""
    columns = dict.fromkeys(
        [
            "identity",
            "kind",
            "origin",
            "model",
            "commit_sha",
            "made_at",
            "tool_version",
            "facts_date",
            "inspection_identity",
        ],
        str,
    )
    required = "identity kind origin model made_at tool_version inspection_identity body"
    _create(db, "findings", {**columns, "body": bytes}, "identity", required)
    table: Any = db["findings"]
    table.create_index(["model", "kind", "made_at"])


@migrations()
def m002_team(db: Database) -> None:
    """Identities that anyone can check, and who made what."""
    old = list(db.query("SELECT * FROM findings"))
    db.execute("DROP TABLE findings")
    _findings(db)
    _local(db)
    _convert(db, old)


@migrations()
def m003_terms(db: Database) -> None:
    """On what terms a model is offered: columns of a derived table, which the last step makes anew."""


@migrations()
def m004_renewed(db: Database) -> None:
    """Derived tables with all copies of a plan counted in cards and dollars; the last step makes them anew."""


@migrations()
def m005_remembered(db: Database) -> None:
    """What need not be done twice: checks of findings and answers, and a fleet's answers."""
    _create(db, "marks", {"name": str, "value": int}, "name", "value")
    _create(db, "unchanged", {"identity": str, "facts": str}, "identity", "facts")
    _create(db, "remembered", {"key": str, "body": bytes, "used_at": str}, "key", "body used_at")
    renew(db)


def renew(db: Database) -> None:
    """Drop the derived tables and views, make them as this version has them, and fill them from the findings.

    The last migration calls it, whichever that is: what an older version had derived never matters.
    """
    from whichgpu.catalog.derive import rederive

    for view in list(db.view_names()):
        db.execute(f"DROP VIEW [{view}]")
    if "models_fts" in db.table_names():
        table: Any = db["models"]
        table.disable_fts()
    for name in _DERIVED:
        db.execute(f"DROP TABLE IF EXISTS [{name}]")
    _derived_tables(db)
    _views(db)
    rederive(db.conn)


def _findings(db: Database) -> None:
    text = [
        "identity",
        "kind",
        "about",
        "model",
        "commit_sha",
        "origin",
        "made_at",
        "made_by",
        "tool_version",
        "facts_date",
        "local_path",
    ]
    columns: dict[str, type] = {**dict.fromkeys(text, str), "private": int, "body": bytes}
    _create(db, "findings", columns, "identity", "identity kind model origin private made_at made_by tool_version body")
    table: Any = db["findings"]
    table.create_index(["model", "kind", "made_at"])
    table.create_index(["made_at"])
    table.create_index(["about"])


_DERIVED = ("inspections", "plans", "trials", "prices", "notes", "tags", "models")


def _derived_tables(db: Database) -> None:
    """What bodies say, in columns. Sizes in bytes, rates per second, prices in US dollars, times in ms."""
    s, i, f = str, int, float
    inspections: dict[str, type] = {
        "identity": s, "model": s, "commit_sha": s, "grade": s, "classes": s, "label": s, "architecture": s,
        "parameters": i, "active_parameters": i, "context": i, "weights_bytes": i, "published": s, "tensor_groups": i,
        "licence": s, "gated": i, "modified": s,
    }  # fmt: skip
    _create(db, "inspections", inspections, "identity", "identity model")
    plans: dict[str, type] = {
        "identity": s, "position": i, "model": s, "accelerator": s, "cards": i, "layout": s, "precision": s,
        "context": i, "concurrency": i, "vllm": s, "verdict": s, "recommended": i, "usd_per_hour": f,
        "tokens_per_second": f, "tpot_ms": f, "usd_per_million_output": f, "pool_bytes": i, "headroom_bytes": i,
    }  # fmt: skip
    _create(db, "plans", plans, ("identity", "position"), "model accelerator verdict")
    trials: dict[str, type] = {
        "identity": s, "model": s, "accelerator": s, "cards": i, "vllm": s, "layout": s, "precision": s,
        "context": i, "concurrency": i, "input_tokens": i, "output_tokens": i, "succeeded": i,
        "weights_bytes": i, "predicted_weights_bytes": i, "pool_bytes": i, "predicted_pool_bytes": i,
        "tokens_per_second": f, "predicted_tokens_per_second": f, "tpot_ms": f, "predicted_tpot_ms": f, "ttft_ms": f,
        "usd_per_million_output": f, "tokens_per_joule": f,
    }  # fmt: skip
    _create(db, "trials", trials, "identity", "model accelerator")
    prices: dict[str, type] = {
        "identity": s, "accelerator": s, "usd_per_hour": f, "provider": s, "kind": s, "date": s, "source": s,
        "region": s, "count": i, "instance": s, "contract": i, "withdrawn": i, "at": s,
    }  # fmt: skip
    _create(db, "prices", prices, "identity", "accelerator usd_per_hour provider kind source contract withdrawn at")
    _create(db, "notes", {"identity": s, "model": s, "text": s, "at": s, "by": s}, "identity", "model text at by")
    tags: dict[str, type] = {"identity": s, "model": s, "tag": s, "attached": i, "at": s, "by": s}
    _create(db, "tags", tags, "identity", "model tag attached at by")
    models: dict[str, type] = {"model": s, "words": s, "identity": s, "made_at": s}
    _create(db, "models", models, "model", "model words")
    tables: dict[str, Any] = {name: db[name] for name in ("inspections", "plans", "trials", "prices", "notes", "tags")}
    for name in ("inspections", "trials"):
        tables[name].create_index(["model"])
    tables["notes"].create_index(["model", "by", "at", "identity"])
    tables["tags"].create_index(["model", "tag", "at", "identity"])
    tables["plans"].create_index(["model", "verdict", "usd_per_hour"])
    tables["plans"].create_index(["accelerator"])
    tables["inspections"].create_index(["parameters"])
    tables["prices"].create_index(["provider", "contract", "accelerator", "at"])
    table: Any = db["models"]
    table.create_index(["made_at"])
    table.enable_fts(["model", "words"], tokenize="unicode61 tokenchars '.'")  # no triggers: derive keeps it up to date


def _local(db: Database) -> None:
    """What stays in this file: who the pseudonyms are, which commit a name meant when, and what was shared where."""
    _create(db, "people", {"id": str, "name": str, "host": str}, "id")
    _create(
        db,
        "heads",
        {"model": str, "revision": str, "commit_sha": str, "confirmed_at": str},
        ("model", "revision"),
        "commit_sha confirmed_at",
    )
    lookups: dict[str, type] = dict.fromkeys(["model", "commit_sha", "asked", "tool_version", "identity"], str)
    _create(db, "lookups", lookups, ("model", "commit_sha", "asked", "tool_version"), "identity")
    _create(db, "stale", {"model": str}, "model")
    _create(db, "shared", {"target": str, "identity": str}, ("target", "identity"))
    _create(db, "bundles", {"target": str, "name": str, "read_at": str}, ("target", "name"))


_VIEWS = {
    "latest_findings": """
SELECT f.model, i.label, i.classes, i.parameters, f.commit_sha, f.made_at, f.tool_version, f.identity
FROM findings AS f JOIN inspections AS i USING (identity)
WHERE f.made_at = (SELECT max(made_at) FROM findings WHERE model = f.model AND kind = 'inspection')""",
    "cheapest_plans": """
SELECT model, context, concurrency, precision, accelerator, cards, layout, min(usd_per_hour) AS usd_per_hour,
  tokens_per_second, usd_per_million_output, identity
FROM plans WHERE verdict = 'fits' AND usd_per_hour IS NOT NULL GROUP BY model, context, concurrency, precision""",
    "measured_vs_predicted": """
SELECT model, accelerator, cards, layout, vllm, concurrency, pool_bytes, predicted_pool_bytes,
  round(100.0 * (predicted_pool_bytes - pool_bytes) / nullif(pool_bytes, 0), 2) AS pool_error_pct,
  tokens_per_second, predicted_tokens_per_second,
  round(100.0 * (predicted_tokens_per_second - tokens_per_second) / nullif(tokens_per_second, 0), 2) AS rate_error_pct,
  identity
FROM trials WHERE succeeded = 1""",
    "current_tags": """
SELECT t.model, t.tag, t.at, t.by FROM tags AS t
WHERE t.attached = 1 AND t.identity = (SELECT identity FROM tags WHERE model = t.model AND tag = t.tag
  ORDER BY at DESC, identity DESC LIMIT 1)""",
    "current_notes": """
SELECT n.model, n.text, n.at, n.by FROM notes AS n
WHERE n.text != '' AND n.identity = (SELECT identity FROM notes WHERE model = n.model AND by = n.by
  ORDER BY at DESC, identity DESC LIMIT 1)""",
    "fleet": """
SELECT p.model, p.accelerator, p.cards, p.layout, p.precision, p.usd_per_hour, p.tokens_per_second,
  p.usd_per_million_output, f.made_at
FROM plans AS p JOIN findings AS f USING (identity) JOIN current_tags AS t ON t.model = p.model AND t.tag = 'served'
WHERE p.recommended = 1 AND f.made_at = (SELECT max(g.made_at) FROM findings AS g
  WHERE g.model = p.model AND g.kind = 'answer')""",
}


def _views(db: Database) -> None:
    for name, sql in _VIEWS.items():
        db.create_view(name, sql.strip())


def _convert(db: Database, old: list[dict[str, Any]]) -> None:
    """Give the findings of the first version identities that can be checked."""
    from whichgpu.catalog.records import Stamp, answer_finding, inspection_finding
    from whichgpu.catalog.rows import row_of
    from whichgpu.inspect.records import Inspection
    from whichgpu.plan.records import Answer

    inspections = {}
    for row in sorted(old, key=lambda r: r["kind"] != "inspection"):
        stamp = Stamp(made_at=row["made_at"], made_by="", tool_version=row["tool_version"])
        try:
            body = json.loads(zlib.decompress(row["body"]))
            if row["kind"] == "inspection":
                finding = inspection_finding(Inspection.model_validate(body), stamp)
                inspections[row["identity"]] = finding
            else:
                finding = answer_finding(inspections[row["inspection_identity"]], Answer.model_validate(body), stamp)
        except (ValueError, KeyError, zlib.error):
            continue  # of a record that this version cannot read nothing can be checked; the backup has it
        table: Any = db["findings"]
        table.insert(row_of(finding), ignore=True)
