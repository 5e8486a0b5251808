"""Accelerators, from the JSON facts that ``assets`` ships or the user's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from whichgpu.inspect.bounded import json_of
from whichgpu.inspect.text import clean
from whichgpu.plan.errors import CardsError, FactsError, UnknownAcceleratorError
from whichgpu.plan.records import Accelerator, Generation


def parse_accelerators(data: bytes, generations: Sequence[Generation] = ()) -> tuple[Accelerator, ...]:
    """Parse accelerators, each with its generation: of the same file, else of those given.

    A list is taken too, as ``whichgpu gpus --json`` prints it.

    Raises:
        FactsError: damaged facts.
    """
    try:
        raw = json_of(data)
        facts = {"accelerators": raw} if isinstance(raw, list) else raw
        by_key = {key: one for one in (*generations, *_generations(facts)) for key in (one.name, *one.capabilities)}
        accelerators = tuple(_accelerator(card, by_key) for card in facts["accelerators"])
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise FactsError("The accelerator facts are damaged.", "Reinstall whichgpu, or mend the file.") from error
    if not accelerators:
        raise FactsError("There is no accelerator in it.", "whichgpu gpus --json prints what one looks like.")
    return accelerators


def parse_generations(data: bytes) -> tuple[Generation, ...]:
    """Parse the generations of the accelerator facts, those that no card of the list has among them.

    Raises:
        FactsError: damaged facts.
    """
    try:
        return _generations(json_of(data))
    except (ValueError, TypeError, AttributeError, ValidationError) as error:
        raise FactsError("The accelerator facts are damaged.", "Reinstall whichgpu.") from error


def _generations(facts: Mapping[str, Any]) -> tuple[Generation, ...]:
    return tuple(Generation.model_validate(one) for one in facts.get("generations", ()))


def _accelerator(card: dict[str, Any], generations: Mapping[str, Generation]) -> Accelerator:
    """Read one card; its generation is written out or named, else found by its capability, else by its vendor.

    Raises:
        KeyError: it names a generation that there is not.
    """
    generation = card.get("generation")
    if generation is None:
        by_vendor = generations.get(str(card.get("vendor")), Generation())
        generation = generations.get(str(card.get("capability")), by_vendor)
    elif not isinstance(generation, dict):
        generation = generations[str(generation)]
    named_a100 = "a100" in str(card.get("name")).lower()
    fields = {key: value for key, value in card.items() if key != "price"}  # printed beside it, and dated elsewhere
    relative = generation.get("timed_like", "") if isinstance(generation, dict) else generation.timed_like
    defaults = {"small_batches": named_a100, "timed_like": relative}
    return Accelerator.model_validate(defaults | fields | {"generation": generation})


def find(name: str, accelerators: Sequence[Accelerator]) -> Accelerator:
    """Return the accelerator that a user means: key, name or alias, spelled anyhow (``h100``, ``H100-SXM``).

    Raises:
        UnknownAcceleratorError: none, with the keys that exist.
    """
    for accelerator in accelerators:
        if is_called(accelerator, name):
            return accelerator
    meant = _neighbours(name, accelerators)
    hint = f"Did you mean {', '.join(meant)}? " if meant else ""
    raise UnknownAcceleratorError(
        f"No accelerator is called “{clean(name, 60)}”.", f"{hint}whichgpu gpus lists all of them."
    )


def _neighbours(name: str, accelerators: Sequence[Accelerator]) -> list[str]:
    """Keys of up to three cards whose names are nearest to one that none has, nearest first."""
    owners: dict[str, str] = {}
    for card in accelerators:
        for spelling in (card.key, card.name, *card.aliases):
            owners.setdefault(_plain(spelling), card.key)
    near = get_close_matches(_plain(name), owners, _SPELLINGS_ASKED, 0.6)
    return list(dict.fromkeys(owners[spelling] for spelling in near))[:3]


_SPELLINGS_ASKED = 12
"""Near spellings that are looked at: several may be of one card."""


def read_card(spec: str, accelerators: Sequence[Accelerator]) -> tuple[Accelerator, float | None]:
    """Read ``NAME[:80GB][:1g.10gb][:$1.85]``: a known card, perhaps with another memory or a slice of it, and its price per hour.

    Raises:
        UnknownAcceleratorError: no such name, or a part that is neither memory nor price.
    """
    name, *parts = spec.split(":")
    whole, _, profile = _MIG_WORD.sub(" MIG ", name).partition(" MIG ")
    card, price = find(whole, accelerators), None
    for part in (*([profile] if profile else ()), *parts):
        if mig := _MIG.fullmatch(part.strip()):
            card = _slice_of(card, int(mig[1]), int(mig[2]))
            continue
        memory, money = _MEMORY.fullmatch(part.strip()), _MONEY.fullmatch(part.strip())
        if money and float(money[1]) > 0:
            price = float(money[1])
        elif memory and int(memory[1]) > 0:
            card = _with_memory(card, int(memory[1]))
        else:
            raise CardsError(f"“{part}” is neither memory nor a price.", "Write H100:80GB:$1.85.")
    return card, price


_MIG_WORD = re.compile(r"\s+mig\s+", re.IGNORECASE)
_MIG = re.compile(r"(?:mig\s+)?([1-7])g\.(\d{1,3})gb(?:\+me)?", re.IGNORECASE)
_MIG_SLICES = 7
"""Slices of compute that a card with MIG has (NVIDIA MIG user guide: A100 to B300)."""

_MIG_CARDS = ("8.0", "9.0", "10.0", "10.3")
"""Capabilities of data-centre cards that can be sliced."""

_MEMORY = re.compile(r"(\d{1,5})\s*G(?:i?B)?", re.IGNORECASE)
_MONEY = re.compile(r"\$(\d+(?:\.\d+)?)")


def _slice_of(card: Accelerator, slices: int, gigabytes: int) -> Accelerator:
    """One MIG instance: its share of compute, and of memory and its rate; it has no links.

    Raises:
        UnknownAcceleratorError: a card that has no such slices.
    """
    if card.capability not in _MIG_CARDS or gigabytes > card.marketed_gb:
        profile = f"{slices}g.{gigabytes}gb"
        raise UnknownAcceleratorError(
            f"{card.name} has no MIG profile {profile}.", "Write a profile of its own: H100:1g.10gb."
        )
    compute, memory = slices / _MIG_SLICES, min(1.0, gigabytes / card.marketed_gb)
    return card.model_copy(
        update={
            "key": f"{card.key}_mig_{slices}g_{gigabytes}gb",
            "name": f"{card.name} MIG {slices}g.{gigabytes}gb",
            "usable_gib": round(card.usable_gib * memory, 2),
            "marketed_gb": gigabytes,
            "bandwidth_gbs": card.bandwidth_gbs * memory,
            "bf16_tflops": card.bf16_tflops * compute if card.bf16_tflops else None,
            "fp8_tflops": card.fp8_tflops * compute if card.fp8_tflops else None,
            "link_gbs": 0,
            "linked_cards": 1,
            "node_counts": (1,),
            "board_watts": None,
            "facility_watts": None,
            "aliases": (),
            "listed_as": (),
            "names": {},
            "sources": {**card.sources, "mig": "its share of the whole card's figures"},
        }
    )


def _with_memory(card: Accelerator, gigabytes: int) -> Accelerator:
    """The same card with another memory, of which the same share is usable."""
    if gigabytes == card.marketed_gb:
        return card
    usable = round(card.usable_gib * gigabytes / card.marketed_gb, 2)
    return card.model_copy(
        update={
            "key": f"{card.key}_{gigabytes}gb",
            "copy_of": card.known_key,
            "name": f"{card.name} {gigabytes} GB",
            "usable_gib": usable,
            "marketed_gb": gigabytes,
            "aliases": (),
            "listed_as": (),
            "names": {},
            "sources": {**card.sources, "memory": "as you said; usable in the proportion of the known card"},
        }
    )


def is_called(accelerator: Accelerator, name: str) -> bool:
    """True when a name, spelled anyhow, is this accelerator's key, name or alias."""
    return _plain(name) in {_plain(n) for n in (accelerator.key, accelerator.name, *accelerator.aliases)}


_MAKERS = re.compile(
    r"\b(nvidia|geforce|tesla|quadro|amd|instinct|radeon|graphics|intel|series)\b|\((r|tm)\)", re.IGNORECASE
)
"""Words that nvidia-smi, rocm-smi and torch put around a card's name."""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _MAKERS.sub(" ", name).lower())
