"""One-shot answers beside two peers, in one run: CPU seconds, requests and bytes on the Hub stand-in.

Cold: every run has a home, a Hugging Face cache and a catalog of its own, all empty. Second look: the same question again, with
what the first left. Bytecode is compiled beforehand, as it is for installed programs.

    pip install hf-mem==0.5.6 kvfit==0.3.0      # into an environment of its own, beside whichgpu
    python -m benchmarks.cold_start [--runs 5]

The peers hard-code the Hub's address; a copy of each with the stand-in's address is run from a temporary folder.
hf-mem is asked for its KV cache too (``--experimental``), since whichgpu always answers that. Figures are the best of the runs; read the ratios, since seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate
from tests.hub import HubStandIn, shapes
from tests.hub.content import Repo

_PEERS = {
    "hf-mem": ("hf_mem", ("from hf_mem.cli import main; main()", "--experimental", "--model-id")),
    "kvfit": (
        "kvfit",
        ("import sys; from kvfit.cli import main; sys.exit(main())", "--hardware", "h200", "--context", "8192"),
    ),
}
_ADDRESS = "https://huggingface.co"


@dataclass(frozen=True)
class Cost:
    """What one cold answer cost."""

    cpu: float
    requests: int
    sent: int
    code: int


def models() -> dict[str, Repo]:
    """The repositories asked for: one file, four shards, 163 shards, and the last from a mirror without the endpoint."""
    return {
        "bench/single-file": shapes.qwen3_06b(),
        "bench/llama-8b": shapes.llama_8b(),
        "bench/deepseek-v3": shapes.deepseek(),
        "mirror/deepseek-v3": shapes.deepseek(offers_metadata=False),
    }


def measure(hub: HubStandIn, command: Sequence[str], environment: dict[str, str], runs: int) -> dict[str, Cost]:
    """Run a command in fresh processes, each time in a new home and then once more in it; keep the cheapest of either."""
    costs: dict[str, list[Cost]] = {"cold": [], "second look": []}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as home:
            fresh_home = {
                **environment,
                "HOME": home,
                "HF_HOME": f"{home}/hf",
                "WHICHGPU_CATALOG": f"{home}/catalog.db",
            }
            fresh_home |= {
                f"XDG_{kind}_HOME": f"{home}/{kind.lower()}" for kind in ("DATA", "CONFIG", "CACHE", "STATE")
            }
            for look_costs in costs.values():
                look_costs.append(_run_once(hub, command, fresh_home))
    return {look: min(look_costs, key=lambda cost: cost.cpu) for look, look_costs in costs.items()}


def _run_once(hub: HubStandIn, command: Sequence[str], environment: dict[str, str]) -> Cost:
    hub.seen.clear()
    before, sent = resource.getrusage(resource.RUSAGE_CHILDREN), hub.bytes_sent
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, len(hub.seen), hub.bytes_sent - sent, done.returncode)


def patched_peers(folder: Path, endpoint: str) -> dict[str, tuple[str, ...]]:
    """Copy each installed peer with the stand-in's address in it; return how to start the copies."""
    start_commands: dict[str, tuple[str, ...]] = {}
    for name, (package, start) in _PEERS.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        shutil.copytree(Path(spec.origin).parent, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (folder / package).rglob("*.py"):
            path.write_text(path.read_text().replace(_ADDRESS, endpoint))
        start_commands[name] = start
    return start_commands


def main() -> None:
    """Measure and print a table with ratios to hf-mem."""
    parser = argparse.ArgumentParser(description="cold one-shot answers beside two peers")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    rows: list[tuple[object, ...]] = []
    with HubStandIn(models()) as hub, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peers = patched_peers(folder, hub.endpoint)
        environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "PYTHONPATH": str(folder)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed programs run from compiled bytecode
        for model in hub.repos:
            commands = {"whichgpu": [sys.executable, "-m", "whichgpu", "--model", model, "--json"]}
            commands |= {p: [sys.executable, "-c", s[0], *s[1:], model] for p, s in peers.items()}
            costs = {tool: measure(hub, c, environment, options.runs) for tool, c in commands.items()}
            base = costs.get("hf-mem")
            for tool, looks in costs.items():
                for look, cost in looks.items():
                    ratio = f"{cost.cpu / base[look].cpu:.2f}" if base and base[look].code == 0 else "-"
                    counts = cost.requests, f"{cost.sent / 1000:,.0f}", cost.code
                    rows.append((model, tool, look, f"{cost.cpu:.2f}", ratio, *counts))
    headers = ("model", "tool", "look", "CPU s", "CPU / hf-mem", "requests", "kB", "exit")
    print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))
    print(json.dumps({"python": sys.version.split()[0], "runs": options.runs}))


if __name__ == "__main__":
    main()
