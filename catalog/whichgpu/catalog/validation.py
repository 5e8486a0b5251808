"""What a finding from elsewhere has to be, checked whole before any of it is kept.

Its text can be printed, its numbers are numbers, its time is one, its content is a record of its kind, and content and
envelope are about the same thing: a finding that is filed under one model and holds another would end in its command.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from whichgpu.catalog.records import ANSWER, INSPECTION, KINDS, NOTE, PRICE, TAG, TRIAL, Finding
from whichgpu.inspect.records import SCHEMA_VERSION, Inspection, Record
from whichgpu.plan.records import Answer, PriceOffer
from whichgpu.trial.records import Trial

_MOST_NESTED = 64
"""Levels of a record; the deepest of ours has nine."""

_MOST_DOLLARS = 10_000.0
"""An hour of one card."""

_FIRST_DAY = date(2015, 1, 1)
"""Before any record of ours, and any price of an accelerator's hour."""

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""What moves the cursor, turns the direction or ends a line. Unassigned characters differ by Python's version."""

_LIMITS = {"identity": 32, "about": 32, "model": 300, "commit": 64, "origin": 20, "made_by": 80, "tool_version": 40}
"""Characters of an envelope's fields."""


_Kept = TypeVar("_Kept", bound=Record)


class Fault(NamedTuple):
    """Why a finding is not taken."""

    why: str
    later: bool = False
    """True for what another day or another version of whichgpu may take: it is read again then."""


def fault_of(finding: Finding, now: datetime) -> Fault | None:
    """Return why a finding is not to be taken, or ``None``."""
    if finding.kind not in KINDS:
        return Fault("it is of an unknown kind", later=True)
    for name, limit in _LIMITS.items():
        value = getattr(finding, name)
        if value is not None and (len(value) > limit or is_hidden(value)):
            return _NAMELESS if name == "model" else Fault(f"its {name.replace('_', ' ')} is none")
    if not finding.model:
        return _NAMELESS
    try:
        content = json.loads(finding.body)
        if not isinstance(content, dict):
            return Fault("its content is malformed")
        fault = _values(content) or _time(finding.made_at, now)
        if fault is None and not finding.is_intact:
            fault = Fault("its content is not what its identity says")
        return fault or _CHECKS[finding.kind](finding, content, now) or _envelope(finding, content)
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        OverflowError,
    ):  # pydantic's is a ValueError
        return Fault("its content is malformed", later=_is_newer(finding))


def is_hidden(text: str) -> bool:
    """True for text with characters that a terminal would obey, or a reader not see."""
    return not text.isprintable() and any(unicodedata.category(c) in _HIDDEN for c in text)


def _is_newer(finding: Finding) -> bool:
    """True for an inspection of a schema that this version doesn't know."""
    if finding.kind != INSPECTION:
        return False
    try:
        schema_version = json.loads(finding.body).get("schema_version")
    except (ValueError, AttributeError, RecursionError):
        return False
    return isinstance(schema_version, int) and schema_version > SCHEMA_VERSION


def _values(content: Any, depth: int = 0) -> Fault | None:
    """Look at every text and number of a record."""
    if depth > _MOST_NESTED:
        return Fault("its content is nested too deeply")
    if isinstance(content, str):
        return Fault("its text holds control characters") if is_hidden(content) else None
    if isinstance(content, float):
        return None if math.isfinite(content) else Fault("its content holds numbers that are none")
    if isinstance(content, int):
        return None if -(2**63) <= content < 2**63 else Fault("its content holds numbers that are none")
    parts = [*content, *content.values()] if isinstance(content, dict) else content
    if not isinstance(parts, list):
        return None
    return next((fault for part in parts if (fault := _values(part, depth + 1)) is not None), None)


def _time(text: object, now: datetime) -> Fault | None:
    """A moment in UTC that has come."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) and text.isascii() and "T" in text else None
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() != timedelta(0) or moment.date() < _FIRST_DAY:
        return Fault("its time is none")
    return Fault("it comes from the future", later=True) if moment > now + timedelta(days=1) else None


def _envelope(finding: Finding, content: Mapping[str, Any]) -> Fault | None:
    """What an envelope says beside when and by whom it was first made follows from the content, or from what it rests on.

    So that the same finding has the same envelope in every catalog, in whatever order they were merged.
    """
    if finding.facts_date != (content.get("facts_date") if finding.kind == ANSWER else None):
        return MISFILED
    if finding.kind in (ANSWER, TRIAL):
        return None  # the rest is that of its inspection, where that is known: see ``intake``
    if finding.about is not None:
        return MISFILED
    if finding.kind == INSPECTION:
        return None
    origin = ("contract" if content.get("contract") else "list") if finding.kind == PRICE else "person"
    own = (finding.commit, finding.private, finding.origin, finding.made_at)
    return None if own == (None, False, origin, content["at"]) else MISFILED


def _record(kind: type[_Kept], content: Mapping[str, Any]) -> _Kept:
    """Return a content as its record.

    Raises:
        ValueError: it is none, or a value was only taken for what it should be: columns have it as it is written.
    """
    record = kind.model_validate(content)
    if not _is_written_so(content, record.model_dump(mode="json")):
        raise ValueError("not as it would be written")
    return record


def _is_written_so(content: Any, written: Any) -> bool:
    """True where everything that is stated is written the same.

    What an older version left out has its default; what it named otherwise and the record still takes, under that name,
    is written under today's. A name that no version had, the records refuse themselves.
    """
    if isinstance(content, dict) and isinstance(written, dict):
        return all(_is_written_so(value, written[key]) for key, value in content.items() if key in written)
    if isinstance(content, list) and isinstance(written, list):
        return len(content) == len(written) and all(map(_is_written_so, content, written))
    return bool(content == written) and isinstance(content, bool) == isinstance(written, bool)


def _inspection(finding: Finding, content: Mapping[str, Any], now: datetime) -> Fault | None:
    source = _record(Inspection, content).source
    source_names = (source.name, source.commit, source.kind, source.private)
    return None if source_names == (finding.model, finding.commit, finding.origin, finding.private) else MISFILED


def _answer(finding: Finding, content: Mapping[str, Any], now: datetime) -> Fault | None:
    answer = _record(Answer, content)
    if finding.about is None:
        return Fault("it rests on nothing")
    prices = [p.usd_per_hour for p in answer.plans if p.usd_per_hour is not None]
    return Fault("it holds prices that are none") if any(price < 0 for price in prices) else None


def _trial(finding: Finding, content: Mapping[str, Any], now: datetime) -> Fault | None:
    trial = _record(Trial, content)
    if finding.about is None:
        return Fault("it rests on nothing")
    return None if trial.model == finding.model else MISFILED


def _price(finding: Finding, content: Mapping[str, Any], now: datetime) -> Fault | None:
    offer = _record(PriceOffer, {k: v for k, v in content.items() if k not in ("withdrawn", "at")})
    if not isinstance(content["withdrawn"], bool):
        return Fault("its content is malformed")
    if offer.accelerator != finding.model:
        return MISFILED
    if not 0 < offer.usd_per_hour <= _MOST_DOLLARS or (offer.count is not None and not 0 < offer.count <= 10_000):
        return Fault("its price is none")
    if offer.date is not None and date.fromisoformat(offer.date) < _FIRST_DAY:
        return Fault("its date is none")
    if offer.date is not None and date.fromisoformat(offer.date) > now.astimezone(UTC).date() + timedelta(days=1):
        return Fault("it comes from the future", later=True)
    return _time(content["at"], now)


def _word(finding: Finding, content: Mapping[str, Any], now: datetime) -> Fault | None:
    """A note or a tag: of its writer alone."""
    value = content["text"] if finding.kind == NOTE else content["tag"]
    if not isinstance(value, str) or len(value) > 10_000:
        return Fault("its content is malformed")
    if finding.kind == TAG and not isinstance(content["attached"], bool):
        return Fault("its content is malformed")
    if (content["model"], content["by"]) != (finding.model, finding.made_by):
        return MISFILED
    return _time(content["at"], now)


_NAMELESS = Fault("its model has no proper name")
MISFILED = Fault("it is filed under another name than it holds")
ORPHANED = Fault("the inspection that it rests on is not here", later=True)

_CHECKS: dict[str, Callable[[Finding, Mapping[str, Any], datetime], Fault | None]] = {
    INSPECTION: _inspection,
    ANSWER: _answer,
    TRIAL: _trial,
    PRICE: _price,
    NOTE: _word,
    TAG: _word,
}

__all__ = ["MISFILED", "ORPHANED", "Fault", "fault_of", "is_hidden"]
