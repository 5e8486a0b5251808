"""``whichgpu gpus``: the accelerators that are known, what they hold and cost, and where each figure comes from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import click
from tabulate import tabulate

from whichgpu import assets
from whichgpu.plan import hardware, prices
from whichgpu.plan.errors import UnknownAcceleratorError
from whichgpu.plan.price_book import PriceBook
from whichgpu.plan.records import Accelerator, Price, PriceOffer
from whichgpu.tui.asking.completing import complete_cards
from whichgpu.tui.asking.table import Finite
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.terminal import Terminal
from whichgpu.tui.words.units import NOTHING, dollars, is_stale, sign, wrapped

_UNKNOWN_LAST = 1e12

_Key = Callable[[Accelerator, Price | None], Any]
_SORTS: dict[str, _Key] = {
    "name": lambda card, _: card.key,
    "memory": lambda card, _: -card.usable_gib,
    "bandwidth": lambda card, _: -card.bandwidth_gbs,
    "flops": lambda card, _: -(card.fp8_tflops or card.bf16_tflops or 0),
    "price": lambda _, price: price.usd_per_hour if price else _UNKNOWN_LAST,
    "price-per-gib": lambda card, price: price.usd_per_hour / card.usable_gib if price else _UNKNOWN_LAST,
}


@click.command()
@click.argument("name", required=False, shell_complete=complete_cards)
@click.option("--vendor", type=click.Choice(["nvidia", "amd", "intel"]), help="Only this vendor's.")
@click.option("--min-memory", type=Finite(0), metavar="GIB", help="Only with at least so much usable memory.")
@click.option(
    "--sort",
    type=click.Choice(["name", "memory", "bandwidth", "flops", "price", "price-per-gib"]),
    default="price",
    show_default=True,
    help="Order of the list.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def gpus(name: str | None, vendor: str | None, min_memory: float | None, sort: str, as_json: bool) -> int:
    """List accelerators: memory, rates, price; with NAME one in full, with its sources."""
    cards = hardware.parse_accelerators(assets.read("accelerators.json"))
    offers = prices.parse_prices(assets.read("prices.json"))
    matches = _matching(cards, name, vendor, min_memory)
    if not matches:
        if name is not None:
            hardware.find(name, cards)  # raises, with the nearest names
        raise UnknownAcceleratorError("No accelerator matches.", "whichgpu gpus without options lists all of them.")
    book = PriceBook(offers)
    priced = {c.key: book.listed(c) for c in matches}
    matches.sort(key=lambda c: (_SORTS[sort](c, priced[c.key]), c.key))
    terminal = Terminal.detect()
    if as_json:
        click.echo(json.dumps([_record(c, priced[c.key]) for c in matches], indent=2))
    elif len(matches) == 1:
        click.echo(terminal.text(_whole(matches[0], priced[matches[0].key], offers)))
    else:
        click.echo(terminal.text(_table(matches, priced)))
    return ExitCode.OK


def _matching(
    cards: Sequence[Accelerator], text: str | None, vendor: str | None, memory: float | None
) -> list[Accelerator]:
    if text is not None:
        exact = [c for c in cards if hardware.is_called(c, text)]
        plain = text.lower()
        cards = exact or [c for c in cards if plain in f"{c.key} {c.name} {' '.join(c.aliases)}".lower()]
    return [c for c in cards if vendor in (None, c.vendor) and c.usable_gib >= (memory or 0)]


def _record(card: Accelerator, price: Price | None) -> dict[str, Any]:
    return {**card.model_dump(mode="json"), "price": price.model_dump(mode="json") if price else None}


def _table(cards: Sequence[Accelerator], priced: dict[str, Price | None]) -> str:
    rows = [
        (
            c.key,
            f"{c.usable_gib:.1f}",
            f"{c.bandwidth_gbs:.0f}",
            _number(c.bf16_tflops),
            _number(c.fp8_tflops),
            NOTHING if c.board_watts is None else str(c.board_watts),
            f"{c.link_gbs:.0f}" if c.link_gbs else "PCIe",
            _hourly(priced[c.key]),
            c.confidence[:4].replace("medi", "med"),
        )
        for c in cards
    ]
    headers = ("key", "GiB", "GB/s", "BF16", "FP8", "W", "link", f"{sign()}/hour", "sure")
    alignment = ("left", *["right"] * 7, "left")
    table = tabulate(rows, headers, tablefmt="plain", colalign=alignment, disable_numparse=True)
    notes = [
        "GiB as torch reports; memory GB/s; dense BF16 and FP8 TFLOP/s; W: board; link: GB/s both ways to the other cards;",
        f"{sign()}/hour: median of dated on-demand offers, * when the newest is over 60 days old. whichgpu gpus KEY shows",
        "the sources.",
    ]
    return str(table) + "\n\n" + "\n".join(wrapped(" ".join(notes)))


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def _hourly(price: Price | None) -> str:
    if price is None:
        return NOTHING
    return dollars(price.usd_per_hour) + ("*" if is_stale(price.newest) else "")


def _whole(card: Accelerator, price: Price | None, offers: Sequence[PriceOffer]) -> str:
    names = ", ".join((card.key, *card.aliases))
    links = f"{card.link_gbs:,.0f} GB/s both ways to {card.linked_cards - 1} others" if card.link_gbs else "PCIe alone"
    lines = [
        f"{card.name} ({names})",
        f"  memory      {card.usable_gib:.2f} GiB usable of {card.marketed_gb} GB; {card.bandwidth_gbs:,.0f} GB/s",
        f"  dense       {_number(card.bf16_tflops)} TFLOP/s BF16, {_number(card.fp8_tflops)} FP8",
        f"  links       {links}",
        f"  power       {_number(card.board_watts)} W board",
        f"  capability  {card.capability}; rented by {', '.join(map(str, card.node_counts))} a node",
        f"  sure        {card.confidence}",
        *(line for key, source in card.sources.items() for line in wrapped(f"{key}: {source}", 4, 6)),
    ]
    card_offers = sorted((o for o in offers if o.accelerator == card.key), key=lambda o: o.usd_per_hour)
    if price is not None:
        age = " (over 60 days old)" if is_stale(price.newest) else ""
        lines += wrapped(f"{dollars(price.usd_per_hour)}/hour: median of {price.offers}, newest {price.newest}{age}", 2)
    rows = [(dollars(o.usd_per_hour), o.provider, o.kind, o.date or "undated") for o in card_offers]
    table = tabulate(rows, tablefmt="plain", colalign=("right", "left", "left", "left")) if rows else ""
    return "\n".join([*lines, *(f"    {line}" for line in table.splitlines())])
