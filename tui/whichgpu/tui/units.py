"""Numbers as engineers read them: B and M parameters, GiB, dollars."""

from __future__ import annotations

import textwrap
from datetime import UTC, date, datetime

GIB = 2**30
WIDTH = 80
_STALE_DAYS = 60
UNKNOWN = "unknown"
NOTHING = "–"
"""Shown where there is nothing to count, as opposed to what is not known."""


def wrapped(text: str, indent: int = 0, hang: int | None = None) -> list[str]:
    """Wrap text to the report's width; ``hang`` indents the lines after the first."""
    following = " " * (indent if hang is None else hang)
    lines = textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=following, break_long_words=False)
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
    """``61.0 GiB``, ``512 MiB``, ``256 KiB``."""
    if size is None:
        return UNKNOWN
    for unit_size, unit in ((GIB, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(size) >= unit_size:
            value = size / unit_size
            return f"{value:,.1f} {unit}" if abs(value) < 1000 else f"{value:,.0f} {unit}"
    return f"{int(size)} B"


def dollars(price: float | None) -> str:
    return NOTHING if price is None else f"${price:,.2f}"


def tokens(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count:,}"


def is_stale(newest: str, today: date | None = None) -> bool:
    """True for a price whose newest offer (ISO date) is over 60 days old."""
    return ((today or datetime.now(UTC).date()) - date.fromisoformat(newest)).days > _STALE_DAYS
