"""Chips beside the GPUs: who can use them, and whether they would serve a model.

The facts are dated data (assets/silicon.json). A verdict says what an outsider can do today, never that a port works.
"""

from __future__ import annotations

import json
import math
from enum import StrEnum

from pydantic import ValidationError

from whichgpu.inspect.records import Inspection, ModelClass, Record
from whichgpu.plan.errors import FactsError


class Access(StrEnum):
    """How an outsider gets at a chip."""

    RENT = "rent"
    REGION = "region"
    """To rent, in one country's clouds alone."""
    TOKENS = "tokens"
    """Only what it writes is sold."""
    CONTRACT = "contract"
    CAPTIVE = "captive"
    """Its builder keeps it."""


class Chip(Record):
    """One chip, as far as the public knows it."""

    key: str
    name: str
    builder: str
    access: Access
    who: str
    rentable: str
    stack: str
    vllm_state: str
    """plugin, legacy, fork, internal or none."""
    vllm: str
    serves: tuple[ModelClass, ...]
    """Classes of models that its makers say it serves."""
    never: tuple[ModelClass, ...] = ()
    """Classes that its design rules out."""
    families: tuple[str, ...] = ()
    """Where only listed models run: how their ``model_type`` begins."""
    memory_gb: float | None
    """Per chip, 10^9 bytes."""
    bandwidth_gbs: float | None
    compute: str
    status: str
    as_of: str
    source: str
    confidence: str
    called_fixed: bool = False
    """The press calls it a chip of fixed function, for which its rule of thumb is: dense transformers and nothing else."""


class Outlook(StrEnum):
    """What a model can expect of a chip."""

    USABLE = "usable today"
    UNPROVEN = "not on its list"
    TOKENS = "tokens only"
    CONTRACT = "by contract"
    CAPTIVE = "captive"
    ARCHITECTURE = "not for this architecture"


class ChipVerdict(Record):
    """One chip for one model."""

    chip: str
    outlook: Outlook
    why: str
    barred_by_rule: bool
    """By the rule of thumb that fixed-function chips serve dense transformers alone it would be a non-starter."""
    barred: bool
    """By the chip's own documents it is one."""
    chips: int | None
    """Chips whose memory the published weights fill at least; ``None`` where either is unknown."""


def parse_silicon(data: bytes) -> tuple[Chip, ...]:
    """Parse ``silicon.json``.

    Raises:
        FactsError: damaged facts.
    """
    try:
        return tuple(Chip.model_validate(chip) for chip in json.loads(data)["chips"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise FactsError("The facts about custom silicon are damaged.", "Reinstall whichgpu.") from error


def verdict_on(chip: Chip, inspection: Inspection) -> ChipVerdict:
    """Say what a model can expect of a chip."""
    outlook, why = _outlook(chip, inspection)
    classes = _classes(inspection)
    return ChipVerdict(
        chip=chip.key,
        outlook=outlook,
        why=why,
        barred_by_rule=chip.called_fixed and bool(classes - {ModelClass.DENSE}),
        barred=bool(classes & set(chip.never)),
        chips=_chips(chip, inspection),
    )


def missing_evidence(chip: Chip, inspection: Inspection | None = None) -> tuple[str, ...]:
    """Return what an outsider can't know or do today, of what a decision for a chip needs."""
    missing = []
    if chip.access is not Access.RENT:
        missing.append(f"a machine to rent and measure ({chip.rentable})")
    if chip.vllm_state in ("none", "internal"):
        missing.append(f"a vLLM that runs on it ({chip.vllm})")
    if chip.memory_gb is None or chip.bandwidth_gbs is None:
        missing.append("memory and its bandwidth, published")
    if chip.confidence == "low":
        missing.append("a first-hand source of its figures")
    if chip.access in (Access.CONTRACT, Access.CAPTIVE):
        missing.append("a measurement by anybody else")
    if inspection is not None and not serves_by_design(chip, inspection):
        missing.append(f"its makers' word that it serves {inspection.label}")
    return tuple(missing)


def serves_by_design(chip: Chip, inspection: Inspection) -> bool:
    """True where neither the design nor the list of what it serves speaks against a model, whoever may use the chip."""
    classes = _classes(inspection)
    return (
        bool(classes) and not classes & set(chip.never) and classes <= set(chip.serves) and _is_listed(chip, inspection)
    )


def _outlook(chip: Chip, inspection: Inspection) -> tuple[Outlook, str]:
    classes = _classes(inspection)
    excluded = sorted(classes & set(chip.never))
    if chip.access is Access.CAPTIVE:
        also = f"; and it serves no {excluded[0]} models" if excluded else ""
        return Outlook.CAPTIVE, f"{chip.who}{also}"
    if excluded:
        return Outlook.ARCHITECTURE, f"by design it serves no {' or '.join(excluded)} models"
    beyond = sorted(classes - set(chip.serves))
    if beyond or not classes:
        what = " and ".join(beyond) or "unrecognised"
        return Outlook.UNPROVEN, f"nothing says that it serves {what} models"
    if not _is_listed(chip, inspection):
        kind = inspection.architecture.model_type if inspection.architecture else "its"
        return Outlook.UNPROVEN, f"listed models alone, and {kind} is none of them; it would have to be ported"
    if chip.access is Access.TOKENS:
        return Outlook.TOKENS, f"{chip.rentable}, if they serve this model"
    if chip.access is Access.CONTRACT:
        return Outlook.CONTRACT, f"{chip.who}; {chip.rentable}"
    return Outlook.USABLE, f"{chip.rentable}; {chip.vllm}"


def _classes(inspection: Inspection) -> set[ModelClass]:
    return set(inspection.classes) - {ModelClass.UNKNOWN}


def _is_listed(chip: Chip, inspection: Inspection) -> bool:
    kind = (inspection.architecture.model_type if inspection.architecture else None) or ""
    return not chip.families or kind.startswith(chip.families)


def _chips(chip: Chip, inspection: Inspection) -> int | None:
    size = inspection.weights.total.value
    return math.ceil(size / (chip.memory_gb * 1e9)) if size and chip.memory_gb else None
