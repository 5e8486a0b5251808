"""The same trial on another machine: through ssh, Slurm's sbatch, or SkyPilot. No scheduler of ours.

The other machine installs whichgpu with its vLLM, runs the trial there, and its record comes back as JSON.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from whichgpu.inspect.text import clean
from whichgpu.trial.errors import TrialError
from whichgpu.trial.records import Trial

_INSTALL = "python3 -m venv .whichgpu && .whichgpu/bin/pip install -q 'whichgpu[vllm,local]'"
_RECORD = "whichgpu-trial.json"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What to run here so that it runs there."""

    files: dict[str, str]
    """To write first, by name."""
    commands: tuple[tuple[str, ...], ...]
    record: str | None
    """File that the record comes back in; ``None`` where it is what the last command prints."""

    def text(self) -> str:
        """Return what a person would type."""
        parts = [f"cat > {shlex.quote(name)} <<'EOF'\n{content}EOF" for name, content in self.files.items()]
        parts += [shlex.join(command) for command in self.commands]
        came = "whichgpu trial import -" if self.record is None else f"whichgpu trial import {shlex.quote(self.record)}"
        return "\n".join([*parts[:-1], f"{parts[-1]} | {came}" if self.record is None else f"{parts[-1]}\n{came}"])


def elsewhere(place: str, arguments: Sequence[str], gpus: tuple[str, int], minutes: int) -> Elsewhere:
    """Return how to run a trial at ``ssh:HOST``, ``slurm`` or ``sky``; ``gpus``: (SkyPilot's name, how many).

    Raises:
        TrialError: no such place.
    """
    run = shlex.join([".whichgpu/bin/whichgpu", "trial", *arguments, "--json"])
    kind, _, host = place.partition(":")
    if kind == "ssh" and host and not host.startswith("-"):
        script = f"{_INSTALL} >&2 && {run}"
        return Elsewhere({}, (("ssh", host, f"bash -c {shlex.quote(script)}"),), None)
    if kind == "slurm":
        lines = [
            "#!/bin/bash",
            f"#SBATCH --gres=gpu:{gpus[1]}",
            f"#SBATCH --time={minutes}",
            "#SBATCH --output=whichgpu-trial.log",
        ]
        script = "\n".join([*lines, "set -euo pipefail", _INSTALL, f"{run} > {_RECORD}"]) + "\n"
        return Elsewhere({"whichgpu-trial.sbatch": script}, (("sbatch", "--wait", "whichgpu-trial.sbatch"),), _RECORD)
    if kind == "sky":
        import yaml

        task = {
            "resources": {"accelerators": f"{gpus[0]}:{gpus[1]}"},
            "setup": _INSTALL,
            "run": f"{run} > ~/{_RECORD}",
        }
        name, file = "whichgpu-trial", "whichgpu-trial.yaml"
        commands = (
            ("sky", "launch", "--yes", "--cluster", name, file),
            ("rsync", f"{name}:{_RECORD}", _RECORD),
            ("sky", "down", "--yes", name),
        )
        return Elsewhere({file: yaml.safe_dump(task, sort_keys=False)}, commands, _RECORD)
    raise TrialError(f"“{clean(place, 60)}” is no place for a trial.", "Write ssh:HOST, slurm or sky.")


def go(plan: Elsewhere, folder: Path, seconds: float) -> Trial:
    """Run it, and return the record that came back.

    Raises:
        TrialError: a command failed or is not there, or no record came.
    """
    for name, content in plan.files.items():
        (folder / name).write_text(content, encoding="utf-8")
    said, failed = "", None
    for command in plan.commands:
        if failed is not None and command[:2] != ("sky", "down"):
            continue
        try:
            done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, timeout=seconds, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            failed = failed or f"{command[0]}: {clean(getattr(error, 'strerror', None) or 'it took too long', 80)}"
            continue
        said = done.stdout.decode(errors="replace") if command[:2] != ("sky", "down") else said
        if done.returncode not in (0, 7):  # 7: the trial itself failed, and its record says why
            failed = failed or f"{command[0]} ended with {done.returncode}"
    if failed is not None:
        raise TrialError(f"The trial elsewhere did not run: {failed}.", "The commands without --go can be run by hand.")
    return read_record(said if plan.record is None else (folder / plan.record).read_text(encoding="utf-8"))


def read_record(text: str) -> Trial:
    """Read a record as ``whichgpu trial --json`` prints it.

    Raises:
        TrialError: it is none.
    """
    try:
        return Trial.model_validate(json.loads(text))
    except (ValueError, ValidationError) as error:
        raise TrialError("What came back is no record of a trial.", "whichgpu trial --json prints one.") from error
