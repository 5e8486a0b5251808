"""Commands in a child that the kernel holds to its time and memory: what runs away is killed, and the test says at which."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

SECONDS, MEBIBYTES = 30, 300
"""Of CPU for all commands of a child, and of memory beside what starting takes."""

_MIB = 2**20
_STARTED = 400
"""MiB that an interpreter with our libraries maps before it reads anything."""

_CHILD = """
import contextlib, io, json, sys
from whichgpu.tui.cli.tree import run
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words)
    print(json.dumps([int(code), out.getvalue(), err.getvalue()]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Ended:
    words: Sequence[str]
    code: int
    out: str
    err: str

    @property
    def is_said(self) -> bool:
        """True where it ended in an answer or a sentence of ours, not in a traceback or a defect."""
        return self.code != 70 and 0 <= self.code < 100 and "Traceback" not in self.err + self.out


def _confine() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, ((_STARTED + MEBIBYTES) * _MIB,) * 2)


def confined(*commands: Sequence[str], given: bytes = b"") -> list[Ended]:
    """Run whichgpu with each of these words, one after the other.

    Raises:
        AssertionError: the kernel ended one of them.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", _CHILD, json.dumps(commands)],
        input=given,
        capture_output=True,
        timeout=4 * SECONDS,
        check=False,
        preexec_fn=_confine,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    ended = [Ended(words, *result) for words, result in zip(commands, results, strict=False)]
    assert len(ended) == len(commands), (done.returncode, commands[len(ended)], done.stderr[-2000:])
    return ended
