"""What the catalog keeps: one record, plus who made it, when, and with what."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import ValidationError

from whichgpu.catalog.errors import CatalogError
from whichgpu.inspect.records import Inspection, Record
from whichgpu.plan.records import Answer

_PASSING = ("requests", "read_on", "path")
"""Fields of a source that differ between two readings of the same model."""


class Finding(Record):
    """One row of the catalog. ``identity`` is the same on every machine for the same content."""

    identity: str
    kind: str
    """inspection or answer."""
    origin: str
    """Where the model was read: hub, cache, folder, file, atlas."""
    model: str
    commit: str | None
    made_at: str
    """UTC, ISO 8601."""
    tool_version: str
    facts_date: str | None
    inspection_identity: str
    body: str
    """The record as JSON."""

    def inspection(self) -> Inspection:
        """Return the record of an inspection.

        Raises:
            CatalogError: the stored record is damaged or of another version.
        """
        try:
            return Inspection.model_validate_json(self.body)
        except ValidationError as error:
            raise CatalogError("A finding in the catalog cannot be read.", "Inspect the model again.") from error


def inspection_identity(inspection: Inspection) -> str:
    """Hash an inspection's content; when and from which folder it was read does not matter."""
    content = inspection.model_dump(mode="json")
    content["source"] = {k: v for k, v in content["source"].items() if k not in _PASSING}
    return _digest(content)


def answer_identity(inspection: str, answer: Answer, tool_version: str) -> str:
    """Hash an answer: the inspection, the workload, the facts and the version that made it."""
    return _digest([inspection, answer.model_dump(mode="json"), tool_version])


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
