"""Weights: bytes at a precision, in all and on each card of a layout.

First version: the parts decide what is sharded. Sources: vLLM 0.32 layers/linear.py, vocab_parallel_embedding.py,
fused_moe; layers/quantization/online (what an online FP8 converts).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from whichgpu.inspect.precisions import FP8_TENSOR, INT4_G128, MXFP4, NVFP4, Scheme
from whichgpu.inspect.records import Inspection, Part, TensorGroup
from whichgpu.plan.layouts import stage_layers
from whichgpu.plan.records import Precision

_SCHEMES: dict[Precision, Scheme] = {
    Precision.FP8: FP8_TENSOR,
    Precision.INT4: INT4_G128,
    Precision.NVFP4: NVFP4,
    Precision.MXFP4: MXFP4,
}
_KEPT_HIGH = frozenset({Part.EMBEDDING, Part.HEAD, Part.ROUTER, Part.NORM, Part.MTP, Part.OTHER, Part.AUTOENCODER})
_REPLICATED_PARTS = frozenset({Part.NORM, Part.ROUTER})
_REPLICATED_NAMES = re.compile(
    r"q_a_proj|kv_a_proj|fused_qkv_a|indexer|hc_|compressor|attn\.(wq_a|wkv)|per_layer_(input_gate|projection)|latent_(down|up)"
)
_FIRST_STAGE = frozenset({Part.EMBEDDING, Part.VISION, Part.AUDIO, Part.PROJECTOR})
_KEY_VALUE = re.compile(r"\b[kv]_proj\b")
_NOT_LINEAR = re.compile(r"conv|A_log|position|pos_emb|time_|sinks|tile_embedding|embedding|lru|ape$|(^|\.)D$")
_BIG_ENOUGH = 32
"""Smallest side of a matrix that quantisation touches."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Bytes of one tensor group and how they spread."""

    bytes: int
    part: Part
    replicated: bool
    key_value: bool
    packed_expert: bool


def is_linear(group: TensorGroup) -> bool:
    """True for the weight of a linear layer that an online or offline quantisation converts."""
    if group.part in _KEPT_HIGH or group.parameters == 0 or _NOT_LINEAR.search(group.name):
        return False
    matrix = group.shape[-2:]
    return len(matrix) == 2 and min(matrix) >= _BIG_ENOUGH


def is_loaded(group: TensorGroup, tied: bool | None) -> bool:
    """True for what vLLM keeps on the card.

    Next-token layers need speculative decoding; a stored head is left out when the embeddings are tied.
    """
    if group.part is Part.MTP:
        return False
    return not (tied and group.part is Part.HEAD and "lm_head" in group.name)


def published_bytes(group: TensorGroup) -> int:
    """Bytes as vLLM loads the published file: FP32 becomes BF16 (dtype auto), everything else stays."""
    stored = group.bytes or 0
    if group.dtype in ("F32", "F64") and group.parameters and not group.quantised:
        return group.parameters * 2
    return stored


def bytes_at(group: TensorGroup, precision: Precision) -> int:
    """Bytes of a group at a precision; scales of a published quantisation vanish when it is undone."""
    if precision is Precision.PUBLISHED:
        return published_bytes(group)
    scheme = _SCHEMES.get(precision)
    if scheme is None or not is_linear(group):
        return group.parameters * 2
    shape = group.shape if group.shape else (1,)
    if group.parameters != prod(shape) * group.count:
        return int(group.parameters * scheme.bytes_of((1, 1024)) / 1024)
    rows = prod(shape[:-1])
    return scheme.bytes_of((rows, shape[-1])) * group.count


def total_bytes(inspection: Inspection, precision: Precision) -> int | None:
    """Bytes of everything vLLM loads at a precision; ``None`` when the tensors are unknown."""
    loaded = _loaded(inspection)
    if precision is not Precision.PUBLISHED and any(g.dtype == "unknown" for g in loaded):
        return None
    return sum(bytes_at(g, precision) for g in loaded) if loaded else None


def bytes_per_card(inspection: Inspection, precision: Precision, tp: int, pp: int, expert_padding: float = 1.0) -> int:
    """Bytes on the fullest card: sharded weights / tp, replicated ones whole, each pipeline stage with its layers.

    ``expert_padding`` is what the card's kernels make of packed experts (``expert_padding.padding``).
    The first stage has the embedding and the towers too, the last the head; a tied head is a second copy there.
    """
    architecture = inspection.architecture
    kv_heads = architecture.kv_heads if architecture else None
    body, first, last = 0.0, 0.0, 0.0
    for placed in _placed(_loaded(inspection), precision):
        ways = 1 if placed.replicated else tp
        if placed.key_value and kv_heads and kv_heads < tp:
            ways = kv_heads
        size = placed.bytes / ways * (expert_padding if placed.packed_expert else 1.0)
        if placed.part in _FIRST_STAGE:
            first += size
        elif placed.part is Part.HEAD:
            last += size
        else:
            body += size
        if placed.part is Part.EMBEDDING and architecture is not None and architecture.tied_embeddings and pp > 1:
            last += size
    layers = (architecture.layers if architecture else None) or pp
    stages = [body * count / layers for count in stage_layers(layers, pp)]
    stages[0] += first
    stages[-1] += last
    return int(max(stages)) + _rotary_bytes(inspection)


def _rotary_bytes(inspection: Inspection) -> int:
    """Rotary tables, whole on every card."""
    tables = inspection.architecture.rotary_tables if inspection.architecture else ()
    return sum(t.width * t.positions * t.bytes_per_value for t in tables)


def _loaded(inspection: Inspection) -> list[TensorGroup]:
    tied = inspection.architecture.tied_embeddings if inspection.architecture else None
    return [g for g in inspection.tensors if is_loaded(g, tied)]


def _placed(groups: Iterable[TensorGroup], precision: Precision) -> Iterable[Placed]:
    for group in groups:
        replicated = group.part in _REPLICATED_PARTS or _REPLICATED_NAMES.search(group.name) is not None
        packed = group.part is Part.ROUTED_EXPERTS and (
            group.quantised if precision is Precision.PUBLISHED else is_linear(group)
        )
        key_value = _KEY_VALUE.search(group.name) is not None
        yield Placed(bytes_at(group, precision), group.part, replicated, key_value, packed)
