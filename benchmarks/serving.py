"""Published measurements of serving beside our roofline, and the factors that fit them best.

python -m benchmarks.serving FOLDER --models FOLDER              # compare with the shipped factors
python -m benchmarks.serving FOLDER --models FOLDER --fit FILE   # fit anew (needs scipy), write throughput.json
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

from benchmarks.metadata import inspections
from benchmarks.truth import Models, card_of
from whichgpu import assets
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.records import Inspection
from whichgpu.inspect.weight_formats import WeightFormat
from whichgpu.plan.case import Case, ServedModel
from whichgpu.plan.engine import Engines
from whichgpu.plan.errors import UnknownAcceleratorError
from whichgpu.plan.hardware import find, parse_accelerators
from whichgpu.plan.records import Accelerator, Layout, Precision, Workload
from whichgpu.plan.roofline import Calibration, Factors, Load, Machine, parse_calibration, step_time
from whichgpu.plan.sizing import Sizer
from whichgpu.plan.step_work import StepWork, Works

FILES = ("serving.jsonl", "throughput.jsonl")
_STATED = {"fp8": Precision.FP8, "fp4": Precision.NVFP4, "int4": Precision.INT4, "bf16": Precision.BF16}
_PUBLISHED = {
    "fp8": {WeightFormat.FP8, WeightFormat.MXFP8},
    "fp4": {WeightFormat.MXFP4, WeightFormat.NVFP4},
    "int4": {WeightFormat.INT4},
}

START = Factors(
    bandwidth=0.8,
    cache=0.65,
    unpacking=0.5,
    experts=0.7,
    prefill=0.6,
    prefill_experts=0.25,
    link_rate=0.6,
    link_latency=12e-6,
    step=1e-3,
    layer=15e-6,
    moe_layer=30e-6,
    fused_moe_layer=20e-6,
    latent_layer=10e-6,
    sequence=7e-6,
    variety=0.9,
)
"""Where the fit starts; it is drawn gently back to here, so that what no row decides stays physical."""

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "bandwidth": (0.5, 0.95),
    "cache": (0.3, 0.95),
    "unpacking": (0.4, 1.0),
    "experts": (0.25, 0.95),
    "prefill": (0.3, 0.85),
    "prefill_experts": (0.08, 0.7),
    "link_rate": (0.3, 0.9),
    "link_latency": (2e-6, 40e-6),
    "step": (2e-4, 4e-3),
    "layer": (2e-6, 60e-6),
    "moe_layer": (5e-6, 120e-6),
    "fused_moe_layer": (5e-6, 120e-6),
    "latent_layer": (1e-6, 60e-6),
    "sequence": (1e-6, 40e-6),
    "variety": (0.5, 1.0),
}
_MOVED = 0.03
"""A factor that moved less from its start is called assumed."""

_PULL = 0.2
"""Weight of the pull towards ``START``, per factor, in logarithms."""


_BEFORE = tuple(f"vLLM 0.{minor}." for minor in range(15))
"""Versions that the fit leaves out, and the score does not: at 0.12 the expert kernels of Qwen3-235B take the same
time whatever the batch, two to three times what later versions take for like models."""


_CALIBRATION = Calibration(START, 1.0, 1.0, 0, "", parse_calibration(assets.read("throughput.json")).capabilities)
"""Which cards take which factors."""


@dataclass(frozen=True)
class Point:
    """One measurement and the work behind it."""

    line: int
    model: str
    gpu: str
    precision: str
    engine: str
    prompt: int
    output: int
    running: float
    tpot: float | None
    """Seconds per output token, as measured."""
    tokens: float | None
    """Output tokens per second of the whole layout, as measured."""
    layout: Layout
    card: Accelerator
    work: StepWork
    inspection: Inspection
    asked: Precision

    @property
    def measured(self) -> float:
        """Seconds per output token; from the rate where that is all that was published."""
        return self.tpot if self.tpot is not None else self.running / (self.tokens or math.inf)

    def predicted(self, factors: Factors) -> float:
        factors = replace(_CALIBRATION, factors=factors).factors_of(self.card)
        return step_time(
            self.work, Machine(self.card, self.layout, factors), Load(self.running, self.prompt, self.output)
        ).total


class Reader:
    """Turns rows into points."""

    def __init__(self, names: Models, inspection_of: Any) -> None:
        self._names, self._inspection_of = names, inspection_of
        self._cards = parse_accelerators(assets.read("accelerators.json"))
        engines = Engines(assets.read("vllm_versions.json"))
        self._engine = engines.of(None)
        self._registry = json.loads(assets.read("vllm_architectures.json"))
        self._known: dict[str, tuple[Sizer, Works]] = {}

    def point(self, number: int, row: Mapping[str, Any]) -> Point | str:
        """Return the point, or why there is none."""
        reason = _unusable(row)
        if reason is not None:
            return reason
        card = self._card(str(row["gpu"]))
        if card is None:
            return f"no card {row['gpu']}"
        model_match = self._model(str(row["model"]), _stated_precision(str(row["precision"])))
        if model_match is None:
            return "no metadata of this model, or not at this precision"
        works, precision = model_match
        copies, layout = _layout(row)
        workload = Workload(context=int(row["input_len"] + row["output_len"]), concurrency=int(row["concurrency"]))
        work = works.of(Case(workload, precision, card, layout))
        if work is None:
            return "not a model that decodes token by token"
        return Point(
            number,
            str(row["model"]),
            card.key,
            str(row["precision"]),
            str(row["engine"]),
            int(row["input_len"]),
            int(row["output_len"]),
            float(row["concurrency"]) * copies,
            row["tpot_ms"] / 1e3 if row.get("tpot_ms") else None,
            row.get("output_tok_s"),
            layout,
            card,
            work,
            works.inspection,
            precision,
        )

    def _card(self, name: str) -> Accelerator | None:
        try:
            return find(re.sub(r"^(b\d+)_sxm$", r"\1", name), self._cards)
        except UnknownAcceleratorError:
            row: Any = argparse.Namespace(gpu=name)
            return card_of(row, self._cards)

    def _model(self, name: str, stated: str) -> tuple[Works, Precision] | None:
        row: Any = argparse.Namespace(model=name, quant=None, quantization=None, dtype=None)
        matched = self._names.match(row)
        if matched is None:
            return None
        if matched[0] not in self._known:
            try:
                inspection: Inspection = self._inspection_of(matched[0])
            except WhichgpuError:
                return None
            sizer = Sizer(ServedModel(inspection, self._engine, self._registry))
            self._known[matched[0]] = sizer, Works(sizer)
        sizer, works = self._known[matched[0]]
        quantisation = sizer.inspection.quantisation
        published = quantisation.formats if quantisation else frozenset()
        as_published = stated == "native" or (stated == "bf16" and quantisation is None)
        if as_published or published & _PUBLISHED.get(stated, frozenset()):
            return works, Precision.PUBLISHED
        return (works, _STATED[stated]) if stated in _STATED else None


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


def _unusable(row: Mapping[str, Any]) -> str | None:
    """Why a row says nothing about a steady load."""
    needed = ("concurrency", "input_len", "output_len")
    if any(not row.get(k) for k in needed):
        return "no concurrency or lengths"
    if not row.get("tpot_ms") and not row.get("output_tok_s"):
        return "neither a time per token nor a rate"
    if "vllm" not in str(row.get("engine")).lower():
        return "another engine"
    if row.get("spec"):
        return "speculative decoding"
    return "no layout" if not (row.get("tp") or row.get("n_gpus")) else None


def _stated_precision(text: str) -> str:
    """A precision as published in words, as one of ``_STATED``, or ``native``."""
    plain = text.lower()
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


def read(path: Path, names: Models, inspect: Callable[[str], Inspection]) -> tuple[list[Point], list[tuple[int, str]]]:
    """Read all points of a file, and (line, reason) of the rows that can't be answered."""
    reader = Reader(names, inspect)
    points: list[Point] = []
    skipped_rows: list[tuple[int, str]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        point_or_reason = reader.point(number, json.loads(line))
        if isinstance(point_or_reason, Point):
            points.append(point_or_reason)
        else:
            skipped_rows.append((number, point_or_reason))
    return points, skipped_rows


def fit(points: Sequence[Point]) -> Factors:
    """Return the factors that fit best: robust least squares of log(predicted / measured), models weighing almost alike."""
    from scipy.optimize import least_squares

    points = [p for p in points if not p.engine.startswith(_BEFORE)]
    counts = {m: sum(p.model == m for p in points) for m in {p.model for p in points}}
    weights = [(len(points) / len(counts) / counts[p.model]) ** 0.25 for p in points]
    names = [f.name for f in fields(Factors)]
    low = [math.log(max(_BOUNDS[n][0], 1e-7)) for n in names]
    high = [math.log(_BOUNDS[n][1]) for n in names]
    start = [math.log(v) for v in astuple(START)]
    pull = _PULL * math.sqrt(len(points))

    def residuals(values: Any) -> list[float]:
        factors = Factors(*(math.exp(v) for v in values))
        off = [w * math.log(p.predicted(factors) / p.measured) for p, w in zip(points, weights, strict=True)]
        return off + [pull * (v - s) for v, s in zip(values, start, strict=True)]

    solution = least_squares(residuals, start, bounds=(low, high), loss="cauchy", f_scale=0.12)
    return Factors(*(math.exp(v) for v in solution.x))


def held_out(points: Sequence[Point]) -> dict[int, float]:
    """Predicted / measured of every point, by line, with factors that never saw its model."""
    ratios: dict[int, float] = {}
    for model in sorted({p.model for p in points}):
        factors = fit([p for p in points if p.model != model])
        ratios |= {p.line: p.predicted(factors) / p.measured for p in points if p.model == model}
    return ratios


def score(ratios: Iterable[float]) -> dict[str, float]:
    """Median error and share within 25 %, in percent."""
    off = [abs(r - 1) for r in ratios]
    return {
        "tpot_median_pct": round(100 * statistics.median(off), 2),
        "tpot_within_25pct": round(100 * sum(o <= 0.25 for o in off) / len(off), 2),
    }


def tokens_score(points: Sequence[Point], factors: Factors) -> dict[str, float]:
    """Median error in percent of output tokens per second."""
    off = [abs(p.running / p.predicted(factors) / p.tokens - 1) for p in points if p.tokens]
    return {"tokens_s_median_pct": round(100 * statistics.median(off), 2)} if off else {}


def shipped() -> Factors:
    """Return the factors that the product uses."""
    return parse_calibration(assets.read("throughput.json")).factors


def write(path: Path, points: Sequence[Point], date: str) -> None:
    """Fit and write ``throughput.json``: factors with their meaning, the error on unseen models, the valid range."""
    factors = fit(points)
    ratios = sorted(1 / r for r in held_out(points).values())
    tenth = len(ratios) // 10
    data = {
        "date": date,
        "method": "benchmarks/serving.py --fit",
        "rows": len(points),
        "source": "InferenceMAX/X points of vLLM as shipped in aiconfigurator-core 0.12.0 silicon_sample.csv (Apache-2.0)",
        "held_out": score(1 / r for r in ratios),
        "error": [round(ratios[tenth], 2), round(ratios[-1 - tenth], 2)],
        "concurrency": 256,
        "capabilities": sorted({p.card.capability for p in points}),
        "factors": {f.name: _factor(factors, f.name) for f in fields(Factors)},
    }
    path.write_text(json.dumps(data, indent=2) + "\n")


def _factor(factors: Factors, name: str) -> dict[str, Any]:
    """A factor with where it started: what hardly moved is an assumption that the rows do not decide."""
    value, start = getattr(factors, name), getattr(START, name)
    bound = any(math.isclose(value, b, rel_tol=1e-3) for b in _BOUNDS[name])
    origin = "at its bound" if bound else ("fitted" if abs(value / start - 1) > _MOVED else "assumed")
    return {"value": float(f"{value:.3g}"), "start": start, "origin": origin}


def summary(points: Sequence[Point], left: Sequence[tuple[int, str]], factors: Factors) -> dict[str, Any]:
    """Score one file; keys as in ``benchmarks/accuracy.py``."""
    result: dict[str, Any] = {
        "rows_read": len(points) + len(left),
        "rows_answered": len(points),
        "not_answered": dict(Counter(reason for _, reason in left)),
    }
    timed = [p.predicted(factors) / p.tpot for p in points if p.tpot]
    return result | (score(timed) if timed else {}) | tokens_score(points, factors)


def rows(name: str, points: Sequence[Point], factors: Factors) -> Iterator[dict[str, Any]]:
    """Yield one row per point, predicted beside measured."""
    for p in points:
        seconds = p.predicted(factors)
        yield {
            "file": name,
            "line": p.line,
            "model": p.model,
            "gpu": p.gpu,
            "precision": p.precision,
            "layout": p.layout.label,
            "version": p.engine,
            "concurrency": p.running,
            "input_len": p.prompt,
            "output_len": p.output,
            "predicted_tpot_ms": round(seconds * 1e3, 3),
            "tpot_ms": p.tpot * 1e3 if p.tpot else None,
            "predicted_tok_s": round(p.running / seconds, 2),
            "tok_s": p.tokens,
        }


def main() -> None:
    """Compare with the shipped factors, or fit anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("truth", type=Path)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--fit", type=Path, help="file to write")
    parser.add_argument("--date", help="with --fit: date of the measurements' collection")
    options = parser.parse_args()
    names, inspect, close = inspections(options.models)
    try:
        points, skipped_rows = read(options.truth / FILES[0], names, inspect)
    finally:
        close()
    if options.fit:
        write(options.fit, points, options.date or "undated")
    factors = shipped()
    print(f"{len(points)} points, {len(skipped_rows)} left out")
    print("shipped factors:", score(p.predicted(factors) / p.measured for p in points))
    if options.fit:
        print("models held out:", score(held_out(points).values()))


if __name__ == "__main__":
    main()
