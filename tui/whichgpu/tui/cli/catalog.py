"""``whichgpu catalog``: what is kept, found again, annotated and looked after."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from whichgpu.catalog import upkeep
from whichgpu.catalog.errors import NothingKeptError
from whichgpu.catalog.query import search as search_catalog
from whichgpu.catalog.records import INSPECTION, note_finding, tag_finding
from whichgpu.inspect.text import clean
from whichgpu.tui.asking.completing import complete_fields, complete_models
from whichgpu.tui.cli import catalog_sharing, catalog_watch
from whichgpu.tui.cli.common import as_json_option, with_desk
from whichgpu.tui.desk.annotating import annotate, check_is_known, tag_word
from whichgpu.tui.desk.answering import stamp
from whichgpu.tui.desk.desk import Desk
from whichgpu.tui.words.catalog_words import (
    answer_line,
    context_in_words,
    diff_text,
    history_text,
    rows_as_csv,
    rows_as_table,
    status_text,
)
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.terminal import Terminal
from whichgpu.tui.words.units import parameters, wrapped


def _page_options(command: Callable[..., Any]) -> Callable[..., Any]:
    sorts = ["date", "model", "params", "context", "price", "cpm"]
    for option in (
        with_desk,
        click.option("--format", "form", type=click.Choice(["text", "json", "csv", "md"]), default="text"),
        click.option("--page", type=click.IntRange(1), default=1, show_default=True),
        click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True),
        click.option("--sort", type=click.Choice(sorts), default="date", show_default=True),
    ):
        command = option(command)
    return command


def _print_models(text: str, sort: str, limit: int, page: int, form: str, desk: Desk) -> int:
    """Print the models that match."""
    rows = search_catalog(desk.store, text, sort, limit, (page - 1) * limit)
    terminal = Terminal.detect()
    if form == "json":
        click.echo(json.dumps([r.model_dump(mode="json") for r in rows], indent=2))
    elif form == "csv":
        click.echo(rows_as_csv(rows), nl=False)
    elif not rows:
        click.echo(terminal.text("whichgpu: note: nothing in the catalog matches."), err=True)
    else:
        click.echo(terminal.text(rows_as_table(rows, "github" if form == "md" else "plain")))
    return ExitCode.OK if rows or form in ("json", "csv") else ExitCode.NOTHING_FITS


@click.command("list")
@_page_options
def list_models(sort: str, limit: int, page: int, form: str, desk: Desk) -> int:
    """List the models that were looked at, newest first."""
    return _print_models("", sort, limit, page, form, desk)


@click.command()
@click.argument("query", nargs=-1, required=True, shell_complete=complete_fields)
@_page_options
def search(query: tuple[str, ...], sort: str, limit: int, page: int, form: str, desk: Desk) -> int:
    """Find models by words and fields: llama class:moe params:>100B gpu:H200 cpm:<0.5 tag:served since:2026-11."""
    return _print_models(" ".join(query), sort, limit, page, form, desk)


@click.command()
@click.argument("model", shell_complete=complete_models)
@as_json_option
@with_desk
def show(model: str, as_json: bool, desk: Desk) -> int:
    """Show what is known of a model: its newest reading, answers, notes, tags."""
    store = desk.store
    finding = store.latest_inspection(model) or next(
        iter(store.find("kind = ? AND model = ?", (INSPECTION, model), 1)), None
    )
    if finding is None:
        raise NothingKeptError(
            f"The catalog has nothing of {clean(model)}.", "whichgpu catalog list shows what it has."
        )
    inspection, answers = finding.inspection(), store.answers_to(finding.identity)
    if as_json:
        record = {
            "finding": finding.model_dump(mode="json", exclude={"body"}),
            "inspection": inspection.model_dump(mode="json"),
            "answers": [{"made_at": a.made_at, "identity": a.identity, "answer": json.loads(a.body)} for a in answers],
            "notes": upkeep.notes(store, finding.model),
            "tags": upkeep.tags(store, finding.model),
        }
        click.echo(json.dumps(record, indent=2))
        return ExitCode.OK
    lines = [
        f"{inspection.source.name}: {inspection.label}",
        f"  {parameters(inspection.parameters.total.value)} parameters, {context_in_words(finding)}; {inspection.grade.value}",
        f"  commit {inspection.source.commit or 'unknown'}, read {finding.made_at[:16]} by {finding.made_by or 'unknown'}",
    ]
    tags = upkeep.tags(store, finding.model)
    lines += [f"  tags: {' '.join(tags)}"] if tags else []
    for note in upkeep.notes(store, finding.model):
        lines += wrapped(f"{note['at'][:10]} {clean(note['by'], 80)}: {clean(note['text'], 500)}", 2)
    lines += [answer_line(a) for a in answers[:20]]
    click.echo(Terminal.detect().text("\n".join(lines)))
    return ExitCode.OK


@click.command()
@click.argument("model", shell_complete=complete_models)
@with_desk
def history(model: str, desk: Desk) -> int:
    """List every finding on a model."""
    click.echo(Terminal.detect().text(history_text(desk.store, model)))
    return ExitCode.OK


@click.command()
@click.argument("first", shell_complete=complete_models)
@click.argument("second", required=False, shell_complete=complete_models)
@with_desk
def diff(first: str, second: str | None, desk: Desk) -> int:
    """Say what differs between two models (NAME or NAME@COMMIT), or the two newest readings of one."""
    click.echo(Terminal.detect().text(diff_text(desk.store, first, second)))
    return ExitCode.OK


@click.command()
@click.argument("model", shell_complete=complete_models)
@click.argument("text")
@with_desk
def note(model: str, text: str, desk: Desk) -> int:
    """Keep a note on a model; an empty text takes yours back."""
    check_is_known(desk.store, model)
    annotate(desk.store, note_finding(model, text.strip(), stamp()))
    click.echo(
        Terminal.detect().text(f"{'Noted on' if text.strip() else 'No note of yours any more on'} {clean(model)}.")
    )
    return ExitCode.OK


@click.command()
@click.argument("model", shell_complete=complete_models)
@click.argument("tags", nargs=-1, required=True)
@click.option("--off", is_flag=True, help="Take them off.")
@with_desk
def tag(model: str, tags: tuple[str, ...], off: bool, desk: Desk) -> int:
    """Put tags on a model; those tagged “served” are the fleet view."""
    words = [tag_word(tag) for tag in tags]
    check_is_known(desk.store, model)
    for word in words:
        annotate(desk.store, tag_finding(model, word, not off, stamp()))
    click.echo(Terminal.detect().text(f"{clean(model)}: {' '.join(upkeep.tags(desk.store, model)) or 'no tags'}."))
    return ExitCode.OK


@click.command()
@with_desk
def path(desk: Desk) -> int:
    """Print where the catalog is."""
    click.echo(str(desk.catalog))
    return ExitCode.OK


@click.command()
@as_json_option
@with_desk
def status(desk: Desk, as_json: bool) -> int:
    """Say what the file is, what it holds, and where it is shared."""
    store = desk.store
    catalog_status = upkeep.status(store)
    if as_json:
        click.echo(catalog_status.model_dump_json(indent=2))
    else:
        click.echo(Terminal.detect().text(status_text(store, catalog_status)))
    return ExitCode.OK


@click.command()
@click.option("--days", type=click.IntRange(0), default=90, show_default=True, help="Only older ones.")
@click.option("--yes", "apply", is_flag=True, help="Do it.")
@with_desk
def prune(days: int, apply: bool, desk: Desk) -> int:
    """Drop answers that a newer one to the same question has replaced."""
    dropped = upkeep.prune(desk.store, days, apply)
    verb = "dropped" if apply else "would be dropped (add --yes)"
    click.echo(Terminal.detect().text(f"{dropped:,} replaced answers older than {days} days {verb}."))
    return ExitCode.OK


@click.group()
def catalog() -> None:
    """What is kept: find it again, annotate it, share it."""


_COMMANDS = (
    *(list_models, search, show, history, diff, note, tag, path, status, prune),
    *catalog_watch.COMMANDS,
    *catalog_sharing.COMMANDS,
)
for _command in _COMMANDS:
    catalog.add_command(_command)
catalog.add_command(status, "stats")
