"""The small process between us and vLLM: it owns vLLM's process group, and stops it when we end, however we end.

    python -I supervisor.py FOLDER

It is started with a pipe as its stdin that only we hold open. What to run comes through it and is never in a file: the
environment may hold a token, and nobody tidies up after a SIGKILL. When the pipe closes (we were killed, the SSH line
dropped), vLLM is stopped. vLLM ignores SIGTERM while it starts, and orphans its engine when its parent alone is killed; what works is
SIGINT to the parent, then SIGKILL to the group (facts measured with vLLM 0.32). On Linux vLLM also gets a SIGINT should
this process itself be killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

GRACE = 15.0
"""Seconds that vLLM has to end by itself after SIGINT."""

_GONE = 15.0
_PR_SET_PDEATHSIG = 1
_STDIN, _DIGITS = 0, 10
_ASKED: list[int] = []


def main() -> None:
    """Run what the specification says until it ends or we are told to stop."""
    specification = _received()
    if specification is None:
        return
    spec = json.loads(specification)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: _ASKED.append(received))
    state = Path(sys.argv[1]) / "state.json"
    with open(spec["log"], "ab", buffering=0) as log:
        child = subprocess.Popen(
            spec["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=spec["environment"],
            cwd=spec["folder"],
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - there are no threads here
        )
    _write(state, {"pid": child.pid, "group": child.pid, "supervisor": os.getpid(), "since": birth(child.pid)})
    how = _watch(child)
    stop(child.pid, child)
    for words in spec.get("after", []):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(words, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    _write(state, {"ended": True, "code": child.returncode, "how": how})


def _watch(child: subprocess.Popen[bytes]) -> str:
    """Wait until vLLM ends, or our parent does, or a signal asks us to."""
    while child.poll() is None:
        if _ASKED:
            return f"signal {_ASKED[0]}"
        ready, _, _ = select.select([_STDIN], [], [], 0.2)
        if ready:  # the pipe closed, or we were told to stop
            return "told" if os.read(_STDIN, 1) else "parent gone"
    return "by itself"


def framed(specification: str) -> bytes:
    """Return a specification as it goes through the pipe: its length, then itself."""
    data = specification.encode()
    return f"{len(data):0{_DIGITS}d}".encode() + data


def _received() -> bytes | None:
    """Return the specification; ``None`` where our parent was gone before it was whole."""
    length = _exactly(_DIGITS)
    return _exactly(int(length)) if length is not None else None


def _exactly(size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        part = os.read(_STDIN, size - len(data))
        if not part:
            return None
        data += part
    return data


def _die_with_parent() -> None:
    """In the child, before vLLM starts: a SIGINT when this supervisor dies."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def stop(group: int, child: subprocess.Popen[bytes] | None = None, grace: float = GRACE) -> None:
    """End a process group: SIGINT to its leader, then SIGKILL to all, until none is left."""
    if is_there(group):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(group, signal.SIGINT)
        _wait(group, child, grace)
    if is_there(group):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        _wait(group, child, _GONE)


def _wait(group: int, child: subprocess.Popen[bytes] | None, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        leader_ended = child is not None and child.poll() is not None
        if not is_there(group):
            return
        if leader_ended and time.monotonic() > ends - seconds + 5:
            return  # the leader is gone and its children stay: they get the harder signal
        time.sleep(0.05)


def is_there(group: int) -> bool:
    """True while any process of a group lives (zombies that await their parent do not)."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    processes = Path("/proc")
    if not processes.is_dir():
        return True
    return any(entry.name.isdigit() and _group_of(entry) == group for entry in processes.iterdir())


def _group_of(process: Path) -> int | None:
    """The process group of a living process."""
    fields = _stat(process)
    return int(fields[2]) if fields is not None and fields[0] != "Z" else None


def _stat(process: Path) -> list[str] | None:
    """Fields of /proc/PID/stat after the name: state, parent, group, …"""
    try:
        return process.joinpath("stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None


def birth(pid: int) -> str | None:
    """When a process was born, in the kernel's ticks: tells a reused number from the same process."""
    fields = _stat(Path("/proc") / str(pid))
    return fields[19] if fields is not None else None


def _write(path: Path, content: dict[str, Any]) -> None:
    """Add to the state, whole or not at all."""
    state = {}
    with contextlib.suppress(OSError, ValueError):
        state = json.loads(path.read_text(encoding="utf-8"))
    part = path.with_suffix(".part")
    with contextlib.suppress(OSError):
        part.write_text(json.dumps({**state, **content}), encoding="utf-8")
        os.replace(part, path)


if __name__ == "__main__":
    main()
