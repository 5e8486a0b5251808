"""One-shot answers beside the peers, in one run: CPU, wall at 0 and 50 ms, requests and bytes on the Hub stand-in, memory.

Cold: every run has a home, a Hugging Face cache and a catalog of its own, all empty. Second look: the same question again, with what
the first left. Offline: once more, without a network. Bytecode is compiled beforehand, as it is for installed programs.

    python3 -m venv PEERS && PEERS/bin/pip install hf-mem==0.5.6 kvfit==0.3.0 vramscout==0.7.0 modelinfo-cli==1.4.4 llmfit==1.1.17
    python -m benchmarks.cold_start [--peers PEERS] [--runs 5] [--write docs/performance.md]

Peers that hard-code the Hub's address run as copies with the stand-in's. hf-mem is asked for its KV cache too (``--experimental``), since
whichgpu always answers that. Figures are the best of the runs; read the ratios, since seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tabulate import tabulate
from tests.attack.fuzzed_readers import READERS
from tests.hub import HubStandIn, shapes
from tests.hub.content import Repo, Sparse

_LATENCY = 0.05
_DASH = "–"


@dataclass(frozen=True)
class Peer:
    """Another tool, as it is installed in an environment of its own."""

    module: str | None
    """Of Python; ``None`` for a program."""
    words: tuple[str, ...]
    """What starts it; MODEL is the model."""
    replaced: Mapping[str, str] = field(default_factory=dict)
    """In a copy of its source; ENDPOINT is the stand-in's address."""


_ADDRESS = {"https://huggingface.co": "ENDPOINT"}
PEERS: dict[str, Peer] = {
    "hf-mem 0.5.6": Peer("hf_mem", ("-c", "from hf_mem.cli import main; main()", "--experimental", "--model-id", "MODEL"), _ADDRESS),
    "kvfit 0.3.0": Peer("kvfit", ("-c", "import sys; from kvfit.cli import main; sys.exit(main())", "--hardware", "h200", "--context",
                                  "8192", "MODEL"), _ADDRESS),
    "modelinfo 1.4.4": Peer("modelinfo", ("-c", "import sys; from modelinfo.cli import main; sys.exit(main())", "MODEL"),
                            {"https://": "http://", "HTTPSConnection": "HTTPConnection"}),
    "vramscout 0.7.0": Peer("vramscout", ("-c", "import sys; from vramscout.cli import main; sys.exit(main())", "--context", "8192", "--vram-gib", "141", "MODEL")),
    "llmfit 1.1.17": Peer(None, ("llmfit", "plan", "MODEL", "--context", "8192")),
}  # fmt: skip


def models() -> dict[str, Repo]:
    """Five shapes, by names that a catalog of names knows too."""
    gguf = READERS["gguf"].seeds()[0]
    return {
        "Qwen/Qwen3-0.6B": shapes.qwen3_06b(),
        "meta-llama/Llama-3.1-8B": shapes.llama_8b(),
        "deepseek-ai/DeepSeek-V3": shapes.deepseek(),
        "deepseek-ai/DeepSeek-V3-0324": shapes.deepseek(offers_metadata=False),
        "Qwen/Qwen3-0.6B-GGUF": Repo({"model.gguf": Sparse(gguf, len(gguf) + 2**20)}),
    }


SHAPES = {
    "Qwen/Qwen3-0.6B": "one file",
    "meta-llama/Llama-3.1-8B": "four shards",
    "deepseek-ai/DeepSeek-V3": "163 shards",
    "deepseek-ai/DeepSeek-V3-0324": "163 shards, a mirror",
    "Qwen/Qwen3-0.6B-GGUF": "GGUF",
}


@dataclass(frozen=True)
class Cost:
    """What one answer cost."""

    cpu: float
    wall: float
    requests: int
    sent: int
    peak: int
    """Bytes of memory."""
    code: int


@dataclass(frozen=True)
class Tool:
    """How a tool is started, and where."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    looks: tuple[tuple[str, tuple[str, ...]], ...] = (("cold", ()),)
    """What is asked one after the other in one home, with more words."""


def measure(hub: HubStandIn, tool: Tool, model: str, runs: int) -> dict[str, Cost]:
    """Run a tool in fresh processes, each time in a new home; keep the cheapest of each look."""
    costs: dict[str, list[Cost]] = {look: [] for look, _ in tool.looks}
    for _ in range(runs):
        with _fresh_home(tool.environment) as environment:
            for look, more in tool.looks:
                words = [model if word == "MODEL" else word for word in tool.words]
                costs[look].append(_run_once(hub, [*words, *more], environment))
    return {look: min(found, key=lambda cost: cost.cpu) for look, found in costs.items()}


@contextmanager
def _fresh_home(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as home:
        fresh = {**environment, "HOME": home, "HF_HOME": f"{home}/hf", "WHICHGPU_CATALOG": f"{home}/catalog.db"}
        yield fresh | {f"XDG_{kind}_HOME": f"{home}/{kind.lower()}" for kind in ("DATA", "CONFIG", "CACHE", "STATE")}


def _run_once(hub: HubStandIn, command: Sequence[str], environment: dict[str, str]) -> Cost:
    hub.seen.clear()
    sent, begun = hub.bytes_sent, time.monotonic()
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peaks: list[int] = []
    watching = threading.Thread(target=_watch_memory, args=(child.pid, peaks), daemon=True)
    watching.start()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    spent = time.monotonic() - begun
    watching.join()
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(cpu, spent, len(hub.seen), hub.bytes_sent - sent, max(peaks, default=0), child.returncode)


def _watch_memory(pid: int, peaks: list[int]) -> None:
    """Note a process's largest resident size until it is gone. What wait4 says has its parent's in it, from before the exec."""
    status = Path(f"/proc/{pid}/status")
    while True:
        try:
            found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        except OSError:
            return
        if found is None:
            return
        peaks.append(int(found[1]) * 1024)
        time.sleep(0.02)


def ours(endpoint: str) -> Tool:
    """whichgpu, as it is installed here."""
    environment = {**os.environ, "HF_ENDPOINT": endpoint}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed programs run from compiled bytecode
    looks = (("cold", ()), ("second look", ()), ("offline", ("--offline",)))
    return Tool((sys.executable, "-m", "whichgpu", "--model", "MODEL", "--json"), environment, looks)


def theirs(peers: Path, folder: Path, endpoint: str) -> dict[str, Tool]:
    """The peers that are installed in an environment, patched where they have to be."""
    tools: dict[str, Tool] = {}
    packages = next(iter((peers / "lib").glob("python3*/site-packages")))
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "PYTHONPATH": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for name, peer in PEERS.items():
        if peer.module is None:
            if (peers / "bin" / peer.words[0]).exists():
                tools[name] = Tool((str(peers / "bin" / peer.words[0]), *peer.words[1:]), environment)
            continue
        if not (packages / peer.module).is_dir():
            continue
        if peer.replaced:
            shutil.copytree(packages / peer.module, folder / peer.module, ignore=shutil.ignore_patterns("__pycache__"))
            for path in (folder / peer.module).rglob("*.py"):
                text = path.read_text()
                for old, new in peer.replaced.items():
                    text = text.replace(old, endpoint if new == "ENDPOINT" else new)
                path.write_text(text)
        tools[name] = Tool((str(peers / "bin" / "python"), *peer.words), environment)
    return tools


def rows_of(hub: HubStandIn, tools: Mapping[str, Tool], runs: int) -> Iterator[tuple[str, ...]]:
    """Measure every tool on every shape."""
    for model, shape in SHAPES.items():
        for name, tool in tools.items():
            hub.delay = 0.0
            near = measure(hub, tool, model, runs)
            hub.delay = _LATENCY
            far = measure(hub, tool, model, 1)
            for look, cost in near.items():
                yield (shape, name, look, *_figures(cost, far[look]))


def _figures(near: Cost, far: Cost) -> tuple[str, ...]:
    if near.code:
        return _DASH, _DASH, _DASH, _DASH, _DASH, _DASH, f"ends with {near.code}"
    walls = f"{near.wall:.2f}", f"{far.wall:.2f}"
    return f"{near.cpu:.2f}", *walls, str(near.requests), f"{near.sent / 1000:,.0f}", f"{near.peak / 2**20:.0f}", ""


_COLUMNS = ("model", "tool", "look", "CPU s", "wall s", "at 50 ms", "requests", "kB", "MiB", "")
_HEAD = """# What an answer costs

<!-- Written by `python -m benchmarks.cold_start --peers PEERS --write docs/performance.md`. -->

Every tool in one run on one machine (two cores), against a loopback server that speaks the Hub's API; CPU is the best of {runs} runs. Seconds
depend on the machine; read the rows beside each other. Cold is a first run: an empty home, no catalog. A second look is the same question again, and
offline once more without a network. What the tools answer differs: hf-mem gives weights and a KV cache, kvfit counts sequences from file sizes,
modelinfo reads the index alone, llmfit looks models up in a list that it carries; whichgpu reads every header, plans {cards} accelerators at each
precision, and keeps what it found. “Ends with” is a tool's own exit code for what it does not take.
"""


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description="one-shot answers beside the peers")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    with HubStandIn(models()) as hub, tempfile.TemporaryDirectory() as name:
        tools = {"whichgpu": ours(hub.endpoint)}
        tools |= theirs(options.peers, Path(name), hub.endpoint) if options.peers is not None else {}
        page = str(tabulate(rows_of(hub, tools, options.runs), _COLUMNS, tablefmt="github", disable_numparse=True))
    print(page)
    if options.write:
        from whichgpu.tui.desk.facts import load_facts

        cards = sum(card.default for card in load_facts().accelerators)
        options.write.write_text(f"{_HEAD.format(runs=options.runs, cards=cards)}\n{page}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
