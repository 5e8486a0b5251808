"""The command that runs a plan."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from whichgpu.inspect.records import Architecture, Inspection, ModelClass
from whichgpu.inspect.text import clean
from whichgpu.plan.case import ServedModel
from whichgpu.plan.drafting import config_of
from whichgpu.plan.formats import CONVERTED
from whichgpu.plan.loading import loading_words
from whichgpu.plan.media import limits_as_given
from whichgpu.plan.recipes import is_left_alone
from whichgpu.plan.records import KvDtype, Layout, Precision, Workload
from whichgpu.plan.runtime import GRAPHS_OFF, overestimates_graphs
from whichgpu.plan.support import is_pooling

_REPLACED = "\ufffd"
"""What ``clean`` puts in the place of a character that can't be printed."""

_KV_WORDS = {KvDtype.FP8: "fp8", KvDtype.BF16: "bfloat16"}
"""vLLM's names of what a cache is kept in."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, or the reasons why there is none."""

    text: str | None
    reasons: tuple[str, ...] = ()


def serve_command(model: ServedModel, workload: Workload, precision: Precision, layout: Layout) -> Command:
    """Return the ``vllm serve`` command of a plan."""
    against = _against(model.inspection, precision)
    if against is not None:
        return Command(None, (against,))
    words = serve_words(model, workload, precision, layout)
    prefix = f"{GRAPHS_OFF} " if overestimates_graphs(layout) else ""
    return Command(prefix + shlex.join(words))


def serve_words(model: ServedModel, workload: Workload, precision: Precision, layout: Layout) -> list[str]:
    """Return ``vllm serve`` and its arguments, as vLLM 0.32 takes them."""
    inspection = model.inspection
    source = inspection.source
    words = ["vllm", "serve", source.path if source.kind == "folder" and source.path else source.name]
    if source.revision and source.kind == "hub":
        words += ["--revision", source.revision]
    pooling = is_pooling(inspection, model.registry)
    words += [*loading_words(model), *(["--runner", "pooling"] if pooling else [])]
    words += _layout_words(layout)
    if not pooling:
        words += ["--max-model-len", str(workload.context)]
    if precision is Precision.FP8 and inspection.quantisation is None:
        words += ["--quantization", "fp8"]
    return [*words, *_setting_words(model.architecture, workload)]


def _layout_words(layout: Layout) -> list[str]:
    words: list[str] = []
    for option, size in (
        ("--tensor-parallel-size", layout.tensor_parallel),
        ("--pipeline-parallel-size", layout.pipeline_parallel),
        ("--data-parallel-size", layout.data_parallel),
        ("--decode-context-parallel-size", layout.context_parallel),
    ):
        words += [option, str(size)] if size > 1 else []
    return [*words, "--enable-expert-parallel"] if layout.expert_parallel else words


def _setting_words(architecture: Architecture | None, workload: Workload) -> list[str]:
    """Options that the user asked for, as far as the model has what they are about; what is left out is vLLM's default, as
    planned."""
    words: list[str] = []
    if workload.kv_dtype is not KvDtype.AUTO:
        words += ["--kv-cache-dtype", _KV_WORDS[workload.kv_dtype]]
    for option, value in (
        ("--max-num-seqs", workload.max_sequences),
        ("--max-num-batched-tokens", workload.batched_tokens),
    ):
        words += [option, str(value)] if value is not None else []
    if workload.utilisation_asked:
        words += ["--gpu-memory-utilization", f"{workload.utilisation:g}"]
    if workload.eager:
        words.append("--enforce-eager")
    if workload.text_only and architecture is not None and architecture.towers:
        words.append("--language-model-only")
    if workload.media_limits and architecture is not None and architecture.towers:
        words += ["--limit-mm-per-prompt", json.dumps(limits_as_given(workload.media_limits))]
    for option, size in (
        ("--cpu-offload-gb", workload.cpu_offload_gb),
        ("--kv-offloading-size", workload.kv_offloading_size),
    ):
        words += [option, f"{size:g}"] if size else []
    if workload.enable_lora:
        words += [
            *("--enable-lora", "--max-loras", str(workload.max_loras), "--max-lora-rank", str(workload.max_lora_rank)),
            *(["--fully-sharded-loras"] if workload.fully_sharded_loras else []),
        ]
    if workload.draft is not None:
        words += ["--speculative-config", json.dumps(config_of(workload.draft))]
    elif workload.speculative_tokens and architecture is not None and architecture.mtp_layers:
        drafts = {"method": "mtp", "num_speculative_tokens": workload.speculative_tokens}
        words += ["--speculative-config", json.dumps(drafts)]
    return words


def _against(inspection: Inspection, precision: Precision) -> str | None:
    """Why vLLM has no command for this; online quantisation reaches FP8 from a checkpoint in high precision alone."""
    source = inspection.source
    if ModelClass.DIFFUSION in inspection.classes:
        return "vLLM has no command for a diffusion pipeline"
    if source.kind == "file":
        return "vLLM serves folders and repositories; a lone file has no command"
    if source.path is not None and (_REPLACED in source.path or clean(source.path, 4096) != source.path):
        return "the folder's name holds control characters; rename it to get a command"
    quantisation = inspection.quantisation
    if precision is Precision.PUBLISHED or (quantisation and CONVERTED.get(precision) in quantisation.formats):
        return None
    if quantisation is None and precision in (Precision.BF16, Precision.FP8):
        return None
    assumed = any(is_left_alone(group, precision, inspection.architecture) for group in inspection.tensors)
    sized = ", sized as those of its kind are: attention as it was" if assumed else ""
    return f"vLLM makes no {precision.value.upper()} of this checkpoint while loading; it takes a checkpoint published so{sized}"
