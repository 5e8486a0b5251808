"""Weights: what is loaded, and its bytes at a precision.

Sources: vLLM 0.32 layers/quantization/online (what an online FP8 converts), models/*.load_weights (what is skipped).
"""

from __future__ import annotations

import re
from math import prod

from whichgpu.inspect.precisions import FP8_TENSOR, INT4_G128, INT8, MXFP4, NVFP4, Scheme
from whichgpu.inspect.records import Architecture, Inspection, Part, TensorGroup
from whichgpu.plan.engine import ClassRules
from whichgpu.plan.recipes import is_left_alone
from whichgpu.plan.records import Precision

SCHEMES: dict[Precision, Scheme] = {
    Precision.FP8: FP8_TENSOR,
    Precision.INT8: INT8,
    Precision.INT4: INT4_G128,
    Precision.NVFP4: NVFP4,
    Precision.MXFP4: MXFP4,
}
_KEPT_HIGH = frozenset({Part.EMBEDDING, Part.LOOKUP, Part.HEAD, Part.ROUTER, Part.NORM, Part.OTHER, Part.AUTOENCODER})
_NOT_LINEAR = re.compile(
    r"conv|A_log|position|pos_emb|time_|sinks|tile_embedding|embedding(?!_projection)|lru|ape$|(^|\.)D$"
)
_BIG_ENOUGH = 32
"""Smallest side of a matrix that quantisation touches."""

_KEPT_FP32 = re.compile(r"A_log$|e_score_correction_bias$|(^|\.)hc_|\.ape$|attn_sink$")
_INDEX_KEYS = re.compile(r"indexer\.(wk|weights_proj)\b")
"""DeepSeek-V3.2 and GLM-5: fused and unquantised in vLLM (models/deepseek_v2 wk_weights_proj)."""

_ENCODERS = frozenset({Part.VISION, Part.AUDIO, Part.PROJECTOR})
_TOWER_SIDE = 64
"""What an encoder's sides must divide by to be converted, where a class asks for it."""

_SHARED_WITH_TARGET = re.compile(r"embed_tokens|shared_head\.head|lm_head")
"""Next-token layers use the model's own embedding and head."""


def is_linear(group: TensorGroup) -> bool:
    """True for the weight of a linear layer that an online or offline quantisation converts."""
    if group.part in _KEPT_HIGH or group.parameters == 0 or _NOT_LINEAR.search(group.name):
        return False
    matrix = group.shape[-2:]
    return len(matrix) == 2 and min(matrix) >= _BIG_ENOUGH


def is_converted(group: TensorGroup, precision: Precision, architecture: Architecture | None) -> bool:
    """True for what a quantisation to this precision converts.

    FP8 while loading takes every linear layer, encoders too (layers/quantization/online); published recipes of the
    other formats leave encoders and projectors as they are, and more (recipes.py).
    """
    if precision is Precision.FP8:
        return is_linear(group)
    return is_linear(group) and group.part not in _ENCODERS and not is_left_alone(group, precision, architecture)


def is_quantised(group: TensorGroup, precision: Precision, architecture: Architecture | None) -> bool:
    """True for what is held quantised at a precision, be it by us or as published."""
    if precision is Precision.PUBLISHED or is_left_alone(group, precision, architecture):
        return group.quantised
    return precision in SCHEMES and is_converted(group, precision, architecture)


def is_loaded(
    group: TensorGroup, tied: bool | None, speculative: bool = False, without: frozenset[Part] = frozenset()
) -> bool:
    """True for what vLLM keeps on the card.

    Next-token layers need speculative decoding; a stored head is left out when the embeddings are tied; tables of n-grams lie in
    the host's memory (vLLM 0.33 config/engram.py, cpu_offload).
    """
    if group.part is Part.LOOKUP:
        return False
    if group.part is Part.MTP:
        return speculative and _SHARED_WITH_TARGET.search(group.name) is None
    if group.part in without:
        return False
    return not (tied and group.part is Part.HEAD and "lm_head" in group.name)


def published_bytes(group: TensorGroup) -> int:
    """Bytes as vLLM loads the published file: FP32 becomes BF16 (dtype auto), everything else stays."""
    stored = group.bytes or 0
    if group.dtype in ("F32", "F64") and group.parameters and not group.quantised:
        return group.parameters * 2
    return stored


def bytes_at(group: TensorGroup, precision: Precision, architecture: Architecture | None) -> int:
    """Bytes of a group at a precision; scales of a published quantisation vanish when it is undone."""
    if precision is Precision.PUBLISHED or is_left_alone(group, precision, architecture):
        return published_bytes(group)
    scheme = SCHEMES.get(precision)
    if scheme is None or not is_converted(group, precision, architecture):
        return group.parameters * 2
    shape = group.shape if group.shape else (1,)
    if group.parameters != prod(shape) * group.count:
        return int(group.parameters * scheme.bytes_of((1, 1024)) / 1024)
    rows = prod(shape[:-1])
    return scheme.bytes_of((rows, shape[-1])) * group.count


def engine_bytes(
    group: TensorGroup, precision: Precision, architecture: Architecture | None, classes: ClassRules
) -> int:
    """Bytes of a group as vLLM's class holds it, where that is not as stored.

    FP32 whatever the checkpoint: states' decay (A_log), routers' correction bias, hyper-connections, compressors'
    positions, some families' routers. BF16 although stored in FP8: the indexer's fused key and weight projection.
    Twice: one projection that serves as keys and values (Gemma 4's global layers).
    """
    kind = (architecture.model_type if architecture else None) or ""
    if _KEPT_FP32.search(group.name) and not group.quantised:
        return group.parameters * 4
    if group.part is Part.ROUTER and group.name.endswith("gate.weight") and kind.startswith(classes.fp32_routers):
        return group.parameters * 4
    if _INDEX_KEYS.search(group.name) and precision is Precision.PUBLISHED:
        return group.parameters * 2
    if (
        precision is Precision.FP8
        and kind.startswith(classes.unconverted_towers)
        and group.part in _ENCODERS
        and _odd_tower(architecture)
    ):
        return group.parameters * 2
    size = bytes_at(group, precision, architecture)
    if ".k_proj." in group.name and architecture is not None and _serves_twice(group, architecture):
        return 2 * size
    return size


def _odd_tower(architecture: Architecture | None) -> bool:
    towers = architecture.towers if architecture else ()
    sides = [side for t in towers if t.modality == "vision" for side in (t.hidden, t.intermediate) if side]
    return any(side % _TOWER_SIDE for side in sides)


def _serves_twice(group: TensorGroup, architecture: Architecture) -> bool:
    shared = [m for m in architecture.mixers if m.shared_key_value]
    return any(group.count == m.layers and group.shape[:1] == ((m.kv_heads or 0) * (m.head_dim or 0),) for m in shared)


def total_bytes(inspection: Inspection, precision: Precision) -> int | None:
    """Bytes of everything vLLM loads at a precision; ``None`` when the tensors are unknown."""
    tied = inspection.architecture.tied_embeddings if inspection.architecture else None
    loaded = [g for g in inspection.tensors if is_loaded(g, tied)]
    if precision is not Precision.PUBLISHED and any(g.dtype == "unknown" for g in loaded):
        return None
    return sum(bytes_at(g, precision, inspection.architecture) for g in loaded) if loaded else None
