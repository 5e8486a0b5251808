"""One question, asked by either face: find the model, work out the answer, keep the finding.

Order of knowledge: the model itself; without a network the catalog, then the bundled atlas. Where an answer
comes from is part of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from whichgpu import assets
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.records import Finding, answer_identity, inspection_identity
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.errors import NetworkError, OfflineError, SourceError
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.records import Inspection, ModelSource
from whichgpu.inspect.reference import Reference, parse_reference
from whichgpu.inspect.sources.base import Progress, silent
from whichgpu.inspect.text import clean
from whichgpu.plan.recommend import answer, with_second_opinion
from whichgpu.plan.records import Answer, Workload
from whichgpu.plan.search import Facts
from whichgpu.tui.facts import Own, facts_for

if TYPE_CHECKING:
    from whichgpu.catalog.atlas import Atlas


@dataclass(frozen=True, slots=True)
class Question:
    """What the user asked."""

    model: str
    workload: Workload
    own: Own = field(default_factory=Own)
    """The user's cards and prices."""
    offline: bool = False
    quick: bool = False
    variant: str | None = None
    max_age: float = 0.0
    """Seconds within which a kept inspection is taken for what the Hub has now."""
    second_opinion: bool = False
    """Ask aiconfigurator-core too."""
    catalog: Path | None = None
    """``None`` keeps nothing."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The records, and where they come from."""

    inspection: Inspection
    answer: Answer
    origin: str
    """hub, folder, file, cache, catalog or atlas."""
    origin_note: str | None
    """A sentence when the answer is not fresh."""
    warnings: tuple[str, ...]
    facts: Facts
    """What it rests on."""


def catalog_path(given: str | None) -> Path:
    """Return the catalog's file: the option, ``WHICHGPU_CATALOG``, else the user's data folder."""
    stated = given or os.environ.get("WHICHGPU_CATALOG")
    if stated:
        return Path(os.path.expanduser(stated))
    from platformdirs import user_data_path

    return user_data_path("whichgpu", appauthor=False) / "catalog.db"


def reply_to(question: Question, progress: Progress = silent) -> Reply:
    """Answer a question.

    Raises:
        WhichgpuError: the model cannot be found or read, or an accelerator is unknown. A catalog that cannot
            be used is only a warning.
    """
    catalog = Catalog(question.catalog) if question.catalog is not None else None
    facts, keys, notes = facts_for(question.own, question.workload.price_kind, catalog)
    workload = question.workload.model_copy(update={"accelerators": keys})
    inspection, origin, note = look_up(question, progress)
    result = answer(inspection, workload, facts)
    if question.second_opinion:
        result = with_second_opinion(inspection, result, facts)
    warnings = [*inspection.warnings, *notes]
    if catalog is not None:
        try:
            _keep(catalog, inspection, result, fresh=origin not in ("catalog", "atlas"))
        except CatalogError as error:
            warnings.append(f"Not kept: {error.message} {error.hint}".strip())
    return Reply(inspection, result, origin, note, tuple(warnings), facts)


def look_up(question: Question, progress: Progress = silent) -> tuple[Inspection, str, str | None]:
    """Return a model's inspection, where it comes from, and a sentence when it is not fresh.

    Raises:
        WhichgpuError: the model cannot be found or read.
    """
    reference = parse_reference(question.model)
    try:
        return _find(question, reference, progress)
    except SourceError as error:
        if reference.kind == "hub" and Path(reference.name).is_dir():
            error.hint = f"A folder of that name is here; for it, write ./{clean(reference.name)}. {error.hint}"
        raise


def _find(question: Question, reference: Reference, progress: Progress) -> tuple[Inspection, str, str | None]:
    if question.offline and reference.kind == "hub":
        return _from_memory(question, reference, OfflineError("The network is switched off (--offline)."))
    recent = _from_catalog(question, reference, question.max_age) if question.max_age else None
    if recent is not None and reference.kind == "hub":
        return recent[0], "catalog", None
    try:
        found = inspect_model(reference, quick=question.quick, variant=question.variant, progress=progress)
    except NetworkError as error:
        if reference.kind != "hub":
            raise
        return _from_memory(question, reference, error)
    return found, found.source.kind, None


def _from_memory(question: Question, reference: Reference, reason: NetworkError) -> tuple[Inspection, str, str | None]:
    """The catalog's newest inspection, else the cache's snapshot, else the atlas; else the network's error."""
    why = reason.message.rstrip(".")
    kept = _from_catalog(question, reference)
    if kept is not None:
        return kept[0], "catalog", f"{why}. This is from the catalog, read on {kept[1]}."
    cached = _from_cache(question, reference)
    if cached is not None:
        return cached, "cache", f"{why}. This is from the Hugging Face cache."
    atlas = bundled_atlas()
    found = atlas.find(reference.name) if reference.revision in (None, "main") else None
    if found is not None:
        source = ModelSource.model_validate(found.source.model_dump() | {"kind": "atlas"})
        date = found.source.read_on or "an unknown date"
        return found.model_copy(update={"source": source}), "atlas", f"{why}. This is from the bundled atlas of {date}."
    similar = atlas.similar(reference.name)
    also = f" The atlas has {', '.join(similar)}." if similar else ""
    raise type(reason)(
        f"{why}, and neither the catalog nor the bundled atlas knows {reference.name}.{also}",
        reason.hint or "Connect, and ask again.",
    ) from reason


@cache
def bundled_atlas() -> Atlas:
    """Return the bundled atlas, opened once."""
    from whichgpu.catalog.atlas import FILE_NAME, Atlas

    return Atlas(assets.read(FILE_NAME))


def _from_catalog(
    question: Question, reference: Reference, max_age: float | None = None
) -> tuple[Inspection, str] | None:
    if question.catalog is None:
        return None
    try:
        commit = reference.revision if reference.revision not in (None, "main") else None
        finding = Catalog(question.catalog).latest_inspection(reference.name, commit)
        if finding is None or (max_age is not None and _age(finding.made_at) > max_age):
            return None
        return finding.inspection(), finding.made_at[:10]
    except CatalogError:
        return None  # the answer comes from elsewhere; keeping it will say what is wrong with the catalog


def _age(made_at: str) -> float:
    """Seconds since a time in ISO 8601."""
    return (datetime.now(UTC) - datetime.fromisoformat(made_at)).total_seconds()


def _from_cache(question: Question, reference: Reference) -> Inspection | None:
    from huggingface_hub import constants

    from whichgpu.inspect.sources.local import cache_snapshot

    repository = cache_snapshot(Path(constants.HF_HUB_CACHE), reference.name, reference.revision)
    path = repository.source().path if repository is not None else None
    if path is None:
        return None
    folder = Reference("folder", reference.name, path=Path(path))
    try:
        return inspect_model(folder, quick=question.quick, variant=question.variant)
    except SourceError:
        return None  # half a snapshot; the atlas may know more


def _keep(catalog: Catalog, inspection: Inspection, result: Answer, fresh: bool) -> None:
    """Store the inspection (when it was just made) and the answer in one transaction."""
    found = findings_of(inspection, result)
    catalog.add(*(found if fresh else found[1:]))


def findings_of(inspection: Inspection, result: Answer | None = None) -> tuple[Finding, ...]:
    """Return what the catalog keeps of an inspection and, where there is one, of the answer."""
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    tool, identity = version("whichgpu"), inspection_identity(inspection)
    common = {
        "model": inspection.source.name,
        "origin": inspection.source.kind,
        "commit": inspection.source.commit,
        "made_at": made_at,
        "tool_version": tool,
        "inspection_identity": identity,
    }
    found = Finding(identity=identity, kind="inspection", facts_date=None, body=inspection.model_dump_json(), **common)
    if result is None:
        return (found,)
    answered = Finding(
        identity=answer_identity(identity, result, tool),
        kind="answer",
        facts_date=result.facts_date,
        body=result.model_dump_json(),
        **common,
    )
    return found, answered
