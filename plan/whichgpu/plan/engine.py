"""What a version of vLLM does with a card's memory: dated changes, folded up to the version that is asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from whichgpu.inspect.records import Part, Record
from whichgpu.inspect.text import clean
from whichgpu.inspect.weight_formats import WeightFormat
from whichgpu.plan.choices import Precision
from whichgpu.plan.errors import FactsError, UnknownVersionError

_NUMBERS = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_VERSION = re.compile(r"v?[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?([-+.]?[A-Za-z][A-Za-z0-9.+-]{0,40})?")


class Spread(Record):
    """An estimate in GiB with its bounds."""

    low: float
    expected: float
    high: float


class Batch(NamedTuple):
    """Batch limits of ``vllm serve`` on a card."""

    tokens: int
    """max_num_batched_tokens."""
    sequences: int
    """max_num_seqs."""


class GraphTokens(Record):
    """Largest batches that CUDA graphs are captured for."""

    usual: int
    wide: int
    """On the generations and for the classes that say so."""


class WholeParts(Record):
    """Parts that some classes build without parallel layers: whole on every card."""

    classes: tuple[str, ...]
    """How their names begin."""
    parts: frozenset[Part]


class ClassRules(Record):
    """What vLLM's classes do that no config says. Model types and classes are named by how they begin."""

    full_latent_caches: tuple[str, ...]
    """Model types whose latent attention is cached as full keys and values, the values padded to the keys' width (not in
    model_arch_config_convertor.is_deepseek_mla)."""
    checkpointed_delta: tuple[str, ...]
    """Classes whose delta attention keeps one more block as a prefill checkpoint, as every Mamba 2 mixer does."""
    wide_graphs: tuple[str, ...]
    """Model types whose CUDA graphs are captured for ``GraphTokens.wide``."""
    second_rotary_tables: tuple[str, ...]
    """Model types whose indexer rotates the other way round and has a table of its own."""
    fp32_routers: tuple[str, ...]
    """Model types whose router is computed in FP32."""
    unconverted_towers: tuple[str, ...]
    """Model types whose image encoder stays BF16 under FP8 unless its sides divide by 64 (models/gemma4_mm)."""
    no_halves: tuple[str, ...]
    """Model types that vLLM does not compute in FP16 (config/model.py _FLOAT16_NOT_SUPPORTED_MODELS)."""
    single_stage: tuple[str, ...]
    """Classes whose first stage alone sees what later ones need (models/config.py Qwen4Exp: N-gram embeddings)."""
    parallel_projectors: tuple[str, ...]
    """Words in model types whose projector is made of parallel layers; others keep plain ones, whole on every card."""
    whole_parts: tuple[WholeParts, ...]

    def has_whole(self, part: Part, names: Sequence[str]) -> bool:
        """True where one of these classes keeps a part whole on every card."""
        return any(part in whole.parts and n.startswith(whole.classes) for whole in self.whole_parts for n in names)


class Engine(Record):
    """One version's rules."""

    version: str
    """As asked for, for example ``0.19.0``."""
    newer_than_known: bool = False
    """True when the version is younger than the newest one whose rules are known."""
    utilisation: float
    """Default share of the card (config/cache.py gpu_memory_utilization)."""
    graphs_charged: bool
    """CUDA graphs are estimated and taken from the pool; before, they came on top of the share."""
    whole_prompts: bool
    """Prompts are profiled whole (V0), not in chunks of max_num_batched_tokens."""
    large_cards: bool
    """Cards of 160 GiB and more have larger default batches."""
    sampler_bytes: float
    """Bytes per sequence and vocabulary entry of the sampler's dummy run, beside the logits themselves."""
    buffer_bytes: float
    """Bytes per sequence and vocabulary entry that stay resident."""
    kernels_gib: Spread
    """Memory beside torch on one card: cuBLAS, Triton and other kernels."""
    peers_gib: Spread
    """What linked cards of one layout add: NCCL channels and all-reduce workspaces."""
    in_flight_steps: int
    """Batches whose tokens a window must keep."""
    state_blocks: int
    """Blocks of recurrent state that a sequence holds."""
    hybrid_groups: bool
    """Layers with windows or states have block tables of their own; before, windows were sized as full attention."""
    unified_count: bool
    """The line "GPU KV cache size" is concurrency × length; before, it was blocks / groups × block size."""
    image_table_factor: int
    """How many times longer than the context the rotary table of Qwen3-VL and Qwen3.5 is."""
    block_fp8_refined: bool
    """Expert widths that are no multiple of 128 are taken by refining the FP8 scale blocks."""
    state_slots_checked: bool
    """A start is refused where max_num_seqs exceeds the blocks of recurrent state that the pool holds."""
    small_unified: bool
    """Cards that share the host's memory have the batch defaults of small ones."""
    delta_checkpoints: tuple[str, ...]
    """Starts of class names whose gated delta nets hold one state block more on cards where FlashInfer prefills."""
    fp8_caches: tuple[str, ...]
    """Starts of class names whose indexed latents are cached in FP8 by default, on the generations that say so."""
    halved_below: float
    """Compute capability below which BF16 is computed as FP16; 0 where such a card is refused instead."""
    sparse_latent_capability: float
    """Least CUDA compute capability with a kernel for sparse latent attention."""
    small_batch: Batch
    """Default limits of cards below 70 GiB, and of A100s."""
    large_batch: Batch
    huge_batch_tokens: int
    """max_num_batched_tokens from 160 GiB, where ``large_cards``."""
    graph_tokens: GraphTokens
    oldest_capability: float
    """Least CUDA compute capability that wheels are built for."""
    least_capability: dict[Precision, float]
    """The same per precision; below 8.9 FP8 runs weight-only."""
    method_capability: dict[str, dict[WeightFormat, float]] = Field(default_factory=dict)
    """Where a loader of checkpoints asks for more than its precision does (get_min_capability): by method and format."""
    classes: ClassRules
    sources: tuple[str, ...] = ()


class Engines:
    """All known versions.

    Raises:
        FactsError: damaged facts.
    """

    def __init__(self, data: bytes) -> None:
        try:
            facts = json.loads(data)
            self.newest = str(facts["newest"])
            self._changes: Sequence[tuple[tuple[int, int, int], dict[str, Any], str]] = [
                (version_numbers(c["since"]), c["set"], f"{c['since']}: {c['source']}") for c in facts["changes"]
            ]
            self.of(None)
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise FactsError("The facts about vLLM's versions are damaged.", "Reinstall whichgpu.") from error

    def of(self, version: str | None) -> Engine:
        """Return a version's rules; the newest known ones when none is named.

        Raises:
            UnknownVersionError: no number in it, or older than everything known.
        """
        numbers = version_numbers(version or self.newest)
        fields: dict[str, Any] = {}
        sources: list[str] = []
        for since, change, source in self._changes:
            if since <= numbers:
                fields |= change
                sources.append(source)
        if not fields:
            raise UnknownVersionError(f"vLLM {version} is older than what is known.", "Name 0.5 or newer.")
        spreads = {
            k: dict(zip(("low", "expected", "high"), fields[k], strict=True)) for k in ("kernels_gib", "peers_gib")
        }
        return Engine.model_validate(
            fields
            | spreads
            | {
                "version": version or self.newest,
                "newer_than_known": numbers[:2] > version_numbers(self.newest)[:2],
                "sources": tuple(sources),
            }
        )


def named_version(text: str) -> str:
    """Return a version as a person names it, whole: ``0.32``, ``v0.19.1``, ``0.33.0rc1+cu130``.

    Raises:
        UnknownVersionError: it is none.
    """
    if not _VERSION.fullmatch(text):
        raise UnknownVersionError(f"“{clean(text, 60)}” is no vLLM version.", "Write it like 0.32 or 0.19.1.")
    return text


def version_numbers(version: str) -> tuple[int, int, int]:
    """Return major, minor and patch of a vLLM version, to compare it by.

    Raises:
        UnknownVersionError: it is none.
    """
    match = _NUMBERS.search(version)
    if match is None:
        raise UnknownVersionError(f"“{version}” is no vLLM version.", "Write it like 0.32 or 0.19.1.")
    return int(match[1]), int(match[2]), int(match[3] or 0)
