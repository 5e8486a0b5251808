"""What stays on a card beside weights and cache: kernels, links, sampler buffers, expert workspaces, CUDA graphs.

Sources: vLLM 0.32 engine/arg_utils.get_batch_defaults (batch sizes by card), v1/worker/gpu_worker (what is
charged), v1/worker/workspace and layers/fused_moe (workspaces), config/compilation (capture sizes); start-up logs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from whichgpu.inspect.mixer_kinds import traits
from whichgpu.inspect.records import Architecture, Inspection, Part
from whichgpu.inspect.weight_formats import WeightFormat
from whichgpu.plan.case import Case, ServedModel
from whichgpu.plan.engine import Batch, Engine, Spread
from whichgpu.plan.formats import experts_format
from whichgpu.plan.records import Accelerator, ExpertKernel, Generation, Layout, MediaLimit, Precision, Workload
from whichgpu.plan.terms import GIB, Size, assumed, computed

_GRAPH_BASE = 0.1 * GIB
_GRAPH_PER_LAYER = 0.225 * 2**20
"""Bytes of one captured graph per layer: 18 starts of 0.19 on H100 (0.5 to 1.9 GiB for 102 graphs of 26 to 80 layers)."""

_HOST_SHARE = Spread(low=0.0, expected=1.4, high=4.5)
"""GiB that the host takes of a memory it shares: seven starts on GB10 differ by as much."""

_EXPERT_GRAPHS = 4 * GIB
"""What vLLM's estimate may add under expert parallelism (GLM-5.2 on four GB200: 4.99 GiB estimated, 4.13 used)."""

GRAPHS_OFF = "VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS=0"

_LINKED = 300
"""GB/s from which cards are joined by NVLink or Infinity Fabric rather than a bridge."""


def batch_of(card: Accelerator, engine: Engine, workload: Workload) -> Batch:
    """Return the limits in force: what the user asks for, else the defaults by memory and version."""
    large = card.usable_gib >= 70 and not card.small_batches and not (card.unified and engine.small_unified)
    tokens, sequences = engine.large_batch if large else engine.small_batch
    if engine.large_cards and card.usable_gib >= 160:
        tokens = engine.huge_batch_tokens
    if engine.whole_prompts:
        tokens, sequences = max(engine.small_batch.tokens, workload.context), engine.small_batch.sequences
    tokens = workload.batched_tokens or tokens
    return Batch(tokens, min(workload.max_sequences or sequences, tokens))


def has_checked_states(model: ServedModel, workload: Workload) -> bool:
    """True where vLLM compares max_num_seqs with the blocks of recurrent state: CUDA graphs are captured for them."""
    mixers = model.architecture.mixers if model.architecture is not None else ()
    return model.engine.state_slots_checked and not workload.eager and any(traits(m.kind).state_paged for m in mixers)


def whole_version(version: str) -> str:
    """``0.32.0`` of ``0.32``."""
    return version if version.count(".") > 1 else f"{version}.0"


def rocm_image(version: str) -> str:
    """vLLM's own image for AMD cards."""
    return f"vllm/vllm-openai-rocm:v{whole_version(version)}"


class CardKind(NamedTuple):
    """All that matters of a card for what lies beside weights and cache: cards of one kind have it in common."""

    vendor: str
    generation: Generation
    linked: bool
    """Joined by NVLink or Infinity Fabric rather than a bridge or PCIe."""
    unified: bool
    batch: Batch


def kind_of(card: Accelerator, engine: Engine, workload: Workload) -> CardKind:
    """Return the kind of a card under a version's batch limits."""
    linked = card.link_gbs >= _LINKED and card.linked_cards >= 4
    return CardKind(card.vendor, card.generation, linked, card.unified, batch_of(card, engine, workload))


class Ways(NamedTuple):
    """How a layout spreads one pipeline stage."""

    tensor_parallel: int
    data_parallel: int
    expert_parallel: bool
    alone: bool
    """One card is all."""


class StageCase(NamedTuple):
    """All that decides what lies beside weights and cache on one card of a pipeline stage."""

    precision: Precision
    card: CardKind
    ways: Ways
    eager: bool
    without: frozenset[Part]
    """Encoders that are not loaded."""
    media_limits: tuple[MediaLimit, ...]
    speculative_tokens: int
    adapters: bool
    """Graphs are captured with adapters and without."""
    first: bool
    """It holds the encoders."""
    last: bool
    """It samples."""


def stage_case(case: Case, kind: CardKind, stage: int, without: frozenset[Part] = frozenset()) -> StageCase:
    """Return what matters of a case for one pipeline stage."""
    layout, workload = case.layout, case.workload
    ways = Ways(layout.tensor_parallel, layout.data_parallel, layout.expert_parallel, layout.cards == 1)
    limits = workload.media_limits if stage == 0 else ()
    settings = workload.eager, without, limits, workload.drafted, workload.enable_lora
    return StageCase(
        case.precision, kind, ways, *settings, first=stage == 0, last=stage == layout.pipeline_parallel - 1
    )


def runtime_sizes(model: ServedModel, case: StageCase) -> Iterator[Size]:
    """Yield what stays resident on one card."""
    architecture, engine = model.architecture, model.engine
    card, batch = case.card, case.card.batch
    yield assumed("kernels", engine.kernels_gib, "cuBLAS, Triton and others beside torch, as measured for this version")
    if not case.ways.alone:
        yield _peers(card, case.ways, engine)
    if card.unified:
        yield assumed("the host's share", _HOST_SHARE, "the operating system uses the same memory")
    if architecture is None:
        return
    if case.last and engine.buffer_bytes and architecture.vocabulary:
        size = batch.sequences * architecture.vocabulary * engine.buffer_bytes
        why = "max_num_seqs × vocabulary × 4.1 bytes (V2 model runner)"
        yield computed("sampler buffers", size, (0.9, 1.1), why, "--max-num-seqs")
    workspace = expert_workspace(model.inspection, case)
    if workspace:
        why = "routed tokens × both expert widths, kept by the fused expert kernel"
        yield computed("expert workspace", workspace, (0.5, 1.3), why, "--max-num-batched-tokens")
    if engine.graphs_charged and not case.eager and architecture.mixers and not overestimates_graphs(case.ways):
        yield graphs(architecture, engine, case)


def overestimates_graphs(layout: Layout | Ways) -> bool:
    """True where vLLM's estimate of CUDA graphs is known to be useless: data and expert parallel together.

    Issues 57936 and 53013: 57 to 124 GiB. Plans for such layouts switch it off (``GRAPHS_OFF``).
    """
    return layout.expert_parallel and layout.data_parallel > 1


def _peers(card: CardKind, ways: Ways, engine: Engine) -> Size:
    if card.linked and ways.tensor_parallel > 1:
        why = "collectives and all-reduce workspaces over fast links, as measured on H100s"
        return assumed("links between cards", engine.peers_gib, why)
    expected = engine.peers_gib.low if ways.tensor_parallel > 1 else 0.0
    spread = Spread(low=0.0, expected=expected, high=min(engine.peers_gib.high, 1.0))
    return assumed("links between cards", spread, "NCCL channels without all-reduce workspaces")


def expert_workspace(inspection: Inspection, case: StageCase) -> float:
    """Bytes of the two buffers that the fused expert kernel keeps (layers/fused_moe), by kernel.

    Triton: rows × (max(I, H) + max(2I, H)) × 2. Marlin (packed 4 bit): twice as wide. DeepGEMM (FP8 blocks on
    Hopper and Blackwell): rows aligned per expert, one byte for the quantised input. rows = tokens × top-k.
    """
    architecture = inspection.architecture
    block = next((f for f in architecture.feed_forwards if f.kind == "moe"), None) if architecture else None
    if architecture is None or block is None or not architecture.hidden or not block.intermediate:
        return 0.0
    kernel, ways = expert_kernel(inspection, case.precision, case.card), case.ways
    if kernel is ExpertKernel.TRITON_MXFP4:
        return 0.0  # matmul_ogs allocates for the moment: nothing of gpt-oss stays (2.87 GiB, 0.19 on H100)
    ranks = ways.tensor_parallel * ways.data_parallel
    width = block.intermediate if ways.expert_parallel else block.intermediate // ranks
    hidden = block.latent or architecture.hidden
    rows = case.card.batch.tokens * (ways.data_parallel if ways.expert_parallel else 1) * (block.top_k or 1)
    if kernel is ExpertKernel.DEEPGEMM:
        experts = (block.experts or 1) // (ranks if ways.expert_parallel else 1)
        rows = -(-(rows + 127 * experts) // 128) * 128
        return rows * (max(width, hidden) + max(2 * width, hidden) * 2.0)
    factor = 2 if kernel is ExpertKernel.MARLIN else 1
    return rows * 2.0 * (max(factor * width, hidden) + max(2 * factor * width, hidden))


def expert_kernel(inspection: Inspection, precision: Precision, card: CardKind) -> ExpertKernel:
    """Return the kernel that runs the routed experts."""
    weight_format, quantisation = experts_format(inspection, precision), inspection.quantisation
    if weight_format is WeightFormat.MXFP4:
        return card.generation.mxfp4_experts
    if weight_format in _PACKED:
        return card.generation.packed_experts
    blocked = weight_format is WeightFormat.FP8 and quantisation is not None and quantisation.block is not None
    return ExpertKernel.DEEPGEMM if blocked and card.generation.deepgemm else ExpertKernel.TRITON


_PACKED = frozenset({WeightFormat.INT4, WeightFormat.INT8_PACKED, WeightFormat.NVFP4})
"""What is packed for Marlin (vLLM 0.32 quantization/{gptq,awq}_marlin.py), unless the card multiplies it as it is."""


def graphs(architecture: Architecture, engine: Engine, case: StageCase) -> Size:
    """CUDA graphs: one of each capture size piecewise, and one more whole up to max_num_seqs."""
    batch = case.card.batch
    by_class = (architecture.model_type or "").startswith(engine.classes.wide_graphs)
    wide = case.card.generation.wide_graphs or by_class
    captured = engine.graph_tokens.wide if wide else engine.graph_tokens.usual
    largest = min(2 * batch.sequences * (1 + case.speculative_tokens), captured, batch.tokens)
    count = _graph_count(largest, batch.sequences) * (
        2 if case.adapters else 1
    )  # v1/cudagraph_dispatcher._get_lora_cases
    size = _GRAPH_BASE + count * (architecture.layers or 0) * _GRAPH_PER_LAYER
    why = f"{count} graphs of {architecture.layers} layers at about 0.2 MiB a layer"
    graph_size = computed("CUDA graphs", size, (0.35, 1.7), why, "--enforce-eager")
    return graph_size._replace(high=graph_size.high + _EXPERT_GRAPHS) if case.ways.expert_parallel else graph_size


@cache
def _graph_count(largest: int, sequences: int) -> int:
    sizes = capture_sizes(largest)
    return len(sizes) + sum(s <= sequences for s in sizes)


def capture_sizes(largest: int) -> list[int]:
    """Batch sizes that are captured (vLLM 0.32 config/vllm.py _set_cudagraph_sizes)."""
    return [s for s in (1, 2, 4, *range(8, 256, 8), *range(256, largest + 1, 16)) if s <= largest]
