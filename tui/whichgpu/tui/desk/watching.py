"""What today's facts and rules would change of what a catalog holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

from whichgpu.catalog.records import ANSWER
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Answer
from whichgpu.plan.search import Facts


@dataclass(frozen=True, slots=True)
class Changed:
    """A stored answer that today's differs from."""

    model: str
    before: Answer
    after: Answer
    tool_version: str


def rederived(store: Catalog, facts: Facts, only_older: bool = False) -> Iterator[Changed]:
    """Yield the newest stored answer to each question that today's differs from, and how."""
    answered_questions: set[tuple[str, str]] = set()
    for finding in store.find("kind = ?", (ANSWER,)):
        if only_older and finding.tool_version == version("whichgpu"):
            continue
        try:
            before = finding.answer()
            source = store.find("identity = ?", (finding.about,), 1)
            if not source or (finding.model, before.workload.model_dump_json()) in answered_questions:
                continue
            answered_questions.add((finding.model, before.workload.model_dump_json()))
            inspection = source[0].inspection()
            after = answer(inspection, before.workload, facts)
        except WhichgpuError:
            continue  # of another version: integrity has said what is damaged
        if _substance(before) != _substance(after) or pool_shift(before, after) is not None:
            yield Changed(finding.model, before, after, finding.tool_version)


def _substance(answer: Answer) -> tuple[object, ...]:
    """What a user would notice if it were another."""
    plan = answer.recommended
    if plan is None:
        return (None,)
    return (plan.accelerator, plan.count, plan.replicas, plan.total_usd_per_hour, answer.vllm)


def pool_shift(before: Answer, after: Answer) -> float | None:
    """Bytes by which the pool of the same card has moved, where that is more than a hundredth."""
    one, two = before.recommended, after.recommended
    if one is None or two is None or one.accelerator != two.accelerator or not one.footprint or not two.footprint:
        return None
    shift = two.footprint.pool - one.footprint.pool
    return shift if abs(shift) > 0.01 * max(1, abs(one.footprint.pool)) else None
