"""A fleet in words: its models, the machines for all of them, and the totals."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from whichgpu import assets
from whichgpu.inspect.text import clean
from whichgpu.plan.fleet import Machine
from whichgpu.plan.fleet_list import FleetEntry
from whichgpu.plan.silicon import Chip, parse_silicon, serves_by_design, verdict_on
from whichgpu.tui.desk.fleet import Fleet, Planned
from whichgpu.tui.words.plans import cards_in_words, short_name
from whichgpu.tui.words.silicon_words import non_starters
from whichgpu.tui.words.units import NOTHING, WIDTH, dollars, parameters, sign, wrapped

_HOURS_A_MONTH = 730
_FIXED = "etched_sohu"
"""The chip that stands for those with transformers cast into silicon."""

_SHARING = (
    "Models that share a card need --gpu-memory-utilization set to their shares (in --json: 0.92 × share), and slow each"
    " other down."
)


def fleet_record(fleet: Fleet) -> dict[str, Any]:
    """Return what ``fleet --json`` prints."""
    return {
        "models": [
            {
                "model": p.entry.model,
                "replicas": p.entry.replicas,
                "classes": [c.value for c in p.inspection.classes],
                "label": p.inspection.label,
                "origin": p.origin,
                "non_starter_for": _barred(p),
                "recommended": p.answer.recommended.model_dump(mode="json") if p.answer.recommended else None,
            }
            for p in fleet.planned
        ],
        "failed": [{"model": name, "error": sentence} for name, sentence, _ in fleet.failed],
        "packing": fleet.packing.model_dump(mode="json"),
        "totals": _totals(fleet),
    }


def _totals(fleet: Fleet) -> dict[str, Any]:
    machines = fleet.packing.machines
    watts = [m.board_watts for m in machines]
    fixed = [p for p in fleet.planned if _is_fixed(p)]
    return {
        "models": len(fleet.planned),
        "copies": sum(p.entry.replicas for p in fleet.planned),
        "machines": len(machines),
        "cards": fleet.packing.cards,
        "usd_per_hour": fleet.packing.usd_per_hour,
        "usd_per_month": round(fleet.packing.usd_per_hour * _HOURS_A_MONTH, 2),
        "bound_usd_per_hour": fleet.packing.bound,
        "board_kilowatts": round(sum(w or 0 for w in watts) / 1e3, 3) if None not in watts else None,
        "classes": dict(Counter(c.value for p in fleet.planned for c in p.inspection.classes).most_common()),
        "transformer_only_chip": len(fixed) / len(fleet.planned) if fleet.planned else None,
    }


def _chips() -> tuple[Chip, ...]:
    return parse_silicon(assets.read("silicon.json"))


def _barred(planned: Planned) -> dict[str, list[str]]:
    """Chips that a model is barred from: by the press's rule of thumb, and by their own documents."""
    verdicts = [verdict_on(c, planned.inspection) for c in _chips()]
    return {
        "by_rule": [v.chip for v in verdicts if v.barred_by_rule],
        "by_documents": [v.chip for v in verdicts if v.barred],
    }


def _is_fixed(planned: Planned) -> bool:
    chip = next(c for c in _chips() if c.key == _FIXED)
    return serves_by_design(chip, planned.inspection)


def fleet_report(fleet: Fleet, entries: Sequence[FleetEntry]) -> str:
    """Return models, machines and totals as text."""
    lines = _models(fleet)
    if fleet.packing.machines:
        lines += ["", *_machines(fleet.packing.machines)]
    lines += ["", *fleet_sums(fleet, len(entries))]
    return "\n".join(lines)


def _models(fleet: Fleet) -> list[str]:
    rows = [model_row(p) for p in fleet.planned]
    headers = ("model", "what", "size", "copies", "alone on", f"{sign()}/hour")
    alignment = ("left", "left", "right", "right", "left", "right")
    if not rows:
        return []
    excess = max(map(len, _lines(rows, headers, alignment))) - WIDTH
    room = max(8, max(len(r[0]) for r in rows) - max(0, excess))
    return _lines([(r[0] if len(r[0]) <= room else r[0][: room - 1] + "…", *r[1:]) for r in rows], headers, alignment)


def _lines(rows: Sequence[tuple[str, ...]], headers: Sequence[str], alignment: Sequence[str]) -> list[str]:
    table = tabulate(rows, headers, tablefmt="plain", colalign=alignment, disable_numparse=True)
    return [line.rstrip() for line in str(table).splitlines()]


def model_row(planned: Planned) -> tuple[str, ...]:
    """Cells of one model: name, what, size, copies, alone on, price an hour."""
    plan = planned.answer.recommended
    name = planned.entry.model.rsplit("/", 1)[-1]
    kind = "+".join(
        c.value.replace("multimodal", "mm").replace("encoder-decoder", "enc-dec") for c in planned.inspection.classes
    )
    one = plan.model_copy(update={"replicas": 1}) if plan is not None else None  # its copies have a column
    cards = cards_in_words(one, short_name(one)) if one is not None else "nothing fits"
    hourly = dollars(plan.total_usd_per_hour) if plan is not None else NOTHING
    return (
        clean(name, 60),
        kind or "?",
        parameters(planned.inspection.parameters.total.value),
        str(planned.entry.replicas * (plan.replicas if plan is not None else 1)),
        cards,
        hourly,
    )


def _machines(machines: Sequence[Machine]) -> list[str]:
    return _lines(
        machine_rows(machines),
        ("machines", "of", f"{sign()}/hour", "full", "models"),
        ("right", "left", "right", "right", "left"),
    )


def machine_rows(machines: Sequence[Machine]) -> list[tuple[str, ...]]:
    """Cells of machines that are alike: how many, of what, price an hour, how full, models."""
    alike: dict[tuple[str, int], list[Machine]] = defaultdict(list)
    for machine in machines:
        alike[machine.accelerator, machine.cards].append(machine)
    return [
        (
            str(len(group)),
            f"{cards} × {accelerator.upper()}",
            dollars(sum(m.usd_per_hour for m in group)),
            f"{sum(m.filled * m.cards for m in group) / (cards * len(group)):.0%}",
            _names([placed.model for m in group for placed in m.models]),
        )
        for (accelerator, cards), group in sorted(alike.items(), key=lambda i: -sum(m.usd_per_hour for m in i[1]))
    ]


def _names(names: Sequence[str]) -> str:
    short = [n.rsplit("/", 1)[-1] for n in dict.fromkeys(names)]
    first = clean(short[0][:20] + ("…" if len(short[0]) > 20 else ""))
    return first if len(short) == 1 else f"{first} and {len(short) - 1} more"


def fleet_sums(fleet: Fleet, model_count: int) -> list[str]:
    """Return the totals in sentences, of ``asked`` models."""
    sums, packing = _totals(fleet), fleet.packing
    classes = ", ".join(f"{count} {name}" for name, count in sums["classes"].items())
    lines = wrapped(f"{len(fleet.planned)} of {model_count} models answered: {classes or 'none'}")
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
    for line in non_starters([p.inspection for p in fleet.planned], _chips()):
        lines += wrapped(line)
    return lines
