"""What vLLM answered about layers and whole models, put together as the asset that plans look at (``starts.py``)."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HOLES = (
    "No module named",
    "not compiled with CUDA",
    "cannot import name",
    "has no attribute",
    "_OpNamespace",
    "is not installed",
    "out of meta tensor",
    "Can't load image processor",
    "Can't load feature extractor",
    "failed to be inspected",
    "Invalid type of HuggingFace processor",
    "Invalid repository ID",
)
"""What the pretended environment lacks, not vLLM, or the files at hand: no answer."""

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


def compact(rows: Iterable[Row], vllm: str) -> Iterator[Row]:
    """Yield what is worth keeping of the worker's rows: answers about layers, and about whole models."""
    for row in rows:
        if row.get("kind", {}).get("part") == "weights":
            continue  # which formats a card takes is in vllm_versions.json
        if "kind" in row:
            yield {"vllm": vllm, "kind": _plain(row["kind"]), "by": grouped(row["answers"])}
        elif "cells" in row:
            name = Path(row["folder"]).name.replace("__", "/", 1)
            kinds = [_plain(json.loads(kind)) for kind in row["kinds"]]
            layers = [kind for kind in kinds if kind["part"] == "attention"]
            yield {
                "vllm": vllm,
                "model": name,
                "class": row.get("class"),
                "attention": layers,
                "by": grouped(row["cells"]),
            }


def _plain(kind: Row) -> Row:
    return {key: value for key, value in kind.items() if value not in (False, None)}


def grouped(answers: dict[str, str]) -> dict[str, list[str]]:
    """Return the answers, each once, with the cells that got it."""
    cells: dict[str, list[str]] = defaultdict(list)
    for cell, answer in answers.items():
        cells[worded(answer)].append(cell.removesuffix("/auto") if cell.count("/") == 2 else cell)
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
    selector = _SELECTOR.search(answer)
    if selector is not None:
        kind = "sparse MLA" if "use_sparse=True" in answer else "MLA" if "use_mla=True" in answer else "attention"
        return f"!No valid attention backend for {kind} of head size {selector[1]}"
    plain = re.sub(r"compute capability [0-9.]+$", "its compute capability", answer[1:])
    return "!" + _CLUTTER.sub("", plain).strip()[:240]


def is_hole(answer: str) -> bool:
    """True where the environment spoke, not vLLM."""
    return answer.startswith("!") and any(word in answer for word in HOLES)


def _kind_of(kind: Row) -> tuple[str, str | None] | None:
    """The kind of a layer as plans know it, and its class where only that tells."""
    name = kind["class"]
    if name == "EncoderOnlyAttention":
        return ("class", f"{name} with sinks") if kind.get("sinks") else ("encoder", None)
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
        backends: dict[tuple[str, str], str] = {}
        for row in self._rows:
            for answer, cells in row["by"].items() if "model" in row else ():
                for kind in row["attention"] if not answer.startswith("!") else ():
                    backends |= {(json.dumps(kind, sort_keys=True), cell): answer for cell in cells}
        return backends

    def _word(self, answers: Iterable[str]) -> int:
        """The place of one answer of several: the first refusal, else the first name."""
        words = [answer for answer in answers if not is_hole(answer)]
        refusals = [answer for answer in words if answer.startswith("!")]
        word = (refusals or words or ["?"])[0]
        if word not in self.words:
            self.words.append(word)
        return self.words.index(word)

    def attention(self) -> list[Row]:
        """Return the rows of attention, heads with the same answers together."""
        answers: dict[tuple[str, str | None, int | None, str], list[list[str]]] = {}
        for row in self._rows:
            kind = row.get("kind", {})
            layer = _kind_of(kind) if kind.get("part") == "attention" else None
            if layer is None:
                continue
            by = {cell: answer for answer, cells in row["by"].items() for cell in cells}
            cache_of_kind = str(kind.get("cache", "auto"))
            label = json.dumps(kind, sort_keys=True)
            for cache in ("auto", "fp8") if cache_of_kind == "auto" or layer[0] == "compressed" else ("fp8",):
                key = (*layer, kind.get("head") if layer[0] in ("per head", "encoder") else None, cache)
                cells = answers.setdefault(key, [[] for _ in self.cards])
                for place, capability in enumerate(self.cards):
                    cell = f"{capability:g}/{cache if cache_of_kind == 'auto' else 'auto'}"
                    cell_answer = by.get(cell, "?")
                    cells[place].append(
                        self._started.get((label, cell), cell_answer) if cell_answer.startswith("!") else cell_answer
                    )
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

    def own_attention(self) -> list[str]:
        """Return the model classes whose attention is made of layers of their own alone."""
        kinds: dict[str, set[str]] = defaultdict(set)
        for row in self._rows:
            for kind in row.get("attention", ()) if row.get("class") else ():
                kinds[row["class"]].add((_kind_of(kind) or ("", None))[0])
        return sorted(
            name for name, layers in kinds.items() if "class" in layers and not layers & {"per head", "encoder"}
        )

    def classes(self, attention: Sequence[Row]) -> dict[str, list[str]]:
        """Return which model classes bring layers of their own that some card lacks a kernel for."""
        names = {row["name"] for row in attention if row["kind"] == "class"}
        class_layers: dict[str, set[str]] = defaultdict(set)
        for row in self._rows:
            for kind in row.get("attention", ()):
                layer = (_kind_of(kind) or ("", None))[1]
                if layer in names and row.get("class"):
                    class_layers[row["class"]].add(str(layer))
        return {name: sorted(layers) for name, layers in sorted(class_layers.items())}


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
        "own_attention": table.own_attention(),
        "words": table.words,
    }
