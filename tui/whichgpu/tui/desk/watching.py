"""What today's facts and rules would change of what a catalog holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from whichgpu.catalog.checking import answers_to_check, remember_unchanged
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.plan.prices import combined, own_price
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Answer
from whichgpu.plan.search import Facts
from whichgpu.tui.desk.facts import facts_digest
from whichgpu.tui.desk.release import release


@dataclass(frozen=True, slots=True)
class Changed:
    """A stored answer that today's differs from."""

    model: str
    before: Answer
    after: Answer
    tool_version: str


def rederived(store: Catalog, facts: Facts, only_older: bool = False, everything: bool = False) -> Iterator[Changed]:
    """Yield the newest stored answer to each question that today's differs from, and how.

    What is the same is remembered with the facts: until they change it is asked again only with ``everything``.
    """
    answered_questions: set[tuple[str, str]] = set()
    this_version, digest = release(), facts_digest(facts)
    unchanged: list[str] = []
    for finding in answers_to_check(store, "" if everything else digest):
        if only_older and finding.tool_version == this_version:
            continue
        question = (finding.model, json.dumps(json.loads(finding.body).get("workload")))
        if question in answered_questions:
            unchanged.append(finding.identity)  # a newer one has its place
            continue
        answered_questions.add(question)
        try:
            before = finding.answer()
            source = store.find("identity = ?", (finding.about,), 1)
            after = answer(source[0].inspection(), before.workload, _as_asked(facts, before)) if source else before
        except WhichgpuError:
            continue  # of another version: integrity has said what is damaged
        if _substance(before) != _substance(after) or pool_shift(before, after) is not None:
            yield Changed(finding.model, before, after, finding.tool_version)
        else:
            unchanged.append(finding.identity)
    remember_unchanged(store, unchanged, digest)


def _as_asked(facts: Facts, before: Answer) -> Facts:
    """The facts with the prices that the question itself named: they are in its plans."""
    own = {p.accelerator: p.price for p in before.plans if p.price is not None and p.price.yours}
    typed = [own_price(key, price.usd_per_hour, price.kind, price.newest) for key, price in own.items()]
    return replace(facts, offers=tuple(combined(facts.offers, typed))) if typed else facts


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
