"""The same trial on another machine: through ssh, Slurm's sbatch, or SkyPilot. No scheduler of ours.

The other machine is given this whichgpu as a wheel, installs it with its vLLM, runs the trial there, and its record comes back as
JSON.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from whichgpu.inspect.bounded import json_of
from whichgpu.inspect.text import clean
from whichgpu.plan.targets import as_yaml
from whichgpu.trial.errors import TrialError
from whichgpu.trial.own_wheel import wheel_name, write_own_wheel
from whichgpu.trial.records import Trial

_INSTALL = (
    "python3 -m venv .whichgpu && .whichgpu/bin/pip install -q --force-reinstall --no-deps {wheel}"
    " && .whichgpu/bin/pip install -q '{wheel}[{extras}]'"
)
"""Twice: another state of the same version is not put in the place of one that is there, and of vLLM nothing is put anew."""
_ONE_BY_ONE = "(flock 9 && {install}) 9> .whichgpu.lock"
"""Machines may share a home folder."""
_RECORD = "whichgpu-trial.json"
_LEAVING = 60.0
"""Seconds that machines beside have to see that number 0 has ended, and to stop vLLM."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What to run here so that it runs there."""

    files: dict[str, str]
    """To write first, by name."""
    commands: tuple[tuple[str, ...], ...]
    record: str | None
    """File that the record comes back in; ``None`` where it is what the last command prints."""
    wheel: str
    """Our own, by name: lies in the folder that the commands run in."""
    is_wheel_piped: bool = False
    """True where the commands take the wheel on their standard input, else they find it."""
    beside: tuple[tuple[str, ...], ...] = ()
    """To run at the same time: the machines that lend their cards."""

    def text(self) -> str:
        """Return what a person would type."""
        parts = ["whichgpu trial wheel .", *(_written(name, content) for name, content in self.files.items())]
        given = f" < {self.wheel}" if self.is_wheel_piped else ""
        parts += [f"{shlex.join(command)}{given} &" for command in self.beside]
        *before, last = [shlex.join(command) + given for command in self.commands]
        came = "whichgpu trial import -" if self.record is None else f"whichgpu trial import {shlex.quote(self.record)}"
        parts += [*before, f"{last} | {came}" if self.record is None else f"{last}\n{came}"]
        return "\n".join([*parts, *(["wait"] if self.beside else [])])


def _written(name: str, content: str) -> str:
    """Return shell that writes a file: by a mark that none of its lines is, as a folder's name may hold line breaks."""
    mark = "EOF"
    while mark in content.splitlines():
        mark += "F"
    return f"cat > {shlex.quote(name)} <<'{mark}'\n{content}{mark}"


@dataclass(frozen=True, slots=True)
class Machines:
    """What a trial takes."""

    gpu: str
    """SkyPilot's name."""
    cards: int
    """In one machine."""
    count: int = 1
    extras: str = "vllm,local"
    """Of whichgpu, to install there: without ``vllm`` where that is there already."""

    def install(self, wheel: str, is_piped: bool = False) -> str:
        """Return shell that installs our wheel, which lies where ``wheel`` says or comes on standard input."""
        install = _INSTALL.format(wheel=shlex.quote(wheel), extras=self.extras)
        if is_piped:
            install = f"cat > {shlex.quote(wheel)} && {install}"
        return _ONE_BY_ONE.format(install=install) if self.count > 1 else install


def elsewhere(place: str, arguments: Sequence[str], machines: Machines, minutes: int) -> Elsewhere:
    """Return how to run a trial at ``ssh:HOST,HOST``, ``slurm`` or ``sky``.

    Raises:
        TrialError: no such place, or not as many machines as it takes.
    """
    words = [".whichgpu/bin/whichgpu", "trial", *arguments, "--json"]
    hosts = hosts_of(place)
    if hosts and not any(not h or h.startswith("-") for h in hosts):
        return _by_ssh(hosts, words, machines)
    if place == "slurm":
        return _by_slurm(words, machines, minutes)
    if place == "sky":
        return _by_sky(words, machines)
    raise TrialError(f"“{clean(place, 60)}” is no place for a trial.", "Write ssh:HOST, ssh:HOST,HOST, slurm or sky.")


def hosts_of(place: str) -> list[str]:
    """Return the machines that a place names: those of ``ssh:HOST,HOST``."""
    kind, _, hosts = place.partition(":")
    return hosts.split(",") if kind == "ssh" else []


def _by_ssh(hosts: Sequence[str], words: Sequence[str], machines: Machines) -> Elsewhere:
    if len(hosts) != machines.count:
        raise TrialError(
            f"This plan takes {machines.count} machine{'s' * (machines.count > 1)}, not {len(hosts)}.",
            "Name as many, number 0 first: ssh:HOST,HOST.",
        )

    wheel = wheel_name()

    def command(rank: int) -> tuple[str, ...]:
        node = ["--node", f"{rank}@{hosts[0].rpartition('@')[2]}"] if machines.count > 1 else []
        script = f"{machines.install(f'./{wheel}', is_piped=True)} >&2 && {shlex.join([*words, *node])}"
        return ("ssh", hosts[rank], f"bash -c {shlex.quote(script)}")

    beside = tuple(command(rank) for rank in range(1, machines.count))
    return Elsewhere({}, (command(0),), None, wheel, is_wheel_piped=True, beside=beside)


def _by_slurm(words: Sequence[str], machines: Machines, minutes: int) -> Elsewhere:
    """One task a machine; number 0 prints the record, the others nothing. The home folder is shared, as Slurm's usually are."""
    lines = [
        "#!/bin/bash",
        *([f"#SBATCH --nodes={machines.count}", "#SBATCH --ntasks-per-node=1"] if machines.count > 1 else []),
        f"#SBATCH --gres=gpu:{machines.cards}",
        f"#SBATCH --time={minutes}",
        "#SBATCH --output=whichgpu-trial.log",
        "set -euo pipefail",
        machines.install(f"./{wheel_name()}"),
    ]
    if machines.count == 1:
        lines.append(f"{shlex.join(words)} > {_RECORD}")
    else:
        task = f'{shlex.join(words)} --node "$SLURM_PROCID@$FIRST"'
        lines.append('export FIRST=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n1)')
        lines.append(f"srun bash -c {shlex.quote(task)} > {_RECORD}")
    name = "whichgpu-trial.sbatch"
    return Elsewhere({name: "\n".join(lines) + "\n"}, (("sbatch", "--wait", name),), _RECORD, wheel_name())


def _by_sky(words: Sequence[str], machines: Machines) -> Elsewhere:
    """The record is fetched from the head, which SkyPilot numbers 0."""
    run, several, wheel = shlex.join(words), machines.count > 1, wheel_name()
    if several:
        first = 'FIRST=$(echo "$SKYPILOT_NODE_IPS" | head -n1)'
        run = f'{first}\n{run} --node "$SKYPILOT_NODE_RANK@$FIRST"'
    task = {
        "resources": {"accelerators": f"{machines.gpu}:{machines.cards}"},
        **({"num_nodes": machines.count} if several else {}),
        "file_mounts": {f"~/{wheel}": f"./{wheel}"},
        "setup": machines.install(f"./{wheel}"),
        "run": f"{run} > ~/{_RECORD}",
    }
    name, file = "whichgpu-trial", "whichgpu-trial.yaml"
    commands = (
        ("sky", "launch", "--yes", "--cluster", name, file),
        ("rsync", f"{name}:{_RECORD}", _RECORD),
        ("sky", "down", "--yes", name),
    )
    return Elsewhere({file: as_yaml(task) + "\n"}, commands, _RECORD, wheel)


def go(plan: Elsewhere, folder: Path, seconds: float) -> Trial:
    """Run it, and return the record that came back.

    Raises:
        TrialError: a command failed or is not there, or no record came.
    """
    for name, content in plan.files.items():
        (folder / name).write_text(content, encoding="utf-8")
    write_own_wheel(folder)
    with ExitStack() as stack:
        beside = [stack.enter_context(_beside(command, plan, folder)) for command in plan.beside]
        output, failed = _one_by_one(plan, folder, seconds)
        if failed is not None:
            lost = next(
                (f"; {c[1]} ended with {p.poll()}" for c, p in zip(plan.beside, beside, strict=True) if p.poll()), ""
            )
            raise TrialError(
                f"The trial elsewhere did not run: {failed}{lost}.", "The commands without --go can be run by hand."
            )
    return read_record(output if plan.record is None else (folder / plan.record).read_text(encoding="utf-8"))


def _one_by_one(plan: Elsewhere, folder: Path, seconds: float) -> tuple[str, str | None]:
    """Run the commands; return what the last that matters printed, and what went wrong. A cluster is always given back."""
    output, failed = "", None
    for command in plan.commands:
        if failed is not None and command[:2] != ("sky", "down"):
            continue
        try:
            with _given(plan, folder) as given:
                done = subprocess.run(
                    command, cwd=folder, stdin=given, stdout=subprocess.PIPE, timeout=seconds, check=False
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            failed = failed or f"{command[0]}: {clean(getattr(error, 'strerror', None) or 'it took too long', 80)}"
            continue
        output = done.stdout.decode(errors="replace") if command[:2] != ("sky", "down") else output
        if done.returncode not in (0, 7):  # 7: the trial itself failed, and its record says why
            failed = failed or f"{command[0]} ended with {done.returncode}"
    return output, failed


def _given(plan: Elsewhere, folder: Path) -> BinaryIO:
    """What a command reads: the wheel, or nothing."""
    return (folder / plan.wheel if plan.is_wheel_piped else Path(os.devnull)).open("rb")


@contextmanager
def _beside(command: Sequence[str], plan: Elsewhere, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs meanwhile: it ends by itself soon after number 0 does, and is ended where we are.

    Raises:
        TrialError: it isn't there.
    """
    try:
        with _given(plan, folder) as given:
            process = subprocess.Popen(command, cwd=folder, stdin=given, stdout=subprocess.DEVNULL)
    except OSError as error:
        why = f"{command[0]}: {clean(error.strerror or error, 80)}"
        raise TrialError(f"The trial elsewhere did not run: {why}.", "Install it, or take another place.") from error
    try:
        yield process
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVING)
    finally:
        process.terminate()
        process.wait()


def read_record(text: str) -> Trial:
    """Read a record as ``whichgpu trial --json`` prints it.

    Raises:
        TrialError: it is none.
    """
    try:
        return Trial.model_validate(json_of(text))
    except (ValueError, ValidationError) as error:
        raise TrialError("What came back is no record of a trial.", "whichgpu trial --json prints one.") from error
