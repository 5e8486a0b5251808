"""vLLM itself as the judge: bytes per rank and KV cache groups of its real classes beside ours.

    python -m benchmarks.judge record MODELS_DIR --python VLLM_PYTHON [--only NAME ...] [--tp 1 2 4 8] [--vllm 0.33 --wheel FOLDER ...]
    python -m benchmarks.judge compare [--write docs/accuracy.md]

``record`` asks vLLM's CPU build (``vllm_worker.py``) about every folder of metadata and keeps what it says in
``judged.jsonl``. ``compare`` needs no vLLM: it puts the kept rows beside the bundled atlas.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.asking import answers_of
from whichgpu import assets
from whichgpu.catalog.atlas import Atlas
from whichgpu.catalog.atlas_index import FILE_NAME
from whichgpu.plan.case import ServedModel
from whichgpu.plan.engine import Engines
from whichgpu.plan.hardware import find, parse_accelerators
from whichgpu.plan.kv_pool import Pool
from whichgpu.plan.records import Kernels, Layout, Precision, Workload
from whichgpu.plan.sizing import Sizer
from whichgpu.plan.weight_table import ROUNDING

KEPT = Path(__file__).with_name("judged.jsonl")
_WORKER = Path(__file__).with_name("vllm_worker.py")
_POST_LOAD = (ROUNDING, "MLA copies")
"""Not there before weights are loaded, so not in what the classes hold."""


@dataclass(frozen=True)
class Verdict:
    """One model on one layout: vLLM's figures and ours."""

    model: str
    tp: int
    weights: int
    our_weights: int
    per_block: int
    our_per_block: int
    blocks: tuple[int, ...]
    our_blocks: tuple[int, ...]

    @property
    def weights_off(self) -> float:
        return self.our_weights / self.weights - 1 if self.weights else 0.0

    @property
    def cache_agrees(self) -> bool:
        return (self.per_block, self.blocks) == (self.our_per_block, self.our_blocks)


def record(
    folders: Sequence[Path], python: str, sizes: Sequence[int], places: Sequence[Path] = ()
) -> Iterator[dict[str, Any]]:
    """Ask the worker about every folder at every tensor-parallel size; yield what is worth keeping. ``places`` hold the Python
    of another release than the installed one."""
    requests = [{"folder": str(folder), "tp": tp} for folder in folders for tp in sizes]
    yield from map(_compact, answers_of(_WORKER, requests, python, places))


def _compact(answer: dict[str, Any]) -> dict[str, Any]:
    name = Path(answer["folder"]).name.replace("__", "/", 1)
    row: dict[str, Any] = {"model": name, "tp": answer["tp"]}
    if not answer["ok"]:
        return row | {"error": answer["error"][:160]}
    row |= {"class": answer["model_class"], "weights": answer["weights_bytes"], "length": answer["max_model_len"]}
    if "cache_error" in answer:
        return row | {"cache_error": answer["cache_error"][:160]}
    blocks = [g["blocks_per_request"] for g in answer["groups"]]
    return row | {"per_block": answer["bytes_per_block"], "blocks": blocks}


def rows(path: Path = KEPT) -> list[dict[str, Any]]:
    """Return the kept rows."""
    return [json.loads(line) for line in path.read_text().splitlines()]


class Comparison:
    """Kept rows beside what is worked out for the same models of an atlas."""

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas
        self._engines = Engines(assets.read("vllm_versions.json"))
        self._registry = json.loads(assets.read("vllm_architectures.json"))
        self._sizer_of = cache(self._make_sizer)

    def of(self, row: dict[str, Any]) -> Verdict | None:
        """Put a row beside ours; ``None`` where it has no figures, or its model is not in the atlas."""
        sizer = self._sizer_of(row["model"], row["vllm"]) if "weights" in row else None
        return verdict_of(sizer, row) if sizer is not None else None

    def _make_sizer(self, name: str, vllm: str) -> Sizer | None:
        inspection, engine = self._atlas.find(name), self._engines.of(vllm)
        return Sizer(ServedModel(inspection, engine, self._registry)) if inspection is not None else None


def compare(kept_rows: Iterable[dict[str, Any]], atlas: Atlas) -> Iterator[Verdict]:
    """Put every kept row that has figures beside ours."""
    comparison = Comparison(atlas)
    return (verdict for row in kept_rows if (verdict := comparison.of(row)) is not None)


def verdict_of(sizer: Sizer, row: dict[str, Any]) -> Verdict:
    """Put one row beside what is worked out for the same model and layout."""
    layout = Layout(tensor_parallel=row["tp"])
    workload = Workload(context=row["length"], concurrency=1, batched_tokens=8192)
    parts = sizer.table(Precision.PUBLISHED, workload).stages(layout, Kernels.MARLIN)
    ours = sum(size[0] for name, size in parts.items() if name not in _POST_LOAD)
    pool = sizer.cache(workload, layout, _h100())
    return Verdict(
        model=row["model"],
        tp=row["tp"],
        weights=row["weights"],
        our_weights=ours,
        per_block=row.get("per_block", 0),
        our_per_block=pool.bytes_per_block[0] if "per_block" in row else 0,
        blocks=tuple(sorted(row.get("blocks", ()))),
        our_blocks=_blocks(pool, row) if "per_block" in row else (),
    )


def _blocks(pool: Pool, row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(sorted(g.first.blocks(row["length"], 16_384, 1, 8_192) for g in pool.groups))


@cache
def _h100() -> Any:
    return find("h100", parse_accelerators(assets.read("accelerators.json")))


_HUB_ONLY = (
    "its quantisation is named in hf_quant_config.json or quantize_config.json alone, which vLLM did not take up here"
)
_HEAD = "another head: the files hold one and the class builds none, or the other way round"
_COPY = "the copy of the config lacks a key whose default differs"
_TRANSFORMERS = "runs through the Transformers backend, which leaves part of it whole on every card"

_PADDED = "expert biases are padded with the experts; under 0.33 FlashInfer's Python was there, and a kernel chosen that pads none"

EXPLAINED: dict[str, str] = {
    "BAAI/bge-large-en-v1.5": "pooler and position buffers of a BERT",
    "BAAI/bge-reranker-large": "pooler and position buffers of a BERT",
    "Intel/bert-base-uncased-mrpc": "pooler and position buffers of a BERT",
    "Supabase/gte-small": "pooler and position buffers of a BERT",
    "Snowflake/snowflake-arctic-embed-m": "pooler and position buffers of a BERT",
    "aspire/acge_text_embedding": "pooler and position buffers of a BERT",
    "dslim/bert-base-NER": "pooler and position buffers of a BERT",
    "intfloat/multilingual-e5-large-instruct": "pooler and position buffers of a BERT",
    "sentence-transformers/all-MiniLM-L6-v1": "pooler and position buffers of a BERT",
    "sentence-transformers/all-MiniLM-L6-v2": "pooler and position buffers of a BERT",
    "thenlper/gte-base": "pooler and position buffers of a BERT",
    "google-bert/bert-base-multilingual-cased": _HEAD,
    "google/electra-base-discriminator": _TRANSFORMERS,
    "intfloat/e5-mistral-7b-instruct": _HEAD,
    "OpenAssistant/oasst-sft-4-pythia-12b-epoch-3.5": "files hold causal masks, which the class does not build",
    "togethercomputer/RedPajama-INCITE-7B-Base": "files hold causal masks, which the class does not build",
    "microsoft/DialoGPT-small": "files hold causal masks and the tied head, which the class does not build",
    "lizpreciatior/lzlv_70b_fp16_hf": "the listed files are larger than the model that the config describes",
    "mistralai/Mistral-Small-3.1-24B-Instruct-2503": f"{_COPY}: tied or not (real starts load the head: 44.76 GiB)",
    "mistralai/Devstral-Small-2-24B-Instruct-2512": "the class quantises the image encoder too; the list of exceptions names it",
    "Qwen/Qwen3-32B-FP8-Static-PerTensor": _HUB_ONLY,
    "TheBloke/WizardCoder-15B-1.0-GPTQ": _HUB_ONLY,
    "TheBloke/wizard-mega-13B-GPTQ": _HUB_ONLY,
    "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-FP8": _HUB_ONLY,
    "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4": _HUB_ONLY,
    "nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-FP8": _HUB_ONLY,
    "nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-NVFP4": _HUB_ONLY,
    "nvidia/MiniMax-M3-NVFP4": "two small merge layers beside the image encoder",
    "WizardLMTeam/WizardCoder-15B-V1.0": _TRANSFORMERS,
    "Zyphra/Zamba2-7B": f"{_COPY}: the number of Mamba heads",
    "Qwen/Qwen3-ASR-0.6B": "the projection before the audio encoder, which its config describes by factors",
    "Qwen/Qwen2.5-Omni-7B-AWQ": "positions of the audio encoder are a buffer; zero points of AWQ",
    "Qwen/Qwen2-Audio-7B-Instruct": "positions and convolutions of the audio encoder are whole on every card",
    "Qwen/Qwen3-Omni-30B-A3B-Instruct": "convolutions of the audio encoder are whole on every card",
    "llava-hf/llava-1.5-7b-hf": "the class leaves out the encoder's last layer, whose output is not used",
    "llava-hf/llava-v1.6-mistral-7b-hf": "the class leaves out the encoder's last layer, whose output is not used",
    "zai-org/GLM-4.1V-9B-Thinking": "parts of the image merger are whole on every card",
    "zai-org/GLM-4.5V": "parts of the image merger are whole on every card",
    "openai/gpt-oss-20b": _PADDED,
    "openai/gpt-oss-120b": _PADDED,
    "deepseek-ai/DeepSeek-V2-Lite": "FlashInfer's Python, which was there for 0.33, brings a buffer of 20 MiB",
    "deepseek-ai/DeepSeek-V2-Lite-Chat": "FlashInfer's Python, which was there for 0.33, brings a buffer of 20 MiB",
    "openai/clip-vit-base-patch16": "the text side of CLIP is given a cache",
    "openai/clip-vit-large-patch14": "the text side of CLIP is given a cache",
    "openbmb/MiniCPM-V-4.6": "the class keeps recurrent states in BF16 although the config says FP32",
    "microsoft/Phi-3-mini-128k-instruct": "a window as long as the context costs one block more",
    "microsoft/Phi-3.5-MoE-instruct": "a window as long as the context costs one block more",
    "microsoft/Phi-3.5-mini-instruct": "a window as long as the context costs one block more",
    "microsoft/Phi-4-mini-instruct": "a window as long as the context costs one block more",
    "microsoft/Phi-4-mini-reasoning": "a window as long as the context costs one block more",
    "nvidia/Gemma-4-31B-IT-NVFP4": "an FP8 cache is read by another attention backend, whose blocks are four times as long",
    "openbmb/MiniCPM3-4B": "a second rotary table of its long-context scaling",
    "mistralai/Ministral-8B-Instruct-2410": "a window as long as the context costs one block more",
}
"""Why vLLM's classes and we differ, where the weights are more than ``CLOSE`` apart or the cache is not the same."""

CLOSE = 0.0007
"""Share of the weights within which differences are norms, scales and buffers too small to follow up."""


def main() -> None:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("models", type=Path)
    recording.add_argument("--python", default=sys.executable)
    recording.add_argument("--only", nargs="*", default=[])
    recording.add_argument("--tp", nargs="*", type=int, default=[1, 2, 4, 8])
    recording.add_argument("--vllm", default="0.32", help="the release that is asked")
    recording.add_argument(
        "--wheel", nargs="*", type=Path, default=[], help="its Python, if it is not the installed one"
    )
    recording.add_argument("--out", type=Path, default=KEPT)
    comparing = commands.add_parser("compare")
    comparing.add_argument("--kept", type=Path, default=KEPT)
    options = parser.parse_args()
    if options.command == "record":
        folder_names = {n.replace("/", "__") for n in options.only}
        folders = [p.parent for p in sorted(options.models.glob("*/config.json"))]
        model_folders = [f.resolve() for f in folders if not folder_names or f.name in folder_names]
        earlier = [row for row in rows(options.out) if row["vllm"] != options.vllm] if options.out.exists() else []
        answers = record(model_folders, options.python, options.tp, options.wheel)
        release_rows = [*earlier, *({"vllm": options.vllm} | row for row in answers)]
        options.out.write_text("".join(json.dumps(row) + "\n" for row in release_rows))
        return
    for verdict in compare(rows(options.kept), Atlas(assets.read(FILE_NAME))):
        marks = [f"weights {verdict.weights_off:+.3%}" if verdict.our_weights != verdict.weights else ""]
        if not verdict.cache_agrees:
            ours = f"{verdict.our_per_block} {verdict.our_blocks}"
            marks.append(f"cache {verdict.per_block} {verdict.blocks}, ours {ours}")
        if abs(verdict.weights_off) > CLOSE or not verdict.cache_agrees:
            marks.append(EXPLAINED.get(verdict.model, "NOT EXPLAINED"))
        print(f"{verdict.model} TP{verdict.tp}: {'; '.join(filter(None, marks)) or 'equal'}")


if __name__ == "__main__":
    main()
