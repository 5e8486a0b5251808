"""``whichgpu fleet``: a list of served models, each classified and sized, and the machines for all of them."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from whichgpu import assets
from whichgpu.inspect.text import clean
from whichgpu.plan.errors import FleetError
from whichgpu.plan.fleet import Machine
from whichgpu.plan.fleet_list import FleetEntry, read_fleet
from whichgpu.plan.silicon import parse_silicon, serves_by_design
from whichgpu.tui.exit_codes import ExitCode, code_of
from whichgpu.tui.fleet import Fleet, Planned, plan_fleet
from whichgpu.tui.one_shot import question_of
from whichgpu.tui.terminal import Terminal
from whichgpu.tui.units import NOTHING, WIDTH, dollars, parameters, wrapped

_HOURS_A_MONTH = 730
_FIXED = "etched_sohu"
"""The chip that stands for those with transformers cast into silicon."""

_SHARING = (
    "Models that share a card need --gpu-memory-utilization set to their shares (in --json: 0.92 × share), and slow each"
    " other down."
)


def fleet(source: str, options: Mapping[str, Any], fresh_hours: float, solver: float | None, as_json: bool) -> int:
    """Print what every model needs, the machines that hold all, and the totals; failures go to stderr."""
    terminal = Terminal.detect()
    entries = read_fleet(_text(source))
    question = replace(question_of({**options, "model": entries[0].model, "variant": None}), max_age=fresh_hours * 3600)
    try:
        found = plan_fleet(entries, question, terminal.progress, solver)
    finally:
        terminal.clear_progress()
    click.echo(json.dumps(_record(found), indent=2) if as_json else terminal.text(_report(found, entries)))
    sys.stdout.flush()
    for note in found.notes:
        click.echo(terminal.text(terminal.folded(f"whichgpu: note: {note}")), err=True)
    for name, sentence, _ in found.failed:
        click.echo(terminal.text(terminal.folded(f"whichgpu: error: {clean(name)}: {sentence}")), err=True)
    if found.failed:
        return code_of(found.failed[0][2])
    return ExitCode.NOTHING_FITS if found.packing.unplaced else ExitCode.OK


def _text(source: str) -> str:
    if source == "-":
        return sys.stdin.read()
    try:
        return Path(source).expanduser().read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FleetError(f"{clean(source)} is no text file.", "Give ids one a line, CSV or YAML.") from error
    except OSError as error:
        raise FleetError(f"{clean(source)} cannot be read: {clean(error.strerror or error)}.", "") from error


def _record(found: Fleet) -> dict[str, Any]:
    return {
        "models": [
            {
                "model": p.entry.model,
                "replicas": p.entry.replicas,
                "classes": [c.value for c in p.inspection.classes],
                "label": p.inspection.label,
                "origin": p.origin,
                "recommended": p.answer.recommended.model_dump(mode="json") if p.answer.recommended else None,
            }
            for p in found.planned
        ],
        "failed": [{"model": name, "error": sentence} for name, sentence, _ in found.failed],
        "packing": found.packing.model_dump(mode="json"),
        "totals": _totals(found),
    }


def _totals(found: Fleet) -> dict[str, Any]:
    machines = found.packing.machines
    watts = [m.board_watts for m in machines]
    fixed = [p for p in found.planned if _is_fixed(p)]
    return {
        "models": len(found.planned),
        "copies": sum(p.entry.replicas for p in found.planned),
        "machines": len(machines),
        "cards": found.packing.cards,
        "usd_per_hour": found.packing.usd_per_hour,
        "usd_per_month": round(found.packing.usd_per_hour * _HOURS_A_MONTH, 2),
        "bound_usd_per_hour": found.packing.bound,
        "board_kilowatts": round(sum(w or 0 for w in watts) / 1e3, 3) if None not in watts else None,
        "classes": dict(Counter(c.value for p in found.planned for c in p.inspection.classes).most_common()),
        "transformer_only_chip": len(fixed) / len(found.planned) if found.planned else None,
    }


def _is_fixed(planned: Planned) -> bool:
    chip = next(c for c in parse_silicon(assets.read("silicon.json")) if c.key == _FIXED)
    return serves_by_design(chip, planned.inspection)


def _report(found: Fleet, entries: Sequence[FleetEntry]) -> str:
    lines = _models(found)
    if found.packing.machines:
        lines += ["", *_machines(found.packing.machines)]
    lines += ["", *_sums(found, entries)]
    return "\n".join(lines)


def _models(found: Fleet) -> list[str]:
    rows = [_row(p) for p in found.planned]
    headers = ("model", "what", "size", "copies", "alone on", "$/hour")
    alignment = ("left", "left", "right", "right", "left", "right")
    if not rows:
        return []
    excess = max(map(len, _lines(rows, headers, alignment))) - WIDTH
    room = max(8, max(len(r[0]) for r in rows) - max(0, excess))
    return _lines([(r[0] if len(r[0]) <= room else r[0][: room - 1] + "…", *r[1:]) for r in rows], headers, alignment)


def _lines(rows: Sequence[tuple[str, ...]], headers: Sequence[str], alignment: Sequence[str]) -> list[str]:
    made = tabulate(rows, headers, tablefmt="plain", colalign=alignment, disable_numparse=True)
    return [line.rstrip() for line in str(made).splitlines()]


def _row(planned: Planned) -> tuple[str, ...]:
    plan = planned.answer.recommended
    name = planned.entry.model.rsplit("/", 1)[-1]
    kind = "+".join(
        c.value.replace("multimodal", "mm").replace("encoder-decoder", "enc-dec") for c in planned.inspection.classes
    )
    cards = f"{plan.count} × {plan.accelerator.upper()}" if plan is not None else "nothing fits"
    hourly = dollars(plan.usd_per_hour) if plan is not None and plan.usd_per_hour is not None else NOTHING
    return (
        clean(name, 60),
        kind or "?",
        parameters(planned.inspection.parameters.total.value),
        str(planned.entry.replicas * (plan.replicas if plan is not None else 1)),
        cards,
        hourly,
    )


def _machines(machines: Sequence[Machine]) -> list[str]:
    alike: dict[tuple[str, int], list[Machine]] = defaultdict(list)
    for machine in machines:
        alike[machine.accelerator, machine.cards].append(machine)
    rows = [
        (
            str(len(group)),
            f"{cards} × {accelerator.upper()}",
            dollars(sum(m.usd_per_hour for m in group)),
            f"{sum(m.filled * m.cards for m in group) / (cards * len(group)):.0%}",
            _names([placed.model for m in group for placed in m.models]),
        )
        for (accelerator, cards), group in sorted(alike.items(), key=lambda i: -sum(m.usd_per_hour for m in i[1]))
    ]
    headers = ("machines", "of", "$/hour", "full", "models")
    alignment = ("right", "left", "right", "right", "left")
    return _lines(rows, headers, alignment)


def _names(names: Sequence[str]) -> str:
    short = [n.rsplit("/", 1)[-1] for n in dict.fromkeys(names)]
    first = clean(short[0][:20] + ("…" if len(short[0]) > 20 else ""))
    return first if len(short) == 1 else f"{first} and {len(short) - 1} more"


def _sums(found: Fleet, entries: Sequence[FleetEntry]) -> list[str]:
    sums, packing = _totals(found), found.packing
    classes = ", ".join(f"{count} {name}" for name, count in sums["classes"].items())
    lines = wrapped(f"{len(found.planned)} of {len(entries)} models answered: {classes or 'none'}")
    if packing.machines:
        power = f", {sums['board_kilowatts']:,.1f} kW of boards" if sums["board_kilowatts"] is not None else ""
        money = f"{dollars(packing.usd_per_hour)} an hour, {dollars(sums['usd_per_month'])} a month"
        lines += wrapped(f"{packing.cards:,} cards in {len(packing.machines):,} machines: {money}{power}")
        over = packing.usd_per_hour / packing.bound - 1 if packing.bound else 0.0
        lines += wrapped(f"packed by {packing.method}: at most {over:.1%} above what any packing could cost")
        if any(placed.share < 1 for m in packing.machines for placed in m.models):
            lines += wrapped(_SHARING)
    if packing.unplaced:
        names = ", ".join(clean(n) for n in dict.fromkeys(packing.unplaced))
        lines += wrapped(f"no priced card holds: {names}")
    if sums["transformer_only_chip"] is not None:
        share = f"{sums['transformer_only_chip']:.0%} of the models"
        lines += wrapped(f"a chip for transformers alone could serve {share} by design (whichgpu silicon)")
    return lines
