"""Single scheduler steps of a real vLLM beside ours: decoding by batch and cache length, prefills by tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import CALIBRATION, Reader
from benchmarks.truth import Models
from whichgpu.inspect.records import Inspection
from whichgpu.plan.case import Case
from whichgpu.plan.records import Layout, Workload
from whichgpu.plan.step_time import Load, prefill_time, step_time


@dataclass(frozen=True)
class StepRow:
    """One kind of step, in seconds."""

    model: str
    kind: str
    layout: Layout
    measured: float
    predicted: float


def read_steps(path: Path, names: Models, inspect: Callable[[str], Inspection]) -> list[StepRow]:
    """Read all steps of models and cards that are known."""
    reader, steps = Reader(names, inspect), list[StepRow]()
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        card, matched = reader.card(row["gpu"]), reader.model(row["model"], "native")
        if card is None or matched is None:
            continue
        works, precision = matched
        layout = Layout(tensor_parallel=row["tp"], data_parallel=row["dp"], expert_parallel=row["ep"] > 1)
        operations = works.of(Case(Workload(context=8192, concurrency=8), precision, card, layout))
        if operations is None:
            continue
        machine = CALIBRATION.machine(card, layout)
        if row["kind"] == "prefill":
            new, prefix = int(row["prefill_tokens"]), int(row.get("prefix_tokens") or 0)
            seconds = prefill_time(operations, machine, new + prefix, prefix)
        else:
            step = step_time(operations, machine, Load(row["batch"] * row["dp"], int(row["mean_kv_tokens"]), 2))
            seconds = step.total - step.prefill
        steps.append(StepRow(row["model"], row["kind"], layout, row["step_ms"] / 1e3, seconds))
    return steps
