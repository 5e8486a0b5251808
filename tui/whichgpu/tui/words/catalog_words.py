"""What a catalog says: rows, histories, differences and its own state, as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from pydantic import ValidationError
from tabulate import tabulate

from whichgpu.catalog import files, upkeep
from whichgpu.catalog.errors import NothingKeptError
from whichgpu.catalog.query import Row
from whichgpu.catalog.records import Finding
from whichgpu.catalog.store import SAME_MODEL, Catalog
from whichgpu.inspect.text import clean
from whichgpu.plan.records import Answer, Plan, Verdict
from whichgpu.tui.desk.watching import Changed, pool_shift
from whichgpu.tui.words.plans import cards_in_words, plan_in_words, price_in_words
from whichgpu.tui.words.units import NOTHING, WIDTH, dollars, parameters, sign, tokens, wrapped


def rows_as_csv(rows: Sequence[Row]) -> str:
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, list(Row.model_fields))
    writer.writeheader()
    writer.writerows(r.model_dump() for r in rows)
    return out.getvalue()


def rows_as_table(rows: Sequence[Row], form: str) -> str:
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


def context_in_words(finding: Finding) -> str:
    architecture = json.loads(finding.body).get("architecture") or {}
    return f"{tokens(architecture.get('context'))} tokens of context"


def answer_line(finding: Finding) -> str:
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


def history_text(store: Catalog, model: str) -> str:
    """Return every finding on a model as a table, newest first.

    Raises:
        CatalogError: it has none, or can't be read.
    """
    findings = store.find(SAME_MODEL, (model,))
    if not findings:
        raise NothingKeptError(
            f"The catalog has nothing of {clean(model)}.", "whichgpu catalog list shows what it has."
        )
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


def status_text(store: Catalog, status: upkeep.Status) -> str:
    """Return what the file is, what it holds, and where it is shared."""
    size = f"{status.bytes / 2**20:,.1f} MiB" if status.bytes is not None else "not there yet"
    lines = [f"{clean(store.path)}: {size}, {status.models:,} models"]
    lines += [f"  {count:>9,} {kind}" for kind, count in status.kinds.items()]
    lines += (
        [f"  journal {status.journal}, schema {status.steps} of {files.SCHEMA_STEPS}"]
        if status.bytes is not None
        else []
    )
    if status.network is not None:
        lines += wrapped(f"on {status.network}: without a write-ahead log, which network file systems can't share", 2)
    lines += [f"  {clean(target)}: {count:,} findings shared" for target, count in status.shared.items()]
    return "\n".join(lines)


def change_in_words(change: Changed) -> str:
    """What today's answer has otherwise: ``1 × H100 before, 1 × H200 now; …``."""
    return "; ".join(_changes(change.before, change.after))


def _why(one: Plan, two: Plan, after: Answer) -> str:
    """Why another plan than ``one`` is recommended today: it is not possible any more, costs more, or another costs less."""
    today = next((p for p in after.plans if p.accelerator == one.accelerator and p.precision is one.precision), None)
    if today is None:
        return f"{one.accelerator_name} is not asked any more"
    if today.verdict is not Verdict.FITS:
        return (
            f"on {one.accelerator_name} it no longer fits: {today.reasons[0]}" if today.reasons else "it no longer fits"
        )
    if (today.count, today.replicas) != (one.count, one.replicas):
        return f"of {one.accelerator_name} it takes {cards_in_words(today)} now"
    if today.total_usd_per_hour != one.total_usd_per_hour:
        return f"the price changed: {cards_in_words(one)} was {price_in_words(one)}, is {price_in_words(today)}"
    if today.missed:
        return f"{cards_in_words(one)} fits, and misses a limit now"
    return f"{cards_in_words(one)} still fits at its price; {cards_in_words(two)} is better"


def _changes(before: Answer, after: Answer) -> Iterator[str]:
    one, two = before.recommended, after.recommended
    if one is None or two is None:
        yield "nothing fitted, now something does" if one is None else "something fitted, now nothing does"
        return
    if (one.accelerator, one.count, one.replicas) != (two.accelerator, two.count, two.replicas):
        yield f"{cards_in_words(one)} before, {cards_in_words(two)} now ({_why(one, two, after)})"
    elif one.total_usd_per_hour != two.total_usd_per_hour:
        yield f"{price_in_words(one)} before, {price_in_words(two)} now"
    shift = pool_shift(before, after)
    if shift is not None:
        yield f"its pool is {shift / 2**30:+.1f} GiB"
    if before.vllm != after.vllm:
        yield f"vLLM {before.vllm} before, {after.vllm} now"
