"""Numbers as engineers read them: B and M parameters, GiB or GB, dollars or the user's currency."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whichgpu.tui.desk.settings import Settings

GIB = 2**30
WIDTH = 80
_STALE_DAYS = 60
UNKNOWN = "unknown"
NOTHING = "–"
"""Shown where there is nothing to count, as opposed to what is not known."""

_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}


@dataclass(frozen=True, slots=True)
class Shown:
    """How this process shows sizes and prices; records keep bytes and US dollars."""

    memory_unit: str = "GiB"
    currency: str = "USD"
    per_usd: float = 1.0
    """Of the currency, for one US dollar; the user's own figure."""


_shown = Shown()


def show(shown: Shown) -> None:
    """Choose how sizes and prices are shown from now on."""
    global _shown
    _shown = shown


def show_as(settings: Settings) -> None:
    """Say figures from now on as the user's settings ask."""
    show(Shown(settings.memory_unit, settings.currency, settings.per_usd))


def memory_unit() -> str:
    """``GiB`` or ``GB``: the unit of ``big``."""
    return _shown.memory_unit


def big(size: float) -> float:
    """Return bytes in the unit that is shown."""
    return size / (GIB if _shown.memory_unit == "GiB" else 1e9)


def sign() -> str:
    """The currency's sign, or its code: ``$``, ``CHF ``."""
    return _SIGNS.get(_shown.currency, f"{_shown.currency} ")


def wrapped(text: str, indent: int = 0, hang: int | None = None, width: int = WIDTH) -> list[str]:
    """Wrap text to a width, the report's where none is named; ``hang`` indents the lines after the first."""
    following = " " * (indent if hang is None else hang)
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=" " * indent,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [""]


def parameters(count: int | None) -> str:
    """``32.8 B``, ``435 M``; never 0 for unknown."""
    if count is None:
        return UNKNOWN
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            value = count / size
            return f"{value:.2f} {unit}" if value < 10 else f"{value:.1f} {unit}"
    return str(count)


def memory(size: float | None) -> str:
    """``61.0 GiB``, ``512 MiB``, ``256 KiB``; or GB and so on."""
    if size is None:
        return UNKNOWN
    for unit_size, unit in _BINARY if _shown.memory_unit == "GiB" else _DECIMAL:
        if abs(size) >= unit_size:
            value = size / unit_size
            return f"{value:,.1f} {unit}" if abs(value) < 1000 else f"{value:,.0f} {unit}"
    return f"{int(size)} B"


_BINARY = ((GIB, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_DECIMAL = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def converted(price: float) -> float:
    """A price in US dollars as a figure of the currency that is shown."""
    return price * _shown.per_usd


def dollars(price: float | None) -> str:
    """A price in US dollars, in the currency that is shown."""
    return NOTHING if price is None else f"{sign()}{converted(price):,.2f}"


def tokens(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count:,}"


def today() -> date:
    """The day, UTC, from which ages are counted."""
    return datetime.now(UTC).date()


def is_stale(newest: str, day: date | None = None) -> bool:
    """True for a price whose newest offer (ISO date) is over 60 days old."""
    return ((day or today()) - date.fromisoformat(newest)).days > _STALE_DAYS
