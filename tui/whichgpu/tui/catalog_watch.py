"""``whichgpu catalog verify|check``: what today's facts, rules and commits would change."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

import click

from whichgpu.catalog import upkeep
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.records import ANSWER, INSPECTION, Finding
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.inspector import open_repository
from whichgpu.inspect.records import Record
from whichgpu.inspect.reference import parse_reference
from whichgpu.inspect.text import clean
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Answer
from whichgpu.plan.search import Facts
from whichgpu.tui.answering import catalog_path
from whichgpu.tui.exit_codes import ExitCode
from whichgpu.tui.facts import Own, facts_for
from whichgpu.tui.plan_words import cards_in_words, price_in_words
from whichgpu.tui.terminal import Terminal
from whichgpu.tui.units import is_stale, wrapped


class Changed(Record):
    """A stored answer that today's would differ from."""

    model: str
    load: str
    what: tuple[str, ...]
    tool_version: str


def verify(catalog: str | None) -> int:
    """Check the file and every finding, and answer every stored question anew."""
    store, terminal = Catalog(catalog_path(catalog)), Terminal.detect()
    if not store.path.exists():
        raise CatalogError(f"There is no catalog at {clean(store.path)} yet.", "Ask for a model first.")
    wrong = upkeep.integrity(store)
    for line in wrong:
        click.echo(terminal.text(f"whichgpu: error: {line}"), err=True)
    facts, _, _ = facts_for(Own(), "on-demand", store)
    changed = list(rederived(store, facts))
    for change in changed:
        sentence = f"{clean(change.model)}, {change.load}: {'; '.join(change.what)}"
        click.echo(terminal.text("\n".join(wrapped(sentence, 0, 2))))
    click.echo(
        terminal.text(
            f"{store.count():,} findings checked, {len(wrong):,} wrong; {len(changed):,} answers would change."
        )
    )
    return ExitCode.UNREADABLE if wrong else ExitCode.OK


def rederived(store: Catalog, facts: Facts, only_older: bool = False) -> Iterator[Changed]:
    """Yield the newest stored answer to each question that today's differs from, and how."""
    answered_questions: set[tuple[str, str]] = set()
    for finding in store.find("kind = ?", (ANSWER,)):
        if only_older and finding.tool_version == version("whichgpu"):
            continue
        try:
            before = finding.answer()
            source = store.find("identity = ?", (finding.about,), 1)
            if not source or (finding.model, before.workload.model_dump_json()) in answered_questions:
                continue
            answered_questions.add((finding.model, before.workload.model_dump_json()))
            inspection = source[0].inspection()
            after = answer(inspection, before.workload, facts)
        except WhichgpuError:
            continue  # of another version: integrity has said what is damaged
        what = tuple(_changes(before, after))
        if what:
            load = f"{before.workload.concurrency} × {before.workload.context:,}"
            yield Changed(model=finding.model, load=load, what=what, tool_version=finding.tool_version)


def _changes(before: Answer, after: Answer) -> Iterator[str]:
    one, two = before.recommended, after.recommended
    if one is None or two is None:
        if one is not two:
            yield "nothing fitted, now something does" if one is None else "something fitted, now nothing does"
        return
    if (one.accelerator, one.count, one.replicas) != (two.accelerator, two.count, two.replicas):
        yield f"{cards_in_words(one)} before, {cards_in_words(two)} now"
    if one.total_usd_per_hour != two.total_usd_per_hour:
        yield f"{price_in_words(one)} before, {price_in_words(two)} now"
    if one.accelerator == two.accelerator and one.footprint and two.footprint:
        shift = two.footprint.pool - one.footprint.pool
        if abs(shift) > 0.01 * max(1, abs(one.footprint.pool)):
            yield f"its pool is {shift / 2**30:+.1f} GiB"
    if before.vllm != after.vllm:
        yield f"vLLM {before.vllm} before, {after.vllm} now"


def check(catalog: str | None) -> int:
    """Say which models have new commits, which prices are old, and which answers an older whichgpu would have otherwise."""
    store, terminal = Catalog(catalog_path(catalog)), Terminal.detect()
    lines = [*_commit_notes(store, terminal), *_old_prices(store)]
    facts, _, _ = facts_for(Own(), "on-demand", store)
    for change in rederived(store, facts, only_older=True):
        lines.append(f"{clean(change.model)}: answered by whichgpu {change.tool_version}; now {'; '.join(change.what)}")
    for line in lines:
        click.echo(terminal.text("\n".join(wrapped(line, 0, 2))))
    if not lines:
        click.echo(terminal.text("Nothing has changed: no new commits, no old prices, no answers that would differ."))
    return ExitCode.OK


def _commit_notes(store: Catalog, terminal: Terminal) -> Iterator[str]:
    newest: dict[str, Finding] = {}
    for finding in store.find("kind = ? AND origin = 'hub'", (INSPECTION,)):
        newest.setdefault(finding.model, finding)
    for number, (name, finding) in enumerate(newest.items(), start=1):
        terminal.progress("asking for commits", number, len(newest))
        try:
            commit = open_repository(parse_reference(name)).listing().source.commit
        except WhichgpuError as error:
            yield f"{clean(name)}: {error.message}"
            continue
        if commit != finding.commit:
            yield f"{clean(name)}: at {(commit or 'unknown')[:10]} now, read at {(finding.commit or 'unknown')[:10]}"
    terminal.clear_progress()


def _old_prices(store: Catalog) -> Iterator[str]:
    stale: dict[str, str] = {}
    for offer in store.prices():
        if not offer.contract and offer.date is not None and is_stale(offer.date):
            stale[offer.provider] = max(stale.get(offer.provider, ""), offer.date)
    for provider, date in stale.items():
        yield f"Prices of {clean(provider)} are of {date}: whichgpu prices refresh"
