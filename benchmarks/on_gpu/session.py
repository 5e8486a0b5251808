"""On the card: NVML's facts, then a real ``whichgpu trial`` of each start of a set, within one budget.

Everything is written again after each start, so that a run cut short keeps what it has: ``facts.json``, ``trials.jsonl``
(records, predicted beside measured), ``controlled.jsonl`` and ``serving.jsonl`` (rows of truth), ``logs.tar.gz``, ``run.log``.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.on_gpu.rows import controlled_row, serving_rows
from benchmarks.on_gpu.sets import SETS, Start

_RESERVE = 20.0
"""Seconds kept for stopping and writing."""
_LEAST = 60.0
"""Seconds without which a start is not begun."""
_OVER = 45.0
"""Seconds that a trial gets beyond its own budget, to stop vLLM, before it is killed."""


@dataclass(slots=True)
class Session:
    """One run of a set."""

    name: str
    here: Path
    """Where the pieces were unpacked: ``site``, ``models``."""
    out: Path
    python: str
    """Of vLLM's environment."""
    budget: float
    cpu: bool = False
    began: float = field(default_factory=time.monotonic)
    records: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> float:
        return self.budget - (time.monotonic() - self.began)

    def run(self) -> int:
        """Run the set; return 0 where at least one start was measured."""
        self.out.mkdir(parents=True, exist_ok=True)
        work = self.out.parent / f".{self.out.name}-work"
        signal.signal(signal.SIGALRM, _time_is_up)
        signal.alarm(int(self.budget + _OVER))
        try:
            work.mkdir()
            self.facts = gather_facts(self.python, self._environment(work), self.cpu)
            self.say(json.dumps(self.facts))
            for start in SETS[self.name]:
                self._start(start, work)
                self._write(work)
        finally:
            signal.alarm(0)
            self._write(work)
            subprocess.run(self._whichgpu("trial", "stop", "--folder", str(work / "runs")), env=self._environment(work))  # noqa: PLW1510
            shutil.rmtree(work, ignore_errors=True)
        measured = sum(record["outcome"] == "measured" for record in self.records)
        self.say(f"{measured} of {len(SETS[self.name])} measured")
        return 0 if measured else 1

    def say(self, text: str) -> None:
        """Print a line, and keep it."""
        line = f"{time.monotonic() - self.began:6.1f} s  {text}"
        print(line, flush=True)
        with (self.out / "run.log").open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def _start(self, start: Start, work: Path) -> None:
        """One trial, in a process of its own that ends when its time is over."""
        seconds = min(start.seconds, self.left - _RESERVE)
        if seconds < _LEAST:
            self.say(f"{start.model}: not begun, {self.left:.0f} s are left")
            return
        words = self._trial_words(start, work, seconds)
        self.say(f"{start.model} ({start.how}), at most {seconds:.0f} s: {' '.join(words)}")
        child = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=work,
            env=self._environment(work), start_new_session=True,
        )  # fmt: skip
        try:
            stdout, stderr = child.communicate(timeout=seconds + _OVER)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # its supervisor stops vLLM, as its pipe closes
            stdout, stderr = child.communicate()
        try:
            trial = json.loads(stdout)
        except ValueError:
            self.say(f"{start.model}: no record: {stderr.strip()[-1500:]}")
            return
        extra = {"set": self.name, "as_started": start.how, "asked_model": start.model, "facts": self.facts}
        self.records.append({**trial, "on_gpu": extra})
        failure = trial["failure"]["sentence"] if trial["failure"] else ""
        self.say(f"{start.model}: {trial['outcome']} in {trial['seconds']:.0f} s {failure}".rstrip())

    def _trial_words(self, start: Start, work: Path, seconds: float) -> list[str]:
        model = self.here / "models" / start.model.replace("/", "__")
        words = [
            "trial",
            "--model",
            str(model),
            "--vllm-at",
            self.python,
            "--folder",
            str(work / "runs"),
            "--json",
            "--anyway",
        ]
        words += [
            "--concurrency",
            "1",
            "--context",
            str(start.context),
            "--input",
            "1024",
            "--output",
            "256",
            "--sweep",
            start.loads,
        ]
        words += ["--budget", f"{seconds:.0f}", "--no-calibration", *start.words]
        version = self.facts.get("versions", {}).get("vllm")
        words += ["--vllm", version.split("+")[0]] if version else []
        if self.cpu:
            words += ["--cpu", "--input", "64", "--output", "16"]
        else:
            words += ["--gpu", "here", "--cards", "1"]
            words += ["--vllm-args", _quote(start.all_vllm_words)] if start.all_vllm_words else []
        return self._whichgpu(*words)

    def _whichgpu(self, *words: str) -> list[str]:
        return [sys.executable, "-c", "from whichgpu.tui.main import main; main()", *words]

    def _environment(self, work: Path) -> dict[str, str]:
        """Ours: nothing from the network, and every file in the work folder, which is dropped at the end."""
        variables = {
            "HF_HUB_OFFLINE": "1",
            "WHICHGPU_CATALOG": str(work / "catalog.db"),
            "PYTHONPATH": f"{self.here / 'site'}:{self.here}",
        }
        places = {
            name: str(work / name.lower()) for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "VLLM_CACHE_ROOT")
        }
        return {**os.environ, **places, **variables, "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    def _write(self, work: Path) -> None:
        """Everything that is known by now, whole or not at all."""
        rows = [serving for record in self.records for serving in serving_rows(record)]
        _lines(self.out / "trials.jsonl", self.records)
        _lines(self.out / "controlled.jsonl", [controlled_row(record) for record in self.records])
        _lines(self.out / "serving.jsonl", rows)
        _replace(self.out / "facts.json", json.dumps(self.facts, indent=1) + "\n")
        part = self.out / "logs.part"
        with tarfile.open(part, "w:gz") as archive:
            for log in sorted((work / "runs").glob("*/vllm.log")):
                archive.add(log, f"{log.parent.name}.log")
        part.replace(self.out / "logs.tar.gz")


_ASKED_OF_TORCH = """
import importlib.metadata as m, json, platform, torch
versions = {"python": platform.python_version()}
for name in ("vllm", "torch", "triton", "transformers", "flashinfer-python"):
    try:
        versions[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
cuda = torch.cuda.is_available()
print(json.dumps({
    "versions": versions,
    "cuda": torch.version.cuda,
    "torch_total_bytes": torch.cuda.get_device_properties(0).total_memory if cuda else None,
}))
"""
"""Runs in vLLM's environment."""


def gather_facts(python: str, environment: Mapping[str, str], cpu: bool) -> dict[str, Any]:
    """Return the machine's facts: cards as NVML tells them, memory as torch sees it, versions, date."""
    facts: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "cpu": cpu, "cards": []}
    if not cpu:
        facts |= _nvml()
    torch_query = subprocess.run(
        [python, "-c", _ASKED_OF_TORCH], capture_output=True, text=True, timeout=180, env=dict(environment), check=False
    )
    try:
        facts |= json.loads(torch_query.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        facts["versions"], facts["unknown"] = {}, torch_query.stderr[-500:]
    return facts


def _nvml() -> dict[str, Any]:
    """Name, memory, power limit, clocks and processes of each card."""
    import pynvml

    pynvml.nvmlInit()
    try:
        cards = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            card = pynvml.nvmlDeviceGetHandleByIndex(index)
            name = pynvml.nvmlDeviceGetName(card)
            cards.append(
                {
                    "name": name.decode() if isinstance(name, bytes) else name,
                    "total_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(card).total),
                    "used_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(card).used),
                    "power_limit_watts": pynvml.nvmlDeviceGetPowerManagementLimit(card) / 1e3,
                    "idle_watts": pynvml.nvmlDeviceGetPowerUsage(card) / 1e3,
                    "max_sm_mhz": pynvml.nvmlDeviceGetMaxClockInfo(card, pynvml.NVML_CLOCK_SM),
                    "processes": len(pynvml.nvmlDeviceGetComputeRunningProcesses(card)),
                }
            )
        driver = pynvml.nvmlSystemGetDriverVersion()
        return {"cards": cards, "driver": driver.decode() if isinstance(driver, bytes) else driver}
    finally:
        pynvml.nvmlShutdown()


def _time_is_up(*_: object) -> None:
    raise SystemExit("the budget is over")


def _quote(words: Sequence[str]) -> str:
    return shlex.join(words)


def _lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    _replace(path, "".join(json.dumps(row) + "\n" for row in rows))


def _replace(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
