"""LoRA: bytes that follow from shapes, the command that keeps room for them, and what is refused.

The sums are reckoned by hand from the shapes in vLLM 0.32 lora/layers, for a published config each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.planning import FACTS, GIB, ask, footprint, model, plan_for, served
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.reference import Reference
from whichgpu.plan.adapters import ADAPTERS, AdapterBuffers, Adapters
from whichgpu.plan.records import Layout, Term
from whichgpu.plan.sharding import Ways
from whichgpu.tui.cli.tree import cli

_QWEN32, _VOCABULARY, _HIDDEN = "Qwen/Qwen3-32B", 151_936, 5_120
_ENDS = 2 * (_VOCABULARY + _HIDDEN)
"""Embedding and head, inputs and outputs."""


def _term(name: str, card: str, layout: Layout, **workload: Any) -> Term:
    terms = footprint(model(name), card, layout, **workload).terms
    return next(t for t in terms if t.name == ADAPTERS)


@pytest.mark.parametrize(("slots", "rank"), [(1, 16), (4, 64), (8, 256)])
def test_a_dense_model_on_one_card_has_inputs_and_outputs_of_every_matrix(slots: int, rank: int) -> None:
    queries, pairs, width = 8_192, 1_024, 25_600
    layer = 2 * (_HIDDEN + queries) + 2 * (_HIDDEN + pairs) + 3 * (_HIDDEN + width)
    found = _term(_QWEN32, "h200_sxm", Layout(tensor_parallel=1), enable_lora=True, max_loras=slots, max_lora_rank=rank)
    assert found.bytes == slots * rank * 2 * (64 * layer + _ENDS)
    assert found.low == found.bytes == found.high
    assert found.flag == "--max-lora-rank"


def test_two_cards_cut_one_side_of_an_adapter_and_repeat_the_other() -> None:
    column = 4_096 + _HIDDEN + 2 * (512 + _HIDDEN) + 2 * (12_800 + _HIDDEN)
    row = 4_096 + _HIDDEN + 12_800 + _HIDDEN
    mapping = 8 * _VOCABULARY
    one = _term(_QWEN32, "l40s", Layout(tensor_parallel=2), enable_lora=True)
    assert one.bytes == 16 * 2 * (64 * (column + row) + _ENDS) + mapping == 182_184_960
    sharded = _term(_QWEN32, "l40s", Layout(tensor_parallel=2), enable_lora=True, fully_sharded_loras=True)
    cut = 64 * (column + row - 5 * _HIDDEN / 2 - 2 * _HIDDEN / 2)
    assert sharded.bytes == 16 * 2 * (cut + _ENDS) + mapping


def test_every_routed_expert_has_adapters_of_its_own() -> None:
    hidden, width, experts = 2_048, 768, 128
    attention = 2 * (hidden + 4_096) + 2 * (hidden + 512) + hidden + experts
    layer = attention + experts * 3 * (hidden + width)
    one = _term("Qwen/Qwen3-30B-A3B", "h200_sxm", Layout(tensor_parallel=1), enable_lora=True)
    assert one.bytes == 16 * 2 * (48 * layer + 2 * (_VOCABULARY + hidden))
    assert one.bytes > 1.5 * GIB
    eight = Layout(tensor_parallel=8, expert_parallel=True)
    shared_out = _term("Qwen/Qwen3-30B-A3B", "h200_sxm", eight, enable_lora=True)
    assert shared_out.bytes < one.bytes / 6


def test_gate_and_up_of_fused_experts_share_one_input_side() -> None:
    hidden, width, experts, layers = 2_880, 2_880, 32, 24
    attention = 2 * (hidden + 4_096) + 2 * (hidden + 512) + hidden + experts
    layer = attention + experts * (hidden + 2 * width + width + hidden)
    found = _term("openai/gpt-oss-20b", "h100_sxm", Layout(tensor_parallel=1), enable_lora=True)
    assert found.bytes == 16 * 2 * layers * layer


def test_graphs_are_captured_with_and_without_adapters() -> None:
    def graphs(**workload: Any) -> int:
        terms = footprint(model(_QWEN32), "l40s", Layout(tensor_parallel=2), **workload).terms
        return next(t.bytes for t in terms if t.name == "CUDA graphs")

    base = 0.1 * GIB
    assert graphs(enable_lora=True) - base == pytest.approx(2 * (graphs() - base), rel=1e-6)


def test_the_command_keeps_the_room_that_was_planned() -> None:
    plan = plan_for(ask(_QWEN32, "h200_sxm", enable_lora=True, max_loras=4, max_lora_rank=64), "h200_sxm")
    assert plan.command is not None
    assert "--enable-lora --max-loras 4 --max-lora-rank 64" in plan.command
    without = plan_for(ask(_QWEN32, "h200_sxm"), "h200_sxm")
    assert without.command is not None
    assert "lora" not in without.command


def test_a_class_without_lora_is_refused_by_name() -> None:
    lacking = "KimiLinearForCausalLM"
    assert lacking in FACTS.architectures["lora"]["without"]
    plan = plan_for(ask("moonshotai/Kimi-Linear-48B-A3B-Instruct", "h200_sxm", enable_lora=True), "h200_sxm")
    assert not plan.fits
    assert lacking in plan.reasons[0]
    assert "--enable-lora" in plan.reasons[0]


def test_options_of_adapters_without_adapters_name_both() -> None:
    done = CliRunner().invoke(cli, ["--offline", "--model", _QWEN32, "--max-lora-rank", "64"])
    assert done.exit_code == 2
    assert "--max-lora-rank" in done.output
    assert "--enable-lora" in done.output


def test_the_person_who_asked_is_answered() -> None:
    """vllm#17822: Qwen3-32B on two cards with adapters ran out of memory while graphs were captured."""
    words = (
        "--offline --model Qwen/Qwen3-32B --gpu L40S --cards 2 --context 32768 --concurrency 1 --enable-lora --explain"
    )
    done = CliRunner().invoke(cli, words.split())
    assert done.exit_code == 0
    assert "LoRA adapters" in done.stdout
    assert "--enable-lora --max-loras 1 --max-lora-rank 16" in done.stdout


def test_as_the_manager_of_vllm_itself_reserves(tmp_path: Path) -> None:
    """vLLM 0.32 LoRAModelManager on its CPU build: three adapters of rank 32 for Qwen3-Next, its convolutions with them."""
    config = {
        "architectures": ["Qwen3NextForCausalLM"], "model_type": "qwen3_next", "hidden_size": 256, "intermediate_size": 768,
        "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 1024,
        "max_position_embeddings": 512, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "full_attention_interval": 4,
        "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 32, "linear_value_head_dim": 32,
        "linear_conv_kernel_dim": 4, "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 128,
        "shared_expert_intermediate_size": 128, "decoder_sparse_step": 1, "mlp_only_layers": [], "partial_rotary_factor": 0.25,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    inspection = inspect_model(Reference("folder", str(tmp_path), path=tmp_path))
    buffers = AdapterBuffers(served(inspection), inspection.tensors)
    assert sum(buffers.per_stage(Adapters(3, 32, False), Ways(1, 1, False)).values()) == 9_795_072
