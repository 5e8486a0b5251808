"""The answer as JSON: the records themselves in one envelope. Documented in docs/json.md."""

from __future__ import annotations

import json
from importlib.metadata import version

from whichgpu.inspect.records import SCHEMA_VERSION
from whichgpu.tui.desk.answering import Reply


def as_json(reply: Reply) -> str:
    """Return one JSON object, keys in a fixed order."""
    envelope = {
        "schema_version": SCHEMA_VERSION,
        "whichgpu": version("whichgpu"),
        "origin": reply.origin,
        "origin_note": reply.origin_note,
        "warnings": list(reply.warnings),
        "inspection": reply.inspection.model_dump(mode="json"),
        "answer": reply.answer.model_dump(mode="json"),
    }
    return json.dumps(envelope, indent=2, ensure_ascii=True)
