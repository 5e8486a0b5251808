"""Weights on a card, against vLLM's own classes and what real starts printed as "Model loading took"."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planning import ATLAS, FACTS, GIB, card, footprint, model, served, tensors_per_card
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.records import Inspection, Part, TensorGroup
from whichgpu.inspect.reference import parse_reference
from whichgpu.plan import allocator, padding
from whichgpu.plan.layouts import stage_layers
from whichgpu.plan.media import ENCODERS
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Kernels, Layout, Precision, Workload
from whichgpu.plan.roles import Role, role_of
from whichgpu.plan.sizing import Sizer
from whichgpu.plan.weight_table import WeightTable
from whichgpu.plan.weights import total_bytes

# GiB per rank of vLLM 0.32's real model classes, built on the meta device (before post-load copies).
LOADED = [
    ("deepseek-ai/DeepSeek-V3", 8, 79.312),
    ("deepseek-ai/DeepSeek-V3", 16, 40.196),
    ("deepseek-ai/DeepSeek-V3.2", 8, 80.203),
    ("deepseek-ai/DeepSeek-V4-Flash", 4, 37.736),
    ("deepseek-ai/DeepSeek-V4-Pro", 8, 102.181),
    ("google/gemma-3-27b-it", 1, 51.378),
    ("google/gemma-3-27b-it", 4, 13.074),
    ("google/gemma-4-26B-A4B", 1, 48.469),
    ("zai-org/GLM-5.2-FP8", 8, 88.321),
    ("moonshotai/Kimi-K2-Instruct", 8, 120.851),
    ("moonshotai/Kimi-K2.5", 8, 71.189),
    ("moonshotai/Kimi-K3", 8, 191.815),
    ("moonshotai/Kimi-Linear-48B-A3B-Instruct", 4, 22.926),
    ("meta-llama/Llama-3.1-405B", 8, 94.533),
    ("meta-llama/Llama-3.1-70B-Instruct", 4, 32.887),
    ("meta-llama/Llama-3.1-8B-Instruct", 1, 14.989),
    ("MiniMaxAI/MiniMax-M2.5", 4, 53.740),
    ("mistralai/Mixtral-8x7B-v0.1", 2, 43.504),
    ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 1, 58.820),
    ("nvidia/Nemotron-H-56B-Base-8K", 4, 26.232),
    ("nvidia/Qwen3.6-27B-NVFP4", 1, 19.657),
    ("Qwen/Qwen3-235B-A22B-FP8", 4, 55.132),
    ("Qwen/Qwen3-30B-A3B", 1, 56.880),
    ("Qwen/Qwen3-32B-FP8", 1, 31.979),
    ("Qwen/Qwen3-Next-80B-A3B-Instruct", 2, 74.281),
    ("Qwen/Qwen3-VL-30B-A3B-Instruct", 1, 57.937),
    ("Qwen/Qwen3.6-35B-A3B", 1, 65.424),
]


@pytest.mark.parametrize(("name", "tp", "gib"), LOADED)
def test_tensors_per_card_as_vllm_has_them(name: str, tp: int, gib: float) -> None:
    found = tensors_per_card(model(name), Layout(tensor_parallel=tp)) / GIB
    assert found == pytest.approx(gib, rel=0.005)


# "Model loading took", GiB per rank: llm-d-planner's campaign (vLLM 0.19, H100) and single public logs.
STARTS = [
    ("codellama/CodeLlama-7b-hf", "h100", 1, 12.56),
    ("google/gemma-2-2b-it", "h100", 1, 4.90),
    ("google/gemma-2-27b-it", "h100", 1, 50.72),
    ("microsoft/phi-2", "h100", 1, 5.19),
    ("Qwen/Qwen2.5-7B-Instruct", "h100", 1, 14.25),
    ("Qwen/Qwen2.5-7B-Instruct", "h100", 2, 7.12),
    ("Qwen/Qwen2.5-7B-Instruct", "h100", 4, 3.55),
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", "h100", 2, 43.51),
    ("Qwen/Qwen3-14B", "l40s", 1, 27.52),
    ("Qwen/Qwen3-8B-FP8", "rtx_4090", 1, 8.80),
    ("openai/gpt-oss-20b", "a100_80_sxm", 1, 13.72),
]


@pytest.mark.parametrize(("name", "key", "tp", "gib"), STARTS)
def test_loaded_weights_as_vllm_printed_them(name: str, key: str, tp: int, gib: float) -> None:
    """To 0.2 %: what torch's allocator rounds up is part of the line (14.19 GiB of tensors are printed as 14.25)."""
    found = footprint(model(name), key, Layout(tensor_parallel=tp)).weights / GIB
    assert found == pytest.approx(gib, rel=0.002, abs=0.006)


@pytest.mark.parametrize(
    ("name", "key", "tp", "gib"),
    [
        ("openai/gpt-oss-20b", "h100", 1, 13.64),
        ("openai/gpt-oss-20b", "h100", 2, 7.01),
        ("openai/gpt-oss-120b", "a100_80_sxm", 1, 65.93),
    ],
)
def test_mxfp4_experts_are_padded_as_the_kernels_do(name: str, key: str, tp: int, gib: float) -> None:
    """vLLM 0.19 on H100 (Triton kernels), and 0.32's classes with Marlin's padding."""
    assert footprint(model(name), key, Layout(tensor_parallel=tp)).weights / GIB == pytest.approx(gib, rel=0.02)


def test_padding_is_only_for_packed_experts_that_do_not_fit_the_kernel() -> None:
    v4 = model("deepseek-ai/DeepSeek-V4-Flash").architecture
    gpt = model("openai/gpt-oss-120b").architecture
    assert padding.packed_experts(v4, Kernels.MARLIN, 4) == 1
    assert padding.packed_experts(gpt, Kernels.ROCM, 1) == pytest.approx((3072 / 2880) ** 2)
    assert padding.packed_experts(gpt, Kernels.PLAIN, 1) == 1
    assert card("h100").generation.mxfp4_padding is Kernels.TRITON
    qwen = model("Qwen/Qwen3-30B-A3B")
    plain, padded = (
        tensors_per_card(qwen, Layout(tensor_parallel=1), kernels=k) for k in (Kernels.PLAIN, Kernels.MARLIN)
    )
    assert plain == padded


def test_rows_on_rocm_are_longer() -> None:
    """VLLM_ROCM_MOE_PADDING: 256 bytes more per row of 4,096 bytes of unquantised experts."""
    assert padding.rows(4096) == pytest.approx(1.0625)
    assert padding.rows(4000) == 1
    qwen = model("Qwen/Qwen3-30B-A3B")
    cuda, rocm = (tensors_per_card(qwen, Layout(tensor_parallel=1), kernels=k) for k in (Kernels.PLAIN, Kernels.ROCM))
    assert 1.05 < rocm / cuda < 1.13


class TestRoles:
    def group(self, name: str, part: Part = Part.ATTENTION) -> TensorGroup:
        return TensorGroup(name=name, part=part, shape=(64, 64), count=1, dtype="BF16", parameters=4096, bytes=8192)

    @pytest.mark.parametrize(
        ("name", "part", "role"),
        [
            ("model.layers.*.self_attn.q_proj.weight", Part.ATTENTION, Role.SHARDED),
            ("model.layers.*.self_attn.k_proj.weight", Part.ATTENTION, Role.KEY_VALUE),
            ("model.layers.*.self_attn.o_proj.bias", Part.ATTENTION, Role.REPLICATED),
            ("model.layers.*.self_attn.q_a_proj.weight", Part.ATTENTION, Role.REPLICATED),
            ("model.layers.*.self_attn.kv_b_proj.weight", Part.ATTENTION, Role.SHARDED),
            ("model.layers.*.mlp.gate.weight", Part.ROUTER, Role.REPLICATED),
            ("model.layers.*.mlp.experts.*.up_proj.weight", Part.ROUTED_EXPERTS, Role.EXPERT),
            ("model.layers.*.mlp.down_proj.weight", Part.DENSE_FFN, Role.SHARDED),
            ("model.layers.*.mlp.down_proj.bias", Part.DENSE_FFN, Role.REPLICATED),
            ("model.layers.*.input_layernorm.weight", Part.NORM, Role.REPLICATED),
            ("model.embed_tokens.weight", Part.EMBEDDING, Role.SHARDED),
        ],
    )
    def test_by_name(self, name: str, part: Part, role: Role) -> None:
        assert role_of(self.group(name, part), None, FACTS.engines.of(None).classes) is role

    def test_key_value_heads_are_repeated_beyond_their_number(self) -> None:
        """Llama-3.1-8B has 8: on 16 cards each keeps one (0.998 GiB, vLLM 0.32's classes)."""
        found = tensors_per_card(model("meta-llama/Llama-3.1-8B-Instruct"), Layout(tensor_parallel=16)) / GIB
        assert found == pytest.approx(0.998, rel=0.002)


class TestLayoutsOfExperts:
    def test_data_parallel_repeats_all_but_the_experts(self) -> None:
        """DeepSeek-R1 on DP8 with EP: 93.93 GiB and 1.91 of MLA copies (vLLM 0.32's classes)."""
        layout = Layout(tensor_parallel=1, data_parallel=8, expert_parallel=True)
        found = model("deepseek-ai/DeepSeek-V3")
        assert tensors_per_card(found, layout) / GIB == pytest.approx(93.935, rel=0.002)
        assert tensors_per_card(found, layout, copies=True) / GIB == pytest.approx(95.84, rel=0.002)

    def test_whole_experts_weigh_as_much_as_split_ones(self) -> None:
        split, whole = Layout(tensor_parallel=8), Layout(tensor_parallel=8, expert_parallel=True)
        found = model("deepseek-ai/DeepSeek-V3")
        assert tensors_per_card(found, split) == pytest.approx(tensors_per_card(found, whole), rel=1e-6)

    def test_experts_that_do_not_divide_go_to_the_first_ranks(self) -> None:
        found = model("openai/gpt-oss-20b")
        layout = Layout(tensor_parallel=1, data_parallel=3, expert_parallel=True)
        experts = WeightTable(served(found), Precision.PUBLISHED).stages(layout)["routed experts"][0]
        whole = WeightTable(served(found), Precision.PUBLISHED).stages(Layout(tensor_parallel=1))["routed experts"][0]
        assert experts / whole == pytest.approx(11 / 32, rel=1e-6)


class TestStages:
    def test_as_vllm_cuts_them(self) -> None:
        """Layer counts by vLLM 0.32's get_pp_indices; 65.74 GiB each is its own Llama 3.1 70B BF16 on two stages."""
        assert stage_layers(61, 8) == [7, 7, 8, 8, 8, 8, 8, 7]
        table = WeightTable(served(model("meta-llama/Llama-3.1-70B-Instruct")), Precision.PUBLISHED)
        first, last = table.per_stage(Layout(tensor_parallel=1, pipeline_parallel=2))
        assert first / GIB == pytest.approx(65.74, rel=0.002)
        assert last / GIB == pytest.approx(65.74, rel=0.002)

    def test_dense_layers_stay_on_the_first_stage(self) -> None:
        """DeepSeek-V3's three dense layers are its first: the other stages hold none of them."""
        table = WeightTable(served(model("deepseek-ai/DeepSeek-V3")), Precision.PUBLISHED)
        dense = table.stages(Layout(tensor_parallel=8, pipeline_parallel=4))["dense ffn"]
        assert dense[0] > 0
        assert dense[1:] == (0, 0, 0)

    @given(layers=st.integers(1, 200), stages=st.integers(1, 16))
    def test_every_layer_is_somewhere_and_the_last_has_no_extra_one(self, layers: int, stages: int) -> None:
        counts = stage_layers(layers, stages)
        assert sum(counts) == layers
        assert max(counts) - min(counts) <= 1
        assert counts[-1] == layers // stages or stages == 1


class TestSpeculation:
    def test_next_token_layers_are_loaded_only_when_drafting(self) -> None:
        """Qwen3.6-27B-NVFP4: 20.57 GiB were loaded with MTP (0.23.1 on GB10), 19.66 without."""
        found = model("nvidia/Qwen3.6-27B-NVFP4")
        one = Layout(tensor_parallel=1)
        without = WeightTable(served(found), Precision.PUBLISHED).per_stage(one)[0] / GIB
        drafting = WeightTable(served(found), Precision.PUBLISHED, speculative=True).per_stage(one)[0] / GIB
        assert without == pytest.approx(19.75, rel=0.006)
        assert drafting == pytest.approx(20.57, rel=0.006)

    def test_text_only_leaves_encoders_out(self) -> None:
        found = model("Qwen/Qwen2.5-VL-7B-Instruct")
        parts = WeightTable(served(found), Precision.PUBLISHED, without=ENCODERS).stages(Layout(tensor_parallel=1))
        assert not {"vision", "projector"} & set(parts)


class TestAllocator:
    @pytest.mark.parametrize(
        ("mib", "left"), [(9.9, 0), (129.5, 0.5), (259.0, 1.0), (24.5, 0), (130.0, 0), (10.25, 0), (11.5, 0.5)]
    )
    def test_segments(self, mib: float, left: float) -> None:
        """CUDACachingAllocator: 2 MiB segments from 10 MiB up; a rest of more than 1 MiB is split off."""
        assert allocator.unused(mib * 2**20) == left * 2**20

    @given(st.integers(0, 2**36))
    def test_never_more_than_one_mebibyte(self, size: int) -> None:
        assert 0 <= allocator.unused(size) <= 2**20


ALL = [i for n in ATLAS.names() if (i := ATLAS.find(n)) is not None and i.tensors and i.adapter_of is None]


@pytest.mark.parametrize("found", ALL[::7], ids=lambda i: i.source.name)
def test_no_layout_loses_or_invents_weights(found: Inspection) -> None:
    """Over all cards of a layout there is at least everything once; more cards never mean more on one."""
    table = WeightTable(served(found), Precision.PUBLISHED)
    total = total_bytes(found, Precision.PUBLISHED)
    assert total is not None
    sizes = [table.per_stage(Layout(tensor_parallel=tp))[0] for tp in (1, 2, 4, 8)]
    assert sizes == sorted(sizes, reverse=True)
    for tp, size in zip((1, 2, 4, 8), sizes, strict=True):
        assert size * tp >= total * 0.999
    if found.architecture is not None and (found.architecture.layers or 0) >= 4:
        staged = table.per_stage(Layout(tensor_parallel=2, pipeline_parallel=4))
        assert sum(staged) * 2 >= total * 0.999
        assert max(staged) <= sizes[1] * 1.001


def test_facts_name_a_kernel_family_for_every_card() -> None:
    assert {a.generation.mxfp4_padding for a in FACTS.accelerators} == set(Kernels)


def test_tables_of_n_grams_lie_in_the_host_s_memory(tmp_path: Path) -> None:
    """vLLM 0.33 config/engram.py: cpu_offload is on. They count as parameters, and no card holds them."""
    plain = json.loads((Path(__file__).parent / "families" / "Qwen__Qwen3-0.6B.json").read_text())["config"]
    tables = {
        "ngram_vocab_size_base": 1_000_000,
        "ple_embed_dim": 1024,
        "heads_per_ngram": 8,
        "ngram_size": 3,
        "ple_layer_ids": [2],
    }
    sizes = []
    for config in (plain, plain | tables):
        (tmp_path / "config.json").write_text(json.dumps(config))
        inspection = inspect_model(parse_reference(str(tmp_path)))
        sizes.append((inspection, Sizer(served(inspection)).total(Precision.PUBLISHED)))
    (before, held), (after, still_held) = sizes
    assert held == still_held
    assert after.parameters.by_part[Part.LOOKUP] == 1_000_000 * 1024
    assert after.parameters.active.value == before.parameters.active.value
    notes = answer(after, Workload(context=4096, concurrency=1, accelerators=("l40s",)), FACTS).notes
    assert any("2 GiB of n-gram tables lie in the host's memory" in note for note in notes)
