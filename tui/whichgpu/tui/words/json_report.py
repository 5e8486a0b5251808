"""The answer as JSON: the records themselves in one envelope. Documented in docs/json.md."""

from __future__ import annotations

from pydantic_core import to_json

from whichgpu.inspect.records import SCHEMA_VERSION
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.desk.release import release


def as_json(reply: Reply) -> str:
    """Return one JSON object, keys in a fixed order."""
    envelope = {
        "schema_version": SCHEMA_VERSION,
        "whichgpu": release(),
        "origin": reply.origin,
        "origin_note": reply.origin_note,
        "warnings": list(reply.warnings),
        "inspection": reply.inspection,
        "answer": reply.answer,
    }
    return to_json(envelope, indent=2, ensure_ascii=True, inf_nan_mode="null").decode()
