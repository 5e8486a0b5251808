"""The catalog's schema as numbered, transactional migrations (sqlite-utils)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlite_utils import Migrations

if TYPE_CHECKING:
    from sqlite_utils import Database

migrations = Migrations("whichgpu")


@migrations()
def m001_findings(db: Database) -> None:
    """Findings: immutable records by content hash; the body is zlib-compressed JSON."""
    db["findings"].create(  # type: ignore[union-attr]
        {
            "identity": str,
            "kind": str,
            "origin": str,
            "model": str,
            "commit_sha": str,
            "made_at": str,
            "tool_version": str,
            "facts_date": str,
            "inspection_identity": str,
            "body": bytes,
        },
        pk="identity",
        not_null={"identity", "kind", "origin", "model", "made_at", "tool_version", "inspection_identity", "body"},
    )
    db["findings"].create_index(["model", "kind", "made_at"])  # type: ignore[union-attr]


@migrations()
def m002_prices(db: Database) -> None:
    """Prices of card-hours: refreshed ones and contracts; a withdrawn row takes a contract back."""
    db["prices"].create(  # type: ignore[union-attr]
        {
            "identity": str,
            "accelerator": str,
            "usd_per_hour": float,
            "provider": str,
            "kind": str,
            "date": str,
            "source": str,
            "region": str,
            "count": int,
            "instance": str,
            "contract": int,
            "withdrawn": int,
            "made_at": str,
        },
        pk="identity",
        not_null={"identity", "accelerator", "usd_per_hour", "provider", "kind", "source", "contract", "withdrawn"},
    )
    db["prices"].create_index(["provider", "contract", "accelerator", "made_at"])  # type: ignore[union-attr]
