"""How vLLM is reached: an environment of its own, a container, or a server that runs already."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from whichgpu.inspect.text import clean
from whichgpu.trial.errors import NoVllmError, TrialError

_CONTAINERS = ("docker", "podman", "nerdctl")
# Docker takes their values from the environment of its client: none stands in a command line.
_PASSED = ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE")


@dataclass(frozen=True, slots=True)
class Launcher:
    """Words before ``serve …`` or ``bench …``."""

    words: tuple[str, ...]
    container: bool = False

    def command(self, *arguments: str, name: str | None = None, variables: Iterable[str] = ()) -> list[str]:
        """Return a command; a container gets a name, so that it can be removed whatever happens, and variables by name."""
        words = list(self.words)
        if self.container and name is not None:
            variable_names = [*variables, *(v for v in _PASSED if v in os.environ)]
            passed = [word for variable in variable_names for word in ("-e", variable)]
            words[2:2] = ["--rm", "--init", "--name", name, "--network", "host", *passed]
        return [*words, *arguments]

    def after(self, name: str) -> list[list[str]]:
        """Return what removes what a killed client leaves."""
        return [[self.words[0], "rm", "-f", name]] if self.container else []


def launcher_of(text: str | None) -> Launcher:
    """Return how to run vLLM: ``None`` looks beside this Python and on the PATH.

    ``text``: a folder of an environment, its ``python`` or ``vllm``, or ``docker run … IMAGE``.

    Raises:
        TrialError: there is no vLLM.
    """
    if text is None:
        beside = Path(sys.executable).with_name("vllm")
        executable = str(beside) if beside.is_file() else shutil.which("vllm")
        if executable is None:
            raise NoVllmError("vLLM", "vllm", ", or name one with --vllm PATH.")
        return Launcher((executable,))
    words = shlex.split(text)
    if words and Path(words[0]).name in _CONTAINERS:
        if len(words) < 3 or words[1] != "run" or shutil.which(words[0]) is None:
            raise TrialError(
                f"“{clean(text, 80)}” runs no container.", 'Write --vllm "docker run --gpus all vllm/vllm-openai".'
            )
        return Launcher(tuple(words), container=True)
    path = Path(text).expanduser()
    for candidate in (path / "bin" / "vllm", path):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            python = candidate.name.startswith("python")
            module = ("-m", "vllm.entrypoints.cli.main")
            return Launcher((str(candidate.absolute()), *(module if python else ())))
    raise TrialError(
        f"There is no vLLM at {clean(path)}.", "Give the folder of its environment, or its vllm or python."
    )


def python_of(launcher: Launcher) -> str:
    """Return the Python of a vLLM's environment.

    Raises:
        TrialError: it is a container, or none stands beside its command.
    """
    if launcher.container:
        raise TrialError(
            "A container keeps its Python to itself, which has to write the tiny model.",
            "Name an environment with --vllm-at, or leave --tiny out.",
        )
    command = Path(launcher.words[0])
    if command.name.startswith("python"):
        return str(command)
    beside = next((p for n in ("python", "python3") if (p := command.with_name(n)).is_file()), None)
    if beside is None:
        with suppress(OSError), command.open("rb") as file:
            first = file.readline(4096).decode(errors="replace").strip()
            named = Path(first.removeprefix("#!").split(" ")[0])
            beside = named if first.startswith("#!/") and named.name.startswith("python") else None
    if beside is None:
        raise TrialError(f"No Python is beside {clean(command)}.", "Name the environment of vLLM with --vllm-at.")
    return str(beside)


def isolated(program: ModuleType, *words: str) -> list[str]:
    """Return how to run one of our small programs, which import Python's own library alone.

    By its file and with ``-I``: neither the working folder nor PYTHONPATH decides what it imports, and it is found however
    we were.
    """
    return [sys.executable, "-I", str(program.__file__), *words]


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


_OURS = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME", "PYDANTIC_DISABLE_PLUGINS")
"""Variables that are about this program, not about vLLM."""


def environment_of(launcher: Launcher, folder: Path, cpu: bool) -> dict[str, str]:
    """Return the environment for vLLM: ours, less what would break or delay it, and where our extension lies."""
    environment = {k: v for k, v in os.environ.items() if k not in _OURS}
    environment |= {"VLLM_NO_USAGE_STATS": "1", "VLLM_SERVER_DEV_MODE": "1", "PYTHONUNBUFFERED": "1"}
    if not launcher.container:
        environment["PYTHONPATH"] = str(folder)
    if cpu:
        environment |= {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS", "1"),
        }
    return environment
