"""A command in a child that the kernel holds to its time and memory: what runs away is killed, and the test fails."""

from __future__ import annotations

import resource
import subprocess
import sys
from dataclasses import dataclass

SECONDS, MEBIBYTES = 20, 300
"""Of CPU, and beside what starting takes."""

_MIB = 2**20
_STARTED = 400
"""MiB of address space that an interpreter with our libraries maps before it reads anything."""


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str


def _confine() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, ((_STARTED + MEBIBYTES) * _MIB,) * 2)


def confined(*words: str, given: bytes = b"") -> Ended:
    """Run whichgpu; negative codes are the kernel's."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "whichgpu", *words],
        input=given,
        capture_output=True,
        timeout=6 * SECONDS,
        check=False,
        preexec_fn=_confine,
    )
    return Ended(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def is_said(ended: Ended) -> bool:
    """True where it ended in a sentence of ours, not in a traceback, a defect or the kernel's hand."""
    return ended.code not in (70,) and 0 <= ended.code < 100 and "Traceback" not in ended.err + ended.out
