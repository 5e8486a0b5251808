"""Plans against outside figures: vLLM 0.32's own weights and cache sizes, hardware facts, the article's claims."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgpu import assets
from whichgpu.catalog.atlas import FILE_NAME, Atlas
from whichgpu.inspect.records import Architecture, FeedForward, Inspection, Mixer
from whichgpu.plan import kv_cache, layouts, runtime, weights
from whichgpu.plan.commands import serve_command
from whichgpu.plan.errors import FactsError, UnknownAcceleratorError
from whichgpu.plan.expert_padding import padding
from whichgpu.plan.hardware import find, parse_accelerators, parse_prices, price_of
from whichgpu.plan.recommend import answer, footprint
from whichgpu.plan.records import Answer, KvDtype, Layout, Plan, Precision, Workload
from whichgpu.tui.answering import load_facts

ATLAS = Atlas(assets.read(FILE_NAME))
FACTS = load_facts()
GIB = 2**30
ONE = Layout(tensor_parallel=1)


def model(name: str) -> Inspection:
    found = ATLAS.find(name)
    assert found is not None, name
    return found


def ask(name: str, *cards: str, **workload: object) -> Answer:
    asked = Workload.model_validate({"context": 8192, "concurrency": 16, "accelerators": cards, **workload})
    return answer(model(name), asked, FACTS)


def plan_for(result: Answer, card: str, precision: Precision = Precision.PUBLISHED) -> Plan:
    return next(p for p in result.plans if p.accelerator == card and p.precision is precision)


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
def test_weights_per_card_as_vllm_loads_them(name: str, tp: int, gib: float) -> None:
    loaded = weights.bytes_per_card(model(name), Precision.PUBLISHED, tp, 1) / GIB
    assert loaded == pytest.approx(gib, rel=0.005)


@pytest.mark.parametrize(
    ("name", "card", "gib"),
    [
        ("openai/gpt-oss-20b", "a100_80_sxm", 13.72),
        ("openai/gpt-oss-20b", "h100_sxm", 13.64),
        ("openai/gpt-oss-120b", "h100_sxm", 65.93),
        ("openai/gpt-oss-120b", "h100_sxm", 65.97),
    ],
)
def test_mxfp4_experts_are_padded_as_the_kernels_do(name: str, card: str, gib: float) -> None:
    """Model loading took: public logs of vLLM 0.19 (A100, H100), 0.10.1 (65.97), and 0.32's classes (65.93)."""
    accelerator = find(card, FACTS.accelerators)
    found = footprint(model(name), Workload(context=8192, concurrency=1), Precision.PUBLISHED, accelerator, ONE)
    assert found.weights / GIB == pytest.approx(gib, rel=0.006)


def test_padding_is_only_for_packed_experts_that_do_not_fit_the_kernel() -> None:
    h100, mi300x = find("h100", FACTS.accelerators), find("mi300x", FACTS.accelerators)
    assert padding(model("Qwen/Qwen3-30B-A3B"), Precision.PUBLISHED, h100, 1) == 1
    assert padding(model("deepseek-ai/DeepSeek-V4-Flash"), Precision.PUBLISHED, h100, 4) == 1
    assert padding(model("openai/gpt-oss-120b"), Precision.BF16, h100, 1) == 1
    assert padding(model("openai/gpt-oss-120b"), Precision.PUBLISHED, mi300x, 1) == pytest.approx((3072 / 2880) ** 2)


def test_pipeline_stages_as_vllm_cuts_them() -> None:
    """Layer counts by vLLM 0.32's get_pp_indices; 65.74 GiB each is its own Llama 3.1 70B BF16 on two stages."""
    assert layouts.stage_layers(61, 8) == [7, 7, 8, 8, 8, 8, 8, 7]
    loaded = weights.bytes_per_card(model("meta-llama/Llama-3.1-70B-Instruct"), Precision.PUBLISHED, 1, 2) / GIB
    assert loaded == pytest.approx(65.74, rel=0.001)


@given(layers=st.integers(1, 200), stages=st.integers(1, 16))
def test_stages_hold_every_layer_and_the_last_no_extra_one(layers: int, stages: int) -> None:
    counts = layouts.stage_layers(layers, stages)
    assert sum(counts) == layers
    assert max(counts) - min(counts) <= 1
    assert counts[-1] == layers // stages or stages == 1


# Bytes per token and rank from vLLM 0.32's KV specs (bytes per block / block size).
PER_TOKEN = [
    ("meta-llama/Llama-3.1-8B-Instruct", 1, 131_072),
    ("meta-llama/Llama-3.1-8B-Instruct", 16, 16_384),
    ("meta-llama/Llama-3.1-70B-Instruct", 4, 81_920),
    ("meta-llama/Llama-3.1-405B", 8, 64_512),
    ("deepseek-ai/DeepSeek-V3", 8, 70_272),
    ("deepseek-ai/DeepSeek-V3.2", 8, 78_324),
    ("zai-org/GLM-5-FP8", 8, 100_152),
    ("zai-org/GLM-5.2-FP8", 8, 92_628),
    ("mistralai/Mixtral-8x7B-v0.1", 2, 65_536),
    ("Qwen/Qwen3-235B-A22B-FP8", 8, 48_128),
    ("Qwen/Qwen3-0.6B", 1, 114_688),
    ("Qwen/Qwen2.5-VL-7B-Instruct", 4, 14_336),
    ("MiniMaxAI/MiniMax-M2.5", 4, 63_488),
]


@pytest.mark.parametrize(("name", "tp", "size"), PER_TOKEN)
def test_cache_bytes_per_token(name: str, tp: int, size: int) -> None:
    architecture = model(name).architecture
    assert architecture is not None
    assert kv_cache.cache_of(architecture.mixers, "bf16", tp).growth == size


def test_state_of_a_pure_ssm() -> None:
    """Mamba-Codestral-7B: 138,149,888 bytes per sequence in vLLM 0.32."""
    architecture = model("mistralai/Mamba-Codestral-7B-v0.1").architecture
    assert architecture is not None
    cache = kv_cache.cache_of(architecture.mixers, "bf16")
    assert (cache.per_token, cache.state) == (0, 138_149_888)


def test_windows_stop_growing_and_fp8_halves() -> None:
    architecture = model("openai/gpt-oss-120b").architecture
    assert architecture is not None
    cache = kv_cache.cache_of(architecture.mixers, "bf16")
    assert cache.sequence(100_000) - cache.sequence(99_999) == 18 * 8 * 128 * 2
    assert kv_cache.cache_of(architecture.mixers, "fp8").growth * 2 == cache.growth


def test_encoders_and_pipelines_have_no_cache_invented() -> None:
    for name in ("sentence-transformers/all-MiniLM-L6-v2", "black-forest-labs/FLUX.1-dev"):
        need = ask(name).needs[0]
        assert (need.kv_bytes_per_token, need.kv_bytes, need.state_bytes_per_sequence) == (0, 0, 0)


@given(
    st.integers(1, 64),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([64, 128, 256]),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 200_000),
)
def test_cache_grows_with_context_and_never_with_cards(layers: int, kv: int, dim: int, tp: int, tokens: int) -> None:
    mixers = (
        Mixer(kind="full", layers=layers, heads=8, kv_heads=kv, head_dim=dim),
        Mixer(kind="sliding", layers=1, heads=8, kv_heads=kv, head_dim=dim, window=512),
    )
    whole, split = kv_cache.cache_of(mixers, "bf16"), kv_cache.cache_of(mixers, "bf16", tp)
    assert split.sequence(tokens) <= whole.sequence(tokens) <= whole.sequence(tokens + 1)
    assert split.sequence(tokens) * tp >= whole.sequence(tokens)


class TestTheArticle:
    """Claims of a popular article, checked (facts: hardware and models as published)."""

    def test_v4_flash_does_not_fit_one_h100(self) -> None:
        assert plan_for(ask("deepseek-ai/DeepSeek-V4-Flash", "h100_sxm"), "h100_sxm").count >= 4
        assert plan_for(ask("deepseek-ai/DeepSeek-V4-Flash", "h100_sxm"), "h100_sxm", Precision.FP8).count >= 4

    def test_gpt_oss_20b_fits_one_card_of_24_gb(self) -> None:
        assert plan_for(ask("openai/gpt-oss-20b", "rtx_4090", context=4096, concurrency=1), "rtx_4090").count == 1

    def test_gpt_oss_120b_fits_one_h100_not_four(self) -> None:
        assert plan_for(ask("openai/gpt-oss-120b", "h100_sxm", concurrency=8), "h100_sxm").count == 1

    def test_qwen3_32b_fits_one_h100_with_a_small_cache(self) -> None:
        found = plan_for(ask("Qwen/Qwen3-32B", "h100_sxm", concurrency=1), "h100_sxm")
        assert found.count == 1
        assert found.footprint is not None
        assert found.footprint.capacity_tokens is not None
        assert 20_000 < found.footprint.capacity_tokens < 45_000

    def test_v4_sizes_are_not_v3s(self) -> None:
        assert model("deepseek-ai/DeepSeek-V4-Pro").parameters.total.value == pytest.approx(1.6e12, rel=0.01)
        assert model("deepseek-ai/DeepSeek-V3").parameters.without_mtp.value == pytest.approx(671e9, rel=0.001)


class TestWorkedExamples:
    """KV pools of the worked examples for vLLM 0.32 defaults; a first allowance, so a few GiB of tolerance."""

    @pytest.mark.parametrize(
        ("name", "card", "tp", "pool"),
        [
            ("meta-llama/Llama-3.1-8B-Instruct", "h100_sxm", 1, 55.8),
            ("deepseek-ai/DeepSeek-V3", "h200_sxm", 8, 44.0),
            ("Qwen/Qwen3-Next-80B-A3B-Instruct", "h100_sxm", 4, 31.8),
            ("Qwen/Qwen2.5-VL-7B-Instruct", "h100_sxm", 1, 54.0),
        ],
    )
    def test_pool(self, name: str, card: str, tp: int, pool: float) -> None:
        accelerator = find(card, FACTS.accelerators)
        found = footprint(
            model(name),
            Workload(context=8192, concurrency=1),
            Precision.PUBLISHED,
            accelerator,
            Layout(tensor_parallel=tp),
        )
        assert found.pool / GIB == pytest.approx(pool, abs=2.0)
        assert found.budget == int(int(accelerator.usable_gib * GIB) * 0.92)


# Available KV cache memory, GiB per card: vLLM 0.19 on H100 at 0.95 (llm-d-planner's accuracy campaign).
MEASURED_POOLS = [
    ("meta-llama/Llama-3.1-8B-Instruct", 1, 1, 58.11),
    ("meta-llama/Llama-3.1-8B-Instruct", 2, 1, 63.76),
    ("meta-llama/Llama-3.1-8B-Instruct", 4, 1, 67.44),
    ("meta-llama/Llama-3.1-8B-Instruct", 1, 2, 66.54),
    ("meta-llama/Llama-3.1-8B-Instruct", 1, 4, 69.80),
    ("Qwen/Qwen2.5-7B-Instruct", 1, 1, 58.53),
    ("Qwen/Qwen2.5-7B-Instruct", 2, 1, 63.84),
    ("Qwen/Qwen2.5-7B-Instruct", 4, 1, 67.34),
    ("google/gemma-3-4b-it", 1, 1, 62.51),
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", 2, 1, 28.44),
    ("openai/gpt-oss-20b", 1, 1, 58.47),
    ("openai/gpt-oss-20b", 2, 1, 63.28),
    ("Qwen/Qwen3-30B-A3B", 1, 1, 15.41),
]


@pytest.mark.parametrize(("name", "tp", "pp", "gib"), MEASURED_POOLS)
def test_the_pool_is_within_what_the_answer_promises(name: str, tp: int, pp: int, gib: float) -> None:
    workload = Workload(context=8192, concurrency=1, utilisation=0.95)
    layout = Layout(tensor_parallel=tp, pipeline_parallel=pp)
    found = footprint(model(name), workload, Precision.PUBLISHED, find("h100", FACTS.accelerators), layout)
    assert found.pool / GIB == pytest.approx(gib, abs=2)


class TestLayouts:
    def architecture(self, **changes: object) -> Architecture:
        base = model("Qwen/Qwen3-32B").architecture
        assert base is not None
        return base.model_copy(update=changes)

    def test_divisible_is_accepted(self) -> None:
        assert [layouts.refusal(self.architecture(), tp) for tp in (1, 2, 4, 8)] == [None] * 4

    @pytest.mark.parametrize(
        ("changes", "tp", "word"),
        [
            ({"heads": 30}, 4, "attention heads"),
            ({"kv_heads": 3, "heads": 24}, 8, "key/value heads"),
            ({"feed_forwards": (FeedForward(kind="dense", layers=1, intermediate=1002),)}, 4, "feed-forward width"),
        ],
    )
    def test_refusals_say_why(self, changes: dict[str, object], tp: int, word: str) -> None:
        assert word in (layouts.refusal(self.architecture(**changes), tp) or "")

    def test_fewer_kv_heads_than_cards_are_replicated(self) -> None:
        assert layouts.refusal(self.architecture(kv_heads=2), 8) is None

    @pytest.mark.parametrize(
        ("card", "precision", "refused"),
        [
            ("t4", Precision.BF16, True),
            ("t4", Precision.FP8, False),
            ("a100_80_sxm", Precision.FP8, False),
            ("mi300x", Precision.NVFP4, True),
            ("b200", Precision.NVFP4, False),
        ],
    )
    def test_precision_against_card(self, card: str, precision: Precision, refused: bool) -> None:
        found = layouts.precision_refusal(model("Qwen/Qwen3-32B"), find(card, FACTS.accelerators), precision)
        assert (found is not None) == refused

    def test_what_is_not_native_says_so(self) -> None:
        result = ask("Qwen/Qwen3-32B", "a100_80_sxm")
        assert "weight-only" in " ".join(plan_for(result, "a100_80_sxm", Precision.FP8).reasons)


class TestRecommendation:
    def test_cheapest_fitting_plan_comes_first(self) -> None:
        result = ask("Qwen/Qwen3-32B")
        fitting = [p for p in result.plans if p.fits and p.precision is Precision.PUBLISHED]
        assert result.recommended == fitting[0]
        prices = [p.usd_per_hour for p in fitting if p.usd_per_hour is not None]
        assert prices == sorted(prices)
        assert {p.vendor for p in result.alternatives}.isdisjoint({fitting[0].vendor})

    def test_counts_are_the_smallest_that_fit(self) -> None:
        found = plan_for(ask("meta-llama/Llama-3.1-70B-Instruct", "h100_sxm"), "h100_sxm")
        assert found.count == 4
        smaller = footprint(
            model("meta-llama/Llama-3.1-70B-Instruct"),
            ask("meta-llama/Llama-3.1-70B-Instruct").workload,
            Precision.PUBLISHED,
            find("h100", FACTS.accelerators),
            Layout(tensor_parallel=2),
        )
        assert smaller.headroom < 0

    def test_nothing_fits_says_by_how_much(self) -> None:
        result = ask("moonshotai/Kimi-K3", "l4")
        assert result.recommended is None
        assert "short per card" in plan_for(result, "l4").reasons[0]

    def test_command(self) -> None:
        found = plan_for(
            ask("meta-llama/Llama-3.1-70B-Instruct", "h100_sxm", kv_dtype=KvDtype.FP8), "h100_sxm", Precision.FP8
        )
        assert found.command == (
            "vllm serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 2 --max-model-len 8192 --quantization fp8 --kv-cache-dtype fp8"
        )
        assert "--dtype fp8" not in (found.command or "")

    def test_fp8_of_an_fp8_checkpoint_is_itself_in_size(self) -> None:
        needs = {n.precision: n.weights_bytes for n in ask("deepseek-ai/DeepSeek-V3").needs}
        assert needs[Precision.FP8] == pytest.approx(needs[Precision.PUBLISHED], rel=0.01)
        assert needs[Precision.BF16] == pytest.approx(2 * 671.03e9, rel=0.001)

    def test_unknown_sizes_stay_unknown(self) -> None:
        base = model("Qwen/Qwen3-32B")
        unknown = base.model_copy(update={"tensors": (), "architecture": None})
        result = answer(unknown, Workload(context=8192, concurrency=1), FACTS)
        assert result.recommended is None
        assert {(n.weights_bytes, n.kv_bytes) for n in result.needs} == {(None, None)}

    def test_more_context_than_the_model_has_is_cut_and_said(self) -> None:
        result = ask("meta-llama/Llama-3.1-8B-Instruct", context=1_000_000)
        assert result.workload.context == 131_072
        assert result.notes[0].startswith("Asked for 1,000,000 tokens; the model allows 131,072")
        assert "--max-model-len 131072" in (plan_for(result, "h200_sxm").command or "")

    def test_an_unknown_cache_is_never_called_free(self) -> None:
        base = model("Qwen/Qwen3-32B")
        assert base.architecture is not None
        odd = Mixer(kind="attention of tomorrow", layers=64)
        changed = base.model_copy(update={"architecture": base.architecture.model_copy(update={"mixers": (odd,)})})
        result = answer(changed, Workload(context=8192, concurrency=1), FACTS)
        assert {n.kv_bytes for n in result.needs} == {None}
        assert result.recommended is not None
        found = result.recommended.footprint
        assert found is not None
        assert (found.kv_needed, found.capacity_tokens, found.max_sequences) == (None, None, None)
        assert any("Not all of its cache is known" in n for n in result.notes)

    def test_an_adapter_is_sent_to_its_base(self) -> None:
        adapter = model("Qwen/Qwen3-32B").model_copy(update={"adapter_of": "org/base"})
        result = answer(adapter, Workload(context=8192, concurrency=1), FACTS)
        assert result.recommended is None
        assert {p.reasons for p in result.plans} == {("an adapter runs on its base model; ask for org/base",)}

    @pytest.mark.parametrize(
        ("name", "changes", "precision", "word"),
        [
            ("black-forest-labs/FLUX.1-dev", {}, Precision.PUBLISHED, "diffusion"),
            ("Qwen/Qwen3-32B", {"kind": "file", "path": "/m/x.safetensors"}, Precision.PUBLISHED, "lone file"),
            ("Qwen/Qwen3-32B", {"kind": "folder", "path": "/m/x\n--trust"}, Precision.PUBLISHED, "control characters"),
            ("Qwen/Qwen3-32B", {}, Precision.INT4, "INT4"),
            ("deepseek-ai/DeepSeek-V3", {}, Precision.BF16, "BF16"),
        ],
    )
    def test_no_command_comes_with_its_reason(
        self, name: str, changes: dict[str, str], precision: Precision, word: str
    ) -> None:
        base = model(name)
        changed = base.model_copy(update={"source": base.source.model_copy(update=changes)})
        made = serve_command(changed, Workload(context=8192, concurrency=1), precision, ONE, FACTS.architectures)
        assert made.text is None
        assert word in made.reasons[0]

    def test_a_folder_with_spaces_is_quoted(self) -> None:
        base = model("Qwen/Qwen3-32B")
        source = base.source.model_copy(update={"kind": "folder", "path": "/m/my model; rm"})
        made = serve_command(
            base.model_copy(update={"source": source}),
            Workload(context=8192, concurrency=1),
            Precision.PUBLISHED,
            ONE,
            FACTS.architectures,
        )
        assert made.text == "vllm serve '/m/my model; rm' --max-model-len 8192"

    def test_architectures_that_vllm_lacks_are_named(self) -> None:
        assert any("0.23.0" in n for n in ask("Qwen/Qwen-72B").notes)


class TestHardware:
    @pytest.mark.parametrize(
        ("name", "gib"),
        # torch totals in public logs (nvidia-smi: 81559, 143771, 183359 MiB; rocm-smi 206141652992 B)
        [
            ("H100", 79.18),
            ("h200", 139.8),
            ("B200", 178.35),
            ("a100-80gb", 79.25),
            ("L40S", 44.39),
            ("l4", 22.03),
            ("MI300X", 191.98),
        ],
    )
    def test_usable_memory_is_not_the_marketed_figure(self, name: str, gib: float) -> None:
        found = find(name, FACTS.accelerators)
        assert found.usable_gib == gib
        assert found.usable_gib * 2**30 / 1e9 != found.marketed_gb
        assert found.sources["memory"]

    def test_the_default_list(self) -> None:
        assert {a.key for a in FACTS.accelerators if a.default} == {
            "h100_sxm",
            "h200_sxm",
            "b200",
            "a100_80_sxm",
            "l40s",
            "l4",
            "mi300x",
        }

    def test_unknown_cards_are_refused_with_the_known_ones(self) -> None:
        with pytest.raises(UnknownAcceleratorError, match="H1000") as caught:
            find("H1000", FACTS.accelerators)
        assert "h100_sxm" in caught.value.hint

    def test_prices_are_medians_of_dated_offers(self) -> None:
        price = price_of(find("h100", FACTS.accelerators), FACTS.offers)
        assert price is not None
        assert price.low <= price.usd_per_hour <= price.high
        assert price.oldest >= "2026-01-01"
        assert all(o.source and o.provider for o in FACTS.offers)

    @pytest.mark.parametrize("data", [b"", b"[]", b'{"accelerators": [{}]}', b'{"accelerators": 3}'])
    def test_damaged_facts_are_one_error(self, data: bytes) -> None:
        with pytest.raises(FactsError):
            parse_accelerators(data)
        with pytest.raises(FactsError):
            parse_prices(data)

    @pytest.mark.parametrize(
        ("card", "tokens", "sequences"),
        [("h100", 8192, 1024), ("b200", 16384, 1024), ("a100", 2048, 256), ("l4", 2048, 256)],
    )
    def test_batch_defaults_by_card(self, card: str, tokens: int, sequences: int) -> None:
        found = runtime.batch_defaults(find(card, FACTS.accelerators))
        assert (found.tokens, found.sequences) == (tokens, sequences)
