"""What trials teach later predictions of speed: measured over predicted time per token, drawn towards the formula.

A trial of the very same plan decides alone. Others count the less the less they have in common, and the formula counts as
one trial against them: factor = exp(Σ wᵢ ln rᵢ / (Σ wᵢ + 1)), w = 0.6 for the same model on the same card, 0.3 for the same
architecture on the same card, 0.1 for another model on the same card. Ratios beyond 4 either way are left out as broken runs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from whichgpu.inspect.records import Inspection, Record
from whichgpu.plan.case import Case

_SAME_MODEL, _SAME_ARCHITECTURE, _SAME_CARD = 0.6, 0.3, 0.1
_FORMULA = 1.0
_BROKEN = 4.0


class TrialFact(Record):
    """One trial, as far as it teaches."""

    model: str
    architecture: str | None
    accelerator: str
    layout: str
    cards: int
    precision: str
    concurrency: int
    ratio: float
    """Measured time per token over predicted."""
    at: str


@dataclass(frozen=True, slots=True)
class Correction:
    """What the predicted times are multiplied by, and why."""

    factor: float = 1.0
    basis: str | None = None
    exact: bool = False
    """True where trials of the very same plan decide."""


class Learned:
    """The trials of a catalog, ready to be asked."""

    def __init__(self, facts: Sequence[TrialFact] = ()) -> None:
        self.facts = tuple(f for f in facts if 1 / _BROKEN < f.ratio < _BROKEN)

    def correction(self, inspection: Inspection, case: Case) -> Correction:
        """Return what trials say about a plan."""
        key = case.card.key.removesuffix("_here")
        card_facts = [f for f in self.facts if f.accelerator.removesuffix("_here") == key]
        if not card_facts:
            return Correction()
        name = inspection.source.name.lower()
        exact = [f for f in card_facts if _is_same(f, name, case)]
        if exact:
            factor = statistics.geometric_mean(f.ratio for f in exact)
            newest = max(exact, key=lambda f: f.at)
            trials = "a trial" if len(exact) == 1 else f"{len(exact)} trials"
            return Correction(
                factor, f"{trials} of this plan, last {newest.at[:10]} at {newest.concurrency} at once", True
            )
        kind = next(iter(inspection.architecture.names), None) if inspection.architecture else None
        weights = [
            _SAME_MODEL
            if f.model.lower() == name
            else _SAME_ARCHITECTURE
            if kind and f.architecture == kind
            else _SAME_CARD
            for f in card_facts
        ]
        pulled = sum(w * math.log(f.ratio) for w, f in zip(weights, card_facts, strict=True)) / (
            sum(weights) + _FORMULA
        )
        return Correction(math.exp(pulled), f"{len(card_facts)} trials on this card, drawn towards the formula")


def _is_same(fact: TrialFact, name: str, case: Case) -> bool:
    return (fact.model.lower(), fact.layout, fact.precision) == (name, case.layout.label, case.precision.value)
