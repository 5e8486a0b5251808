"""A workload as options of the command line: what the app shows, and what goes to another machine, gives the same record."""

from __future__ import annotations

from whichgpu.plan.choices import KvDtype, Objective, Precision
from whichgpu.plan.records import Workload
from whichgpu.tui.facts import Own

_VALUES = (
    ("--context", "context", None),
    ("--concurrency", "concurrency", None),
    ("--input", "prompt", None),
    ("--output", "output", None),
    ("--rate", "rate", None),
    ("--objective", "objective", Objective.COST),
    ("--max-tpot", "max_tpot_ms", None),
    ("--max-ttft", "max_ttft_ms", None),
    ("--max-price", "max_usd_per_hour", None),
    ("--cards", "cards", None),
    ("--precision", "precision", Precision.PUBLISHED),
    ("--kv-dtype", "kv_dtype", KvDtype.AUTO),
    ("--busy", "busy", 1.0),
    ("--vllm", "vllm", None),
    ("--max-num-seqs", "max_sequences", None),
    ("--max-num-batched-tokens", "batched_tokens", None),
    ("--speculative", "speculative_tokens", 0),
)
"""(option, field, what is left out)."""
_FLAGS = (("--enforce-eager", "eager"), ("--text-only", "text_only"))


def workload_words(workload: Workload) -> list[str]:
    """Return the options that ask for a workload; accelerators are asked for apart."""
    words: list[str] = []
    for option, field, usual in _VALUES:
        value = getattr(workload, field)
        if value is not None and value != usual:
            words += [option, f"{value:.12g}" if isinstance(value, float) else str(value)]
    if workload.utilisation_asked and workload.utilisation is not None:
        words += ["--gpu-memory-utilization", f"{workload.utilisation:.12g}"]
    words += ["--spot"] if workload.price_kind == "spot" else []
    return words + [option for option, field in _FLAGS if getattr(workload, field)]


def own_words(own: Own) -> list[str]:
    """Return the options that ask with the user's cards and prices."""
    words: list[str] = []
    for option, values in (
        ("--gpu", own.accelerators),
        ("--exclude", own.excluded),
        ("--price", own.prices),
        ("--provider", own.providers),
    ):
        for value in values:
            words += [option, value]
    words += ["--price-file", str(own.price_file)] if own.price_file is not None else []
    words += ["--gpu-file", str(own.card_file)] if own.card_file is not None else []
    return words + ([] if own.calibrated else ["--no-calibration"])
