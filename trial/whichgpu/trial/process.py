"""A vLLM of ours: started under its supervisor in a folder of its own, and what killed machines left of others."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from whichgpu.inspect.bounded import json_of
from whichgpu.inspect.text import clean
from whichgpu.trial import supervisor, worker_extension
from whichgpu.trial.errors import TrialError
from whichgpu.trial.launch import Launcher, environment_of, isolated

EXTENSION = "whichgpu_worker_extension"
_LOG = "vllm.log"
_STOPPING = supervisor.GRACE + 25


class VllmProcess:
    """One vLLM. Leaving its ``with`` block stops it; should we be killed, its supervisor does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / _LOG
        self._supervisor: subprocess.Popen[bytes] | None = None

    @classmethod
    def in_folder(cls, root: Path, name: str) -> VllmProcess:
        """Make a folder for a run.

        Raises:
            TrialError: it cannot be made.
        """
        folder = root / name
        try:
            folder.mkdir(parents=True)
            shutil.copy(worker_extension.__file__, folder / f"{EXTENSION}.py")
            (folder / _LOG).write_bytes(b"")
        except OSError as error:
            raise _unwritable(folder, error) from error
        return cls(folder)

    def start(
        self, launcher: Launcher, arguments: Sequence[str], cpu: bool, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start vLLM with these arguments and variables."""
        extra_variables = environment or {}
        name = f"whichgpu-{self.folder.name}"
        spec = {
            "command": launcher.command(*arguments, name=name, variables=extra_variables),
            "environment": environment_of(launcher, self.folder, cpu) | dict(extra_variables),
            "folder": str(self.folder),
            "log": str(self.log),
            "after": launcher.after(name),
        }
        self._supervisor = subprocess.Popen(
            isolated(supervisor, str(self.folder)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._supervisor.stdin is not None
        with suppress(BrokenPipeError):  # it ended at once, which is seen as any other end
            self._supervisor.stdin.write(supervisor.framed(json.dumps(spec)))
            self._supervisor.stdin.flush()

    @property
    def state(self) -> dict[str, Any]:
        return state_of(self.folder)

    @property
    def has_ended(self) -> bool:
        """True once vLLM is gone."""
        return bool(self.state.get("ended")) or (self._supervisor is not None and self._supervisor.poll() is not None)

    def text(self) -> str:
        """Return the log so far."""
        with suppress(OSError):
            return self.log.read_text(encoding="utf-8", errors="replace")
        return ""

    def stop(self) -> None:
        """Stop vLLM and everything that it started; returns when nothing is left."""
        if self._supervisor is None:
            return
        with suppress(OSError, ValueError):
            assert self._supervisor.stdin is not None
            self._supervisor.stdin.write(b"q")
            self._supervisor.stdin.close()
        try:
            self._supervisor.wait(_STOPPING)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()
        group = self.state.get("group")
        if isinstance(group, int) and supervisor.is_there(group):
            supervisor.stop(group, grace=1)
        self._supervisor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _unwritable(folder: Path, error: OSError) -> TrialError:
    return TrialError(f"{clean(folder)} cannot be written: {clean(error.strerror or error)}.", "See --folder.")


def new_name() -> str:
    """Return a name for a run: when, and something random."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def state_of(folder: Path) -> dict[str, Any]:
    """Return what the supervisor wrote last."""
    try:
        state = json_of((folder / "state.json").read_bytes())
        return state if isinstance(state, dict) else {}
    except (OSError, ValueError):
        return {}


def living(root: Path) -> list[Path]:
    """Return the folders of runs whose vLLM is still there: ours that run now, or what a killed machine left."""
    if not root.is_dir():
        return []
    return [folder for folder in sorted(root.iterdir()) if _lives(state_of(folder))]


def _lives(state: dict[str, Any]) -> bool:
    pid, since = state.get("pid"), state.get("since")
    if not isinstance(pid, int):
        return False
    born = supervisor.birth(pid)
    same = born is None or since is None or born == since  # a number that was given to another process
    return same and supervisor.is_there(pid)


def end(folder: Path) -> None:
    """Stop a run that is not ours, through its supervisor where that lives."""
    state = state_of(folder)
    if not _lives(state):
        return
    guard, group = state.get("supervisor"), int(state["group"])
    if isinstance(guard, int) and supervisor.birth(guard) is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(guard, signal.SIGTERM)
        ends = time.monotonic() + _STOPPING
        while time.monotonic() < ends and supervisor.is_there(group):
            time.sleep(0.1)
    supervisor.stop(group, grace=2)


def clean_up(root: Path, keep: int = 0) -> int:
    """Stop what lives and drop the folders of ended runs but the newest; return how many were dropped."""
    for folder in living(root):
        end(folder)
    folders = sorted(f for f in root.iterdir() if f.is_dir()) if root.is_dir() else []
    dropped = folders[: len(folders) - keep] if keep else folders
    for folder in dropped:
        shutil.rmtree(folder, ignore_errors=True)
    return len(dropped)
