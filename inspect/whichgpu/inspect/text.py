"""Text from outside is data: it never reaches a terminal with its control characters."""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that move the cursor, change direction or cannot be seen."""


_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")


def clean(text: object, limit: int = 200) -> str:
    """Return ``text`` as one printable line of at most ``limit`` characters.

    Control characters, ANSI escapes, bidirectional marks, zero-width characters and line breaks become
    ``\\ufffd``; what is cut off is marked with an ellipsis. An address loses the name and password that stand in it.
    """
    raw = text if isinstance(text, str) else str(text)
    if "://" in raw:
        raw = _CREDENTIALS.sub("…@", raw)
    cut = raw[:limit]
    if not (cut.isascii() and cut.isprintable()):
        cut = "".join("\ufffd" if unicodedata.category(c) in _HIDDEN else c for c in cut)
    return cut + "…" if len(raw) > limit else cut
