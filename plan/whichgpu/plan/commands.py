"""The command that runs a plan."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whichgpu.inspect.records import Inspection, ModelClass
from whichgpu.inspect.text import clean
from whichgpu.plan.records import KvDtype, Layout, Precision, Workload
from whichgpu.plan.support import is_pooling


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, or the reasons why there is none."""

    text: str | None
    reasons: tuple[str, ...] = ()


def serve_command(
    inspection: Inspection, workload: Workload, precision: Precision, layout: Layout, registry: Mapping[str, Any]
) -> Command:
    """Return the ``vllm serve`` command of a plan."""
    against = _against(inspection, precision)
    if against is not None:
        return Command(None, (against,))
    source = inspection.source
    words = ["vllm", "serve", source.path if source.kind == "folder" and source.path else source.name]
    if source.revision and source.kind == "hub":
        words += ["--revision", source.revision]
    if is_pooling(inspection, registry):
        words += ["--runner", "pooling"]
    if layout.tensor_parallel > 1:
        words += ["--tensor-parallel-size", str(layout.tensor_parallel)]
    if layout.pipeline_parallel > 1:
        words += ["--pipeline-parallel-size", str(layout.pipeline_parallel)]
    if "pooling" not in words:
        words += ["--max-model-len", str(workload.context)]
    if precision is Precision.FP8 and inspection.quantisation is None:
        words += ["--quantization", "fp8"]
    if workload.kv_dtype is KvDtype.FP8:
        words += ["--kv-cache-dtype", "fp8"]
    return Command(shlex.join(words))


def _against(inspection: Inspection, precision: Precision) -> str | None:
    """Why vLLM has no command for this; online quantisation reaches FP8 from a checkpoint in high precision alone."""
    source = inspection.source
    if ModelClass.DIFFUSION in inspection.classes:
        return "vLLM has no command for a diffusion pipeline"
    if source.kind == "file":
        return "vLLM serves folders and repositories; a lone file has no command"
    if source.path is not None and clean(source.path, 4096) != source.path:
        return "the folder's name holds control characters; rename it to get a command"
    published = inspection.quantisation.label if inspection.quantisation else None
    if precision is Precision.PUBLISHED or precision.value in (published or ""):
        return None
    if published is None and precision in (Precision.BF16, Precision.FP8):
        return None
    return (
        f"vLLM makes no {precision.value.upper()} of this checkpoint while loading; it takes a checkpoint published so"
    )
