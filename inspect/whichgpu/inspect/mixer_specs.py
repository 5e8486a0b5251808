"""Sizes of each kind of mixer, from the keys that carry them."""

from __future__ import annotations

from dataclasses import replace

from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.design import MixerSpec
from whichgpu.inspect.mixer_kinds import CacheForm, MixerKind, traits


def attention(view: ConfigView, hidden: int, kind: MixerKind) -> MixerSpec:
    """Multi-head, grouped-query or multi-query attention (kinds full, sliding, chunked)."""
    heads = view.integer("heads", "num_attention_heads", "n_head", "n_heads", "num_heads")
    kv_heads = _kv_heads(view, heads)
    head_dim = view.integer(
        "head_dim", "head_dim", "attention_head_dim", "hidden_size_per_head", "kv_channels", "d_head", "d_kv"
    )
    if head_dim is None and heads:
        head_dim = hidden // heads
        view.sources.setdefault("head_dim", "computed: hidden size / attention heads")
    window = view.integer("window", "sliding_window", "sliding_window_size", "attention_window_size")
    if kind is MixerKind.CHUNKED:
        window = view.integer("chunk", "attention_chunk_size")
    sparse = view.sub("sparse_attention_config")
    indexed = sparse is not None and bool(sparse.flag("use_sparse_attention"))
    spec = MixerSpec(
        kind=kind,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        v_head_dim=as_integer(view.value("v_head_dim")) or head_dim,
        window=window if traits(kind).form is not CacheForm.FULL else None,
        output_gate=bool(view.flag("attn_output_gate", "attention_output_gate")),
        sinks=bool(view.flag("add_full_attention_sink_bias")),
        index_heads=as_integer(sparse.value("sparse_num_index_heads")) if sparse is not None and indexed else None,
        index_head_dim=as_integer(sparse.value("sparse_index_dim")) if sparse is not None and indexed else None,
    )
    return _sliding_overrides(view, spec) if kind is MixerKind.SLIDING else _global_overrides(view, spec)


def _kv_heads(view: ConfigView, heads: int | None) -> int | None:
    """Key/value heads, in the order of vLLM 0.32's model_arch_config_convertor."""
    if view.flag("multi_query") and not view.flag("new_decoder_architecture"):
        view.sources.setdefault("kv_heads", f"{view.where}: multi_query")
        return 1
    named = view.integer(
        "kv_heads",
        "n_head_kv",
        "num_kv_heads",
        "num_key_value_heads",
        "multi_query_group_num",
        "num_attention_groups",
        "n_kv_heads",
        "n_local_heads",
        "num_query_groups",
    )
    inner = view.sub("attn_config")
    if named is None and inner is not None:
        named = inner.integer("kv_heads", "kv_n_heads")
    if named is None and heads is not None:
        view.sources.setdefault("kv_heads", "computed: as many as attention heads")
        return heads
    return named


def _sliding_overrides(view: ConfigView, spec: MixerSpec) -> MixerSpec:
    """MiMo-V2 and Step give sliding layers their own heads."""
    changes: dict[str, int | bool | None] = {}
    for key, name in (
        ("swa_num_attention_heads", "heads"),
        ("swa_num_key_value_heads", "kv_heads"),
        ("swa_head_dim", "head_dim"),
        ("swa_v_head_dim", "v_head_dim"),
    ):
        value = as_integer(view.value(key))
        if value:
            changes[name] = value
    if view.flag("add_swa_attention_sink_bias"):
        changes["sinks"] = True
    return replace(spec, **changes) if changes else spec  # type: ignore[arg-type]


def _global_overrides(view: ConfigView, spec: MixerSpec) -> MixerSpec:
    """Gemma 4 gives global layers their own head size and key/value heads."""
    wide = as_integer(view.value("global_head_dim"))
    if wide is None or spec.kind is not MixerKind.FULL:
        return spec
    return replace(
        spec,
        head_dim=wide,
        v_head_dim=wide,
        kv_heads=as_integer(view.value("num_global_key_value_heads")) or spec.kv_heads,
        shared_key_value=bool(view.flag("attention_k_eq_v")),
    )


def latent_attention(view: ConfigView) -> MixerSpec:
    """Multi-head latent attention (DeepSeek V2/V3, Kimi, GLM-5, MiniCPM3), with V3.2's sparse indexer if named."""
    return MixerSpec(
        kind=MixerKind.MLA,
        heads=view.integer("heads", "num_attention_heads", "n_heads"),
        kv_heads=1,
        kv_lora_rank=view.integer("kv_lora_rank", "kv_lora_rank"),
        q_lora_rank=view.integer("q_lora_rank", "q_lora_rank"),
        rope_head_dim=view.integer("rope_head_dim", "qk_rope_head_dim"),
        nope_head_dim=view.integer("nope_head_dim", "qk_nope_head_dim"),
        v_head_dim=view.integer("v_head_dim", "v_head_dim") or as_integer(view.value("head_dim")),
        head_dim=(as_integer(view.value("kv_lora_rank")) or 0) + (as_integer(view.value("qk_rope_head_dim")) or 0),
        index_heads=as_integer(view.value("index_n_heads")),
        index_head_dim=as_integer(view.value("index_head_dim")),
        output_gate=bool(view.flag("mla_use_output_gate")),
    )


def compressed_attention(view: ConfigView, ratio: int) -> MixerSpec:
    """DeepSeek-V4's attention: one shared key/value head, compressed by ``ratio`` beyond its window."""
    return MixerSpec(
        kind=MixerKind.COMPRESSED,
        heads=view.integer("heads", "num_attention_heads"),
        kv_heads=1,
        head_dim=view.integer("head_dim", "head_dim"),
        rope_head_dim=as_integer(view.value("qk_rope_head_dim")),
        q_lora_rank=view.integer("q_lora_rank", "q_lora_rank"),
        groups=as_integer(view.value("o_groups")),
        inner=as_integer(view.value("o_lora_rank")),
        window=view.integer("window", "sliding_window"),
        compress_ratio=ratio,
        index_heads=as_integer(view.value("index_n_heads")) if ratio == 4 else None,
        index_head_dim=as_integer(view.value("index_head_dim")) if ratio == 4 else None,
        sinks=True,
    )


def mamba(view: ConfigView, hidden: int) -> MixerSpec:
    """Mamba 1 or 2, told apart by heads: Mamba 2 has them."""
    ssm = view.sub("ssm_cfg") or view
    expand = as_integer(ssm.value("expand", "mamba_expand", "expansion_factor")) or 2
    stated = view.integer("mamba_width", "mamba_d_ssm", "mamba_intermediate_size")
    head_dim = as_integer(view.value("mamba_head_dim", "mamba_d_head", "mamba_headdim"))
    heads = as_integer(view.value("mamba_num_heads", "mamba_n_heads", "n_mamba_heads"))
    second = "Mamba2" in (ssm.string("layer"), view.string("layer"))
    if second and head_dim is None:
        head_dim = as_integer(ssm.value("headdim", "head_dim")) or 64
        heads = heads or as_integer(view.value("num_heads"))
    inner = stated or (heads * head_dim if heads and head_dim else None)
    if inner is None and not second and head_dim is None and view.value("num_attention_heads") is None:
        inner = as_integer(view.value("intermediate_size"))
    inner = inner or expand * hidden
    kernel = as_integer(ssm.value("conv_kernel", "mamba_d_conv", "d_conv", "conv_dimension")) or 4
    if head_dim is None:
        rank = as_integer(view.value("time_step_rank", "mamba_dt_rank")) or -(-hidden // 16)
        state = as_integer(ssm.value("state_size", "mamba_d_state", "d_state")) or 16
        return MixerSpec(kind=MixerKind.MAMBA1, inner=inner, state_dim=state, conv_kernel=kernel, dt_rank=rank)
    return MixerSpec(
        kind=MixerKind.MAMBA2,
        heads=heads or inner // head_dim,
        head_dim=head_dim,
        inner=inner,
        state_dim=as_integer(ssm.value("ssm_state_size", "mamba_d_state", "state_size", "d_state")) or 128,
        groups=as_integer(ssm.value("n_groups", "mamba_n_groups", "mamba_ngroups", "ngroups")) or 1,
        conv_kernel=kernel,
        state_dtype=view.string("mamba_ssm_cache_dtype", "mamba_ssm_dtype"),
    )


def linear(view: ConfigView, hidden: int) -> MixerSpec:
    """Linear attention: gated delta net, Kimi delta attention or lightning attention."""
    kda = view.sub("linear_attn_config")
    if kda is not None:
        return MixerSpec(
            kind=MixerKind.KDA,
            heads=as_integer(kda.value("num_heads")),
            head_dim=as_integer(kda.value("head_dim")),
            conv_kernel=as_integer(kda.value("short_conv_kernel_size")) or 4,
            output_gate=bool(kda.flag("use_full_rank_gate")),
            dt_rank=0 if kda.flag("full_rank_forget_gate") else None,
            state_dtype="float32",
        )
    if as_integer(view.value("linear_num_value_heads")):
        return MixerSpec(
            kind=MixerKind.GDN,
            heads=as_integer(view.value("linear_num_value_heads")),
            head_dim=as_integer(view.value("linear_value_head_dim")),
            key_heads=as_integer(view.value("linear_num_key_heads")),
            key_dim=as_integer(view.value("linear_key_head_dim")),
            conv_kernel=as_integer(view.value("linear_conv_kernel_dim")) or 4,
            state_dtype=view.string("mamba_ssm_dtype"),
        )
    heads = as_integer(view.value("num_attention_heads"))
    head_dim = as_integer(view.value("head_dim")) or (hidden // heads if heads else None)
    return MixerSpec(kind=MixerKind.LIGHTNING, heads=heads, head_dim=head_dim)


def short_convolution(view: ConfigView, hidden: int) -> MixerSpec:
    """LFM2's gated short convolution."""
    return MixerSpec(
        kind=MixerKind.CONV,
        inner=as_integer(view.value("conv_dim")) or hidden,
        conv_kernel=as_integer(view.value("conv_L_cache")) or 3,
    )


def recurrent_gate(view: ConfigView, hidden: int) -> MixerSpec:
    """RecurrentGemma's real-gated linear recurrent unit."""
    return MixerSpec(
        kind=MixerKind.RGLRU,
        heads=as_integer(view.value("num_attention_heads")),
        inner=as_integer(view.value("lru_width")) or hidden,
        conv_kernel=as_integer(view.value("conv1d_width")) or 4,
        state_dtype="float32",
    )


def rwkv(view: ConfigView, hidden: int) -> MixerSpec:
    """RWKV 5 and 6 time mixing."""
    size = as_integer(view.value("head_size", "attention_head_size")) or 64
    width = as_integer(view.value("attention_hidden_size")) or hidden
    return MixerSpec(kind=MixerKind.RWKV, heads=width // size, head_dim=size, inner=width, state_dtype="float32")
