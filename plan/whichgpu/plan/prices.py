"""Prices of card-hours: offers as providers publish them, read from several formats (``price_book`` makes one price of them)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from pydantic import ValidationError

from whichgpu.inspect.bounded import json_of
from whichgpu.plan.choices import ON_DEMAND, SPOT, Seller
from whichgpu.plan.errors import FactsError
from whichgpu.plan.hardware import is_called
from whichgpu.plan.records import Accelerator, PriceOffer


def card_key(name: str, memory_gb: float | None, accelerators: Sequence[Accelerator]) -> str | None:
    """Return the key of a card as a price list spells it (``RTXPRO6000``, ``A100-80GB``, ``H100`` of 94 GB)."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    spellings = {spelling: card.key for card in accelerators for spelling in card.listed_as}
    by_memory = {int(s.removeprefix(f"{plain}:")): k for s, k in spellings.items() if s.startswith(f"{plain}:")}
    if by_memory and memory_gb:
        return by_memory[min(by_memory, key=lambda size: abs(size - memory_gb))]
    return spellings.get(plain) or next((c.key for c in accelerators if is_called(c, name)), None)


class Listing(NamedTuple):
    """Where a list of prices comes from."""

    provider: str
    """Of rows that name none."""
    date: str
    """Of rows that have none."""
    source: str


class _Rate(NamedTuple):
    """What one card costs."""

    key: str
    usd_per_hour: float
    kind: str


class _Instance(NamedTuple):
    """What is rented."""

    region: str | None
    cards: int | None
    name: str | None


def read_prices(text: str, listing: Listing, accelerators: Sequence[Accelerator]) -> list[PriceOffer]:
    """Read a price file: this project's JSON, a SkyPilot catalog CSV, or a CSV of ``accelerator,usd_per_hour,…``.

    Columns of the last: accelerator, usd_per_hour (per card), and where known provider, kind, region, count, date.

    Raises:
        FactsError: none of these, or nothing in it is a known card.
    """
    if text.lstrip().startswith("{"):
        return list(parse_prices(text.encode()))
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
    except csv.Error as error:
        raise FactsError("The price file is no CSV.", _FORMATS) from error
    columns = set(rows[0]) if rows else set()
    try:
        if {"AcceleratorName", "AcceleratorCount", "Price"} <= columns:
            offers = list(_skypilot(rows, listing, accelerators))
        elif {"accelerator", "usd_per_hour"} <= columns:
            offers = list(_plain(rows, listing, accelerators))
        else:
            raise FactsError("The price file has none of the known columns.", _FORMATS)
    except ValidationError as error:
        raise FactsError("A row of the price file has no proper price or date.", _FORMATS) from error
    if not offers:
        raise FactsError("No row of the price file is for a known accelerator.", "whichgpu gpus lists them.")
    return offers


_FORMATS = "It takes SkyPilot's CSV, or columns accelerator,usd_per_hour,provider,kind,region,count,date."


def parse_prices(data: bytes) -> tuple[PriceOffer, ...]:
    """Parse price facts in this project's own JSON.

    Raises:
        FactsError: damaged facts.
    """
    try:
        return tuple(PriceOffer.model_validate(o) for o in json_of(data)["offers"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise FactsError("The price facts are damaged.", "Reinstall whichgpu, or mend the file.") from error


def parse_sellers(data: bytes) -> dict[str, Seller]:
    """Parse which provider is what kind of seller, by its name in lower case.

    Raises:
        FactsError: damaged facts.
    """
    try:
        return {str(name).lower(): Seller(kind) for name, kind in json_of(data).get("sellers", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FactsError("The price facts are damaged.", "Reinstall whichgpu, or mend the file.") from error


def with_sellers(offers: Iterable[PriceOffer], sellers: Mapping[str, Seller]) -> list[PriceOffer]:
    """Return offers with the kind of their provider where it is known: live lists do not say it."""
    return [
        o if (kind := sellers.get(o.provider.lower(), o.seller)) is o.seller else o.model_copy(update={"seller": kind})
        for o in offers
    ]


def _skypilot(
    rows: Iterable[Mapping[str, str]], listing: Listing, accelerators: Sequence[Accelerator]
) -> Iterator[PriceOffer]:
    """SkyPilot's catalog (schema v8): one row per instance, region and zone; prices of the whole instance."""
    instances: set[tuple[str, str, str]] = set()
    for row in rows:
        count = _number(row.get("AcceleratorCount"))
        key = card_key(row.get("AcceleratorName") or "", None, accelerators)
        region = row.get("Region") or ""
        instance_type = row.get("InstanceType") or ""
        if key is None or not count or count < 1 or (instance_type, region, key) in instances:
            continue
        instances.add((instance_type, region, key))
        for kind, column in ((ON_DEMAND, "Price"), (SPOT, "SpotPrice")):
            price = _number(row.get(column))
            if price:
                instance = _Instance(region, int(count), instance_type)
                yield _offer(_Rate(key, price / count, kind), listing, instance)


def _plain(
    rows: Iterable[Mapping[str, str]], listing: Listing, accelerators: Sequence[Accelerator]
) -> Iterator[PriceOffer]:
    for row in rows:
        key = card_key(row["accelerator"] or "", None, accelerators)
        key = next((c.key for c in accelerators if c.key == row["accelerator"]), key)
        price, count = _number(row["usd_per_hour"]), _number(row.get("count"))
        if key is None or not price:
            continue
        kind = SPOT if (row.get("kind") or "").lower() == SPOT else ON_DEMAND
        row_listing = Listing(row.get("provider") or listing.provider, row.get("date") or listing.date, listing.source)
        instance = _Instance(row.get("region"), int(count) if count else None, row.get("instance"))
        yield _offer(_Rate(key, price, kind), row_listing, instance)


def read_gpuhunt(items: Iterable[Any], date: str, accelerators: Sequence[Accelerator]) -> Iterator[PriceOffer]:
    """Turn gpuhunt's catalog items (prices of whole instances) into offers; what is no known card is left out."""
    for item in items:
        key = card_key(item.gpu_name or "", item.gpu_memory, accelerators) if item.gpu_count else None
        if key is None or not item.price:
            continue
        rate = _Rate(key, item.price / item.gpu_count, SPOT if item.spot else ON_DEMAND)
        instance = _Instance(item.location, item.gpu_count, item.instance_name)
        with suppress(ValidationError):  # one odd row of a live list costs itself
            yield _offer(rate, Listing(item.provider, date, "gpuhunt"), instance)


def _offer(rate: _Rate, listing: Listing, instance: _Instance) -> PriceOffer:
    return PriceOffer(
        accelerator=rate.key,
        usd_per_hour=round(rate.usd_per_hour, 4),
        provider=listing.provider,
        kind=rate.kind,
        date=listing.date,
        source=listing.source,
        region=instance.region or None,
        count=instance.cards,
        instance=instance.name or None,
    )


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None


def own_price(key: str, usd_per_hour: float, kind: str, date: str) -> PriceOffer:
    """A price that the user names."""
    return PriceOffer(
        accelerator=key,
        usd_per_hour=usd_per_hour,
        provider="yours",
        kind=kind,
        date=date,
        source="as you said",
        contract=True,
    )


def combined(bundled: Sequence[PriceOffer], *newer: Sequence[PriceOffer]) -> list[PriceOffer]:
    """Return offers with later lists ahead: for a card and kind, a list that has any replaces those before it.

    A contract replaces the offers of both kinds: nobody takes a contract's card away.
    """
    offers = list(bundled)
    for price_list in newer:
        covered = {(o.accelerator, o.kind) for o in price_list}
        covered |= {(o.accelerator, kind) for o in price_list if o.contract for kind in (ON_DEMAND, SPOT)}
        offers = [o for o in offers if (o.accelerator, o.kind) not in covered] + list(price_list)
    return offers
