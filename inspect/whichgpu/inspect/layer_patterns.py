"""Which kind of mixer and feed-forward each layer has, from the config's many ways of saying so."""

from __future__ import annotations

from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.families import Family
from whichgpu.inspect.text import clean

_LAYER_TYPE = {
    "full_attention": "full",
    "attention": "full",
    "full": "full",
    "indexed_attention": "full",
    "global": "full",
    "local": "sliding",
    "sliding_attention": "sliding",
    "sliding": "sliding",
    "chunked_attention": "chunked",
    "linear_attention": "linear",
    "conv": "conv",
    "mamba": "mamba",
    "mamba2": "mamba",
    "hybrid": "hybrid",
    "recurrent": "rglru",
    "moe": "none",
    "mlp": "none",
}
FEED_FORWARD_WORDS = ("moe", "mlp")
"""Layers that are a feed-forward block alone; beside them, layers of a mixer have none."""
_MOST_UNKNOWN = 4
_PATTERN_LETTER = {"M": "mamba", "*": "full", "-": "none", "E": "none"}


def mixer_kinds(view: ConfigView, layers: int, family: Family) -> list[str]:
    """Return one generic mixer kind per layer.

    ``full`` and ``linear`` are refined later (MLA, gated delta nets, …) by the keys that carry their sizes.
    """
    for reader in (_from_letters, _from_layer_types, _from_index_lists, _from_periods, _from_linear_config):
        kinds = reader(view, layers)
        if kinds is not None:
            return _fit(kinds, layers)
    if view.value("state_size", "d_state", "ssm_cfg") is not None and view.value("num_attention_heads") is None:
        return ["mamba"] * layers
    if view.value("time_mix_extra_dim", "head_size_divisor") is not None:
        return ["rwkv"] * layers
    if family.mixer:
        return [family.mixer] * layers
    return _windows(view, layers, family)


def _fit(kinds: list[str], layers: int) -> list[str]:
    """Repeat a short pattern, or cut a list that also names next-token layers."""
    repeats = -(-layers // len(kinds))
    return (kinds * repeats)[:layers]


def _from_letters(view: ConfigView, layers: int) -> list[str] | None:
    pattern = view.string("hybrid_override_pattern")
    if pattern and set(pattern) <= set(_PATTERN_LETTER):
        return [_PATTERN_LETTER[letter] for letter in pattern]
    return None


def _from_layer_types(view: ConfigView, layers: int) -> list[str] | None:
    words = view.words("layer_types", "layers_block_type", "block_types", "_block_types")
    if words is None:
        return None
    unknown = sorted({word for word in words if word not in _LAYER_TYPE})
    view.rejected.extend(f"{view.where}: layer_types “{clean(word, 40)}”" for word in unknown[:_MOST_UNKNOWN])
    if "recurrent" in words or "_block_types" in view:
        return ["sliding" if w == "attention" else _LAYER_TYPE.get(w, "full") for w in words]
    return [_LAYER_TYPE.get(w, "full") for w in words]


def _from_index_lists(view: ConfigView, layers: int) -> list[str] | None:
    marks = view.numbers("attn_type_list")
    if marks is not None:
        return ["full" if m == 1 else "linear" for m in marks]
    marks = view.numbers("hybrid_layer_pattern")
    if marks is not None:
        return ["sliding" if m == 1 else "full" for m in marks]
    ratios = view.numbers("compress_ratios")
    if ratios is not None:
        return ["compressed"] * layers
    local = view.numbers("local_layer_ids")
    if local is not None:
        return ["sliding" if i in local else "full" for i in range(layers)]
    full = view.numbers("full_attn_idxs")
    if full is not None:
        return ["full" if i in full else "conv" for i in range(layers)]
    if view.value("mamba_d_ssm", "mamba_n_heads") is not None and view.value("layer_types") is None:
        attention = view.numbers("attn_layer_indices")
        if attention is None and view.string("model_type") == "bamba":
            return ["mamba"] * layers  # BambaConfig: none unless they are named; Falcon-H1 has both in every layer
        return ["hybrid" if attention is None or i in attention else "mamba" for i in range(layers)]
    return None


def _from_periods(view: ConfigView, layers: int) -> list[str] | None:
    period = as_integer(view.value("attn_layer_period"))
    if period:
        offset = as_integer(view.value("attn_layer_offset")) or 0
        return ["full" if i % period == offset else "mamba" for i in range(layers)]
    interval = as_integer(view.value("full_attention_interval"))
    if interval:
        return ["full" if (i + 1) % interval == 0 else "linear" for i in range(layers)]
    group = as_integer(view.value("layer_group_size"))
    if group:
        return ["full" if (i + 1) % group == 0 else "linear" for i in range(layers)]
    return None


def _from_linear_config(view: ConfigView, layers: int) -> list[str] | None:
    linear = view.sub("linear_attn_config")
    if linear is None:
        return None
    delta = linear.numbers("kda_layers") or []
    return ["linear" if i + 1 in delta else "full" for i in range(layers)]


def _windows(view: ConfigView, layers: int, family: Family) -> list[str]:
    """Attention layers: all full, all sliding, or sliding with a global one every n layers."""
    window = view.value("sliding_window", "sliding_window_size", "attention_chunk_size")
    if as_integer(window) in (None, 0) or view.flag("use_sliding_window") is False:
        return ["full"] * layers
    if as_integer(view.value("attention_chunk_size")) and view.value("sliding_window") is None:
        return ["full" if (i + 1) % 4 == 0 else "chunked" for i in range(layers)]
    pattern = view.value("sliding_window_pattern")
    if isinstance(pattern, str) and pattern and set(pattern) <= {"L", "G"}:
        return _fit(["full" if letter == "G" else "sliding" for letter in pattern], layers)
    every = as_integer(pattern) or family.window_every
    if every:
        return ["full" if (i + 1) % every == 0 else "sliding" for i in range(layers)]
    return ["sliding"] * layers


def expert_layers(view: ConfigView, layers: int) -> list[bool]:
    """Return, per layer, whether its feed-forward block is a mixture of experts."""
    pattern = view.string("hybrid_override_pattern")
    if pattern and set(pattern) <= set(_PATTERN_LETTER):
        return [letter == "E" for letter in pattern][:layers]
    words = view.words("mlp_layer_types")
    if words is not None:
        return [w == "sparse" for w in words][:layers]
    block_types = view.words("layers_block_type", "layer_types")
    if block_types is not None and any(word in FEED_FORWARD_WORDS for word in block_types):
        return [w == "moe" for w in block_types][:layers]
    marks = view.numbers("moe_layer_freq")
    if marks is not None:
        return [bool(m) for m in marks][:layers]
    return _expert_steps(view, layers)


def _expert_steps(view: ConfigView, layers: int) -> list[bool]:
    period = as_integer(view.value("expert_layer_period"))
    if period:
        offset = as_integer(view.value("expert_layer_offset")) or 0
        return [i % period == offset for i in range(layers)]
    step = as_integer(
        view.value("decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval", "moe_layer_freq")
    )
    step = step or 1
    first_dense = (
        as_integer(view.value("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index", "dense_mlp_idx"))
        or 0
    )
    last = as_integer(view.value("moe_layer_end_index"))
    dense = set(view.numbers("mlp_only_layers") or [])
    listed = set(view.numbers("moe_layers", "moe_layers_enum") or [])
    if listed:
        return [i in listed for i in range(layers)]
    strided = "decoder_sparse_step" in view or "interleave_moe_layer_step" in view
    return [
        i >= first_dense
        and (last is None or i <= last)
        and i not in dense
        and ((i + 1) % step == 0 if strided else i % step == 0)
        for i in range(layers)
    ]
