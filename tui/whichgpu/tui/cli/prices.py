"""``whichgpu prices``: what card-hours cost, refreshed from price lists, and the team's contracts."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from whichgpu.catalog.records import price_finding
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.bounded import read_bounded
from whichgpu.inspect.errors import MissingExtraError, NetworkError
from whichgpu.inspect.text import clean
from whichgpu.plan import hardware
from whichgpu.plan.choices import ON_DEMAND, SPOT
from whichgpu.plan.errors import FactsError
from whichgpu.plan.prices import Listing, combined, own_price, read_gpuhunt, read_prices
from whichgpu.plan.records import PriceOffer
from whichgpu.tui.asking.completing import complete_cards
from whichgpu.tui.cli.common import as_json_option, with_desk
from whichgpu.tui.desk.answering import stamp
from whichgpu.tui.desk.desk import Desk
from whichgpu.tui.desk.facts import load_facts, read_price
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.terminal import Terminal
from whichgpu.tui.words.units import NOTHING, dollars, is_stale, sign, wrapped


@click.command("list")
@click.argument("gpu", required=False, shell_complete=complete_cards)
@click.option(
    "--provider",
    "providers",
    multiple=True,
    help="Only this provider's, or of cloud, hyperscaler, marketplace; may be repeated.",
)
@click.option("--spot", is_flag=True, help="Only spot prices.")
@with_desk
@as_json_option
def prices_list(gpu: str | None, providers: tuple[str, ...], spot: bool, desk: Desk, as_json: bool) -> int:
    """List the offers that answers use."""
    facts = load_facts()
    key = hardware.find(gpu, facts.accelerators).key if gpu else None
    catalog_offers = desk.store.prices()
    listed, contracts = [o for o in catalog_offers if not o.contract], [o for o in catalog_offers if o.contract]
    provider_names = {p.lower() for p in providers}
    matches = [
        o
        for o in combined(facts.offers, listed, contracts)
        if key in (None, o.accelerator)
        and (not spot or o.kind == SPOT)
        and (not provider_names or {o.provider.lower(), o.seller.value} & provider_names)
    ]
    matches.sort(key=lambda o: (o.accelerator, o.usd_per_hour, o.provider))
    if not matches:
        raise FactsError("No price matches.", "whichgpu prices without options lists all.")
    if as_json:
        click.echo(json.dumps([o.model_dump(mode="json") for o in matches], indent=2))
    else:
        click.echo(Terminal.detect().text(_table(matches)))
    return ExitCode.OK


def _table(offers: Sequence[PriceOffer]) -> str:
    rows = [
        (
            o.accelerator,
            dollars(o.usd_per_hour),
            clean(f"{o.provider} {o.region}" if o.region else o.provider, 28),
            _seller_cell(o),
            NOTHING if o.count is None else str(o.count),
            _date_cell(o),
        )
        for o in offers
    ]
    headers = ("card", f"{sign()}/hour", "provider", "seller", "cards", "date")
    table = tabulate([headers, *rows], tablefmt="plain", disable_numparse=True)
    note = "US dollars a card-hour; cards: in the rented machine; * over 60 days old, ~ of a month that was inferred."
    return str(table) + "\n\n" + "\n".join(wrapped(note))


def _seller_cell(offer: PriceOffer) -> str:
    if offer.contract:
        return "your contract"
    return offer.seller.value if offer.kind == ON_DEMAND else f"{offer.seller.value}, {offer.kind}"


def _date_cell(offer: PriceOffer) -> str:
    if offer.date is None:
        return "undated"
    return offer.date + ("*" if is_stale(offer.date) else "") + ("~" if offer.inferred else "")


@click.command("refresh")
@click.option("--from", "source", default="gpuhunt", show_default=True, metavar="gpuhunt|FILE", help="Where to read.")
@click.option("--provider", "providers", multiple=True, help="Only this provider; or whose file it is.")
@click.option("--date", metavar="YYYY-MM-DD", help="When a file was read (default: its own date).")
@with_desk
def prices_refresh(source: str, providers: tuple[str, ...], date: str | None, desk: Desk) -> int:
    """Read prices anew: live through gpuhunt, or from a SkyPilot catalog CSV or a CSV of your own."""
    terminal, accelerators = Terminal.detect(), load_facts().accelerators
    today = datetime.now(UTC).date().isoformat()
    if source == "gpuhunt":
        click.echo(terminal.text("whichgpu: reading gpuhunt's price lists"), err=True)
        offers = list(read_gpuhunt(_query_gpuhunt(providers), date or today, accelerators))
    else:
        path = Path(source).expanduser()
        text = _text(path)
        named = providers[0] if providers else (path.parent.name if path.stem == "vms" else path.stem)
        when = date or datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
        offers = read_prices(text, Listing(clean(named, 40), when, clean(path.name, 80)), accelerators)
    offers = _cheapest(offers)
    if not offers:
        raise FactsError("No price of a known accelerator was found.", "whichgpu gpus lists them.")
    _keep(desk.store, offers)
    sellers = len({o.provider for o in offers})
    cards = len({o.accelerator for o in offers})
    click.echo(
        terminal.text(f"{len(offers):,} prices of {cards} cards from {sellers} providers, as of {offers[0].date}.")
    )
    return ExitCode.OK


_MOST_BYTES = 64 * 2**20


def _text(path: Path) -> str:
    try:
        return read_bounded(path, _MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FactsError(f"{clean(path)} is no text file.", "Give a CSV, or gpuhunt.") from error
    except OSError as error:
        raise FactsError(f"{clean(path)} cannot be read: {clean(error.strerror or error)}.", "") from error


def _query_gpuhunt(providers: Sequence[str]) -> list[Any]:
    """Query gpuhunt: its published lists, or the folder that ``GPUHUNT_CATALOG_DIR`` names."""
    try:
        import gpuhunt
    except ImportError as error:
        raise MissingExtraError("gpuhunt", "prices") from error
    logging.getLogger("gpuhunt").setLevel(logging.CRITICAL)  # its tracebacks; what failed is said in one sentence
    folder = os.environ.get("GPUHUNT_CATALOG_DIR")
    catalog = gpuhunt.Catalog(auto_reload=False)
    provider_names = [p.lower() for p in providers]
    try:
        if folder is None:
            catalog.load()
        else:
            provider_names = provider_names or sorted(path.stem for path in Path(folder).glob("*.csv"))
        return list(catalog.query(provider=provider_names or None, min_gpu_count=1))
    except (gpuhunt.GPUHuntError, ValueError, OSError) as error:
        trouble = f"gpuhunt could not read its prices: {clean(error, 120)}."
        if folder is not None or isinstance(error, ValueError):
            raise FactsError(trouble, f"Look into {clean(folder)}." if folder else "See --provider.") from error
        raise NetworkError(trouble, "Connect, or set GPUHUNT_CATALOG_DIR to a folder of its CSVs.") from error


def _keep(catalog: Catalog, offers: Sequence[PriceOffer], withdrawn: bool = False) -> None:
    now = stamp()
    catalog.add(*(price_finding(o, withdrawn, now) for o in offers))


def _cheapest(offers: Iterable[PriceOffer]) -> list[PriceOffer]:
    """The cheapest region of every provider, card, kind and count: what a catalog needs to keep."""
    best: dict[tuple[object, ...], PriceOffer] = {}
    for offer in offers:
        key = (offer.provider, offer.accelerator, offer.kind, offer.count)
        if key not in best or offer.usd_per_hour < best[key].usd_per_hour:
            best[key] = offer
    return sorted(best.values(), key=lambda o: (o.accelerator, o.usd_per_hour, o.provider))


def _keep_contract(specs: Sequence[str], provider: str, desk: Desk, withdrawn: bool) -> int:
    """Keep contract prices for everyone who uses the catalog, or take them back."""
    accelerators = list(load_facts().accelerators)
    today = datetime.now(UTC).date().isoformat()
    offers: list[PriceOffer] = []
    for spec in specs:
        card, price = (hardware.find(spec, accelerators), 1.0) if withdrawn else read_price(spec, accelerators)
        offer = own_price(card.key, price, ON_DEMAND, today)
        offers.append(offer.model_copy(update={"provider": clean(provider, 40), "source": "contract"}))
    store = desk.store
    if withdrawn:
        kept_contracts = {(o.accelerator, o.provider): o for o in store.prices() if o.contract}
        missing = [o.accelerator for o in offers if (o.accelerator, o.provider) not in kept_contracts]
        if missing:
            raise FactsError(
                f"No contract of {clean(provider)} for {', '.join(missing)} is kept.", "whichgpu prices list"
            )
    _keep(store, offers, withdrawn)
    outcome = "no longer kept" if withdrawn else "kept"
    names = ", ".join(o.accelerator if withdrawn else f"{o.accelerator} {dollars(o.usd_per_hour)}/hour" for o in offers)
    click.echo(Terminal.detect().text(f"{provider}: {names} {outcome}."))
    return ExitCode.OK


@click.command("set")
@click.argument("specs", nargs=-1, required=True, metavar="NAME=USD…", shell_complete=complete_cards)
@click.option("--provider", default="contract", show_default=True, help="Who sells it.")
@with_desk
def prices_set(specs: tuple[str, ...], provider: str, desk: Desk) -> int:
    """Keep contract prices in the catalog; they go before every list."""
    return _keep_contract(specs, provider, desk, withdrawn=False)


@click.command("unset")
@click.argument("names", nargs=-1, required=True, metavar="NAME…", shell_complete=complete_cards)
@click.option("--provider", default="contract", show_default=True, help="Whose contract.")
@with_desk
def prices_unset(names: tuple[str, ...], provider: str, desk: Desk) -> int:
    """Take contract prices back."""
    return _keep_contract(names, provider, desk, withdrawn=True)


@click.group()
def prices() -> None:
    """What card-hours cost: list, refresh, and the team's contracts."""


for _command in (prices_list, prices_refresh, prices_set, prices_unset):
    prices.add_command(_command)
