"""aiconfigurator-core's figures for the published measurements, kept as data: they need 800 MB of packages to compute.

    python -m benchmarks.second_opinions TRUTH --models MODELS    # writes second_opinions.json

Only steady-state times of this project's own formula over its steps and prefills; its tables, its errors.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.metadata import inspections
from benchmarks.serving import FILES, Point, read
from whichgpu.plan.second_opinion import Comparison, time_per_token

FILE = Path(__file__).with_name("second_opinions.json")


def kept() -> dict[str, dict[int, float]]:
    """Return, per file of measurements, seconds per token by line."""
    raw = json.loads(FILE.read_text(encoding="utf-8"))["tpot_ms"]
    return {name: {int(line): ms / 1e3 for line, ms in lines.items()} for name, lines in raw.items()}


def record(points: Sequence[Point]) -> tuple[dict[str, float], dict[str, int]]:
    """Ask for every point; return milliseconds by line, and reasons with their counts."""
    tpot_by_line: dict[str, float] = {}
    reasons: dict[str, int] = {}
    for point in points:
        question = Comparison(
            point.inspection,
            point.asked,
            point.card,
            point.layout,
            round(point.load.running),
            point.load.prompt,
            point.load.output,
        )
        tpot_or_reason = time_per_token(question)
        if isinstance(tpot_or_reason, str):
            reasons[tpot_or_reason] = reasons.get(tpot_or_reason, 0) + 1
        else:
            tpot_by_line[str(point.line)] = round(tpot_or_reason, 3)
    return tpot_by_line, reasons


def main() -> None:
    """Write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("truth", type=Path)
    parser.add_argument("--models", type=Path, required=True)
    options = parser.parse_args()
    names, inspect, close = inspections(options.models)
    tpot_by_file: dict[str, dict[str, float]] = {}
    try:
        for file in FILES:
            points, _ = read(options.truth / file, names, inspect)
            tpot_by_file[file], reasons = record(points)
            print(file, len(points), "points,", len(tpot_by_file[file]), "told;", reasons)
    finally:
        close()
    source = f"aiconfigurator-core {version('aiconfigurator-core')}"
    FILE.write_text(json.dumps({"source": source, "tpot_ms": tpot_by_file}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
