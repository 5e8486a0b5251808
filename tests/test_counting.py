"""Parameters and bytes: packed formats unpacked, parts by name, config and headers in agreement."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hub import shapes
from whichgpu.inspect.architecture import read_design
from whichgpu.inspect.blueprint.decoder import language_model
from whichgpu.inspect.config_view import ConfigView
from whichgpu.inspect.headers import Tensor
from whichgpu.inspect.names import is_buffer, is_scale, part_of, pattern_of
from whichgpu.inspect.packing import detected_method
from whichgpu.inspect.precisions import DTYPE_BITS, FP8_BLOCK, INT4_G128, MXFP4, NVFP4
from whichgpu.inspect.quantisation import Published, read_quantisation
from whichgpu.inspect.records import Part
from whichgpu.inspect.tensors import group_tensors

GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128}
NF4 = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
INT8 = {"quant_method": "bitsandbytes", "load_in_8bit": True}
PACKED = {
    "quant_method": "compressed-tensors",
    "config_groups": {"g": {"weights": {"num_bits": 4, "type": "int", "group_size": 32}}},
}
NVFP4_CONFIG = {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}


def published(config: dict[str, Any] | None) -> Published | None:
    if config is None:
        return None
    return read_quantisation(ConfigView({"quantization_config": config}, "config.json"), None, {}, None)


def tensor(name: str, dtype: str, *shape: int) -> Tensor:
    return Tensor(name, dtype, shape, (prod(shape) * DTYPE_BITS[dtype] + 7) // 8)


@pytest.mark.parametrize(
    ("config", "tensors", "logical"),
    [
        (None, [tensor("m.q_proj.weight", "BF16", 64, 128)], 64 * 128),
        (
            GPTQ,
            [
                tensor("m.q_proj.qweight", "I32", 128 // 8, 64),
                tensor("m.q_proj.qzeros", "I32", 1, 8),
                tensor("m.q_proj.scales", "F16", 1, 64),
                tensor("m.q_proj.g_idx", "I32", 128),
            ],
            64 * 128,
        ),
        (
            GPTQ | {"bits": 8},
            [tensor("m.q_proj.qweight", "I32", 128 // 4, 64), tensor("m.q_proj.scales", "F16", 1, 64)],
            64 * 128,
        ),
        (
            AWQ,
            [
                tensor("m.q_proj.qweight", "I32", 128, 64 // 8),
                tensor("m.q_proj.qzeros", "I32", 1, 8),
                tensor("m.q_proj.scales", "F16", 1, 64),
            ],
            64 * 128,
        ),
        (
            PACKED,
            [
                tensor("m.q_proj.weight_packed", "I32", 64, 128 // 8),
                tensor("m.q_proj.weight_scale", "BF16", 64, 4),
                tensor("m.q_proj.weight_shape", "I64", 2),
            ],
            64 * 128,
        ),
        (
            NVFP4_CONFIG,
            [
                tensor("m.q_proj.weight", "U8", 64, 128 // 2),
                tensor("m.q_proj.weight_scale", "F8_E4M3", 64, 128 // 16),
                tensor("m.q_proj.weight_scale_2", "F32"),
                tensor("m.q_proj.input_scale", "F32"),
            ],
            64 * 128,
        ),
        (
            {"quant_method": "mxfp4"},
            [
                tensor("m.mlp.experts.gate_up_proj_blocks", "U8", 4, 64, 4, 16),
                tensor("m.mlp.experts.gate_up_proj_scales", "U8", 4, 64, 4),
                tensor("m.mlp.experts.gate_up_proj_bias", "BF16", 4, 64),
            ],
            4 * 64 * 128 + 4 * 64,
        ),
        (
            {"quant_method": "fp8", "weight_block_size": [128, 128]},
            [tensor("m.experts.0.w1.weight", "I8", 64, 64), tensor("m.experts.0.w1.scale", "F8_E8M0", 64, 4)],
            64 * 128,
        ),
        (
            NF4,
            [
                tensor("m.q_proj.weight", "U8", 64 * 128 // 2, 1),
                tensor("m.q_proj.weight.absmax", "U8", 128),
                tensor("m.q_proj.weight.quant_map", "F32", 16),
                tensor("m.q_proj.weight.nested_absmax", "F32", 1),
                tensor("m.q_proj.weight.quant_state.bitsandbytes__nf4", "U8", 90),
            ],
            64 * 128,
        ),
        (INT8, [tensor("m.q_proj.weight", "I8", 64, 128), tensor("m.q_proj.SCB", "F32", 64)], 64 * 128),
        (
            {"quant_method": "fp8", "weight_block_size": [128, 128]},
            [tensor("m.q_proj.weight", "F8_E4M3", 256, 128), tensor("m.q_proj.weight_scale_inv", "F32", 2, 1)],
            256 * 128,
        ),
    ],
    ids=["bf16", "gptq4", "gptq8", "awq", "compressed", "nvfp4", "mxfp4", "fp4-experts", "nf4", "int8", "fp8-block"],
)
def test_packed_formats_count_the_models_parameters(
    config: dict[str, Any] | None, tensors: list[Tensor], logical: int
) -> None:
    groups = group_tensors(tensors, None, published(config))
    assert sum(g.parameters for g in groups) == logical
    assert sum(g.bytes or 0 for g in groups) == sum(t.bytes for t in tensors)
    assert all(g.quantised == (config is not None) for g in groups if g.parameters > 4 * 64)


@pytest.mark.parametrize(
    ("config", "tensors", "method"),
    [
        (
            GPTQ | {"bits": 3},
            [
                tensor("m.q_proj.qweight", "I32", 1024 * 3 // 32, 64),
                tensor("m.q_proj.qzeros", "I32", 8, 64 * 3 // 32),
                tensor("m.q_proj.scales", "F16", 8, 64),
            ],
            None,
        ),
        (
            None,
            [
                tensor("m.q_proj.qweight", "I32", 1024 // 8, 64),
                tensor("m.q_proj.qzeros", "I32", 8, 64 // 8),
                tensor("m.q_proj.scales", "F16", 8, 64),
            ],
            "gptq or awq",
        ),
        (
            GPTQ,
            [
                tensor("m.q_proj.qweight", "I32", 1024, 64 // 8),
                tensor("m.q_proj.qzeros", "I32", 8, 64 // 8),
                tensor("m.q_proj.scales", "F16", 8, 64),
            ],
            "gptq or awq",
        ),
        (
            None,
            [
                tensor("m.q_proj.weight", "U8", 1024 * 64 // 2, 1),
                tensor("m.q_proj.weight.quant_state.bitsandbytes__nf4", "U8", 90),
            ],
            "bitsandbytes",
        ),
        (None, [tensor("m.q_proj.weight", "I8", 64, 1024), tensor("m.q_proj.SCB", "F32", 64)], "bitsandbytes"),
        (None, [tensor("m.q_proj.weight", "I8", 64, 1024), tensor("m.q_proj.weight_scale", "F32", 64, 1)], None),
    ],
    ids=["gptq3", "gptq-no-config", "awq-called-gptq", "nf4-no-config", "int8-no-config", "int8-rows"],
)
def test_shapes_decide_before_the_config(
    config: dict[str, Any] | None, tensors: list[Tensor], method: str | None
) -> None:
    weights = [g for g in group_tensors(tensors, None, published(config)) if g.name.endswith("weight")]
    assert sum(g.parameters for g in weights) == 64 * 1024
    if method is not None:
        assert detected_method({t.name for t in tensors}) == method


def test_mlx_packs_into_unsigned_words() -> None:
    view = ConfigView({"quantization": {"bits": 4, "group_size": 64}}, "config.json")
    tensors = [
        tensor("m.q_proj.weight", "U32", 64, 16),
        tensor("m.q_proj.scales", "BF16", 64, 2),
        tensor("m.q_proj.biases", "BF16", 64, 2),
    ]
    assert sum(g.parameters for g in group_tensors(tensors, None, read_quantisation(view, None, {}, None))) == 64 * 128


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.embed_tokens.weight", Part.EMBEDDING),
        ("transformer.wte.weight", Part.EMBEDDING),
        ("lm_head.weight", Part.HEAD),
        ("model.layers.0.self_attn.q_proj.weight", Part.ATTENTION),
        ("transformer.h.0.attn.c_attn.bias", Part.ATTENTION),
        ("model.layers.0.self_attn.indexer.wk.weight", Part.ATTENTION),
        ("model.layers.0.self_attn.q_norm.weight", Part.NORM),
        ("model.layers.0.input_layernorm.weight", Part.NORM),
        ("model.layers.0.mlp.gate_proj.weight", Part.DENSE_FFN),
        ("transformer.h.0.mlp.c_fc.weight", Part.DENSE_FFN),
        ("model.layers.0.mlp.gate.weight", Part.ROUTER),
        ("model.layers.0.mlp.router.weight", Part.ROUTER),
        ("model.layers.0.mlp.gate.e_score_correction_bias", Part.ROUTER),
        ("model.layers.0.mlp.experts.7.up_proj.weight", Part.ROUTED_EXPERTS),
        ("model.layers.0.mlp.experts.gate_up_proj_blocks", Part.ROUTED_EXPERTS),
        ("model.layers.0.mlp.shared_experts.up_proj.weight", Part.SHARED_EXPERTS),
        ("model.layers.0.mlp.shared_expert_gate.weight", Part.SHARED_EXPERTS),
        ("backbone.layers.0.mixer.in_proj.weight", Part.SSM),
        ("model.layers.0.linear_attn.A_log", Part.SSM),
        ("model.layers.0.conv.in_proj.weight", Part.SSM),
        ("visual.blocks.0.attn.qkv.weight", Part.VISION),
        ("model.vision_tower.encoder.layers.0.mlp.fc1.weight", Part.VISION),
        ("visual.merger.mlp.0.weight", Part.PROJECTOR),
        ("multi_modal_projector.linear_1.weight", Part.PROJECTOR),
        ("audio_tower.layers.0.fc1.weight", Part.AUDIO),
        ("mtp.layers.0.mlp.up_proj.weight", Part.MTP),
        ("model.layers.61.mlp.experts.0.up_proj.weight", Part.MTP),
        ("model.layers.61.eh_proj.weight", Part.MTP),
    ],
)
def test_parts_by_name(name: str, part: Part) -> None:
    assert part_of(pattern_of(name, 61)) is part


@pytest.mark.parametrize(
    "name",
    ["rotary_emb.inv_freq", "transformer.h.*.attn.bias", "gpt_neox.layers.*.attention.masked_bias", "x.weight_shape"],
)
def test_buffers(name: str) -> None:
    assert is_buffer(name)


@pytest.mark.parametrize(
    "name", ["a.weight_scale", "a.weight_scale_inv", "a.qzeros", "a.weight.absmax", "a_scales", "a.SCB"]
)
def test_scales(name: str) -> None:
    assert is_scale(name)


def test_masks_are_stored_but_are_no_parameters() -> None:
    """GPT-2's published count of 137,022,720 holds 12 masks of 1024 × 1024 that nobody trained."""
    tensors = [tensor(f"h.{i}.attn.bias", "F32", 1, 1, 1024, 1024) for i in range(12)]
    assert (
        sum(g.parameters for g in group_tensors([*tensors, tensor("h.0.attn.c_attn.bias", "F32", 2304)], 12, None))
        == 2304
    )


@pytest.mark.parametrize(
    ("scheme", "shape", "size"),
    [
        (FP8_BLOCK, (128, 128), 128 * 128 + 4),
        (FP8_BLOCK, (129, 130), 129 * 130 + 4 * 4),
        (INT4_G128, (64, 256), 64 * 256 // 2 + 64 * 2 * 2),
        (MXFP4, (64, 64), 64 * 64 // 2 + 64 * 2),
        (NVFP4, (64, 64), 64 * 64 // 2 + 64 * 4),
    ],
)
def test_bytes_of_formats(scheme: Any, shape: tuple[int, int], size: int) -> None:
    assert scheme.bytes_of(shape) == size


CONFIGS: dict[str, tuple[dict[str, Any], Callable[[], Any]]] = {
    "llama": (shapes.LLAMA_8B, lambda: shapes.dense(shapes.LLAMA_8B)),
    "qwen3": (shapes.QWEN3_06B, lambda: shapes.dense(shapes.QWEN3_06B, qk_norm=True)),
    "deepseek_v3": (shapes.DEEPSEEK_V3, shapes.deepseek_v3),
}


@pytest.mark.parametrize("family", CONFIGS)
def test_config_and_headers_agree_by_part(family: str) -> None:
    config, named = CONFIGS[family]
    design = read_design(ConfigView(config, "config.json"))
    assert design is not None
    tensors = [Tensor(n, d, s, (prod(s) * DTYPE_BITS[d] + 7) // 8) for n, (d, s) in named()]
    from_headers: dict[Part, int] = {}
    for group in group_tensors(tensors, design.layers, published(config.get("quantization_config"))):
        from_headers[group.part] = from_headers.get(group.part, 0) + group.parameters
    from_config: dict[Part, int] = {}
    for row in language_model(design):
        from_config[row.part] = from_config.get(row.part, 0) + row.parameters
    assert from_config == {part: count for part, count in from_headers.items() if count}


@given(
    st.fixed_dictionaries(
        {
            "hidden_size": st.sampled_from([64, 128, 256]),
            "num_hidden_layers": st.integers(1, 6),
            "num_attention_heads": st.sampled_from([4, 8]),
            "num_key_value_heads": st.sampled_from([1, 2, 4]),
            "intermediate_size": st.sampled_from([128, 384]),
            "vocab_size": st.integers(100, 1000),
            "tie_word_embeddings": st.booleans(),
        }
    )
)
def test_any_dense_config_agrees_with_its_headers(config: dict[str, Any]) -> None:
    design = read_design(ConfigView({**config, "model_type": "llama"}, "config.json"))
    assert design is not None
    computed = sum(r.parameters for r in language_model(design))
    assert computed == sum(prod(shape) for _, (_, shape) in shapes.dense(config))


def test_numbers_say_which_key_they_come_from() -> None:
    config = json.loads(json.dumps(shapes.LLAMA_8B))
    design = read_design(ConfigView(config, "config.json"))
    assert design is not None
    assert design.view.sources["layers"] == "config.json: num_hidden_layers"
    assert design.view.sources["head_dim"] == "computed: hidden size / attention heads"
