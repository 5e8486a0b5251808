"""The page docs/speed.md: how far predicted times are off, by rows that nothing was fitted to and by rows that something was.

python -m benchmarks.serving_page TRUTH --models MODELS --write docs/speed.md
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.metadata import inspections
from benchmarks.offline import OfflineRow, read_offline
from benchmarks.second_opinions import kept
from benchmarks.serving import CALIBRATION, FILES, Point, read, summary
from benchmarks.steps import StepRow, read_steps
from whichgpu import assets
from whichgpu.plan.step_time import Host

REPEATS, STEPS = "repeats_vllm_inferencex.jsonl", "steps_vllm0201_b300.jsonl"
OTHERS = ("serving_other_engines_inferencex_r1.jsonl",)

_MEANING = {
    "normed_layer": "seconds per layer that normalises queries and keys",
    "sequence": "seconds per sequence and step: sampling, detokenising, bookkeeping",
    "step": "seconds per step: scheduling, launching the graph",
    "prefill": "share of a prompt's time alone that it costs the others, whose reads of the weights it shares",
    "first": "seconds per request before its first step: tokenising, scheduling, the way back",
    "arrival": "steps that a request waits for: what is left of the one under way, and its own",
    "opening": "share of the prompts of a burst that the median request of it waits for",
}

_INTRO = """# How right it is: speed

<!-- Written by `python -m benchmarks.serving_page TRUTH --models MODELS --write docs/speed.md`. -->

A step's time is the sum of its kernels' times: multiplications by their shapes, attention over the caches, the experts that a batch
touches, all-reduces by size and number of cards, and what vLLM spends beside them. A kernel takes
`launch + ‖bytes / (bandwidth · memory), FLOP / (rate · compute)‖`. The constants per card (`kernel_times.json`) were fitted to
aiconfigurator-core's operator tables by `python -m benchmarks.kernel_tables`, which prints how far each is off its table; nothing of
them was fitted to a run of a model, but for the cards that have no tables (below). Seven constants of vLLM's own were
(`python -m benchmarks.serving --fit`)."""

_BEYOND = """Rows that are marked as suspect by who collected them, or that are faster than the card's memory and multipliers allow, are left
out of the clean score and counted in “all rows”. Times to the first token are of a load that starts at once, as the benchmarks
ran it; to a user the steady one is said too. Outside the campaign (`serving.jsonl`) rows with a first token are overloads whose queue no row
states, and single streams on a DGX Spark, whose prompts take two to four times what their multiplications do."""

_DERIVED = """## Cards without operator tables

Their constants are a relative's, at their own rates, times the factors that follow; where runs of models say so, the factors were chosen
by looking at those same runs, so that their scores above are in sample."""


def page(truth: Path, models: Path) -> str:
    """Return the page."""
    names, inspect, close = inspections(models)
    try:
        files = {name: read(truth / name, names, inspect) for name in FILES if (truth / name).exists()}
        others = {
            name: read(truth / name, names, inspect, any_engine=True) for name in OTHERS if (truth / name).exists()
        }
        offline = [r for name in FILES if (truth / name).exists() for r in read_offline(truth / name, names, inspect)]
        steps = read_steps(truth / STEPS, names, inspect) if (truth / STEPS).exists() else []
    finally:
        close()
    raw = json.loads(assets.read("throughput.json"))
    blocks = [_INTRO, _held_out(raw), _host_table(raw), _range_table(raw), _BEYOND, *_scores(files)]
    blocks += [
        *_noise(truth / REPEATS),
        *_by(files),
        *_steps(steps),
        *_offline(offline),
        *_others(others),
        _DERIVED,
        _relatives(),
        *_beside(files),
    ]
    blocks += _not_answered(files)
    return "\n\n".join(blocks) + "\n"


def _held_out(raw: Mapping[str, Any]) -> str:
    scores = raw["held_out"]
    return (
        "## On models that the constants have not seen\n\n"
        f"Each model left out in turn ({raw['rows']} rows of InferenceMAX/X, {raw['rows_clean']} of them clean): median error "
        f"{scores['tpot_median_pct']} %, within 25 %: {scores['tpot_within_25pct']} %; averaged over model, card and precision "
        f"{scores['tpot_macro_pct']} %. All rows: {scores['all_rows_tpot_median_pct']} % and "
        f"{scores['all_rows_tpot_within_25pct']} %. The form of the sum, which kernels it has and where the constants start was chosen "
        "by looking at these rows."
    )


def _host_table(raw: Mapping[str, Any]) -> str:
    names = [f.name for f in fields(Host)]
    rows = [
        (n, f"{raw['host'][n]['value']:g}", f"{raw['host'][n]['start']:g}", raw["host"][n]["origin"], _MEANING[n])
        for n in names
    ]
    return _grid(rows, ("constant", "value", "started at", "origin", "meaning"))


def _range_table(raw: Mapping[str, Any]) -> str:
    text = (
        "Ranges: measured over predicted time between which 85 % of the rows lie, by what the kernel times of a card rest on. "
        "Every figure is shown with its range; what was never measured has a range that is assumed."
    )
    rows = [(one["of"], one["low"], one["high"], one["rows"], one["origin"]) for one in raw["ranges"]]
    return f"{text}\n\n" + _grid(rows, ("kernel times", "low", "high", "rows", "origin"))


_FIGURES = (
    ("rows_answered", "rows answered"),
    ("rows_suspect", "of them suspect"),
    ("tpot_median_pct", "median error, clean rows, %"),
    ("tpot_within_25pct", "within 25 %, clean rows, %"),
    ("tpot_macro_pct", "averaged over model, card, precision, %"),
    ("all_rows_tpot_median_pct", "median error, all rows, %"),
    ("all_rows_tpot_within_25pct", "within 25 %, all rows, %"),
    ("inside_range_pct", "inside the stated range, %"),
    ("ttft_median_pct", "first token: median error, %"),
    ("ttft_within_25pct", "first token: within 25 %, %"),
)

_Files = Mapping[str, tuple[list[Point], list[tuple[int, str]]]]


def _scores(files: _Files) -> Iterator[str]:
    summaries = {name: summary(points, left) for name, (points, left) in files.items()}
    rows = [(words, *(summaries[n].get(key, "–") for n in files)) for key, words in _FIGURES]
    yield "## By file\n\n" + _grid(rows, ("", *files))


def _noise(path: Path) -> Iterator[str]:
    """The same point measured again: what no prediction can undercut."""
    if not path.exists():
        return
    spreads = []
    for line in path.read_text(encoding="utf-8").splitlines():
        times = json.loads(line)["tpot_ms"]
        spreads += [abs(t / times[0] - 1) for t in times[1:]]
    tenth = sorted(spreads)[int(0.9 * len(spreads))]
    yield f"The noise under it: {len(spreads)} points measured again differ by {statistics.median(spreads):.1%} in the median, one in ten by more than {tenth:.0%}."  # fmt: skip


def _by(files: _Files) -> Iterator[str]:
    """By model, card and precision; AMD, Intel and unified memory stand by themselves."""
    yield "## By model, card and precision\n\nPredicted over measured time."
    keys: tuple[tuple[str, Callable[[Point], str]], ...] = (
        ("own operator tables", lambda p: "nvidia" if CALIBRATION.covers(p.card) else ""),
        ("everything else", lambda p: "" if CALIBRATION.covers(p.card) else "other"),
    )
    for title, chosen in keys:
        groups: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
        for name, (points, _) in files.items():
            for p in points:
                if chosen(p) and not p.suspect:
                    groups[(*p.group, name)].append(p.predicted() / p.measured)
        rows = [
            (
                model.split("/")[-1],
                card,
                precision,
                name,
                len(r),
                f"{statistics.median(r):.2f}",
                f"{min(r):.2f} to {max(r):.2f}",
            )
            for (model, card, precision, name), r in sorted(
                groups.items(), key=lambda kv: (kv[0][1], kv[0][0], kv[0][3])
            )
        ]
        yield f"### {title}\n\n" + _grid(rows, ("model", "card", "precision", "file", "rows", "median", "all"))


def _steps(steps: Sequence[StepRow]) -> Iterator[str]:
    if not steps:
        return
    groups: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for step in steps:
        groups[step.model.split("/")[-1], step.kind, step.layout.label].append(step.predicted / step.measured)
    rows = [
        (*key, len(r), f"{statistics.median(r):.2f}", f"{min(r):.2f} to {max(r):.2f}")
        for key, r in sorted(groups.items())
    ]
    text = (
        "## Single steps\n\nOf vLLM 0.20.1 on B300, predicted over measured. What a collective between data-parallel ranks takes and how many "
        "kernels a recurrent layer launches was read off the decoding steps; prefills of these two models were slower than their kernels: "
        "of a few steps each, by an engine before their kernels were fused."
    )
    yield text + "\n\n" + _grid(rows, ("model", "kind", "layout", "steps", "median", "all"))


def _offline(rows: Sequence[OfflineRow]) -> Iterator[str]:
    """Rates at the largest load, which no row states."""
    if not rows:
        return
    off = [abs(r.predicted / r.measured - 1) for r in rows]
    text = (
        "## Rates at the largest load\n\nMLPerf's offline scenario and vendors' tables: the best rate of all cards over every load and layout that fits "
        f"(tensor parallel, data parallel with shared experts), over what was measured. Of {len(rows)} rows, most of another engine, "
        f"{sum(o <= 0.25 for o in off) / len(off):.0%} are within 25 %; the median is {statistics.median(off):.0%} off."
    )
    cells = [
        (
            r.model.split("/")[-1],
            r.gpu,
            r.engine[:40],
            f"{r.measured:,.0f}",
            f"{r.predicted:,.0f}",
            f"{r.predicted / r.measured:.2f}",
        )
        for r in sorted(rows, key=lambda r: (r.gpu, r.model, r.measured))
    ]
    yield text + "\n\n" + _grid(cells, ("model", "card", "engine", "tokens/s", "ours", "ours / measured"))


def _others(others: _Files) -> Iterator[str]:
    """Another engine on AMD: not vLLM's speed, but the same cards."""
    groups: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for points, _ in others.values():
        for p in points:
            if p.card.vendor == "amd" and not p.suspect:
                groups[p.model.split("/")[-1], p.gpu, f"{p.engine.split()[0]}, {p.precision}"].append(
                    p.predicted() / p.measured
                )
    if groups:
        rows = [
            (*key, len(r), f"{statistics.median(r):.2f}", f"{min(r):.2f} to {max(r):.2f}")
            for key, r in sorted(groups.items())
        ]
        yield "## Another engine on AMD's cards\n\nNot in any score: predicted for vLLM over measured with another engine.\n\n" + _grid(rows, ("model", "card", "engine", "rows", "median", "all"))  # fmt: skip


def _relatives() -> str:
    from benchmarks.kernel_tables import RELATIVES

    rows = [(key, r.of, r.memory, r.compute, r.launch, r.why) for key, r in RELATIVES.items()]
    return _grid(rows, ("card", "relative", "memory ×", "compute ×", "launch ×", "because"))


def _beside(files: _Files) -> Iterator[str]:
    """Ours and aiconfigurator-core's figures for the points that both answer."""
    for name, (points, _) in files.items():
        theirs = kept().get(name, {})
        both = [p for p in points if p.line in theirs and p.tpot and not p.suspect]
        if not both:
            continue
        groups: dict[str, list[Point]] = defaultdict(list)
        for point in both:
            groups[" ".join(point.group)].append(point)
        groups["all of these"] = both
        rows = [
            (
                group,
                len(group_points),
                *_error([p.predicted() / (p.tpot or 1) for p in group_points]),
                *_error([theirs[p.line] / (p.tpot or 1) for p in group_points]),
            )
            for group, group_points in groups.items()
        ]
        headers = ("points", "rows", "ours, median error", "within 25 %", "aiconfigurator-core", "within 25 %")
        yield f"## Beside aiconfigurator-core 0.12.0: {name}\n\n{_THEIRS}\n\n" + _grid(rows, headers)


_THEIRS = """Its steps and prefills in one sum; figures kept in `benchmarks/second_opinions.json`. Our seven constants were fitted on the rows of serving.jsonl and
its figures were not, which flatters ours there; its own rejections (see `--second-opinion`) are not applied."""


def _error(ratios: Sequence[float]) -> tuple[str, str]:
    off = [abs(r - 1) for r in ratios]
    return f"{statistics.median(off):.1%}", f"{sum(o <= 0.25 for o in off) / len(off):.0%}"


def _not_answered(files: _Files) -> Iterator[str]:
    rows = [
        (name, n, reason)
        for name, (points, left) in files.items()
        for reason, n in summary(points, left)["not_answered"].items()
    ]
    yield "## Not answered\n\n" + _grid(rows, ("file", "rows", "because"))


def _grid(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> str:
    return str(tabulate(rows, headers, tablefmt="github", disable_numparse=True))


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("truth", type=Path)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--write", type=Path, required=True)
    options = parser.parse_args()
    options.write.write_text(page(options.truth, options.models), encoding="utf-8")


if __name__ == "__main__":
    main()
