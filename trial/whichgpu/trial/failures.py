"""Why vLLM did not serve: its log's decisive message as a sentence, with its figures and the flag that mends it.

The messages stand in ``causes``, by version; what was going on is worked out in ``stages``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from whichgpu.inspect.text import clean
from whichgpu.trial.causes import CAUSES, Cause
from whichgpu.trial.records import Failure, FailureKind, StartStage
from whichgpu.trial.stages import stage_of

_SHOWN = 6
_MOST_LINE, _MOST_LINES = 4000, 4000
_MOST_FIGURE = 15
"""Digits of a figure that is believed."""

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_PROCESS = re.compile(r"^\((?:[\w-]+ ){0,4}(?:pid=)?\d+(?:, ip=[\d.:a-f]+)?\)\s*")
# before 0.8 "model_runner.py:1115]", since then "[core.py:58]"; journald, Docker and Kubernetes write their own before it
_LOGGED = re.compile(
    r"^.{0,200}?\b(ERROR|CRITICAL|WARNING|INFO|DEBUG)\s+\d\d-\d\d \d\d:[\d:.,]+ \[?[^\]\s]{1,120}\]\s?"
)
_MOST_BEFORE = 360
"""Characters in which a line has said who speaks and how gravely."""
_HARMLESS = ("WARNING", "INFO", "DEBUG")
_NOISE = re.compile(r"Errno 24|See root cause above|Traceback|^\s*File |^\s*\^|DeprecationWarning|FutureWarning")
_ERROR = re.compile(
    r"\b\w*(?:Error|Exception)\b: |Value error, |error: |(?:CUDA|HIP|XPU) out of memory|Killed|Segmentation fault"
)
# V1's engine (0.6.4–0.33), V0's engine process and workers
_END = re.compile(
    r"Engine core initialization failed|EngineCore(?:Proc)? failed to start|EngineCore encountered a fatal error|WorkerProc failed to start"
    r"|Engine process (?:\(pid \d+\) )?(?:died|failed to start)|Engine core proc \S{1,40} died|VllmWorkerProcess pid \d+ died"
)
_UNITS = {"B": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_HELD = re.compile(r"this process has ([\d.]+ \w{1,5}) memory in use")
_NOTABLE = 2**30
"""Bytes: what others hold of a card is said from here on; drivers and displays take less."""

_DOING = {
    StartStage.LOAD: "while the weights were loaded",
    StartStage.PROFILE: "in the profiling pass of the largest step",
    StartStage.CACHE: "while the KV cache was allocated",
    StartStage.GRAPHS: "while CUDA graphs were captured",
    StartStage.WARM_UP: "in the warm-up",
    StartStage.SERVING: "while it served",
}
_ROOM = {
    None: "A smaller --gpu-memory-utilization, --max-num-seqs or --max-num-batched-tokens.",
    StartStage.LOAD: "More cards (--tensor-parallel-size), or a smaller precision.",
    StartStage.PROFILE: "A smaller --max-num-batched-tokens or --max-num-seqs, or more cards.",
    StartStage.CACHE: "A smaller --gpu-memory-utilization; check that nothing else uses the card.",
    StartStage.GRAPHS: "A smaller --gpu-memory-utilization or --max-num-seqs, or --enforce-eager.",
    StartStage.WARM_UP: "A smaller --max-num-seqs or --gpu-memory-utilization.",
    StartStage.SERVING: "A smaller --gpu-memory-utilization, --max-num-seqs or --max-num-batched-tokens.",
}
_BESIDE = " Adapters take memory beside the pool: fewer --max-loras or a smaller --max-lora-rank help too."
_ENCODER = re.compile(r"budget of ([\d,]{1,15}) tokens, and profiled with (\d{1,9}) (\w{1,20}) items")
_ADAPTERS = re.compile(r"enable_lora['\"]?[=:] ?True|--enable-lora|lora_config=(?!None)", re.IGNORECASE)


def explain(log: str, return_code: int | None = None) -> Failure:
    """Say why a start or a run failed, from its log; what is unknown shows the log's decisive lines."""
    lines = _bounded(log)
    excerpt = tuple(clean(line, 300) for line in _decisive(lines))[:_SHOWN]
    text = "\n".join(line for line in lines if "Errno 24" not in line)
    found = _cause_in(text)
    if found is not None:
        return _failure(*found, text, log, excerpt)
    ended = f" with code {return_code}" if return_code is not None else ""
    if return_code in (-9, 137):
        return Failure(kind=FailureKind.KILLED, sentence="vLLM was killed, most likely for its host memory.",
                       hint="Check dmesg; more host memory, or smaller weights.", lines=excerpt)  # fmt: skip
    return Failure(kind=FailureKind.UNKNOWN, sentence=f"vLLM ended{ended} for a reason that is not known here.",
                   hint="The lines below, and the whole log, say more.", lines=excerpt)  # fmt: skip


def shows_an_end(log: str) -> bool:
    """True where a process said that it ends, or an error has nothing after it: a server that refuses one request goes on."""
    if _END.search(log):
        return True
    for raw in reversed(log.splitlines()):
        line = _ANSI.sub("", raw[:_MOST_LINE])
        if _ERROR.search(line) and not _NOISE.search(line):
            return not _is_harmless(line)
        if _is_harmless(line):
            return False
    return False


def _is_harmless(line: str) -> bool:
    level = _LOGGED.search(line, 0, _MOST_BEFORE)
    return level is not None and level[1] in _HARMLESS


def refuses_in_its_own_words(log: str) -> bool:
    """True where the cause is a message that nothing but vLLM prints."""
    found = _cause_in("\n".join(_bounded(log)))
    return found is not None and found[0].is_vllms


def _cause_in(text: str) -> tuple[Cause, re.Match[str]] | None:
    return next(((cause, match) for cause in CAUSES if (match := cause.rule.search(text))), None)


def _failure(cause: Cause, match: re.Match[str], text: str, log: str, excerpt: tuple[str, ...]) -> Failure:
    said = {name: clean(value or "", 80) for name, value in match.groupdict().items()}
    is_short = cause.kind is FailureKind.OUT_OF_MEMORY
    stage = cause.stage or (stage_of(text, match.start(), log.splitlines()) if is_short else None)
    sentence = cause.sentence.format(**said)
    hint = (cause.hint or _ROOM[stage]).format(**said)
    free, total = _gib(said.get("free")), _gib(said.get("total"))
    if cause.hint is None:
        free, total = _bytes(said.get("left")), _bytes(said.get("capacity"))
        sentence += f" It was {_DOING[stage]}." if stage is not None else ""
        others = _held_by_others(text[match.start() : match.start() + 1000], free, total)
        sentence += f" Something else holds {others / 2**30:.1f} GiB of it." if others else ""
        encoder = _ENCODER.search(log) if stage is StartStage.PROFILE else None
        if encoder is not None:
            profiled = f"the encoder was profiled with {encoder[2]} {encoder[3]} items, {encoder[1]} tokens"
            hint = f"A smaller --limit-mm-per-prompt: {profiled}. {hint}"
        hint += _BESIDE if stage is not StartStage.LOAD and _ADAPTERS.search(log) else ""
    return Failure(
        kind=cause.kind,
        sentence=sentence,
        hint=hint,
        lines=excerpt,
        stage=stage,
        asked=_count(said.get("asked")),
        would_do=_count(said.get("would_do")),
        needed_bytes=_gib(said.get("needed")) if cause.hint is not None else _bytes(said.get("size")),
        free_bytes=free,
        total_bytes=total,
    )


def _held_by_others(message: str, free: int | None, total: int | None) -> int | None:
    """Bytes of the card that neither this process has nor are free; ``None`` below what a driver takes."""
    held = _HELD.search(message)
    own = _bytes(held[1]) if held is not None else None
    if own is None or free is None or total is None:
        return None
    others = total - free - own
    return others if others > _NOTABLE else None


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) <= _MOST_FIGURE else None


def _gib(text: str | None) -> int | None:
    return _bytes(f"{text} GiB") if text else None


def _bytes(text: str | None) -> int | None:
    """``594.00 MiB`` in bytes; ``None`` for what is none, since a log may hold anything."""
    number, _, unit = (text or "").partition(" ")
    try:
        value = float(number) if len(number) <= _MOST_FIGURE else None
    except ValueError:
        return None
    return round(value * _UNITS[unit]) if value is not None and unit in _UNITS else None


def _bounded(log: str) -> list[str]:
    lines = list(_messages(log))
    return lines if len(lines) <= 2 * _MOST_LINES else [*lines[:_MOST_LINES], *lines[-_MOST_LINES:]]


def _messages(log: str) -> Iterator[str]:
    """What processes said, without who and when; what they call harmless is left out."""
    for raw in log.splitlines():
        line = _ANSI.sub("", raw[:_MOST_LINE])
        level = _LOGGED.search(line, 0, _MOST_BEFORE)
        if level is None:
            yield _PROCESS.sub("", line).rstrip()
        elif level[1] not in _HARMLESS:
            yield line[level.end() :].rstrip()


def _decisive(lines: list[str]) -> list[str]:
    """The first errors: what comes later follows from them. Without any, the end."""
    errors = [line for line in lines if _ERROR.search(line) and not _NOISE.search(line)]
    return list(dict.fromkeys(errors)) or [line for line in lines if line.strip()][-_SHOWN:]
