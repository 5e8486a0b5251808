"""Tiny models for a real vLLM: a config and a tokenizer, no weights (``--load-format dummy``).

    VLLM_PYTHON tests/tiny_models.py FOLDER [NAME…]

Runs in vLLM's environment, whose transformers and tokenizers it needs.
"""

from __future__ import annotations

import json
import string
import sys
from pathlib import Path

_VOCABULARY = 1024
_ATTENTION = {
    "hidden_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "intermediate_size": 512,
    "max_position_embeddings": 4096,
    "vocab_size": _VOCABULARY,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "hidden_act": "silu",
    "torch_dtype": "bfloat16",
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "tie_word_embeddings": False,
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128, "norm_topk_prob": True}
_MAMBA2 = {
    "mamba_d_ssm": 512,
    "mamba_n_heads": 8,
    "mamba_d_head": 64,
    "mamba_n_groups": 1,
    "mamba_d_state": 64,
    "mamba_chunk_size": 256,
}

CONFIGS: dict[str, dict[str, object]] = {
    "dense": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **_ATTENTION},
    "moe": {
        "model_type": "qwen3_moe",
        "architectures": ["Qwen3MoeForCausalLM"],
        **_ATTENTION,
        **_EXPERTS,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    },
    "mla": {
        "model_type": "deepseek_v3",
        "architectures": ["DeepseekV3ForCausalLM"],
        **_ATTENTION,
        "num_key_value_heads": 4,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_shared_experts": 1,
        "n_group": 1,
        "topk_group": 1,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "routed_scaling_factor": 1.0,
        "norm_topk_prob": True,
        "moe_intermediate_size": 128,
        "first_k_dense_replace": 1,
        "moe_layer_freq": 1,
        "kv_lora_rank": 512,
        "q_lora_rank": 128,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128,
        "v_head_dim": 128,
    },
    "mamba2": {
        "model_type": "mamba2",
        "architectures": ["Mamba2ForCausalLM"],
        "hidden_size": 256,
        "num_hidden_layers": 2,
        "state_size": 64,
        "num_heads": 8,
        "head_dim": 64,
        "n_groups": 1,
        "expand": 2,
        "conv_kernel": 4,
        "chunk_size": 256,
        "vocab_size": _VOCABULARY,
        "torch_dtype": "bfloat16",
        "rms_norm": True,
        "layer_norm_epsilon": 1e-5,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    },
    "hybrid": {"model_type": "falcon_h1", "architectures": ["FalconH1ForCausalLM"], **_ATTENTION, **_MAMBA2},
    "unknown": {"model_type": "llama", "architectures": ["NobodyKnowsForCausalLM"], **_ATTENTION},
}


def make(folder: Path, names: list[str]) -> None:
    """Write the models."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    source = [Path(module.__file__ or "").read_text(encoding="utf-8") for module in (json, string)]
    tokenizer.train_from_iterator([*source, Path(__file__).read_text(encoding="utf-8")], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    for name in names or list(CONFIGS):
        path = folder / name
        fast.save_pretrained(path)
        (path / "config.json").write_text(json.dumps(CONFIGS[name], indent=1), encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2:])
