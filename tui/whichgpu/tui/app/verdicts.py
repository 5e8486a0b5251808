"""What models of the list run on at the remembered workload: worked out for the rows in view, kept for the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from whichgpu.inspect.errors import WhichgpuError
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Workload
from whichgpu.plan.search import Facts
from whichgpu.tui.app.knowledge import on_of
from whichgpu.tui.bundled import bundled_atlas
from whichgpu.tui.facts import Own, facts_for


@cache
def _facts(price_kind: str) -> tuple[Facts, tuple[str, ...]]:
    facts, keys, _ = facts_for(Own(), price_kind, None)
    return facts, keys


@cache
def _on(name: str, workload: Workload) -> str | None:
    found = bundled_atlas().find(name)
    if found is None:
        return None
    facts, keys = _facts(workload.price_kind)
    best = answer(found, workload.model_copy(update={"accelerators": keys}), facts, side_by_side=False).recommended
    return on_of(best)


def verdicts(names: Sequence[str], workload: Workload) -> dict[str, str]:
    """Return what models of the atlas run on; models that aren't in it are left out."""
    found: dict[str, str] = {}
    for name in names:
        try:
            on = _on(name, workload)
        except WhichgpuError:
            continue  # opening the model says why
        if on is not None:
            found[name] = on
    return found
