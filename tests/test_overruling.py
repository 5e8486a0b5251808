"""Where a config and the headers beside it disagree, the tensors count, for layers and cache as for totals, and it is said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hub import shapes
from tests.hub.content import TensorSpec, header_of
from tests.test_families import FAMILIES, write_weights
from whichgpu.inspect.architecture import read_design
from whichgpu.inspect.config_view import config_root
from whichgpu.inspect.facts import architecture_record
from whichgpu.inspect.headers import Tensor
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.mixer_kinds import MixerKind
from whichgpu.inspect.overruling import overruled
from whichgpu.inspect.records import Inspection
from whichgpu.inspect.stored_layers import stored_layers

Config = dict[str, Any]
Named = tuple[str, TensorSpec]
Inspect = Callable[[Config, Iterable[Named]], Inspection]

LLAMA: Config = shapes.LLAMA_8B | {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
}
MIXTURE: Config = LLAMA | {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "head_dim": 32,
}
LATENT: Config = LLAMA | {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "kv_lora_rank": 128,
    "q_lora_rank": 64,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
}
DELTA: Config = LLAMA | {
    "architectures": ["Qwen3NextForCausalLM"],
    "model_type": "qwen3_next",
    "head_dim": 32,
    "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_value_head_dim": 32,
    "linear_key_head_dim": 32,
    "linear_conv_kernel_dim": 4,
    "num_experts": 0,
    "num_nextn_predict_layers": 0,
}
MAMBA: Config = LLAMA | {
    "architectures": ["GraniteMoeHybridForCausalLM"],
    "model_type": "granitemoehybrid",
    "layers_block_type": ["mamba", "mamba", "mamba", "attention"],
    "mamba_n_heads": 8,
    "mamba_d_head": 64,
    "mamba_d_state": 16,
    "mamba_n_groups": 1,
    "mamba_d_conv": 4,
}


@pytest.fixture
def inspect_folder(tmp_path: Path) -> Inspect:
    def inspected(config: Config, tensors: Iterable[Named]) -> Inspection:
        (tmp_path / "config.json").write_text(json.dumps(config))
        start, data = header_of(dict(tensors))
        with (tmp_path / "model.safetensors").open("wb") as file:
            file.write(start)
            file.truncate(len(start) + data)
        return inspect_model(str(tmp_path))

    return inspected


def model(config: Config, layers: list[Iterator[Named]], head: bool = True) -> Iterator[Named]:
    """Embedding, layers and head; every layer with its norms."""
    h, vocabulary = config["hidden_size"], config["vocab_size"]
    yield "model.embed_tokens.weight", ("BF16", (vocabulary, h))
    for index, layer in enumerate(layers):
        for name, spec in layer:
            yield f"model.layers.{index}.{name}", spec
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"model.layers.{index}.{name}.weight", ("BF16", (h,))
    yield "model.norm.weight", ("BF16", (h,))
    if head:
        yield "lm_head.weight", ("BF16", (vocabulary, h))


def matrix(name: str, *shape: int) -> Named:
    return f"{name}.weight", ("BF16", shape)


def attention(
    heads: int = 8, kv_heads: int = 2, head_dim: int = 32, norm: bool = False, h: int = 256
) -> Iterator[Named]:
    yield matrix("self_attn.q_proj", heads * head_dim, h)
    yield matrix("self_attn.k_proj", kv_heads * head_dim, h)
    yield matrix("self_attn.v_proj", kv_heads * head_dim, h)
    yield matrix("self_attn.o_proj", h, heads * head_dim)
    if norm:
        yield matrix("self_attn.q_norm", head_dim)
        yield matrix("self_attn.k_norm", head_dim)


def dense(inner: int = 512, h: int = 256) -> Iterator[Named]:
    yield matrix("mlp.gate_proj", inner, h)
    yield matrix("mlp.up_proj", inner, h)
    yield matrix("mlp.down_proj", h, inner)


def experts(count: int = 8, inner: int = 64, h: int = 256) -> Iterator[Named]:
    yield matrix("mlp.gate", count, h)
    for index in range(count):
        yield matrix(f"mlp.experts.{index}.gate_proj", inner, h)
        yield matrix(f"mlp.experts.{index}.up_proj", inner, h)
        yield matrix(f"mlp.experts.{index}.down_proj", h, inner)


def fused_experts(count: int = 8, inner: int = 64, h: int = 256) -> Iterator[Named]:
    yield matrix("mlp.gate", count, h)
    yield "mlp.experts.gate_up_proj", ("BF16", (count, 2 * inner, h))
    yield "mlp.experts.down_proj", ("BF16", (count, h, inner))


def latent(rank: int = 128, rope: int = 16, heads: int = 8, h: int = 256) -> Iterator[Named]:
    yield matrix("self_attn.q_a_proj", 64, h)
    yield matrix("self_attn.q_a_layernorm", 64)
    yield matrix("self_attn.q_b_proj", heads * (32 + rope), 64)
    yield matrix("self_attn.kv_a_proj_with_mqa", rank + rope, h)
    yield matrix("self_attn.kv_a_layernorm", rank)
    yield matrix("self_attn.kv_b_proj", heads * 64, rank)
    yield matrix("self_attn.o_proj", h, heads * 32)


def delta(heads: int = 4, head_dim: int = 32, keys: int = 64, h: int = 256) -> Iterator[Named]:
    yield matrix("linear_attn.in_proj_qkvz", 2 * keys + 2 * heads * head_dim, h)
    yield matrix("linear_attn.in_proj_ba", 2 * heads, h)
    yield matrix("linear_attn.conv1d", 2 * keys + heads * head_dim, 1, 4)
    yield "linear_attn.A_log", ("F32", (heads,))
    yield "linear_attn.dt_bias", ("F32", (heads,))
    yield matrix("linear_attn.norm", head_dim)
    yield matrix("linear_attn.out_proj", h, heads * head_dim)


def mamba(heads: int = 8, head_dim: int = 64, state: int = 16, h: int = 256) -> Iterator[Named]:
    inner = heads * head_dim
    yield matrix("mamba.in_proj", 2 * inner + 2 * state + heads, h)
    yield matrix("mamba.conv1d", inner + 2 * state, 1, 4)
    for name in ("A_log", "D", "dt_bias"):
        yield f"mamba.{name}", ("F32", (heads,))
    yield matrix("mamba.norm", inner)
    yield matrix("mamba.out_proj", h, inner)


def both(first: Iterator[Named], second: Iterator[Named]) -> Iterator[Named]:
    yield from first
    yield from second


def layout(inspection: Inspection) -> list[MixerKind]:
    architecture = inspection.architecture
    assert architecture is not None
    return [architecture.mixers[index].kind for index in architecture.mixer_layout]


def said(inspection: Inspection, *words: str) -> bool:
    return any(all(word in text for word in words) for text in inspection.warnings)


class TestAgreement:
    @pytest.mark.parametrize("path", FAMILIES, ids=lambda p: p.stem)
    def test_nothing_changes_where_both_say_the_same(self, path: Path, tmp_path: Path) -> None:
        """But that the classes of transformers have no next-token layers, whatever the published config says."""
        family = json.loads(path.read_text())
        family["config"] |= {"num_nextn_predict_layers": 0, "mtp_num_hidden_layers": 0}
        for level in family["config"].values():
            if isinstance(level, dict) and "mtp_num_hidden_layers" in level:
                level["mtp_num_hidden_layers"] = 0
        (tmp_path / "config.json").write_text(json.dumps(family["config"]))
        described = inspect_model(str(tmp_path)).architecture
        write_weights(tmp_path / "model.safetensors", family["tensors"])
        inspection = inspect_model(str(tmp_path))
        assert inspection.architecture == described
        assert [text for text in inspection.warnings if "tensor" in text or "headers" in text] == []

    @pytest.mark.parametrize(
        ("config", "layers"),
        [
            (LLAMA, [lambda: both(attention(), dense())] * 4),
            (MIXTURE, [lambda: both(attention(norm=True), experts())] * 4),
            (MIXTURE, [lambda: both(attention(norm=True), fused_experts())] * 4),
            (LATENT, [lambda: both(latent(), dense())] * 4),
            (DELTA, [lambda: both(delta(), dense())] * 3 + [lambda: both(attention(norm=True), dense())]),
            (MAMBA, [lambda: both(mamba(), dense())] * 3 + [lambda: both(attention(), dense())]),
        ],
        ids=["dense", "moe", "fused moe", "latent", "delta", "mamba"],
    )
    def test_the_models_of_this_module_agree(
        self, config: Config, layers: list[Callable[[], Iterator[Named]]], inspect_folder: Inspect
    ) -> None:
        inspection = inspect_folder(config, model(config, [layer() for layer in layers]))
        assert [text for text in inspection.warnings if "tensor" in text or "headers" in text] == []


class TestLayers:
    def test_fewer_layers_than_the_config_says(self, inspect_folder: Inspect) -> None:
        layers = [both(attention(), dense()) for _ in range(3)]
        inspection = inspect_folder(LLAMA, model(LLAMA, layers))
        assert inspection.architecture is not None
        assert (inspection.architecture.layers, layout(inspection)) == (3, [MixerKind.FULL] * 3)
        assert inspection.architecture.sources["layers"].startswith("tensor headers")
        assert said(inspection, "config.json: num_hidden_layers says 4,", "hold 3 layers")

    def test_more_layers_follow_the_config_s_own_pattern(self, inspect_folder: Inspect) -> None:
        config = DELTA | {"layer_types": None, "full_attention_interval": 4}
        layers = [both(attention(norm=True) if i % 4 == 3 else delta(), dense()) for i in range(8)]
        inspection = inspect_folder(config, model(config, layers))
        assert layout(inspection) == ([MixerKind.GDN] * 3 + [MixerKind.FULL]) * 2

    def test_next_token_layers_are_none_of_them(self, inspect_folder: Inspect) -> None:
        config = LATENT | {"num_nextn_predict_layers": 1}
        layers = [both(latent(), dense()) for _ in range(5)]
        ends = [matrix(f"model.layers.4.{name}", 256) for name in ("enorm", "hnorm")]
        ends.append(matrix("model.layers.4.eh_proj", 256, 512))
        inspection = inspect_folder(config, [*model(config, layers), *ends])
        assert inspection.architecture is not None
        assert (inspection.architecture.layers, inspection.architecture.mtp_layers) == (4, 1)
        assert not said(inspection, "layers")

    def test_next_token_layers_that_a_copy_left_out(self, inspect_folder: Inspect) -> None:
        config = LATENT | {"num_nextn_predict_layers": 1}
        inspection = inspect_folder(config, model(config, [both(latent(), dense()) for _ in range(4)]))
        assert inspection.architecture is not None
        assert inspection.architecture.mtp_layers == 0
        assert said(inspection, "config.json: num_nextn_predict_layers says 1")

    def test_layers_of_another_width(self, inspect_folder: Inspect) -> None:
        config = LLAMA | {"hidden_size": 128}
        inspection = inspect_folder(config, model(LLAMA, [both(attention(), dense()) for _ in range(4)]))
        assert inspection.architecture is not None
        assert (inspection.architecture.hidden, inspection.architecture.head_dim) == (256, 32)
        assert said(inspection, "config.json: hidden_size says 128", "256 wide")


class TestKinds:
    def test_attention_where_the_config_says_a_delta_net(self, inspect_folder: Inspect) -> None:
        order = [attention(norm=True), delta(), delta(), attention(norm=True)]
        inspection = inspect_folder(DELTA, model(DELTA, [both(mixer, dense()) for mixer in order]))
        assert layout(inspection) == [MixerKind.FULL, MixerKind.GDN, MixerKind.GDN, MixerKind.FULL]
        assert said(inspection, "config.json: layer_types makes gated delta net", "layer 0", "full attention")

    def test_delta_nets_that_no_key_names(self, inspect_folder: Inspect) -> None:
        config = {key: value for key, value in LLAMA.items() if key != "model_type"} | {"head_dim": 32}
        order = [delta(), delta(), delta(), attention(norm=True)]
        inspection = inspect_folder(config, model(config, [both(mixer, dense()) for mixer in order]))
        assert layout(inspection) == [MixerKind.GDN] * 3 + [MixerKind.FULL]
        assert inspection.architecture is not None
        assert inspection.architecture.mixers[0].state_size == 4 * 32 * 32
        assert said(inspection, "Tensors show a recurrent state")

    def test_mamba_where_the_config_says_attention(self, inspect_folder: Inspect) -> None:
        config = MAMBA | {"layers_block_type": ["attention"] * 4}
        order = [mamba(), attention(), mamba(), attention()]
        inspection = inspect_folder(config, model(config, [both(mixer, dense()) for mixer in order]))
        assert layout(inspection) == [MixerKind.MAMBA2, MixerKind.FULL] * 2
        assert said(inspection, "layers_block_type makes full attention", "2 of 4 layers", "Mamba 2")

    def test_attention_with_heads_where_the_config_has_a_latent(self, inspect_folder: Inspect) -> None:
        layers = [both(attention(8, 8, 48), dense()) for _ in range(4)]
        inspection = inspect_folder(LATENT, model(LATENT, layers))
        assert inspection.architecture is not None
        mixer = inspection.architecture.mixers[0]
        assert (mixer.kind, mixer.heads, mixer.kv_heads, mixer.head_dim) == (MixerKind.FULL, 8, 8, 48)
        assert said(inspection, "config.json: kv_lora_rank makes latent attention")

    def test_layers_without_attention(self, inspect_folder: Inspect) -> None:
        layers = [both(attention(), dense()), dense(), both(attention(), dense()), dense()]
        inspection = inspect_folder(LLAMA, model(LLAMA, layers))
        assert layout(inspection) == [MixerKind.FULL, MixerKind.NONE] * 2


class TestHeads:
    def test_key_value_heads(self, inspect_folder: Inspect) -> None:
        config = LLAMA | {"num_key_value_heads": 8}
        inspection = inspect_folder(config, model(config, [both(attention(), dense()) for _ in range(4)]))
        assert inspection.architecture is not None
        assert (inspection.architecture.kv_heads, inspection.architecture.mixers[0].kv_heads) == (2, 2)
        assert said(inspection, "config.json: num_key_value_heads says 8", "all layers have 2 key/value heads")

    def test_a_head_s_width_is_that_of_its_norm(self, inspect_folder: Inspect) -> None:
        config = LLAMA | {"head_dim": 64, "num_attention_heads": 4, "num_key_value_heads": 1}
        inspection = inspect_folder(config, model(config, [both(attention(norm=True), dense()) for _ in range(4)]))
        assert inspection.architecture is not None
        mixer = inspection.architecture.mixers[0]
        assert (mixer.heads, mixer.kv_heads, mixer.head_dim, mixer.v_head_dim) == (8, 2, 32, 32)
        assert said(inspection, "config.json: head_dim says 64")

    def test_what_the_config_leaves_unsaid_is_taken_without_a_word(self, inspect_folder: Inspect) -> None:
        """The class has 128 whatever the width is; a rule of ours divides."""
        layers = [both(attention(head_dim=128), dense()) for _ in range(4)]
        inspection = inspect_folder(LLAMA, model(LLAMA, layers))
        assert inspection.architecture is not None
        assert (inspection.architecture.heads, inspection.architecture.head_dim) == (8, 128)
        assert inspection.architecture.kv_heads == 2
        assert not said(inspection, "the tensors count")

    def test_heads_of_single_layers(self, inspect_folder: Inspect) -> None:
        layers = [both(attention(kv_heads=4 if i == 2 else 2), dense()) for i in range(4)]
        inspection = inspect_folder(LLAMA, model(LLAMA, layers))
        assert inspection.architecture is not None
        assert [(m.kv_heads, m.layers) for m in inspection.architecture.mixers] == [(2, 3), (4, 1)]
        assert said(inspection, "says 2", "layer 2 have 4 key/value heads")

    def test_fused_projections(self, inspect_folder: Inspect) -> None:
        def fused() -> Iterator[Named]:
            yield matrix("self_attn.qkv_proj", (8 + 2 * 4) * 32, 256)
            yield matrix("self_attn.o_proj", 256, 256)

        inspection = inspect_folder(LLAMA, model(LLAMA, [both(fused(), dense()) for _ in range(4)]))
        assert inspection.architecture is not None
        assert inspection.architecture.kv_heads == 4

    def test_packed_weights_by_their_logical_shape(self, inspect_folder: Inspect) -> None:
        def packed(name: str, out: int, inner: int) -> Iterator[Named]:
            yield f"{name}.qweight", ("I32", (inner // 8, out))
            yield f"{name}.qzeros", ("I32", (inner // 128, out // 8))
            yield f"{name}.scales", ("F16", (inner // 128, out))
            yield f"{name}.g_idx", ("I32", (inner,))

        def layer(kv_heads: int) -> Iterator[Named]:
            for name, out, inner in (
                ("self_attn.q_proj", 256, 256),
                ("self_attn.k_proj", kv_heads * 32, 256),
                ("self_attn.v_proj", kv_heads * 32, 256),
                ("self_attn.o_proj", 256, 256),
                ("mlp.gate_proj", 512, 256),
                ("mlp.up_proj", 512, 256),
                ("mlp.down_proj", 256, 512),
            ):
                yield from packed(name, out, inner)

        config = LLAMA | {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}
        inspection = inspect_folder(config, model(config, [layer(2) for _ in range(4)]))
        assert not said(inspection, "the tensors count")
        inspection = inspect_folder(config, model(config, [layer(4) for _ in range(4)]))
        assert inspection.architecture is not None
        assert inspection.architecture.kv_heads == 4

    def test_ranks_of_a_latent(self, inspect_folder: Inspect) -> None:
        layers = [both(latent(rank=96, rope=8, heads=8), dense()) for _ in range(4)]
        inspection = inspect_folder(LATENT, model(LATENT, layers))
        assert inspection.architecture is not None
        mixer = inspection.architecture.mixers[0]
        assert (mixer.kv_lora_rank, mixer.rope_head_dim, mixer.head_dim) == (96, 8, 104)
        assert said(inspection, "config.json: kv_lora_rank says 128", "96 elements")
        assert said(inspection, "config.json: qk_rope_head_dim says 16")

    @pytest.mark.parametrize("indexed", [True, False])
    def test_an_indexer(self, indexed: bool, inspect_folder: Inspect) -> None:
        """DeepSeek-V3.2's keeps keys of its own in the cache; a copy without it keeps none."""
        indexer = (
            [matrix("self_attn.indexer.wk", 64, 256), matrix("self_attn.indexer.wq_b", 256, 64)] if indexed else []
        )
        layers = [both(both(latent(), iter(indexer)), dense()) for _ in range(4)]
        config = LATENT | {"index_head_dim": 128, "index_n_heads": 4}
        inspection = inspect_folder(config, model(config, layers))
        assert inspection.architecture is not None
        assert inspection.architecture.mixers[0].index_head_dim == (64 if indexed else None)
        held = "64 elements of indexer key" if indexed else "no indexer"
        assert said(inspection, "config.json: index_head_dim says 128", held)

    def test_projections_that_no_heads_explain(self, inspect_folder: Inspect) -> None:
        def odd() -> Iterator[Named]:
            yield matrix("self_attn.q_proj", 263, 256)
            yield matrix("self_attn.k_proj", 67, 256)
            yield matrix("self_attn.o_proj", 256, 263)

        inspection = inspect_folder(LLAMA, model(LLAMA, [both(odd(), dense()) for _ in range(4)]))
        assert inspection.architecture is not None
        assert inspection.architecture.kv_heads == 2
        assert said(inspection, "No number of heads explains the projections of all layers")

    def test_heads_of_a_delta_net(self, inspect_folder: Inspect) -> None:
        layers = [both(delta(heads=8) if i < 3 else attention(norm=True), dense()) for i in range(4)]
        inspection = inspect_folder(DELTA, model(DELTA, layers))
        assert inspection.architecture is not None
        assert inspection.architecture.mixers[0].state_size == 8 * 32 * 32
        assert said(inspection, "config.json: linear_num_value_heads says 4", "3 of 4 layers")

    def test_state_of_mamba(self, inspect_folder: Inspect) -> None:
        layers = [both(mamba(state=32) if i < 3 else attention(), dense()) for i in range(4)]
        inspection = inspect_folder(MAMBA, model(MAMBA, layers))
        assert inspection.architecture is not None
        assert inspection.architecture.mixers[0].state_size == 8 * 64 * 32
        assert said(inspection, "config.json: mamba_d_state says 16", "32 elements of state")


class TestExperts:
    @pytest.mark.parametrize("block", [experts, fused_experts])
    def test_pruned_experts(self, block: Callable[[int, int], Iterator[Named]], inspect_folder: Inspect) -> None:
        layers = [both(attention(norm=True), block(6, 48)) for _ in range(4)]
        inspection = inspect_folder(MIXTURE, model(MIXTURE, layers))
        assert inspection.architecture is not None
        mixture = inspection.architecture.feed_forwards[0]
        assert (mixture.experts, mixture.intermediate, mixture.top_k) == (6, 48, 2)
        assert said(inspection, "config.json: num_experts says 8", "6 experts")
        assert said(inspection, "config.json: moe_intermediate_size says 64", "48 elements")

    def test_experts_pruned_layer_by_layer(self, inspect_folder: Inspect) -> None:
        layers = [both(attention(norm=True), experts(8 - i)) for i in range(4)]
        inspection = inspect_folder(MIXTURE, model(MIXTURE, layers))
        assert inspection.architecture is not None
        assert [f.experts for f in inspection.architecture.feed_forwards] == [8, 7, 6, 5]

    def test_dense_where_the_config_says_experts(self, inspect_folder: Inspect) -> None:
        layers = [both(attention(norm=True), dense() if i == 0 else experts()) for i in range(4)]
        inspection = inspect_folder(MIXTURE | {"decoder_sparse_step": 1}, model(MIXTURE, layers))
        assert inspection.architecture is not None
        assert [(f.kind, f.layers, f.intermediate) for f in inspection.architecture.feed_forwards] == [
            ("dense", 1, 512),
            ("moe", 3, 64),
        ]
        assert said(inspection, "decoder_sparse_step makes a mixture of experts", "layer 0", "dense feed-forward")

    def test_experts_that_no_key_names(self, inspect_folder: Inspect) -> None:
        layers = [both(attention(), experts()) for _ in range(4)]
        inspection = inspect_folder(LLAMA, model(LLAMA, layers))
        assert inspection.architecture is not None
        mixture = inspection.architecture.feed_forwards[0]
        assert (mixture.kind, mixture.experts, mixture.intermediate, mixture.top_k) == ("moe", 8, 64, None)
        assert inspection.parameters.active.value is None
        assert said(inspection, "Tensors show experts")


class TestTying:
    def test_no_head_is_stored(self, inspect_folder: Inspect) -> None:
        layers = [both(attention(), dense()) for _ in range(4)]
        inspection = inspect_folder(LLAMA, model(LLAMA, layers, head=False))
        assert inspection.architecture is not None
        assert inspection.architecture.tied_embeddings is True
        assert said(inspection, "config.json: tie_word_embeddings is false", "hold no head")

    def test_a_head_beside_a_tied_embedding_is_said_and_left(self, inspect_folder: Inspect) -> None:
        """vLLM goes by the config and skips it (models/llama.py, skip_prefixes)."""
        config = LLAMA | {"tie_word_embeddings": True}
        inspection = inspect_folder(config, model(config, [both(attention(), dense()) for _ in range(4)]))
        assert inspection.architecture is not None
        assert inspection.architecture.tied_embeddings is True
        assert said(inspection, "config.json: tie_word_embeddings is true", "hold a head too")

    def test_a_classifier_ties_nothing(self, inspect_folder: Inspect) -> None:
        config = LLAMA | {"architectures": ["LlamaForSequenceClassification"]}
        layers = [both(attention(), dense()) for _ in range(4)]
        inspection = inspect_folder(config, [*model(config, layers, head=False), matrix("score", 2, 256)])
        assert inspection.architecture is not None
        assert inspection.architecture.tied_embeddings is False

    def test_a_head_of_another_name(self, inspect_folder: Inspect) -> None:
        """As wide and long as the embedding: Molmo calls it ff_out."""
        layers = [both(attention(), dense()) for _ in range(4)]
        tensors = [*model(LLAMA, layers, head=False), matrix("model.words_out", 1000, 256)]
        inspection = inspect_folder(LLAMA, tensors)
        assert inspection.architecture is not None
        assert inspection.architecture.tied_embeddings is False


@pytest.mark.parametrize(
    ("right", "wrong", "layer"),
    [
        (LLAMA, {"num_key_value_heads": 8}, lambda _: both(attention(), dense())),
        (LLAMA, {"num_hidden_layers": 6}, lambda _: both(attention(), dense())),
        (LLAMA | {"tie_word_embeddings": False}, {"intermediate_size": 384}, lambda _: both(attention(), dense())),
        (MIXTURE, {"num_experts": 16, "moe_intermediate_size": 32}, lambda _: both(attention(norm=True), experts())),
        (MIXTURE, {"num_attention_heads": 4}, lambda _: both(attention(norm=True), experts())),
        (LATENT, {"kv_lora_rank": 256, "qk_rope_head_dim": 8}, lambda _: both(latent(), dense())),
        (
            DELTA,
            {"layer_types": ["full_attention"] + ["linear_attention"] * 3, "linear_num_value_heads": 8},
            lambda i: both(attention(norm=True) if i == 3 else delta(), dense()),
        ),
        (
            MAMBA,
            {"layers_block_type": ["attention", "mamba"] * 2, "mamba_n_heads": 4},
            lambda i: both(attention() if i == 3 else mamba(), dense()),
        ),
    ],
    ids=["heads", "layers", "width", "experts", "queries", "latent", "delta", "mamba"],
)
def test_all_that_is_planned_from_is_what_the_right_config_gives(
    right: Config, wrong: Config, layer: Callable[[int], Iterator[Named]], inspect_folder: Inspect
) -> None:
    expected = inspect_folder(right, model(right, [layer(i) for i in range(4)]))
    inspection = inspect_folder(right | wrong, model(right, [layer(i) for i in range(4)]))
    assert inspection.architecture is not None
    assert expected.architecture is not None
    unsourced: dict[str, Any] = {"sources": {}}
    assert inspection.architecture.model_copy(update=unsourced) == expected.architecture.model_copy(update=unsourced)
    assert (inspection.parameters, inspection.weights) == (expected.parameters, expected.weights)
    assert said(inspection, "the tensors count")


NAMES = sorted(
    {
        name
        for layer in (attention(norm=True), dense(), experts(2), fused_experts(), latent(), delta(), mamba())
        for name, _ in layer
    }
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([LLAMA, MIXTURE, LATENT, DELTA, MAMBA]),
    st.lists(
        st.tuples(
            st.integers(0, 5), st.sampled_from(NAMES), st.lists(st.sampled_from([0, 1, 2, 32, 256, 3000]), max_size=4)
        ),
        max_size=30,
    ),
)
def test_whatever_shapes_headers_have(config: Config, entries: list[tuple[int, str, list[int]]]) -> None:
    """A design as long as its lists, whatever the tensors are."""
    root = config_root(config, "config.json")
    design = read_design(root)
    tensors = [Tensor(f"model.layers.{i}.{name}", "BF16", tuple(shape), 2) for i, name, shape in entries]
    stored = stored_layers(tensors, None)
    assert design is not None
    if stored is not None:
        design, texts = overruled(root, design, stored)
        assert len(design.mixers) == len(design.ffns) == design.layers
        assert all(text.endswith((".", "!")) for text in texts)
        assert architecture_record(root, design, "BF16", ()) is not None
