"""What users type, and what it means."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whichgpu.inspect.errors import NotFoundError, UsageError, WhichgpuError
from whichgpu.inspect.reference import parse_reference


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B", None),
        ("  Qwen/Qwen3-8B\n", "Qwen/Qwen3-8B", None),
        ("gpt2", "gpt2", None),
        ("Qwen/Qwen3-8B@main", "Qwen/Qwen3-8B", "main"),
        ("Qwen/Qwen3-8B@refs/pr/3", "Qwen/Qwen3-8B", "refs/pr/3"),
        ("a/b@0123abcd", "a/b", "0123abcd"),
        ("https://huggingface.co/Qwen/Qwen3-8B", "Qwen/Qwen3-8B", None),
        ("https://huggingface.co/Qwen/Qwen3-8B/", "Qwen/Qwen3-8B", None),
        ("huggingface.co/Qwen/Qwen3-8B", "Qwen/Qwen3-8B", None),
        ("https://hf.co/Qwen/Qwen3-8B?library=vllm#usage", "Qwen/Qwen3-8B", None),
        ("https://huggingface.co/Qwen/Qwen3-8B/tree/v1.0", "Qwen/Qwen3-8B", "v1.0"),
        ("https://huggingface.co/Qwen/Qwen3-8B/blob/main/config.json", "Qwen/Qwen3-8B", "main"),
        ("https://huggingface.co/gpt2/resolve/main/config.json", "gpt2", "main"),
        ("https://huggingface.co/Qwen/Qwen3-8B/discussions/4", "Qwen/Qwen3-8B", None),
        ("hf://Qwen/Qwen3-8B", "Qwen/Qwen3-8B", None),
    ],
)
def test_hub_references(text: str, name: str, revision: str | None) -> None:
    parsed = parse_reference(text)
    assert (parsed.kind, parsed.name, parsed.revision) == ("hub", name, revision)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "a/b/c",
        "-x/y",
        "org/../../etc",
        "org/na me",
        "a/b@",
        "a/b@../x",
        "a/b@\x1b[2J",
        "https://huggingface.co/datasets/a/b",
        "https://huggingface.co/",
        "ftp://huggingface.co/a/b",
        "https://github.com/openai/gpt-oss-20b",
        "x\0y",
        "y" * 5000,
        "Qwen/\u202egnp",
    ],
)
def test_nonsense_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_reference(text)
    assert caught.value.message.endswith(".")
    assert "\x1b" not in caught.value.message
    assert "\u202e" not in caught.value.message


def test_a_page_of_the_configured_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example.org")
    assert parse_reference("https://mirror.example.org/Qwen/Qwen3-8B/tree/v1").revision == "v1"


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "w.safetensors").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert parse_reference("./m").kind == "folder"
    assert parse_reference(str(tmp_path / "m")).kind == "folder"
    assert parse_reference("w.safetensors").kind == "file"
    assert parse_reference("m").kind == "hub", "an id wins over a folder unless it is written as a path"
    for missing in ("./nowhere", "/nowhere/at/all", "x.gguf", "~no-such-user/x", f"./{'x' * 300}"):
        with pytest.raises(NotFoundError):
            parse_reference(missing)


@example("~0")
@example("é" * 300)
@given(st.text(max_size=120))
def test_never_anything_but_a_reference_or_our_error(text: str) -> None:
    try:
        parsed = parse_reference(text)
    except WhichgpuError:
        return
    assert parsed.kind in ("hub", "folder", "file")
