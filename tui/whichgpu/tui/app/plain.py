"""ASCII alone: one filter over everything that is drawn, each character for one of the same width."""

from __future__ import annotations

import locale

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_TWINS = str.maketrans(
    dict.fromkeys("─━═╌┄╭╮╰╯┌┐└┘├┤┬┴┼▔╸╺", "-")
    | dict(zip("▁▂▃▄▅▆▇", "_.:-=+*", strict=True))
    | {"€": "E", "£": "L"}
    | dict.fromkeys("│┃║▏▎▕▌▐▊", "|")
    | {"█": "#", "▓": "=", "▒": "+", "░": ":", "▚": "%", "▞": "*", "⎵": "_"}
    | {"✓": "+", "✗": "x", "×": "x", "·": ".", "…": "~", "–": "-", "—": "-", "●": "*", "≠": "!", "“": '"', "”": '"', "’": "'"}
    | {"→": ">", "▼": "v", "▶": ">", "≤": "<", "²": "2", "≈": "~", "±": "~", "▲": "^", "★": "*", "◆": "@", "○": "o", "┆": ":", "▸": ">", "▾": "v"}
)  # fmt: skip


def needed() -> bool:
    """True in a locale whose encoding is not UTF-8."""
    return not locale.getencoding().lower().replace("-", "").startswith("utf")


def plain(text: str) -> str:
    """Return text in ASCII, as wide as before."""
    if text.isascii():
        return text
    translation = text.translate(_TWINS)
    return (
        translation if translation.isascii() else "".join(c if c.isascii() else "?" * cell_len(c) for c in translation)
    )


class AsciiAlone(LineFilter):
    """Draws nothing but ASCII."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(plain(s.text), s.style, s.control) if s.control is None else s for s in segments]
