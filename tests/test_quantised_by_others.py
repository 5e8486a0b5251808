"""Published quantised checkpoints: what their lists leave alone, and what we expect of one that is not published yet."""

from __future__ import annotations

import pytest

from whichgpu import assets
from whichgpu.catalog.atlas import Atlas
from whichgpu.catalog.atlas_index import FILE_NAME
from whichgpu.inspect.kept_modules import read_kept
from whichgpu.inspect.records import Inspection, Part
from whichgpu.plan.choices import Precision
from whichgpu.plan.weights import total_bytes

ATLAS = Atlas(assets.read(FILE_NAME))


def model(name: str) -> Inspection:
    inspection = ATLAS.find(name)
    assert inspection is not None, name
    return inspection


@pytest.mark.parametrize(
    ("original", "quantised", "precision"),
    [
        ("deepseek-ai/DeepSeek-V3.2", "nvidia/DeepSeek-V3.2-NVFP4", Precision.NVFP4),
        ("deepseek-ai/DeepSeek-V4-Pro", "nvidia/DeepSeek-V4-Pro-NVFP4", Precision.NVFP4),
        ("zai-org/GLM-5", "nvidia/GLM-5-NVFP4", Precision.NVFP4),
        ("moonshotai/Kimi-K2.5", "nvidia/Kimi-K2.5-NVFP4", Precision.NVFP4),
        ("MiniMaxAI/MiniMax-M2.5", "nvidia/MiniMax-M2.5-NVFP4", Precision.NVFP4),
        ("MiniMaxAI/MiniMax-M3", "nvidia/MiniMax-M3-NVFP4", Precision.NVFP4),
        ("Qwen/Qwen3.5-122B-A10B", "nvidia/Qwen3.5-122B-A10B-NVFP4", Precision.NVFP4),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4", Precision.NVFP4),
        ("Qwen/Qwen3-235B-A22B", "nvidia/Qwen3-235B-A22B-NVFP4", Precision.NVFP4),
        ("google/gemma-4-26B-A4B", "nvidia/Gemma-4-26B-A4B-NVFP4", Precision.NVFP4),
        ("google/gemma-4-31B-it", "nvidia/Gemma-4-31B-IT-NVFP4", Precision.NVFP4),
        ("google/gemma-4-26B-A4B", "cyankiwi/gemma-4-26B-A4B-it-AWQ-4bit", Precision.INT4),
        ("Qwen/Qwen2-VL-2B-Instruct", "Qwen/Qwen2-VL-2B-Instruct-AWQ", Precision.INT4),
        ("openbmb/MiniCPM-V-4.6", "openbmb/MiniCPM-V-4.6-AWQ", Precision.INT4),
    ],
)
def test_four_bits_weigh_what_real_repositories_do(original: str, quantised: str, precision: Precision) -> None:
    expected = total_bytes(model(original), precision)
    published = total_bytes(model(quantised), Precision.PUBLISHED)
    assert expected == pytest.approx(published, rel=0.03)


def kept(patterns: list[str], name: str, part: Part, count: int, each: int = 1) -> int:
    return read_kept(patterns, 48).tensors(name, part, count, each)


def test_a_list_by_layer_keeps_these_layers_and_no_others() -> None:
    listed = [f"model.layers.{i}.self_attn.q_proj" for i in (0, 47)] + ["lm_head", "model.layers.48*"]
    assert kept(listed, "layers.*.self_attn.q_proj.weight", Part.ATTENTION, 48) == 2
    assert kept(listed, "layers.*.self_attn.k_proj.weight", Part.ATTENTION, 48) == 0
    assert kept(["re:.*self_attn.*"], "layers.*.self_attn.k_proj.weight", Part.ATTENTION, 48) == 48


def test_a_whole_layer_keeps_what_it_holds() -> None:
    listed = ["model.layers.0*", "model.layers.1.*", "model.layers.2.*"]
    assert kept(listed, "layers.*.mlp.gate_proj.weight", Part.DENSE_FFN, 3) == 3, "dense blocks come first"
    assert kept(listed, "layers.*.mlp.experts.*.up_proj.weight", Part.ROUTED_EXPERTS, 45 * 64, 64) == 0
    assert kept(listed, "layers.*.self_attn.q_proj.weight", Part.ATTENTION, 48) == 3
    with_attention = [*listed, *(f"model.layers.{i}.self_attn*" for i in range(3, 48))]
    assert kept(with_attention, "layers.*.self_attn.q_proj.weight", Part.ATTENTION, 48) == 48


def test_experts_of_a_listed_layer_are_all_kept() -> None:
    listed = [f"model.layers.5.mlp.experts.{i}.up_proj" for i in range(64)]
    assert kept(listed, "layers.*.mlp.experts.*.up_proj.weight", Part.ROUTED_EXPERTS, 48 * 64, 64) == 64


def test_one_name_for_attention_and_feed_forward_is_found() -> None:
    listed = [f"backbone.layers.{i}.mixer.q_proj" for i in (5, 12, 19)]
    assert kept(listed, "layers.*.self_attn.q_proj.weight", Part.ATTENTION, 6) == 3


def test_shared_experts_are_found_under_either_name() -> None:
    listed = [f"model.language_model.layers.{i}.mlp.shared_expert*" for i in range(48)]
    assert kept(listed, "layers.*.mlp.shared_experts.up_proj.weight", Part.SHARED_EXPERTS, 48) == 48
    gates = [f"model.layers.{i}.mlp.shared_expert_gate" for i in range(48)]
    assert kept(gates, "layers.*.mlp.shared_experts.up_proj.weight", Part.SHARED_EXPERTS, 48) == 0


def test_next_token_layers_go_with_the_others() -> None:
    listed = [f"model.layers.{i}.self_attn" for i in range(48)]
    assert kept(listed, "mtp.layers.*.self_attn.q_proj.weight", Part.MTP, 1) == 1
    assert kept(listed[:2], "mtp.layers.*.self_attn.q_proj.weight", Part.MTP, 1) == 0
