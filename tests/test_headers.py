"""Safetensors headers: the library's own files, and what strangers may send."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tests.hub import header_of
from whichgpu.inspect.errors import UnreadableError
from whichgpu.inspect.headers import MAX_HEADER_BYTES, header_length, parse_header
from whichgpu.inspect.sources.hub_headers import all_headers
from whichgpu.inspect.sources.local import read_local_header


def header(**tensors: object) -> bytes:
    return json.dumps(tensors).encode()


def tensor(dtype: str = "BF16", shape: object = (2, 2), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_reads_what_the_safetensors_library_writes(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "a.weight": np.zeros((3, 5), np.float16),
        "b": np.zeros((), np.float32),
        "c": np.zeros((0, 4), np.int8),
    }
    save_file(arrays, tmp_path / "x.safetensors", metadata={"format": "pt"})
    found = {t.name: t for t in read_local_header(tmp_path / "x.safetensors")}
    assert {n: (t.dtype, t.shape, t.bytes) for n, t in found.items()} == {
        "a.weight": ("F16", (3, 5), 30),
        "b": ("F32", (), 4),
        "c": ("I8", (0, 4), 0),
    }


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=12).filter(lambda n: n != "__metadata__"),
        st.tuples(
            st.sampled_from(["BF16", "F32", "F8_E4M3", "I64", "F4", "U8"]), st.lists(st.integers(0, 64), max_size=4)
        ),
        max_size=12,
    )
)
def test_any_honest_header_comes_back_whole(tensors: dict[str, tuple[str, list[int]]]) -> None:
    specs = {name: (dtype, tuple(shape)) for name, (dtype, shape) in tensors.items()}
    data, size = header_of(specs)
    found = parse_header(data[8:], "x", size)
    assert {t.name: (t.dtype, t.shape) for t in found} == specs
    assert sum(t.bytes for t in found) == size


@given(
    st.dictionaries(st.text('ab.0"\\é{}', min_size=1, max_size=6), st.integers(0, 3), max_size=6),
    st.dictionaries(st.text(max_size=4), st.text(max_size=6), max_size=2),
)
def test_however_a_header_is_spaced_it_says_the_same(sizes: dict[str, int], metadata: dict[str, str]) -> None:
    content: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    begin = 0
    for name, size in sizes.items():
        content[name] = tensor("F8_E4M3", [size, 1], [begin, begin + size])
        begin += size
    compact = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    readings = [
        parse_header(text, "x", 64)
        for text in (compact, json.dumps(content).encode(), json.dumps(content, indent=1).encode())
    ]
    assert readings[0] == readings[1] == readings[2]
    answer = bytearray(b'{"index":{"metadata":{}},"headers":{"x":' + compact + b"}}")
    spaced = bytearray(json.dumps(json.loads(answer), indent=1).encode())
    assert all_headers(answer, {"x": 64}) == all_headers(spaced, {"x": 64}) == {"x": readings[0]}
    assert all_headers(answer, {"y": 64}) is None


@given(st.binary(max_size=300))
def test_noise_is_refused_and_nothing_else(data: bytes) -> None:
    with contextlib.suppress(UnreadableError):
        parse_header(data, "x.safetensors", 1000)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    )
)
def test_any_json_is_refused_or_read(value: object) -> None:
    with contextlib.suppress(UnreadableError):
        parse_header(json.dumps({"t": value}).encode(), "x", 1000)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (header(a=tensor(offsets=(0, -8))), "impossible"),
        (header(a=tensor(offsets=(-8, 0))), "impossible"),
        (header(a=tensor(offsets=(0, 9))), "needs"),
        (header(a=tensor(), b=tensor(offsets=(4, 12))), "overlaps"),
        (header(a=tensor(shape=(2**40, 2**40), offsets=(0, 8))), "impossible"),
        (header(a=tensor(shape=(-1, 2))), "malformed"),
        (header(a=tensor(shape=(1.5, 2))), "malformed"),
        (header(a=tensor(shape=(True, 4))), "malformed"),
        (header(a=tensor(shape="8")), "malformed"),
        (header(a=tensor(offsets=(0, 8, 9))), "no dtype"),
        (header(a={"dtype": "BF16"}), "no dtype"),
        (header(a=3), "no dtype"),
        (header(a=tensor(offsets=(0, 2**62))), "needs"),
        (header(a=tensor(offsets=(992, 1000)), b=tensor(offsets=(1000, 1008))), "truncated"),
        (b"[1, 2]", "not an object"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (
            b'{"a": {"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}, "a": {"dtype":"BF16","shape":[2],"data_offsets":[8,12]}}',
            "twice",
        ),
    ],
)
def test_contradictions_are_named(data: bytes, word: str) -> None:
    with pytest.raises(UnreadableError, match=word):
        parse_header(data, "bad.safetensors", 1000)


def test_an_unknown_dtype_keeps_its_bytes() -> None:
    found = parse_header(header(a=tensor("F2_E1M0", (10,), (0, 3))), "x", 3)
    assert (found[0].dtype, found[0].bytes) == ("F2_E1M0", 3)


def test_100_000_tensors_are_fine() -> None:
    data, size = header_of({f"t.{i}": ("BF16", (1,)) for i in range(100_000)})
    assert len(parse_header(data[8:], "x", size)) == 100_000


@pytest.mark.parametrize(
    ("prefix", "size"),
    [
        (b"", None),
        (b"\0" * 7, None),
        ((2**63).to_bytes(8, "little"), None),
        ((2**64 - 1).to_bytes(8, "little"), 2**40),
        ((MAX_HEADER_BYTES + 1).to_bytes(8, "little"), None),
        ((500).to_bytes(8, "little"), 100),
    ],
)
def test_absurd_lengths(prefix: bytes, size: int | None) -> None:
    with pytest.raises(UnreadableError):
        header_length(prefix, "x\x1b[2J.safetensors", size)
