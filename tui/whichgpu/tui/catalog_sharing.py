"""``whichgpu catalog merge|push|pull|sync|import|export|serve``: between catalogs, and out to other tools."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from whichgpu.catalog import bundles, export, sharing
from whichgpu.catalog.bundles import Policy
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.intake import Intake, Refusal, merge, take
from whichgpu.catalog.store import Catalog
from whichgpu.catalog.stores import store_at
from whichgpu.inspect.text import clean
from whichgpu.tui.answering import catalog_path, stamp
from whichgpu.tui.catalog_commands import target_path
from whichgpu.tui.exit_codes import ExitCode
from whichgpu.tui.terminal import Terminal

_REFUSED_SHOWN = 5


def merge_files(others: Sequence[str], dry_run: bool, catalog: str | None) -> int:
    """Take the findings of other catalog files."""
    store = Catalog(catalog_path(catalog))
    return _print_intakes([merge(store, Path(other), dry_run) for other in others], dry_run)


def _print_intakes(intakes: Sequence[Intake], dry_run: bool = False) -> int:
    terminal = Terminal.detect()
    would = "would be " if dry_run else ""
    for intake in intakes:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in intake.kinds.items())
        detail = f" ({kinds})" if kinds else ""
        line = f"{intake.source}: {intake.new:,} of {intake.read:,} findings {would}new{detail}, {intake.known:,} known"
        click.echo(terminal.text(line + (f", {len(intake.refused):,} refused" if intake.refused else "")))
    _refusals([r for intake in intakes for r in intake.refused])
    return ExitCode.UNREADABLE if any(f.refused for f in intakes) else ExitCode.OK


def _refusals(refused: Sequence[Refusal]) -> None:
    terminal = Terminal.detect()
    for refusal in refused[:_REFUSED_SHOWN]:
        note = f"whichgpu: note: refused {clean(refusal.identity, 40)}: {refusal.why}"
        click.echo(terminal.text(terminal.folded(note)), err=True)
    if len(refused) > _REFUSED_SHOWN:
        click.echo(terminal.text(f"whichgpu: note: and {len(refused) - _REFUSED_SHOWN:,} more"), err=True)


def push(target: str, policy: Policy, catalog: str | None) -> int:
    """Send what a target does not have."""
    place = target_path(target)
    sent = sharing.push(Catalog(catalog_path(catalog)), store_at(target), place, policy, stamp())
    withheld_note = f"; {sent.withheld:,} private or local ones stay here (--private, --local)" if sent.withheld else ""
    click.echo(
        Terminal.detect().text(
            f"{sent.findings:,} findings in {sent.bundles:,} bundles, {sent.bytes:,} bytes{withheld_note}."
        )
    )
    return ExitCode.OK


def pull(target: str, catalog: str | None) -> int:
    """Take what a target has."""
    delivery = sharing.pull(Catalog(catalog_path(catalog)), store_at(target), target_path(target))
    click.echo(Terminal.detect().text(f"{delivery.new:,} new findings from {delivery.bundles:,} new bundles."))
    refused = [*delivery.refused, *(r for i in delivery.intakes for r in i.refused)]
    _refusals(refused)
    return ExitCode.UNREADABLE if refused else ExitCode.OK


def sync(target: str, policy: Policy, catalog: str | None) -> int:
    """Pull, then push."""
    code = pull(target, catalog)
    push(target, policy, catalog)
    return code


def import_bundle(paths: Sequence[str], catalog: str | None) -> int:
    """Take bundles that came by other ways: a mail, a stick."""
    store = Catalog(catalog_path(catalog))
    intakes: list[Intake] = []
    for text in paths:
        path = Path(text)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CatalogError(f"{clean(path)} cannot be read: {clean(error.strerror or error)}.", "") from error
        intakes.append(take(store, clean(path.name, 80), bundles.unpacked(path.name, data)))
    return _print_intakes(intakes)


def export_to(target: str, policy: Policy, catalog: str | None) -> int:
    """Write findings for another tool: a folder of bundles, a table file, or a database."""
    store = Catalog(catalog_path(catalog))
    summary = export.export(store, target, policy, stamp())
    click.echo(Terminal.detect().text(summary))
    return ExitCode.OK


def serve(port: int, catalog: str | None) -> int:
    """Become Datasette on the catalog: loopback alone, read-only, with facets and ready questions."""
    path = catalog_path(catalog)
    if not path.is_file():
        raise CatalogError(f"There is no catalog at {clean(path)} yet.", "Ask for a model first.")
    words = export.datasette_words(path, port)
    click.echo(Terminal.detect().text(f"whichgpu: http://127.0.0.1:{port}/ until Ctrl-C"), err=True)
    sys.stderr.flush()
    os.execv(words[0], words)
