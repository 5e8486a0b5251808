"""vLLM's own costs, fitted to published measurements, and the ranges that predictions are shown with.

Kernel times are not fitted here (``benchmarks/kernel_tables.py``). Each constant of ``Host`` starts at a value with a meaning and is
drawn back to it, so that what no row decides stays physical.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.serving import CALIBRATION, Point, macro, score
from whichgpu.plan.choices import SpeedBasis
from whichgpu.plan.step_time import Host


class Prior(NamedTuple):
    """Where a constant starts, and the bounds that physics sets."""

    start: float
    low: float
    high: float


PRIORS: Mapping[str, Prior] = {
    "normed_layer": Prior(15e-6, 1e-6, 60e-6),  # four small kernels
    "sequence": Prior(3e-6, 1e-7, 2e-5),
    "step": Prior(2e-4, 1e-5, 3e-3),
    "prefill": Prior(0.65, 0.3, 1.0),
    "first": Prior(15e-3, 1e-3, 1e-1),
    "arrival": Prior(1.3, 0.5, 3.0),
    "opening": Prior(0.05, 0.0, 0.5),  # of a burst in equal prompts, half lie before the median: 0.5 without batching
}
_TIMES = ("normed_layer", "sequence", "step", "prefill")
"""What the time per token depends on; the rest is of the first token alone."""

_PULL = 0.1
"""Weight of the pull towards the start, per constant, in logarithms."""

_OLD = ("vLLM 0.4", "vLLM 0.5", "vLLM 0.6", "vLLM 2024")
"""Engines of another build (V0), up to ten times slower on AMD."""

_INSIDE = 0.85
"""Share of the rows that a range promises to hold."""

_UNMEASURED = 0.6, 2.2
"""The range where no row is at hand. Assumed."""

_FEWEST, _ENOUGH = 8, 40
"""Rows from which a range is read off, and from which it needs no margin."""

_WIDER = 1.15


def fit(points: Sequence[Point]) -> Host:
    """Return the costs that fit best: robust least squares of log(predicted / measured), drawn towards ``PRIORS``.

    A model's rows on one card together count as the fourth root of their number more than one row.
    """
    host = _fit(points, _TIMES, Host(**{n: p.start for n, p in PRIORS.items()}))
    timed = [p for p in points if p.ttft and p.tpot]
    return _fit(timed, tuple(n for n in PRIORS if n not in _TIMES), host, first_token=True) if timed else host


def _fit(points: Sequence[Point], names: Sequence[str], host: Host, first_token: bool = False) -> Host:
    from scipy.optimize import least_squares

    counts = Counter(p.group for p in points)
    weights = [counts[p.group] ** -0.25 for p in points]
    largest = max(weights)
    start = [math.log(PRIORS[n].start) for n in names]
    pull = _PULL * math.sqrt(len(points))

    def residuals(values: Any) -> list[float]:
        trial = replace(host, **{n: math.exp(v) for n, v in zip(names, values, strict=True)})
        off = [
            w
            / largest
            * math.log(p.predicted_ttft(trial) / (p.ttft or 1) if first_token else p.predicted(trial) / p.measured)
            for p, w in zip(points, weights, strict=True)
        ]
        return off + [pull * (v - s) for v, s in zip(values, start, strict=True)]

    low = [math.log(max(PRIORS[n].low, 1e-9)) for n in names]
    high = [math.log(PRIORS[n].high) for n in names]
    solution = least_squares(residuals, start, bounds=(low, high), loss="soft_l1", f_scale=0.12)
    return replace(host, **{n: math.exp(v) for n, v in zip(names, solution.x, strict=True)})


def held_out(points: Sequence[Point]) -> dict[int, float]:
    """Predicted / measured of every point, by line, with costs that never saw its model."""
    ratios: dict[int, float] = {}
    for model in sorted({p.model for p in points}):
        host = fit([p for p in points if p.model != model and not p.suspect])
        ratios |= {p.line: p.predicted(host) / p.measured for p in points if p.model == model}
    return ratios


def ranges(files: Mapping[str, Sequence[Point]], ratios: Mapping[int, float]) -> list[dict[str, Any]]:
    """Measured over predicted between which 85 % of the rows lie, per kind of card; ``ratios`` are those of models held out.

    Where kernels were measured only rows of one campaign with a time per token count: a rate alone does not say how long its
    load was steady. A model on a card counts as the root of its rows.
    """
    by_basis: dict[SpeedBasis, list[tuple[float, Point]]] = defaultdict(list)
    for name, points in files.items():
        for point in points:
            basis = CALIBRATION.basis_of(point.card)
            if point.suspect or (point.engine.startswith(_OLD) and basis is not SpeedBasis.AMD):
                continue
            if name == "serving.jsonl":
                by_basis[basis].append((1 / ratios[point.line], point))
            elif basis is not SpeedBasis.TABLES and not point.engine.startswith("vLLM 2024"):
                by_basis[basis].append((point.measured / point.predicted(), point))
    table = {basis: _range(basis, by_basis[basis]) for basis in SpeedBasis}
    known, near = table[SpeedBasis.TABLES], table[SpeedBasis.RELATIVE]
    if near["rows"] < _ENOUGH:  # a few models on one relative: at least somewhat wider than where kernels were measured
        low, high = min(near["low"], known["low"] / _WIDER), max(near["high"], known["high"] * _WIDER)
        near |= {"low": round(low, 2), "high": round(high, 2), "origin": "assumed"}
    return list(table.values())


def _range(basis: SpeedBasis, values: Sequence[tuple[float, Point]]) -> dict[str, Any]:
    if len(values) < _FEWEST:
        return {"of": basis.value, "low": _UNMEASURED[0], "high": _UNMEASURED[1], "rows": 0, "origin": "assumed"}
    counts = Counter(p.group for _, p in values)
    ordered = sorted((ratio, counts[p.group] ** -0.5) for ratio, p in values)
    low, high = (_quantile(ordered, share) for share in ((1 - _INSIDE) / 2, (1 + _INSIDE) / 2))
    bounds = {"low": round(min(low, 0.95), 2), "high": round(max(high, 1.05), 2)}
    return {"of": basis.value, **bounds, "rows": len(values), "origin": "measured"}


def _quantile(ordered: Sequence[tuple[float, float]], share: float) -> float:
    """Value below which this share of the weights lies."""
    total, below = sum(w for _, w in ordered), 0.0
    for value, weight in ordered:
        below += weight
        if below >= share * total:
            return value
    return ordered[-1][0]


def write(path: Path, files: Mapping[str, Sequence[Point]], date: str) -> None:
    """Fit and write ``throughput.json``: costs with their start, the error on unseen models, the ranges."""
    points = files["serving.jsonl"]
    clean = [p for p in points if not p.suspect]
    host, ratios = fit(clean), held_out(points)
    unseen = [ratios[p.line] for p in clean]
    data = {
        "date": date,
        "method": "benchmarks/serving.py --fit",
        "source": "InferenceMAX/X points of vLLM as shipped in aiconfigurator-core 0.12.0 (Apache-2.0)",
        "rows": len(points),
        "rows_clean": len(clean),
        "held_out": score(unseen) | {"tpot_macro_pct": macro(clean, unseen)} | score(ratios.values(), "all_rows_tpot"),
        "concurrency": 256,
        "host": {n: _constant(n, v) for n, v in asdict(host).items()},
        "ranges": ranges(files, ratios),
    }
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _constant(name: str, value: float) -> dict[str, Any]:
    prior = PRIORS[name]
    bound = any(math.isclose(value, b, rel_tol=1e-3) for b in (prior.low, prior.high))
    return {"value": float(f"{value:.3g}"), "start": prior.start, "origin": "at its bound" if bound else "fitted"}


assert {f.name for f in fields(Host)} == set(PRIORS)
