"""How tensor parallelism treats a tensor, by its name, and which pipeline stage holds it.

Source: vLLM 0.32 layers/linear.py, layers/vocab_parallel_embedding.py, layers/fused_moe, models/*.py.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

from whichgpu.inspect.mixer_kinds import MixerKind, traits
from whichgpu.inspect.records import Architecture, Part, TensorGroup
from whichgpu.plan.engine import ClassRules


class Role(StrEnum):
    """What a tensor-parallel group does with a tensor."""

    SHARDED = "sharded"
    """Column or row parallel: an equal share on every card."""
    REPLICATED = "replicated"
    """Whole on every card."""
    KEY_VALUE = "key/value"
    """Shared out by key/value heads; a head is repeated where there are more cards than heads."""
    FUSED = "query, key and value"
    """Stored as one: queries are shared out, keys and values as for ``KEY_VALUE``."""
    EXPERT = "expert"
    """Routed experts: by width, or whole experts under expert parallelism."""


class Stage(StrEnum):
    """Where a pipeline keeps a tensor."""

    FIRST = "first"
    LAST = "last"
    ATTENTION = "attention layers"
    RECURRENT = "recurrent layers"
    DENSE = "dense layers"
    EXPERTS = "expert layers"
    EVERY = "every layer"


_REPLICATED_PARTS = frozenset({Part.NORM, Part.ROUTER})
_REPLICATED_NAMES = re.compile(
    r"q_a_proj|kv_a_proj|index_k_proj|fused_qkv_a|indexer|hc_|compressor|attn\.(wq_a|wkv)|per_layer_(input_gate|projection)"
    r"|latent_(down|up)|positions?\b|position_embed|pos_emb|wpe|patch_embed|class_embed|conv1\.|tid2eid"
)
_ROW_BIAS = re.compile(r"(o_proj|out_proj|down_proj|dense_4h_to_h|attn\.o|attention\.dense|fc2|c_proj|wo|w2)\.bias$")
"""Bias of a row-parallel layer: added once, kept whole everywhere."""

_KEY_VALUE = re.compile(r"\b[kv]_proj\b|\bw[kv]\b(?!\w)")
_FUSED = re.compile(r"(qkv_proj|query_key_value|c_attn|Wqkv)\.")
_TOWERS = frozenset({Part.VISION, Part.AUDIO, Part.PROJECTOR})


@lru_cache(maxsize=50_000)
def _by_name(name: str, part: Part) -> Role:
    if part in _REPLICATED_PARTS:
        return Role.REPLICATED
    if _REPLICATED_NAMES.search(name) or (part is not Part.ROUTED_EXPERTS and _ROW_BIAS.search(name)):
        return Role.REPLICATED
    if part is Part.ROUTED_EXPERTS:
        return Role.EXPERT
    if part not in _TOWERS and _KEY_VALUE.search(name):
        return Role.KEY_VALUE
    if part is Part.ATTENTION and _FUSED.search(name):
        return Role.FUSED
    return Role.SHARDED


def role_of(group: TensorGroup, architecture: Architecture | None, classes: ClassRules) -> Role:
    """Return what happens to a group under tensor parallelism."""
    if architecture is not None and classes.has_whole(group.part, architecture.names):
        return Role.REPLICATED
    if group.part is Part.PROJECTOR:
        kind = (architecture.model_type if architecture else None) or ""
        return Role.SHARDED if any(word in kind for word in classes.parallel_projectors) else Role.REPLICATED
    return _by_name(group.name, group.part)


def stage_of(group: TensorGroup, architecture: Architecture | None) -> Stage:
    """Return the pipeline stages that hold a group."""
    part = group.part
    if part is Part.EMBEDDING or part in _TOWERS:
        return Stage.FIRST
    if part in (Part.HEAD, Part.MTP) or group.name.startswith(("final_norm", "model.norm", "norm.")):
        return Stage.LAST
    if part is Part.SSM:
        return Stage.RECURRENT
    if part is Part.ATTENTION:
        return Stage.ATTENTION
    if part in (Part.ROUTED_EXPERTS, Part.SHARED_EXPERTS, Part.ROUTER):
        return Stage.EXPERTS
    kinds = {f.kind for f in architecture.feed_forwards} if architecture else set()
    return Stage.DENSE if part is Part.DENSE_FFN and "dense" in kinds else Stage.EVERY


def layers_of(stage: Stage, architecture: Architecture) -> list[int]:
    """Indices of the layers that a stage kind stands for; all layers where the config does not tell them apart."""
    everything = list(range(architecture.layers or 1))
    mixers, blocks = architecture.mixers, architecture.feed_forwards
    layer_indices: list[int] = []
    if stage in (Stage.ATTENTION, Stage.RECURRENT):
        recurrent = stage is Stage.RECURRENT
        spec_indices = {
            i for i, m in enumerate(mixers) if m.kind is not MixerKind.NONE and traits(m.kind).recurrent == recurrent
        } | {i for i, m in enumerate(mixers) if m.kind is MixerKind.HYBRID}
        layer_indices = [i for i, index in enumerate(architecture.mixer_layout) if index in spec_indices]
    elif stage in (Stage.DENSE, Stage.EXPERTS):
        block_kind = "dense" if stage is Stage.DENSE else "moe"
        spec_indices = {i for i, f in enumerate(blocks) if f.kind == block_kind}
        layer_indices = [i for i, index in enumerate(architecture.feed_forward_layout) if index in spec_indices]
    return layer_indices or everything
