"""Real shapes for the stand-in: Llama-3.1-8B in four shards, DeepSeek-V3 in 163, a small single-file model."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.hub.content import Repo, Sparse, TensorSpec, safetensors_file

Named = tuple[str, TensorSpec]

LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
QWEN3_06B = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}
DEEPSEEK_V3 = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "first_k_dense_replace": 3,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]},
    "tie_word_embeddings": False,
    "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16",
    "v_head_dim": 128,
    "vocab_size": 129280,
}


def dense(config: dict[str, object], qk_norm: bool = False) -> Iterator[Named]:
    """Tensors of a Llama-like model, as transformers stores them."""
    h, i, v = (int(str(config[k])) for k in ("hidden_size", "intermediate_size", "vocab_size"))
    heads, kv = int(str(config["num_attention_heads"])), int(str(config["num_key_value_heads"]))
    d = int(str(config.get("head_dim", h // heads)))
    yield "model.embed_tokens.weight", ("BF16", (v, h))
    for layer in range(int(str(config["num_hidden_layers"]))):
        p = f"model.layers.{layer}"
        yield f"{p}.self_attn.q_proj.weight", ("BF16", (heads * d, h))
        yield f"{p}.self_attn.k_proj.weight", ("BF16", (kv * d, h))
        yield f"{p}.self_attn.v_proj.weight", ("BF16", (kv * d, h))
        yield f"{p}.self_attn.o_proj.weight", ("BF16", (h, heads * d))
        if qk_norm:
            yield f"{p}.self_attn.q_norm.weight", ("BF16", (d,))
            yield f"{p}.self_attn.k_norm.weight", ("BF16", (d,))
        for name, shape in (("gate_proj", (i, h)), ("up_proj", (i, h)), ("down_proj", (h, i))):
            yield f"{p}.mlp.{name}.weight", ("BF16", shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{p}.{name}.weight", ("BF16", (h,))
    yield "model.norm.weight", ("BF16", (h,))
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", ("BF16", (v, h))


def _fp8(name: str, out: int, inner: int) -> Iterator[Named]:
    yield f"{name}.weight", ("F8_E4M3", (out, inner))
    yield f"{name}.weight_scale_inv", ("F32", (-(-out // 128), -(-inner // 128)))


def deepseek_v3() -> Iterator[Named]:
    """The 91,991 tensors of DeepSeek-V3 as published: FP8 with block scales, one next-token layer."""
    h, vocab = 7168, 129280
    yield "model.embed_tokens.weight", ("BF16", (vocab, h))
    for layer in range(62):
        p = f"model.layers.{layer}"
        yield from _fp8(f"{p}.self_attn.q_a_proj", 1536, h)
        yield f"{p}.self_attn.q_a_layernorm.weight", ("BF16", (1536,))
        yield from _fp8(f"{p}.self_attn.q_b_proj", 24576, 1536)
        yield from _fp8(f"{p}.self_attn.kv_a_proj_with_mqa", 576, h)
        yield f"{p}.self_attn.kv_a_layernorm.weight", ("BF16", (512,))
        yield from _fp8(f"{p}.self_attn.kv_b_proj", 32768, 512)
        yield from _fp8(f"{p}.self_attn.o_proj", h, 16384)
        yield f"{p}.input_layernorm.weight", ("BF16", (h,))
        yield f"{p}.post_attention_layernorm.weight", ("BF16", (h,))
        yield from _deepseek_ffn(p, h, dense_layer=layer < 3)
    p = "model.layers.61"
    yield f"{p}.embed_tokens.weight", ("BF16", (vocab, h))
    yield f"{p}.enorm.weight", ("BF16", (h,))
    yield f"{p}.hnorm.weight", ("BF16", (h,))
    yield f"{p}.eh_proj.weight", ("BF16", (h, 2 * h))
    yield f"{p}.shared_head.norm.weight", ("BF16", (h,))
    yield f"{p}.shared_head.head.weight", ("BF16", (vocab, h))
    yield "model.norm.weight", ("BF16", (h,))
    yield "lm_head.weight", ("BF16", (vocab, h))


def _deepseek_ffn(p: str, h: int, dense_layer: bool) -> Iterator[Named]:
    def block(name: str, inner: int) -> Iterator[Named]:
        yield from _fp8(f"{name}.gate_proj", inner, h)
        yield from _fp8(f"{name}.up_proj", inner, h)
        yield from _fp8(f"{name}.down_proj", h, inner)

    if dense_layer:
        yield from block(f"{p}.mlp", 18432)
        return
    yield f"{p}.mlp.gate.weight", ("BF16", (256, h))
    yield f"{p}.mlp.gate.e_score_correction_bias", ("F32", (256,))
    yield from block(f"{p}.mlp.shared_experts", 2048)
    for expert in range(256):
        yield from block(f"{p}.mlp.experts.{expert}", 2048)


def sharded(config: dict[str, object], tensors: Iterator[Named], shards: int, **options: object) -> Repo:
    """Spread tensors over shards in order, with the usual names and an index."""
    listed = list(tensors)
    step = -(-len(listed) // shards)
    files: dict[str, bytes | Sparse] = {"config.json": json.dumps(config).encode()}
    weight_map: dict[str, str] = {}
    for index in range(shards):
        name = f"model-{index + 1:05d}-of-{shards:05d}.safetensors"
        part = dict(listed[index * step : (index + 1) * step])
        files[name] = safetensors_file(part)
        weight_map |= dict.fromkeys(part, name)
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    return Repo(files, **options)  # type: ignore[arg-type]


def llama_8b(**options: object) -> Repo:
    return sharded(LLAMA_8B, dense(LLAMA_8B), 4, **options)


def deepseek(**options: object) -> Repo:
    return sharded(DEEPSEEK_V3, deepseek_v3(), 163, **options)


def qwen3_06b(**options: object) -> Repo:
    """A single-file model with a tied head."""
    files: dict[str, bytes | Sparse] = {
        "config.json": json.dumps(QWEN3_06B).encode(),
        "model.safetensors": safetensors_file(dict(dense(QWEN3_06B, qk_norm=True))),
    }
    return Repo(files, **options)  # type: ignore[arg-type]
