"""Trials in tests: where a real vLLM is, the words of a small trial, and what one leaves behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from whichgpu.trial import supervisor
from whichgpu.trial.process import state_of

VLLM = os.environ.get("WHICHGPU_VLLM_PYTHON")
"""A real vLLM's python."""
needs_vllm = pytest.mark.skipif(VLLM is None, reason="set WHICHGPU_VLLM_PYTHON to a vLLM's python (CONTRIBUTING.md)")


def words_of(tiny: str, at: str, tmp_path: Path, *more: str) -> tuple[str, ...]:
    common = ("trial", "-m", tiny, "--cpu", "--vllm-at", at, "--folder", str(tmp_path / "runs"))
    return (*common, "--context", "1024", "--input", "64", "--output", "16", *more)


def left_over(tmp_path: Path) -> list[int]:
    """Processes of any run that are still there."""
    found = []
    for run in (tmp_path / "runs").iterdir() if (tmp_path / "runs").exists() else []:
        group = state_of(run).get("group")
        if isinstance(group, int) and supervisor.is_there(group):
            found.append(group)
    return found


def gone(tmp_path: Path) -> bool:
    """Wait until no process of any run is left."""
    for _ in range(800):
        if not left_over(tmp_path):
            return True
        time.sleep(0.05)
    return False
