"""What plan computes for: a model under an engine, and one point of the question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from whichgpu.inspect.records import Architecture, Inspection
from whichgpu.plan.accelerators import Accelerator
from whichgpu.plan.engine import Engine
from whichgpu.plan.records import Layout, Precision, Workload


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """A model under one version of vLLM."""

    inspection: Inspection
    engine: Engine
    registry: Mapping[str, Any] = field(default_factory=dict)
    """vLLM's registry of classes (``search.Facts.architectures``)."""

    @property
    def architecture(self) -> Architecture | None:
        return self.inspection.architecture

    def is_listed(self, table: str) -> bool:
        """True where one of the model's classes stands in a table of the registry."""
        names = self.architecture.names if self.architecture is not None else ()
        return any(name in self.registry.get(table, ()) for name in names)


@dataclass(frozen=True, slots=True)
class Case:
    """One workload at one precision on one card under one layout."""

    workload: Workload
    precision: Precision
    card: Accelerator
    layout: Layout

    @property
    def copies(self) -> int:
        """Sequences that each data-parallel rank holds."""
        return -(-self.workload.concurrency // self.layout.data_parallel)
