"""``whichgpu catalog merge|push|pull|sync|import|export|serve``: between catalogs, and out to other tools."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from whichgpu.catalog import bundles, sharing
from whichgpu.catalog.bundles import Policy
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.export import export as export_catalog
from whichgpu.catalog.intake import Intake, Refusal, take_all
from whichgpu.catalog.intake import merge as merge_file
from whichgpu.catalog.records import Finding
from whichgpu.catalog.served_copy import served
from whichgpu.catalog.stores import store_at
from whichgpu.inspect.bounded import read_bounded
from whichgpu.inspect.text import clean
from whichgpu.tui.cli.common import with_desk
from whichgpu.tui.desk.answering import stamp
from whichgpu.tui.desk.desk import Desk
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.terminal import Terminal

_REFUSED_SHOWN = 5


def _policy(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say what may leave beside public findings."""
    for option in (
        click.option("--names", is_flag=True, help="Also say who the pseudonyms are."),
        click.option("--local", is_flag=True, help="Also findings on folders and files."),
        click.option("--private", is_flag=True, help="Also findings on private repositories."),
    ):
        command = option(command)
    return command


def target_path(text: str) -> str:
    """Return a target as it is remembered: folders absolute, addresses without the credentials that stand in them."""
    return clean(text if "://" in text else Path(text).expanduser().resolve(), 1000)


@click.command()
@click.argument("others", nargs=-1, required=True, metavar="OTHER…")
@click.option("--dry-run", is_flag=True, help="Only say what would be new.")
@with_desk
def merge(others: tuple[str, ...], dry_run: bool, desk: Desk) -> int:
    """Take the findings of other catalog files: the union, in any order, as often as you like."""
    return _print_intakes([merge_file(desk.store, Path(other), dry_run) for other in others], dry_run)


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


@click.command()
@click.argument("target")
@_policy
@with_desk
def push(target: str, private: bool, local: bool, names: bool, desk: Desk) -> int:
    """Send what TARGET does not have: a folder, s3://…, ssh://…, hf://datasets/ORG/NAME."""
    return _push(target, Policy(private=private, local=local, names=names), desk)


def _push(target: str, policy: Policy, desk: Desk) -> int:
    place = target_path(target)
    sent = sharing.push(desk.store, store_at(target), place, policy, stamp())
    withheld_note = f"; {sent.withheld:,} private or local ones stay here (--private, --local)" if sent.withheld else ""
    click.echo(
        Terminal.detect().text(
            f"{sent.findings:,} findings in {sent.bundles:,} bundles, {sent.bytes:,} bytes{withheld_note}."
        )
    )
    return ExitCode.OK


@click.command()
@click.argument("target")
@with_desk
def pull(target: str, desk: Desk) -> int:
    """Take what TARGET has."""
    return _pull(target, desk)


def _pull(target: str, desk: Desk) -> int:
    delivery = sharing.pull(desk.store, store_at(target), target_path(target))
    click.echo(Terminal.detect().text(f"{delivery.new:,} new findings from {delivery.bundles:,} new bundles."))
    refused = [*delivery.refused, *(r for i in delivery.intakes for r in i.refused)]
    _refusals(refused)
    return ExitCode.UNREADABLE if refused else ExitCode.OK


@click.command()
@click.argument("target")
@_policy
@with_desk
def sync(target: str, private: bool, local: bool, names: bool, desk: Desk) -> int:
    """Pull from TARGET, then push to it."""
    code = _pull(target, desk)
    _push(target, Policy(private=private, local=local, names=names), desk)
    return code


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="BUNDLE…")
@with_desk
def import_bundles(files: tuple[str, ...], desk: Desk) -> int:
    """Take bundle files that came another way."""
    intakes = take_all(desk.store, {clean(text, 300): partial(_bundle, Path(text)) for text in files})
    for intake in intakes.values():
        if isinstance(intake, CatalogError):
            raise intake
    return _print_intakes([i for i in intakes.values() if isinstance(i, Intake)])


def _bundle(path: Path) -> Iterator[Finding | Refusal]:
    try:
        data = read_bounded(path, bundles.MOST_PACKED)
    except OSError as error:
        raise CatalogError(f"{clean(path)} cannot be read: {clean(error.strerror or error)}.", "") from error
    return bundles.unpacked(path.name, data)


@click.command()
@click.argument("target")
@_policy
@with_desk
def export(target: str, private: bool, local: bool, names: bool, desk: Desk) -> int:
    """Write the catalog as .csv, .json, .parquet, .duckdb, into a database (postgresql://…), or as a folder of bundles."""
    summary = export_catalog(desk.store, target, Policy(private=private, local=local, names=names), stamp())
    click.echo(Terminal.detect().text(summary))
    return ExitCode.OK


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8001, show_default=True)
@with_desk
def serve(port: int, desk: Desk) -> int:
    """Browse the catalog in Datasette, on this machine alone (extra: serve)."""
    path = desk.catalog
    if not path.is_file():
        raise CatalogError(f"There is no catalog at {clean(path)} yet.", "Ask for a model first.")
    with served(path, port) as words:
        click.echo(Terminal.detect().text(f"whichgpu: http://127.0.0.1:{port}/ until Ctrl-C"), err=True)
        sys.stderr.flush()
        return _run_until_told(words)


def _run_until_told(words: Sequence[str]) -> int:
    """Run a server until it ends or we are told to; it ends with us."""
    server = subprocess.Popen(words)
    told = [signal.SIGTERM, signal.SIGHUP]
    before = [signal.signal(number, lambda *_: server.terminate()) for number in told]
    try:
        with suppress(KeyboardInterrupt):
            return ExitCode.OK if server.wait() in (0, -signal.SIGTERM, -signal.SIGINT) else ExitCode.SYSTEM
        return ExitCode.OK
    finally:
        server.terminate()
        server.wait()
        for number, handler in zip(told, before, strict=True):
            signal.signal(number, handler)


COMMANDS = (merge, push, pull, sync, import_bundles, export, serve)
