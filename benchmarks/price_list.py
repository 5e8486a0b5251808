"""The bundled price list, from a collection of published prices: what is no price of a whole card on demand is left out.

    python -m benchmarks.price_list PRICES.csv --write assets/whichgpu/assets/prices.json --date 2026-11-27

Columns: accelerator, provider, provider_kind, instance, count, region, usd_per_card_hour, spot_usd_per_card_hour, date (a day or a month),
date_kind, source, basis, form_stated.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from whichgpu import assets
from whichgpu.plan.choices import ON_DEMAND, SPOT
from whichgpu.plan.hardware import parse_accelerators

_NO_PRICES = {"serverless", "average", "average_forms"}
"""Bases that are no price of one thing: seconds of a function, indices, averages over forms of a card."""

_FORMS_DIFFER = ("h100_", "a100_")
"""Cards whose forms differ in price: rows that do not say which are left out."""

_FIXTURES = re.compile(r"/tests?/|fixture|mock", re.IGNORECASE)
_NO_SPOT = {"runpod-secure", "runpod-community", "mithril"}
"""Whose spot price repeats the other, or is an auction's reserve."""

_MIDDLE = "15"
"""Day that stands for an inferred month."""


_NO_REGION = ("", "not stated", "any", "all (one price)", "cheapest")
"""What the list writes where a price is of no region in particular."""


def offers(rows: Sequence[Mapping[str, str]]) -> Iterator[dict[str, Any]]:
    """Yield the offers of all rows that are prices."""
    owners = {(r["accelerator"], r["provider"]) for r in rows if " (via " not in r["provider"]}
    by_kind: dict[tuple[str, str], list[float]] = defaultdict(list)
    kept = [r for r in rows if _is_price(r) and not _is_resold(r, owners)]
    for row in kept:
        by_kind[row["accelerator"], row["provider_kind"]].append(float(row["usd_per_card_hour"]))
    for row in kept:
        usual = sorted(by_kind[row["accelerator"], row["provider_kind"]])
        middle, usd = usual[len(usual) // 2], float(row["usd_per_card_hour"])
        if not 0.3 * middle <= usd <= 3 * middle:
            continue
        yield _offer(row, ON_DEMAND, usd)
        spot = float(row["spot_usd_per_card_hour"] or 0)
        if spot and row["provider"] not in _NO_SPOT and spot < 0.98 * usd:
            yield _offer(row, SPOT, spot)


def _is_price(row: Mapping[str, str]) -> bool:
    known_form = row["form_stated"] == "yes" or not row["accelerator"].startswith(_FORMS_DIFFER)
    stated = row["usd_per_card_hour"] and row["date"] and not _FIXTURES.search(row["source"])
    return bool(stated) and known_form and row["basis"] not in _NO_PRICES


def _is_resold(row: Mapping[str, str], owners: set[tuple[str, str]]) -> bool:
    """True for a machine seen through a reseller whose owner's own price is there."""
    return " (via " in row["provider"] and (row["accelerator"], row["provider"].split(" (")[0]) in owners


def _offer(row: Mapping[str, str], kind: str, usd: float) -> dict[str, Any]:
    whole = len(row["date"]) > len("2026-01")
    offer = {
        "accelerator": row["accelerator"],
        "usd_per_hour": round(usd, 4),
        "provider": row["provider"].split(" (")[0],
        "seller": row["provider_kind"],
        "kind": kind,
        "date": row["date"] if whole else f"{row['date']}-{_MIDDLE}",
        "source": re.sub(r"@([0-9a-f]{7})[0-9a-f]+", r"@\1", row["source"])[:120],
        "region": None if row["region"] in _NO_REGION else row["region"],
        "count": int(row["count"]) if row["count"] else None,
        "instance": row["instance"] or None,
        "inferred": row["date_kind"] == "inferred",
    }
    return {k: v for k, v in offer.items() if v not in (None, False)}


def main() -> None:
    """Write the asset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("prices", type=Path)
    parser.add_argument("--write", type=Path, required=True)
    parser.add_argument("--date", required=True, help="of the collection")
    options = parser.parse_args()
    with options.prices.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    cards = {a.key for a in parse_accelerators(assets.read("accelerators.json"))}
    listed = [o for o in offers(rows) if o["accelerator"] in cards]
    sellers = {r["provider"].split(" (")[0]: r["provider_kind"] for r in rows}
    head = {"schema_version": 2, "date": options.date, "currency": "USD", "sellers": dict(sorted(sellers.items()))}
    text = json.dumps(head, indent=1)[:-2]
    lines = ",\n".join(json.dumps(o, ensure_ascii=False, separators=(",", ":")) for o in listed)
    options.write.write_text(f'{text},\n "offers": [\n{lines}\n ]\n}}\n', encoding="utf-8")
    print(
        f"{len(listed)} offers of {len({o['accelerator'] for o in listed})} cards from {len({o['provider'] for o in listed})} providers"
    )


if __name__ == "__main__":
    main()
