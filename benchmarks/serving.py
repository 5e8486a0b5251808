"""Published measurements of serving beside our predictions.

python -m benchmarks.serving FOLDER --models FOLDER               # compare with what ships
python -m benchmarks.serving FOLDER --models FOLDER --fit FILE    # vLLM's own costs and the ranges anew (needs scipy), write throughput.json
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.metadata import inspections
from benchmarks.truth import Models, card_of
from whichgpu import assets
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.records import Inspection
from whichgpu.inspect.weight_formats import WeightFormat
from whichgpu.plan.calibration import Calibration, parse_calibration
from whichgpu.plan.case import Case, ServedModel
from whichgpu.plan.engine import Engines
from whichgpu.plan.errors import UnknownAcceleratorError
from whichgpu.plan.hardware import find, parse_accelerators
from whichgpu.plan.operations import Operations, Works
from whichgpu.plan.records import Accelerator, KvDtype, Layout, Precision, Workload
from whichgpu.plan.sizing import Sizer
from whichgpu.plan.step_time import Host, Load, Machine, Step, first_token, least_time, step_time

FILES = ("serving.jsonl", "throughput.jsonl", "throughput2.jsonl", "throughput_vllm.jsonl")
_STATED = {"fp8": Precision.FP8, "fp4": Precision.NVFP4, "int4": Precision.INT4, "bf16": Precision.BF16}
_PUBLISHED = {
    "fp8": {WeightFormat.FP8, WeightFormat.MXFP8},
    "fp4": {WeightFormat.MXFP4, WeightFormat.NVFP4},
    "int4": {WeightFormat.INT4},
}
_TOO_FAST = 0.9
"""Share of the least time that physics allows, below which a row contradicts itself: cards differ from their sheets."""

CALIBRATION = parse_calibration(assets.read("throughput.json"), assets.read("kernel_times.json"))


@dataclass(frozen=True)
class Point:
    """One measurement and the operations behind it."""

    line: int
    model: str
    gpu: str
    precision: str
    engine: str
    load: Load
    tpot: float | None
    """Seconds per output token, as measured."""
    ttft: float | None
    """Seconds to the first token, as measured: the median of a load that starts at once."""
    tokens: float | None
    """Output tokens per second of the whole layout, as measured."""
    layout: Layout
    card: Accelerator
    operations: Operations
    inspection: Inspection
    asked: Precision
    kv_dtype: KvDtype
    marked: bool
    """The row itself is called suspect by who collected it."""

    @property
    def group(self) -> tuple[str, str, str]:
        """Model, card and precision: what macro averages are over."""
        return self.model, self.gpu, self.precision

    @property
    def measured(self) -> float:
        """Seconds per output token; from the rate where that is all that was published."""
        return self.tpot if self.tpot is not None else self.load.running / (self.tokens or math.inf)

    @property
    def leaves_prompts_out(self) -> bool:
        """True where a rate counts from the first token on: the prompts alone took longer than it allows."""
        whole = self.load.running * self.load.output / (self.tokens or math.inf)
        return self.ttft is not None and self.ttft > whole

    def machine(self, host: Host | None = None) -> Machine:
        machine = CALIBRATION.machine(self.card, self.layout)
        return machine if host is None else machine._replace(host=host)

    def step(self, host: Host | None = None) -> Step:
        return step_time(self.operations, self.machine(host), self.load)

    def predicted(self, host: Host | None = None) -> float:
        """Seconds per output token, of the kind that was measured."""
        step = self.step(host)
        return step.total if self.tpot is not None or self.leaves_prompts_out else step.per_turn

    def predicted_ttft(self, host: Host | None = None) -> float:
        """Seconds to the first token where the whole load starts at once."""
        machine = self.machine(host)
        return first_token(step_time(self.operations, machine, self.load), self.load.running, machine.host)

    @cached_property
    def suspect(self) -> bool:
        """True for a row that was marked, or that is faster than memory and multipliers allow."""
        return self.marked or self.measured < _TOO_FAST * least_time(self.operations, self.machine(), self.load)


class Reader:
    """Turns rows into points."""

    def __init__(self, names: Models, inspection_of: Any, any_engine: bool = False) -> None:
        self._names, self._inspection_of, self._any_engine = names, inspection_of, any_engine
        self._cards = parse_accelerators(assets.read("accelerators.json"))
        engines = Engines(assets.read("vllm_versions.json"))
        self._engine = engines.of(None)
        self._registry = json.loads(assets.read("vllm_architectures.json"))
        self._works: dict[str, Works] = {}

    def point(self, number: int, row: Mapping[str, Any]) -> Point | str:
        """Return the point, or why there is none."""
        reason = _unusable(row, self._any_engine)
        if reason is not None:
            return reason
        card = self.card(str(row["gpu"]))
        if card is None:
            return f"no card {row['gpu']}"
        model_match = self.model(str(row["model"]), stated_precision(str(row["precision"])))
        if model_match is None:
            return "no metadata of this model, or not at this precision"
        works, precision = model_match[0], self.on_card(model_match[1], card)
        copies, layout = _layout(row)
        workload = Workload(
            context=int(row["input_len"] + row["output_len"]),
            concurrency=int(row["concurrency"]),
            kv_dtype=_kv_dtype(row, card),
        )
        operations = works.of(Case(workload, precision, card, layout))
        if operations is None:
            return "not a model that decodes token by token"
        drawn = float(row.get("length_factor") or 1.0)
        return Point(
            line=number,
            model=str(row["model"]),
            gpu=card.key,
            precision=str(row["precision"]),
            engine=str(row["engine"]),
            load=Load(
                float(row["concurrency"]) * copies, round(row["input_len"] * drawn), round(row["output_len"] * drawn)
            ),
            tpot=_seconds(row.get("tpot_ms")),
            ttft=_seconds(row.get("ttft_ms")),
            tokens=row.get("output_tok_s"),
            layout=layout,
            card=card,
            operations=operations,
            inspection=works.inspection,
            asked=precision,
            kv_dtype=workload.kv_dtype,
            marked=bool(row.get("suspect")),
        )

    def card(self, name: str) -> Accelerator | None:
        """Return the card that a row names."""
        try:
            return find(re.sub(r"^(b\d+)_sxm$", r"\1", name), self._cards)
        except UnknownAcceleratorError:
            row: Any = argparse.Namespace(gpu=name)
            return card_of(row, self._cards)

    def model(self, name: str, stated: str) -> tuple[Works, Precision] | None:
        """Return the operations of the model that a row names, and the precision to ask for."""
        row: Any = argparse.Namespace(model=re.sub("-FP8-KV$", "", name), quant=None, quantization=None, dtype=None)
        matched = self._names.match(row)
        if matched is None:
            return None
        if matched[0] not in self._works:
            try:
                inspection: Inspection = self._inspection_of(matched[0])
            except WhichgpuError:
                return None
            self._works[matched[0]] = Works(Sizer(ServedModel(inspection, self._engine, self._registry)))
        works = self._works[matched[0]]
        quantisation = works.inspection.quantisation
        published = quantisation.formats if quantisation else frozenset()
        as_published = stated == "native" or (stated == "bf16" and quantisation is None)
        if as_published or published & _PUBLISHED.get(stated, frozenset()):
            return works, Precision.PUBLISHED
        return (works, _STATED[stated]) if stated in _STATED else None

    def on_card(self, precision: Precision, card: Accelerator) -> Precision:
        """Four-bit floats are MXFP4 on AMD's cards."""
        amd = card.vendor == "amd" and precision is Precision.NVFP4
        return Precision.MXFP4 if amd else precision


def _seconds(milliseconds: float | None) -> float | None:
    return milliseconds / 1e3 if milliseconds else None


def _ranks(row: Mapping[str, Any]) -> tuple[int, int]:
    """Return (ranks that the row's concurrency is counted per, data-parallel ranks beside ``tp``).

    Sequences are taken to be counted per attention rank, and rows that give ``attention_dp`` as runs on ``tp`` cards.
    That is inferred: 25 of 53 such rows have a twin without it at c × dp; 23 agree within 2 % (median 0.4 %), two
    differ by up to 61 %. The other 28 have none.
    """
    stated = row.get("attention_dp")
    if stated is not None and not math.isnan(stated):
        return int(stated), 1
    ranks = max(1, round(row["moe_tp"] * row["moe_ep"] / row["tp"]))
    return ranks, ranks


def _unusable(row: Mapping[str, Any], any_engine: bool) -> str | None:
    """Why a row says nothing about a steady load."""
    needed = ("concurrency", "input_len", "output_len")
    if any(not row.get(k) for k in needed):
        return "no concurrency or lengths"
    if not row.get("tpot_ms") and not row.get("output_tok_s"):
        return "neither a time per token nor a rate"
    if not any_engine and "vllm" not in str(row.get("engine")).lower():
        return "another engine"
    if row.get("spec"):
        return "speculative decoding"
    return "no layout" if not (row.get("tp") or row.get("n_gpus")) else None


def _kv_dtype(row: Mapping[str, Any], card: Accelerator) -> KvDtype:
    """Precision of the cache: as the row says, else as InferenceMAX's scripts set it (FP8 on Blackwell but for Kimi-K2.5, and
    for Llama-3.1-70B), else vLLM's default."""
    if re.search(r"kv fp8|fp8 kv", str(row["precision"]).lower()):
        return KvDtype.FP8
    if "InferenceMAX" not in str(row.get("source")):
        return KvDtype.AUTO
    blackwell = card.generation.name == "Blackwell" and "Kimi" not in str(row["model"])
    return KvDtype.FP8 if blackwell or "Llama-3.1-70B" in str(row["model"]) else KvDtype.AUTO


def stated_precision(text: str) -> str:
    """A precision as published in words, as one of ``_STATED``, or ``native``."""
    plain = re.split(r", (?:fp8 )?kv", text.lower())[0]
    if "native" in plain:
        return "native"
    words = {"fp4": "fp4", "int4": "int4", "4bit": "int4", "awq": "int4", "gptq": "int4", "fp8": "fp8"}
    return next((value for word, value in words.items() if word in plain), "bf16")


def _layout(row: Mapping[str, Any]) -> tuple[int, Layout]:
    """Return (ranks that the concurrency is counted per, layout)."""
    tp, pp = int(row.get("tp") or row["n_gpus"]), int(row.get("pp") or 1)
    if "moe_ep" not in row:
        dp = int(row.get("dp") or 1)
        return 1, Layout(
            tensor_parallel=tp, pipeline_parallel=pp, data_parallel=dp, expert_parallel=bool((row.get("ep") or 1) > 1)
        )
    copies, dp = _ranks(row)
    return copies, Layout(tensor_parallel=tp, pipeline_parallel=pp, data_parallel=dp, expert_parallel=row["moe_ep"] > 1)


def read(
    path: Path, names: Models, inspect: Callable[[str], Inspection], any_engine: bool = False
) -> tuple[list[Point], list[tuple[int, str]]]:
    """Read all points of a file, and (line, reason) of the rows that can't be answered."""
    reader = Reader(names, inspect, any_engine)
    points: list[Point] = []
    skipped_rows: list[tuple[int, str]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        point_or_reason = reader.point(number, json.loads(line))
        if isinstance(point_or_reason, Point):
            points.append(point_or_reason)
        else:
            skipped_rows.append((number, point_or_reason))
    return points, skipped_rows


def score(ratios: Iterable[float], name: str = "tpot") -> dict[str, float]:
    """Median error and share within 25 %, in percent."""
    off = [abs(r - 1) for r in ratios]
    return {
        f"{name}_median_pct": round(100 * statistics.median(off), 2),
        f"{name}_within_25pct": round(100 * sum(o <= 0.25 for o in off) / len(off), 2),
    }


def macro(points: Sequence[Point], ratios: Iterable[float]) -> float:
    """Mean over model, card and precision of the median error, in percent: no campaign counts more than another."""
    groups: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for point, ratio in zip(points, ratios, strict=True):
        groups[point.group].append(abs(ratio - 1))
    return round(100 * statistics.mean(statistics.median(off) for off in groups.values()), 2)


def inside(points: Sequence[Point], calibration: Calibration = CALIBRATION) -> float:
    """Share of the points that lie in the range which they would be shown with, in percent."""
    within = 0
    for point in points:
        low, high = calibration.ranges[calibration.basis_of(point.card)]
        within += low <= point.measured / point.predicted() <= high
    return round(100 * within / len(points), 2)


def summary(points: Sequence[Point], left: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """Score one file; keys as in ``benchmarks/accuracy.py``."""
    clean = [p for p in points if not p.suspect]
    result: dict[str, Any] = {
        "rows_read": len(points) + len(left),
        "rows_answered": len(points),
        "rows_suspect": len(points) - len(clean),
        "not_answered": dict(Counter(reason for _, reason in left)),
    }
    if not clean:
        return result
    ratios = [p.predicted() / p.measured for p in clean]
    result |= score(ratios) | {"tpot_macro_pct": macro(clean, ratios), "inside_range_pct": inside(clean)}
    result |= score((p.predicted() / p.measured for p in points), "all_rows_tpot")
    timed = [p.predicted_ttft() / p.ttft for p in clean if p.ttft and p.tpot]
    return result | (score(timed, "ttft") if timed else {})


def rows(name: str, points: Sequence[Point]) -> Iterator[dict[str, Any]]:
    """Yield one row per point, predicted beside measured."""
    for p in points:
        seconds = p.predicted()
        yield {
            "file": name,
            "line": p.line,
            "model": p.model,
            "gpu": p.gpu,
            "precision": p.precision,
            "layout": p.layout.label,
            "version": p.engine,
            "concurrency": p.load.running,
            "input_len": p.load.prompt,
            "output_len": p.load.output,
            "suspect": p.suspect,
            "predicted_tpot_ms": round(seconds * 1e3, 3),
            "tpot_ms": p.tpot * 1e3 if p.tpot else None,
            "predicted_tok_s": round(p.load.running / seconds, 2),
            "tok_s": p.tokens,
        }


def main() -> None:
    """Compare with what ships, or fit anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("truth", type=Path)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--fit", type=Path, help="file to write")
    parser.add_argument("--date", default="undated", help="with --fit: date of the measurements' collection")
    options = parser.parse_args()
    names, inspect, close = inspections(options.models)
    try:
        files = {name: read(options.truth / name, names, inspect) for name in FILES if (options.truth / name).exists()}
    finally:
        close()
    if options.fit:
        from benchmarks.serving_fit import write

        write(options.fit, {name: points for name, (points, _) in files.items()}, options.date)
    for name, (points, left) in files.items():
        print(name, json.dumps(summary(points, left), indent=1))


if __name__ == "__main__":
    main()
