"""``whichgpu catalog``: what is kept, found again, annotated and looked after."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
from pydantic import ValidationError
from tabulate import tabulate

from whichgpu.catalog import files, upkeep
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.people import names_here
from whichgpu.catalog.query import Row, search
from whichgpu.catalog.records import ANSWER, INSPECTION, Finding, note_finding, tag_finding
from whichgpu.catalog.store import SAME_MODEL, Catalog, people_of
from whichgpu.inspect.errors import UsageError
from whichgpu.inspect.text import clean
from whichgpu.plan.records import Plan
from whichgpu.tui.answering import catalog_path, stamp
from whichgpu.tui.exit_codes import ExitCode
from whichgpu.tui.plan_words import plan_in_words
from whichgpu.tui.terminal import Terminal
from whichgpu.tui.units import NOTHING, WIDTH, dollars, parameters, sign, tokens, wrapped

_FORMATS = ("text", "json", "csv", "md")


def find(text: str, sort: str, limit: int, page: int, form: str, catalog: str | None) -> int:
    """Print the models that match."""
    rows = search(Catalog(catalog_path(catalog)), text, sort, limit, (page - 1) * limit)
    terminal = Terminal.detect()
    if form == "json":
        click.echo(json.dumps([r.model_dump(mode="json") for r in rows], indent=2))
    elif form == "csv":
        click.echo(_csv(rows), nl=False)
    elif not rows:
        click.echo(terminal.text("whichgpu: note: nothing in the catalog matches."), err=True)
    else:
        click.echo(terminal.text(_table(rows, "github" if form == "md" else "plain")))
    return ExitCode.OK if rows or form in ("json", "csv") else ExitCode.NOTHING_FITS


def _csv(rows: Sequence[Row]) -> str:
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, list(Row.model_fields))
    writer.writeheader()
    writer.writerows(r.model_dump() for r in rows)
    return out.getvalue()


def _table(rows: Sequence[Row], form: str) -> str:
    cell_rows = [
        (
            clean(r.model, 200),
            clean((r.label or "?").replace("multimodal", "mm"), 16),
            parameters(r.parameters),
            f"{r.cards} × {(r.accelerator or '').upper()}" if r.accelerator else NOTHING,
            dollars(r.usd_per_hour),
            dollars(r.usd_per_million_output),
            (r.made_at or "")[:10],
        )
        for r in rows
    ]
    headers = ("model", "what", "size", "on", f"{sign()}/hour", f"{sign()}/Mtok", "read")
    alignment = ("left", "left", "right", "left", "right", "right", "left")

    def made(cut: int) -> str:
        short = [(n if len(n) <= cut else "…" + n[-(cut - 1) :], *rest) for n, *rest in cell_rows]
        return str(tabulate(short, headers, tablefmt=form, colalign=alignment, disable_numparse=True))

    whole = made(200)
    excess = max(map(len, whole.splitlines())) - WIDTH
    return whole if form != "plain" or excess <= 0 else made(max(12, max(len(s[0]) for s in cell_rows) - excess))


def show(model: str, as_json: bool, catalog: str | None) -> int:
    """Print what is known of a model: its newest inspection, answers, notes and tags."""
    store = Catalog(catalog_path(catalog))
    finding = store.latest_inspection(model) or _first(store.find("kind = ? AND model = ?", (INSPECTION, model), 1))
    if finding is None:
        raise CatalogError(f"The catalog has nothing of {clean(model)}.", "whichgpu catalog list shows what it has.")
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
        f"  {parameters(inspection.parameters.total.value)} parameters, {_context(finding)}; {inspection.grade.value}",
        f"  commit {inspection.source.commit or 'unknown'}, read {finding.made_at[:16]} by {finding.made_by or 'unknown'}",
    ]
    tags = upkeep.tags(store, finding.model)
    lines += [f"  tags: {' '.join(tags)}"] if tags else []
    for note in upkeep.notes(store, finding.model):
        lines += wrapped(f"{note['at'][:10]} {note['by']}: {clean(note['text'], 500)}", 2)
    lines += [_answer_line(a) for a in answers[:20]]
    click.echo(Terminal.detect().text("\n".join(lines)))
    return ExitCode.OK


def _first(found: Sequence[Finding]) -> Finding | None:
    return found[0] if found else None


def _context(found: Finding) -> str:
    architecture = json.loads(found.body).get("architecture") or {}
    return f"{tokens(architecture.get('context'))} tokens of context"


def _answer_line(finding: Finding) -> str:
    content = json.loads(finding.body)
    workload, plan = content["workload"], content.get("recommended")
    load = f"{workload['concurrency']} × {workload['context']:,} {workload['precision']}"
    if plan is None:
        return f"  {finding.made_at[:10]} {load}: nothing fits"
    try:
        words = plan_in_words(Plan.model_validate(plan))
    except ValidationError:
        words = "a plan that this version of whichgpu cannot read"
    return f"  {finding.made_at[:10]} {load}: {clean(words, 200)}"


def history(model: str, catalog: str | None) -> int:
    """Print every finding on a model, newest first."""
    click.echo(Terminal.detect().text(history_text(Catalog(catalog_path(catalog)), model)))
    return ExitCode.OK


def history_text(store: Catalog, model: str) -> str:
    """Return every finding on a model as a table, newest first.

    Raises:
        CatalogError: it has none, or can't be read.
    """
    findings = store.find(SAME_MODEL, (model,))
    if not findings:
        raise CatalogError(f"The catalog has nothing of {clean(model)}.", "whichgpu catalog list shows what it has.")
    rows = [
        tuple(
            clean(c, 40)
            for c in (
                f.made_at[:16],
                f.kind,
                (f.commit or NOTHING)[:10],
                f.made_by or NOTHING,
                f.tool_version,
                f.identity[:12],
            )
        )
        for f in findings
    ]
    headers = ("made", "kind", "commit", "by", "whichgpu", "identity")
    return str(tabulate(rows, headers, tablefmt="plain", disable_numparse=True))


def diff(first: str, second: str | None, catalog: str | None) -> int:
    """Print what differs between two models, or the two newest readings of one."""
    click.echo(Terminal.detect().text(diff_text(Catalog(catalog_path(catalog)), first, second)))
    return ExitCode.OK


def diff_text(store: Catalog, first: str, second: str | None) -> str:
    """Return what differs between two models, or the two newest readings of one, as a table.

    Raises:
        CatalogError: there is nothing to compare.
    """
    pair = upkeep.pair(store, first, second)
    changes = upkeep.differences(*pair)
    names = [f"{p.model}@{(p.commit or 'unknown')[:10]}" for p in pair]
    if not changes:
        return f"{names[0]} and {names[1]} are the same."
    rows = [(_cut(c.field, 26), _cut(c.before, 24), _cut(c.after, 24)) for c in changes]
    table = tabulate(rows, ("", *(_cut(n, 24) for n in names)), tablefmt="plain", disable_numparse=True)
    return "\n".join(line.rstrip() for line in str(table).splitlines())


def _cut(text: str, width: int) -> str:
    plain = clean(text, 200)
    return plain if len(plain) <= width else plain[: width - 1] + "…"


def note(model: str, text: str, catalog: str | None) -> int:
    """Keep a note of yours on a model; it replaces your earlier one, whose text stays in the history."""
    annotate(_store(catalog), note_finding(model, text.strip(), stamp()))
    click.echo(
        Terminal.detect().text(f"{'Noted on' if text.strip() else 'No note of yours any more on'} {clean(model)}.")
    )
    return ExitCode.OK


def tag(model: str, words: Sequence[str], off: bool, catalog: str | None) -> int:
    """Put tags on a model, or take them off."""
    for word in words:
        annotate(_store(catalog), tag_finding(model, tag_word(word), not off, stamp()))
    click.echo(Terminal.detect().text(f"{clean(model)}: {' '.join(upkeep.tags(_store(catalog), model)) or 'no tags'}."))
    return ExitCode.OK


def _store(catalog: str | None) -> Catalog:
    return Catalog(catalog_path(catalog))


def tag_word(word: str) -> str:
    """Return a tag.

    Raises:
        UsageError: it is none.
    """
    if not 0 < len(word) <= 60 or any(c.isspace() for c in word):
        raise UsageError(f"“{clean(word, 60)}” is no tag: one word of up to 60 letters.")
    return word


def annotate(store: Catalog, finding: Finding) -> None:
    """Keep a note or tag, and who its pseudonym is in this file.

    Raises:
        CatalogError: it cannot be written.
    """
    store.add(finding)
    with store.writing() as connection:
        people_of(connection, [(finding.made_by, *names_here())])


def path(catalog: str | None) -> int:
    """Print where the catalog is."""
    click.echo(str(catalog_path(catalog)))
    return ExitCode.OK


def status(catalog: str | None, as_json: bool) -> int:
    """Print what the file is, what it holds, and where it is shared; an older one is migrated after a backup."""
    store = _store(catalog)
    catalog_status = upkeep.status(store)
    if as_json:
        click.echo(catalog_status.model_dump_json(indent=2))
    else:
        click.echo(Terminal.detect().text(status_text(store, catalog_status)))
    return ExitCode.OK


def status_text(store: Catalog, found: upkeep.Status) -> str:
    """Return what the file is, what it holds, and where it is shared."""
    size = f"{found.bytes / 2**20:,.1f} MiB" if found.bytes is not None else "not there yet"
    lines = [f"{clean(store.path)}: {size}, {found.models:,} models"]
    lines += [f"  {count:>9,} {kind}" for kind, count in found.kinds.items()]
    lines += (
        [f"  journal {found.journal}, schema {found.steps} of {files.SCHEMA_STEPS}"] if found.bytes is not None else []
    )
    if found.network is not None:
        lines += wrapped(f"on {found.network}: without a write-ahead log, which network file systems can't share", 2)
    lines += [f"  {clean(target)}: {count:,} findings shared" for target, count in found.shared.items()]
    return "\n".join(lines)


def prune(days: int, apply: bool, catalog: str | None) -> int:
    """Drop answers that a newer one to the same question has replaced; without --yes say which."""
    dropped = upkeep.prune(_store(catalog), days, apply)
    verb = "dropped" if apply else "would be dropped (add --yes)"
    click.echo(Terminal.detect().text(f"{dropped:,} replaced answers older than {days} days {verb}."))
    return ExitCode.OK


def target_path(text: str) -> str:
    """Return a target as it is remembered: folders absolute."""
    return text if "://" in text else str(Path(text).expanduser().resolve())


__all__ = ["ANSWER", "diff", "find", "history", "note", "path", "prune", "show", "status", "tag", "target_path"]
