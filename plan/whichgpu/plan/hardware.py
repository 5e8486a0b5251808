"""Accelerators and prices, from the JSON facts that ``assets`` ships."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Sequence
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from whichgpu.plan.errors import FactsError, UnknownAcceleratorError
from whichgpu.plan.records import Accelerator, Price, PriceOffer

_Fact = TypeVar("_Fact", Accelerator, PriceOffer)


def parse_accelerators(data: bytes) -> tuple[Accelerator, ...]:
    """Parse the accelerator facts.

    Raises:
        FactsError: damaged facts.
    """
    return tuple(_parse(data, TypeAdapter(list[Accelerator]), "accelerators"))


def parse_prices(data: bytes) -> tuple[PriceOffer, ...]:
    """Parse the price facts; see ``parse_accelerators``."""
    return tuple(_parse(data, TypeAdapter(list[PriceOffer]), "offers"))


def _parse(data: bytes, adapter: TypeAdapter[list[_Fact]], key: str) -> list[_Fact]:
    try:
        return adapter.validate_python(json.loads(data)[key])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise FactsError(f"The {key} facts are damaged.", "Reinstall whichgpu.") from error


def find(name: str, known: Sequence[Accelerator]) -> Accelerator:
    """Return the accelerator that a user means: key, name or alias, spelled anyhow (``h100``, ``H100-SXM``).

    Raises:
        UnknownAcceleratorError: none, with the keys that exist.
    """
    wanted = _plain(name)
    for accelerator in known:
        if wanted in {_plain(n) for n in (accelerator.key, accelerator.name, *accelerator.aliases)}:
            return accelerator
    keys = ", ".join(a.key for a in known)
    raise UnknownAcceleratorError(f"No accelerator is called “{name}”.", f"Known: {keys}.")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def price_of(accelerator: Accelerator, offers: Iterable[PriceOffer]) -> Price | None:
    """Return the median of the dated on-demand offers, ``None`` when there is none."""
    own = [o for o in offers if o.accelerator == accelerator.key and o.kind == "on-demand" and o.date is not None]
    if not own:
        return None
    values, dates = [o.usd_per_hour for o in own], [o.date for o in own if o.date is not None]
    return Price(
        usd_per_hour=round(statistics.median(values), 4),
        low=min(values),
        high=max(values),
        offers=len(own),
        oldest=min(dates),
        newest=max(dates),
    )
