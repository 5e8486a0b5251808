"""Load by vLLM's own ``vllm bench serve``: its words, and its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whichgpu.inspect.bounded import json_of
from whichgpu.trial.errors import TrialError
from whichgpu.trial.records import LoadPoint, Percentiles
from whichgpu.trial.sampling import Sampler


def bench_words(
    url: str, model: str, tokenizer: str, concurrency: int, prompt: int, output: int, prompts: int, result: Path
) -> list[str]:
    """Return the arguments after ``vllm``."""
    return [
        "bench", "serve", "--backend", "openai", "--endpoint", "/v1/completions", "--base-url", url,
        "--model", model, "--tokenizer", tokenizer, "--dataset-name", "random",
        "--random-input-len", str(prompt), "--random-output-len", str(output), "--num-prompts", str(prompts),
        "--max-concurrency", str(concurrency), "--ignore-eos", "--temperature", "0", "--num-warmups", str(min(concurrency, 4)),
        "--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,90,99", "--disable-tqdm",
        "--save-result", "--result-dir", str(result.parent), "--result-filename", result.name,
    ]  # fmt: skip


def read_result(text: str, concurrency: int, prompt: int, output: int, sampler: Sampler | None) -> LoadPoint:
    """Read a result file; failed requests only warn in vLLM, so they are counted here.

    Raises:
        TrialError: it is no result.
    """
    try:
        raw: Mapping[str, Any] = json_of(text)
        rate, completed = float(raw["output_throughput"]), int(raw["completed"])
        seconds = float(raw["duration"])
        power = sampler.power() if sampler is not None else None
        joules = power.joules if power is not None else None
        return LoadPoint(
            concurrency=concurrency,
            input_tokens=prompt,
            output_tokens=output,
            completed=completed,
            failed=int(raw.get("failed") or 0),
            seconds=seconds,
            output_tokens_per_second=rate,
            total_tokens_per_second=float(raw["total_token_throughput"]),
            ttft_ms=_percentiles(raw, "ttft"),
            tpot_ms=_percentiles(raw, "tpot"),
            itl_ms=_percentiles(raw, "itl"),
            e2e_ms=_percentiles(raw, "e2el"),
            cache_used=sampler.cache_used if sampler is not None else None,
            waiting=sampler.waiting if sampler is not None else None,
            preemptions=sampler.preemptions if sampler is not None else None,
            power=power,
            output_tokens_per_joule=float(raw["total_output_tokens"]) / joules if joules else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise TrialError("vLLM's benchmark left no result that can be read.", "Its output is in the log.") from error


def _percentiles(raw: Mapping[str, Any], name: str) -> Percentiles:
    def value(kind: str) -> float | None:
        milliseconds = raw.get(f"{kind}_{name}_ms")
        if not int(raw["completed"]):
            return None  # vLLM writes zeros
        return float(milliseconds) if isinstance(milliseconds, int | float) else None

    return Percentiles(mean=value("mean"), p50=value("p50"), p90=value("p90"), p99=value("p99"))
