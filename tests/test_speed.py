"""Speed: the laws of kernels and steps, published figures, objectives and limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planning import FACTS, ONE, ask, card, model, plan_for, served
from whichgpu import assets
from whichgpu.plan.accelerators import Generation
from whichgpu.plan.calibration import parse_calibration
from whichgpu.plan.case import Case
from whichgpu.plan.choices import SpeedBasis, Sureness
from whichgpu.plan.errors import FactsError
from whichgpu.plan.footprint import footprint_of
from whichgpu.plan.kernel_times import Kernel, KernelCatalog, spent
from whichgpu.plan.learned import Learned
from whichgpu.plan.operations import Operations, Works
from whichgpu.plan.records import Layout, Objective, Precision, Speed, Workload
from whichgpu.plan.sizing import Sizer
from whichgpu.plan.speed import Speeds
from whichgpu.plan.step_time import Load, least_time, padded_batch, prefill_time, step_time
from whichgpu.tui.words.exit_codes import ExitCode

H100 = card("h100_sxm")


def operations(name: str, layout: Layout | None = None, precision: Precision = Precision.PUBLISHED) -> Operations:
    workload = Workload(context=2048, concurrency=32)
    case = Case(workload, precision, H100, layout or ONE)
    result = Works(Sizer(served(model(name)))).of(case)
    assert result is not None
    return result


def speed(name: str, key: str, **asked: object) -> Speed:
    found = plan_for(ask(name, key, **asked), key, Precision(str(asked.get("precision", "published")))).speed
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "key", "precision", "measured"),
    [  # InferenceMAX, vLLM, 1,024 in, 1,024 out, 32 at once: output tokens/s of one replica
        ("meta-llama/Llama-3.1-70B-Instruct", "h100_sxm", "fp8", 1360),  # two cards
        ("meta-llama/Llama-3.1-70B-Instruct", "h200_sxm", "fp8", 964),  # one card
        ("meta-llama/Llama-3.1-70B-Instruct", "b200", "fp8", 1636),  # one card
        ("openai/gpt-oss-120b", "h200_sxm", "published", 1818),  # 17.6 ms a token on one card
    ],
)
def test_published_rates_lie_in_the_range(name: str, key: str, precision: str, measured: float) -> None:
    found = speed(name, key, context=2048, concurrency=32, prompt=1024, output=1024, precision=precision)
    rate = found.output_tokens_per_second
    assert 0.98 * rate.low <= measured <= 1.02 * rate.high  # noise of a run: 2 %
    assert rate.expected == pytest.approx(measured, rel=0.25)


def test_a_70b_model_at_batch_32_cannot_reach_3000_tokens_on_one_h100() -> None:
    """Even at the whole published rate, reading 67.7 GiB of FP8 weights takes 21.7 ms a step."""
    fp8 = operations("meta-llama/Llama-3.1-70B-Instruct", precision=Precision.FP8)
    assert 1200 < 32 / least_time(fp8, FACTS.calibration.machine(H100, ONE), Load(32, 1024, 1024)) < 1500


@given(
    running=st.integers(1, 256),
    prompt=st.integers(1, 30_000),
    output=st.integers(1, 8_000),
    name=st.sampled_from(
        ["Qwen/Qwen3-32B", "openai/gpt-oss-120b", "deepseek-ai/DeepSeek-V3", "Qwen/Qwen3.5-397B-A17B"]
    ),
)
def test_more_at_once_is_slower_for_each_and_never_faster_than_physics(
    running: int, prompt: int, output: int, name: str
) -> None:
    some, machine = operations(name), FACTS.calibration.machine(H100, ONE)
    now, more = (step_time(some, machine, Load(n, prompt, output)) for n in (running, running + 1))
    assert more.total >= now.total
    assert now.total >= 0.99 * least_time(some, machine, Load(running, prompt, output))
    assert prefill_time(some, machine, prompt + 1) >= 0.999 * prefill_time(some, machine, prompt)


@given(memory=st.floats(1e3, 1e12), compute=st.floats(1e3, 1e15))
def test_a_kernel_takes_its_longer_part_and_at_most_both(memory: float, compute: float) -> None:
    kernel, rates = Kernel(5e-6, 0.8, 0.6), (3.35e12, 989e12)
    time = spent(kernel, 2, memory, compute, rates)
    parts = memory / (rates[0] * 0.8), compute / (rates[1] * 0.6)
    assert time.launch == pytest.approx(1e-5)
    assert max(parts) <= time.memory + time.compute <= sum(parts) * (1 + 1e-9)
    assert (time.memory > 0) == (parts[0] >= parts[1])


def test_batches_run_in_the_graph_above_them() -> None:
    """Steps of vLLM 0.20 take the same time at 5 to 8 sequences, at 9 to 16, at 17 to 24."""
    assert [padded_batch(n) for n in (1, 2, 3, 5, 9, 17, 255, 257, 300)] == [1, 2, 4, 8, 16, 24, 256, 272, 304]
    assert padded_batch(600) == 600


def test_every_card_has_kernel_times_and_every_kind_a_range() -> None:
    calibration = FACTS.calibration
    for one in FACTS.accelerators:
        times = calibration.kernels.of(one)
        assert {"bf16", "fp8", "int8", "int4", "nvfp4", "mxfp4", "mxfp4 by fp8"} <= set(times.matrices) & set(
            times.experts
        )
        low, high = calibration.ranges[calibration.basis_of(one)]
        assert low < 1 < high
    assert calibration.basis_of(card("h200_sxm")) is SpeedBasis.TABLES
    assert calibration.basis_of(card("rtx_3090")) is SpeedBasis.CONSUMER
    assert calibration.basis_of(card("h100_pcie")) is SpeedBasis.RELATIVE
    assert calibration.basis_of(card("gb10")) is SpeedBasis.UNIFIED
    assert {calibration.basis_of(card(c)) for c in ("mi300x", "r9700")} == {SpeedBasis.AMD}
    assert calibration.basis_of(card("gaudi3")) is SpeedBasis.INTEL


def test_shapes_are_cut_as_the_layout_says() -> None:
    """Llama-3.1-70B: query, key and value one matrix of 10,240 × 8,192, half of it on each of two cards."""
    whole, half = (operations("meta-llama/Llama-3.1-70B-Instruct", Layout(tensor_parallel=n)) for n in (1, 2))
    wide = max((m for m in whole.matrices if m.launches == 80), key=lambda m: m.parameters)
    assert wide.parameters == 80 * 2 * 28_672 * 8_192  # gate and up
    assert [m.parameters * 2 for m in half.matrices] == [m.parameters for m in whole.matrices]
    assert len(whole.matrices) == 5  # head, qkv, o, gate and up, down
    assert (half.reductions, half.layers, half.moe_layers) == (160, 80, 0)


def test_a_table_of_embeddings_per_layer_is_no_head() -> None:
    """Gemma 4 E2B looks 2.3 of its 5.1 billion parameters up; its tied head multiplies the others."""
    small = operations("google/gemma-4-E2B-it")
    assert sum(m.parameters for m in small.matrices) < 2.6e9


def test_indexed_attention_reads_what_its_indexer_chose() -> None:
    """DeepSeek-V3.2: keys of 132 bytes of all tokens, latents of 2,048 of them."""
    sparse = operations("deepseek-ai/DeepSeek-V3.2")
    long, longer = sparse.read(30_000), sparse.read(60_000)
    assert longer - long == pytest.approx(61 * 132 * 30_000, rel=0.01)


@given(tokens=st.floats(1, 1e6))
def test_experts_touched_are_at_least_those_of_one_token_and_at_most_all(tokens: float) -> None:
    some = operations("openai/gpt-oss-120b").experts
    assert some is not None
    assert some.touched(tokens) + 1e-12 >= 4 / 128
    assert some.touched(tokens) <= 1


def test_experts_touched_as_counted_by_hand() -> None:
    some = operations("openai/gpt-oss-120b").experts  # 128 experts, 4 a token
    assert some is not None
    assert [round(128 * some.touched(b), 1) for b in (1, 8, 32, 64)] == [4.0, 28.7, 81.7, 111.2]


def test_a_cache_is_read_up_to_its_windows() -> None:
    full, half_windows = operations("Qwen/Qwen3-32B"), operations("openai/gpt-oss-120b")
    assert full.read(8000) == pytest.approx(2 * full.read(4000))
    assert half_windows.read(8000) < 2 * half_windows.read(4000)


def test_sequences_beyond_the_pool_queue() -> None:
    sizer = Sizer(served(model("Qwen/Qwen3-32B")))
    asked = Workload(context=8192, concurrency=10_000)
    case = Case(asked, Precision.PUBLISHED, H100, Layout(tensor_parallel=2))
    foot = footprint_of(sizer, case, sizer.size(case))
    found = Speeds(Works(sizer), FACTS.calibration, Learned()).of(case, foot)
    assert found is not None
    assert found.running == foot.max_sequences
    assert found.running + found.waiting == 10_000
    assert found.ttft_ms.expected > 100e3, "the last of them waits for minutes"
    assert found.usd_per_million_output is None


def test_cost_is_dollars_an_hour_over_tokens_an_hour() -> None:
    plan = plan_for(ask("Qwen/Qwen3-32B", "h200_sxm"), "h200_sxm")
    assert plan.speed is not None
    assert plan.speed.usd_per_million_output is not None
    assert plan.usd_per_hour is not None
    hourly = plan.speed.output_tokens_per_second.expected * 3600 / 1e6
    assert plan.speed.usd_per_million_output.expected == pytest.approx(plan.usd_per_hour / hourly)


def test_an_idle_half_doubles_the_cost_of_a_token() -> None:
    full, half = (speed("Qwen/Qwen3-32B", "h200_sxm", busy=share).usd_per_million_output for share in (1.0, 0.5))
    assert full is not None
    assert half is not None
    assert half.expected == pytest.approx(2 * full.expected)


def test_encoders_diffusion_and_pooling_models_have_no_token_rate() -> None:
    for name in ("BAAI/bge-large-en-v1.5", "black-forest-labs/FLUX.1-dev", "Alibaba-NLP/gte-Qwen2-7B-instruct"):
        assert all(p.speed is None for p in ask(name, "h100_sxm").plans)


def test_the_front_is_what_nothing_beats() -> None:
    result = ask("Qwen/Qwen3-32B")
    points = [
        (p.usd_per_hour or 0, p.speed.tpot_ms.expected) for p in (result.plans[i] for i in result.front) if p.speed
    ]
    assert len(points) >= 2
    assert points == sorted(points)
    levels = list(Sureness)
    front = [(*point, levels.index(result.plans[i].sureness)) for point, i in zip(points, result.front, strict=True)]
    for plan in result.plans:
        if plan.fits and plan.speed and plan.usd_per_hour and plan.precision is Precision.PUBLISHED:
            mine = (plan.usd_per_hour, plan.speed.tpot_ms.expected, levels.index(plan.sureness))
            beaten = [f for f in front if f != mine and all(a <= b for a, b in zip(f, mine, strict=True))]
            assert (mine in front) != bool(beaten)


class TestObjectives:
    """Which plan is recommended."""

    def test_latency_takes_more_cards_than_needed(self) -> None:
        cheap = ask("Qwen/Qwen3-32B").recommended
        fast = ask("Qwen/Qwen3-32B", objective=Objective.LATENCY).recommended
        assert cheap is not None and fast is not None  # noqa: PT018 - one thought
        assert cheap.speed is not None and fast.speed is not None  # noqa: PT018
        assert fast.count > cheap.count
        assert fast.speed.tpot_ms.expected < cheap.speed.tpot_ms.expected
        assert (fast.usd_per_hour or 0) > (cheap.usd_per_hour or 0)

    def test_every_objective_is_best_at_what_it_says(self) -> None:
        found = {o: ask("Qwen/Qwen3-32B", objective=o).recommended for o in Objective}
        assert all(found.values())
        assert found[Objective.FEWEST].count == min(p.count for p in found.values() if p)  # type: ignore[union-attr]
        rates = {o: p.speed.output_tokens_per_second.expected for o, p in found.items() if p and p.speed}
        assert rates[Objective.THROUGHPUT] == max(rates.values())
        joules = {o: p.speed.output_tokens_per_joule or 0 for o, p in found.items() if p and p.speed}
        assert joules[Objective.POWER] == max(joules.values())

    def test_a_limit_on_tpot_is_kept_or_nothing_is_recommended(self) -> None:
        kept = ask("Qwen/Qwen3-32B", max_tpot_ms=20).recommended
        assert kept is not None
        assert kept.speed is not None
        assert kept.speed.tpot_ms.expected <= 20
        missed = ask("Qwen/Qwen3-32B", max_tpot_ms=0.5)
        assert missed.recommended is None
        assert any("a token takes" in reason for p in missed.plans for reason in p.reasons)
        nearest = next(p for p in missed.plans if p.missed)
        assert nearest.count == 8

    def test_a_request_longer_than_the_context_is_refused(self) -> None:
        from whichgpu.tui.cli.tree import run

        assert run(["--model", "Qwen/Qwen3-32B", "--offline", "--output", "9000"]) == ExitCode.USAGE

    def test_a_rate_needs_replicas_and_their_price_is_compared(self) -> None:
        plan = ask("Qwen/Qwen3-32B", "h100_sxm", rate=50.0).recommended
        assert plan is not None
        assert plan.speed is not None
        needed = 50.0 * plan.speed.output_tokens
        served = plan.speed.output_tokens_per_second.low
        assert (plan.replicas - 1) * served < needed <= plan.replicas * served

    def test_a_price_limit_counts_all_replicas(self) -> None:
        result = ask("Qwen/Qwen3-32B", "h100_sxm", rate=50.0, max_usd_per_hour=10.0)
        assert result.recommended is None


def test_damaged_factors_are_one_sentence() -> None:
    whole = assets.read("throughput.json"), assets.read("kernel_times.json")
    for broken in (b"", b"{}", b"[1]", b'{"host": {"step": {"value": 1}}}'):
        with pytest.raises(FactsError):
            parse_calibration(broken, whole[1])
        with pytest.raises(FactsError):
            parse_calibration(whole[0], broken)


def test_a_card_whose_relative_is_unknown_is_one_sentence() -> None:
    with pytest.raises(FactsError, match="No kernel times"):
        KernelCatalog(assets.read("kernel_times.json")).of(
            H100.model_copy(update={"vendor": "me", "timed_like": "abacus", "generation": Generation()})
        )


class TestRates:
    """The load that serves a rate of requests."""

    def test_the_least_load_that_keeps_up_on_as_few_replicas_as_the_largest_needs(self) -> None:
        slow, fast = (speed("Qwen/Qwen3-32B", "h200_sxm", rate=r, prompt=1024, output=256) for r in (0.5, 4.0))
        assert slow.running < fast.running
        assert slow.output_tokens_per_second.low >= 0.5 * 256
        assert fast.tpot_ms.expected > slow.tpot_ms.expected

    def test_limits_make_more_replicas(self) -> None:
        free, held = (
            plan_for(
                ask("Qwen/Qwen3-32B", "h200_sxm", rate=60.0, prompt=1024, output=256, **limit),
                "h200_sxm",
                Precision.PUBLISHED,
            )
            for limit in ({}, {"max_tpot_ms": 30.0})
        )
        assert free.speed is not None and held.speed is not None  # noqa: PT018 - one thought
        assert held.speed.tpot_ms.expected <= 30
        assert held.replicas * held.count > free.replicas * free.count

    def test_the_cache_is_charged_at_what_requests_hold(self) -> None:
        """A context of 131,072 lets one in; requests of 1,280 tokens run by the hundred."""
        long = speed("Qwen/Qwen3-32B", "h200_sxm", context=40_960, rate=60.0, prompt=1024, output=256)
        assert long.running > 50


def test_a_queue_and_a_burst_delay_the_first_token() -> None:
    few, many = (speed("Qwen/Qwen3-32B", "h200_sxm", concurrency=n, prompt=1024, output=256) for n in (8, 64))
    for one in (few, many):
        assert one.ttft_burst_ms is not None
        assert one.ttft_burst_ms.expected > one.ttft_ms.expected


def test_a_prompt_that_is_cached_is_not_computed_again() -> None:
    whole, half, all_of_it = (
        speed("Qwen/Qwen3-32B", "h200_sxm", context=16_384, prompt=15_000, output=256, prefix_share=share)
        for share in (0.0, 0.5, 1.0)
    )
    assert whole.ttft_ms.expected > 1.6 * half.ttft_ms.expected
    assert half.ttft_ms.expected > 3 * all_of_it.ttft_ms.expected
    assert whole.output_tokens_per_second.expected < half.output_tokens_per_second.expected
