"""Headers as the safetensors library writes them, read entry by entry: no object is built for what is read once.

``json`` makes ten objects of each tensor, 27 bytes of memory for each of text. Whatever is written another way (escaped names,
other keys, other spacing) is ``json``'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from whichgpu.inspect.bounded import json_of


class Entry(NamedTuple):
    """One tensor's words: ``dtype`` and ``shape`` are text, since thousands of tensors share a few of each."""

    name: str
    dtype: bytes
    shape: bytes
    begin: int
    end: int


_COUNT = rb"(0|[1-9][0-9]{0,17})"
_ENTRY = re.compile(
    rb'"([^"\\\x00-\x1f]*+)": ?\{"dtype": ?"([A-Z0-9_]{1,20})", ?"shape": ?(\[[0-9, ]*+\]), ?"data_offsets": ?\['
    + _COUNT
    + rb", ?"
    + _COUNT
    + rb"\]\}(, ?|\})"
)
_METADATA = re.compile(rb'"__metadata__": ?(\{(?:[^{}"]++|"(?:[^"\\]|\\.)*+")*+\}), ?')
_MOST_METADATA = 2**20
_METADATA_KEY = b'"__metadata__"'


def entries_of(data: bytes | bytearray, start: int = 0) -> Iterator[Entry | int]:
    """Yield the entries of a header that begins at ``start``, and last of all where it ends.

    Raises:
        ValueError: it is not written as the safetensors library writes it; the entries so far may be of a valid header.
    """
    if data[start : start + 1] != b"{":
        raise ValueError("no object")
    at = start + 1
    if data.startswith(_METADATA_KEY, at):
        at = _after_metadata(data, at)
    if data[at : at + 1] == b"}":
        yield at + 1
        return
    while True:
        entry = _ENTRY.match(data, at)
        if entry is None or entry[1] == b"__metadata__":
            raise ValueError("an entry of another kind")
        name, dtype, shape, begin, end, after = entry.groups()
        yield Entry(name.decode(), dtype, shape, int(begin), int(end))
        at = entry.end()
        if after == b"}":
            yield at
            return


def _after_metadata(data: bytes | bytearray, at: int) -> int:
    metadata = _METADATA.match(data[at : at + _MOST_METADATA])
    if metadata is None:
        raise ValueError("metadata of another kind")
    json_of(metadata[1])
    return at + metadata.end()
