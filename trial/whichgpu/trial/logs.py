"""vLLM's start-up log, by any version from 0.5: what it says of memory, and how long its stages took.

Where several ranks print the same line, weights are the largest and pools the smallest, since those decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from whichgpu.inspect.records import Record
from whichgpu.inspect.text import clean
from whichgpu.trial.records import Memory

_GIB = 2**30
_ANSI = re.compile(r"\x1b\[[0-9;]*m")

_VERSION = (
    re.compile(r"vLLM API server version v?([0-9][\w.+]*)"),
    re.compile(r"LLM engine \(v([0-9][\w.+]*)\)"),
    re.compile(r"\bversion[:= ]+v?([0-9]+\.[0-9]+\.[0-9][\w.+]*)"),
)
_WEIGHTS = (
    re.compile(r"Model loading took ([\d.]+) ?Gi?B"),
    re.compile(r"Loading model weights took ([\d.]+) ?Gi?B"),
    re.compile(r"model weights take ([\d.]+) ?Gi?B"),
)
_POOL = (
    re.compile(r"Available KV cache memory: ([\d.]+) ?GiB"),
    re.compile(r"memory reserved for KV Cache is ([\d.]+) ?GiB"),
    re.compile(r"Explicitly set \(([\d.]+)/[\d.]+\) GiB for KV cache"),
    re.compile(r"Auto set \(([\d.]+)/[\d.]+\) GiB for KV cache"),
    re.compile(r"\bkv_cache_size=([\d.]+) ?GiB"),
)
_PEAK = (
    re.compile(r"PyTorch activation peak memory takes ([\d.]+) ?GiB"),
    re.compile(r"([\d.]+) GiB for peak activation"),
)
_GRAPHS = (
    re.compile(r"CUDA graph pool memory: ([\d.]+) GiB \(actual\)"),
    re.compile(r"Graph capturing finished in \d+ secs?(?:, took|\. took) ([\d.]+) GiB"),
)
_GRAPH_ESTIMATES = (re.compile(r"Estimated CUDA graph memory: ([\d.]+) GiB"),)
_TOKENS = re.compile(r"KV cache size: ([\d,]+) tokens")
_CONCURRENCY = re.compile(r"Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)x")
_BLOCKS = re.compile(r"# (?!CPU)\w{1,12} blocks: ([\d,]+)")
_ENGINE = re.compile(r"EngineCore_DP(\d{1,5})\b")
_STAGES = (
    (
        "load weights",
        re.compile(r"(?:Loading weights took|Model loading took [\d.]+ ?GiB(?: memory)? and) ([\d.]+) sec"),
    ),
    ("compile", re.compile(r"(?:torch\.compile takes|compilation:|Compiling a graph .*? takes) ([\d.]+) ?s")),
    ("capture graphs", re.compile(r"Graph capturing finished in ([\d.]+) secs?")),
    ("engine", re.compile(r"init engine \(profile, create kv cache, warmup model\) took ([\d.]+) s")),
)
_V0_BLOCK = 16
_MOST_LINE = 4000
"""Characters of a line that are looked at."""


class LoggedStart(Record):
    """What a log says."""

    version: str | None
    memory: Memory
    stages: dict[str, float]
    """Seconds by stage."""
    ready: bool
    """True where the server said that it serves."""

    engines: int = 1
    """Data-parallel engines that said what they hold; figures are of one of them."""
    concurrency_all: float | None = None
    """Of all engines: sequences of the longest length."""

    @property
    def is_of_vllm(self) -> bool:
        """True where anything in it is what vLLM prints."""
        return self.version is not None or self.ready or bool(self.stages) or self.memory != Memory()


def read_log(text: str) -> LoggedStart:
    """Read a log; what it does not say is ``None``."""
    lines = [_ANSI.sub("", line[:_MOST_LINE]) for line in text.splitlines()]
    concurrency = _last(_CONCURRENCY, lines)
    blocks, tokens = _whole(_last(_BLOCKS, lines)), _whole(_last(_TOKENS, lines))
    if tokens is None and blocks is not None:
        tokens = blocks * _V0_BLOCK  # V0 says blocks alone, of 16 tokens unless asked otherwise
    memory = Memory(
        weights_bytes=_gib(_WEIGHTS, lines, max),
        pool_bytes=_gib(_POOL, lines, min),
        activation_bytes=_gib(_PEAK, lines, max),
        graph_bytes=_gib(_GRAPHS, lines, max),
        graph_estimate_bytes=_gib(_GRAPH_ESTIMATES, lines, max),
        tokens=tokens,
        concurrency=_number(concurrency[1]) if concurrency else None,
        blocks=blocks,
        max_model_len=_whole(concurrency),
    )
    per_engine = _concurrency_by_engine(lines)
    return LoggedStart(
        version=_version(lines),
        engines=max(1, len(per_engine)),
        concurrency_all=round(sum(per_engine.values()), 2) if len(per_engine) > 1 else memory.concurrency,
        memory=memory,
        stages={
            name: seconds
            for name, rule in _STAGES
            if (groups := _last(rule, lines)) and (seconds := _number(groups[0])) is not None
        },
        ready=any("Application startup complete" in line or "Uvicorn running on" in line for line in lines),
    )


def _concurrency_by_engine(lines: Iterable[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in lines:
        engine, concurrency = _ENGINE.search(line), _CONCURRENCY.search(line)
        if engine is not None and concurrency is not None and (number := _number(concurrency[2])) is not None:
            found[engine[1]] = number
    return found


def _version(lines: Iterable[str]) -> str | None:
    for line in lines:
        for rule in _VERSION:
            match = rule.search(line)
            if match:
                return clean(match[1].rstrip("."), 40)
    return None


def _gib(rules: Iterable[re.Pattern[str]], lines: list[str], choose: Callable[[list[float]], float]) -> int | None:
    for rule in rules:
        texts = (match[1] for line in lines if (match := rule.search(line)))
        values = [value for text in texts if (value := _number(text)) is not None]
        if values:
            return round(choose(values) * _GIB)
    return None


def _last(rule: re.Pattern[str], lines: list[str]) -> tuple[str, ...] | None:
    matches = [match.groups() for line in lines if (match := rule.search(line))]
    return matches[-1] if matches else None


def _whole(groups: tuple[str, ...] | None) -> int | None:
    number = _number(groups[0].replace(",", "")) if groups else None
    return int(number) if number is not None else None


def _number(text: str) -> float | None:
    """A plausible number; a log may hold anything."""
    try:
        value = float(text) if len(text) < 20 else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e15 else None
