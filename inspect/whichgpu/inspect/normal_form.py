"""One normal form: spellings that today's transformers writes, turned into the ones that every reader here knows.

``save_pretrained`` renames what a model's first publisher wrote: words for layers, sizes per layer, rotary parameters per kind.
Each rewriting is one function over one level of a config; what a config does not have stays as it is. Source of the new
spellings: transformers 5.24 ``configuration_*.py`` (``attribute_map``, ``__post_init__``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from whichgpu.inspect.config_view import as_integer

_COMPRESSED = ("compressed_sparse_attention", "heavily_compressed_attention")
_EXPERT_WORDS = frozenset({"moe", "hash_moe", "sparse"})
_MAMBA_KEYS = ("mamba_d_state", "mamba_n_heads", "n_mamba_heads", "mamba_num_heads", "ssm_state_size", "mamba_d_head")
_DELTA_KEYS = ("linear_num_value_heads", "linear_attn_config", "linear_num_key_heads")
_SPARSE_WORD = "minimax_m3_sparse"
_MOST_LAYERS = 4096
CONFORMER = "parakeet_encoder"
"""Type of the audio encoder of transformers that NeMo's conformer is called."""


def normalised(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a language model's level of a config in the spellings of first publishers."""
    level = dict(raw)
    for rewrite in _REWRITES:
        level = {**level, **rewrite(level)}
    return level


def outermost(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole config with what NeMo nests (Cohere Transcribe) in the places that transformers' own class gives it."""
    encoder, decoder, head = raw.get("encoder"), raw.get("transf_decoder"), raw.get("head")
    inner = decoder.get("config_dict") if isinstance(decoder, dict) else None
    if not isinstance(encoder, dict) or not isinstance(inner, dict) or "encoder_config" in raw:
        return dict(raw)
    width, ratio = as_integer(encoder.get("d_model")), as_integer(encoder.get("ff_expansion_factor"))
    if not width or not ratio:
        return dict(raw)
    conformer = {
        "model_type": CONFORMER,
        "hidden_size": width,
        "intermediate_size": ratio * width,
        "num_hidden_layers": encoder.get("n_layers"),
        "num_attention_heads": encoder.get("n_heads"),
        "conv_kernel_size": encoder.get("conv_kernel_size"),
        "num_mel_bins": encoder.get("feat_in"),
    }
    flat = {
        "encoder_config": conformer,
        "hidden_size": inner.get("hidden_size"),
        "intermediate_size": inner.get("inner_size"),
        "num_hidden_layers": inner.get("num_layers"),
        "num_attention_heads": inner.get("num_attention_heads"),
        "max_position_embeddings": inner.get("max_sequence_length"),
        "vocab_size": head.get("num_classes") if isinstance(head, dict) else None,
        "tie_word_embeddings": False,
    }
    return flat | {key: value for key, value in raw.items() if value is not None}


def _words(level: Mapping[str, Any], key: str) -> list[str]:
    value = level.get(key)
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_LAYERS or not all(isinstance(v, str) for v in value):
        return []
    return value


def _compressed_layers(level: Mapping[str, Any]) -> dict[str, Any]:
    """DeepSeek-V4: a word per layer and a rate per word were one ratio per layer."""
    words, rates = _words(level, "layer_types"), level.get("compress_rates")
    if not isinstance(rates, dict) or not any(word in _COMPRESSED for word in words) or "compress_ratios" in level:
        return {}
    by_word = {word: as_integer(rates.get(word)) or 0 for word in _COMPRESSED}
    changes: dict[str, Any] = {"compress_ratios": [by_word.get(word, 0) for word in words], "layer_types": None}
    hashed = _words(level, "mlp_layer_types").count("hash_moe")
    return changes | ({"num_hash_layers": hashed} if hashed else {})


def _compressed_rotary(level: Mapping[str, Any]) -> dict[str, Any]:
    """DeepSeek-V4: the rotary parameters of compressed entries had keys of their own."""
    parameters = level.get("rope_parameters")
    compressed = parameters.get("compress") if isinstance(parameters, dict) else None
    if not isinstance(compressed, dict) or "rope_scaling" in level:
        return {}
    return {"rope_scaling": compressed, "compress_rope_theta": compressed.get("rope_theta")}


def _expert_layers(level: Mapping[str, Any]) -> dict[str, Any]:
    """``moe`` and ``hash_moe`` are experts as ``sparse`` is; whatever else there is, is dense."""
    words = _words(level, "mlp_layer_types")
    return {"mlp_layer_types": ["sparse" if w in _EXPERT_WORDS else "dense" for w in words]} if words else {}


def _mamba_layers(level: Mapping[str, Any]) -> dict[str, Any]:
    """Zamba 2, Bamba, Nemotron-H: layers of Mamba are called linear attention too."""
    has_mamba = any(level.get(key) is not None for key in _MAMBA_KEYS)
    if not has_mamba or any(level.get(key) is not None for key in _DELTA_KEYS):
        return {}
    lists = {key: _words(level, key) for key in ("layer_types", "layers_block_type")}
    return {
        key: ["mamba" if word == "linear_attention" else word for word in words]
        for key, words in lists.items()
        if "linear_attention" in words
    }


def _sparse_layers(level: Mapping[str, Any]) -> dict[str, Any]:
    """MiniMax-M3: layers with an indexer are named, and its sizes lie flat."""
    words = _words(level, "layer_types")
    if _SPARSE_WORD not in words:
        return {}
    inner = level.get("sparse_attention_config")
    sparse = {
        "use_sparse_attention": True,
        "sparse_num_index_heads": level.get("index_n_heads"),
        "sparse_index_dim": level.get("index_head_dim"),
        "sparse_attention_freq": [int(word == _SPARSE_WORD) for word in words],
    }
    plain = ["full_attention" if word == _SPARSE_WORD else word for word in words]
    flat = {"layer_types": plain, "index_n_heads": None, "index_head_dim": None}
    return flat | {"sparse_attention_config": sparse | (inner if isinstance(inner, dict) else {})}


def _global_layers(level: Mapping[str, Any]) -> dict[str, Any]:
    """Gemma 4: sizes of its global layers stand at each of them, where they are the same."""
    by_layer = level.get("per_layer_config")
    if not isinstance(by_layer, dict) or "global_head_dim" in level or not by_layer:
        return {}
    entries = [entry for entry in by_layer.values() if isinstance(entry, dict)]
    indices = {as_integer(int(key)) for key in by_layer if isinstance(key, str) and key.isascii() and key.isdigit()}
    full = {index for index, word in enumerate(_words(level, "layer_types")) if word == "full_attention"}
    heads = {as_integer(entry.get("head_dim")) for entry in entries}
    kv_heads = {as_integer(entry.get("num_key_value_heads")) for entry in entries}
    if indices != full or len(heads) != 1 or None in heads or len(kv_heads) != 1:
        return {}
    return {"global_head_dim": heads.pop(), "num_global_key_value_heads": kv_heads.pop(), "per_layer_config": None}


def _one_shared_block(level: Mapping[str, Any]) -> dict[str, Any]:
    """Zamba: one shared block of twice the width, which its hybrid layers call without adapters of their own."""
    words = _words(level, "layers_block_type")
    if not level.get("attention_hidden_size") or "num_mem_blocks" in level or "hybrid" not in words:
        return {}
    return {"num_mem_blocks": 1, "adapter_rank": 0}


def _shared_blocks(level: Mapping[str, Any]) -> dict[str, Any]:
    """Zamba 2: its shared attention sees twice the width, and its heads of Mamba make up the expanded width, whatever number of
    them the class would take (Zamba2Config.__post_init__)."""
    hidden, heads = as_integer(level.get("hidden_size")), as_integer(level.get("num_attention_heads"))
    if not level.get("num_mem_blocks") or not hidden or not heads:
        return {}
    expand = as_integer(level.get("mamba_expand")) or as_integer(level.get("expansion_factor")) or 2
    mamba_heads, head = as_integer(level.get("n_mamba_heads")), as_integer(level.get("mamba_headdim"))
    contradicts = mamba_heads is not None and head is not None and mamba_heads * head != expand * hidden
    return {"attention_head_dim": 2 * hidden // heads, **({"n_mamba_heads": None} if contradicts else {})}


def _convolved_attention(level: Mapping[str, Any]) -> dict[str, Any]:
    """Inkling, Zaya: attention with a short convolution before it is called hybrid; it keeps keys and values like any other."""
    words = _words(level, "layer_types")
    if not (level.get("use_sconv") or level.get("cca_time0")) or not {"hybrid", "hybrid_sliding"} & {*words}:
        return {}
    plain = {"hybrid": "full_attention", "hybrid_sliding": "sliding_attention"}
    return {"layer_types": [plain.get(word, word) for word in words]}


def _delta_sizes(level: Mapping[str, Any]) -> dict[str, Any]:
    """Kimi-Linear, GLM-5 next, Ling 3: sizes of delta attention lie flat; they had an object of their own. Ling's two gates are whole
    matrices (BailingHybridKimiDeltaAttention)."""
    heads, head = as_integer(level.get("linear_num_heads")), as_integer(level.get("linear_head_dim"))
    words = _words(level, "layer_types")
    if not heads or not head or "linear_attn_config" in level or "linear_attention" not in words:
        return {}
    is_ling = level.get("kda_lower_bound") is not None
    sizes = {
        "num_heads": heads,
        "head_dim": head,
        "short_conv_kernel_size": level.get("linear_conv_kernel_dim") or level.get("short_conv_kernel_size"),
        "kda_layers": [i + 1 for i, word in enumerate(words) if word == "linear_attention"],
        "use_full_rank_gate": is_ling,
        "full_rank_forget_gate": is_ling,
    }
    return {"linear_attn_config": sizes}


def _short_names(level: Mapping[str, Any]) -> dict[str, Any]:
    """Kosmos 2: sizes without the words that say of what."""
    names = {"embed_dim": "hidden_size", "layers": "num_hidden_layers", "attention_heads": "num_attention_heads"}
    if "ffn_dim" not in level or any(key not in level for key in names):
        return {}
    return {name: level[key] for key, name in names.items()} | {"intermediate_size": level["ffn_dim"]}


def _double_layers(level: Mapping[str, Any]) -> dict[str, Any]:
    """LongCat-Flash: each of its layers is two of attention and a dense block, with experts beside the first (vLLM 0.33
    models/longcat_flash.py)."""
    layers, width = as_integer(level.get("num_layers")), as_integer(level.get("expert_ffn_hidden_size"))
    if not layers or not width or level.get("zero_expert_num") is None or layers > _MOST_LAYERS // 2:
        return {}
    return {"num_hidden_layers": 2 * layers, "mlp_layer_types": ["sparse", "dense"] * layers, "enable_moe_block": True}


_REWRITES: tuple[Callable[[Mapping[str, Any]], dict[str, Any]], ...] = (
    _compressed_layers,
    _compressed_rotary,
    _expert_layers,
    _mamba_layers,
    _sparse_layers,
    _global_layers,
    _one_shared_block,
    _shared_blocks,
    _convolved_attention,
    _delta_sizes,
    _double_layers,
    _short_names,
)
