"""What travels between catalogs: small immutable files of findings, named by their hash.

A bundle is gzipped JSON lines: a head, then one finding a line with its body as JSON. Nothing in it is a path, a token
or a live database; two people who push at once add two files.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.intake import Refusal
from whichgpu.catalog.records import INSPECTION, Finding, Stamp, canonical
from whichgpu.inspect.bounded import json_of
from whichgpu.inspect.records import Record
from whichgpu.inspect.text import clean

FORMAT = 1
NAME = re.compile(r"[0-9a-f]{64}\.jsonl\.gz")
MOST_PACKED, MOST_UNPACKED = 64 * 2**20, 512 * 2**20
"""Bytes of one bundle, packed and unpacked; more is refused."""

_MOST_LINE = 8 * 2**20
"""Bytes of one finding; the largest known inspection has less than one MiB."""

_PER_BUNDLE = 2_000


_MOST_PEOPLE = 10_000


class Policy(Record):
    """What is shared beside public findings."""

    private: bool = False
    """Findings on private repositories."""
    local: bool = False
    """Findings on folders and files, whose names may say more than they should."""
    names: bool = False
    """Who the pseudonyms are."""

    def allows(self, finding: Finding) -> bool:
        """True for a finding that may leave this machine."""
        return (self.private or not finding.private) and (self.local or finding.origin not in ("folder", "file"))


def packed(findings: Sequence[Finding], stamp: Stamp, people: Sequence[tuple[str, str, str]] = ()) -> dict[str, bytes]:
    """Return bundles by name."""
    bundles: dict[str, bytes] = {}
    for start in range(0, len(findings), _PER_BUNDLE):
        part = sorted(findings[start : start + _PER_BUNDLE], key=_order)
        head = {"bundle": FORMAT, "made_by": stamp.made_by, "tool": stamp.tool_version, "findings": len(part)}
        lines = [canonical(head | ({"people": [list(p) for p in people]} if people else {}))]
        lines += [canonical(_line(f)) for f in part]
        data = gzip.compress(("\n".join(lines) + "\n").encode(), compresslevel=9, mtime=0)
        bundles[f"{hashlib.sha256(data).hexdigest()}.jsonl.gz"] = data
    return bundles


def _order(finding: Finding) -> tuple[bool, str]:
    """Inspections first: what rests on them follows."""
    return finding.kind != INSPECTION, finding.identity


def _line(finding: Finding) -> dict[str, Any]:
    content = finding.model_dump(mode="json", exclude={"local_path"})
    return {**content, "body": json.loads(finding.body)}


def check_name(name: str, data: bytes) -> None:
    """Check that a bundle is what its name says.

    Raises:
        CatalogError: its name is none, it is too large, or it was altered or cut off.
    """
    if not NAME.fullmatch(name):
        raise CatalogError(f"“{clean(name, 80)}” is no bundle's name.", "It was not read.")
    if len(data) > MOST_PACKED:
        raise CatalogError(f"The bundle {name[:12]}… is too large.", "It was not read.")
    if hashlib.sha256(data).hexdigest() != name[:64]:
        raise CatalogError(
            f"The bundle {name[:12]}… is not what its name says.", "It was altered, or only half is there."
        )


def unpacked(name: str, data: bytes) -> Iterator[Finding | Refusal]:
    """Yield the findings of a bundle, each still to be checked, or why a line is none.

    Raises:
        CatalogError: it is no bundle, or unpacks to more than is allowed.
    """
    check_name(name, data)
    lines = _lines(name, data)
    try:
        head = json_of(next(lines, b""))
    except ValueError as error:
        raise CatalogError(f"The bundle {name[:12]}… has no head.", "It was not read.") from error
    if not isinstance(head, dict) or head.get("bundle") != FORMAT:
        raise CatalogError(f"The bundle {name[:12]}… is of another format.", "Update whichgpu.")
    for line in lines:
        yield _finding(line)


def people_in(name: str, data: bytes) -> list[tuple[str, str, str]]:
    """Return (pseudonym, name, host) that a bundle tells."""
    try:
        head = json_of(next(_lines(name, data), b"{}"))
    except (ValueError, CatalogError):
        return []
    rows = head.get("people") if isinstance(head, dict) else None
    rows = rows if isinstance(rows, list) else []
    people = [
        r for r in rows[:_MOST_PEOPLE] if isinstance(r, list) and len(r) == 3 and all(isinstance(t, str) for t in r)
    ]
    return [(clean(r[0], 40), clean(r[1], 80), clean(r[2], 80)) for r in people]


def _lines(name: str, data: bytes) -> Iterator[bytes]:
    total = 0
    try:
        with gzip.open(io.BytesIO(data)) as file:
            while line := file.readline(_MOST_LINE + 1):
                total += len(line)
                if len(line) > _MOST_LINE or total > MOST_UNPACKED:
                    raise CatalogError(f"The bundle {name[:12]}… unpacks to too much.", "It was not read to its end.")
                yield line
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogError(f"The bundle {name[:12]}… is damaged.", "It was not read to its end.") from error


def _finding(line: bytes) -> Finding | Refusal:
    try:
        content = json_of(line)
        return Finding.model_validate({**content, "body": canonical(content["body"])})
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError) as error:
        return Refusal(identity="?", why=f"it is no finding ({type(error).__name__})")


def sizes(bundles: Iterable[bytes]) -> int:
    """Bytes of bundles together."""
    return sum(map(len, bundles))
