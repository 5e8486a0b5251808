"""One part of a card's memory while it is being worked out: an expected size with bounds and reasons."""

from __future__ import annotations

from typing import NamedTuple

from whichgpu.inspect.records import Origin
from whichgpu.plan.choices import MemoryGroup
from whichgpu.plan.engine import Spread
from whichgpu.plan.records import Term

GIB = 2**30


class Size(NamedTuple):
    """Bytes with bounds. Light on purpose: thousands are made and thrown away while layouts are compared."""

    name: str
    bytes: float
    low: float
    high: float
    origin: Origin
    because: str
    group: MemoryGroup
    flag: str | None = None

    def term(self) -> Term:
        """Return the record."""
        return Term(
            name=self.name,
            bytes=round(self.bytes),
            low=round(self.low),
            high=round(self.high),
            origin=self.origin,
            because=self.because,
            flag=self.flag,
            group=self.group,
        )


def computed(
    name: str,
    size: float,
    spread: tuple[float, float],
    because: str,
    flag: str | None = None,
    group: MemoryGroup = MemoryGroup.RUNTIME,
) -> Size:
    """A size that follows from sizes; ``spread`` gives its bounds as factors."""
    return Size(name, size, size * spread[0], size * spread[1], Origin.COMPUTED, because, group, flag)


def assumed(name: str, spread: Spread, because: str, flag: str | None = None) -> Size:
    """A size that was measured elsewhere and is taken over."""
    bounds = spread.expected * GIB, spread.low * GIB, spread.high * GIB
    return Size(name, *bounds, Origin.ASSUMED, because, MemoryGroup.RUNTIME, flag)
