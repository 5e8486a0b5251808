"""A config that was saved again by another transformers says the same, whatever it calls it."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from benchmarks.transformers_oracle import CLOSE, asked, counted, is_excused, kept

from tests.planning import served
from whichgpu.inspect.errors import UnreadableError
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.normal_form import normalised
from whichgpu.inspect.records import Inspection, ModelClass
from whichgpu.inspect.reference import parse_reference
from whichgpu.plan.records import Layout, Workload
from whichgpu.plan.sizing import Sizer

VLLM_PYTHON = os.environ.get("WHICHGPU_VLLM_PYTHON")
"""Of vLLM's CPU build, where it is at hand: transformers is beside it."""

Config = dict[str, Any]
FAMILIES = sorted((Path(__file__).parent / "families").glob("*.json"))


def config_of(name: str) -> Config:
    return dict(json.loads((Path(__file__).parent / "families" / f"{name}.json").read_text())["config"])


@pytest.fixture
def inspected(tmp_path: Path) -> Callable[[Config], Inspection]:
    def inspect(config: Config) -> Inspection:
        (tmp_path / "config.json").write_text(json.dumps(config))
        return inspect_model(parse_reference(str(tmp_path)))

    return inspect


def figures(inspection: Inspection) -> tuple[object, ...]:
    cache = Sizer(served(inspection)).cache(Workload(context=8192, concurrency=16), Layout(tensor_parallel=1))
    parameters = inspection.parameters
    return inspection.classes, parameters.total.value, parameters.active.value, cache.growth, cache.state


V4: Config = {
    "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4", "hidden_size": 1024, "num_hidden_layers": 6,
    "num_attention_heads": 16, "num_key_value_heads": 1, "head_dim": 512, "qk_rope_head_dim": 64, "q_lora_rank": 256,
    "o_lora_rank": 256, "o_groups": 4, "vocab_size": 1280, "moe_intermediate_size": 256, "n_routed_experts": 16,
    "num_experts_per_tok": 4, "n_shared_experts": 1, "index_n_heads": 16, "index_head_dim": 128, "index_topk": 512,
    "sliding_window": 128, "hc_mult": 4, "max_position_embeddings": 1048576, "scoring_func": "sqrtsoftplus",
    "torch_dtype": "bfloat16", "tie_word_embeddings": False,
}  # fmt: skip
_ROTARY = {"factor": 16, "original_max_position_embeddings": 65536}
SPELLINGS: dict[str, tuple[Config, Config]] = {
    "a ratio per layer": (
        V4 | {"compress_ratios": [0, 0, 4, 128, 4, 128], "num_hash_layers": 3, "rope_scaling": {**_ROTARY, "type": "yarn"}, "compress_rope_theta": 160000},
        V4 | {
            "layer_types": ["sliding_attention"] * 2 + ["compressed_sparse_attention", "heavily_compressed_attention"] * 2,
            "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 128},
            "mlp_layer_types": ["hash_moe"] * 3 + ["moe"] * 3,
            "rope_parameters": {"main": {"rope_theta": 10000, "rope_type": "default"}, "compress": {**_ROTARY, "rope_theta": 160000, "rope_type": "yarn"}},
        },
    ),
    "an indexer named by layer": (
        {"architectures": ["MiniMaxM3ForCausalLM"], "model_type": "minimax_m3", "hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8,
         "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 1024, "vocab_size": 1024, "max_position_embeddings": 65536,
         "sparse_attention_config": {"use_sparse_attention": True, "sparse_num_index_heads": 4, "sparse_index_dim": 128, "sparse_attention_freq": [0, 1, 1, 1]}},
        {"architectures": ["MiniMaxM3ForCausalLM"], "model_type": "minimax_m3", "hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8,
         "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 1024, "vocab_size": 1024, "max_position_embeddings": 65536,
         "layer_types": ["full_attention"] + ["minimax_m3_sparse"] * 3, "index_n_heads": 4, "index_head_dim": 128},
    ),
    "Mamba called linear attention": (
        {"architectures": ["Zamba2ForCausalLM"], "model_type": "zamba2", "hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "vocab_size": 1024,
         "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"], "num_mem_blocks": 2, "mamba_headdim": 64, "mamba_ngroups": 2, "state_size": 64,
         "expansion_factor": 2, "kv_channels": 64, "ffn_hidden_size": 2048, "max_position_embeddings": 4096},
        {"architectures": ["Zamba2ForCausalLM"], "model_type": "zamba2", "hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "vocab_size": 1024,
         "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"], "num_mem_blocks": 2, "mamba_headdim": 64, "mamba_ngroups": 2,
         "mamba_d_state": 64, "mamba_expand": 2, "n_mamba_heads": 8, "attention_head_dim": 128, "intermediate_size": 2048, "max_position_embeddings": 4096},
    ),
}  # fmt: skip
"""The same model as its publisher wrote it, and as transformers 5.24 saves it."""


@pytest.mark.parametrize(("published", "saved"), SPELLINGS.values(), ids=SPELLINGS)
def test_saved_again_it_is_the_same_model(
    published: Config, saved: Config, inspected: Callable[[Config], Inspection]
) -> None:
    assert figures(inspected(saved)) == figures(inspected(published))


def test_deepseek_v4_is_no_dense_model(inspected: Callable[[Config], Inspection]) -> None:
    assert inspected(SPELLINGS["a ratio per layer"][1]).classes == (ModelClass.MOE,)


def test_global_layers_named_one_by_one(inspected: Callable[[Config], Inspection]) -> None:
    """Gemma 4: transformers 5.24 writes the sizes of every global layer."""
    published = config_of("google__gemma-4-26B-A4B")
    text = dict(published["text_config"])
    own = {"head_dim": text.pop("global_head_dim"), "num_key_value_heads": text.pop("num_global_key_value_heads")}
    full = [i for i, word in enumerate(text["layer_types"]) if word == "full_attention"]
    saved = published | {"text_config": text | {"per_layer_config": {f"{i:02d}": own for i in full}}}
    assert figures(inspected(saved)) == figures(inspected(published))


def test_letters_written_as_words(inspected: Callable[[Config], Inspection]) -> None:
    """Nemotron-H: transformers 5.24 writes a word for every letter of the pattern."""
    published = config_of("nvidia__NVIDIA-Nemotron-3-Nano-30B-A3B-BF16")
    saved = {k: v for k, v in published.items() if k not in ("hybrid_override_pattern", "num_hidden_layers")}
    words = {"M": "linear_attention", "*": "full_attention", "E": "moe", "-": "mlp"}
    saved["layers_block_type"] = [words[letter] for letter in published["hybrid_override_pattern"]]
    assert figures(inspected(saved)) == figures(inspected(published))


class TestLevels:
    """What is said flat and nested at once: one of the two is a default of a class."""

    FLAT: ClassVar[Config] = {
        "architectures": ["Glm4vForConditionalGeneration"], "model_type": "glm4v", "hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8,
        "num_key_value_heads": 2, "intermediate_size": 1024, "vocab_size": 4096, "max_position_embeddings": 65536, "tie_word_embeddings": False,
    }  # fmt: skip

    def test_defaults_that_are_nested_do_not_count(self, inspected: Callable[[Config], Inspection]) -> None:
        defaults = self.FLAT | {"model_type": "glm4v_text", "num_hidden_layers": 40, "hidden_size": 4096}
        defaults.pop("architectures")
        saved = inspected(self.FLAT | {"text_config": defaults})
        assert figures(saved) == figures(inspected(self.FLAT))

    def test_defaults_around_what_is_nested_do_not_count_either(
        self, inspected: Callable[[Config], Inspection]
    ) -> None:
        text = {**self.FLAT, "model_type": "qwen3"}
        text.pop("architectures")
        around = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 4096, "num_hidden_layers": 36,
                  "num_attention_heads": 32, "vocab_size": 151936}  # fmt: skip
        assert (
            inspected(around | {"text_config": text}).parameters.total.value
            == inspected(text | {"architectures": ["Qwen3ForCausalLM"]}).parameters.total.value
        )

    @pytest.mark.parametrize(("root", "text"), [(False, True), (True, False)])
    def test_embedding_and_head_are_apart_where_one_level_says_so(
        self, root: bool, text: bool, inspected: Callable[[Config], Inspection]
    ) -> None:
        inner = {**self.FLAT, "model_type": "qwen3_vl_text", "tie_word_embeddings": text}
        inner.pop("architectures")
        found = inspected(
            {"architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl", "tie_word_embeddings": root, "text_config": inner}
        )  # fmt: skip
        assert found.architecture is not None
        assert found.architecture.tied_embeddings is False


@pytest.mark.parametrize("path", FAMILIES, ids=lambda p: p.stem)
def test_order_and_unknown_keys_change_nothing(path: Path, inspected: Callable[[Config], Inspection]) -> None:
    config = json.loads(path.read_text())["config"]
    shuffled = list(config.items())
    random.Random(path.stem).shuffle(shuffled)
    other = {"_nobody_reads_this": 4096, **dict(shuffled), "another_unknown_key": {"hidden_act": "silu"}}
    assert figures(inspected(other)) == figures(inspected(config))


@pytest.mark.parametrize(
    "value", [None, 7, "words", [1, 2], {"05": 3}, {"x": {"head_dim": "wide"}}, {"05": {"head_dim": -1}}]
)
def test_odd_values_are_left_alone(value: object) -> None:
    for key in (
        "layer_types",
        "mlp_layer_types",
        "per_layer_config",
        "compress_rates",
        "rope_parameters",
        "num_mem_blocks",
    ):
        level = {key: value, "hidden_size": 64, "num_attention_heads": 4}
        assert normalised(level).items() >= {k: v for k, v in level.items() if k != "num_mem_blocks"}.items()


class TestOracle:
    """transformers' own classes, built from their default configs (docs/transformers.md)."""

    def test_what_it_counted_is_what_we_say_or_is_warned_of(self) -> None:
        cases = [counted(row) for row in kept() if "params" in row]
        close = [case for case in cases if case.off is not None and abs(case.off) <= CLOSE]
        assert len(cases) >= 260
        assert len(close) >= 0.94 * len(cases), "252 of 267 when this was written"
        assert sum(not is_excused(case) for case in cases) == 0

    def test_vllm_says_the_same_in_its_environment(self) -> None:
        """Its transformers counts these as we do."""
        if not VLLM_PYTHON:
            pytest.skip("WHICHGPU_VLLM_PYTHON is not set")
        types = ["qwen3", "qwen3_next", "deepseek_v3", "gemma3_text", "mixtral", "gpt_oss", "llama4_text", "nemotron_h"]
        rows = [row for row in asked([{"model_type": name} for name in types], VLLM_PYTHON) if "params" in row]
        assert len(rows) == len(types)
        assert not [
            (case.row["model_type"], case.off)
            for case in map(counted, rows)
            if case.off is None or abs(case.off) > CLOSE
        ]


class TestPlausibility:
    """What no model has is refused with the key; nothing is put in its place."""

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"hidden_size": "abc"}, "hidden_size = abc"),
            ({"num_hidden_layers": -1}, "num_hidden_layers = -1"),
            ({"vocab_size": 1e30}, "vocab_size = 1e+30"),
            ({"num_attention_heads": 0}, "num_attention_heads = 0"),
            ({"intermediate_size": [1, "a"]}, "intermediate_size = [1, 'a']"),
            ({"head_dim": 1.5}, "head_dim = 1.5"),
            ({"num_experts": 100_000_000, "num_experts_per_tok": 2}, "no model has more than"),
        ],
        ids=lambda v: v if isinstance(v, str) else "",
    )
    def test_the_key_is_named(self, changes: Config, words: str, inspected: Callable[[Config], Inspection]) -> None:
        with pytest.raises(UnreadableError, match=re.escape(words)):
            inspected(config_of("Qwen__Qwen3-0.6B") | changes)

    def test_what_is_null_is_not_said(self, inspected: Callable[[Config], Inspection]) -> None:
        config = config_of("Qwen__Qwen3-0.6B")
        assert figures(inspected(config | {"num_experts": None, "q_lora_rank": None})) == figures(inspected(config))

    def test_a_word_that_no_reader_knows_is_said(self, inspected: Callable[[Config], Inspection]) -> None:
        config = config_of("Qwen__Qwen3-0.6B")
        words = ["full_attention"] * (config["num_hidden_layers"] - 1) + ["telepathy"]
        assert any("telepathy" in text for text in inspected(config | {"layer_types": words}).unread)
