"""Rows of a computed tensor table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

from whichgpu.inspect.records import Part


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of tensor: name pattern, logical shape and how many there are."""

    name: str
    part: Part
    shape: tuple[int, ...]
    count: int = 1
    linear: bool = False
    """True for the weight of a linear layer: what quantisation schemes replace."""
    buffer: bool = False
    """True for integers that are stored but are no parameters."""

    @property
    def parameters(self) -> int:
        return 0 if self.buffer else prod(self.shape) * self.count


class Table:
    """Collects rows below a name prefix; equal rows of different layers are counted together."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, Part, tuple[int, ...], bool, bool], int] = {}

    def add(self, row: Row) -> None:
        if row.count > 0 and all(size > 0 for size in row.shape):
            key = (row.name, row.part, row.shape, row.linear, row.buffer)
            self._rows[key] = self._rows.get(key, 0) + row.count

    def extend(self, rows: Iterable[Row], times: int = 1) -> None:
        for row in rows:
            self.add(Row(row.name, row.part, row.shape, row.count * times, row.linear, row.buffer))

    def __iter__(self) -> Iterator[Row]:
        for (name, part, shape, linear, buffer), count in self._rows.items():
            yield Row(name, part, shape, count, linear, buffer)


def matrix(name: str, part: Part, out: int | None, inner: int | None, bias: bool = False, count: int = 1) -> list[Row]:
    """A linear layer of ``out`` × ``inner``; nothing when a size is unknown."""
    if not out or not inner:
        return []
    rows = [Row(f"{name}.weight", part, (out, inner), count, linear=True)]
    return [*rows, Row(f"{name}.bias", part, (out,), count)] if bias else rows


def vector(name: str, part: Part, size: int | None, count: int = 1) -> list[Row]:
    """A norm, a bias or a per-channel scale."""
    return [Row(name, part, (size,), count)] if size else []


def norm(name: str, size: int | None, kind: str = "rms", part: Part = Part.NORM) -> list[Row]:
    """A normalisation: ``rms`` has a weight, ``layer`` a weight and a bias, ``none`` nothing."""
    if kind == "none" or not size:
        return []
    rows = vector(f"{name}.weight", part, size)
    return rows + vector(f"{name}.bias", part, size) if kind == "layer" else rows
