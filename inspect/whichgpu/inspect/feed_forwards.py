"""Feed-forward blocks from a config: dense widths, experts, shared experts, latent experts."""

from __future__ import annotations

import math
from dataclasses import replace

from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.design import Design, FfnSpec
from whichgpu.inspect.layer_patterns import FEED_FORWARD_WORDS, expert_layers
from whichgpu.inspect.mixer_kinds import MixerKind, traits

EXPERT_KEYS = ("n_routed_experts", "num_experts", "moe_num_experts", "num_local_experts", "num_routed_experts")
TOP_K_KEYS = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "top_k_experts",
    "moe_topk",
    "moe_top_k",
    "moe_k",
)
_EXPERT_WIDTH_KEYS = (
    "moe_intermediate_size",
    "moe_ffn_hidden_size",
    "expert_hidden_dim",
    "expert_intermediate_size",
    "expert_ffn_hidden_size",
)
_DENSE_WIDTH_KEYS = (
    "dense_intermediate_size",
    "intermediate_size_mlp",
    "intermediate_size",
    "ffn_hidden_size",
    "n_inner",
    "ffn_dim",
    "d_ff",
    "hidden_dim",
    "inner_hidden_size",
    "ff_intermediate_size",
    "block_ff_dim",
    "d_intermediate",
    "d_inner",
    "dim_ff",
    "dff",
)
_PLAIN_ACTIVATIONS = ("relu2", "xielu")
"""Activations that come without a gate."""
_SHARED_COUNT_KEYS = ("n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts")
_SHARED_WIDTH_KEYS = (
    "shared_expert_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "shared_intermediate_size",
    "share_expert_dim",
)


def first_integer(view: ConfigView, field: str, *keys: str) -> int | None:
    """Like ``ConfigView.integer``, but a per-layer list counts by its first entry."""
    for key in keys:
        listed = view.numbers(key)
        if listed:
            view.sources.setdefault(field, f"{view.where}: {key}[0]")
            return listed[0]
    return view.integer(field, *keys)


def feed_forwards(design: Design) -> list[FfnSpec]:
    """Return one feed-forward specification per layer."""
    view, layers = design.view, design.layers
    dense = _dense(design)
    experts = first_integer(view, "experts", *EXPERT_KEYS)
    ffns = [dense] * layers
    if experts is not None and experts > 1 and view.flag("is_moe") is not False:
        mixture = _mixture(design, experts, dense)
        ffns = [mixture if is_moe else dense for is_moe in expert_layers(view, layers)]
        ffns += [dense] * (layers - len(ffns))
    return [_per_layer(design, i, ffn) for i, ffn in enumerate(ffns)]


def _per_layer(design: Design, index: int, ffn: FfnSpec) -> FfnSpec:
    mixer = design.mixers[index]
    if design.family.shared_feed_forwards:
        return FfnSpec(kind="none")
    if mixer.shares_kv and design.view.flag("use_double_wide_mlp") and ffn.intermediate:
        return replace(ffn, intermediate=2 * ffn.intermediate)
    pattern = design.view.string("hybrid_override_pattern")
    if pattern and index < len(pattern) and set(pattern) <= set("M*-E"):
        return FfnSpec(kind="none") if pattern[index] in "M*" else ffn
    words = design.view.words("layers_block_type", "layer_types") or []
    alone = any(word in FEED_FORWARD_WORDS for word in words)
    if alone and index < len(words) and words[index] not in FEED_FORWARD_WORDS:
        return FfnSpec(kind="none")
    blocks = design.view.value("block_configs")
    if isinstance(blocks, list) and index < len(blocks):
        return _nas_block(design, blocks[index], ffn)
    if mixer.kind is MixerKind.RWKV or (
        mixer.kind in (MixerKind.MAMBA1, MixerKind.MAMBA2) and not _mamba_has_ffn(design)
    ):
        return FfnSpec(kind="none")
    return ffn


def _mamba_has_ffn(design: Design) -> bool:
    """Pure Mamba models and Zamba have no feed-forward beside the mixer; Jamba and Granite do."""
    if design.family.feeds_mamba:
        return True
    mixed = any(m.kind in (MixerKind.FULL, MixerKind.HYBRID, MixerKind.MLA) for m in design.mixers)
    return mixed and design.view.value("num_mem_blocks") is None


def _nas_block(design: Design, block: object, ffn: FfnSpec) -> FfnSpec:
    inner = block.get("ffn") if isinstance(block, dict) else None
    if not isinstance(inner, dict) or inner.get("no_op"):
        return FfnSpec(kind="none")
    factor = inner.get("ffn_mult")
    if not isinstance(factor, int | float) or not 0 < factor < 1000:
        return ffn
    width = math.ceil(int(2 * factor * design.hidden / 3) / 256) * 256
    return replace(ffn, kind="dense", intermediate=width)


def _dense(design: Design) -> FfnSpec:
    view = design.view
    width = first_integer(view, "intermediate", *_DENSE_WIDTH_KEYS)
    if view.flag("block_auto_adjust_ff_dim") and width:
        multiple = as_integer(view.value("block_multiple_of")) or 256
        width = math.ceil(int(2 * width / 3) / multiple) * multiple
    unsaid = width is None and all(view.value(key) is None for key in EXPERT_KEYS) and _is_attention(design)
    if width in (None, 0) and (not design.family.gated or unsaid):
        ratio = as_integer(view.value("expansion_ratio", "intermediate_multiple_size")) or 4
        width = ratio * design.hidden
        view.sources["intermediate"] = f"computed: {ratio} × hidden size"
    if design.family.halved_width and width:
        width //= 2
    gated = design.family.gated and "position_encoding_2d" not in view and not unsaid
    is_plain = (
        view.string("mlp_hidden_act", "hidden_act") in _PLAIN_ACTIVATIONS or view.flag("gated_linear_unit") is False
    )
    if is_plain and not design.family.gated_always:
        gated = False
    return FfnSpec(kind="dense" if width else "none", intermediate=width or None, gated=gated)


def _is_attention(design: Design) -> bool:
    """True where every layer is attention, beside which a feed-forward block stands even where no key has its width."""
    return all(traits(mixer.kind).softmax for mixer in design.mixers)


def _mixture(design: Design, experts: int, dense: FfnSpec) -> FfnSpec:
    view = design.view
    width = first_integer(view, "expert_intermediate", *_EXPERT_WIDTH_KEYS)
    if width is None:
        width = first_integer(view, "expert_intermediate", "intermediate_size", "ffn_hidden_size")
    count = first_integer(view, "shared_experts", *_SHARED_COUNT_KEYS)
    shared = first_integer(view, "shared_intermediate", *_SHARED_WIDTH_KEYS)
    total_shared = shared * max(1, count or 1) if shared else (width or 0) * (count or 0)
    parallel = dense.intermediate if view.flag("enable_moe_block") else None
    return FfnSpec(
        kind="moe",
        intermediate=width,
        experts=experts,
        top_k=first_integer(view, "top_k", *TOP_K_KEYS),
        shared_experts=(count or 1) if total_shared else 0,
        shared_intermediate=total_shared or None,
        gated=dense.gated,
        latent=as_integer(view.value("moe_latent_size", "routed_expert_hidden_size", "moe_hidden_size")),
        expert_bias=design.family.expert_bias,
        router_bias=design.family.expert_bias or _router_bias(view),
        shared_gate="shared_expert_intermediate_size" in view,
        parallel_dense=parallel,
        image_intermediate=_image_expert_width(view, design.layers),
    )


def _image_expert_width(view: ConfigView, layers: int) -> int | None:
    """ERNIE 4.5 VL gives image tokens as many experts of their own; their width stands after that of text."""
    widths = view.numbers("moe_intermediate_size") or []
    return widths[1] if len(widths) == 2 != layers else None


def _router_bias(view: ConfigView) -> bool:
    """DeepSeek-style aux-free balancing keeps one correction per expert."""
    return (
        view.string("topk_method") == "noaux_tc"
        or view.string("scoring_func") in ("sigmoid", "sqrtsoftplus")
        or view.string("moe_router_activation_func") == "sigmoid"
        or bool(view.flag("use_routing_bias", "use_moe_router_bias"))
    )
