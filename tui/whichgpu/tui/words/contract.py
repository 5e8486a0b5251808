"""What every ``--json`` prints, as types: their JSON Schemas are ``whichgpu schema``, and tests hold the output to them."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from whichgpu.catalog.query import Row
from whichgpu.catalog.upkeep import Status
from whichgpu.inspect.records import SCHEMA_VERSION, Inspection, Record
from whichgpu.plan.breakeven import BreakEven
from whichgpu.plan.cost import TokenCost
from whichgpu.plan.decide import Decision
from whichgpu.plan.fleet import Packing
from whichgpu.plan.records import Accelerator, Answer, Plan, Price, PriceOffer
from whichgpu.plan.silicon import Chip, ChipVerdict
from whichgpu.trial.logs import LoggedStart
from whichgpu.trial.records import Failure, Trial


class AnswerPrinted(Record):
    """``whichgpu MODEL --json``."""

    schema_version: int
    whichgpu: str
    """Version that answered."""
    origin: str
    """hub, folder, file, cache, catalog or atlas."""
    origin_note: str | None
    """A sentence when the answer is not fresh."""
    warnings: tuple[str, ...]
    inspection: Inspection
    answer: Answer


class CardPrinted(Accelerator):
    """One of ``whichgpu gpus --json``."""

    price: Price | None


class ModelPrinted(Record):
    """One of ``whichgpu compare --json``."""

    model: str
    inspection: Inspection
    answer: Answer


class KeptFinding(Record):
    """A finding without its body."""

    identity: str
    kind: str
    about: str | None
    model: str
    commit: str | None
    origin: str
    private: bool
    made_at: str
    made_by: str
    tool_version: str
    facts_date: str | None
    local_path: str | None


class KeptAnswer(Record):
    """An answer of the catalog, as the version that gave it wrote it."""

    made_at: str
    identity: str
    answer: dict[str, Any]


class ModelKept(Record):
    """``whichgpu catalog show --json``."""

    finding: KeptFinding
    inspection: Inspection
    answers: tuple[KeptAnswer, ...]
    notes: tuple[dict[str, str], ...]
    tags: tuple[str, ...]


class BarredChips(Record):
    """Chips that a model is barred from."""

    by_rule: tuple[str, ...]
    by_documents: tuple[str, ...]


class FleetModel(Record):
    """One model of ``whichgpu fleet --json``."""

    model: str
    replicas: int
    classes: tuple[str, ...]
    label: str
    origin: str
    non_starter_for: BarredChips
    recommended: Plan | None


class FailedModel(Record):
    """One that could not be read."""

    model: str
    error: str


class FleetTotals(Record):
    """Sums of a fleet."""

    models: int
    copies: int
    machines: int
    cards: int
    usd_per_hour: float
    usd_per_month: float
    bound_usd_per_hour: float
    board_kilowatts: float | None
    classes: dict[str, int]
    transformer_only_chip: float | None
    """Share of the models that a chip for transformers alone could serve."""


class FleetPrinted(Record):
    """``whichgpu fleet --json``."""

    models: tuple[FleetModel, ...]
    failed: tuple[FailedModel, ...]
    packing: Packing
    totals: FleetTotals


class LogPrinted(LoggedStart):
    """``whichgpu read-log --json``."""

    failure: Failure | None
    starts: int


CONTRACTS: dict[str, Any] = {
    "answer": AnswerPrinted,
    "breakeven": BreakEven,
    "catalog list": tuple[Row, ...],
    "catalog search": tuple[Row, ...],
    "catalog show": ModelKept,
    "catalog status": Status,
    "compare": tuple[ModelPrinted, ...],
    "cpm": TokenCost,
    "decide": Decision,
    "fleet": FleetPrinted,
    "gpus": tuple[CardPrinted, ...],
    "prices list": tuple[PriceOffer, ...],
    "read-log": LogPrinted,
    "silicon": tuple[Chip, ...],
    "silicon --model": tuple[ChipVerdict, ...],
    "trial": Trial,
}
"""Command to the type of what its ``--json`` (``--format json``) prints."""


def schema_of(command: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of what a command prints.

    It allows more fields than it names: some may be added within a ``schema_version``.
    """
    schema = _open(TypeAdapter(CONTRACTS[command]).json_schema(mode="serialization"))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": f"whichgpu {command}; schema_version {SCHEMA_VERSION}",
        **schema,
    }


def _open(schema: Any) -> Any:
    """A schema that forbids no fields that it does not name."""
    if isinstance(schema, dict):
        return {k: _open(v) for k, v in schema.items() if (k, v) != ("additionalProperties", False)}
    return [_open(v) for v in schema] if isinstance(schema, list) else schema
