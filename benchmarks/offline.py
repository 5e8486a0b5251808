"""Published rates at the largest load (MLPerf's offline scenario) beside the best rate that we predict over all loads and layouts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import CALIBRATION, Reader, stated_precision
from benchmarks.truth import Models
from whichgpu.inspect.records import Inspection
from whichgpu.plan.accelerators import Accelerator
from whichgpu.plan.case import Case
from whichgpu.plan.operations import Works
from whichgpu.plan.records import Layout, Precision, Verdict, Workload
from whichgpu.plan.step_time import Load, step_time

_LARGEST = 2048
"""Sequences of one replica that submitters let run at once."""

_KIN = {
    "meta-llama/Llama-2-70b-chat-hf": "meta-llama/Llama-2-70b-hf",
    "deepseek-ai/DeepSeek-R1": "deepseek-ai/DeepSeek-R1-0528",
}
"""The same sizes under a name whose metadata may be at hand."""


@dataclass(frozen=True)
class OfflineRow:
    """One published rate, in output tokens per second of all cards."""

    model: str
    gpu: str
    engine: str
    measured: float
    predicted: float
    ours: bool
    """True for vLLM itself."""


def read_offline(path: Path, names: Models, inspect: Callable[[str], Inspection]) -> list[OfflineRow]:
    """Read the rows of a file that state no concurrency but lengths and a rate."""
    reader, rows = Reader(names, inspect), list[OfflineRow]()
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        lengths = row.get("input_len"), row.get("output_len")
        if row.get("concurrency") or not all(lengths) or not row.get("output_tok_s") or not row.get("n_gpus"):
            continue
        name = re.sub(r"^(NVIDIA|AMD Instinct|Intel\(R\)) |-SXM-\d+GB| HBM3e?$|\(R\)", "", str(row["gpu"]))
        card = reader.card(row["gpu"]) or reader.card(name)
        precision = stated_precision(str(row["precision"]))
        matched = reader.model(str(row["model"]), precision) or reader.model(_KIN.get(row["model"], ""), precision)
        if card is None or matched is None:
            continue
        rate = best_rate(
            matched[0], reader.on_card(matched[1], card), card, int(row["n_gpus"]), round(lengths[0]), round(lengths[1])
        )
        if rate:
            engine = str(row["engine"])
            rows.append(OfflineRow(row["model"], card.key, engine, row["output_tok_s"], rate, _is_vllm(engine)))
    return rows


def _is_vllm(engine: str) -> bool:
    return engine.startswith("vLLM") and "TensorRT" not in engine


def best_rate(works: Works, precision: Precision, card: Accelerator, cards: int, prompt: int, output: int) -> float:
    """Return the best output tokens per second of all cards, as replicas of the best layout; 0 where none fits."""
    return max((rate for rate in _rates(works, precision, card, cards, prompt, output)), default=0.0)


def _rates(
    works: Works, precision: Precision, card: Accelerator, cards: int, prompt: int, output: int
) -> Iterator[float]:
    architecture = works.inspection.architecture
    workload = Workload(context=prompt + output, concurrency=1)
    layouts = [Layout(tensor_parallel=tp) for tp in (1, 2, 4, 8)]
    if architecture is not None and any(f.kind == "moe" for f in architecture.feed_forwards):
        layouts += [Layout(tensor_parallel=1, data_parallel=dp, expert_parallel=True) for dp in (2, 4, 8)]
    for layout in layouts:
        case = Case(workload, precision, card, layout)
        operations = works.of(case) if layout.cards <= cards else None
        if operations is None:
            continue
        sizes = works.sizer.size(case)
        if sizes.verdict is Verdict.NO or sizes.blocks is None:
            continue
        slots = min(_LARGEST, int(sizes.cache.sequences(sizes.blocks, prompt + output)))
        if slots < 1:
            continue
        load = Load(slots * layout.data_parallel, prompt, output)
        step = step_time(operations, CALIBRATION.machine(card, layout), load)
        yield load.running / step.per_turn * (cards // layout.cards)
