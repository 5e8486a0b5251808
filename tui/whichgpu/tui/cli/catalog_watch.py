"""``whichgpu catalog verify|check``: what today's facts, rules and commits would change."""

from __future__ import annotations

from collections.abc import Iterator

import click

from whichgpu.catalog.checking import integrity
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.records import INSPECTION, Finding
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.inspector import open_repository
from whichgpu.inspect.reference import parse_reference
from whichgpu.inspect.text import clean
from whichgpu.tui.cli.common import with_desk
from whichgpu.tui.desk.desk import Desk
from whichgpu.tui.desk.facts import Own, facts_for
from whichgpu.tui.desk.watching import rederived
from whichgpu.tui.words.catalog_words import change_in_words
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.terminal import Terminal
from whichgpu.tui.words.units import is_stale, wrapped


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also what an earlier check found whole and unchanged.")
@with_desk
def verify(everything: bool, desk: Desk) -> int:
    """Check every finding that is new since the last time, and say which stored answers today's facts and rules would
    change. --all checks what was whole then too."""
    store, terminal = desk.store, Terminal.detect()
    if not store.path.exists():
        raise CatalogError(f"There is no catalog at {clean(store.path)} yet.", "Ask for a model first.")
    findings = integrity(store, everything)
    for line in findings.wrong:
        click.echo(terminal.text(f"whichgpu: error: {line}"), err=True)
    facts, _, _ = facts_for(Own(), "on-demand", store)
    changed = list(rederived(store, facts, everything=everything))
    for change in changed:
        load = f"{change.before.workload.concurrency} × {change.before.workload.context:,}"
        sentence = f"{clean(change.model)}, {load}: {change_in_words(change)}"
        click.echo(terminal.text("\n".join(wrapped(sentence, 0, 2))))
    click.echo(
        terminal.text(
            f"{findings.checked:,} of {store.count():,} findings checked, {len(findings.wrong):,} wrong;"
            f" {len(changed):,} answers would change."
        )
    )
    return ExitCode.UNREADABLE if findings.wrong else ExitCode.OK


@click.command()
@with_desk
def check(desk: Desk) -> int:
    """Say which models have new commits, which prices are old, which answers an older whichgpu gave differently."""
    store, terminal = desk.store, Terminal.detect()
    lines = [*_commit_notes(store, terminal), *_old_prices(store)]
    facts, _, _ = facts_for(Own(), "on-demand", store)
    for change in rederived(store, facts, only_older=True):
        lines.append(
            f"{clean(change.model)}: answered by whichgpu {change.tool_version}; now {change_in_words(change)}"
        )
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


COMMANDS = (verify, check)
