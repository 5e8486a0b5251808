"""Accelerators, from the JSON facts that ``assets`` ships or the user's own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from pydantic import ValidationError

from whichgpu.plan.errors import FactsError, UnknownAcceleratorError
from whichgpu.plan.records import Accelerator


def parse_accelerators(data: bytes) -> tuple[Accelerator, ...]:
    """Parse the accelerator facts.

    Raises:
        FactsError: damaged facts.
    """
    try:
        return tuple(Accelerator.model_validate(card) for card in json.loads(data)["accelerators"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise FactsError("The accelerator facts are damaged.", "Reinstall whichgpu, or mend the file.") from error


def find(name: str, known: Sequence[Accelerator]) -> Accelerator:
    """Return the accelerator that a user means: key, name or alias, spelled anyhow (``h100``, ``H100-SXM``).

    Raises:
        UnknownAcceleratorError: none, with the keys that exist.
    """
    for accelerator in known:
        if is_called(accelerator, name):
            return accelerator
    keys = ", ".join(a.key for a in known)
    raise UnknownAcceleratorError(f"No accelerator is called “{name}”.", f"Known: {keys}.")


def read_card(spec: str, known: Sequence[Accelerator]) -> tuple[Accelerator, float | None]:
    """Read ``NAME[:80GB][:$1.85]``: a known card, perhaps with another memory, and its price per hour.

    Raises:
        UnknownAcceleratorError: no such name, or a part that is neither memory nor price.
    """
    name, *parts = spec.split(":")
    card, price = find(name, known), None
    for part in parts:
        memory, money = _MEMORY.fullmatch(part.strip()), _MONEY.fullmatch(part.strip())
        if money and float(money[1]) > 0:
            price = float(money[1])
        elif memory and int(memory[1]) > 0:
            card = _with_memory(card, int(memory[1]))
        else:
            raise UnknownAcceleratorError(f"“{part}” is neither memory nor a price.", "Write H100:80GB:$1.85.")
    return card, price


_MEMORY = re.compile(r"(\d{1,5})\s*G(?:i?B)?", re.IGNORECASE)
_MONEY = re.compile(r"\$(\d+(?:\.\d+)?)")


def _with_memory(card: Accelerator, gigabytes: int) -> Accelerator:
    """The same card with another memory, of which the same share is usable."""
    if gigabytes == card.marketed_gb:
        return card
    usable = round(card.usable_gib * gigabytes / card.marketed_gb, 2)
    return card.model_copy(
        update={
            "key": f"{card.key}_{gigabytes}gb",
            "name": f"{card.name} {gigabytes} GB",
            "usable_gib": usable,
            "marketed_gb": gigabytes,
            "aliases": (),
            "sources": {**card.sources, "memory": "as you said; usable in the proportion of the known card"},
        }
    )


def is_called(accelerator: Accelerator, name: str) -> bool:
    """True when a name, spelled anyhow, is this accelerator's key, name or alias."""
    return _plain(name) in {_plain(n) for n in (accelerator.key, accelerator.name, *accelerator.aliases)}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
