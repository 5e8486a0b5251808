"""Text from outside becomes one printable line."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgpu.inspect.bounded import json_of
from whichgpu.inspect.text import clean


@given(st.text(max_size=400))
def test_never_a_control_character_and_never_longer(text: str) -> None:
    cleaned = clean(text, 100)
    assert len(cleaned) <= 101
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in cleaned)


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("\x1b[31mred\x1b[0m", "�[31mred�[0m"),
        ("a\nb\rc\td", "a�b�c�d"),
        ("user\u202egnp.exe", "user�gnp.exe"),
        ("zero\u200bwidth", "zero�width"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("模型-7B é", "模型-7B é"),
    ],
)
def test_known_tricks(hostile: str, harmless: str) -> None:
    assert clean(hostile) == harmless


def test_cut_text_says_so() -> None:
    assert clean("x" * 300) == "x" * 200 + "…"


@pytest.mark.parametrize("spelled", ['{"a": "\\ud800"}', '{"\\uDFFF": 1}', '["x\\udc00y"]'])
def test_half_a_letter_is_no_json(spelled: str) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        json_of(spelled)


def test_a_letter_in_two_halves_is_one() -> None:
    assert json_of('{"a": "\\ud83d\\ude00"}') == {"a": "😀"}
