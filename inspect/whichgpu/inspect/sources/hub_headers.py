"""The Hub's one answer with every shard's header, taken apart where it lies."""

from __future__ import annotations

import re
from collections.abc import Mapping

from whichgpu.inspect.bounded import json_of
from whichgpu.inspect.headers import Tensor, refuse_too_many, tensors_of, written_header

_HEADERS = re.compile(rb'"headers": ?\{')
_FILE = re.compile(rb'"([^"\\\x00-\x1f]*+)": ?(?=\{)')
_AFTER = re.compile(rb", ?|\}")


def all_headers(answer: bytearray, data_bytes: Mapping[str, int | None]) -> dict[str, list[Tensor]] | None:
    """Return the tensors of each file, or ``None`` for another answer than {"headers": {FILE: HEADER}} of these files.

    Args:
        answer: JSON, unpacked.
        data_bytes: per file expected, the most that its data may hold; the header's own length is not in the answer.

    Raises:
        UnreadableError: a header contradicts itself or its file.
    """
    headers = _headers_in_place(answer, data_bytes)
    if headers is None:
        headers = _headers_of_json(answer, data_bytes)
    return headers if headers is not None and set(headers) == set(data_bytes) else None


def _headers_in_place(answer: bytearray, data_bytes: Mapping[str, int | None]) -> dict[str, list[Tensor]] | None:
    start = _HEADERS.search(answer)
    headers: dict[str, list[Tensor]] = {}
    at = start.end() if start is not None else len(answer)
    while (file := _FILE.match(answer, at)) is not None:
        name = file[1].decode(errors="replace")
        header = written_header(answer, file.end(), name, data_bytes.get(name))
        after = _AFTER.match(answer, header.end) if header is not None else None
        if header is None or after is None:
            return None
        headers[name] = header.tensors
        refuse_too_many(headers)
        if after[0] == b"}":
            return headers
        at = after.end()
    return None


def _headers_of_json(answer: bytearray, data_bytes: Mapping[str, int | None]) -> dict[str, list[Tensor]] | None:
    try:
        content = json_of(answer)
    except ValueError:
        return None
    headers = content.get("headers") if isinstance(content, dict) else None
    if not isinstance(headers, dict) or set(headers) != set(data_bytes):
        return None
    return {name: tensors_of(header, name, data_bytes[name]) for name, header in headers.items()}
