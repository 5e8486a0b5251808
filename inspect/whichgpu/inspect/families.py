"""What a config leaves unsaid, per ``model_type``: facts of the transformers classes, as data.

A config names sizes but not, say, that Qwen2's q, k and v projections have a bias. Those conventions decide
about 0.1 % of the parameters (much more for ungated feed-forwards and tied embeddings). Sources: the
transformers 4.x/5.x modelling files and published checkpoints. A ``model_type`` that is not here is worked
out from its keys alone, with a warning. To add one, add a row; see CONTRIBUTING.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

_FFN_BIAS_KEYS = ("mlp_bias", "ffn_bias", "add_bias_linear")


@dataclass(frozen=True, slots=True)
class Family:
    """Conventions of one modelling class. The defaults are Llama's."""

    attention_bias: str = ""
    """Projections with a bias when the config is silent: any of the letters q, k, v, o."""
    config_bias: str = "qkvo"
    """Projections that get a bias when the config says ``attention_bias: true``."""
    ignores_bias_key: bool = False
    """True where the class has its biases although published configs say ``attention_bias: false``."""
    qk_norm: str = ""
    """``head``: one norm of head_dim for q and one for k; ``full``: over all heads; ``each``: per head; ``layer``: with bias."""
    weightless_qk_norm: bool = False
    """True where the norm that the config names has no parameters."""
    relative_matrix: bool = False
    """One more matrix of each attention, for relative positions."""
    rotary: bool = True
    """False for learned positions, biases, or none at all."""
    rotary_share: float = 1.0
    """Share of a head that is rotated when the config is silent."""
    rotary_bytes: int = 2
    """Bytes per value of the rotary table: some scaled ones stay FP32."""
    short_image_positions: bool = False
    """Three-directional positions whose table vLLM 0.32 no longer lengthens; with all others it is four times as long, for the
    indices of long videos (rotary_embedding/mrope.py, qwen3_vl.mrope_positions_factor)."""
    gated_always: bool = False
    """True where the feed-forward has a gate whatever its activation is."""
    gated: bool = True
    """Feed-forward with a gate (SwiGLU: three matrices) or without (two)."""
    ffn_bias: bool = False
    ffn_bias_keys: tuple[str, ...] = _FFN_BIAS_KEYS
    """Keys by which a config may say otherwise."""
    halved_width: bool = False
    """True where intermediate_size counts gate and up together."""
    shared_feed_forwards: bool = False
    """True where they lie in blocks that several layers call, not in the layers."""
    expert_bias: bool = False
    """Experts and router with a bias."""
    attention_experts: bool = False
    """True where each expert has query and output projections of its own, for as many heads as there are of keys and values."""
    joint_query_gate: bool = False
    """True where one matrix makes queries and output gates out of two latents (transformers AXK2Attention)."""
    norm: str = "rms"
    """``rms`` (weight), ``layer`` (weight and bias) or ``none`` (no parameters)."""
    norms: int = 2
    """Norms per layer."""
    shared_norm: bool = False
    """One norm for both blocks of a layer, unless its keys and values are grouped (Falcon)."""
    layer_scalar: bool = False
    """One more parameter per layer, which scales what it adds."""
    feeds_mamba: bool = False
    """True where a feed-forward block stands beside Mamba in every layer, whether or not there is attention."""
    per_layer_table: bool = True
    """Inputs per layer, where the config has their width, come from a table of their own."""
    scan_norms: bool = False
    """Norms on a Mamba mixer's dt, B and C."""
    mixing_adapters: bool = False
    """Time mixing that depends on the data through low-rank adapters (RWKV 6)."""
    mixer: str = ""
    """Every layer's mixer where the config names none, in the words of ``layer_patterns``."""
    tied: bool = False
    """Whether the head shares the embedding when the config is silent."""
    stores_tied_head: bool = False
    """True where checkpoints hold the head although it is the embedding once more; of an encoder-decoder, where its decoder alone does."""
    positions: int | None = None
    """Learned position embeddings: rows beyond the context, or ``None`` for rotary and ALiBi."""
    embedding_norm: bool = False
    head_bias: bool = False
    bare_head: bool = False
    """True where a class that is named like a bare model has a head all the same."""
    mixture: bool = False
    """True where the class always has experts, so an absent key is a default and not a dense model."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Class defaults of keys that published configs omit."""
    window_every: int | None = None
    """Every n-th layer is global, the rest slide, when the config has no per-layer list."""
    mtp: str = "same"
    """Next-token layers in published checkpoints: ``same`` (like the last layer), ``dense`` or ``absent``."""
    mtp_ends: bool = False
    """True where each next-token layer stores the embedding and the head once more."""
    towers: tuple[str, ...] = ()
    """model_types of encoders that the class always has and the config may not describe: then they have their class's sizes."""
    twin_tower: bool = False
    """True where a second image encoder of the same sizes reads videos."""
    rotating_tower: bool = False
    """True where the image encoder has rotary positions (vLLM 0.32 models/qwen2_5_vl.py and its kin)."""
    projector: str = ""
    """Projector between encoder and language model, by its name in ``blueprint.projectors``; else the encoder's usual one."""
    merger_norm: str = "layer"
    """Norm before Qwen-VL's merger."""
    encoder: str = ""
    """Design of an encoder whose keys do not tell it, by its name in ``encoder_kinds``."""


_LLAMA = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
}
_MISTRAL = {**_LLAMA, "intermediate_size": 14336, "num_key_value_heads": 8}
_GEMMA3 = {
    "vocab_size": 262208,
    "max_position_embeddings": 131072,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
}
_QWEN2 = {**_LLAMA, "vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32}
_GPT2 = {"n_inner": None}
_GEMMA4 = {"global_head_dim": 512}
_GATED_ATTENTION = {"attn_output_gate": True}
_FALCON = Family(
    gated=False,
    norm="layer",
    shared_norm=True,
    tied=True,
    stores_tied_head=True,
    defaults={"max_position_embeddings": 2048},
)

FAMILIES: dict[str, Family] = {
    "llama": Family(defaults=_LLAMA),
    "mistral": Family(defaults=_MISTRAL),
    "ministral3": Family(),
    "mistral3": Family(),
    "mistral4": Family(mixture=True),
    "mixtral": Family(mixture=True),
    "qwen": Family(attention_bias="qkv", halved_width=True),
    "qwen2": Family(attention_bias="qkv", defaults=_QWEN2),
    "qwen2_moe": Family(attention_bias="qkv", mixture=True),
    "qwen2_vl": Family(attention_bias="qkv"),
    "qwen2_vl_text": Family(attention_bias="qkv"),
    "qwen2_5_vl": Family(attention_bias="qkv"),
    "qwen2_5_vl_text": Family(attention_bias="qkv"),
    "qwen2_5_omni_text": Family(attention_bias="qkv"),
    "qwen2_audio": Family(attention_bias="qkv"),
    "qwen3": Family(qk_norm="head"),
    "qwen3_moe": Family(qk_norm="head", mixture=True),
    "qwen3_vl": Family(qk_norm="head"),
    "qwen3_vl_text": Family(qk_norm="head"),
    "qwen3_vl_moe": Family(qk_norm="head", mixture=True),
    "qwen3_vl_moe_text": Family(qk_norm="head", mixture=True),
    "qwen3_omni_moe_text": Family(qk_norm="head", mixture=True),
    "qwen3_asr": Family(qk_norm="head"),
    "qwen3_next": Family(qk_norm="head", mixture=True, defaults={"mtp_num_hidden_layers": 1, "attn_output_gate": True}),
    "embedding_gemma2_text": Family(tied=True, norms=4, qk_norm="head", per_layer_table=False),
    "bamba": Family(feeds_mamba=True),
    "granitemoehybrid": Family(feeds_mamba=True),
    "laguna": Family(qk_norm="head", mixture=True),
    "hy_v4": Family(mixture=True, defaults={"mla_use_output_gate": True}),
    "hy_v4_text": Family(mixture=True, defaults={"mla_use_output_gate": True}),
    "hy_v4_vl_text": Family(mixture=True, defaults={"mla_use_output_gate": True}),
    "muse_glimmer_text": Family(defaults=_GATED_ATTENTION),
    "muse_spark_text": Family(mixture=True, defaults=_GATED_ATTENTION),
    "dory": Family(norm="none", defaults=_GATED_ATTENTION),
    "hrm_text": Family(norm="none", defaults=_GATED_ATTENTION),
    "qwen3_5": Family(qk_norm="head", defaults=_GATED_ATTENTION),
    "qwen3_5_text": Family(qk_norm="head", defaults=_GATED_ATTENTION),
    "qwen3_5_moe": Family(qk_norm="head", mixture=True, defaults=_GATED_ATTENTION),
    "qwen3_5_moe_text": Family(qk_norm="head", mixture=True, defaults=_GATED_ATTENTION),
    "afmoe": Family(qk_norm="head", norms=4, mixture=True, defaults=_GATED_ATTENTION),
    "apertus": Family(qk_norm="head", gated=False),
    "apertus1p5_text": Family(qk_norm="head", gated=False),
    "bitnet": Family(gated_always=True),
    "codegen": Family(gated=False, norm="layer", norms=1, ffn_bias=True, head_bias=True),
    "gpt_neo": Family(gated=False, norm="layer", attention_bias="o", ffn_bias=True, positions=0, tied=True),
    "openai-gpt": Family(gated=False, norm="layer", attention_bias="qkvo", ffn_bias=True, positions=0, tied=True),
    "fish_qwen3": Family(qk_norm="head"),
    "logics": Family(qk_norm="head"),
    "andesvl-aimv2-qwen3": Family(qk_norm="head"),
    "gemma": Family(tied=True, gated=True),
    "gemma2": Family(tied=True, norms=4, window_every=2),
    "gemma3": Family(tied=True, norms=4, qk_norm="head", window_every=6),
    "gemma3_text": Family(tied=True, norms=4, qk_norm="head", window_every=6, defaults=_GEMMA3),
    "gemma3n_text": Family(tied=True, norms=4, qk_norm="head", window_every=5),
    "gemma4": Family(tied=True, norms=4, qk_norm="head", window_every=6, defaults=_GEMMA4),
    "gemma4_text": Family(tied=True, norms=4, qk_norm="head", window_every=6, defaults=_GEMMA4),
    "gemma4_unified_text": Family(tied=True, norms=4, qk_norm="head", window_every=6, defaults=_GEMMA4),
    "recurrent_gemma": Family(tied=True, attention_bias="o", ignores_bias_key=True, ffn_bias=True, halved_width=True),
    "cohere": Family(tied=True, norm="rms", norms=1),
    "cohere2_vision": Family(projector="aligned"),
    "cohere2": Family(tied=True, norm="rms", norms=1, window_every=4),
    "olmo2": Family(qk_norm="full"),
    "olmo3": Family(qk_norm="full", window_every=4),
    "olmoe": Family(qk_norm="full", mixture=True),
    "granite": Family(),
    "granite_docling_text": Family(tied=True),
    "hyperclovax": Family(norms=4),
    "hyperclovax_vision_v2": Family(projector="merger then one"),
    "deepseek_vl": Family(projector="two"),
    "cosmos3_edge_text": Family(gated=False),
    "paddleocr_vl_text": Family(tied=True),
    "voxtral_realtime_text": Family(tied=True),
    "phi4_multimodal": Family(),
    "moshi": Family(halved_width=True),
    "granitemoe": Family(mixture=True),
    "exaone": Family(),
    "exaone4": Family(qk_norm="head", ffn_bias_keys=(*_FFN_BIAS_KEYS, "use_bias")),
    "smollm3": Family(tied=True),
    "seed_oss": Family(attention_bias="qkv", config_bias="qkv"),
    "internlm": Family(config_bias="qkvo"),
    "internlm2": Family(),
    "baichuan": Family(),
    "xverse": Family(),
    "orion": Family(norm="layer"),
    "minicpm": Family(tied=True),
    "minicpm3": Family(tied=True),
    "minicpmv": Family(projector="resampler"),
    "minicpmv4_6": Family(qk_norm="head", mtp="absent"),
    "mimo": Family(attention_bias="qkv", config_bias="qkv"),
    "mimo_v2_flash": Family(mixture=True),
    "phi3": Family(),
    "phi3_v": Family(projector="phi3"),
    "phi4mm": Family(towers=("phi4_multimodal_vision", "phi4_multimodal_audio")),
    "phi3small": Family(attention_bias="qkvo", ignores_bias_key=True, ffn_bias=True, norm="layer", tied=True),
    "phi": Family(attention_bias="qkvo", ffn_bias=True, gated=False, norm="layer", norms=1, head_bias=True),
    "phi-msft": Family(attention_bias="qkvo", ffn_bias=True, gated=False, norm="layer", norms=1, head_bias=True),
    "phimoe": Family(norm="layer", mixture=True, head_bias=True),
    "starcoder2": Family(
        attention_bias="qkvo",
        ffn_bias=True,
        ffn_bias_keys=(*_FFN_BIAS_KEYS, "use_bias"),
        gated=False,
        norm="layer",
        tied=True,
    ),
    "stablelm": Family(norm="layer"),
    "stablelm_epoch": Family(norm="layer"),
    "gpt2": Family(
        attention_bias="qkvo",
        ffn_bias=True,
        ffn_bias_keys=(),
        gated=False,
        norm="layer",
        tied=True,
        positions=0,
        defaults=_GPT2,
    ),
    "gpt_bigcode": Family(attention_bias="qkvo", ffn_bias=True, gated=False, norm="layer", tied=True, positions=0),
    "gpt_neox": Family(attention_bias="qkvo", ffn_bias=True, gated=False, norm="layer"),
    "gpt_neox_reward_model": Family(attention_bias="qkvo", ffn_bias=True, gated=False, norm="layer"),
    "gptj": Family(ffn_bias=True, gated=False, norm="layer", norms=1, head_bias=True),
    "opt": Family(attention_bias="qkvo", ffn_bias=True, gated=False, norm="layer", tied=True, positions=2),
    "kosmos_2_text_model": Family(
        gated=False, attention_bias="qkvo", ffn_bias=True, norm="layer", rotary=False, norms=4, tied=True
    ),
    "kosmos_2_5_text_model": Family(
        gated=False, attention_bias="qkvo", ffn_bias=True, norm="layer", rotary=False, norms=3, tied=True
    ),
    "biogpt": Family(gated=False, attention_bias="qkvo", ffn_bias=True, norm="layer", positions=2, tied=True),
    "ctrl": Family(gated=False, attention_bias="qkvo", ffn_bias=True, norm="layer", rotary=False, tied=True),
    "git": Family(gated=False, attention_bias="qkvo", ffn_bias=True, norm="layer", positions=0, embedding_norm=True),
    "bert-generation": Family(encoder="bert"),
    "bigbird_pegasus": Family(positions=0, stores_tied_head=True),
    "prophetnet": Family(positions=0),
    "bloom": Family(
        attention_bias="qkvo", rotary=False, ffn_bias=True, gated=False, norm="layer", tied=True, embedding_norm=True
    ),
    "falcon": _FALCON,
    "RefinedWeb": _FALCON,
    "RefinedWebModel": _FALCON,
    "mpt": Family(rotary=False, gated=False, norm="rms", tied=True),
    "persimmon": Family(attention_bias="qkvo", ffn_bias=True, gated=False, norm="layer", qk_norm="layer"),
    "fuyu": Family(attention_bias="qkvo", ffn_bias=True, gated=False, norm="layer", qk_norm="layer"),
    "chatglm": Family(attention_bias="qkv", rotary_share=0.5, bare_head=True),
    "glm": Family(attention_bias="qkv", config_bias="qkv"),
    "glm4": Family(attention_bias="qkv", config_bias="qkv", norms=4),
    "glm4v": Family(attention_bias="qkv", config_bias="qkv", norms=4),
    "glm4v_text": Family(attention_bias="qkv", config_bias="qkv", norms=4),
    "glm_ocr_text": Family(norms=4),
    "glm4_moe": Family(attention_bias="qkv", config_bias="qkv", mixture=True, mtp_ends=True),
    "glm4v_moe_text": Family(attention_bias="qkv", config_bias="qkv", mixture=True),
    "glm_moe_dsa": Family(mixture=True, mtp_ends=True),
    "dbrx": Family(norm="rms", mixture=True),
    "deepseek": Family(mixture=True),
    "deepseek_v2": Family(mixture=True),
    "deepseek_v3": Family(mixture=True, mtp_ends=True),
    "deepseek_v32": Family(mixture=True, mtp_ends=True),
    "deepseek_v4": Family(mixture=True, rotary_bytes=4, defaults={"expert_dtype": "fp4"}),
    "dots3_note_text": Family(mixture=True),
    "ernie4_5_vl_moe_text": Family(mixture=True, tied=True),
    "jetmoe": Family(mixture=True, tied=True, attention_experts=True),
    "axk2": Family(mixture=True, joint_query_gate=True),
    "deepseek_ref": Family(mixture=True, rotary_bytes=4),
    "deepseek_vl_v2": Family(mixture=True, projector="vl2"),
    "DeepseekOCR": Family(mixture=True),
    "unlimited-ocr": Family(mixture=True),
    "kimi_k2": Family(mixture=True, mtp_ends=True),
    "kimi_linear": Family(mixture=True),
    "gpt_oss": Family(
        attention_bias="qkvo",
        ignores_bias_key=True,
        rotary_bytes=4,
        mixture=True,
        expert_bias=True,
        defaults={"add_full_attention_sink_bias": True},
    ),
    "hunyuan": Family(qk_norm="head", tied=True),
    "minimax_m1": Family(mixture=True),
    "minimax_m2": Family(qk_norm="full", mixture=True, mtp="absent"),
    "minimax_m3": Family(qk_norm="head", mixture=True, mtp="absent"),
    "minimax_m3_vl": Family(qk_norm="head", mixture=True, mtp="absent"),
    "step3p7": Family(qk_norm="head", mixture=True, mtp="dense", mtp_ends=True),
    "llama4": Family(mixture=True, towers=("llama4_vision_model",)),
    "inkling_mm_model": Family(towers=("inkling_vision", "inkling_audio")),
    "video_llava": Family(twin_tower=True),
    "cpmant": Family(stores_tied_head=True),
    "xlnet": Family(gated=False, ffn_bias=True, norm="layer", rotary=False, tied=True, relative_matrix=True),
    "xlm": Family(
        gated=False, attention_bias="qkvo", ffn_bias=True, norm="layer", positions=0, embedding_norm=True, tied=True
    ),
    "llama4_text": Family(mixture=True),
    "mllama": Family(),
    "mllama_text_model": Family(),
    "nemotron": Family(gated=False, norm="layer"),
    "nemotron-nas": Family(),
    "nemotron_h": Family(gated=False, norms=1),
    "lfm2": Family(qk_norm="head", tied=True),
    "lfm3": Family(qk_norm="head", norms=4, tied=True),
    "falcon_h1": Family(),
    "jamba": Family(rotary=False, mixture=True, scan_norms=True),
    "zamba": Family(tied=True, shared_feed_forwards=True),
    "zamba2": Family(tied=True, shared_feed_forwards=True),
    "mamba": Family(tied=True, norms=1),
    "mamba2": Family(norms=1),
    "falcon_mamba": Family(tied=True, norms=1),
    "rwkv": Family(norm="layer"),
    "rwkv5": Family(norm="layer"),
    "rwkv6": Family(norm="layer", mixing_adapters=True),
    "molmo2_text": Family(qk_norm="head"),
    "molmo": Family(halved_width=True, towers=("molmo_vision",)),
    "PanguEmbedded": Family(attention_bias="qkvo", config_bias="qkvo"),
    "ultravox": Family(projector="ultravox"),
}

UNKNOWN = Family()
"""Llama's conventions, used when the model_type is not in the table; the answer says so."""

_KIN: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("qwen2_vl", {"rotating_tower": True}),
    ("qwen2_5", {"merger_norm": "rms"}),
    ("qwen2_5_vl", {"rotating_tower": True}),
    ("qwen3_vl", {"rotating_tower": True, "short_image_positions": True}),
    ("qwen3_5", {"rotating_tower": True, "short_image_positions": True}),
    ("qwen3_omni", {"rotating_tower": True}),
    ("glm4v", {"rotating_tower": True}),
    ("gemma4", {"layer_scalar": True}),
    ("llama4", {"weightless_qk_norm": True, "defaults": {"n_shared_experts": 1}}),
    ("nemotron_h", {"rotary": False, "defaults": {"mamba_ssm_cache_dtype": "float32"}}),
    ("mamba2", {"defaults": {"layer": "Mamba2"}}),
    ("rwkv", {"mixer": "rwkv"}),
    ("bert", {"rotary": False}),
    ("roberta", {"rotary": False}),
    ("xlm-roberta", {"rotary": False}),
    ("distilbert", {"encoder": "distilbert"}),
    ("clip", {"projector": "none"}),
)
"""What all model types share that begin alike, whether or not they have a row."""


@cache
def family_of(model_type: str | None) -> Family:
    """Return a model type's conventions: its row, else Llama's, with what its kin share."""
    row = FAMILIES.get(model_type or "", UNKNOWN)
    for beginning, shared in _KIN:
        if model_type is not None and model_type.startswith(beginning):
            row = replace(row, **shared)
    return row
