"""One question, asked by either face: find the model, work out the answer, keep the finding.

Order of knowledge: the model itself; without a network the catalog, then the bundled atlas. Where an answer
comes from is part of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.people import pseudonym
from whichgpu.catalog.records import Finding, Stamp, answer_finding, inspection_finding
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.errors import NetworkError, NotFoundError, OfflineError, SourceError
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.records import Inspection, ModelSource
from whichgpu.inspect.reference import Reference, parse_reference
from whichgpu.inspect.sources.base import Progress, nothing_known, silent
from whichgpu.inspect.text import clean
from whichgpu.plan.case import ServedModel
from whichgpu.plan.drafting import looked_at
from whichgpu.plan.recommend import answer, with_second_opinion
from whichgpu.plan.records import Answer, Workload
from whichgpu.plan.search import Facts
from whichgpu.tui.desk.bundled import bundled_atlas
from whichgpu.tui.desk.facts import Own, facts_for
from whichgpu.tui.desk.names import whole_name
from whichgpu.tui.desk.release import release


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
    """Seconds within which a branch that was confirmed is not asked for again."""
    refresh: bool = False
    """Read anew whatever the catalog has."""
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


def reply_to(question: Question, progress: Progress = silent) -> Reply:
    """Answer a question.

    Raises:
        WhichgpuError: the model cannot be found or read, or an accelerator is unknown. A catalog that cannot
            be used is only a warning.
    """
    catalog = Catalog(question.catalog) if question.catalog is not None else None
    facts, keys, notes = facts_for(question.own, question.workload.price_kind, catalog)
    workload = question.workload.model_copy(update={"accelerators": keys})
    looked = look_up(question, progress)
    inspection = looked.inspection
    _check_variant(question.variant, inspection)
    workload = _with_draft(question, workload, facts)
    result = answer(inspection, workload, facts)
    if question.second_opinion:
        result = with_second_opinion(inspection, result, facts)
    warnings = [*inspection.warnings, *notes]
    if catalog is not None:
        try:
            keep(catalog, question, looked, result)
        except CatalogError as error:
            warnings.append(f"Not kept: {error.message} {error.hint}".strip())
    return Reply(inspection, result, looked.origin, looked.note, tuple(warnings), facts)


def _check_variant(variant: str | None, inspection: Inspection) -> None:
    """Refuse to pick among files that are not there.

    Raises:
        NotFoundError: a variant is asked of a model that has no GGUF files.
    """
    if variant is not None and not inspection.variants:
        name = clean(inspection.source.name)
        raise NotFoundError(
            f"{name} has no GGUF files, of which --variant could pick one.",
            "Leave --variant out, or name the repository of its GGUF copies.",
        )


def _with_draft(question: Question, workload: Workload, facts: Facts) -> Workload:
    """Return the workload with its draft model looked at.

    Raises:
        WhichgpuError: the draft model cannot be found or read.
    """
    draft = workload.draft
    if draft is None or draft.model is None:
        return workload
    inspection = look_up(replace(question, model=draft.model, variant=None)).inspection
    drafter = ServedModel(inspection, facts.engines.of(workload.vllm), facts.architectures)
    return workload.model_copy(update={"draft": looked_at(draft, drafter)})


@dataclass(frozen=True, slots=True)
class LookedUp:
    """A model's inspection, and where it comes from."""

    inspection: Inspection
    origin: str
    """hub, folder, file, cache, catalog or atlas."""
    note: str | None = None
    """A sentence when it is not fresh."""
    finding: Finding | None = None
    """As the catalog has it already."""


def look_up(question: Question, progress: Progress = silent) -> LookedUp:
    """Return a model's inspection: from the Hub, or the catalog where the Hub's commit is the same.

    Raises:
        WhichgpuError: the model cannot be found or read.
    """
    reference = _reference_of(question.model)
    try:
        return _find(question, reference, progress)
    except SourceError as error:
        if isinstance(error, NotFoundError) and reference.kind == "hub" and reference.revision is None:
            error.hint = f"{_did_you_mean(reference.name)}{error.hint}"
        if reference.kind == "hub" and Path(reference.name).is_dir():
            error.hint = f"A folder of that name is here; for it, write ./{clean(reference.name)}. {error.hint}"
        raise


def _reference_of(model: str) -> Reference:
    """Read a model reference; a name without its owner stands for the one model of the atlas that is called so."""
    reference = parse_reference(model)
    if reference.kind != "hub" or "/" in reference.name:
        return reference
    whole = whole_name(reference.name)
    return replace(reference, name=whole) if whole is not None else reference


def _did_you_mean(name: str) -> str:
    similar = bundled_atlas().similar(name)
    return f"Did you mean {', '.join(similar)}? " if similar else ""


def _find(question: Question, reference: Reference, progress: Progress) -> LookedUp:
    if question.offline and reference.kind == "hub":
        return _from_memory(question, reference, OfflineError("The network is switched off (--offline)."))
    stored_findings: list[Finding] = []

    def known(source: ModelSource) -> Inspection | None:
        finding = _stored_finding(question, source.name, source.commit)
        stored_findings.extend([finding] if finding is not None else [])
        return finding.inspection() if finding is not None else None

    recent = _recent(question, reference) if reference.kind == "hub" and not question.refresh else None
    if recent is not None:
        return LookedUp(recent.inspection(), "catalog", None, recent)
    try:
        asks = known if reference.kind == "hub" and not question.refresh else nothing_known
        inspection = inspect_model(
            reference, quick=question.quick, variant=question.variant, progress=progress, known=asks
        )
    except NetworkError as error:
        if reference.kind != "hub":
            raise
        return _from_memory(question, reference, error)
    return LookedUp(inspection, inspection.source.kind, None, stored_findings[0] if stored_findings else None)


def _recent(question: Question, reference: Reference) -> Finding | None:
    """What the catalog has of a branch that was confirmed a short time ago."""
    if question.catalog is None or not question.max_age:
        return None
    try:
        head = Catalog(question.catalog).head(reference.name, reference.revision or "main")
    except CatalogError:
        return None
    if head is None or not 0 <= _age(head[1]) <= question.max_age:
        return None
    return _stored_finding(question, reference.name, head[0])


def _stored_finding(question: Question, name: str, commit: str | None) -> Finding | None:
    """What this version of whichgpu read of a commit when the same was asked of it."""
    if question.catalog is None or commit is None:
        return None
    try:
        finding = Catalog(question.catalog).looked_up(name, commit, asked_of(question), release())
        return finding if finding is not None and finding.inspection() is not None else None
    except CatalogError:
        return None  # it is read anew, and keeping that says what is wrong with the catalog


def _from_memory(question: Question, reference: Reference, reason: NetworkError) -> LookedUp:
    """What was read here, else the cache's snapshot, else the atlas, else what others read; else the network's error."""
    why = reason.message.rstrip(".")
    finding = _from_catalog(question, reference, stamp().made_by)
    if finding is not None:
        sentence = f"{why}. This is from the catalog, read on {finding.made_at[:10]}."
        return LookedUp(finding.inspection(), "catalog", sentence, finding)
    cached = _from_cache(question, reference)
    if cached is not None:
        return LookedUp(cached, "cache", f"{why}. This is from the Hugging Face cache.")
    atlas = bundled_atlas()
    atlas_inspection = atlas.find(reference.name) if reference.revision in (None, "main") else None
    if atlas_inspection is not None:
        source = ModelSource.model_validate(atlas_inspection.source.model_dump() | {"kind": "atlas"})
        date = atlas_inspection.source.read_on or "an unknown date"
        sentence = f"{why}. This is from the bundled atlas of {date}."
        return LookedUp(atlas_inspection.model_copy(update={"source": source}), "atlas", sentence)
    theirs = _from_catalog(question, reference)
    if theirs is not None:
        sentence = f"{why}. This is from the catalog, read by someone else ({theirs.made_by}) on {theirs.made_at[:10]}."
        return LookedUp(theirs.inspection(), "catalog", sentence, theirs)
    similar = atlas.similar(reference.name)
    also = f" The atlas has {', '.join(similar)}." if similar else ""
    raise type(reason)(
        f"{why}, and neither the catalog nor the bundled atlas knows {reference.name}.{also}",
        reason.hint or "Connect, and ask again.",
    ) from reason


def _from_catalog(question: Question, reference: Reference, by: str | None = None) -> Finding | None:
    if question.catalog is None:
        return None
    try:
        commit = reference.revision if reference.revision not in (None, "main") else None
        finding = Catalog(question.catalog).latest_inspection(reference.name, commit, by)
        return finding if finding is not None and finding.inspection() is not None else None
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


def keep_trial(question: Question, reply: Reply, make: Callable[[Finding, Stamp], Finding]) -> None:
    """Store what a trial of a reply's model measured.

    Raises:
        CatalogError: the catalog cannot be written.
    """
    if question.catalog is None:
        return
    now = stamp()
    finding = inspection_finding(reply.inspection, now)
    Catalog(question.catalog).add(finding, make(finding, now))


def stamp() -> Stamp:
    """Return who makes findings now, and with what."""
    from platformdirs import user_data_path

    now = datetime.now(UTC).isoformat(timespec="microseconds")
    person = pseudonym(user_data_path("whichgpu", appauthor=False))
    return Stamp(made_at=now, made_by=person, tool_version=release())


def asked_of(question: Question) -> str:
    """Return what decides which inspection a look-up gives, beside the model and its commit."""
    from huggingface_hub import constants

    return json.dumps([question.quick, question.variant, clean(constants.ENDPOINT)])


def keep(catalog: Catalog, question: Question, looked: LookedUp, result: Answer | None) -> Finding:
    """Store the inspection (when it was just made), where its branch is, and the answer.

    Raises:
        CatalogError: the catalog cannot be written.
    """
    now = stamp()
    finding = looked.finding or inspection_finding(looked.inspection, now)
    added = [finding] if looked.finding is None else []
    if result is not None:
        added.append(answer_finding(finding, result, now))
    catalog.add(*added)
    if looked.origin == "hub":
        revision = looked.inspection.source.revision or "main"
        catalog.confirm(revision, asked_of(question), finding, now.made_at)
    return finding
