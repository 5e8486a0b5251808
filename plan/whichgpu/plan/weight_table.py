"""The weights of one model at one precision, laid out over the cards of a layout.

Sources: vLLM 0.32 layers/linear.py, vocab_parallel_embedding.py, fused_moe, rotary_embedding,
attention/mla_attention.py (absorbed copies), distributed/utils.py (pipeline stages).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from whichgpu.inspect.mixer_kinds import MixerKind, traits
from whichgpu.inspect.records import Inspection, Part, TensorGroup
from whichgpu.inspect.weight_formats import WeightFormat
from whichgpu.plan import allocator, padding
from whichgpu.plan.adapters import ADAPTERS, AdapterBuffers, Adapters
from whichgpu.plan.case import ServedModel
from whichgpu.plan.formats import experts_format
from whichgpu.plan.layouts import stage_layers
from whichgpu.plan.records import Kernels, Layout, Precision
from whichgpu.plan.roles import Role, Stage, layers_of, role_of, stage_of
from whichgpu.plan.sharding import Ways, kv_heads_of, spread
from whichgpu.plan.weights import bytes_at, engine_bytes, is_linear, is_loaded, is_quantised

ROUNDING = "allocator rounding"
"""Component that is no tensor; the rest of ``WeightTable.stages`` sums to parameters and buffers."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Bytes that go the same way."""

    part: Part
    role: Role
    stage: Stage
    packed: bool
    """MXFP4 experts, which kernels pad."""
    row: int
    """Bytes of one row, where ROCm pads rows; else 0."""
    row_sharded: bool
    name: str
    """As vLLM keeps it: merged with its neighbours, or its own."""
    layers: int
    kv_heads: int
    """Heads that its keys and values are shared out by; 0 where it has none."""
    share: float
    """Part of its bytes that is one tensor; scales are tensors of their own."""


class _Ways(NamedTuple):
    """What one stage's bytes depend on, whatever the pipeline."""

    cards: Ways
    kernels: Kernels


class _Placing(NamedTuple):
    """A layout, and how kernels pad."""

    layout: Layout
    kernels: Kernels

    @property
    def one_stage(self) -> _Ways:
        return _Ways(Ways.of(self.layout), self.kernels)


class WeightTable:
    """The weights of one model at one precision, ready to be laid out over cards."""

    def __init__(
        self,
        model: ServedModel,
        precision: Precision,
        speculative: bool = False,
        without: frozenset[Part] = frozenset(),
        adapters: Adapters | None = None,
    ) -> None:
        inspection = model.inspection
        self._architecture = model.architecture
        tied = self._architecture.tied_embeddings if self._architecture else None
        groups = [g for g in inspection.tensors if is_loaded(g, tied, speculative, without)]
        self._pieces = _pieces(groups, model, precision)
        self._adapters, self._adapter_buffers = adapters, AdapterBuffers(model, groups)
        self._packed = any(p.packed for p in self._pieces)
        self._has_rows = any(p.row for p in self._pieces)
        self._places: dict[tuple[str, Stage], int] = {}
        self._merged: dict[tuple[str, Stage, int], int] = {}
        self._placed = [
            (
                piece,
                size,
                self._places.setdefault((piece.part.value, piece.stage), len(self._places)),
                self._merged.setdefault((piece.name, piece.stage, piece.layers), len(self._merged)),
            )
            for piece, size in self._pieces.items()
        ]
        self.total = sum(self._pieces.values())
        """Bytes of everything once: over all its cards, a layout holds at least this much."""
        self._buffers = _buffers(model)
        self._copies = any("kv_b_proj" in g.name and is_quantised(g, precision, self._architecture) for g in groups)
        self._indices = {kind: layers_of(kind, self._architecture) for kind in Stage} if self._architecture else {}
        self._one_stage_of = cache(self._one_stage)
        self._shares_of = cache(self._cut_stages)
        self._totals_of = cache(self._total_stages)
        self._stages_of = cache(self._stage_bytes)

    def same_as(self, other: WeightTable) -> bool:
        """True where both hold the same bytes in the same places."""
        return (self._pieces, self._buffers, self._copies) == (other._pieces, other._buffers, other._copies)

    def stages(self, layout: Layout, kernels: Kernels = Kernels.PLAIN) -> Mapping[str, tuple[int, ...]]:
        """Return, per component, the bytes on one card of each pipeline stage."""
        return self._stages_of(_Placing(layout, self._alike(kernels)))

    def per_stage(self, layout: Layout, kernels: Kernels = Kernels.PLAIN) -> tuple[int, ...]:
        """Return the bytes of everything on one card of each pipeline stage."""
        return self._totals_of(_Placing(layout, self._alike(kernels)))

    def _alike(self, kernels: Kernels) -> Kernels:
        """Kernels that pad the same of this model are one."""
        differ = self._packed or (self._has_rows and kernels is Kernels.ROCM)
        return kernels if differ else Kernels.PLAIN

    def _total_stages(self, placing: _Placing) -> tuple[int, ...]:
        parts = [*self._stages_of(placing).values(), (0,) * placing.layout.pipeline_parallel]
        return tuple(map(sum, zip(*parts, strict=True)))

    def _stage_bytes(self, placing: _Placing) -> Mapping[str, tuple[int, ...]]:
        stages = placing.layout.pipeline_parallel
        shares, part_bytes = self._shares_of(stages), self._one_stage_of(placing.one_stage)
        sums: dict[str, list[float]] = defaultdict(lambda: [0.0] * stages)
        for (name, stage), size in part_bytes.items():
            for index, share in enumerate(shares[stage]):
                sums[name][index] += size * share
        if stages > 1 and self._architecture is not None and self._architecture.tied_embeddings:
            # a tied head is a second copy on the last stage
            sums[Part.HEAD.value][-1] += sum(s for (name, _), s in part_bytes.items() if name == Part.EMBEDDING.value)
        sums["buffers"] = [float(self._buffers)] * stages
        return {name: tuple(map(int, values)) for name, values in sums.items() if any(values)}

    def _one_stage(self, ways: _Ways) -> Mapping[tuple[str, Stage], float]:
        """Bytes per component on one card if a single stage held all layers: the same however pipelines are cut."""
        sizes, single = [0.0] * len(self._places), [0.0] * len(self._merged)
        for piece, size, place, merged in self._placed:
            local = (
                size / spread(piece.role, piece.kv_heads, self._architecture, ways.cards) * self._padding(piece, ways)
            )
            sizes[place] += local
            single[merged] += local * piece.share / piece.layers
        part_bytes = dict(zip(self._places, sizes, strict=True))
        part_bytes["MLA copies", Stage.ATTENTION] = self._absorbed_bytes(ways.cards.tensor_parallel)
        if self._adapters is not None:
            kept = self._adapter_buffers.per_stage(self._adapters, ways.cards)
            part_bytes.update({(ADAPTERS, stage): held for stage, held in kept.items()})
        for (_, stage, layers), one in zip(self._merged, single, strict=True):
            rounding = allocator.unused(one) * layers
            if rounding:
                part_bytes[ROUNDING, stage] = part_bytes.get((ROUNDING, stage), 0.0) + rounding
        return part_bytes

    def _cut_stages(self, stages: int) -> dict[Stage, list[float]]:
        """Per kind of stage, the share of its bytes that each pipeline stage holds."""
        if stages == 1 or self._architecture is None:
            return {kind: [1.0 / stages] * stages for kind in Stage}
        owner = [
            s for s, count in enumerate(stage_layers(self._architecture.layers or stages, stages)) for _ in range(count)
        ]
        shares: dict[Stage, list[float]] = {}
        for kind in Stage:
            stage_shares = [0.0] * stages
            indices = self._indices[kind]
            for index in indices:
                stage_shares[owner[index]] += 1 / len(indices)
            shares[kind] = stage_shares
        shares[Stage.FIRST] = [1.0] + [0.0] * (stages - 1)
        shares[Stage.LAST] = [0.0] * (stages - 1) + [1.0]
        return shares

    def _padding(self, piece: _Piece, ways: _Ways) -> float:
        if piece.packed:
            return padding.packed_experts(
                self._architecture, ways.kernels, 1 if ways.cards.expert_parallel else ways.cards.ranks
            )
        if piece.row and ways.kernels is Kernels.ROCM:
            cards = ways.cards.tensor_parallel if piece.role is not Role.EXPERT else ways.cards.ranks
            whole = not piece.row_sharded or (piece.role is Role.EXPERT and ways.cards.expert_parallel)
            return padding.rows(piece.row if whole else piece.row // cards)
        return 1.0

    def _absorbed_bytes(self, tp: int) -> int:
        """MLA keeps kv_b_proj once more in BF16, per head, where the checkpoint has it quantised."""
        if not self._copies or self._architecture is None:
            return 0
        return sum(
            m.layers
            * (m.kv_lora_rank or 0)
            * ((m.heads or 0) // tp)
            * ((m.nope_head_dim or 0) + (m.v_head_dim or 0))
            * 2
            for m in self._architecture.mixers
            if m.kind is MixerKind.MLA
        )


def _buffers(model: ServedModel) -> int:
    """Rotary tables and four FP32 scales per attention layer, whole on every card.

    Classes of the Transformers backend have no tables.
    """
    architecture, engine = model.architecture, model.engine
    if architecture is None:
        return 0
    attention = [m for m in architecture.mixers if traits(m.kind).scaled and not m.shares_kv]
    scales = 16 * sum(m.layers for m in attention)
    if model.is_listed("transformers_backend"):
        return scales
    tables = sum(
        t.width * t.positions * t.bytes_per_value * (engine.image_table_factor if t.image_positions else 1)
        for t in architecture.rotary_tables
    )
    second = (architecture.model_type or "").startswith(engine.classes.second_rotary_tables)
    return scales + tables * (2 if second else 1)


def _pieces(groups: Iterable[TensorGroup], model: ServedModel, precision: Precision) -> dict[_Piece, int]:
    inspection, classes = model.inspection, model.engine.classes
    mxfp4 = experts_format(inspection, precision) is WeightFormat.MXFP4
    sums: dict[_Piece, int] = defaultdict(int)
    for group in groups:
        converted = is_quantised(group, precision, inspection.architecture)
        expert = group.part is Part.ROUTED_EXPERTS
        piece = _Piece(
            part=group.part,
            role=role_of(group, inspection.architecture, classes),
            stage=stage_of(group, inspection.architecture),
            packed=expert and converted and mxfp4,
            row=_padded_row(group, precision, converted),
            name=allocator.merged_name(group.name, group.part),
            layers=_layers_of(group, inspection),
            kv_heads=kv_heads_of(group, inspection.architecture),
            share=_main_share(group, bytes_at(group, precision, inspection.architecture)),
            row_sharded=re.search(r"down_proj|o_proj|out_proj|fc2|\bw2\b|dense_4h", group.name) is not None,
        )
        sums[piece] += _vocabulary_padded(group, engine_bytes(group, precision, inspection.architecture, classes))
    return sums


def _main_share(group: TensorGroup, size: int) -> float:
    """Share of a group's bytes that the packed weight itself takes: whole half-bytes per parameter."""
    if not group.parameters or not size:
        return 1.0
    packed = int(size / group.parameters * 2 + 1e-9) / 2 * group.parameters
    return packed / size if packed else 1.0


def _layers_of(group: TensorGroup, inspection: Inspection) -> int:
    """Tensors that a group becomes on a card: the experts of one layer are one."""
    blocks = inspection.architecture.feed_forwards if inspection.architecture else ()
    experts = max((f.experts or 1 for f in blocks), default=1)
    single = group.part is not Part.ROUTED_EXPERTS or group.count % experts or len(group.shape) > 2
    return max(1, group.count if single else group.count // experts)


def _padded_row(group: TensorGroup, precision: Precision, converted: bool) -> int:
    """Bytes of one row of what ROCm pads: experts in high precision and FP8 linear layers; 0 for all else."""
    if not is_linear(group):
        return 0
    if group.part is Part.ROUTED_EXPERTS and not converted:
        return group.shape[-1] * 2
    fp8 = precision is Precision.FP8 or (
        precision is Precision.PUBLISHED and group.dtype.lower().startswith(("fp8", "f8"))
    )
    return group.shape[-1] if fp8 and converted and group.part is not Part.ROUTED_EXPERTS else 0


def _vocabulary_padded(group: TensorGroup, size: int) -> int:
    """Embedding and head have their rows rounded up to 64 (DEFAULT_VOCAB_PADDING_SIZE)."""
    if group.part not in (Part.EMBEDDING, Part.HEAD) or len(group.shape) != 2 or "position" in group.name:
        return size
    return size // group.shape[0] * (-(-group.shape[0] // 64) * 64) if group.shape[0] else size
