"""How far a start had come when it failed: from the functions in the traceback, else from what the log had said by then.

Functions of vLLM 0.6 to 0.33 (worker, gpu_worker, model_runner, gpu_model_runner), whose names hardly changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from whichgpu.trial.records import StartStage

_FRAMES = (
    # in this order: a capture is called by what allocates the cache (V0), and a profile calls what serves
    (StartStage.WARM_UP, re.compile(r", in _dummy_(?:sampler|pooler)_run\b")),
    (StartStage.GRAPHS, re.compile(r", in capture_model\b")),
    (StartStage.LOAD, re.compile(r", in (?:load_model|load_weights|create_weights|initialize_model)\b")),
    (StartStage.PROFILE, re.compile(r", in (?:profile_run|determine_available_memory|determine_num_available_blocks)\b")),
    (StartStage.GRAPHS, re.compile(r", in (?:compile_or_warm_up_model|capture_graphs?)\b")),
    (StartStage.CACHE, re.compile(r", in (?:initialize_from_config|initialize_kv_cache\w*|initialize_cache|_?allocate_kv_cache\w*)\b")),
    (StartStage.SERVING, re.compile(r", in execute_model\b")),
)  # fmt: skip

_MILESTONES = (
    # what a log says when the stage that is named has begun
    (StartStage.LOAD, re.compile(r"LLM engine \(v|Starting to load model|Loading model weights\b(?! took)|Loading \w+ checkpoint shards")),
    (StartStage.PROFILE, re.compile(r"Model loading took|Loading model weights took")),
    (StartStage.GRAPHS, re.compile(r"KV cache size: [\d,]+ tokens|# (?!CPU)\w{1,12} blocks: \d|Available KV cache memory: \d|memory reserved for KV Cache is \d")),
    (StartStage.WARM_UP, re.compile(r"Graph capturing finished")),
    (StartStage.SERVING, re.compile(r"Application startup complete|Uvicorn running on|init engine \(profile, create kv cache")),
)  # fmt: skip
_EAGER = re.compile(r"enforce_eager['\"]?[=:] ?True|--enforce-eager")
_FAULT = re.compile(r"out of memory|OutOfMemoryError|not enough GPU memory|ALLOC_FAILED", re.IGNORECASE)
_TRACEBACK = "Traceback (most recent call last)"
_MOST_TRACEBACK = 40_000


def stage_of(text: str, at: int, lines: Iterable[str]) -> StartStage | None:
    """Return what was going on.

    Args:
        text: What processes said, without harmless lines.
        at: Where in it the message stands that says what failed.
        lines: The whole log.

    Returns:
        ``None`` where the log does not tell.
    """
    start = text.rfind(_TRACEBACK, max(0, at - _MOST_TRACEBACK), at)
    frames = text[start:at] if start >= 0 else ""
    for stage, rule in _FRAMES:
        if rule.search(frames):
            return stage
    return _by_milestones(lines)


def _by_milestones(lines: Iterable[str]) -> StartStage | None:
    reached: StartStage | None = None
    is_eager = False
    order = [stage for stage, _ in _MILESTONES]
    for line in lines:
        is_eager = is_eager or _EAGER.search(line) is not None
        if _FAULT.search(line) and " INFO " not in f" {line}":
            break
        for stage, rule in _MILESTONES:
            if rule.search(line) and (reached is None or order.index(stage) > order.index(reached)):
                reached = stage
    return StartStage.WARM_UP if reached is StartStage.GRAPHS and is_eager else reached
