"""GGUF metadata in the words of a transformers config, so that one reader serves both.

Keys: gguf-py ``constants.Keys``. What kind each layer is comes from its tensors' names, which no metadata
key contradicts; sizes come from the metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from whichgpu.inspect.config_view import as_integer
from whichgpu.inspect.headers import Tensor

_KEYS = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "v_head_dim",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.indexer.head_count": "index_n_heads",
    "attention.indexer.key_length": "index_head_dim",
    "attention.sliding_window": "sliding_window",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_count": "n_shared_experts",
    "leading_dense_block_count": "first_k_dense_replace",
    "context_length": "max_position_embeddings",
    "vocab_size": "vocab_size",
    "shortconv.l_cache": "conv_L_cache",
    "wkv.head_size": "head_size",
}
_MODEL_TYPES = {
    "gpt-oss": "gpt_oss",
    "gptneox": "gpt_neox",
    "command-r": "cohere",
    "qwen2moe": "qwen2_moe",
    "qwen2vl": "qwen2_vl_text",
    "qwen3moe": "qwen3_moe",
    "qwen3next": "qwen3_next",
    "qwen3vl": "qwen3_vl_text",
    "qwen3vlmoe": "qwen3_vl_moe_text",
    "qwen35": "qwen3_5_text",
    "qwen35moe": "qwen3_5_moe_text",
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "llama4": "llama4_text",
    "deepseek2": "deepseek_v3",
    "glm4moe": "glm4_moe",
    "glm-dsa": "glm_moe_dsa",
    "nemotron_h_moe": "nemotron_h",
    "lfm2moe": "lfm2",
    "phi2": "phi",
    "rwkv6qwen2": "rwkv6",
}
_ENCODERS = frozenset(
    {
        "bert",
        "modern-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "neo-bert",
        "jina-bert-v2",
        "jina-bert-v3",
        "eurobert",
        "gemma-embedding",
        "llama-embed",
    }
)


def config_of(fields: Mapping[str, Any], tensors: Iterable[Tensor]) -> dict[str, Any] | None:
    """Return a config in the names of transformers, or ``None`` where the file names no architecture.

    Args:
        fields: the metadata of the first file.
        tensors: the tensors of every file of the set.
    """
    architecture = fields.get("general.architecture")
    if not isinstance(architecture, str):
        return None
    model_fields = {
        k.removeprefix(f"{architecture}."): v for k, v in fields.items() if k.startswith(f"{architecture}.")
    }
    config: dict[str, Any] = {"model_type": _MODEL_TYPES.get(architecture, architecture.replace("-", "_"))}
    for key, name in _KEYS.items():
        value = _largest(model_fields.get(key))
        if value:
            config[name] = value
    kinds, rows = _layers(tensors)
    drafts = _drafts(model_fields, kinds)
    kinds = {index: names for index, names in kinds.items() if index not in drafts}
    config["num_nextn_predict_layers"] = sum(drafts.values())
    if drafts and config.get("num_hidden_layers", 0) > len(drafts):
        config["num_hidden_layers"] -= len(drafts)
        model_fields = _without_drafts(model_fields, config["num_hidden_layers"])
    config |= _own_heads(model_fields) | _latent(model_fields) | _kinds(model_fields, kinds)
    if rows:
        config.setdefault("vocab_size", rows)
    if architecture in _ENCODERS:
        config["type_vocab_size"] = as_integer(fields.get("tokenizer.ggml.token_type_count")) or 0
    if architecture in ("t5", "t5encoder"):
        config["is_encoder_decoder"] = True
    return config


def _drafts(fields: Mapping[str, Any], layers: Mapping[int, set[str]]) -> dict[int, bool]:
    """Which blocks are next-token layers, and whether their tensors are stored.

    llama.cpp counts them in ``block_count``, after the others (convert_hf_to_gguf: ``num_hidden_layers`` plus
    ``num_nextn_predict_layers``), and tells them by tensors of their own, ``blk.N.nextn.*``.
    """
    stored = {index: True for index, names in layers.items() if "nextn" in names}
    blocks, announced = as_integer(fields.get("block_count")), as_integer(fields.get("nextn_predict_layers"))
    if (
        stored
        or not blocks
        or not announced
        or announced >= blocks
        or max(layers, default=blocks) + 1 != blocks - announced
    ):
        return stored
    return dict.fromkeys(range(blocks - announced, blocks), False)


def _without_drafts(fields: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """The metadata with lists that have an entry per block cut to the layers that decode."""
    blocks = as_integer(fields.get("block_count"))
    return {k: v[:layers] if isinstance(v, list) and len(v) == blocks else v for k, v in fields.items()}


def _own_heads(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Heads that differ by layer (NAS models); 0 stands for a layer without attention."""
    keys = {
        "attention.head_count": "num_attention_heads_per_layer",
        "attention.head_count_kv": "num_key_value_heads_per_layer",
    }
    lists = {name: fields[key] for key, name in keys.items() if isinstance(fields.get(key), list)}
    return {name: value for name, value in lists.items() if len(set(map(str, value))) > 1}


def _largest(value: Any) -> int | None:
    """A count, or the largest of a list with one per layer; 0 there stands for layers without."""
    if isinstance(value, list):
        return max((v for v in value if type(v) is int), default=None)
    return as_integer(value)


def _layers(tensors: Iterable[Tensor]) -> tuple[dict[int, set[str]], int | None]:
    """Tensor names per layer without ``blk.N.`` and ``.weight``, and the rows of the embedding."""
    layers: dict[int, set[str]] = {}
    rows = None
    for tensor in tensors:
        words = tensor.name.split(".")
        if words[0] == "blk" and len(words) > 2 and words[1].isdecimal():
            layers.setdefault(int(words[1]), set()).add(words[2])
        elif tensor.name == "token_embd.weight" and tensor.shape:
            rows = tensor.shape[0]
    return layers, rows


def _latent(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Multi-head latent attention: the lengths before absorption, as DeepSeek's config names them."""
    if not as_integer(fields.get("attention.kv_lora_rank")):
        return {}
    rotary = as_integer(fields.get("rope.dimension_count")) or 0
    key = as_integer(fields.get("attention.key_length_mla")) or as_integer(fields.get("attention.key_length")) or 0
    value = as_integer(fields.get("attention.value_length_mla")) or as_integer(fields.get("attention.value_length"))
    return {"qk_rope_head_dim": rotary, "qk_nope_head_dim": max(0, key - rotary), "v_head_dim": value}


def _kinds(fields: Mapping[str, Any], layers: Mapping[int, set[str]]) -> dict[str, Any]:
    """The kind of every layer, where they differ or none is plain attention, and the sizes of recurrent ones."""
    windows = fields.get("attention.sliding_window_pattern")
    windows = windows if isinstance(windows, list) else []
    words = [_word(layers[i], bool(windows[i]) if i < len(windows) else False) for i in sorted(layers)]
    if set(words) <= {"full_attention"}:
        return {}
    layer_config: dict[str, Any] = {"layer_types": words}
    if all(_blocks(names) == 1 for names in layers.values()):
        # Nemotron-H: a layer is a mixer or a feed-forward block, never both.
        layer_config = {"hybrid_override_pattern": "".join(_letter(layers[i]) for i in sorted(layers))}
    return layer_config | _recurrent_sizes(fields, set().union(*layers.values()))


def _word(names: set[str], slides: bool) -> str:
    recurrent = any(n.startswith("ssm_") for n in names)
    if names & {"ssm_beta", "ssm_ba", "ssm_alpha", "ssm_f_a"}:
        return "linear_attention"
    if recurrent:
        return "hybrid" if names & {"attn_k", "attn_qkv"} else "mamba"
    if any(n.startswith("shortconv") for n in names):
        return "conv"
    return "sliding_attention" if slides else "full_attention"


def _blocks(names: set[str]) -> int:
    """How many of mixer and feed-forward a layer has."""
    mixer = any(n.startswith(("ssm_", "attn_q", "attn_k")) for n in names)
    return mixer + any(n.startswith(("ffn_up", "ffn_down")) for n in names)


def _letter(names: set[str]) -> str:
    if any(n.startswith("ssm_") for n in names):
        return "M"
    if any("_exps" in n for n in names):
        return "E"
    return "*" if any(n.startswith("attn_") and n != "attn_norm" for n in names) else "-"


def _recurrent_sizes(fields: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """Sizes of the state, by the kind whose tensors are there (llama.cpp keeps them all under ``ssm.``)."""
    inner = as_integer(fields.get("ssm.inner_size"))
    rank = as_integer(fields.get("ssm.time_step_rank"))
    state = as_integer(fields.get("ssm.state_size"))
    groups = as_integer(fields.get("ssm.group_count"))
    kernel = as_integer(fields.get("ssm.conv_kernel"))
    if "ssm_f_a" in names:
        delta = {"num_heads": _largest(fields.get("attention.head_count")), "head_dim": fields.get("kda.head_dim")}
        # The layers are told by layer_types; this object carries their sizes.
        return {"linear_attn_config": {**delta, "short_conv_kernel_size": kernel}}
    if names & {"ssm_beta", "ssm_ba", "ssm_alpha"}:
        return {
            "linear_num_value_heads": rank,
            "linear_value_head_dim": inner // rank if inner and rank else None,
            "linear_num_key_heads": groups,
            "linear_key_head_dim": state,
            "linear_conv_kernel_dim": kernel,
        }
    sizes = {"mamba_intermediate_size": inner, "mamba_d_state": state, "conv_kernel": kernel, "mamba_d_conv": kernel}
    if groups and inner and rank:
        return sizes | {"mamba_num_heads": rank, "mamba_head_dim": inner // rank, "n_groups": groups}
    return sizes | {"time_step_rank": rank}
