"""Safetensors headers, checked: names, dtypes, shapes and offsets of every tensor, and nothing of their data.

The format is eight bytes of little-endian length, a JSON object of that length, then the data
(https://huggingface.co/docs/safetensors). What is read here comes from strangers: lengths, offsets and
shapes are checked before they are used.
"""

from __future__ import annotations

import json
from math import prod
from typing import Any, NamedTuple

from whichgpu.inspect.errors import UnreadableError
from whichgpu.inspect.precisions import DTYPE_BITS
from whichgpu.inspect.text import clean

MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library itself (safetensors 0.8 MAX_HEADER_SIZE)."""

_MAX_TENSORS = 2_000_000
_MAX_ELEMENTS = 2**56


class Tensor(NamedTuple):
    """One tensor as its file describes it. ``bytes`` is the stored size."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int


def header_length(prefix: bytes, name: str, file_bytes: int | None) -> int:
    """Return the length of the JSON header from a file's first eight bytes.

    Raises:
        UnreadableError: too short a file, or a length beyond the format's limit or the file itself.
    """
    if len(prefix) < 8:
        raise UnreadableError(f"{clean(name)} is too short to be a safetensors file.")
    length = int.from_bytes(prefix[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise UnreadableError(
            f"{clean(name)} claims a header of {length:,} bytes; safetensors allows {MAX_HEADER_BYTES:,}."
        )
    if file_bytes is not None and length + 8 > file_bytes:
        raise UnreadableError(f"{clean(name)} claims a header of {length:,} bytes but has only {file_bytes:,}.")
    return length


def parse_header(data: bytes, name: str, data_bytes: int | None = None) -> list[Tensor]:
    """Parse one header's JSON.

    Args:
        data: the JSON text, without the eight bytes before it.
        name: the file, for messages.
        data_bytes: size of the data after the header, when it is known.

    Raises:
        UnreadableError: not JSON, duplicate names, shapes, dtypes or offsets that contradict each other.
    """
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{clean(name)} has a header that is not JSON; the file is damaged.") from error
    tensors = tensors_of(parsed, name, data_bytes)
    if data.count(b'"data_offsets"') > len(tensors):
        _refuse_duplicates(data, name)
    return tensors


def tensors_of(parsed: object, name: str, data_bytes: int | None = None) -> list[Tensor]:
    """Turn a decoded header into checked tensors (see ``parse_header``)."""
    if not isinstance(parsed, dict) or len(parsed) > _MAX_TENSORS:
        raise UnreadableError(f"{clean(name)} has a header that is not an object of tensors.")
    tensors: list[Tensor] = []
    spans: list[tuple[int, int, str]] = []
    for key, entry in parsed.items():
        if key != "__metadata__":
            tensor, begin = _tensor(key, entry, name)
            tensors.append(tensor)
            spans.append((begin, begin + tensor.bytes, key))
    _check_spans(spans, name, data_bytes)
    return tensors


def _tensor(key: str, entry: Any, name: str) -> tuple[Tensor, int]:
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise UnreadableError(f"{clean(name)}: tensor {clean(key)} has no dtype, shape or offsets.") from None
    if not _is_shape(shape) or type(begin) is not int or type(end) is not int or not isinstance(dtype, str):
        raise UnreadableError(f"{clean(name)}: tensor {clean(key)} has a malformed shape or offsets.")
    elements = prod(shape)
    stored = end - begin
    if begin < 0 or stored < 0 or elements >= _MAX_ELEMENTS:
        raise UnreadableError(f"{clean(name)}: tensor {clean(key)} has impossible offsets or an impossible shape.")
    bits = DTYPE_BITS.get(dtype)
    if bits is not None and stored != (elements * bits + 7) // 8:
        raise UnreadableError(
            f"{clean(name)}: tensor {clean(key)} needs {(elements * bits + 7) // 8:,} bytes but spans {stored:,}."
        )
    return Tensor(key, dtype if bits is not None else clean(dtype, 20), tuple(shape), stored), begin


def _is_shape(shape: object) -> bool:
    if not isinstance(shape, list):
        return False
    for size in shape:  # noqa: SIM110 - a loop is twice as fast, and DeepSeek-V3 has 92,000 tensors
        if type(size) is not int or not 0 <= size < _MAX_ELEMENTS:
            return False
    return True


def _check_spans(spans: list[tuple[int, int, str]], name: str, data_bytes: int | None) -> None:
    spans.sort()
    end = 0
    for begin, stop, key in spans:
        if begin < end and stop > begin:
            raise UnreadableError(f"{clean(name)}: tensor {clean(key)} overlaps the one before it.")
        end = max(end, stop)
    if data_bytes is not None and end > data_bytes:
        raise UnreadableError(f"{clean(name)} describes {end:,} bytes of tensors but holds {data_bytes:,}; truncated?")


def _refuse_duplicates(data: bytes, name: str) -> None:
    """Raise if a name occurs twice: json keeps only the last one, so tensors would vanish silently."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) != len(pairs):
            raise UnreadableError(f"{clean(name)} names a tensor twice; the file is damaged.")
        return entries

    json.loads(data, object_pairs_hook=unique)
