"""Public measurements of serving, and the one that is nearest to a plan: why a prediction may be believed, or that nothing says so.

``measurements.json`` holds figures, versions, dates and sources alone; ``benchmarks/measurements.py`` writes it.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from heapq import nsmallest
from typing import Any

from pydantic import ValidationError

from whichgpu.inspect.records import Inspection
from whichgpu.plan.calibration import Calibration
from whichgpu.plan.case import Case
from whichgpu.plan.choices import Nearness
from whichgpu.plan.errors import FactsError
from whichgpu.plan.operations import Operations, Works
from whichgpu.plan.records import Measurement, NearestMeasurement
from whichgpu.plan.speed import lengths
from whichgpu.plan.step_time import Load, step_time

_CARDS, _LENGTHS = 2.0, 0.5
"""Weights of another number of cards and of other lengths beside another load, in doublings."""

_MOST = 5
"""Measurements that stand beside a plan."""

_OTHER_WEIGHTS = 4.0
"""What weights of another format count, in the same measure."""


def shape_of(inspection: Inspection) -> str | None:
    """Return what a model and its fine-tunes have in common: hidden size, layers, heads, experts, vocabulary."""
    architecture = inspection.architecture
    if architecture is None or not architecture.hidden or not architecture.layers:
        return None
    experts = max((f.experts or 0 for f in architecture.feed_forwards), default=0)
    sizes = architecture.hidden, architecture.layers, architecture.heads or 0, experts, architecture.vocabulary or 0
    return "x".join(map(str, sizes))


def weights_key(operations: Operations) -> str:
    """Return the kernel that multiplies most of a model's weights: what makes two measurements alike."""
    if operations.experts is not None:
        return operations.experts.key
    return max(operations.matrices, key=lambda m: m.parameters).key


class Measurements:
    """All measurements; read when a model asks for its own, as most answers need a few of them or none."""

    def __init__(self, data: bytes | None = None) -> None:
        self._data = data

    @cached_property
    def _rows(self) -> dict[str, list[dict[str, Any]]]:
        """Rows as they are kept, by the shape of their model.

        Raises:
            FactsError: damaged facts.
        """
        if self._data is None:
            return {}
        try:
            raw = json.loads(self._data)
            by_shape: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for values in raw["rows"]:
                row = dict(zip(raw["columns"], values, strict=True))
                model, shape = raw["models"][row["model"]]
                by_shape[shape].append(row | {"model": model, "source": raw["sources"][row["source"]]})
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise _DAMAGED from error
        return dict(by_shape)

    def near(self, inspection: Inspection, card: str) -> list[Measurement]:
        """Return those of a model's shape on a card.

        Raises:
            FactsError: damaged facts.
        """
        shape = shape_of(inspection)
        rows = [r for r in self._rows.get(shape, ()) if r["accelerator"] == card] if shape is not None else []
        try:
            return [Measurement.model_validate(row) for row in rows]
        except ValidationError as error:
            raise _DAMAGED from error


_DAMAGED = FactsError("The bundled measurements are damaged.", "Reinstall whichgpu.")


@dataclass(frozen=True, slots=True)
class Nearby:
    """Finds what was measured near the plans of one model."""

    works: Works
    calibration: Calibration
    measurements: Measurements

    def nearest(self, case: Case) -> tuple[NearestMeasurement, ...]:
        """Return the nearest measurements of this model or its kin on this card, nearest first."""
        rows = self.measurements.near(self.works.inspection, case.card.key)
        operations = self.works.of(case)
        if not rows or operations is None:
            return ()
        key = weights_key(operations)
        return tuple(self._beside(m, case, key) for m in nsmallest(_MOST, rows, key=lambda m: _distance(m, case, key)))

    def _beside(self, measurement: Measurement, case: Case, key: str) -> NearestMeasurement:
        alike = measurement.weights == key
        return NearestMeasurement(
            measurement=measurement,
            near=Nearness.SAME if alike else Nearness.OTHER_WEIGHTS,
            ours_ms=round(self._ours(measurement, case), 2) if alike else None,
        )

    def _ours(self, measurement: Measurement, case: Case) -> float:
        """Milliseconds per output token that are predicted for the very point that was measured, without what trials taught."""
        layout = measurement.layout
        workload = case.workload.model_copy(
            update={"kv_dtype": measurement.kv_dtype, "concurrency": max(1, round(measurement.concurrency))}
        )
        operations = self.works.of(Case(workload, case.precision, case.card, layout))
        assert operations is not None
        load = Load(measurement.concurrency, measurement.prompt_tokens, measurement.output_tokens)
        step = step_time(operations, self.calibration.machine(case.card, layout), load)
        return (step.total if measurement.tpot_ms is not None else step.per_turn) * 1e3


def _distance(measurement: Measurement, case: Case, key: str) -> float:
    prompt, output = lengths(case.workload)
    cards = abs(math.log2(measurement.layout.cards / case.layout.cards))
    load = abs(math.log2(measurement.concurrency / max(1, case.workload.concurrency)))
    length = abs(math.log2(measurement.prompt_tokens / prompt)) + abs(math.log2(measurement.output_tokens / output))
    return _CARDS * cards + load + _LENGTHS * length + (_OTHER_WEIGHTS if measurement.weights != key else 0.0)
