"""The architecture as this room works with it: one specification per layer, before it becomes a record."""

from __future__ import annotations

from dataclasses import dataclass, field

from whichgpu.inspect.config_view import ConfigView
from whichgpu.inspect.families import Family
from whichgpu.inspect.mixer_kinds import MixerKind


@dataclass(frozen=True, slots=True)
class MixerSpec:
    """One layer's token mixer. Widths are elements; the names follow ``records.Mixer``."""

    kind: MixerKind
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    v_head_dim: int | None = None
    window: int | None = None
    kv_lora_rank: int | None = None
    q_lora_rank: int | None = None
    rope_head_dim: int | None = None
    nope_head_dim: int | None = None
    index_heads: int | None = None
    index_head_dim: int | None = None
    compress_ratio: int | None = None
    inner: int | None = None
    """Width inside a recurrent mixer: Mamba's expanded width, an RG-LRU's, a short convolution's."""
    state_dim: int | None = None
    groups: int | None = None
    conv_kernel: int | None = None
    dt_rank: int | None = None
    """Of the steps of Mamba 1, or of a delta net's forget gate; 0 where that is one matrix."""
    key_heads: int | None = None
    key_dim: int | None = None
    output_gate: bool = False
    sinks: bool = False
    shared_key_value: bool = False
    """The layer stores one projection that serves as key and value (Gemma 4's global layers)."""
    shares_kv: bool = False
    """The layer reads an earlier layer's cache and has no key and value projection of its own."""
    state_dtype: str | None = None
    beside: MixerSpec | None = None
    """The recurrent mixer in the same layer as this attention (Falcon-H1, Zamba 2)."""


@dataclass(frozen=True, slots=True)
class FfnSpec:
    """One layer's feed-forward block."""

    kind: str
    intermediate: int | None = None
    experts: int | None = None
    top_k: int | None = None
    shared_experts: int | None = None
    shared_intermediate: int | None = None
    """Width of all shared experts together."""
    gated: bool = True
    latent: int | None = None
    """Width that the routed experts work in, where it differs from the hidden size."""
    expert_bias: bool = False
    router_bias: bool = False
    shared_gate: bool = False
    parallel_dense: int | None = None
    """Width of a dense block beside the experts (Gemma 4)."""
    gate_up_bias: bool = False
    image_intermediate: int | None = None
    """Width of the experts that image tokens have to themselves (ERNIE 4.5 VL)."""


@dataclass(slots=True)
class Design:
    """Everything the config says about the language model, one entry per layer."""

    view: ConfigView
    family: Family
    known: bool
    model_type: str | None
    hidden: int
    layers: int
    vocabulary: int | None
    context: int | None
    heads: int | None
    kv_heads: int | None
    head_dim: int | None
    tied: bool
    mixers: list[MixerSpec] = field(default_factory=list)
    ffns: list[FfnSpec] = field(default_factory=list)
    mtp_layers: int = 0
