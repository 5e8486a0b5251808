"""What is started on a card, most valuable first: each set fits about nine minutes of one Hopper card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODELS = Path(__file__).parent / "models"
"""Configs as published, less ``auto_map``; of a model no other file is needed, as its weights are dummies."""

CAPTURED = (1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64)
FAST = json.dumps(
    {"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY", "cudagraph_capture_sizes": list(CAPTURED)}, separators=(",", ":")
)
"""Without torch.compile, and with graphs for the batches that are measured: compiling dominates a start."""

LOADS = "1,16,64,16@7168:1024"
"""1, 16 and 64 at once, 1,024 in and 256 out; one point that is mostly prefill."""


@dataclass(frozen=True, slots=True)
class Start:
    """One start of vLLM, and the loads put on it."""

    model: str
    """Its repository, by which rows name it."""
    words: tuple[str, ...] = ()
    """Options of ``whichgpu trial``: the prediction knows them."""
    vllm_words: tuple[str, ...] = ()
    """Arguments for vLLM that the prediction knows nothing of; rows that have any are left out of strict scores."""
    fast: bool = True
    """True where it starts with ``FAST``; else at vLLM's defaults."""
    context: int = 8192
    loads: str = LOADS
    seconds: float = 150.0
    """Most that it may take, vLLM's start and end included."""

    @property
    def all_vllm_words(self) -> tuple[str, ...]:
        """What vLLM gets beside the plan's own words."""
        return (*self.vllm_words, *(("--compilation-config", FAST) if self.fast else ()))

    @property
    def how(self) -> str:
        """How it started, for a row."""
        return " ".join(self.all_vllm_words) or "defaults"


SETS: dict[str, tuple[Start, ...]] = {
    "A": (
        Start("Qwen/Qwen3-8B", fast=False, seconds=210),
        Start("openai/gpt-oss-20b", fast=False, seconds=200),
        Start("Qwen/Qwen3-8B-FP8"),
    ),
    "B": (
        Start("Qwen/Qwen3-32B-FP8", fast=False, seconds=210),
        Start("Qwen/Qwen3-30B-A3B", seconds=170),
        Start("google/gemma-3-12b-it", words=("--text-only",)),
    ),
    "C": (
        Start("Qwen/Qwen2.5-VL-7B-Instruct", seconds=140),
        Start("deepseek-ai/DeepSeek-V2-Lite", seconds=130),
        Start("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", seconds=150),
        Start("mistralai/Mamba-Codestral-7B-v0.1", seconds=110),
    ),
    "D": (
        Start("Qwen/Qwen3-8B", context=40_960, loads="1,4@38912:1024", seconds=130),
        Start("Qwen/Qwen3-8B", words=("--kv-dtype", "fp8"), seconds=130),
        Start("Qwen/Qwen3.5-9B", words=("--speculative", "1", "--text-only"), seconds=140),
        Start("Qwen/Qwen3-8B", vllm_words=("--enable-lora", "--max-lora-rank", "16"), seconds=120),
    ),
    "tiny": (Start("tiny/dense", fast=False, context=1024, loads="2,2@256:32", seconds=400),),
}
"""``tiny`` is the rehearsal's, on vLLM's CPU build."""


def config_of(model: str) -> dict[str, Any]:
    """Return a model's config."""
    if model.startswith("tiny/"):
        from tests.tiny_models import CONFIGS

        return dict(CONFIGS[model.removeprefix("tiny/")])
    config: dict[str, Any] = json.loads((MODELS / f"{model.replace('/', '__')}.json").read_text(encoding="utf-8"))
    return config
