"""A whole list of models: looked up side by side, planned, packed. What fails is listed and stops nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import to_json

from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.memory import recall, remember
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.bounded import read_bounded, read_piped
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.records import Inspection
from whichgpu.inspect.sources.base import Progress
from whichgpu.inspect.text import clean
from whichgpu.plan.errors import FleetError
from whichgpu.plan.fleet import Member, Packing, pack, ways_of
from whichgpu.plan.fleet_list import FleetEntry
from whichgpu.plan.price_book import PriceBook
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Answer, Workload
from whichgpu.plan.search import Facts
from whichgpu.tui.desk.answering import LookedUp, Question, keep, look_up
from whichgpu.tui.desk.facts import facts_digest, facts_for

AT_ONCE = 16
"""Models that are looked up at once; the Hub's own limit is far higher."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One entry of the list, answered."""

    entry: FleetEntry
    inspection: Inspection
    answer: Answer
    origin: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """What came of a list."""

    planned: tuple[Planned, ...]
    failed: tuple[tuple[str, str, WhichgpuError], ...]
    """(model, sentence, error)."""
    packing: Packing
    facts: Facts
    notes: tuple[str, ...]


def plan_fleet(
    entries: Sequence[FleetEntry], question: Question, progress: Progress, solver_seconds: float | None = None
) -> Fleet:
    """Look up, plan and pack a list of models; every inspection is kept as soon as it is made.

    Raises:
        WhichgpuError: the user's own cards or prices cannot be read.
    """
    catalog = Catalog(question.catalog) if question.catalog is not None else None
    facts, keys, notes = facts_for(question.own, question.workload.price_kind, catalog)
    base = question.workload.model_copy(update={"accelerators": keys})
    inspections, failed, trouble = _look_up_all(dict.fromkeys(e.model for e in entries), question, catalog, progress)
    found = [entry for entry in entries if entry.model in inspections]
    questions = [(inspections[entry.model][0], entry.workload(base)) for entry in found]
    answers = _answers(questions, facts, None if question.refresh else catalog, progress)
    planned = [
        Planned(entry, inspections[entry.model][0], entry_answer, inspections[entry.model][1])
        for entry, entry_answer in zip(found, answers, strict=True)
    ]
    packing = _pack_fleet(planned, facts, solver_seconds)
    return Fleet(tuple(planned), tuple(failed), packing, facts, (*notes, *trouble))


def _answers(
    questions: Sequence[tuple[Inspection, Workload]], facts: Facts, catalog: Catalog | None, progress: Progress
) -> list[Answer]:
    """Return the answer to each; what the catalog remembers of the same model, workload and facts is not planned again."""
    digest = facts_digest(facts)
    keys = [sha256(to_json([digest, inspection, workload])).hexdigest() for inspection, workload in questions]
    once = list(dict.fromkeys(keys))
    remembered = recall(catalog, once) if catalog is not None else {}
    answers: dict[str, Answer] = {}
    for key, body in remembered.items():
        with suppress(ValidationError):  # of another state of this version: it is planned again
            answers[key] = Answer.model_validate_json(body)
    used, bodies = list(answers), dict[str, str]()
    for number, (key, (inspection, workload)) in enumerate(zip(keys, questions, strict=True), start=1):
        if key not in answers:
            answers[key] = answer(inspection, workload, facts, side_by_side=False)
            bodies[key] = answers[key].model_dump_json()
            if len(bodies) % 50 == 0:
                progress("planning", number, len(questions))
    if catalog is not None and bodies:
        remember(catalog, bodies, used)
    return [answers[key] for key in keys]


def _look_up_all(
    models: Sequence[str] | dict[str, None], question: Question, catalog: Catalog | None, progress: Progress
) -> tuple[dict[str, tuple[Inspection, str]], list[tuple[str, str, WhichgpuError]], list[str]]:
    inspections: dict[str, tuple[Inspection, str]] = {}
    failed: list[tuple[str, str, WhichgpuError]] = []
    trouble: list[str] = []
    done = 0
    at_once = 1 if question.offline else AT_ONCE  # without a network nothing is waited for
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        waiting = {pool.submit(look_up, replace(question, model=name)): name for name in models}
        try:
            for future in as_completed(waiting):
                name, done = waiting[future], done + 1
                progress("reading models", done, len(waiting))
                try:
                    looked = future.result()
                except WhichgpuError as error:
                    failed.append((name, f"{error.message} {error.hint}".strip(), error))
                    continue
                inspections[name] = looked.inspection, looked.origin
                if looked.origin not in ("catalog", "atlas"):
                    trouble += _keep_inspection(catalog, replace(question, model=name), looked)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return inspections, sorted(failed, key=lambda f: f[0]), list(dict.fromkeys(trouble))


def _keep_inspection(catalog: Catalog | None, question: Question, looked: LookedUp) -> Iterator[str]:
    if catalog is None:
        return
    try:
        keep(catalog, question, looked, None)
    except CatalogError as error:
        yield f"Not kept: {error.message}"


def _pack_fleet(planned: Sequence[Planned], facts: Facts, seconds: float | None) -> Packing:
    watts = {a.key: a.board_watts for a in facts.accelerators}
    copies = sum(p.entry.replicas * _replicas(p.answer) for p in planned)
    if copies > _MOST_COPIES:
        raise FleetError(
            f"The list asks for {copies:,} copies of models; at most {_MOST_COPIES:,} are packed at once.",
            "Split the list, or ask for fewer replicas or a lower rate.",
        )
    members = [
        Member(model=p.entry.model, ways=ways)
        for p in planned
        for ways in [ways_of(p.answer, watts)]
        for _ in range(p.entry.replicas * _replicas(p.answer))
    ]
    book = PriceBook(facts.offers)
    sold = {a.key: book.counts(a) for a in facts.accelerators}
    if seconds is None:
        return pack(members, sold)
    from whichgpu.plan.fleet_solver import solved

    return solved(members, sold, seconds)


def _replicas(answer: Answer) -> int:
    return answer.recommended.replicas if answer.recommended is not None else 1


_MOST_BYTES = 16 * 2**20
_MOST_COPIES = 20_000


def list_text(source: str) -> str:
    """Return the text of a list.

    Raises:
        FleetError: it can't be read.
    """
    try:
        data = read_piped(_MOST_BYTES) if source == "-" else read_bounded(Path(source).expanduser(), _MOST_BYTES)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FleetError(f"{clean(source)} is no text file.", "Give ids one a line, CSV or YAML.") from error
    except OSError as error:
        raise FleetError(
            f"{clean(source)} cannot be read: {clean(error.strerror or error)}.",
            "Give a file, or - for what is piped in.",
        ) from error
