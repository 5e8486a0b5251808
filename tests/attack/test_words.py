"""Words that a person, a script or a file may say: each ends in an answer or one sentence, never in a defect (70)."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Result
from whichgpu.tui.words.exit_codes import ExitCode

Ask = Callable[..., Result]

_UNDECODABLE = os.fsdecode(b"\xff\xfe")
_DEEP = "[" * 100_000
_LAUGHS = "&a [x, x]\n- &b [*a, *a]\n- &c [*b, *b]"
ANSWER = ("-m", "Qwen/Qwen3-8B", "--offline")


def is_said(result: Result) -> bool:
    return result.code != ExitCode.BUG and "Traceback" not in result.err + result.out


@pytest.mark.parametrize(
    "words",
    [
        ("--rate", "1e308"),
        ("--rate", "1e15"),
        ("--rate", "1e-308"),
        ("--busy", "1e-300"),
        ("--context", "9" * 30),
        ("--concurrency", "9" * 18),
        ("--max-price", "1e308"),
        ("--max-tpot", "1e-308"),
        ("--cards", "99999999"),
        ("--input", "99999999999", "--output", "5"),
        ("--gpu", "H100:1e308GB"),
        ("--gpu", "H100:80GB:$1e308"),
        ("--gpu", "H100:80GB:$1e-308"),
        ("--gpu", _UNDECODABLE),
        ("--price", "H100=1e308"),
        ("--price", "H100=-5"),
        ("--vllm", "9" * 5000),
        ("--vllm", "0.32\x1b[2J"),
        ("--gpu-memory-utilization", "1e-308"),
        ("--max-num-seqs", "9" * 12),
        ("--max-num-batched-tokens", "9" * 13),
        ("--speculative", "99999999"),
    ],
    ids=lambda words: " ".join(words)[:40].encode("ascii", "replace").decode(),
)
def test_numbers_and_names_beyond_reason(ask: Ask, words: tuple[str, ...]) -> None:
    result = ask(*ANSWER, *words)
    assert is_said(result), result.err
    assert "\x1b" not in result.out + result.err


@pytest.mark.parametrize(
    "words",
    [
        ("-m", _UNDECODABLE),
        ("-m", f"./{_UNDECODABLE}"),
        ("catalog", "note", _UNDECODABLE, _UNDECODABLE),
        ("catalog", "tag", _UNDECODABLE, _UNDECODABLE),
        ("catalog", "tag", "a/b", "x\x1b[2J"),
        ("catalog", "list", "--", "\x1b"),
        ("catalog", "search", "params:>1e999"),
        ("gpus", "H\x1b"),
        ("silicon", "-m", "x/y"),
        ("breakeven", "--ours", "1", "--theirs", "1e-300", "--tokens", "1e308"),
        ("compare", _UNDECODABLE, "a/b", "--offline"),
    ],
    ids=lambda words: " ".join(words).encode("ascii", "replace").decode(),
)
def test_other_commands(ask: Ask, words: tuple[str, ...]) -> None:
    result = ask(*words)
    assert is_said(result), result.err
    assert "\x1b" not in result.out + result.err


def test_a_folder_whose_name_is_no_text(ask: Ask, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/m\xff"
    os.mkdir(folder)
    Path(os.fsdecode(folder), "config.json").write_text(
        '{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}'
    )
    answer = ask("-m", os.fsdecode(folder), "--json")
    assert is_said(answer), answer.err
    json.loads(answer.out.encode())
    assert ask("command", "-m", os.fsdecode(folder)).code == ExitCode.NOTHING_FITS


@pytest.mark.parametrize(
    "text",
    [_DEEP, "a: " * 5000, "&a [*a]", "- {model: Qwen/Qwen3-8B, context: 1e308}", _LAUGHS, "2026-99-99", "\x00", "- 5"],
    ids=lambda text: text[:20],
)
def test_lists_of_models(ask: Ask, tmp_path: Path, text: str) -> None:
    (tmp_path / "list.yaml").write_text(text)
    assert is_said(ask("fleet", str(tmp_path / "list.yaml"), "--offline"))


_OFFER = '{"offers": [{"accelerator": "h100_sxm", "usd_per_hour": %s, "provider": "x", "kind": "on-demand", "date": "%s", "source": "x"}]}'


@pytest.mark.parametrize(
    "text",
    [
        '{"offers": ' + _DEEP,
        _OFFER % ("1e999", "2026-01-01"),
        _OFFER % ("-5", "2026-01-01"),
        _OFFER % ("2", "yesterday"),
        _OFFER % ("2", "9999-99-99"),
        "accelerator,usd_per_hour\nH100," + "9" * 5000,
        "accelerator,usd_per_hour\nH100,nan\n",
        "accelerator,usd_per_hour,date\nH100,2,yesterday\n",
        "accelerator,usd_per_hour,count\nH100,2,1e300\n",
        "\x00" * 100,
    ],
    ids=range(10),
)
def test_prices(ask: Ask, tmp_path: Path, text: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    for words in (
        (*ANSWER, "--price-file", str(tmp_path / "p.csv")),
        ("prices", "refresh", "--from", str(tmp_path / "p.csv")),
    ):
        result = ask(*words)
        assert is_said(result), result.err
    assert is_said(ask("prices", "list"))


_CARD = {"key": "x", "name": "\x1b[2J", "vendor": "nvidia", "usable_gib": 80, "marketed_gb": 80, "bandwidth_gbs": 3000}
_CARD |= {
    "bf16_tflops": None,
    "fp8_tflops": None,
    "board_watts": 0,
    "capability": "9.0",
    "node_counts": [1],
    "confidence": "x",
}


@pytest.mark.parametrize(
    "changes",
    [{}, {"node_counts": [0]}, {"node_counts": []}, {"usable_gib": 1e308}, {"usable_gib": -1}, {"bandwidth_gbs": 0}],
    ids=str,
)
def test_cards(ask: Ask, tmp_path: Path, changes: dict[str, object]) -> None:
    (tmp_path / "g.json").write_text(json.dumps([_CARD | changes]))
    result = ask(*ANSWER, "--gpu-file", str(tmp_path / "g.json"))
    assert is_said(result), result.err
    assert "\x1b" not in result.out + result.err


def test_databases_of_something_else(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "foreign.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE users (x)")
        connection.commit()
    before = path.read_bytes()
    result = ask(*ANSWER, "--catalog", str(path))
    assert (result.code, path.read_bytes()) == (ExitCode.OK, before), "answered, and not written into"
    assert "a database of something else" in " ".join(result.err.split())
    (tmp_path / "noise.db").write_bytes(b"SQLite format 3\x00" + os.urandom(5000))
    assert is_said(ask("catalog", "list", "--catalog", str(tmp_path / "noise.db")))


@pytest.mark.parametrize("verb", ["pull", "push", "sync"])
def test_credentials_in_addresses_are_told_to_nobody(ask: Ask, tmp_path: Path, verb: str) -> None:
    result = ask("catalog", verb, "memory://user:geheim@host/x")
    again = ask("catalog", "status")
    stored = (tmp_path / "catalog.db").read_bytes() if (tmp_path / "catalog.db").exists() else b""
    assert "geheim" not in result.out + result.err + again.out + again.err
    assert b"geheim" not in stored


def test_nor_are_those_of_a_mirror(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://user:geheim@127.0.0.1:1")
    result = ask("-m", "Qwen/Qwen3-8B", "--json")
    assert result.code == ExitCode.OK, "from the atlas"
    assert "geheim" not in result.out + result.err
    assert b"geheim" not in (tmp_path / "catalog.db").read_bytes()
