"""The command that runs a plan."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from whichgpu.inspect.records import Inspection, ModelClass
from whichgpu.plan.records import KvDtype, Layout, Precision, Workload
from whichgpu.plan.support import is_pooling

_QUANTISATION = {Precision.FP8: "fp8"}
"""Precisions that ``vllm serve --quantization`` reaches from a BF16 checkpoint while it loads."""


def serve_command(
    inspection: Inspection, workload: Workload, precision: Precision, layout: Layout, registry: Mapping[str, Any]
) -> str | None:
    """Return the ``vllm serve`` command, or ``None`` where vLLM has none for this model or precision."""
    source = inspection.source
    if ModelClass.DIFFUSION in inspection.classes or source.kind == "file":
        return None
    published = inspection.quantisation is not None
    reachable = precision is Precision.PUBLISHED or (not published and precision in (Precision.BF16, Precision.FP8))
    if not reachable:
        return None
    words = ["vllm", "serve", source.path if source.kind == "folder" and source.path else source.name]
    if source.revision and source.kind == "hub":
        words += ["--revision", source.revision]
    if is_pooling(inspection, registry):
        return shlex.join([*words, "--runner", "pooling"])
    if layout.tensor_parallel > 1:
        words += ["--tensor-parallel-size", str(layout.tensor_parallel)]
    if layout.pipeline_parallel > 1:
        words += ["--pipeline-parallel-size", str(layout.pipeline_parallel)]
    words += ["--max-model-len", str(workload.context)]
    if precision in _QUANTISATION and not published:
        words += ["--quantization", _QUANTISATION[precision]]
    if workload.kv_dtype is KvDtype.FP8:
        words += ["--kv-cache-dtype", "fp8"]
    return shlex.join(words)
