"""A log that somebody has: in any encoding, of several starts, cut off, or no log of vLLM at all."""

from __future__ import annotations

import re
from dataclasses import dataclass

from whichgpu.inspect.errors import UnreadableError
from whichgpu.inspect.text import clean
from whichgpu.trial.failures import explain, refuses_in_its_own_words, shows_an_end
from whichgpu.trial.logs import LoggedStart, read_log
from whichgpu.trial.records import Failure, FailureKind, Memory

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
}
_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""How UTF-16 begins in either order."""
_BEGINNING = re.compile(r"vLLM API server version|LLM engine \(v\d|(?:\]|[\u2580-\u259f])\s+version v?\d")
# V1's engine, V0's engine process, and a server that was told to stop
_ENDING = re.compile(
    r"Engine core initialization failed|EngineCore(?:Proc)? failed to start|EngineCore encountered a fatal error"
    r"|Engine process (?:\(pid \d+\) )?(?:died|failed to start)|Application shutdown complete|Finished server process"
)
_MOST_STARTS = 200


@dataclass(frozen=True, slots=True)
class Pasted:
    """What a log says of its last start that says anything."""

    start: LoggedStart
    failure: Failure | None
    """``None`` where the log shows no end."""
    starts: int
    """Starts in the log."""


def read_pasted(data: bytes, name: str) -> Pasted:
    """Read a log that a person gives.

    Args:
        data: The file, or its two ends.
        name: What it is called in a sentence.

    Raises:
        UnreadableError: it is empty, compressed, or nothing in it is what vLLM prints.
    """
    packing = next((kind for magic, kind in _PACKED.items() if data.startswith(magic)), None)
    if packing is not None:
        raise UnreadableError(
            f"{clean(name)} is compressed ({packing}).", "Unpack it first, or pipe what is in it into read-log -."
        )
    text = decoded(data)
    if not text.strip():
        raise UnreadableError(
            f"{clean(name)} holds nothing that vLLM prints: it is empty.",
            "Give the log of vllm serve, from its first line on.",
        )
    starts = starts_in(text)
    for part in reversed(starts):
        start, failure = read_log(part), _failure_in(part)
        if failure is not None or start.ready or start.memory != Memory(max_model_len=start.memory.max_model_len):
            break
    else:
        start, failure = read_log(text), None
    if not start.is_of_vllm and not (failure is not None and refuses_in_its_own_words(text)):
        raise UnreadableError(
            f"{clean(name)} holds nothing that vLLM prints, so it is no vLLM log.",
            "Give the log of vllm serve, from its first line on.",
        )
    return Pasted(start, failure if not start.ready or _says_why(failure) else None, len(starts))


def decoded(data: bytes) -> str:
    """Return the text of a log in UTF-8, or in what PowerShell and editors write (UTF-16, UTF-32).

    Zero bytes are dropped rather than paired: the middle of a long log may have been cut out at any byte.
    """
    if data.startswith(_MARKS) or data.count(0) > len(data) // 4:
        data = data.translate(None, b"\0")
        data = data[2:] if data.startswith(_MARKS) else data
    return data.decode("utf-8-sig", errors="replace")


def starts_in(text: str) -> list[str]:
    """Return what each start said: a container that restarts writes one log."""
    edges, position = [0], 0
    while (end := _ENDING.search(text, position)) is not None:
        beginning = _BEGINNING.search(text, end.end())
        if beginning is None:
            break
        # the line's own start: who speaks, and when, stands before the words
        edges.append(max(text.rfind("\n", 0, beginning.start()) + 1, end.end()))
        position = beginning.end()
    edges = [0, *edges[1:][-_MOST_STARTS:]]
    return [text[edge:following] for edge, following in zip(edges, [*edges[1:], len(text)], strict=True)]


def _failure_in(text: str) -> Failure | None:
    """Why it ended; ``None`` where no cause is known and nothing in it is an error."""
    failure = explain(text)
    return failure if _says_why(failure) or shows_an_end(text) else None


def _says_why(failure: Failure | None) -> bool:
    return failure is not None and failure.kind is not FailureKind.UNKNOWN
