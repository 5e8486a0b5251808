"""On what terms the Hub offers a model: licence, gate, date; from what it lists of a repository."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypedDict

from whichgpu.inspect.text import clean

_LICENCE = "license:"
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class Terms(TypedDict):
    """``None`` is unknown."""

    licence: str | None
    gated: bool | None
    modified: str | None
    """ISO date."""


def terms_of(info: Mapping[str, Any]) -> Terms:
    """Read the Hub's ``tags``, ``gated`` (false, "auto" or "manual") and ``lastModified`` or ``createdAt``."""
    tags = info.get("tags")
    named = [t for t in tags if isinstance(t, str) and t.startswith(_LICENCE)] if isinstance(tags, list) else []
    gated, date = info.get("gated"), info.get("lastModified") or info.get("createdAt")
    return Terms(
        licence=clean(named[0].removeprefix(_LICENCE), 60) if named else None,
        gated=gated if isinstance(gated, bool) else True if gated in ("auto", "manual") else None,
        modified=date[:10] if isinstance(date, str) and _DATE.match(date) else None,
    )
