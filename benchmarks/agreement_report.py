"""The tables of docs/accuracy.md."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.agreement import Row


def summary(rows: list[Row]) -> str:
    """Return the headline figures as text."""
    agree = sum(r.class_agrees for r in rows)
    scored = [r for r in rows if r.parameter_error is not None]
    close = sum(abs(r.parameter_error or 0) <= 0.005 for r in scored)
    sized = [r for r in rows if r.true_bytes and r.bytes]
    same = sum(abs((r.bytes or 0) - (r.true_bytes or 1)) <= 0.005 * (r.true_bytes or 1) for r in sized)
    return "\n".join(
        [
            f"classes: {agree}/{len(rows)} ({agree / len(rows):.1%})",
            f"parameters within 0.5 %: {close}/{len(scored)} ({close / max(1, len(scored)):.1%})",
            f"bytes within 0.5 %: {same}/{len(sized)} ({same / max(1, len(sized)):.1%})",
            f"answered: {sum(r.code in (0, 1) for r in rows)}/{len(rows)}",
            "grades: " + ", ".join(f"{k} {v}" for k, v in Counter(r.grade for r in rows).most_common()),
        ]
    )


def markdown(rows: list[Row]) -> str:
    return summary(rows)
