"""What is read is bounded: each of these files is small, or never ends, and asks for hours or gigabytes."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.attack.confined import confined, is_said
from whichgpu.tui.words.exit_codes import ExitCode


def gguf(tensors: int = 0, fields: int = 0, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, fields) + rest


def key(kind: int, name: bytes = b"a") -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind)


_NESTED = key(9) + b"".join(struct.pack("<IQ", 9, 1) for _ in range(100))

HEADERS = {
    "2⁶³ tensors": gguf(tensors=2**63),
    "2⁶⁴ − 1 fields": gguf(fields=2**64 - 1),
    "2³² tensors, big-endian": b"GGUF" + struct.pack(">IQQ", 3, 2**32, 0),
    "an array of 2⁴⁰ bytes": gguf(0, 1, key(9) + struct.pack("<IQ", 0, 2**40)),
    "an array of 2⁴⁰ words": gguf(0, 1, key(9) + struct.pack("<IQ", 8, 2**40)),
    "an array of 2⁶³": gguf(0, 1, key(9) + struct.pack("<IQ", 12, 2**63)),
    "a word of 2⁶² bytes": gguf(0, 1, key(8) + struct.pack("<Q", 2**62)),
    "a key of 2⁶² bytes": gguf(0, 1, struct.pack("<Q", 2**62)),
    "arrays in arrays": gguf(0, 1, _NESTED),
    "a million fields": gguf(0, 1_000_000, b"\0" * 100),
    "no kind": gguf(0, 1, key(99)),
    "nothing more": b"GGUF",
    "version 0": gguf(version=0),
}


@pytest.mark.parametrize("name", HEADERS)
def test_gguf_headers_that_promise_too_much(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(HEADERS[name])
    ended = confined("-m", str(path), "--offline")
    assert (ended.code, is_said(ended)) == (ExitCode.UNREADABLE, True), ended.err


LOGS = {
    "one line of beginnings": b"Compiling a graph " * 20_000,
    "beginnings without an end": b"ValueError: the model's max seq len (4096),\n" * 100_000,
    "figures of 5,000 digits": b"GPU KV cache size: " + b"9" * 5000 + b" tokens\nModel loading took 1.2.3 GiB\n",
    "numbers beyond all": b"Available KV cache memory: 999999999999999999999999999999 GiB\n",
    "nothing but escapes": b"\x1b[31m" * 100_000,
    "no text": os.urandom(100_000),
}


@pytest.mark.parametrize("name", LOGS)
def test_logs_that_take_for_ever(name: str, tmp_path: Path) -> None:
    path = tmp_path / "vllm.log"
    path.write_bytes(LOGS[name])
    for ended in (confined("read-log", str(path)), confined("read-log", "-", "--json", given=LOGS[name])):
        assert (ended.code, is_said(ended)) == (0, True), ended.err
        assert "\x1b" not in ended.out


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero", "folder"])
@pytest.mark.parametrize(
    "words",
    [
        ("read-log", "FILE"),
        ("trial", "import", "FILE"),
        ("fleet", "FILE", "--offline"),
        ("prices", "refresh", "--from", "FILE"),
        ("catalog", "import", "FILE"),
        ("catalog", "merge", "FILE"),
        ("-m", "Qwen/Qwen3-8B", "--offline", "--price-file", "FILE"),
        ("-m", "Qwen/Qwen3-8B", "--offline", "--gpu-file", "FILE"),
        ("-m", "FILE", "--offline"),
    ],
    ids=" ".join,
)
def test_what_never_ends_is_no_file(kind: str, words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(kind)
    ended = confined(*(str(path) if word == "FILE" else word for word in words))
    assert is_said(ended), ended.err
    assert ended.code != 0


CONFIGS: dict[str, dict[str, Any]] = {
    "decoders without end": {"num_decoder_layers": 2**31, "decoder_layers": 2**31, "encoder_layers": 2**31},
    "layers without end": {"num_hidden_layers": 2**31},
    "layers in words": {"num_hidden_layers": 4, "layer_types": ["full_attention"] * 5000},
    "a vocabulary beyond all": {"vocab_size": 2**39, "hidden_size": 2**39},
    "nested for ever": {"text_config": json.loads("[" * 400 + "]" * 400)},
    "a number of 4,000 digits": {"hidden_size": 10**4000},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_beyond_reason(name: str, tmp_path: Path) -> None:
    base = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 512, "num_heads": 8}
    base |= {"num_layers": 6, "d_kv": 64, "d_ff": 1024, "vocab_size": 32128, "relative_attention_num_buckets": 32}
    import sys

    sys.set_int_max_str_digits(5000)
    (tmp_path / "config.json").write_text(json.dumps(base | CONFIGS[name]))
    assert is_said(confined("-m", str(tmp_path), "--json"))
