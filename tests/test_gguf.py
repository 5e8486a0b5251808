"""GGUF metadata becomes the same architecture that the transformers config of the model gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter

from whichgpu.inspect.architecture import read_design
from whichgpu.inspect.classify import classify
from whichgpu.inspect.config_view import ConfigView
from whichgpu.inspect.design import MixerSpec
from whichgpu.inspect.encoder_kinds import encoder_kind
from whichgpu.inspect.gguf_config import config_of
from whichgpu.inspect.gguf_file import GgufHeader, file_type
from whichgpu.inspect.headers import Tensor
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.records import ModelClass, Part

ATTENTION = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output")
DENSE = ("ffn_up", "ffn_gate", "ffn_down")
EXPERTS = ("ffn_gate_inp", "ffn_up_exps", "ffn_gate_exps", "ffn_down_exps")
MAMBA = ("attn_norm", "ssm_in", "ssm_conv1d", "ssm_a", "ssm_d", "ssm_out")


def tensors(layers: list[tuple[str, ...]]) -> list[Tensor]:
    found = [Tensor("token_embd.weight", "Q4_K", (1000, 64), 36_000)]
    return found + [Tensor(f"blk.{i}.{n}.weight", "F16", (8, 8), 128) for i, names in enumerate(layers) for n in names]


def view_of(architecture: str, layers: list[tuple[str, ...]], **metadata: Any) -> ConfigView:
    own = {f"{architecture}.{key.replace('__', '.')}": value for key, value in metadata.items()}
    fields = {"general.architecture": architecture, f"{architecture}.block_count": len(layers), **own}
    config = config_of(fields, tensors(layers))
    assert config is not None
    return ConfigView(config, "x.gguf")


def mixers(view: ConfigView) -> list[MixerSpec]:
    design = read_design(view)
    assert design is not None
    return design.mixers


def test_qwen3_next_has_its_gated_delta_nets() -> None:
    """Sizes: Qwen/Qwen3-Next-80B-A3B-Instruct config.json; keys: llama.cpp convert_hf_to_gguf, Qwen3NextModel."""
    linear = ("attn_norm", "attn_qkv", "attn_gate", "ssm_ba", "ssm_conv1d", "ssm_a", "ssm_out", *EXPERTS)
    view = view_of(
        "qwen3next",
        [linear, linear, linear, (*ATTENTION, *EXPERTS)] * 12,
        embedding_length=2048,
        attention__head_count=16,
        attention__head_count_kv=2,
        attention__key_length=256,
        attention__value_length=256,
        ssm__conv_kernel=4,
        ssm__state_size=128,
        ssm__group_count=16,
        ssm__time_step_rank=32,
        ssm__inner_size=4096,
        expert_count=512,
        expert_used_count=10,
    )
    found = mixers(view)
    assert [m.kind for m in found[:4]] == ["gdn", "gdn", "gdn", "full"]
    assert (found[0].heads, found[0].head_dim, found[0].key_heads, found[0].key_dim) == (32, 128, 16, 128)
    assert (found[3].kv_heads, found[3].head_dim) == (2, 256)
    assert classify(view, read_design(view), None, (), None, ()).classes == (ModelClass.HYBRID, ModelClass.MOE)


def test_deepseek_keeps_its_latent_attention() -> None:
    """Sizes: deepseek-ai/DeepSeek-V3 config.json; key_length is that of absorbed attention, 512 + 64."""
    view = view_of(
        "deepseek2",
        [("attn_kv_a_mqa", "attn_q_a", *DENSE)] * 3,
        embedding_length=7168,
        attention__head_count=128,
        attention__head_count_kv=1,
        attention__key_length=576,
        attention__value_length=512,
        attention__key_length_mla=192,
        attention__value_length_mla=128,
        attention__kv_lora_rank=512,
        attention__q_lora_rank=1536,
        rope__dimension_count=64,
    )
    spec = mixers(view)[0]
    assert (spec.kind, spec.kv_lora_rank, spec.rope_head_dim) == ("mla", 512, 64)
    assert (spec.nope_head_dim, spec.v_head_dim) == (128, 128)


def test_a_zero_in_a_list_of_heads_is_a_layer_without_attention() -> None:
    """Jamba's attention.head_count_kv is a list with one entry per layer."""
    view = view_of(
        "jamba",
        [(*MAMBA, *DENSE), (*ATTENTION, *DENSE), (*MAMBA, *EXPERTS), (*MAMBA, *DENSE)],
        embedding_length=4096,
        attention__head_count=32,
        attention__head_count_kv=[0, 8, 0, 0],
        ssm__inner_size=8192,
        ssm__state_size=16,
        ssm__conv_kernel=4,
        ssm__time_step_rank=256,
        ssm__group_count=0,
    )
    found = mixers(view)
    assert [m.kind for m in found] == ["mamba1", "full", "mamba1", "mamba1"]
    assert found[1].kv_heads == 8
    assert (found[0].inner, found[0].state_dim) == (8192, 16)


def test_nemotron_h_layers_are_one_block_each() -> None:
    view = view_of(
        "nemotron_h_moe",
        [MAMBA, EXPERTS, MAMBA, ATTENTION, ("ffn_up", "ffn_down")],
        embedding_length=2688,
        attention__head_count=[0, 0, 0, 32, 0],
        attention__head_count_kv=[0, 0, 0, 2, 0],
        attention__key_length=128,
        ssm__inner_size=4096,
        ssm__state_size=128,
        ssm__conv_kernel=4,
        ssm__time_step_rank=64,
        ssm__group_count=8,
    )
    found = mixers(view)
    assert [m.kind for m in found] == ["mamba2", "none", "mamba2", "full", "none"]
    assert (found[0].heads, found[0].head_dim, found[0].groups, found[0].state_dim) == (64, 64, 8, 128)


def test_kimi_linear_and_short_convolutions() -> None:
    delta = ("attn_q", "attn_k", "attn_v", "ssm_conv1d_q", "ssm_f_a", "ssm_f_b", "ssm_beta", *DENSE)
    kimi = view_of(
        "kimi-linear",
        [delta, ("attn_kv_a_mqa", "attn_q", *DENSE)],
        embedding_length=2304,
        attention__head_count=32,
        attention__head_count_kv=[0, 1],
        attention__kv_lora_rank=512,
        attention__key_length=192,
        attention__value_length=128,
        rope__dimension_count=64,
        kda__head_dim=128,
        ssm__conv_kernel=4,
    )
    found = mixers(kimi)
    assert [m.kind for m in found] == ["kda", "mla"]
    assert (found[0].heads, found[0].head_dim) == (32, 128)
    lfm = view_of(
        "lfm2",
        [("shortconv", *DENSE), (*ATTENTION, *DENSE)],
        embedding_length=1024,
        attention__head_count=16,
        attention__head_count_kv=[0, 8],
        shortconv__l_cache=3,
    )
    assert [m.kind for m in mixers(lfm)] == ["conv", "full"]


def test_windows_come_from_the_pattern() -> None:
    view = view_of(
        "gemma4",
        [(*ATTENTION, *DENSE)] * 3,
        embedding_length=256,
        attention__head_count=4,
        attention__head_count_kv=2,
        attention__sliding_window=512,
        attention__sliding_window_pattern=[True, True, False],
    )
    assert [(m.kind, m.window) for m in mixers(view)] == [("sliding", 512), ("sliding", 512), ("full", None)]


@pytest.mark.parametrize("architecture", ["bert", "nomic-bert", "jina-bert-v2"])
def test_encoders_have_no_cache(architecture: str) -> None:
    view = view_of(architecture, [("attn_qkv", *DENSE)], embedding_length=384, attention__head_count=12)
    assert encoder_kind(view) == "bert"
    assert classify(view, read_design(view), "bert", (), None, ()).classes == (ModelClass.ENCODER,)


def test_the_quantisation_is_what_the_file_declares() -> None:
    """LlamaFileType 15 is MOSTLY_Q4_K_M; 1024 means that the writer guessed."""
    assert file_type(GgufHeader({"general.file_type": 15}, tensors([]), {})) == "q4_k_m"
    assert file_type(GgufHeader({"general.file_type": 1024}, tensors([]), {})) == "q4_k"
    assert file_type(GgufHeader({"general.file_type": "15"}, tensors([]), {})) == "q4_k"
    assert file_type(GgufHeader({}, [], {})) == "unknown"


def test_a_file_without_an_architecture_is_no_model() -> None:
    assert config_of({"general.name": "x"}, ()) is None


def test_heads_that_differ_by_layer_and_layers_without_attention() -> None:
    """A NAS model: 49 of 80 layers of the published one have attention, with 8 key/value heads each."""
    found = mixers(
        view_of(
            "deci",
            [ATTENTION, ("ffn_norm", "ffn_up", "ffn_down"), ATTENTION],
            embedding_length=8192,
            attention__head_count=[64, 0, 64],
            attention__head_count_kv=[8, 0, 4],
            attention__key_length=128,
            feed_forward_length=[14336, 4096, 0],
        )
    )
    assert [m.kind for m in found] == ["full", "none", "full"]
    assert [m.kv_heads for m in found] == [8, None, 4]


DRAFT = ("nextn.eh_proj", "nextn.enorm", "nextn.hnorm", "nextn.shared_head_norm")


def test_next_token_layers_are_no_layers_of_the_decoder() -> None:
    """GLM-4.5: block_count is 46 layers and the one that predicts (llama.cpp convert_hf_to_gguf, Glm4MoeModel)."""
    view = view_of(
        "glm4moe",
        [(*ATTENTION, *DENSE), *[(*ATTENTION, *EXPERTS)] * 45, (*ATTENTION, *EXPERTS, *DRAFT)],
        embedding_length=4096,
        attention__head_count=96,
        attention__head_count_kv=8,
        attention__key_length=128,
        feed_forward_length=10944,
        leading_dense_block_count=1,
        expert_count=128,
        expert_used_count=8,
        nextn_predict_layers=1,
    )
    design = read_design(view)
    assert design is not None
    assert (design.layers, design.mtp_layers, len(design.mixers)) == (46, 1, 46)
    assert [f.kind for f in design.ffns[:2]] == ["dense", "moe"]


def test_a_hybrid_with_a_next_token_layer_has_its_kinds_and_heads_by_layer() -> None:
    """Qwen3.5: the layer that predicts has attention, whatever the last of the others is; lists have an entry for it too."""
    linear = ("attn_norm", "attn_qkv", "attn_gate", "ssm_ba", "ssm_conv1d", "ssm_a", "ssm_out", *DENSE)
    view = view_of(
        "qwen35",
        [linear, linear, linear, (*ATTENTION, *DENSE), linear, (*ATTENTION, *DENSE, *DRAFT)],
        embedding_length=2048,
        attention__head_count=16,
        attention__head_count_kv=[0, 0, 0, 2, 0, 2],
        attention__key_length=256,
        ssm__conv_kernel=4,
        ssm__state_size=128,
        ssm__group_count=16,
        ssm__time_step_rank=32,
        ssm__inner_size=4096,
        nextn_predict_layers=1,
    )
    design = read_design(view)
    assert design is not None
    assert [m.kind for m in design.mixers] == ["gdn", "gdn", "gdn", "full", "gdn"]
    assert (design.mixers[3].kv_heads, design.mtp_layers) == (2, 1)


def test_next_token_layers_that_a_file_counts_and_does_not_hold() -> None:
    view = view_of(
        "glm4moe",
        [(*ATTENTION, *DENSE)] * 3,
        embedding_length=64,
        attention__head_count=4,
        block_count=4,
        nextn_predict_layers=1,
    )
    design = read_design(view)
    assert design is not None
    assert (design.layers, design.mtp_layers) == (3, 0)


@pytest.mark.parametrize("architecture", ["qwen3next", "glm4moe"])
def test_a_file_without_any_has_none_whatever_its_class_has(architecture: str) -> None:
    view = view_of(architecture, [(*ATTENTION, *DENSE)] * 3, embedding_length=64, attention__head_count=4)
    design = read_design(view)
    assert design is not None
    assert (design.layers, design.mtp_layers) == (3, 0)


def test_tensors_of_a_next_token_layer_are_its_own_part(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "x.gguf", "glm4moe")
    writer.add_block_count(3)
    writer.add_context_length(4096)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_uint32("glm4moe.nextn_predict_layers", 1)
    names = [f"blk.{i}.{name}" for i in range(3) for name in ("attn_q", "attn_k", "ffn_up", "ffn_down")]
    for name in ["token_embd", *names, "blk.2.nextn.eh_proj"]:
        writer.add_tensor(f"{name}.weight", np.zeros((64, 64), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    inspection = inspect_model(str(tmp_path / "x.gguf"))
    assert inspection.architecture is not None
    assert (inspection.architecture.layers, inspection.architecture.mtp_layers) == (2, 1)
    assert inspection.parameters.by_part[Part.MTP] == 5 * 64 * 64
    assert inspection.parameters.active.value == 9 * 64 * 64
    assert inspection.parameters.total.value == 14 * 64 * 64
