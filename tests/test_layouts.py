"""What vLLM would refuse, and what is tried."""

from __future__ import annotations

from typing import Any

import pytest

from tests.planning import FACTS, ask, card, model, plan_for, served
from whichgpu.inspect.mixer_kinds import MixerKind
from whichgpu.inspect.records import Architecture, FeedForward, Inspection, Mixer, Quantisation
from whichgpu.inspect.weight_formats import WeightFormat
from whichgpu.plan.layouts import candidate_layouts, repeats_cache
from whichgpu.plan.records import Layout, Precision
from whichgpu.plan.refusals import layout_refusal, precision_refusal


def changed(name: str = "Qwen/Qwen3-32B", **changes: object) -> Inspection:
    base = model(name)
    assert base.architecture is not None
    return base.model_copy(update={"architecture": base.architecture.model_copy(update=changes)})


def refusal(
    inspection: Inspection, precision: Precision = Precision.PUBLISHED, version: str | None = None, **layout: Any
) -> str:
    made = Layout.model_validate({"tensor_parallel": 1, **layout})
    return layout_refusal(served(inspection, version), made, precision) or ""


def test_divisible_is_accepted() -> None:
    assert [refusal(changed(), tensor_parallel=tp) for tp in (1, 2, 4, 8)] == [""] * 4


@pytest.mark.parametrize(
    ("changes", "tp", "word"),
    [
        ({"heads": 30}, 4, "attention heads"),
        ({"kv_heads": 3, "heads": 24}, 8, "key/value heads"),
        ({"vocabulary": 64}, 128, "attention heads"),
        ({"heads": 128, "kv_heads": 1, "vocabulary": 64}, 128, "padded vocabulary"),
        ({"feed_forwards": (FeedForward(kind="dense", layers=1, intermediate=1002),)}, 4, "feed-forward width"),
        ({"mixers": (Mixer(kind=MixerKind.GDN, layers=4, heads=48, key_heads=6),)}, 4, "key heads"),
        ({"mixers": (Mixer(kind=MixerKind.MAMBA2, layers=4, heads=64, groups=6),)}, 4, "groups of Mamba 2"),
    ],
)
def test_refusals_say_why(changes: dict[str, Any], tp: int, word: str) -> None:
    assert word in refusal(changed(**changes), tensor_parallel=tp)


def test_fewer_kv_heads_than_cards_are_replicated() -> None:
    assert refusal(changed(kv_heads=2), tensor_parallel=8) == ""


def test_a_single_group_of_mamba_is_replicated() -> None:
    single = (Mixer(kind=MixerKind.MAMBA2, layers=4, heads=64, groups=1),)
    assert refusal(changed(mixers=single), tensor_parallel=8) == ""


class TestFp8Blocks:
    """Qwen3-235B-A22B-FP8: experts of 1,536 on eight cards are 192 wide, no multiple of 128."""

    NAME = "Qwen/Qwen3-235B-A22B-FP8"

    def test_old_versions_refuse_and_name_the_cure(self) -> None:
        reason = refusal(model(self.NAME), version="0.19", tensor_parallel=8)
        assert "FP8 block 128" in reason
        assert "--enable-expert-parallel" in reason

    def test_whole_experts_are_accepted(self) -> None:
        assert refusal(model(self.NAME), version="0.19", tensor_parallel=8, expert_parallel=True) == ""

    def test_newer_versions_refine_the_blocks(self) -> None:
        assert refusal(model(self.NAME), tensor_parallel=8) == ""

    def test_four_cards_were_always_fine(self) -> None:
        assert refusal(model(self.NAME), version="0.19", tensor_parallel=4) == ""


def test_groups_of_packed_integers_are_not_cut() -> None:
    packed = Quantisation(
        method="gptq",
        label="gptq int4 g128",
        format=WeightFormat.INT4,
        experts_format=WeightFormat.INT4,
        bits=4,
        group=128,
    )
    narrow = (FeedForward(kind="dense", layers=64, intermediate=18_944),)
    assert refusal(changed().model_copy(update={"quantisation": packed}), tensor_parallel=4) == ""
    cut = changed(feed_forwards=narrow).model_copy(update={"quantisation": packed})
    assert "quantisation group 128" in refusal(cut, tensor_parallel=8)


class TestPipelines:
    def test_classes_without_pipelines_are_refused(self) -> None:
        lacking = next(iter(FACTS.architectures["without_pipeline_parallel"]))
        assert "pipeline" in refusal(changed(names=(lacking,)), pipeline_parallel=2)

    def test_more_stages_than_layers(self) -> None:
        assert "cannot make" in refusal(changed(layers=3), pipeline_parallel=4)

    def test_a_pipeline_serves_where_heads_do_not_divide(self) -> None:
        """Whatever does not split by heads still runs on four cards, as stages."""
        odd = changed(heads=27, kv_heads=27)
        layouts = list(candidate_layouts(odd, card("h100").node_counts))
        assert Layout(tensor_parallel=1, pipeline_parallel=4) in layouts
        assert "attention heads" in refusal(odd, tensor_parallel=4)
        assert refusal(odd, pipeline_parallel=4) == ""

    def test_inside_a_node_what_divides_is_not_staged(self) -> None:
        found = plan_for(ask("meta-llama/Llama-3.1-405B", "h200_sxm"), "h200_sxm")
        assert found.layout == Layout(tensor_parallel=8)


class TestExperts:
    def test_latent_caches_and_few_heads_are_repeated(self) -> None:
        assert repeats_cache(model("deepseek-ai/DeepSeek-V3").architecture, 8)
        assert repeats_cache(model("Qwen/Qwen3-235B-A22B").architecture, 8)
        assert not repeats_cache(model("Qwen/Qwen3-235B-A22B").architecture, 4)
        assert not repeats_cache(model("Qwen/Qwen3-32B").architecture, 16)

    def test_more_cards_than_experts(self) -> None:
        few = changed(feed_forwards=(FeedForward(kind="moe", layers=1, intermediate=1024, experts=4, top_k=1),))
        assert "4 experts are fewer" in refusal(few, tensor_parallel=8, expert_parallel=True)

    def test_shared_experts_are_split_too(self) -> None:
        block = FeedForward(kind="moe", layers=1, intermediate=1024, experts=8, top_k=1, shared_intermediate=1000)
        assert "shared expert" in refusal(changed(feed_forwards=(block,)), tensor_parallel=16)


class TestSharedContext:
    def test_latent_attention_takes_any_divisor(self) -> None:
        found = model("deepseek-ai/DeepSeek-V3")
        assert refusal(found, tensor_parallel=8, context_parallel=8) == ""
        assert "does not divide" in refusal(found, tensor_parallel=8, context_parallel=3)

    def test_grouped_heads_only_beyond_one_card_each(self) -> None:
        found = model("Qwen/Qwen3-235B-A22B")
        assert refusal(found, tensor_parallel=8, context_parallel=2) == ""
        assert "leave none" in refusal(found, tensor_parallel=4, context_parallel=2)

    def test_windows_are_not_shared(self) -> None:
        assert "sliding" in refusal(model("openai/gpt-oss-120b"), tensor_parallel=8, context_parallel=2)


class TestPrecisions:
    @pytest.mark.parametrize(
        ("key", "precision", "refused"),
        [
            ("t4", Precision.BF16, False),
            ("t4", Precision.FP8, False),
            ("a100_80_sxm", Precision.FP8, False),
            ("mi300x", Precision.NVFP4, True),
            ("b200", Precision.NVFP4, False),
        ],
    )
    def test_against_the_card(self, key: str, precision: Precision, refused: bool) -> None:
        assert (
            precision_refusal(model("Qwen/Qwen3-32B"), card(key), precision, FACTS.engines.of(None)) is not None
        ) == refused

    def test_what_is_not_native_says_so(self) -> None:
        result = ask("Qwen/Qwen3-32B", "a100_80_sxm")
        assert "weight-only" in " ".join(plan_for(result, "a100_80_sxm", Precision.FP8).reasons)


def test_layouts_are_named_as_the_field_does() -> None:
    assert Layout(tensor_parallel=1).label == "TP1"
    assert Layout(tensor_parallel=8, pipeline_parallel=2).label == "TP8 PP2"
    assert Layout(tensor_parallel=1, data_parallel=8, expert_parallel=True).label == "DP8 EP"
    assert Layout(tensor_parallel=8, context_parallel=8).label == "TP8 DCP8"


def test_an_unknown_architecture_is_tried_and_not_refused() -> None:
    none: Architecture | None = None
    assert refusal(model("Qwen/Qwen3-32B").model_copy(update={"architecture": none}), tensor_parallel=8) == ""
