"""LoRA: the buffers that vLLM keeps on every card for the adapters of one batch, whether any is loaded or not.

Sources: vLLM 0.32 lora/layers/base_linear.py, column_parallel_linear.py, vocab_parallel_embedding.py, logits_processor.py and
fused_moe.py (shapes), lora/utils.py get_supported_lora_modules (which layers), lora/model_manager.py (towers are left out),
config/lora.py. A matrix of ``in`` × ``out`` gets A (rank × in) and B (out × rank) per slot, in the model's 16 bits. Under
tensor parallelism the side that the matrix is cut along is cut too; the other one is whole unless fully sharded. Where a checkpoint keeps queries,
keys and values (gate and up) as one, they share one A: sizes from a config alone count it once for each, a sixth too much for Phi-3.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from whichgpu.inspect.records import FeedForward, Part, TensorGroup
from whichgpu.plan.case import ServedModel
from whichgpu.plan.records import Workload
from whichgpu.plan.roles import Role, Stage, role_of, stage_of
from whichgpu.plan.sharding import Ways, kv_heads_of, spread

ADAPTERS = "LoRA adapters"
"""Component under which they are counted: vLLM makes them while it loads the model."""

WHY = "max_loras × max_lora_rank × (inputs + outputs) × 2 bytes of every linear layer, kept whether adapters are loaded or not"

_BYTES = 2
_INDEX_BYTES = 8
_LARGEST_VOCABULARY = 258_048
"""vLLM 0.32 lora/layers/logits_processor.py."""

_ADAPTED = frozenset({Part.ATTENTION, Part.DENSE_FFN, Part.SHARED_EXPERTS, Part.SSM, Part.ROUTER})
"""Linear layers of the language model; towers need ``--enable-tower-connector-lora``, drafters have none."""
_NO_LINEAR = re.compile(r"A_log|position|sinks|dt_bias|(^|\.)D$|norm|bias")
_ROW = re.compile(
    r"(o_proj|out_proj|down_proj|dense_4h_to_h|attn\.o|attention\.dense|fc2|c_proj|\bwo|wo_b|\bw2)\.weight$"
)
"""Row parallel: their inputs are cut, their outputs are whole."""

_EMBEDDING, _HEAD = "embed_tokens", "lm_head"


class Adapters(NamedTuple):
    """What a server keeps room for."""

    slots: int
    """max_loras."""
    rank: int
    """max_lora_rank."""
    fully_sharded: bool


def adapters_of(workload: Workload) -> Adapters | None:
    """Return what a workload keeps room for; ``None`` without ``--enable-lora``."""
    if not workload.enable_lora:
        return None
    return Adapters(workload.max_loras, workload.max_lora_rank, workload.fully_sharded_loras)


def adapters_refusal(model: ServedModel, workload: Workload) -> str | None:
    """Return why vLLM serves no adapters of a model; ``None`` where nothing is known against it."""
    architecture = model.architecture
    if not workload.enable_lora or architecture is None:
        return None
    lacking = next((name for name in architecture.names if name in _facts(model).get("without", ())), None)
    if lacking is not None:
        return f"vLLM {model.engine.version} has no LoRA for {lacking}: it would not start with --enable-lora"
    if _HEAD in _embeddings(model) and (architecture.vocabulary or 0) > _LARGEST_VOCABULARY:
        return (
            f"vLLM takes LoRA up to a vocabulary of {_LARGEST_VOCABULARY:,}; this one has {architecture.vocabulary:,}"
        )
    return None


def _facts(model: ServedModel) -> Mapping[str, Iterable[str]]:
    """What the classes of vLLM say of LoRA (``vllm_architectures.json``)."""
    facts: Mapping[str, Iterable[str]] = model.registry.get("lora", {})
    return facts


def _embeddings(model: ServedModel) -> frozenset[str]:
    """Which of embedding and head have adapters; a composite's are those of the language model within, nearly always both."""
    architecture, facts = model.architecture, _facts(model)
    if architecture is None:
        return frozenset()
    if architecture.towers:
        return frozenset({_EMBEDDING, _HEAD})
    tables = {_EMBEDDING: "embeddings", _HEAD: "heads"}
    return frozenset(
        module for module, table in tables.items() if any(name in facts.get(table, ()) for name in architecture.names)
    )


class AdapterBuffers:
    """The matrices of one model that have adapters."""

    def __init__(self, model: ServedModel, groups: Iterable[TensorGroup]) -> None:
        self._model = model
        self._matrices = [g for g in groups if _is_adapted(g)]

    def per_stage(self, adapters: Adapters, ways: Ways) -> Mapping[Stage, float]:
        """Return the bytes on one card if a single pipeline stage held all layers, by where they lie."""
        elements: dict[Stage, float] = defaultdict(float)
        for group in self._matrices:
            elements[stage_of(group, self._model.architecture)] += self._matrix(group, adapters, ways)
        for stage, count in self._others(adapters, ways):
            elements[stage] += count
        sizes = {stage: count * adapters.slots * _BYTES for stage, count in elements.items()}
        architecture = self._model.architecture
        if ways.tensor_parallel > 1 and _HEAD in _embeddings(self._model) and architecture is not None:
            padded = -(-(architecture.vocabulary or 0) // 64) * 64
            sizes[Stage.LAST] = sizes.get(Stage.LAST, 0.0) + padded * _INDEX_BYTES
        return sizes

    def _matrix(self, group: TensorGroup, adapters: Adapters, ways: Ways) -> float:
        """Elements per slot of all layers' A and B of one kind of matrix."""
        model, rank = self._model, adapters.rank
        role = role_of(group, model.architecture, model.engine.classes)
        outputs, inputs = group.shape[0], group.shape[-1]
        cards = spread(role, kv_heads_of(group, model.architecture), model.architecture, ways)
        sharded = ways.tensor_parallel if adapters.fully_sharded and role is not Role.REPLICATED else 1
        if _ROW.search(group.name) and role is not Role.REPLICATED:
            return group.count * rank * (inputs / cards + outputs / sharded)
        return group.count * rank * (inputs / sharded + outputs / cards)

    def _others(self, adapters: Adapters, ways: Ways) -> Iterator[tuple[Stage, float]]:
        """Routed experts, and embedding and head, which are whole on every card."""
        architecture = self._model.architecture
        if architecture is None or not architecture.hidden:
            return
        for block in architecture.feed_forwards:
            if block.kind == "moe" and block.experts and block.intermediate:
                yield (
                    Stage.EXPERTS,
                    block.layers * self._experts(block, block.latent or architecture.hidden, adapters, ways),
                )
        ends = adapters.rank * ((architecture.vocabulary or 0) + architecture.hidden)
        embeddings = _embeddings(self._model)
        if _EMBEDDING in embeddings:
            yield Stage.FIRST, ends
        if _HEAD in embeddings:
            yield Stage.LAST, ends

    def _experts(self, block: FeedForward, hidden: int, adapters: Adapters, ways: Ways) -> float:
        """Elements per slot of one layer's experts: A and B of gate, up and down, each expert with its own."""
        rank, experts, width = adapters.rank, block.experts or 0, block.intermediate or 0
        tp = ways.tensor_parallel if adapters.fully_sharded else 1
        if ways.expert_parallel:
            experts, tp = -(-experts // ways.ranks), 1
        else:
            width = width // ways.ranks
        names = self._model.architecture.names if self._model.architecture is not None else ()
        fused = any(name in _facts(self._model).get("fused_experts", ()) for name in names)
        into = 1 if fused or not block.gated else 2
        first = rank * (into * hidden / tp + (2 if block.gated else 1) * width)
        return experts * (first + rank * (width + hidden / tp))


def _is_adapted(group: TensorGroup) -> bool:
    """Matrices, and the causal convolutions of recurrent layers, which vLLM keeps as linear layers (channels × 1 × kernel)."""
    return (
        group.part in _ADAPTED
        and (len(group.shape) == 2 or (len(group.shape) == 3 and group.part is Part.SSM and group.shape[1] == 1))
        and group.parameters > 0
        and _NO_LINEAR.search(group.name) is None
    )
