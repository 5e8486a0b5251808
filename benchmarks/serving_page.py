"""The part of ``docs/accuracy.md`` that is about speed."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from benchmarks.second_opinions import kept
from benchmarks.serving import Point, shipped
from whichgpu import assets
from whichgpu.plan.roofline import Factors

_SELECTED = """The figure for unseen models is too favourable: the terms of the formula, the starting values and the strength of the
pull towards them were chosen by looking at these same rows, among about a dozen variants, partly by this score. A model
whose kind is not in the table may be further off. What is called assumed hardly moved from a value set by hand; the
latent layer and the unpacking rest on Kimi-K2.5 alone, the third all-reduce on MiniMax-M2.5 and vLLM's source."""

_NOTES = """Read the published rates with care: versions 0.4 to 0.6 and 0.11 are older engines and up to ten times slower on
AMD; rows of 1,000 at once exceed the pool and queue, which the row does not say; 128 output tokens after 8,192 of input
measure prefills. Only points with a time per token and recent versions enter the fit."""

if TYPE_CHECKING:
    from benchmarks.accuracy import Outcome

_MEANING = {
    "bandwidth": "share of the memory rate that reading weights reaches",
    "cache": "share of the memory rate that attention over the cache reaches",
    "unpacking": "what remains of it where four-bit weights are unpacked to BF16 (Marlin, Triton)",
    "experts": "share of the memory rate that grouped expert kernels reach",
    "prefill": "share of the FLOP rate in large multiplications",
    "prefill_experts": "share of the FLOP rate of grouped expert kernels",
    "link_rate": "share of the links' two-way rate in all-reduces",
    "link_latency": "seconds per all-reduce (two a layer; three where queries and keys are normalised as a whole)",
    "step": "seconds per step: scheduling, sampling, launching the graph",
    "layer": "seconds per layer with a dense block",
    "moe_layer": "seconds per layer with experts: routing, sorting, grouped kernels",
    "fused_moe_layer": "the same where four-bit experts run in one fused kernel (Blackwell)",
    "latent_layer": "seconds more per layer with latent attention",
    "sequence": "seconds per sequence and step",
    "variety": "exponent of the batch in the experts it touches: below 1, as tokens agree on experts",
}

_INTRO = """## Speed

Time per output token in the steady state, as `whichgpu` computes it, beside public measurements. The formulas are in
`plan/whichgpu/plan/roofline.py`; the factors were fitted by
`python -m benchmarks.serving TRUTH --models MODELS --fit assets/whichgpu/assets/throughput.json` (extra `fit`), versions of
vLLM before 0.15 left out of the fit but not of the score. Valid on Hopper and Blackwell data-centre cards up to 256
sequences a replica; elsewhere the stated range is wider."""


def speed_sections(outcome: Outcome) -> list[str]:
    """Return the sections, empty without rows."""
    if not outcome.speed:
        return []
    raw = json.loads(assets.read("throughput.json"))
    blocks = [
        _INTRO,
        _held_out_text(raw),
        _SELECTED,
        _grid([_factor_row(raw["factors"][f.name], f.name) for f in fields(Factors)], _FACTORS),
    ]
    for name, (points, skipped_rows) in outcome.speed.items():
        summary = outcome.summaries()[name]
        figures = [(k, v) for k, v in summary.items() if k != "not_answered"]
        blocks += [f"### {name}", _grid(figures, ("figure", "")), *_beside(name, points), _by(points)]
        if skipped_rows:
            blocks.append(_grid([(n, r) for r, n in summary["not_answered"].items()], ("rows", "not answered because")))
    return [*blocks, _NOTES]


def _held_out_text(raw: Mapping[str, Any]) -> str:
    scores, error = raw["held_out"], raw["error"]
    return (
        f"With each model left out of the fit in turn ({raw['rows']} rows): median error {scores['tpot_median_pct']} %,"
        f" within 25 %: {scores['tpot_within_25pct']} %. Measured over predicted time, 10th to 90th percentile:"
        f" {error[0]} to {error[1]}; that is the range that every figure is shown with."
    )


_FACTORS = ("factor", "value", "started at", "origin", "meaning")


def _factor_row(factor: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return name, f"{factor['value']:g}", f"{factor['start']:g}", factor["origin"], _MEANING[name]


def _beside(name: str, points: Sequence[Point]) -> list[str]:
    """Return ours and aiconfigurator-core's figures for the points that both answer."""
    theirs = kept().get(name, {})
    both = [p for p in points if p.line in theirs and p.tpot]
    if not both:
        return []
    factors = shipped()
    groups: dict[str, list[Point]] = defaultdict(list)
    for point in both:
        groups[f"{point.model} {point.precision} {point.gpu}"].append(point)
    groups["all of these"] = both
    rows = []
    for group, group_points in groups.items():
        ours, other = (
            [f(p) / (p.tpot or 1) for p in group_points]
            for f in (lambda p: p.predicted(factors), lambda p: theirs[p.line])
        )
        rows.append((group, len(group_points), *_error(ours), *_error(other)))
    headers = ("points", "rows", "ours, median error", "within 25 %", "aiconfigurator-core", "within 25 %")
    return [_THEIRS, _grid(rows, headers)]


def _error(ratios: Sequence[float]) -> tuple[str, str]:
    off = [abs(r - 1) for r in ratios]
    return f"{statistics.median(off):.1%}", f"{sum(o <= 0.25 for o in off) / len(off):.0%}"


_THEIRS = """Beside aiconfigurator-core 0.12.0 (its steps and prefills in the same formula; figures kept in
`benchmarks/second_opinions.json`). Ours were calibrated on these rows and its kernel tables were not, so the comparison
flatters ours; its own rejections (see `--second-opinion`) are not applied."""


def _by(points: Sequence[Point]) -> str:
    factors = shipped()
    keys: tuple[tuple[str, Callable[[Point], str]], ...] = (
        ("model", lambda p: f"{p.model} {p.precision} {p.gpu}"),
        ("at once", lambda p: f"{p.running:g}"),
        ("vLLM", lambda p: p.engine),
    )
    lines: list[tuple[object, ...]] = []
    for title, key in keys:
        groups: dict[str, list[float]] = defaultdict(list)
        for point in points:
            groups[key(point)].append(point.predicted(factors) / point.measured)
        for group, ratios in sorted(groups.items(), key=lambda kv: -abs(statistics.median(kv[1]) - 1)):
            if len(ratios) >= 2:
                spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
                lines.append((title, group, len(ratios), f"{statistics.median(ratios):.2f}", spread))
    return _grid(lines, ("by", "", "rows", "predicted / measured, median", "all"))


def _grid(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> str:
    return str(tabulate(rows, headers, tablefmt="github", disable_numparse=True))
