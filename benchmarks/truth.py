"""Rows of truth: what real starts of vLLM printed, and which of our models and cards they are about."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whichgpu.plan.errors import UnknownAcceleratorError
from whichgpu.plan.hardware import find
from whichgpu.plan.records import Accelerator, Precision

_TRAINING = {"instruct", "it", "base", "chat", "thinking", "hf", "2507", "2501", "meta", "bf16"}
"""Words of a model's name that say how it was trained, not how it is built."""

_SCHEMES: tuple[tuple[re.Pattern[str], Precision], ...] = (
    (re.compile(r"awq|gptq|w4a16|int4|4bit|autoround"), Precision.INT4),
    (re.compile(r"nvfp4|fp4"), Precision.NVFP4),
    (re.compile(r"w8a8|int8"), Precision.INT8),
    (re.compile(r"fp8"), Precision.FP8),
)
_SCHEME_WORDS = re.compile(r"quantized\.w\d+a\d+|w\d+a\d+|awq|gptq|int4|int8|4bit|autoround|nvfp4|fp8|dynamic|static")
_MEMORY_FAILURES = ("oom", "kv_too_small")


@dataclass(frozen=True)
class TruthRow:
    """One start of vLLM as its log tells it."""

    file: str
    number: int
    raw: dict[str, Any] = field(repr=False)

    def __getattr__(self, name: str) -> Any:
        return self.raw.get(name)

    @property
    def failed_for_memory(self) -> bool:
        return str(self.raw.get("outcome")) in _MEMORY_FAILURES

    @property
    def doubt(self) -> str | None:
        """Why the row is left out of a strict score, in the words of the data."""
        raw = self.raw
        if raw.get("suspect"):
            return f"suspect: {raw['suspect']}"
        marks = [k for k in ("model_uncertain", "approx", "derived", "lora", "offload_gb") if raw.get(k)]
        marks += [k for k, v in raw.items() if k.endswith("_inferred") and v]
        if marks:
            return f"marked {', '.join(marks)}"
        if "fork" in str(raw.get("vllm")) or "backport" in str(raw.get("vllm")):
            return "a fork of vLLM"
        if re.search(r"set by user|other knobs", str(raw.get("note"))):
            return "settings of the user's own that the row does not hold"
        return _contradiction(raw)


def _contradiction(raw: dict[str, Any]) -> str | None:
    """A row whose own terms don't add up to the share of the card that it states."""
    terms = [raw.get(k) for k in ("weights_gib", "act_gib", "nontorch_gib", "kv_gib")]
    total, share = raw.get("total_gib"), raw.get("gpu_mem_util")
    if total is None or share is None or any(t is None for t in terms) or (raw.get("pp") or 1) > 1:
        return None
    terms.append(raw.get("graph_est_gib") if _takes_graphs_off(raw) else None)
    implied = sum(t for t in terms if t is not None) / total
    if abs(implied - share) < 0.01:
        return None
    return f"contradicts itself: states {share} of the card, its own terms add up to {implied:.2f}"


def _takes_graphs_off(raw: dict[str, Any]) -> bool:
    """From 0.21 the estimate of CUDA graphs is taken off the pool (PR #38284)."""
    version = re.match(r"(\d+)\.(\d+)", str(raw.get("vllm")))
    return version is not None and (int(version[1]), int(version[2])) >= (0, 21)


def read_truth(path: Path) -> list[TruthRow]:
    """Read the rows of one file that are about memory; lines of other kinds are passed over."""
    rows: list[TruthRow] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            raw = json.loads(line)
        except ValueError:
            continue
        if isinstance(raw, dict) and "model" in raw and ("weights_gib" in raw or "kv_gib" in raw):
            rows.append(TruthRow(path.name, number, raw))
    return rows


def truth_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that hold memory rows."""
    for path in sorted(folder.glob("*.jsonl")):
        if read_truth(path):
            yield path


class Models:
    """Names of the models whose metadata is at hand."""

    def __init__(self, names: Sequence[str]) -> None:
        self._exact = {n.lower(): n for n in names}
        self._alike: dict[frozenset[str], list[str]] = {}
        for name in sorted(names, key=len):
            self._alike.setdefault(_words(name), []).append(name)

    def match(self, row: TruthRow) -> tuple[str, Precision, str | None] | None:
        """Return (our model, precision to ask for, how it was matched), or ``None``.

        Exactly; else the same build under another name; else the unquantised model at the row's precision.
        """
        name = re.sub(r"\s*[(+].*", "", str(row.model)).strip()
        exact = self._exact.get(name.lower())
        if exact is not None:
            return self._as_run(exact, row)
        scheme = scheme_of(f"{name} {row.quant or row.quantization or ''}".lower())
        alike = [a for a in self._alike.get(_words(name), ()) if scheme_of(a.lower()) is scheme]
        alike = [a for a in alike if scheme is None or a.split("/")[0] == name.split("/")[0] or "/" not in name]
        if alike:
            return alike[0], Precision.PUBLISHED, f"same build as {alike[0]}"
        precision = scheme_of(f"{row.model} {row.quant or row.quantization or ''}".lower())
        plain = _SCHEME_WORDS.sub(" ", name.lower())
        base = self._alike.get(_words(plain)) if plain != name.lower() else None
        if base and precision is not None:
            plain_base = next((b for b in base if scheme_of(b.lower()) is None), None)
            if plain_base:
                return plain_base, precision, f"{plain_base} at {precision.value}"
        return None

    @staticmethod
    def _as_run(name: str, row: TruthRow) -> tuple[str, Precision, str | None]:
        quantization = row.quantization or row.quant
        if (
            str(quantization).lower() == "fp8"
            and scheme_of(name.lower()) is None
            and str(row.dtype).startswith("torch")
        ):
            return name, Precision.FP8, "quantised while loading"
        return name, Precision.PUBLISHED, None


def scheme_of(text: str) -> Precision | None:
    """Return the precision that a name or a remark stands for."""
    return next((precision for rule, precision in _SCHEMES if rule.search(text)), None)


def _words(name: str) -> frozenset[str]:
    plain = re.sub(r"[^a-z0-9.]+", " ", name.split("/")[-1].lower())
    return frozenset(w for w in plain.split() if w not in _TRAINING)


def card_of(row: TruthRow, accelerators: Sequence[Accelerator]) -> Accelerator | None:
    """Return the card that a row names, else ``None``."""
    name = re.sub(r"\(.*|\bBlackwell\b.*|\b\d+ ?GB\b", "", str(row.gpu)).strip(" -")
    aliases = {"H100": "h100_sxm", "A100": "a100_80_sxm", "H200": "h200_sxm", "H100-SXM": "h100_sxm"}
    if "40GB" in str(row.gpu).replace(" ", "") and name.startswith("A100"):
        return find("a100_40_sxm", accelerators)
    if "94GB" in str(row.gpu).replace(" ", "") and name.startswith("H100"):
        return find("h100_nvl", accelerators)
    try:
        return find(aliases.get(name, name), accelerators)
    except UnknownAcceleratorError:
        return None
