"""The tables of docs/inspection.md, with the reason for every disagreement."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from tabulate import tabulate

if TYPE_CHECKING:
    from benchmarks.agreement import Row

TOLERANCE = 0.005

_MASKS = "the published count includes attention masks, stored as buffers; they are no parameters"
_TIED_TWICE = "embeddings are tied, yet the files store the head once more; a config cannot say so (headers do)"
_NO_HEAD = "an embedding model stored without the head that its config describes; headers show it"
_COPY = "the copy of the config lacks keys that the published one has"
_AUDIO = "speech tokenizers and decoders that the config describes too loosely to count"

EXPLAINED = {
    "openai-community/gpt2": _MASKS,
    "openai-community/gpt2-medium": _MASKS,
    "microsoft/DialoGPT-small": _MASKS,
    "EleutherAI/gpt-neox-20b": _MASKS,
    "Qwen/Qwen3-0.6B": _TIED_TWICE,
    "Qwen/Qwen3-1.7B": _TIED_TWICE,
    "Qwen/Qwen1.5-0.5B-Chat": _TIED_TWICE,
    "google/gemma-4-26B-A4B": _TIED_TWICE,
    "Qwen/Qwen3-Embedding-8B": _NO_HEAD,
    "zai-org/GLM-4.5-Air": f"{_COPY}: the next-token layer",
    "stepfun-ai/Step-3.7-Flash": f"{_COPY}: the vision tower",
    "stepfun-ai/Step-3.7-Flash-FP8": f"{_COPY}: the vision tower",
    "microsoft/VibeVoice-1.5B": _AUDIO,
    "microsoft/Phi-4-multimodal-instruct": "two LoRA adapters and a speech encoder that the config describes by name only",
    "RWKV/rwkv-5-world-3b": "the published count is that of the 1.5 B model; 32 layers of 2,560 give 2.9 B",
    "microsoft/Florence-2-large": "the config says FP32, the pickles hold FP16, and the vision tower is not described",
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": f"{_COPY}: the vision tower",
    "mistralai/Mistral-Large-3-675B-Instruct-2512": f"{_COPY}: the vision encoder",
}
"""Why a model's class or parameters differ from what is published."""

_TOTAL = "the published figure is the total; 6 of 64 experts and a vision encoder make 1.1 to 1.2 B"
_NO_HEAD_EITHER = "without embedding and head it is 39.3 B"
ACTIVE_EXPLAINED = {
    "deepseek-ai/DeepSeek-OCR": _TOTAL,
    "deepseek-ai/DeepSeek-OCR-2": _TOTAL,
    "baidu/Unlimited-OCR": _TOTAL,
    "zai-org/GLM-5.2": _NO_HEAD_EITHER,
    "zai-org/GLM-5.2-FP8": _NO_HEAD_EITHER,
    "nvidia/GLM-5.2-NVFP4": _NO_HEAD_EITHER,
    "zai-org/GLM-4.5V": "the text model without its embedding is 12.8 B",
    "mistralai/Mistral-Large-3-675B-Instruct-2512": "its publisher says 41 B, 39 B of them text, and the copy of the config lacks the vision encoder",
}
"""Why a model's active parameters differ from what is published."""


def summary(rows: list[Row]) -> str:
    """Return the headline figures as text."""
    agree = sum(r.class_agrees for r in rows)
    scored, close = _scored_rows(rows)
    judged = [r for r in rows if r.active_agrees is not None]
    sized = [r for r in rows if r.true_bytes and r.bytes]
    same = sum(abs((r.bytes or 0) - (r.true_bytes or 1)) <= TOLERANCE * (r.true_bytes or 1) for r in sized)
    return "\n".join(
        [
            f"classes: {agree}/{len(rows)} ({agree / len(rows):.1%})",
            f"parameters within 0.5 %: {close}/{len(scored)} ({close / max(1, len(scored)):.1%})",
            f"active parameters agree: {len(judged) - len(_active_off(rows))}/{len(judged)}",
            f"bytes within 0.5 %: {same}/{len(sized)} ({same / max(1, len(sized)):.1%})",
            f"answered: {sum(r.code in (0, 1) for r in rows)}/{len(rows)}",
            "grades: " + ", ".join(f"{k} {v}" for k, v in Counter(r.grade for r in rows).most_common()),
        ]
    )


def _active_off(rows: list[Row]) -> list[Row]:
    return [r for r in rows if r.active_agrees is False]


def _scored_rows(rows: list[Row]) -> tuple[list[Row], int]:
    scored = [r for r in rows if r.parameter_error is not None]
    return scored, sum(abs(r.parameter_error or 0) <= TOLERANCE for r in scored)


def markdown(rows: list[Row]) -> str:
    """Return the whole document."""
    blocks = [
        "# How right it is: what a model is",
        "<!-- Written by `python -m benchmarks.agreement MODELS_DIR --write docs/inspection.md`. -->",
        (
            f"{len(rows)} real models went through the command line, each served by the tests' Hub stand-in from its"
            " published metadata. No weights and no tensor headers were available for them, so what is measured here is"
            " the harder case: the architecture worked out from the config, checked against file sizes where they are"
            " known. With headers, counts are exact by construction (see `tests/test_counting.py`)."
        ),
        "```\n" + summary(rows) + "\n```",
        "## By class",
        _by_class(rows),
        "## Every disagreement",
        (
            "Parameters more than 0.5 % off the published count, or another class. “Published” is the Hub's own count"
            " (`safetensors.total`) or bytes divided by the width of the dtype."
        ),
        _disagreements(rows),
        "## Active parameters",
        (
            "What one token passes through: everything but the experts that the router leaves out. Publishers round,"
            " and some leave the embedding table out (gpt-oss: 3.6 B and 5.1 B); a figure agrees when it is within one"
            " unit of the last published digit, with the embedding or without it. These do not:"
        ),
        _active_disagreements(rows),
        "## Against vLLM",
        (
            "`tests/test_plan.py` compares weights per card with those of vLLM 0.32's real model classes (27 layouts,"
            " within 0.5 %), cache bytes per token with vLLM's KV specs (13 layouts, exact), and the KV pool of four"
            " worked examples (within 2 GiB). Not yet modelled: page rounding between kinds of layers, MLA"
            " copies. Activations, CUDA graphs and NCCL are a first"
            " allowance: beside 33 runs of vLLM 0.19 on H100s at their published precision (llm-d-planner's accuracy campaign), the KV"
            " pool per card was off by 0.4 GiB at the median and 1.9 GiB at most, too large rather than too small on"
            " several cards. `tests/test_plan.py` carries 13 of them."
        ),
    ]
    return "\n\n".join(blocks) + "\n"


def _by_class(rows: list[Row]) -> str:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row.expected_class].append(row)
    table = []
    for name, class_rows in sorted(grouped.items(), key=lambda kv: -len(kv[1])):
        scored, close = _scored_rows(class_rows)
        table.append((name, len(class_rows), sum(r.class_agrees for r in class_rows), len(scored), close))
    headers = ("published class", "models", "class agrees", "with a published count", "within 0.5 %")
    return str(tabulate(table, headers, tablefmt="github"))


def _active_disagreements(rows: list[Row]) -> str:
    table = [
        (
            r.name,
            f"{(r.true_active or 0) / 1e9:g} B",
            f"{(r.active or 0) / 1e9:.1f} B",
            ACTIVE_EXPLAINED.get(r.name, "not explained yet"),
        )
        for r in _active_off(rows)
    ]
    return str(tabulate(table, ("model", "published", "ours", "why"), tablefmt="github"))


def _disagreements(rows: list[Row]) -> str:
    table = []
    for row in rows:
        off = row.parameter_error
        wrong = off is not None and abs(off) > TOLERANCE
        if wrong or not row.class_agrees:
            share = f"{off:+.2%}" if wrong and off is not None else ""
            classes = f"{row.expected_class} / {row.label}" if not row.class_agrees else ""
            table.append((row.name, share, classes, EXPLAINED.get(row.name, "not explained yet")))
    return str(tabulate(table, ("model", "parameters", "class: published / ours", "why"), tablefmt="github"))
