"""What a trial adds to running vLLM and its benchmark by hand, and what its sampling costs; one run, side by side.

    python -m benchmarks.trial --vllm-at FOLDER --model FOLDER [--rounds 3]

Needs vLLM's CPU build and a tiny model (tests/tiny_models.py).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from tabulate import tabulate

from whichgpu.trial.bench import bench_words
from whichgpu.trial.launch import Launcher, environment_of, free_port, launcher_of
from whichgpu.trial.sampling import Sampler
from whichgpu.trial.server import Server

_CONTEXT, _PROMPT, _OUTPUT, _LOAD, _PROMPTS = 1024, 64, 64, 4, 32
_CACHE = 256 * 2**20


def by_hand(launcher: Launcher, model: Path, folder: Path, rounds: int) -> tuple[float, list[float], list[float]]:
    """Start, wait, measure with and without sampling in turn, stop; return seconds of start, one load and stop, and both rates."""
    port = free_port()
    words = ["serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--max-model-len", str(_CONTEXT)]
    words += [
        "--dtype",
        "bfloat16",
        "--enforce-eager",
        "--kv-cache-memory-bytes",
        str(_CACHE),
        "--load-format",
        "dummy",
    ]
    environment = environment_of(launcher, folder, cpu=True)
    began = time.perf_counter()
    with (folder / "log").open("wb") as log:
        vllm = subprocess.Popen(
            launcher.command(*words), stdout=log, stderr=log, env=environment, start_new_session=True
        )
    server = Server(f"http://127.0.0.1:{port}")
    while not server.is_healthy():
        time.sleep(0.1)
    plain = [_rate(launcher, server, model, folder, sampled=False)]
    spent = time.perf_counter() - began
    sampled: list[float] = []
    for _ in range(rounds):
        sampled.append(_rate(launcher, server, model, folder, sampled=True))
        plain.append(_rate(launcher, server, model, folder, sampled=False))
    began = time.perf_counter()
    vllm.send_signal(signal.SIGINT)
    vllm.wait()
    return spent + time.perf_counter() - began, plain[1:], sampled


def _rate(launcher: Launcher, server: Server, model: Path, folder: Path, sampled: bool) -> float:
    result = folder / "result.json"
    words = bench_words(server.url, server.models()[0], str(model), _LOAD, _PROMPT, _OUTPUT, _PROMPTS, result)
    with Sampler(server) if sampled else nullcontext():
        subprocess.run(
            launcher.command(*words),
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment_of(launcher, folder, cpu=True),
        )
    return float(json.loads(result.read_text())["output_throughput"])


def as_a_trial(at: str, model: Path, folder: Path) -> tuple[float, float]:
    """The same by ``whichgpu trial``: seconds in all, and of its stages."""
    words = ["trial", "-m", str(model), "--cpu", "--vllm-at", at, "--folder", str(folder), "--context", str(_CONTEXT)]
    words += ["--input", str(_PROMPT), "--output", str(_OUTPUT), "--sweep", str(_LOAD), "--json", "--budget", "600"]
    began = time.perf_counter()
    code = "from whichgpu.tui.main import main; main()"
    environment = {**os.environ, "WHICHGPU_CATALOG": str(folder / "c.db")}
    done = subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, env=environment)
    spent = time.perf_counter() - began
    stages = {s["name"]: s["seconds"] for s in json.loads(done.stdout)["stages"]}
    needed = sum(
        seconds
        for name, seconds in stages.items()
        if name.startswith(("start to", "load ", "stop")) and name != "load weights"
    )
    return spent, needed


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--vllm-at", required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    launcher = launcher_of(options.vllm_at)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hand, plain, sampled = by_hand(launcher, options.model, folder, options.rounds)
        whole, needed = as_a_trial(options.vllm_at, options.model, folder / "runs")
    without, with_it = statistics.median(plain), statistics.median(sampled)
    rows = [
        ("start, one load, stop by hand", f"{hand:.1f} s"),
        ("whichgpu trial, in all", f"{whole:.1f} s"),
        ("of which vLLM's start, load and stop", f"{needed:.1f} s"),
        ("added by the trial", f"{whole - needed:.1f} s"),
        ("tokens/s without sampling", f"{without:.0f} ({min(plain):.0f} to {max(plain):.0f})"),
        ("tokens/s with sampling", f"{with_it:.0f} ({min(sampled):.0f} to {max(sampled):.0f})"),
        ("with / without", f"{with_it / without:.3f}"),
    ]
    print(tabulate(rows, ("what", "measured"), tablefmt="plain", disable_numparse=True))


if __name__ == "__main__":
    main()
