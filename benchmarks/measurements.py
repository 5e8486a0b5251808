"""The bundled measurements: figures, versions and sources of published runs, by the shape of their model.

    python -m benchmarks.measurements TRUTH --models MODELS --write assets/whichgpu/assets/measurements.json --date 2026-11-27

Rows of vLLM alone, without those that contradict themselves.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.metadata import inspections
from benchmarks.serving import FILES, Point, read
from whichgpu.plan.measurements import shape_of, weights_key

_COLUMNS = (
    "model", "accelerator", "layout", "weights", "kv_dtype", "concurrency", "prompt_tokens", "output_tokens", "tpot_ms",
    "output_tokens_per_second", "engine", "source",
)  # fmt: skip
_DEFAULTS = {
    "tensor_parallel": 1,
    "pipeline_parallel": 1,
    "data_parallel": 1,
    "expert_parallel": False,
    "context_parallel": 1,
}


_OLD = ("vLLM 0.4", "vLLM 0.5", "vLLM 0.6", "vLLM 2024")
"""Engines of another build, of which nothing follows for one of today."""


def source_of(row: Mapping[str, Any]) -> str:
    """Return where a row was published, in few words: the repository, the host, or the campaign."""
    named = str(row.get("source") or "")
    if "InferenceMAX" in named:
        return "InferenceMAX/X"
    url = str(row.get("url") or named)
    repository = re.search(r"github\.com/([^/]+/[^/#?]+)", url)
    host = re.search(r"https?://([^/]+)", url)
    return repository[1] if repository else host[1] if host else "published, place not kept"


def table(points: Sequence[tuple[Point, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return all rows in columns; models and sources once each."""
    models: dict[str, tuple[int, str]] = {}
    sources: dict[str, int] = {}
    rows: list[list[Any]] = []
    for point, row in points:
        shape = shape_of(point.inspection)
        if shape is None or point.suspect or point.engine.startswith(_OLD):
            continue
        index, _ = models.setdefault(point.model, (len(models), shape))
        layout = point.layout.model_dump(mode="json")
        rows.append(
            [
                index,
                point.card.key,
                {k: v for k, v in layout.items() if v != _DEFAULTS.get(k) or k == "tensor_parallel"},
                weights_key(point.operations),
                point.kv_dtype.value,
                point.load.running,
                point.load.prompt,
                point.load.output,
                round(point.tpot * 1e3, 2) if point.tpot else None,
                round(point.tokens, 1) if point.tokens else None,
                point.engine,
                sources.setdefault(source_of(row), len(sources)),
            ]
        )
    return {"models": [[name, shape] for name, (_, shape) in models.items()], "sources": list(sources), "rows": rows}


def main() -> None:
    """Write the asset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("truth", type=Path)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--write", type=Path, required=True)
    parser.add_argument("--date", required=True, help="of the collection")
    options = parser.parse_args()
    names, inspect, close = inspections(options.models)
    points: list[tuple[Point, Mapping[str, Any]]] = []
    try:
        for name in FILES:
            lines = (options.truth / name).read_text(encoding="utf-8").splitlines()
            points += [(p, json.loads(lines[p.line - 1])) for p in read(options.truth / name, names, inspect)[0]]
    finally:
        close()
    data = table(points)
    head = json.dumps(
        {"date": options.date, "columns": _COLUMNS, "models": data["models"], "sources": data["sources"]}, indent=1
    )
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in data["rows"])
    options.write.write_text(f'{head[:-2]},\n "rows": [\n{rows}\n ]\n}}\n', encoding="utf-8")
    print(len(data["rows"]), "rows of", len(data["models"]), "models")


if __name__ == "__main__":
    main()
