"""The part of ``docs/accuracy.md`` that is about our own runs on real cards: speed and power, load by load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

TRUTH = Path(__file__).resolve().parent / "truth"
_HEADERS = (
    "model",
    "card",
    "vLLM",
    "start",
    "at once",
    "in/out",
    "ms a token",
    "ms to the first",
    "tokens/s",
    "W",
    "tok/J",
)


def own_runs(truth: Path = TRUTH) -> list[str]:
    """Return the section, empty where nothing was run: what was measured / what had been predicted before it ran."""
    path = truth / "serving.jsonl"
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    table = tabulate([_row(r) for r in rows], _HEADERS, tablefmt="github", disable_numparse=True)
    return [
        "## ours: speed and power\n\nMeasured / predicted before the run; medians; power from the card's own sensor.",
        table,
    ]


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    start = "defaults" if row["start"] == "defaults" else "without torch.compile"
    return (
        row["model"],
        f"{row['card'] or row['gpu']}",
        str(row["vllm"]),
        start,
        str(row["concurrency"]),
        f"{row['input_len']:,} / {row['output_len']:,}",
        _pair(row["tpot_ms"], row["predicted_tpot_ms"]),
        _pair(row["ttft_ms"], row["predicted_ttft_ms"]),
        f"{row['output_tok_s']:,.0f}",
        f"{row['watts']:,.0f}" if row["watts"] is not None else "–",
        f"{row['output_tokens_per_joule']:.2f}" if row["output_tokens_per_joule"] is not None else "–",
    )


def _pair(measured: float | None, predicted: float | None) -> str:
    return " / ".join(f"{value:,.1f}" if value is not None else "–" for value in (measured, predicted))
