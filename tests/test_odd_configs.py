"""Whatever a config holds under the keys that real ones have: an answer, or one of our errors."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hub import shapes
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.inspector import inspect_model
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Workload
from whichgpu.tui.desk.facts import load_facts

FACTS = load_facts()
BASES: dict[str, dict[str, Any]] = {
    "llama": shapes.LLAMA_8B,
    "deepseek": shapes.DEEPSEEK_V3 | {"indexer_types": ["full"] * 61, "index_head_dim": 128, "index_n_heads": 64},
    "t5": {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "d_model": 768,
        "d_ff": 3072,
        "d_kv": 64,
        "num_heads": 12,
        "num_layers": 12,
        "relative_attention_num_buckets": 32,
        "vocab_size": 32128,
    },
    "bert": {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_attention_heads": 12,
        "num_hidden_layers": 6,
        "type_vocab_size": 2,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
    },
    "mllama": {
        "architectures": ["MllamaForConditionalGeneration"],
        "model_type": "mllama",
        "text_config": {
            "model_type": "mllama_text_model",
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 40,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 128256,
            "cross_attention_layers": [3, 8, 13],
            "rope_scaling": {"factor": 8.0, "rope_type": "llama3"},
        },
        "vision_config": {
            "model_type": "mllama_vision_model",
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_global_layers": 8,
            "patch_size": 14,
            "image_size": 560,
            "supported_aspect_ratios": [[1, 1], [1, 2]],
        },
    },
    "hybrid": {
        "architectures": ["NemotronHForCausalLM"],
        "model_type": "nemotron_h",
        "hybrid_override_pattern": "MEM*EM-",
        "hidden_size": 2688,
        "intermediate_size": 1856,
        "moe_intermediate_size": 1856,
        "n_routed_experts": 128,
        "num_experts_per_tok": 6,
        "num_hidden_layers": 7,
        "num_attention_heads": 32,
        "num_key_value_heads": 2,
        "mamba_num_heads": 64,
        "mamba_head_dim": 64,
        "ssm_state_size": 128,
        "vocab_size": 131072,
        "quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {}}}},
    },
}
ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**41) | st.floats() | st.sampled_from(["", "x", "4096", "\x1b[31m"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "factor", "type"]), inner),
    max_leaves=4,
)


def places(value: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for key, inner in value.items():
        found.append((*above, key))
        found += places(inner, (*above, key)) if isinstance(inner, dict) else []
    return found


@pytest.mark.parametrize("name", BASES)
@settings(max_examples=60)
@given(data=st.data())
def test_an_answer_or_our_own_error(name: str, data: st.DataObject) -> None:
    config = json.loads(json.dumps(BASES[name]))
    for _ in range(data.draw(st.integers(1, 3))):
        *above, last = data.draw(st.sampled_from(places(config)))
        holder = config
        for key in above:
            holder = holder[key]
        holder[last] = data.draw(ODD)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        with contextlib.suppress(WhichgpuError):
            answer(inspect_model(folder), Workload(context=8192, concurrency=4), FACTS)


@pytest.mark.parametrize("name", BASES)
def test_as_they_are_all_of_them_are_counted(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(BASES[name]))
    assert (inspect_model(str(tmp_path)).parameters.total.value or 0) > 1_000_000


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("llama", ("architectures",), 5),
        ("t5", ("architectures",), True),
        ("bert", ("architectures",), -5.5),
        ("mllama", ("vision_config", "supported_aspect_ratios"), 2**40),
        ("deepseek", ("indexer_types",), ["full"]),
    ],
)
def test_once_crashed_now_answered(name: str, path: tuple[str, ...], value: object, tmp_path: Path) -> None:
    config = json.loads(json.dumps(BASES[name]))
    holder = config
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert inspect_model(str(tmp_path)).parameters.total.value


def test_a_quantize_config_of_an_onnx_export_says_nothing_of_the_weights(tmp_path: Path) -> None:
    """transformers.js leaves one without ``bits`` beside the weights (Supabase/gte-small); AutoGPTQ's always has them."""
    for name, content in shapes.qwen3_06b().files.items():
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
    export = {"per_channel": True, "reduce_range": True, "per_model_config": {"model": {"op_types": ["MatMul"]}}}
    (tmp_path / "quantize_config.json").write_text(json.dumps(export))
    assert inspect_model(str(tmp_path)).quantisation is None
    (tmp_path / "quantize_config.json").write_text(json.dumps({"bits": 4, "group_size": 128}))
    quantised = inspect_model(str(tmp_path)).quantisation
    assert quantised is not None
    assert quantised.method == "gptq"
