"""What the terminal can show: colour, Unicode, a progress line."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import click

from whichgpu.tui.words.units import WIDTH, wrapped

_ASCII = str.maketrans(
    {
        "×": "x",
        "·": "-",
        "…": "...",
        "–": "-",
        "—": "-",
        "“": '"',
        "”": '"',
        "≈": "~",
        "±": "+/-",
        "✓": "+",
        "✗": "x",
        "≤": "<=",
        "²": "2",
        "€": "EUR ",
        "£": "GBP ",
        "\ufffd": "?",
    }
)


_NARROWEST, _WIDEST = 60, 120


def _columns() -> int:
    """Columns of the terminal that stdout is, else of a page."""
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else WIDTH
    except (OSError, ValueError):
        columns = WIDTH
    return min(_WIDEST, max(_NARROWEST, columns))


@dataclass(slots=True)
class Terminal:
    """Capabilities of stdout and stderr, found once."""

    colour: bool
    unicode: bool
    narrate: bool
    width: int = WIDTH
    """Columns that text may take: the terminal's between 60 and 120; 80 where it is none."""
    _drawn: bool = False

    @classmethod
    def detect(cls, quiet: bool = False) -> Terminal:
        """Look at the streams, ``NO_COLOR`` (https://no-color.org) and the locale's encoding."""
        encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
        dumb = os.environ.get("TERM") == "dumb"
        return cls(
            colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not dumb,
            unicode=encoding.startswith("utf"),
            width=_columns(),
            narrate=sys.stderr.isatty() and not quiet and not dumb,
        )

    def text(self, text: str) -> str:
        """Return the text in what the locale can encode."""
        if self.unicode:
            return text
        return text.translate(_ASCII).encode("ascii", "replace").decode()

    def folded(self, text: str) -> str:
        """Wrap a line of narration on a terminal; a log keeps it whole."""
        return "\n".join(wrapped(text, hang=2, width=self.width)) if self.narrate else text

    def bold(self, text: str) -> str:
        return click.style(text, bold=True) if self.colour else text

    def good(self, text: str) -> str:
        return click.style(text, fg="green") if self.colour else text

    def dim(self, text: str) -> str:
        return click.style(text, dim=True) if self.colour else text

    def progress(self, step: str, done: int, total: int) -> None:
        """Draw one line on stderr, only on a terminal."""
        if self.narrate:
            count = f" {done}/{total}" if total > 1 else ""
            click.echo(f"\r\x1b[K{step}{count}", err=True, nl=False)
            self._drawn = True

    def clear_progress(self) -> None:
        if self._drawn:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._drawn = False
