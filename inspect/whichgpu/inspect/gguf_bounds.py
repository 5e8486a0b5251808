"""Whether a GGUF header can be what it says, before a library believes its counts.

A header of thirty bytes may promise 2⁶³ tensors or an array of 2⁴⁰ numbers; what reads it in good faith runs for ever, or out
of memory. Format: ggml docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import struct

MOST_BYTES = 128 * 2**20
"""The largest header that is read; those of real models stay below 40 MiB."""

_MOST_FIELDS, _MOST_TENSORS, _MOST_ITEMS = 65_536, 262_144, 4_194_304
"""Metadata, tensors and entries of one array; a vocabulary has at most a million."""

_MOST_NAME, _MOST_NESTED = 65_535, 3
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_LEAST_TENSOR = 8 + 4 + 4 + 8
"""Bytes of a tensor's entry without a name and dimensions."""


class MoreNeededError(ValueError):
    """The start that was read does not hold all of the header."""


class ImpossibleError(ValueError):
    """No header is like this, however much of it is read."""


def check(data: bytes, size: int | None) -> None:
    """Walk over a header's counts and lengths; ``size`` is the whole file's, where known.

    Raises:
        MoreNeededError: it goes on behind ``data``.
        ImpossibleError: it can't be what it says.
    """
    cursor = _Cursor(data, min(size if size is not None else MOST_BYTES, MOST_BYTES))
    tensors, fields = cursor.integer(8), cursor.integer(8)
    if tensors > _MOST_TENSORS or fields > _MOST_FIELDS:
        raise ImpossibleError(f"{tensors:,} tensors and {fields:,} fields")
    for _ in range(fields):
        cursor.skip(cursor.integer(8, _MOST_NAME))
        cursor.value(cursor.integer(4), 0)
    cursor.claim(tensors * _LEAST_TENSOR)


class _Cursor:
    def __init__(self, data: bytes, limit: int) -> None:
        self._data, self._limit = data, limit
        version = data[4:8]
        self._order = ">" if version[:2] == b"\0\0" and version != b"\0\0\0\0" else "<"
        self._at = 8

    def claim(self, size: int) -> None:
        """See that so many bytes follow."""
        if self._at + size > self._limit:
            raise ImpossibleError("it goes on behind the end of the file")
        if self._at + size > len(self._data):
            raise MoreNeededError("it goes on")

    def skip(self, size: int) -> None:
        self.claim(size)
        self._at += size

    def integer(self, width: int, most: int | None = None) -> int:
        self.claim(width)
        (number,) = struct.unpack_from(f"{self._order}{'Q' if width == 8 else 'I'}", self._data, self._at)
        self._at += width
        if most is not None and number > most:
            raise ImpossibleError(f"a name of {number:,} bytes")
        return int(number)

    def value(self, kind: int, depth: int) -> None:
        if kind == _STRING:
            self.skip(self.integer(8))
        elif kind == _ARRAY and depth < _MOST_NESTED:
            self._array(depth)
        elif kind in _SIZES:
            self.skip(_SIZES[kind])
        else:
            raise ImpossibleError(f"a value of kind {kind}")

    def _array(self, depth: int) -> None:
        kind, count = self.integer(4), self.integer(8)
        if count > _MOST_ITEMS:
            raise ImpossibleError(f"an array of {count:,}")
        if kind in _SIZES:
            self.skip(count * _SIZES[kind])
            return
        self.claim(count * 8)
        for _ in range(count):
            self.value(kind, depth + 1)
