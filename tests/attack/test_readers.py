"""What is read is bounded: each of these files is small, or never ends, and asks for hours or gigabytes."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.attack.confined import confined
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


def test_gguf_headers_that_promise_too_much(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.gguf" for number in range(len(HEADERS))]
    for path, header in zip(paths, HEADERS.values(), strict=True):
        path.write_bytes(header)
    ended = confined(*(("-m", str(path), "--offline") for path in paths))
    codes = {name: (one.code, one.is_said) for name, one in zip(HEADERS, ended, strict=True)}
    assert codes == dict.fromkeys(HEADERS, (ExitCode.UNREADABLE, True))


def written(tensors: int, name: str) -> bytes:
    """A header as the library writes it; ``name`` takes the tensor's number."""
    entries = (
        f'"{name.format(i)}":{{"dtype":"BF16","shape":[{i % 7 + 1},8],"data_offsets":[{i * 128},{i * 128 + (i % 7 + 1) * 16}]}}'
        for i in range(tensors)
    )
    return b"{" + ",".join(entries).encode() + b"}"


SAFETENSORS: dict[str, Callable[[], bytes]] = {
    "a million tensors": lambda: written(960_000, "model.layers.0.x{}.weight"),
    "a hundred thousand groups": lambda: written(100_000, "t{}x.weight"),
    "lists without end": lambda: b"[" + b"[]," * 10_000_000 + b"1]",
    "keys without end": lambda: b'{"a":{' + b'"x":1,' * 5_000_000 + b'"x":1}}',
    "one word": lambda: b'{"a":"' + b"x" * 98_000_000 + b'"}',
    "metadata of escapes": lambda: b'{"__metadata__":{"a":"' + b"\\n" * 15_000_000 + b'"}}',
    "half a million of one layer": lambda: written(440_000, "model.layers.{}.w"),
}


def test_headers_of_up_to_a_hundred_megabytes(tmp_path: Path) -> None:
    codes: dict[str, tuple[int, bool]] = {}
    for name, make in SAFETENSORS.items():
        header, path = make(), tmp_path / "x.safetensors"
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(8 + len(header) + 128_000_000)
        [ended] = confined(("-m", str(path), "--offline", "-q"))
        codes[name] = ended.code, ended.is_said
    assert codes == dict.fromkeys(SAFETENSORS, (ExitCode.UNREADABLE, True)) | {"half a million of one layer": (0, True)}


def test_a_thousand_shards_are_one_model(tmp_path: Path) -> None:
    """Each file keeps to its bound; all of them together must too."""
    header = written(40_000, "model.layers.{}.w")
    for number in range(1, 31):
        with (tmp_path / f"model-{number:05}-of-00030.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(8 + len(header) + 40_000 * 128)
    [ended] = confined(("-m", str(tmp_path), "--offline", "-q"))
    assert (ended.code, ended.is_said) == (ExitCode.UNREADABLE, True)
    assert "no model has so many" in ended.err


LOGS = {
    "one line of beginnings": b"Compiling a graph " * 20_000,
    "beginnings without an end": b"ValueError: the model's max seq len (4096),\n" * 100_000,
    "figures of 5,000 digits": b"GPU KV cache size: " + b"9" * 5000 + b" tokens\nModel loading took 1.2.3 GiB\n",
    "numbers beyond all": b"Available KV cache memory: 999999999999999999999999999999 GiB\n",
    "nothing but escapes": b"\x1b[31m" * 100_000,
    "no text": os.urandom(100_000),
}


def test_logs_that_take_for_ever(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.log" for number in range(len(LOGS))]
    for path, log in zip(paths, LOGS.values(), strict=True):
        path.write_bytes(log)
    ended = confined(*(("read-log", str(path)) for path in paths))
    ended += confined(*(("read-log", str(path), "--json") for path in paths))
    ended += confined(("read-log", "-"), given=b"x" * (65 * 2**20))
    codes = {ExitCode.OK, ExitCode.UNREADABLE}
    assert [one for one in ended[:-1] if one.code not in codes or not one.is_said or "\x1b" in one.out] == []
    assert "it has more than" in ended[-1].err


_COMMANDS = [
    ("read-log", "FILE"),
    ("trial", "import", "FILE"),
    ("fleet", "FILE", "--offline"),
    ("prices", "refresh", "--from", "FILE"),
    ("catalog", "import", "FILE"),
    ("catalog", "merge", "FILE"),
    ("-m", "Qwen/Qwen3-8B", "--offline", "--price-file", "FILE"),
    ("-m", "Qwen/Qwen3-8B", "--offline", "--gpu-file", "FILE"),
    ("-m", "FILE", "--offline"),
]


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero", "folder"])
def test_what_never_ends_is_no_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(kind)
    ended = confined(*([str(path) if word == "FILE" else word for word in words] for words in _COMMANDS))
    assert [one for one in ended if not one.is_said or one.code == 0] == []


CONFIGS: dict[str, dict[str, Any]] = {
    "decoders without end": {"num_decoder_layers": 2**31, "decoder_layers": 2**31, "encoder_layers": 2**31},
    "layers without end": {"num_hidden_layers": 2**31},
    "layers in words": {"num_hidden_layers": 4, "layer_types": ["full_attention"] * 5000},
    "a vocabulary beyond all": {"vocab_size": 2**39, "hidden_size": 2**39},
    "nested for ever": {"text_config": json.loads("[" * 400 + "]" * 400)},
    "a number of 4,000 digits": {"hidden_size": 10**4000},
}


def test_configs_beyond_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 512, "num_heads": 8}
    base |= {"num_layers": 6, "d_kv": 64, "d_ff": 1024, "vocab_size": 32128, "relative_attention_num_buckets": 32}
    digits = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(5000)
    try:
        for name, changes in CONFIGS.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "config.json").write_text(json.dumps(base | changes))
    finally:
        sys.set_int_max_str_digits(digits)
    ended = confined(*(("-m", str(tmp_path / name), "--json") for name in CONFIGS))
    assert [one for one in ended if not one.is_said] == []
