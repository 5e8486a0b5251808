"""Tensors of attention layers: grouped-query, latent (MLA), DeepSeek-V4's compressed, cross."""

from __future__ import annotations

from whichgpu.inspect.blueprint.table import Row, matrix, norm, vector
from whichgpu.inspect.config_view import as_integer
from whichgpu.inspect.design import Design, MixerSpec
from whichgpu.inspect.mixer_kinds import MixerKind
from whichgpu.inspect.records import Part

_A = Part.ATTENTION


def attention_bias(design: Design) -> str:
    """Letters of the projections that have a bias, from the config, else from the class."""
    view, family = design.view, design.family
    if view.flag("attention_bias") is True:
        return family.config_bias
    if view.flag("add_qkv_bias", "qkv_bias", "use_qkv_bias", "attention_qkv_bias") is True:
        return "qkv"
    if view.flag("use_bias", "bias", "add_bias_linear") is True:
        return "qkvo"
    stated = view.flag("attention_bias", "use_bias", "qkv_bias", "use_qkv_bias", "bias")
    return "" if stated is False and not family.ignores_bias_key else family.attention_bias


def qk_norm(design: Design) -> str:
    stated = design.view.flag("use_qk_norm", "qk_layernorm", "attention_qk_norm", "use_query_key_norm")
    if design.family.weightless_qk_norm:
        return ""
    if stated is True:
        return design.family.qk_norm or "head"
    return "" if stated is False else design.family.qk_norm


def grouped_query(design: Design, spec: MixerSpec, name: str = "self_attn") -> list[Row]:
    """q, k, v and o with their biases and norms."""
    h, heads, kv, d = design.hidden, spec.heads, spec.kv_heads, spec.head_dim
    if not heads or not kv or not d:
        return []
    v = spec.v_head_dim or d
    if design.family.attention_experts:
        return _expert_attention(design, heads, kv, d, name)
    bias = attention_bias(design)
    rows = matrix(f"{name}.q_proj", _A, heads * d * (2 if spec.output_gate else 1), h, "q" in bias)
    if not spec.shares_kv:
        rows += matrix(f"{name}.k_proj", _A, kv * d, h, "k" in bias)
        if not spec.shared_key_value:
            rows += matrix(f"{name}.v_proj", _A, kv * v, h, "v" in bias)
    rows += matrix(f"{name}.o_proj", _A, h, heads * v, "o" in bias)
    rows += matrix(f"{name}.relative", _A, heads * d, h) if design.family.relative_matrix else []
    rows += _qk_norms(design, spec, name, heads, kv, d)
    if spec.index_heads and spec.index_head_dim:
        rows += matrix(f"{name}.index_q_proj", _A, spec.index_heads * spec.index_head_dim, h)
        rows += matrix(f"{name}.index_k_proj", _A, spec.index_head_dim, h)
    rows += _mixed_heads(design, heads + kv, d, name)
    return rows + vector(f"{name}.sinks", _A, heads if spec.sinks else None)


def _expert_attention(design: Design, heads: int, kv: int, d: int, name: str) -> list[Row]:
    """JetMoE: an expert is a query and an output projection; all of them share keys and values (transformers JetMoeMoA)."""
    experts, h = as_integer(design.view.value("num_local_experts")) or 1, design.hidden
    rows = matrix(f"{name}.experts.q_proj", Part.ROUTED_EXPERTS, kv * d, h, count=experts)
    rows += matrix(f"{name}.experts.o_proj", Part.ROUTED_EXPERTS, h, kv * d, count=experts)
    rows += matrix(f"{name}.router", Part.ROUTER, experts, h) + vector(f"{name}.bias", _A, h)
    return rows + matrix(f"{name}.k_proj", _A, kv * d, h) + matrix(f"{name}.v_proj", _A, kv * d, h)


def _mixed_heads(design: Design, heads: int, d: int, name: str) -> list[Row]:
    """Zaya convolves queries and keys over the last tokens: each channel, then each head (transformers ZayaQKVProjection)."""
    tokens = [as_integer(design.view.value(key)) for key in ("cca_time0", "cca_time1")]
    if tokens[0] is None or tokens[1] is None:
        return []
    rows = [
        Row(f"{name}.conv_channels", _A, (heads * d, 1, tokens[0])),
        Row(f"{name}.conv_heads", _A, (heads * d, d, tokens[1])),
    ]
    return rows + vector(f"{name}.conv_bias", _A, heads * d, 2)


def _qk_norms(design: Design, spec: MixerSpec, name: str, heads: int, kv: int, d: int) -> list[Row]:
    kind = qk_norm(design)
    if not kind:
        return []
    sizes = {"head": (d, d), "layer": (d, d), "full": (heads * d, kv * d), "each": (heads * d, kv * d)}[kind]
    rows = norm(f"{name}.q_norm", sizes[0], "layer" if kind == "layer" else "rms")
    if not spec.shares_kv:
        rows += norm(f"{name}.k_norm", sizes[1], "layer" if kind == "layer" else "rms")
    return rows


def latent(design: Design, spec: MixerSpec) -> list[Row]:
    """MLA: low-rank q, one latent for k and v, and the sparse indexer where the layer has one."""
    h, heads = design.hidden, spec.heads or 0
    rope, nope, v = spec.rope_head_dim or 0, spec.nope_head_dim or 0, spec.v_head_dim or 0
    q_width = heads * (nope + rope)
    if not v and spec.kv_lora_rank:
        v = nope
    rows: list[Row] = []
    if spec.q_lora_rank:
        rows += matrix("self_attn.q_a_proj", _A, spec.q_lora_rank, h) + norm("self_attn.q_a_norm", spec.q_lora_rank)
        joint = design.family.joint_query_gate
        into = (2 if joint else 1) * spec.q_lora_rank
        rows += matrix("self_attn.q_b_proj", _A, q_width + (heads * v if joint else 0), into)
    else:
        rows += matrix("self_attn.q_proj", _A, q_width, h)
    rows += matrix("self_attn.kv_a_proj_with_mqa", _A, (spec.kv_lora_rank or 0) + rope, h)
    rows += norm("self_attn.kv_a_norm", spec.kv_lora_rank)
    rows += matrix("self_attn.kv_b_proj", _A, heads * (nope + v), spec.kv_lora_rank)
    rows += matrix("self_attn.o_proj", _A, h, heads * v)
    if spec.output_gate:
        rows += matrix("self_attn.g_proj", _A, heads * v, h)
    return rows + indexer(design, spec)


def indexer(design: Design, spec: MixerSpec) -> list[Row]:
    """DeepSeek-V3.2's lightning indexer, in BF16 and never sharded."""
    if not spec.index_heads or not spec.index_head_dim:
        return []
    rows = matrix("self_attn.indexer.wq_b", _A, spec.index_heads * spec.index_head_dim, spec.q_lora_rank)
    if spec.kind is MixerKind.MLA:
        rows += matrix("self_attn.indexer.wk", _A, spec.index_head_dim, design.hidden)
        rows += norm("self_attn.indexer.k_norm", spec.index_head_dim, "layer")
    return rows + matrix("self_attn.indexer.weights_proj", _A, spec.index_heads, design.hidden)


def compressed(design: Design, spec: MixerSpec) -> list[Row]:
    """DeepSeek-V4: grouped low-rank output, one key/value head, compressors for ratio 4 and 128."""
    h, heads, d = design.hidden, spec.heads or 0, spec.head_dim or 0
    groups, rank = spec.groups or 1, spec.inner or 0
    rows = matrix("attn.wq_a", _A, spec.q_lora_rank, h) + norm("attn.q_norm", spec.q_lora_rank)
    rows += matrix("attn.wq_b", _A, heads * d, spec.q_lora_rank)
    rows += matrix("attn.wkv", _A, d, h) + norm("attn.kv_norm", d)
    rows += matrix("attn.wo_a", _A, groups * rank, heads * d // groups)
    rows += matrix("attn.wo_b", _A, h, groups * rank) + vector("attn.attn_sink", _A, heads)
    if spec.compress_ratio:
        rows += _compressor(h, d, spec.compress_ratio, "attn.compressor")
    rows += indexer(design, spec)
    if spec.index_head_dim:
        rows += _compressor(h, spec.index_head_dim, spec.compress_ratio or 4, "attn.indexer.compressor")
    return rows


def _compressor(hidden: int, width: int, ratio: int, name: str) -> list[Row]:
    inner = width * (2 if ratio == 4 else 1)
    rows = matrix(f"{name}.wkv", _A, inner, hidden) + matrix(f"{name}.wgate", _A, inner, hidden)
    return [*rows, Row(f"{name}.ape", _A, (ratio, inner)), *norm(f"{name}.norm", width)]


def cross(design: Design, spec: MixerSpec) -> list[Row]:
    """Llama 3.2 Vision's gated cross attention."""
    rows = grouped_query(design, spec, "cross_attn")
    d = spec.head_dim
    rows += norm("cross_attn.q_norm", d) + norm("cross_attn.k_norm", d)
    return [*rows, Row("cross_attn_attn_gate", _A, (1,)), Row("cross_attn_mlp_gate", _A, (1,))]
