"""A finding as a row of its table, and back."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.records import Finding

COLUMNS = (
    "identity",
    "kind",
    "about",
    "model",
    "commit_sha",
    "origin",
    "private",
    "made_at",
    "made_by",
    "tool_version",
    "facts_date",
    "local_path",
    "body",
)

_LEVEL = 6
_SMALL = 512
"""Characters up to which a body is kept as it is: compressing it would cost more than it saves."""

MAX_BODY = 32 * 2**20
"""Bytes that a record may have unpacked; the largest known inspection has less than one MiB."""


def row_of(finding: Finding) -> dict[str, Any]:
    """Return a finding as a row of its table."""
    return {
        "identity": finding.identity,
        "kind": finding.kind,
        "about": finding.about,
        "model": finding.model,
        "commit_sha": finding.commit,
        "origin": finding.origin,
        "private": int(finding.private),
        "made_at": finding.made_at,
        "made_by": finding.made_by,
        "tool_version": finding.tool_version,
        "facts_date": finding.facts_date,
        "local_path": finding.local_path,
        "body": finding.body if len(finding.body) <= _SMALL else zlib.compress(finding.body.encode(), _LEVEL),
    }


def finding_of(row: Sequence[Any]) -> Finding:
    """Return a finding from a row of its table.

    Raises:
        CatalogError: the row is damaged.
    """
    try:
        values = dict(zip(COLUMNS, row, strict=True))
        values["commit"] = values.pop("commit_sha")
        body = values["body"]
        values["body"] = body if isinstance(body, str) else unpacked(body)
        return Finding.model_validate(values)
    except (zlib.error, UnicodeDecodeError, TypeError, ValueError) as error:
        raise CatalogError("A finding in the catalog is damaged.", "whichgpu catalog verify names it.") from error


def unpacked(data: bytes, limit: int = MAX_BODY) -> str:
    """Decompress a body, up to a limit.

    Raises:
        ValueError: it unpacks to more, or is not whole.
    """
    machine = zlib.decompressobj()
    text = machine.decompress(data, limit)
    if machine.unconsumed_tail or not machine.eof:
        raise ValueError("the record is too large or cut off")
    return text.decode()
