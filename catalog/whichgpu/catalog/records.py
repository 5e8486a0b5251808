"""What the catalog keeps: one record, plus who made it, when, and with what.

A finding's identity is the hash of its kind, what it is about, the version that made it, and its canonical body, so it
is the same on every machine, and anyone can check it. When and by whom it was first made is beside it, not in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from whichgpu.catalog.errors import CatalogError
from whichgpu.inspect.records import Inspection, Record
from whichgpu.inspect.text import clean
from whichgpu.plan.records import Answer, PriceOffer

INSPECTION, ANSWER, TRIAL, PRICE, NOTE, TAG = "inspection", "answer", "trial", "price", "note", "tag"
KINDS = (INSPECTION, ANSWER, TRIAL, PRICE, NOTE, TAG)

_MOST_TEXT = 10_000
"""Characters of a note."""

_PASSING = ("requests", "read_on", "path")
"""Fields of a source that differ between two readings of the same model; the path is local to a machine."""


class Finding(Record):
    """One row of the catalog."""

    identity: str
    kind: str
    about: str | None
    """Identity of the inspection that an answer or a trial rests on."""
    model: str
    """Repository id, folder name, or for a price the accelerator."""
    commit: str | None
    origin: str
    """Where the model was read: hub, cache, folder, file, atlas; for the rest, whose word it is."""
    private: bool
    """True for what only some may read on the Hub; it is shared only where that is allowed."""
    made_at: str
    """UTC, ISO 8601; of the first time."""
    made_by: str
    """Pseudonym of a person on a machine."""
    tool_version: str
    facts_date: str | None
    local_path: str | None = None
    """Where it was read on this machine; never shared."""
    body: str
    """The record as canonical JSON."""

    @property
    def is_intact(self) -> bool:
        """True where the identity is that of the content."""
        return self.identity == identity_of(self.kind, self.about, self.tool_version, self.body)

    def inspection(self) -> Inspection:
        """Return the record of an inspection.

        Raises:
            CatalogError: the stored record is damaged or of another version.
        """
        try:
            record = Inspection.model_validate_json(self.body)
        except ValidationError as error:
            raise CatalogError("A finding in the catalog cannot be read.", "Inspect the model again.") from error
        source = record.source.model_copy(update={"path": self.local_path, "read_on": self.made_at[:10]})
        return record.model_copy(update={"source": source})

    def answer(self) -> Answer:
        """Return the record of an answer.

        Raises:
            CatalogError: the stored record is damaged or of another version.
        """
        try:
            return Answer.model_validate_json(self.body)
        except ValidationError as error:
            raise CatalogError("A finding in the catalog cannot be read.", "Ask again.") from error


class Stamp(Record):
    """Who makes findings now, when, and with which version."""

    made_at: str
    made_by: str
    tool_version: str


def canonical(content: Any) -> str:
    """Return JSON that is the same for the same content."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def identity_of(kind: str, about: str | None, tool_version: str, body: str) -> str:
    """Hash the content: 32 hexadecimal digits of SHA-256."""
    return hashlib.sha256(f"{kind}\n{about or ''}\n{tool_version}\n{body}".encode()).hexdigest()[:32]


def inspection_finding(inspection: Inspection, stamp: Stamp) -> Finding:
    """Return what the catalog keeps of an inspection."""
    content = inspection.model_dump(mode="json")
    content["source"] = {k: v for k, v in content["source"].items() if k not in _PASSING}
    source = inspection.source
    return _make_finding(
        INSPECTION,
        None,
        content,
        stamp,
        model=source.name,
        commit=source.commit,
        origin=source.kind,
        private=source.private,
        local_path=source.path,
    )


def answer_finding(inspection: Finding, answer: Answer, stamp: Stamp) -> Finding:
    """Return what the catalog keeps of an answer to an inspection."""
    return _about(ANSWER, inspection, answer.model_dump(mode="json"), stamp, answer.facts_date)


def trial_finding(inspection: Finding, content: Mapping[str, Any], stamp: Stamp) -> Finding:
    """Return what the catalog keeps of a trial."""
    return _about(TRIAL, inspection, content, stamp, None)


def price_finding(offer: PriceOffer, withdrawn: bool, stamp: Stamp) -> Finding:
    """Return what the catalog keeps of a price."""
    content = {**offer.model_dump(mode="json"), "withdrawn": withdrawn, "at": stamp.made_at}
    origin = "contract" if offer.contract else "list"
    return _make_finding(PRICE, None, content, stamp, model=offer.accelerator, origin=origin)


def note_finding(model: str, text: str, stamp: Stamp) -> Finding:
    """Return a note on a model; an empty text takes the writer's earlier one back."""
    model = clean(model, 300)
    content = {"model": model, "text": clean(text, _MOST_TEXT), "at": stamp.made_at, "by": stamp.made_by}
    return _make_finding(NOTE, None, content, stamp, model=model, origin="person")


def tag_finding(model: str, tag: str, attached: bool, stamp: Stamp) -> Finding:
    """Return a tag that is put on a model or taken off."""
    model = clean(model, 300)
    content = {"model": model, "tag": tag, "attached": attached, "at": stamp.made_at, "by": stamp.made_by}
    return _make_finding(TAG, None, content, stamp, model=model, origin="person")


def _about(kind: str, inspection: Finding, content: Mapping[str, Any], stamp: Stamp, facts_date: str | None) -> Finding:
    return _make_finding(
        kind,
        inspection.identity,
        content,
        stamp,
        model=inspection.model,
        commit=inspection.commit,
        origin=inspection.origin,
        private=inspection.private,
        facts_date=facts_date,
    )


def _make_finding(
    kind: str,
    about: str | None,
    content: Mapping[str, Any],
    stamp: Stamp,
    *,
    model: str,
    origin: str,
    commit: str | None = None,
    private: bool = False,
    facts_date: str | None = None,
    local_path: str | None = None,
) -> Finding:
    body, model = canonical(content), clean(model, 300)
    return Finding(
        identity=identity_of(kind, about, stamp.tool_version, body),
        kind=kind,
        about=about,
        model=model,
        commit=commit,
        origin=origin,
        private=private,
        facts_date=facts_date,
        local_path=local_path,
        body=body,
        **stamp.model_dump(),
    )
