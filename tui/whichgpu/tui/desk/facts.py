"""The facts that an answer rests on: bundled, refreshed, of the team's contracts, and the user's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import to_json

from whichgpu import assets
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.bounded import read_bounded
from whichgpu.inspect.text import clean
from whichgpu.plan import hardware
from whichgpu.plan.calibration import parse_calibration
from whichgpu.plan.engine import Engines
from whichgpu.plan.errors import CardsError, FactsError
from whichgpu.plan.kernels import KernelFacts
from whichgpu.plan.learned import Learned, TrialFact
from whichgpu.plan.measurements import Measurements
from whichgpu.plan.mixed import mixed_card, mixing_notes
from whichgpu.plan.price_book import PriceBook
from whichgpu.plan.prices import (
    Listing,
    combined,
    own_price,
    parse_prices,
    parse_sellers,
    read_prices,
    with_sellers,
)
from whichgpu.plan.records import Accelerator, PriceOffer
from whichgpu.plan.search import Facts
from whichgpu.tui.desk.release import release

HERE = "here"
"""What ``--gpu`` calls the machine's own cards."""


@dataclass(frozen=True, slots=True)
class Own:
    """The user's cards and prices, as they were spelled."""

    accelerators: tuple[str, ...] = ()
    """``H100``, ``H100:80GB:$1.85``, ``here``."""
    mixed: bool = False
    """They stand in one machine, one of each as often as it is named, and serve together."""
    excluded: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()
    """Only these vendors' cards; all where empty."""
    prices: tuple[str, ...] = ()
    """``NAME=USD``."""
    price_file: Path | None = None
    card_file: Path | None = None
    calibrated: bool = True
    """False leaves the catalog's trials out of predictions."""
    providers: tuple[str, ...] = ()
    """Only these providers' prices; all where empty."""


def load_facts() -> Facts:
    """Load the bundled facts."""
    accelerators = assets.read("accelerators.json")
    return Facts(
        accelerators=hardware.parse_accelerators(accelerators),
        offers=parse_prices(assets.read("prices.json")),
        architectures=json.loads(assets.read("vllm_architectures.json")),
        engines=Engines(assets.read("vllm_versions.json")),
        calibration=parse_calibration(assets.read("throughput.json"), assets.read("kernel_times.json")),
        measurements=Measurements(assets.read("measurements.json")),
        kernels=KernelFacts(assets.read("vllm_kernels.json")),
        date=str(json.loads(accelerators)["date"]),
    )


_ASSETS = (
    "vllm_architectures.json",
    "vllm_kernels.json",
    "vllm_versions.json",
    "throughput.json",
    "kernel_times.json",
    "measurements.json",
)


def facts_digest(facts: Facts) -> str:
    """Return a SHA-256 of all that facts say, and of the version that reckons with them."""
    digest = sha256(release().encode())
    for name in _ASSETS:
        digest.update(assets.read(name))
    digest.update(to_json([facts.accelerators, facts.offers, facts.learned.facts]))
    return digest.hexdigest()


def facts_for(own: Own, kind: str, catalog: Catalog | None) -> tuple[Facts, tuple[str, ...], tuple[str, ...]]:
    """Return the facts with the user's own, the keys to consider, and what should be said about them.

    Prices, first to last: typed, of the user's file, the team's contracts, refreshed, bundled.

    Raises:
        UnknownAcceleratorError: a name, memory or price that is none.
        FactsError: a file of the user's that cannot be read, or a provider that sells nothing.
    """
    facts, today = load_facts(), datetime.now(UTC).date().isoformat()
    accelerators = list(facts.accelerators)
    if own.card_file is not None:
        generations = hardware.parse_generations(assets.read("accelerators.json"))
        theirs = hardware.parse_accelerators(_read(own.card_file).encode(), generations)
        accelerators = [k for k in accelerators if all(k.key != t.key for t in theirs)] + list(theirs)
    keys, typed_prices, notes = _read_specs(own, accelerators, kind, today)
    if own.mixed:
        keys, typed_prices, notes = _together(keys, typed_prices, notes, accelerators)
    if own.card_file is not None and not own.accelerators:
        keys += [t.key for t in theirs]
    catalog_prices, trouble = _kept_prices(catalog)
    from_file: list[PriceOffer] = []
    if own.price_file is not None:
        listing = Listing(own.price_file.stem, today, str(own.price_file.name))
        price_rows = read_prices(_read(own.price_file), listing, accelerators)
        from_file = [o.model_copy(update={"contract": True, "date": o.date or today}) for o in price_rows]
    live = [o for o in catalog_prices if not o.contract]
    refreshed = with_sellers(live, parse_sellers(assets.read("prices.json"))) if live else []
    contracts = [o for o in catalog_prices if o.contract]
    offers = combined(list(_of(own.providers, combined(facts.offers, refreshed))), contracts, from_file, typed_prices)
    if own.excluded or own.vendors:
        keys = _narrowed(own, keys, accelerators, PriceBook(offers), kind)
    return (
        replace(facts, accelerators=tuple(accelerators), offers=tuple(offers), learned=_learned_trials(own, catalog)),
        tuple(dict.fromkeys(keys)),
        (*notes, *trouble),
    )


def _narrowed(
    own: Own, keys: Sequence[str], accelerators: Sequence[Accelerator], book: PriceBook, kind: str
) -> list[str]:
    """Leave out what the user wants left out, of the cards that were named or else of all that somebody rents.

    Raises:
        UnknownAcceleratorError: no such card, or none is left.
    """
    out = {hardware.find(name, accelerators).key for name in own.excluded}
    by_key = {a.key: a for a in accelerators}
    named = list(keys) or [a.key for a in accelerators if book.has(a, kind)]
    left = [k for k in named if k not in out and (not own.vendors or by_key[k].vendor in own.vendors)]
    if not left:
        raise CardsError("No accelerator is left.", "Name fewer with --exclude, or another --vendor.")
    return left


def _read_specs(
    own: Own, accelerators: list[Accelerator], kind: str, today: str
) -> tuple[list[str], list[PriceOffer], tuple[str, ...]]:
    """Read the cards and prices that were typed; new cards go into ``known``."""
    priced: dict[str, float] = {}
    keys: list[str] = []
    notes: list[str] = []
    for spec in own.accelerators:
        if spec.lower() == HERE:
            cards, card_notes = _cards_here(accelerators)
            accelerators += [c for c in cards if all(c.key != k.key for k in accelerators)]
            keys += [c.key for c in cards]
            notes += card_notes
            continue
        card, price = hardware.read_card(spec, accelerators)
        accelerators += [card] if all(card.key != k.key for k in accelerators) else []
        keys.append(card.key)
        priced |= {card.key: price} if price is not None else {}
    for spec in own.prices:
        card, price = read_price(spec, accelerators)
        priced[card.key] = price
    return keys, [own_price(key, usd, kind, today) for key, usd in priced.items()], tuple(notes)


def _together(
    keys: list[str], prices: list[PriceOffer], notes: tuple[str, ...], accelerators: list[Accelerator]
) -> tuple[list[str], list[PriceOffer], tuple[str, ...]]:
    """Make one kind of card of all that stand in a machine; its price is theirs on average, where all have one typed."""
    cards = [hardware.find(key, accelerators) for key in keys]
    mixed, priced = mixed_card(cards), {offer.accelerator: offer for offer in prices}
    accelerators.append(mixed)
    if set(keys) <= priced.keys():
        usd = sum(priced[key].usd_per_hour for key in keys) / len(keys)
        prices = [*prices, priced[keys[0]].model_copy(update={"accelerator": mixed.key, "usd_per_hour": round(usd, 4)})]
    return [mixed.key], prices, (*notes, *mixing_notes(cards))


def read_price(spec: str, accelerators: list[Accelerator]) -> tuple[Accelerator, float]:
    """Read ``NAME=USD``.

    Raises:
        UnknownAcceleratorError: no such name, or no price.
    """
    card, price = (
        hardware.read_card(spec.replace("=", ":$").replace("$$", "$"), accelerators) if "=" in spec else (None, None)
    )
    if card is None or price is None:
        raise CardsError(f"“{clean(spec)}” is no price.", "Write H100=1.85.")
    return card, price


def _cards_here(accelerators: list[Accelerator]) -> tuple[list[Accelerator], list[str]]:
    from whichgpu.trial.gpus import as_accelerators, gpus_here

    return as_accelerators(gpus_here(), accelerators)


def _kept_prices(catalog: Catalog | None) -> tuple[list[PriceOffer], tuple[str, ...]]:
    if catalog is None:
        return [], ()
    try:
        return catalog.prices(), ()
    except CatalogError as error:
        return [], (f"Its prices are left out: {error.message}",)


def _learned_trials(own: Own, catalog: Catalog | None) -> Learned:
    if catalog is None or not own.calibrated:
        return Learned()
    facts: list[TrialFact] = []
    with suppress(CatalogError):  # keeping the answer will say what is wrong with the catalog
        for row in catalog.trial_facts():
            with suppress(ValidationError):  # a damaged row costs itself alone; catalog verify names it
                facts.append(TrialFact.model_validate(row))
    return Learned(facts)


def _of(providers: tuple[str, ...], offers: list[PriceOffer]) -> Iterator[PriceOffer]:
    provider_names = {p.lower() for p in providers}
    sold, kinds = {o.provider.lower() for o in offers}, {o.seller.value for o in offers}
    missing = provider_names - sold - kinds
    if missing:
        names = ", ".join(sorted(sold))
        raise FactsError(
            f"No price of {', '.join(sorted(missing))} is known.",
            f"Known providers: {names}; kinds: {', '.join(sorted(kinds))}.",
        )
    yield from (o for o in offers if not provider_names or {o.provider.lower(), o.seller.value} & provider_names)


_MOST_BYTES = 64 * 2**20
"""Of a file of prices or cards; SkyPilot's largest list has 25 MB."""


def _read(path: Path) -> str:
    """Read a file of the user's.

    Raises:
        FactsError: it isn't there, isn't text, or can't be read.
    """
    try:
        return read_bounded(path, _MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FactsError(f"{clean(path)} is no text file.", "Give JSON or CSV.") from error
    except OSError as error:
        raise FactsError(f"{clean(path)} cannot be read: {clean(error.strerror or error)}.", "") from error
