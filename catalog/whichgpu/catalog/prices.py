"""Prices in the catalog: what was refreshed, and the team's contracts. Rows are immutable; the newest counts."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable

from pydantic import ValidationError

from whichgpu.catalog.errors import CatalogError
from whichgpu.plan.records import PriceOffer

_FIELDS = (
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
)
COLUMNS = ", ".join(("identity", *_FIELDS, "withdrawn", "made_at"))

_CURRENT = f"""
SELECT {", ".join(_FIELDS)} FROM prices AS p
WHERE withdrawn = 0 AND made_at = (
  SELECT max(made_at) FROM prices AS q
  WHERE q.provider = p.provider AND q.contract = p.contract AND (p.contract = 0 OR q.accelerator = p.accelerator)
)
ORDER BY accelerator, usd_per_hour
"""


def rows_of(offers: Iterable[PriceOffer], made_at: str, withdrawn: bool) -> list[tuple[object, ...]]:
    """Return table rows; the identity is the content's hash."""
    rows: list[tuple[object, ...]] = []
    for offer in offers:
        values = [getattr(offer, name) for name in _FIELDS]
        content = json.dumps([*values, withdrawn, made_at], separators=(",", ":"))
        identity = hashlib.sha256(content.encode()).hexdigest()[:32]
        rows.append((identity, *values, int(withdrawn), made_at))
    return rows


def current(connection: sqlite3.Connection) -> list[PriceOffer]:
    """Return the offers that count: of each provider the newest refresh, of each contract its last word."""
    try:
        return [PriceOffer.model_validate(dict(zip(_FIELDS, row, strict=True))) for row in connection.execute(_CURRENT)]
    except ValidationError as error:
        raise CatalogError(
            "A price in the catalog is damaged.", "Refresh prices, or choose another --catalog."
        ) from error
