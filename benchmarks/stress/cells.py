"""What is counted: one thing that was broken on purpose, and whether it ended as it should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple


class Cell(NamedTuple):
    """One trial of one fault."""

    part: str
    name: str
    fault: str
    """Empty where it ended as it should."""


def table(cells: Iterable[Cell]) -> list[tuple[str, int, int]]:
    """Return (part, tried, green) in the order of the parts."""
    tried: Counter[str] = Counter()
    green: Counter[str] = Counter()
    for cell in cells:
        tried[cell.part] += 1
        green[cell.part] += not cell.fault
    return [(part, count, green[part]) for part, count in tried.items()]
