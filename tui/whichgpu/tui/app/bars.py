"""Bars of text: what a card's memory is filled with, in eighths of a cell or in letters."""

from __future__ import annotations

from collections.abc import Sequence

from whichgpu.plan.records import Plan
from whichgpu.tui.words.units import big, memory_unit

_FILLS = "█▓▒░▚▞"
_ASCII = "#=+-%*"


def memory_parts(plan: Plan) -> list[tuple[str, int]]:
    """Return what fills one card, in bytes: weights, the cache that is asked for, activations, runtime, and what is free."""
    foot = plan.footprint
    if foot is None:
        return []
    if foot.kv_needed is None:
        fixed_parts = [("weights", foot.weights), ("activations", foot.activations), ("runtime", foot.runtime)]
        rest = max(0, foot.budget - sum(size for _, size in fixed_parts))
        return [*fixed_parts, ("free", rest), ("not vLLM's", foot.usable - foot.budget)]
    needed = foot.kv_needed
    parts = [("weights", foot.weights), ("KV", needed), ("activations", foot.activations), ("runtime", foot.runtime)]
    used = sum(size for _, size in parts)
    return [*parts, ("free", max(0, foot.budget - used)), ("not vLLM's", foot.usable - foot.budget)]


def stacked(parts: Sequence[tuple[str, int]], width: int, unicode: bool = True) -> str:
    """Return one line of cells in proportion; every part that is there has one cell at least."""
    total = sum(size for _, size in parts)
    if total <= 0 or width < len(parts):
        return ""
    fills = _FILLS if unicode else _ASCII
    ends, reached, cells = [], 0, []
    for _, size in parts:
        reached += size
        ends.append(round(reached / total * width))
    before = 0
    for index, end in enumerate(ends):
        name = parts[index][0]
        mark = "·" if name == "free" else " " if name == "not vLLM's" else fills[index % len(fills)]
        cells.append((mark if unicode else mark.replace("·", ".")) * max(0, end - before))
        before = max(before, end)
    return "".join(cells)[:width]


def legend(
    parts: Sequence[tuple[str, int]], unicode: bool = True, unit: str | None = None, size: float | None = None
) -> str:
    """Return the parts with their marks and sizes: of a card's memory, or in a unit of ``size``."""
    fills, named = _FILLS if unicode else _ASCII, unit or f"{memory_unit()} of one card"
    words = []
    for index, (name, amount) in enumerate(parts):
        figure = big(amount) if size is None else amount / size
        mark = {"free": "·" if unicode else ".", "not vLLM's": "⎵" if unicode else "_"}.get(
            name, fills[index % len(fills)]
        )
        words.append(f"{mark} {name} {figure:.1f}")
    return "  ".join(words) + f"  {named}"
