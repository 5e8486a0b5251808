"""Custom chips in words: a table, one in full, and what a model can expect of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from whichgpu.inspect.records import Inspection
from whichgpu.inspect.text import clean
from whichgpu.plan.silicon import Access, Chip, ChipVerdict, Outlook, verdict_on
from whichgpu.tui.words.units import NOTHING, wrapped

_ORDER = list(Outlook)


_ACCESS = list(Access)


def _table(chips: Sequence[Chip]) -> str:
    rows = [
        (c.key, c.builder, c.access.value, c.vllm_state, chip_memory(c), c.who)
        for c in sorted(chips, key=lambda c: (_ACCESS.index(c.access), c.key))
    ]
    headers = ("chip", "builder", "access", "vLLM", "GB", "who can use it")
    widths = (15, 12, 8, 8, 5, 22)
    table = tabulate(rows, headers, tablefmt="plain", maxcolwidths=list(widths), disable_numparse=True)
    note = f"As of {chips[0].as_of}. whichgpu silicon CHIP shows one with its sources; --model X says what a model can expect."
    return "\n".join([*(line.rstrip() for line in str(table).splitlines()), "", *wrapped(note)])


def chip_memory(chip: Chip) -> str:
    """GB of one chip."""
    return NOTHING if chip.memory_gb is None else f"{chip.memory_gb:g}"


def whole(chip: Chip) -> str:
    """Everything that is known of one chip, with its source."""
    rows = {
        "builder": chip.builder,
        "who": chip.who,
        "rentable": chip.rentable,
        "software": chip.stack,
        "vLLM": chip.vllm,
        "serves": ", ".join(chip.serves) + (f"; listed: {', '.join(chip.families)}" if chip.families else ""),
        "never": ", ".join(chip.never) or NOTHING,
        "memory": f"{chip_memory(chip)} GB a chip"
        + (f", {chip.bandwidth_gbs:,.0f} GB/s" if chip.bandwidth_gbs is not None else ""),
        "compute": chip.compute,
        "status": chip.status,
        "sure": f"{chip.confidence}, as of {chip.as_of}",
        "source": chip.source,
    }
    lines = [f"{chip.name} ({chip.key})"]
    for label, text in rows.items():
        lines += wrapped(f"{label:<9} {text}", 2, 12)
    return "\n".join(lines)


def _verdicts(chips: Sequence[Chip], inspection: Inspection) -> list[ChipVerdict]:
    return sorted((verdict_on(c, inspection) for c in chips), key=lambda v: _ORDER.index(v.outlook))


def verdict_table(chips: Sequence[Chip], inspection: Inspection) -> str:
    """What a model can expect of each chip, best first."""
    verdicts = _verdicts(chips, inspection)
    names = {c.key: c.name for c in chips}
    rows = [(names[v.chip], v.outlook.value, NOTHING if v.chips is None else f"{v.chips:,}", v.why) for v in verdicts]
    headers = ("chip", "verdict", "chips ≥", "why")
    table = tabulate(rows, headers, tablefmt="plain", maxcolwidths=[16, 17, None, 32], disable_numparse=True)
    title = f"{inspection.source.name}: {inspection.label}"
    note = (
        f"Chips ≥: what the published weights fill, without any cache. As of {chips[0].as_of}; public statements, not"
        " measurements. whichgpu breakeven says what a claim has to beat."
    )
    lines = [title, "", *(line.rstrip() for line in str(table).splitlines()), "", *wrapped(note)]
    rule = rule_in_words(verdicts, names)
    return "\n".join([*lines, *(wrapped(rule) if rule else [])])


def rule_in_words(verdicts: Sequence[ChipVerdict], names: Mapping[str, str]) -> str:
    """What the press's rule of thumb says of a model, and where the chips' own documents differ; empty where it says nothing."""
    by_rule = [v for v in verdicts if v.barred_by_rule]
    if not by_rule:
        return ""
    told = [names[v.chip] for v in by_rule if not v.barred]
    documents = f"the documents of {', '.join(told)} do not say so" if told else "their documents agree"
    return (
        "By the rule that chips of fixed function serve dense transformers alone it is a non-starter for"
        f" {', '.join(names[v.chip] for v in by_rule)}; {documents}."
    )


def non_starters(inspections: Sequence[Inspection], chips: Sequence[Chip]) -> list[str]:
    """Of several models: how many the rule of thumb bars from chips of fixed function, and whom each chip's documents do."""
    fixed = [c for c in chips if c.called_fixed]
    verdicts = {i.source.name: [verdict_on(c, i) for c in fixed] for i in inspections}
    by_rule = [name for name, of_chips in verdicts.items() if any(v.barred_by_rule for v in of_chips)]
    if not by_rule:
        return []
    lines = [
        f"by the rule that chips of fixed function serve dense transformers alone: non-starter for {_named(by_rule)}"
    ]
    for index, chip in enumerate(fixed):
        barred = [name for name, of_chips in verdicts.items() if of_chips[index].barred]
        lines.append(f"by {chip.name}'s own documents: for {_named(barred) if barred else 'none of them'}")
    return lines


_NAMED = 6


def _named(models: Sequence[str]) -> str:
    short = [clean(m.rsplit("/", 1)[-1], 40) for m in models]
    more = f" and {len(short) - _NAMED} more" if len(short) > _NAMED else ""
    return ", ".join(short[:_NAMED]) + more
