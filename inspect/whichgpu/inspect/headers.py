"""Safetensors headers, checked: names, dtypes, shapes and offsets of every tensor, and nothing of their data.

The format is eight bytes of little-endian length, a JSON object of that length, then the data
(https://huggingface.co/docs/safetensors). What is read here comes from strangers: lengths, offsets and
shapes are checked before they are used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from whichgpu.inspect.bounded import json_of
from whichgpu.inspect.errors import UnreadableError
from whichgpu.inspect.header_text import entries_of
from whichgpu.inspect.precisions import DTYPE_BITS
from whichgpu.inspect.text import clean

MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library itself (safetensors 0.8 MAX_HEADER_SIZE)."""

_MOST_JSON = 32 * 2**20
"""Of a header that is not written as the library writes it."""

LARGE_HEADER_BYTES = 2**20
"""Headers beyond this are read one at a time, however many are under way."""

MAX_TENSORS = 500_000
"""Of one model, over all its files; the largest published have some 210,000 (a trillion parameters in packed experts)."""

_TOO_MANY = f"{{}} names more than {MAX_TENSORS:,} tensors; no model has so many."
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
    written = written_header(data, 0, name, data_bytes)
    if written is not None and not data[written.end :].strip(b" "):  # the library pads with blanks
        return written.tensors
    try:
        if len(data) > _MOST_JSON:
            raise ValueError("it is too large to be read any other way")
        parsed = json_of(data)
    except ValueError as error:
        raise UnreadableError(f"{clean(name)} has a header that is not JSON; the file is damaged.") from error
    tensors = tensors_of(parsed, name, data_bytes)
    if data.count(b'"data_offsets"') > len(tensors):
        _refuse_duplicates(data, name)
    return tensors


def refuse_too_many(tensors_by_file: Mapping[str, Sequence[Tensor]]) -> None:
    """Raise ``UnreadableError`` where the files read so far name more tensors than any model has."""
    if sum(map(len, tensors_by_file.values())) > MAX_TENSORS:
        raise UnreadableError(_TOO_MANY.format("The model"))


class Written(NamedTuple):
    """A header written as the safetensors library writes it, and where it ends in the text around it."""

    tensors: list[Tensor]
    end: int


def written_header(data: bytes | bytearray, start: int, name: str, data_bytes: int | None = None) -> Written | None:
    """Read a header without building its JSON; ``None`` where it is not written as the library writes it.

    Raises:
        UnreadableError: see ``parse_header``.
    """
    sizes: dict[tuple[bytes, bytes], tuple[str, tuple[int, ...], int | None]] = {}
    tensors: list[Tensor] = []
    spans: list[tuple[int, int]] = []
    at = start
    try:
        for entry in entries_of(data, start):
            if isinstance(entry, int):
                at = entry
                break
            key, dtype_text, shape_text, begin, end = entry
            kind = sizes.get((dtype_text, shape_text))
            if kind is None:
                kind = sizes[dtype_text, shape_text] = _kind(dtype_text.decode(), json_of(shape_text), key, name)
            dtype, shape, size = kind
            stored = end - begin
            if stored != size:
                _check_size(dtype, shape, stored, key, name)
            tensors.append(Tensor(key, dtype, shape, stored if size is None else size))
            spans.append((begin, end))
            if len(tensors) > MAX_TENSORS:
                raise UnreadableError(_TOO_MANY.format(clean(name)))
    except ValueError:
        return None
    if len({t.name for t in tensors}) != len(tensors):
        raise UnreadableError(f"{clean(name)} names a tensor twice; the file is damaged.")
    _check_spans(spans, tensors, name, data_bytes)
    return Written(tensors, at)


def tensors_of(parsed: object, name: str, data_bytes: int | None = None) -> list[Tensor]:
    """Turn a decoded header into checked tensors (see ``parse_header``)."""
    if not isinstance(parsed, dict):
        raise UnreadableError(f"{clean(name)} has a header that is not an object of tensors.")
    if len(parsed) > MAX_TENSORS:
        raise UnreadableError(_TOO_MANY.format(clean(name)))
    tensors: list[Tensor] = []
    spans: list[tuple[int, int]] = []
    for key, entry in parsed.items():
        if key != "__metadata__":
            tensor, begin = _tensor(key, entry, name)
            tensors.append(tensor)
            spans.append((begin, begin + tensor.bytes))
    _check_spans(spans, tensors, name, data_bytes)
    return tensors


def _tensor(key: str, entry: Any, name: str) -> tuple[Tensor, int]:
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise UnreadableError(f"{clean(name)}: tensor {clean(key)} has no dtype, shape or offsets.") from None
    if not isinstance(dtype, str) or type(begin) is not int or type(end) is not int:
        raise UnreadableError(f"{clean(name)}: tensor {clean(key)} has a malformed shape or offsets.")
    dtype, shape, size = _kind(dtype, shape, key, name)
    stored = end - begin
    if begin < 0 or stored != size:
        _check_size(dtype, shape, stored if begin >= 0 else -1, key, name)
    return Tensor(key, dtype, shape, stored), begin


def _kind(dtype: str, shape: object, key: str, name: str) -> tuple[str, tuple[int, ...], int | None]:
    """Return dtype, shape and the bytes that they need; ``None`` bytes for a dtype that is not known."""
    if not isinstance(shape, list) or not _is_shape(shape):
        raise UnreadableError(f"{clean(name)}: tensor {clean(key)} has a malformed shape or offsets.")
    elements = prod(shape)
    if elements >= _MAX_ELEMENTS:
        raise UnreadableError(f"{clean(name)}: tensor {clean(key)} has impossible offsets or an impossible shape.")
    bits = DTYPE_BITS.get(dtype)
    return dtype if bits else clean(dtype, 20), tuple(shape), (elements * bits + 7) // 8 if bits else None


def _check_size(dtype: str, shape: tuple[int, ...], stored: int, key: str, name: str) -> None:
    """Raise for offsets that are none, or don't hold what the shape needs."""
    if stored < 0:
        raise UnreadableError(f"{clean(name)}: tensor {clean(key)} has impossible offsets or an impossible shape.")
    bits = DTYPE_BITS.get(dtype)
    if bits:
        needed = (prod(shape) * bits + 7) // 8
        raise UnreadableError(f"{clean(name)}: tensor {clean(key)} needs {needed:,} bytes but spans {stored:,}.")


def _is_shape(shape: list[Any]) -> bool:
    return all(type(size) is int and 0 <= size < _MAX_ELEMENTS for size in shape)


def _check_spans(spans: list[tuple[int, int]], tensors: list[Tensor], name: str, data_bytes: int | None) -> None:
    end = 0
    for begin, stop in sorted(spans):
        if begin < end and stop > begin:
            key = tensors[spans.index((begin, stop))].name
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
