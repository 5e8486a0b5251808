"""What vLLM needs beside weights and cache: activations, sampler, CUDA graphs, NCCL. A first allowance.

Sources: vLLM 0.32 engine/arg_utils.get_batch_defaults (batch sizes by card), v1/worker/gpu_worker (what is
charged), and public start-up logs; every term is an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

from whichgpu.inspect.records import Architecture
from whichgpu.plan.records import Accelerator

GIB = 2**30
_GRAPH_BYTES = 0.05 * GIB + 90 * 6.5 * 2**20
"""A small base and about 90 graphs of 5 to 8 MiB for attention models."""

_KERNELS_ALONE = 0.16 * GIB
_KERNELS_TOGETHER = 0.6 * GIB
"""cuBLAS, Triton and, with several cards, NCCL's channels."""

_VISION_PROFILE = 1.9 * GIB
"""vLLM profiles the largest image it may get; about this much for towers of 27 layers."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Default batch limits of ``vllm serve`` on a card."""

    tokens: int
    """max_num_batched_tokens."""
    sequences: int
    """max_num_seqs."""


def batch_defaults(accelerator: Accelerator) -> Batch:
    """Return the defaults by memory, as vLLM 0.32 chooses them for the server."""
    if accelerator.usable_gib >= 160:
        return Batch(16_384, 1024)
    if accelerator.usable_gib >= 70 and "A100" not in accelerator.name:
        return Batch(8_192, 1024)
    return Batch(2_048, 256)


def activation_bytes(architecture: Architecture | None, accelerator: Accelerator, tp: int) -> int:
    """Peak of one profiled step: the larger of the forward pass and the logits, and an image if there is a tower."""
    if architecture is None or not architecture.hidden:
        return GIB
    batch = batch_defaults(accelerator)
    dense = [f.intermediate if f.kind == "dense" else f.shared_intermediate for f in architecture.feed_forwards]
    width = max((w or 0 for w in dense), default=0)
    forward = batch.tokens * 2 * (2 * architecture.hidden + 3 * width / tp)
    logits = batch.sequences * (architecture.vocabulary or 0) * 4
    vision = _VISION_PROFILE if any(t.modality == "vision" for t in architecture.towers) else 0
    return int(max(forward, logits, vision))


def runtime_bytes(architecture: Architecture | None, accelerator: Accelerator, tp: int, graphs: bool = True) -> int:
    """Persistent buffers, CUDA graphs, kernels and, for experts, their workspace, in bytes per card."""
    batch = batch_defaults(accelerator)
    vocabulary = (architecture.vocabulary or 0) if architecture else 0
    buffers = batch.sequences * vocabulary * 4.125
    total = buffers + (_KERNELS_ALONE if tp == 1 else _KERNELS_TOGETHER) + expert_workspace(architecture, batch, tp)
    return int(total + (_GRAPH_BYTES if graphs else 0))


def expert_workspace(architecture: Architecture | None, batch: Batch, tp: int) -> int:
    """Two buffers that the fused expert kernel keeps: every routed token at both widths (layers/fused_moe, Triton)."""
    if architecture is None or not architecture.hidden:
        return 0
    sizes = [
        batch.tokens * (f.top_k or 1) * 2 * (max(width, architecture.hidden) + max(2 * width, architecture.hidden))
        for f in architecture.feed_forwards
        if f.kind == "moe" and (width := (f.intermediate or 0) // tp)
    ]
    return max(sizes, default=0)
