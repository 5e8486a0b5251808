"""What the stand-in serves: small files whole, weights as a header followed by zeros that are never stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from whichgpu.inspect.precisions import DTYPE_BITS

TensorSpec = tuple[str, tuple[int, ...]]
"""(dtype, shape)."""


@dataclass(frozen=True)
class Sparse:
    """A large file: ``start`` is real, the rest up to ``size`` is zeros made on demand."""

    start: bytes
    size: int

    def read(self, first: int, last: int) -> bytes:
        """Return the bytes from first to last inclusive."""
        last = min(last, self.size - 1)
        if first > last:
            return b""
        chunk = self.start[first : last + 1]
        return chunk + bytes(last + 1 - first - len(chunk))


Content = bytes | Sparse


@dataclass
class Repo:
    """One repository at one commit."""

    files: dict[str, Content]
    commit: str | None = "0123456789abcdef0123456789abcdef01234567"
    revisions: tuple[str, ...] = ("main",)
    private: bool = False
    gated: bool = False
    renamed_to: str | None = None
    offers_metadata: bool = True
    """Whether the one-request header endpoint answers for it."""
    extra_info: dict[str, object] = field(default_factory=dict)
    unsized: bool = False
    """A mirror that lists files without sizes."""


def header_of(tensors: Mapping[str, TensorSpec]) -> tuple[bytes, int]:
    """Return a safetensors header (with its length) and the size of the data it describes."""
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (dtype, shape) in tensors.items():
        size = (prod(shape) * DTYPE_BITS[dtype] + 7) // 8
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(table, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text, offset


def safetensors_file(tensors: Mapping[str, TensorSpec]) -> Sparse:
    """Return a safetensors file with a real header and no data."""
    start, data = header_of(tensors)
    return Sparse(start, len(start) + data)
