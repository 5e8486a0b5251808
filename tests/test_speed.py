"""Speed: the roofline's laws, published figures, objectives and limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planning import FACTS, ONE, ask, card, model, plan_for, served
from whichgpu.plan.case import Case
from whichgpu.plan.errors import FactsError
from whichgpu.plan.footprint import footprint_of
from whichgpu.plan.learned import Learned
from whichgpu.plan.records import Layout, Objective, Precision, Speed, Workload
from whichgpu.plan.roofline import Load, Machine, parse_calibration, prefill_time, step_time
from whichgpu.plan.sizing import Sizer
from whichgpu.plan.speed import Speeds
from whichgpu.plan.step_work import StepWork, Works
from whichgpu.tui.words.exit_codes import ExitCode

FACTORS = FACTS.calibration.factors
H100 = card("h100_sxm")


def work(name: str, layout: Layout | None = None, precision: Precision = Precision.PUBLISHED) -> StepWork:
    asked = Workload(context=2048, concurrency=32)
    case = Case(asked, precision, H100, layout or ONE)
    found = Works(Sizer(served(model(name)))).of(case)
    assert found is not None
    return found


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
    assert rate.low <= measured <= rate.high
    assert rate.expected == pytest.approx(measured, rel=0.25)


def test_a_70b_model_at_batch_32_cannot_reach_3000_tokens_on_one_h100() -> None:
    """Even at the whole published rate, reading 67.7 GiB of FP8 weights takes 21.7 ms a step."""
    ideal = replace(FACTORS, bandwidth=1.0, cache=1.0, step=0, layer=0, sequence=0, prefill=1.0)
    fp8 = work("meta-llama/Llama-3.1-70B-Instruct", precision=Precision.FP8)
    assert 32 / step_time(fp8, Machine(H100, ONE, ideal), Load(32, 1024, 1024)).total < 1500


@given(
    running=st.integers(1, 256),
    prompt=st.integers(1, 30_000),
    output=st.integers(1, 8_000),
    name=st.sampled_from(
        ["Qwen/Qwen3-32B", "openai/gpt-oss-120b", "deepseek-ai/DeepSeek-V3", "Qwen/Qwen3.5-397B-A17B"]
    ),
)
def test_more_at_once_is_slower_for_each_and_never_faster_than_the_memory(
    running: int, prompt: int, output: int, name: str
) -> None:
    some, machine = work(name), Machine(H100, ONE, FACTORS)
    now = step_time(some, machine, Load(running, prompt, output))
    more = step_time(some, machine, Load(running + 1, prompt, output))
    assert more.total >= now.total
    assert now.total > some.weights / (H100.bandwidth_gbs * 1e9)
    assert prefill_time(some, machine, prompt + 1) >= prefill_time(some, machine, prompt)


@given(tokens=st.floats(1, 1e6))
def test_experts_touched_are_at_least_those_of_one_token_and_at_most_all(tokens: float) -> None:
    some = work("openai/gpt-oss-120b")
    assert some.touched(tokens) + 1e-12 >= 4 / 128
    assert some.touched(tokens) <= 1


def test_experts_touched_as_counted_by_hand() -> None:
    some = work("openai/gpt-oss-120b")  # 128 experts, 4 a token
    assert [round(128 * some.touched(b), 1) for b in (1, 8, 32, 64)] == [4.0, 28.7, 81.7, 111.2]


def test_a_cache_is_read_up_to_its_windows() -> None:
    full, half_windows = work("Qwen/Qwen3-32B"), work("openai/gpt-oss-120b")
    assert full.cached(8000) == pytest.approx(2 * full.cached(4000))
    assert half_windows.cached(8000) < 2 * half_windows.cached(4000)


def test_sequences_beyond_the_pool_queue() -> None:
    sizer = Sizer(served(model("Qwen/Qwen3-32B")))
    asked = Workload(context=8192, concurrency=10_000)
    case = Case(asked, Precision.PUBLISHED, H100, Layout(tensor_parallel=2))
    foot = footprint_of(sizer, case, sizer.size(case))
    found = Speeds(Works(sizer), FACTS.calibration, Learned()).of(case, foot)
    assert found is not None
    assert found.running == foot.max_sequences
    assert found.running + found.waiting == 10_000
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
    assert [t for _, t in points] == sorted((t for _, t in points), reverse=True)
    for plan in result.plans:
        if plan.fits and plan.speed and plan.usd_per_hour and plan.precision is Precision.PUBLISHED:
            mine = (plan.usd_per_hour, plan.speed.tpot_ms.expected)
            assert mine in points or any(d <= mine[0] and t <= mine[1] for d, t in points)


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
        served = plan.speed.output_tokens_per_second.expected
        assert (plan.replicas - 1) * served < needed <= plan.replicas * served

    def test_a_price_limit_counts_all_replicas(self) -> None:
        result = ask("Qwen/Qwen3-32B", "h100_sxm", rate=50.0, max_usd_per_hour=10.0)
        assert result.recommended is None


def test_damaged_factors_are_one_sentence() -> None:
    for data in (b"", b"{}", b'{"factors": {"bandwidth": 1}}'):
        with pytest.raises(FactsError):
            parse_calibration(data)
