"""On what terms and since when the Hub offers models, for an atlas that is built from folders, which don't say it.

``hub_terms.json`` has what a public list of the Hub says of the atlas's models: a licence, and the date on which the repository
was made. Whether access must be asked for, it does not say.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

_FILE = Path(__file__).parent / "hub_terms.json"


class Listed(NamedTuple):
    """One model; ``None`` is unknown."""

    name: str
    licence: str | None
    created: str | None
    """ISO date."""


@cache
def listed() -> dict[str, Listed]:
    """Return what the list says, by repository id."""
    return {row[0]: Listed(*row) for row in json.loads(_FILE.read_text())["models"]}


def model_info(name: str) -> dict[str, object]:
    """Return what the Hub's own model info would say of it: its gate is unknown, and so is what the list has not."""
    model = listed().get(name, Listed(name, None, None))
    licence = {"tags": [f"license:{model.licence}"]} if model.licence else {}
    return {"gated": None, **licence, **({"createdAt": model.created} if model.created else {})}
