"""vLLM itself as the judge of what starts: its selectors' answers as data, and whole models beside our gate.

    python -m benchmarks.starts ask MODELS_DIR --python VLLM_PYTHON --wheel FOLDER --vllm 0.33 [--only NAME ...]
    python -m benchmarks.starts write            # assets/whichgpu/assets/vllm_kernels.json from what was asked
    python -m benchmarks.starts commands MODELS_DIR --python VLLM_PYTHON --wheel FOLDER --vllm 0.33
    python -m benchmarks.starts compare MODELS_DIR [--write docs/starts.md]

``ask`` builds models on pretended cards (``starts_worker.py``, in vLLM's environment, with the Python of the release in
FOLDER) and keeps what each kind of layer got, and what whole models got, in ``asked.jsonl``. ``commands`` gives every
command that we recommend to vLLM's own parser and configuration. ``compare`` needs no vLLM.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.reference import parse_reference
from whichgpu.plan.hardware import find
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Workload
from whichgpu.tui.desk.facts import load_facts

ASKED = Path(__file__).with_name("asked.jsonl")
ASSET = Path(__file__).parent.parent / "assets" / "whichgpu" / "assets" / "vllm_kernels.json"
_WORKER = Path(__file__).with_name("starts_worker.py")
_WIDTHS = (1, 2, 4, 8)
"""Tensor-parallel sizes at which experts and quantised weights are asked about: their widths on one card decide."""
_HOLES = (
    "No module named",
    "not compiled with CUDA",
    "cannot import name",
    "has no attribute",
    "_OpNamespace",
    "is not installed",
)
"""What the pretended environment lacks, not vLLM: no answer."""

_FORMATS = {
    "Fp8MoEMethod": "fp8 block",
    "Fp8PerTensorOnlineMoEMethod": "fp8",
    "CompressedTensorsW8A8Fp8MoEMethod": "fp8",
    "CompressedTensorsWNA16MoEMethod": "int4",
    "AutoAWQMoEMethod": "int4",
    "GPTQMarlinMoEMethod": "int4",
    "Mxfp4MoEMethod": "mxfp4",
    "GptOssMxfp4MoEMethod": "mxfp4",
    "ModelOptNvFp4FusedMoE": "nvfp4",
    "CompressedTensorsW4A4Nvfp4MoEMethod": "nvfp4",
    "UnquantizedFusedMoEMethod": "bf16",
}
"""vLLM's classes of expert layers, as the formats that plans know."""

Row = dict[str, Any]


def requests_of(folders: Iterable[Path]) -> list[Row]:
    """Return what is asked of each model: all of it on one card; what has experts or is quantised, on more cards too."""
    requests: list[Row] = []
    for folder in folders:
        text = (folder / "config.json").read_text(encoding="utf-8", errors="replace")
        quantised = '"quantization_config"' in text or (folder / "hf_quant_config.json").exists()
        sizes = _WIDTHS if quantised or "expert" in text else (1,)
        requests += [{"folder": str(folder), "tp": tp} for tp in sizes]
        if "expert" in text and not quantised:
            requests += [{"folder": str(folder), "tp": tp, "quantization": "fp8"} for tp in sizes]
    return requests


_HEADS = (
    32,
    40,
    48,
    64,
    72,
    80,
    88,
    96,
    100,
    104,
    112,
    120,
    128,
    144,
    160,
    176,
    192,
    208,
    224,
    256,
    288,
    320,
    384,
    512,
)
"""Widths of a head to ask about, by a model whose config states its own."""


_HEADS_OF = "Qwen__Qwen3-8B"


def head_requests(folder: Path) -> list[Row]:
    """Return what is asked about widths of a head that no model at hand has."""
    return [{"folder": str(folder), "tp": 1, "overrides": {"head_dim": width}} for width in _HEADS]


def asked(requests: Sequence[Row], python: str, wheel: Path) -> Iterator[Row]:
    """Ask the worker, and yield its rows."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(p) for p in (wheel, wheel.parent / "site") if p.exists()),
    }
    with subprocess.Popen(
        [python, str(_WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write("".join(json.dumps(r) + "\n" for r in requests))
        worker.stdin.close()
        yield from (json.loads(line) for line in worker.stdout)


_TWELVE = (
    "t4", "rtx_3090", "a10", "l4", "l40s", "rtx_5090", "a100_80_sxm", "h100_sxm", "h200_sxm", "b200", "rtx_pro_6000_ws", "gb10",
)  # fmt: skip
"""Cards that commands are checked for: each capability, small and large."""


def command_requests(folders: Iterable[Path], names: Container[str]) -> Iterator[Row]:
    """Yield the command that we recommend for each model on each of twelve cards, where there is one."""
    facts = load_facts()
    cards = [find(name, facts.accelerators) for name in _TWELVE]
    for folder in folders:
        name = folder.name.replace("__", "/", 1)
        if name not in names:
            continue
        try:
            inspection = inspect_model(parse_reference(str(folder)))
        except WhichgpuError:
            continue
        workload = Workload(context=8192, concurrency=16, accelerators=tuple(card.key for card in cards))
        for plan in answer(inspection, workload, facts, side_by_side=False).plans:
            if plan.command is None or plan.layout is None:
                continue
            card = find(plan.accelerator, facts.accelerators)
            words = shlex.split(plan.command)
            yield {
                "model": name,
                "accelerator": card.key,
                "words": ["--model", *words[words.index("serve") + 1 :]],
                "capability": card.compute_capability,
                "name": card.name,
                "gib": card.usable_gib,
                "count": plan.layout.cards,
            }


def compact(rows: Iterable[Row], vllm: str) -> Iterator[Row]:
    """Yield what is worth keeping of the worker's rows: answers about layers, and about whole models."""
    for row in rows:
        if "kind" in row:
            yield {"vllm": vllm, "kind": _plain(row["kind"]), "by": _grouped(row["answers"])}
        elif "cells" in row:
            name = Path(row["folder"]).name.replace("__", "/", 1)
            kinds = [_plain(json.loads(kind)) for kind in row["kinds"]]
            layers = [kind for kind in kinds if kind["part"] == "attention"]
            yield {
                "vllm": vllm,
                "model": name,
                "class": row.get("class"),
                "attention": layers,
                "by": _grouped(row["cells"]),
            }


def _plain(kind: Row) -> Row:
    return {key: value for key, value in kind.items() if value not in (False, None)}


def _grouped(answers: dict[str, str]) -> dict[str, list[str]]:
    """Answers, each once, with the cells that got it."""
    cells: dict[str, list[str]] = defaultdict(list)
    for cell, said in answers.items():
        cells[worded(said)].append(cell.removesuffix("/auto") if cell.count("/") == 2 else cell)
    return dict(cells)


_SELECTOR = re.compile(
    r"No valid attention backend found for cuda with AttentionSelectorConfig\(head_size=(\d+).*?\)\. .*"
)
_CLUTTER = re.compile(
    r" on [A-Z][^()]*\(compute capability [0-9.]+\)|\. Re-run with .*| \[type=.*|^!?1 validation error for \w+ Value error,"
    r"| Current capability: \d+\.?"
)


def worded(answer: str) -> str:
    """Return an answer in vLLM's words, without what is of one card alone."""
    if not answer.startswith("!"):
        return answer
    found = _SELECTOR.search(answer)
    if found is not None:
        kind = "sparse MLA" if "use_sparse=True" in answer else "MLA" if "use_mla=True" in answer else "attention"
        return f"!No valid attention backend for {kind} of head size {found[1]}"
    plain = re.sub(r"compute capability [0-9.]+$", "its compute capability", answer[1:])
    return "!" + _CLUTTER.sub("", plain).strip()[:240]


def is_hole(answer: str) -> bool:
    """True where the environment spoke, not vLLM."""
    return answer.startswith("!") and any(word in answer for word in _HOLES)


def kept(path: Path = ASKED) -> list[Row]:
    """Return what was asked before."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _kind_of(kind: Row) -> tuple[str, str | None] | None:
    """The kind of a layer as plans know it, and its class where only that tells; ``None`` for one that keeps no cache of
    keys."""
    name = kind["class"]
    if name == "EncoderOnlyAttention":
        return None
    if kind.get("sparse") and kind.get("head"):
        return "indexed latent", None
    if name == "MLAAttention":
        return "latent", None
    if name.startswith("DeepseekV4") and kind.get("cache") == "fp8_ds_mla":
        return "compressed", None
    if kind.get("head") and kind.get("head_v") not in (None, kind["head"]):
        return "class", f"{name} {kind['head']}/{kind['head_v']}"
    if name.endswith("Attention") and kind.get("head") and not name.startswith(("Mamba", "Qwen")):
        return "per head", None
    return "class", name


class Table:
    """The answers of one release, put together: a layer is served where it was, or where a whole model with it was."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self.cards = sorted(
            {float(cell.split("/")[0]) for row in rows for cells in row["by"].values() for cell in cells}
        )
        self.words: list[str] = []
        self._started = self._starts()

    def _starts(self) -> dict[tuple[str, str], str]:
        """Backends of whole models that started, by kind of layer and cell."""
        started: dict[tuple[str, str], str] = {}
        for row in self._rows:
            for said, cells in row["by"].items() if "model" in row else ():
                for kind in row["attention"] if not said.startswith("!") else ():
                    started |= {(json.dumps(kind, sort_keys=True), cell): said for cell in cells}
        return started

    def _word(self, answers: Iterable[str]) -> int:
        """The place of one answer of several: the first refusal, else the first name."""
        told = [answer for answer in answers if not is_hole(answer)]
        refusals = [answer for answer in told if answer.startswith("!")]
        word = (refusals or told or ["?"])[0]
        if word not in self.words:
            self.words.append(word)
        return self.words.index(word)

    def attention(self) -> list[Row]:
        """Return the rows of attention, heads with the same answers together."""
        answers: dict[tuple[str, str | None, int | None, str], list[list[str]]] = {}
        for row in self._rows:
            kind = row.get("kind", {})
            found = _kind_of(kind) if kind.get("part") == "attention" else None
            if found is None:
                continue
            by = {cell: answer for answer, cells in row["by"].items() for cell in cells}
            own = str(kind.get("cache", "auto"))
            label = json.dumps(kind, sort_keys=True)
            for cache in ("auto", "fp8") if own == "auto" or found[0] == "compressed" else ("fp8",):
                key = (*found, kind.get("head") if found[0] == "per head" else None, cache)
                cells = answers.setdefault(key, [[] for _ in self.cards])
                for place, capability in enumerate(self.cards):
                    cell = f"{capability:g}/{cache if own == 'auto' else 'auto'}"
                    said = by.get(cell, "?")
                    cells[place].append(self._started.get((label, cell), said) if said.startswith("!") else said)
        return self._merged(answers)

    def _merged(self, answers: dict[tuple[str, str | None, int | None, str], list[list[str]]]) -> list[Row]:
        rows: dict[tuple[str, str | None, str, tuple[int, ...]], list[int]] = {}
        for (kind, name, head, cache), cells in sorted(answers.items(), key=str):
            by = tuple(self._word(a for a in cell if a != "?") for cell in cells)
            rows.setdefault((kind, name, cache, by), []).extend([head] if head is not None else [])
        return [
            {
                "kind": kind,
                **({"name": name} if name else {}),
                "heads": sorted(set(heads)),
                "cache": cache,
                "by": list(by),
            }
            for (kind, name, cache, by), heads in rows.items()
            if kind != "class" or any(self.words[i].startswith("!") for i in by)
        ]

    def experts(self) -> list[Row]:
        """Return the rows of routed experts, by format and the power of two that their width is a multiple of."""
        answers: dict[tuple[str, int], list[list[str]]] = {}
        for row in self._rows:
            kind = row.get("kind", {})
            weight_format = _FORMATS.get(kind["scheme"][0]) if kind.get("part") == "experts" else None
            if weight_format is None:
                continue
            by = {cell: answer for answer, cells in row["by"].items() for cell in cells}
            key = weight_format, min(kind["width"], 128)
            cells = answers.setdefault(key, [[] for _ in self.cards])
            for place, capability in enumerate(self.cards):
                cells[place].append(by.get(f"{capability:g}/auto", by.get(f"{capability:g}", "?")))
        return [
            {"format": f, "multiple": m, "by": [self._word(a for a in cell if a != "?") for cell in cells]}
            for (f, m), cells in sorted(answers.items())
        ]

    def classes(self, attention: Sequence[Row]) -> dict[str, list[str]]:
        """Return which model classes bring layers of their own that some card lacks a kernel for."""
        own = {row["name"] for row in attention if row["kind"] == "class"}
        found: dict[str, set[str]] = defaultdict(set)
        for row in self._rows:
            for kind in row.get("attention", ()):
                layer = (_kind_of(kind) or ("", None))[1]
                if layer in own and row.get("class"):
                    found[row["class"]].add(str(layer))
        return {name: sorted(layers) for name, layers in sorted(found.items())}


def release_of(rows: Sequence[Row], vllm: str) -> Row:
    """Return one release's answers as the asset keeps them."""
    table = Table([row for row in rows if row["vllm"] == vllm])
    attention, experts = table.attention(), table.experts()
    return {
        "vllm": vllm,
        "date": datetime.now(UTC).date().isoformat(),
        "source": f"vLLM {vllm}: its layers made on pretended cards (python -m benchmarks.starts)",
        "cards": table.cards,
        "attention": attention,
        "experts": experts,
        "classes": table.classes(attention),
        "words": table.words,
    }


def main() -> None:
    """Ask, write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=("ask", "write"))
    parser.add_argument("models", nargs="?", type=Path)
    parser.add_argument("--python")
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--vllm", default="0.33")
    parser.add_argument("--only", nargs="*", default=())
    options = parser.parse_args()
    if options.what == "ask":
        folders = sorted(p.parent for p in options.models.glob("*/config.json"))
        chosen = [f for f in folders if not options.only or f.name.replace("__", "/", 1) in options.only]
        heads = [request for f in chosen if f.name == _HEADS_OF for request in head_requests(f)]
        rows = compact(asked([*heads, *requests_of(chosen)], options.python, options.wheel), options.vllm)
        earlier = [row for row in kept() if row["vllm"] != options.vllm] if ASKED.exists() else []
        lines = [json.dumps(row, sort_keys=True) for row in (*earlier, *rows)]
        ASKED.write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)), encoding="utf-8")
    else:
        known = kept()
        releases = [release_of(known, vllm) for vllm in sorted({row["vllm"] for row in known})]
        ASSET.write_text(json.dumps({"schema_version": 1, "releases": releases}, indent=None) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
