"""What models of the list run on at the remembered workload: worked out for the rows in view, kept for the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.records import Inspection
from whichgpu.inspect.text import clean
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Answer, Workload
from whichgpu.plan.search import Facts
from whichgpu.tui.app.knowledge import on_of
from whichgpu.tui.desk.bundled import bundled_atlas
from whichgpu.tui.desk.desk import Desk
from whichgpu.tui.desk.facts import Own, facts_for
from whichgpu.tui.words.units import NOTHING, memory, parameters, tokens


@cache
def _facts(catalog: Path, price_kind: str) -> tuple[Facts, tuple[str, ...]]:
    facts, keys, _ = facts_for(Own(), price_kind, Catalog(catalog))
    return facts, keys


def _stored_inspection(catalog: Path, name: str) -> Inspection | None:
    """The catalog's newest reading, else the atlas's."""
    try:
        finding = Catalog(catalog).latest_inspection(name)
    except CatalogError:
        finding = None
    inspection = finding.inspection() if finding is not None else None
    return inspection or bundled_atlas().find(name)


def forget() -> None:
    """Work everything out anew: prices, trials or the workload changed."""
    _facts.cache_clear()
    _plan_model.cache_clear()


@cache
def _plan_model(catalog: Path, name: str, workload: Workload) -> tuple[Inspection, Answer] | None:
    inspection = _stored_inspection(catalog, name)
    if inspection is None:
        return None
    facts, keys = _facts(catalog, workload.price_kind)
    return inspection, answer(inspection, workload.model_copy(update={"accelerators": keys}), facts, side_by_side=False)


def verdicts(desk: Desk, names: Sequence[str], workload: Workload) -> dict[str, str]:
    """Return what models of catalog and atlas run on; models that neither has are left out."""
    verdict_by_name: dict[str, str] = {}
    for name in names:
        try:
            planned = _plan_model(desk.catalog, name, workload)
        except WhichgpuError:
            continue  # opening the model says why
        if planned is not None:
            verdict_by_name[name] = on_of(planned[1].recommended)
    return verdict_by_name


def details(desk: Desk, name: str, workload: Workload) -> str:
    """Return a model in a few lines: what it is, what it needs, what it runs on."""
    try:
        planned = _plan_model(desk.catalog, name, workload)
    except WhichgpuError as error:
        return error.message
    if planned is None:
        return f"{clean(name)}\n\nEnter reads it."
    inspection, result = planned
    need, plan = result.needs[0], result.recommended
    speed = plan.speed if plan is not None else None
    rows = [
        ("what", inspection.label),
        ("parameters", parameters(inspection.parameters.total.value)),
        ("active", parameters(inspection.parameters.active.value)),
        ("context", tokens(inspection.architecture.context if inspection.architecture else None)),
        ("published", inspection.quantisation.label if inspection.quantisation else "not quantised"),
        ("weights", memory(need.weights_bytes)),
        ("KV per token", memory(need.kv_bytes_per_token) if need.kv_bytes_per_token != 0 else NOTHING),
        ("runs on", on_of(plan)),
        ("tokens/s out", f"{speed.output_tokens_per_second.expected:,.0f}" if speed else NOTHING),
        ("ms per token", f"{speed.tpot_ms.expected:,.1f}" if speed else NOTHING),
    ]
    load = f"at {workload.concurrency:,} × {workload.context:,} tokens, {workload.precision.value}"
    return "\n".join([clean(name), "", *(f"{label:<13}{text}" for label, text in rows), "", load])
