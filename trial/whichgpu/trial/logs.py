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
_N = r"(-?[\d.]+)"
"""A figure: a pool that is short is negative."""

_VERSION = (
    # 0.5–0.33; later "version" stands alone, or beside the logo
    re.compile(r"vLLM (?:API server|batch processing API|server) version v?([0-9][\w.+]*)"),
    re.compile(r"LLM engine \(v([0-9][\w.+]*)\)"),
    re.compile(r"(?:\]|[\u2580-\u259f])\s+version v?([0-9]+\.[0-9]+\.[0-9][\w.+]*)"),
)
_WEIGHTS = (
    re.compile(rf"Model loading took {_N} ?Gi?B"),  # V1, 0.8–0.33; "GB" in 0.8.0, GiB all the same
    re.compile(rf"Loading model weights took {_N} ?Gi?B"),  # V0, 0.5–0.9
    re.compile(rf"model weights take {_N} ?Gi?B"),  # V0, 0.6.6–0.10
    re.compile(rf"weights memory: {_N} ?GiB"),  # V1 when it profiles, 0.9–0.33
    re.compile(rf"Actual usage is {_N} GiB for weight,"),  # 0.10.2–0.26
)
_POOL = (
    re.compile(rf"Available KV cache memory: {_N} ?GiB"),  # 0.9.1–0.33
    re.compile(rf"memory reserved for KV Cache is {_N} ?GiB"),  # V0, 0.6.6–0.10
    re.compile(rf"Explicitly set \({_N}/[\d.]+\) GiB for KV cache"),  # CPU, 0.20–0.33
    re.compile(rf"Auto set \({_N}/[\d.]+\) GiB for KV cache"),
    re.compile(rf"\bkv_cache_size={_N} ?GiB"),  # V0, 0.6.4
    re.compile(rf"reserved {_N} ?GiB memory for KV Cache as specified"),  # --kv-cache-memory-bytes, 0.10.2–0.33
    re.compile(rf"kv cache memory in use is {_N} GiB"),  # 0.11–0.33
    re.compile(rf"larger than the available KV cache memory \({_N} ?Gi?B\)"),  # 0.7–0.9.0 say it in the refusal alone
)
_PEAK = (
    re.compile(rf"PyTorch activation peak memory takes {_N} ?GiB"),  # V0, 0.6.6–0.10
    re.compile(rf"{_N} GiB for peak activation"),  # 0.10.2–0.33
    re.compile(rf"torch peak memory increase: {_N} ?GiB"),  # 0.9.1–0.33
)
_PEAK_WITH_WEIGHTS = (re.compile(rf"\bpeak_torch_memory={_N} ?GiB"),)  # 0.6.4
_BESIDE_TORCH = (
    re.compile(rf"non_torch_memory(?: takes |=){_N} ?GiB"),  # V0
    re.compile(rf"{_N} GiB for non-torch memory"),  # 0.10.2–0.26
    re.compile(rf"non-torch forward increase memory: {_N} ?GiB"),  # 0.9.1–0.26
)
_TOTAL = (
    re.compile(rf"total_gpu_memory(?: \(|=){_N} ?GiB"),  # V0
    re.compile(rf"Free memory on device (?:\S{{1,40}} )?\([\d.]+/{_N} GiB\)"),  # 0.9.1–0.33
)
_SHARE = (
    re.compile(r"gpu_memory_utilization['\"]?(?: \(|=|: )(0?\.\d+|1\.0+)"),  # V0
    re.compile(r"GPU memory utilization (?:is )?\((0?\.\d+|1\.0+),"),  # 0.9.1–0.33
)
_GRAPHS = (
    re.compile(rf"CUDA graph pool memory: {_N} GiB \(actual\)"),  # 0.18–0.33
    re.compile(rf"Graph capturing finished in \d+ secs?(?:, took|\. took) {_N} GiB"),  # 0.6.4–0.33
    re.compile(rf"{_N} GiB for CUDAGraph memory"),  # 0.10.2–0.33
)
_GRAPH_ESTIMATES = (re.compile(rf"Estimated CUDA graph memory: {_N} GiB"),)  # 0.18–0.33
_TOKENS = (
    re.compile(r"KV cache size: ([\d,]+) tokens"),  # 0.8–0.33; "GPU", from 0.30 the device's name, "GPU + host"
    re.compile(r"tokens that can be stored in KV cache \((\d+)\)"),  # V0's refusal
)
_CONCURRENCY = re.compile(r"Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)x")
_LONGEST = re.compile(r"(?:\bmax_seq_len=|Auto-fit max_model_len: reduced from \d+ to |models?'s max seq len \()(\d+)")
# 0.5–0.6 "GPU", 0.7–0.10 the device ("CUDA", "cuda", "rocm"); V1 of 0.6.4–0.7 without the CPU's
_BLOCKS = re.compile(r"# (?!CPU)\w{1,12} blocks: ([\d,]+)")
_ENCODER = re.compile(r"Encoder cache will be initialized with a budget of ([\d,]+) tokens")  # 0.7–0.33
_BLOCK_SIZE = re.compile(r"\bblock_size['\"]?(?:=|: )(\d{1,5})\b")
"""Where it was asked for: among the arguments."""
# 0.9–0.10.1 "EngineCore_0", since then "EngineCore_DP0"; under Ray "DPEngineCoreActor_DP0"
_ENGINE = re.compile(r"EngineCore(?:Actor)?_(?:DP)?(\d{1,5})\b")
_STAGES = (
    (
        "load weights",
        re.compile(r"(?:Loading weights took|Model loading took [\d.]+ ?GiB(?: memory)? and) ([\d.]+) sec"),
    ),
    ("compile", re.compile(r"(?:torch\.compile takes|compilation:|Compiling a graph .*? takes) ([\d.]+) ?s")),
    ("capture graphs", re.compile(r"Graph capturing finished in ([\d.]+) secs?")),
    ("engine", re.compile(r"init engine \(profile, create kv cache, warmup model\) took ([\d.]+) s")),
)
_LOGGED = re.compile(r"\b(?:ERROR|CRITICAL|WARNING|INFO|DEBUG)\s+\d\d-\d\d \d\d:[\d:.,]+ \[?[\w./-]{1,100}\.py:\d+\]")
"""A line of vLLM's logger, in any version."""
_PROGRAM = re.compile(r"\bvllm(?: \w{1,20})?: error: |\busage: vllm\b|[/\\]vllm[/\\][\w/\\]{1,200}\.py\"")
"""Its command line, or its modules in a traceback."""
_TELLING = re.compile(
    r"Gi?B|KV cache size|Encoder cache|stored in KV cache|max_seq_len|max seq len|Auto-fit|Maximum concurrency|blocks: |block_size|memory.utilization"
    r"|version|LLM engine|\bsecs?\b|\btook |\btakes |compil|startup complete|Uvicorn"
)
"""A word that each line with a figure has: what a server prints while it serves is most of a long log."""
_V0_BLOCK = 16
_MOST_BEFORE = 360
"""Characters in which a line of the logger has begun."""
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
    tokens_all: int | None = None
    """Of all engines' caches."""
    encoder_tokens: int | None = None
    """Of its cache for images and videos."""
    is_of_vllm: bool = False
    """True where anything in it is what vLLM alone prints: a figure, a version, or a line of its logger."""


def read_log(text: str) -> LoggedStart:
    """Read a log; what it does not say is ``None``."""
    every = text.splitlines()
    lines = [_ANSI.sub("", line[:_MOST_LINE]) for line in every if _TELLING.search(line, 0, _MOST_LINE)]
    memory = _memory(lines)
    engines = _by_engine(_CONCURRENCY, 2, lines)
    tokens = _by_engine(_TOKENS[0], 1, lines)
    version = _version(lines)
    stages = {
        name: seconds
        for name, rule in _STAGES
        if (groups := _last(rule, lines)) and (seconds := _number(groups[0])) is not None
    }
    return LoggedStart(
        version=version,
        engines=max(1, len(engines)),
        concurrency_all=round(sum(engines.values()), 2) if len(engines) > 1 else memory.concurrency,
        tokens_all=int(sum(tokens.values())) if len(tokens) > 1 else memory.tokens,
        memory=memory,
        encoder_tokens=_whole(_last(_ENCODER, lines)),
        stages=stages,
        ready=any("Application startup complete" in line or "Uvicorn running on" in line for line in lines),
        is_of_vllm=version is not None
        or bool(stages)
        or memory != Memory()
        or any(_LOGGED.search(line, 0, _MOST_BEFORE) or _PROGRAM.search(line, 0, _MOST_LINE) for line in every),
    )


def _memory(lines: list[str]) -> Memory:
    """What one engine says, of several the one with the least room."""
    concurrency, longest = _last(_CONCURRENCY, lines), _last(_LONGEST, lines)
    engines = _by_engine(_CONCURRENCY, 2, lines)
    blocks = _least((_BLOCKS,), lines)
    tokens, block_size = _least(_TOKENS, lines), _least((_BLOCK_SIZE,), lines)
    if tokens is None and blocks is not None:
        tokens = blocks * (block_size or _V0_BLOCK)  # V0 says blocks alone, of 16 tokens unless asked otherwise
    weights, activations = _gib(_WEIGHTS, lines, max), _gib(_PEAK, lines, max)
    peak = _gib(_PEAK_WITH_WEIGHTS, lines, max)
    if activations is None and peak is not None and weights is not None:
        activations = peak - weights
    share = next((groups for rule in _SHARE if (groups := _last(rule, lines))), None)
    return Memory(
        weights_bytes=weights,
        pool_bytes=_gib(_POOL, lines, min),
        activation_bytes=activations,
        beside_torch_bytes=_gib(_BESIDE_TORCH, lines, max),
        graph_bytes=_gib(_GRAPHS, lines, max),
        graph_estimate_bytes=_gib(_GRAPH_ESTIMATES, lines, max),
        total_bytes=_gib(_TOTAL, lines, min),
        utilisation=_number(share[0]) if share else None,
        tokens=tokens,
        concurrency=min(engines.values()) if engines else _number(concurrency[1]) if concurrency else None,
        blocks=blocks,
        block_size=block_size,
        max_model_len=_whole(concurrency or longest),
    )


def _by_engine(rule: re.Pattern[str], group: int, lines: Iterable[str]) -> dict[str, float]:
    """The last figure of each data-parallel engine that names itself."""
    found: dict[str, float] = {}
    for line in lines:
        match = rule.search(line)
        engine = _ENGINE.search(line) if match is not None else None
        if match is not None and engine is not None and (number := _number(match[group].replace(",", ""))) is not None:
            found[engine[1]] = number
    return found


def _least(rules: Iterable[re.Pattern[str]], lines: list[str]) -> int | None:
    """The smallest whole figure of the first rule that matches: V1 before 0.9 has one for each rank."""
    for rule in rules:
        values = [
            value for line in lines if (match := rule.search(line)) and (value := _whole(match.groups())) is not None
        ]
        if values:
            return min(values)
    return None


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


def _whole(groups: tuple[str | None, ...] | None) -> int | None:
    number = _number(groups[0].replace(",", "")) if groups and groups[0] else None
    return int(number) if number is not None else None


def _number(text: str) -> float | None:
    """A plausible number; a log may hold anything."""
    try:
        value = float(text) if len(text) < 20 else None
    except ValueError:
        return None
    return value if value is not None and -1e15 < value < 1e15 else None
