"""Findings made by hand, for tests and the processes that they start: importing this is quick."""

from __future__ import annotations

from whichgpu.catalog.records import Finding, Stamp


def at(second: int, by: str = "ada") -> Stamp:
    return Stamp(made_at=f"2026-11-01T10:00:{second:02}+00:00", made_by=by, tool_version="0.1.0")


def finding(identity: str = "a", model: str = "org/name", **changes: str) -> Finding:
    base = {
        "identity": identity,
        "kind": "inspection",
        "origin": "hub",
        "model": model,
        "commit": "c0ffee",
        "made_at": "2026-01-01T00:00:00+00:00",
        "tool_version": "0",
        "facts_date": None,
        "about": None,
        "private": False,
        "made_by": "someone",
        "body": '{"x": "é"}',
    }
    return Finding.model_validate({**base, **changes})
