"""Figures and tables of the comparison with real starts."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

if TYPE_CHECKING:
    from benchmarks.accuracy import Compared

_MEMORY_FAILURES = ("oom", "kv_too_small")
_WORST_SHOWN = 12


def summary(rows: Sequence[Compared]) -> dict[str, Any]:
    """Return the score of one file.

    Strict: rows that the data itself calls uncertain, and rows that contradict themselves, count in no error (they
    are in ``rows`` with the reason). KV pool figures are of rows whose version, card and share are all stated.
    """
    weights = [abs(r.weights_error) for r in rows if r.weights_error is not None and _sure(r, "gpu_inferred")]
    exact = [r.kv_exact for r in rows if r.kv_exact is not None and _sure(r, "gpu_inferred")]
    pools = [r for r in rows if _pool_scored(r)]
    misses = [abs(r.kv_error) for r in pools if r.kv_error is not None]
    shares = [abs(r.kv_error) / r.kv for r in pools if r.kv_error is not None and r.kv]
    covered = [r for r in pools if _close(r)]
    judged = [r for r in rows if r.verdict and r.doubt is None and r.settings_known]
    failed = [r for r in judged if r.outcome in _MEMORY_FAILURES]
    started = [r for r in judged if r.outcome == "ok"]
    false_fits = [r for r in failed if r.verdict == "fits"]
    false_no = [r for r in started if r.verdict == "no"]
    return {
        "rows_read": len(rows),
        "rows_answered": sum(r.skipped is None for r in rows),
        "not_answered": dict(Counter(r.skipped for r in rows if r.skipped)),
        "left_out": sum(r.skipped is None and r.doubt is not None for r in rows),
        "weights_rows": len(weights),
        "weights_median_pct": _percent(statistics.median(weights)) if weights else None,
        "weights_within_2pct": _percent(sum(e <= 0.02 for e in weights) / len(weights)) if weights else None,
        "kv_bytes_rows": len(exact),
        "kv_bytes_exact_pct": _percent(sum(exact) / len(exact)) if exact else None,
        "kv_pool_rows": len(misses),
        "kv_pool_mae_gib": round(statistics.mean(misses), 3) if misses else None,
        "kv_pool_worst_gib": round(max(misses), 3) if misses else None,
        "kv_pool_median_pct": _percent(statistics.median(shares)) if shares else None,
        "kv_pool_within_10pct": _percent(len(covered) / len(pools)) if pools else None,
        "false_fits": len(false_fits),
        "false_no": len(false_no),
        "false_no_pct": _percent(len(false_no) / len(started)) if started else None,
        "failed_for_memory": len(failed),
        "started": len(started),
    }


def _sure(row: Compared, *allowed: str) -> bool:
    """True when nothing in the row is in doubt but what the figure does not depend on."""
    if row.doubt is None:
        return True
    marks = row.doubt.removeprefix("marked ").split(", ") if row.doubt.startswith("marked ") else [row.doubt]
    return all(mark in allowed for mark in marks)


def _pool_scored(row: Compared) -> bool:
    ran = row.outcome in ("ok", "kv_too_small", "failed", "oom")
    return row.kv_error is not None and (row.kv or 0) > 0 and row.settings_known and row.doubt is None and ran


def _close(row: Compared) -> bool:
    """Within 10 %, or inside the stated interval."""
    assert row.kv is not None
    assert row.kv_error is not None
    assert row.kv_low is not None
    assert row.kv_high is not None
    return abs(row.kv_error) <= 0.1 * row.kv or row.kv_low <= row.kv <= row.kv_high


def _percent(share: float) -> float:
    return round(100 * share, 2)


def text(compared: Mapping[str, Sequence[Compared]]) -> str:
    """Return everything for a terminal."""
    blocks: list[str] = []
    for name, rows in compared.items():
        figures = {k: v for k, v in summary(rows).items() if k != "not_answered"}
        blocks.append(f"== {name}\n" + tabulate(list(figures.items()), tablefmt="plain"))
        blocks.append(table(worst(rows), "plain"))
        blocks.append(breakdowns(rows, "plain"))
        blocks.append(tabulate(reasons(rows), ("rows", "not answered because"), tablefmt="plain"))
    return "\n\n".join(blocks)


def reasons(rows: Iterable[Compared]) -> list[tuple[int, str]]:
    return [(n, r) for r, n in Counter(r.skipped for r in rows if r.skipped).most_common()]


def worst(rows: Sequence[Compared]) -> list[Compared]:
    scored = [r for r in rows if r.kv_error is not None and _pool_scored(r)]
    return sorted(scored, key=lambda r: -abs(r.kv_error or 0))[:_WORST_SHOWN]


def _row(row: Compared) -> tuple[str, ...]:
    def gib(value: float | None) -> str:
        return f"{value:.2f}" if value is not None else "–"

    interval = f"{gib(row.kv_low)} to {gib(row.kv_high)}"
    error = f"{row.kv_error:+.2f}" if row.kv_error is not None else "–"
    return (
        row.model,
        row.gpu,
        row.version.split(" ")[0],
        row.layout,
        f"{gib(row.weights)} / {gib(row.predicted_weights)}",
        f"{gib(row.kv)} / {gib(row.predicted_kv)}",
        error,
        interval,
    )


def table(rows: Sequence[Compared], style: str) -> str:
    headers = ("model", "card", "vLLM", "layout", "weights", "KV pool", "error", "interval")
    return str(tabulate([_row(r) for r in rows], headers, tablefmt=style, disable_numparse=True))


def breakdowns(rows: Sequence[Compared], style: str) -> str:
    """Return the error by family, card, version and layout."""
    scored = [r for r in rows if _pool_scored(r)]
    keys: dict[str, Callable[[Compared], str]] = {
        "family": lambda r: r.family,
        "card": lambda r: r.gpu,
        "vLLM": lambda r: ".".join(r.version.lstrip("~").split(".")[:2]),
        "layout": lambda r: r.layout,
    }
    lines: list[tuple[str, str, int, str, str]] = []
    for title, key in keys.items():
        groups: dict[str, list[Compared]] = defaultdict(list)
        for row in scored:
            groups[key(row)].append(row)
        for name, members in sorted(groups.items(), key=lambda kv: -len(kv[1])):
            errors = [r.kv_error or 0 for r in members]
            mean = statistics.mean(map(abs, errors))
            lines.append((title, name, len(members), f"{mean:.2f}", f"{max(errors, key=abs):+.2f}"))
    headers = ("by", "", "rows", "mean error GiB", "worst")
    return str(tabulate(lines, headers, tablefmt=style, disable_numparse=True))
