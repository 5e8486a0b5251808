"""Answers that are known from elsewhere: vendors' recipes, published logs, arithmetic on published sizes."""

from __future__ import annotations

import pytest

from tests.planning import ask, plan_for
from whichgpu.plan.records import Precision, Verdict


def test_llama_70b_in_fp8_takes_two_h100_at_8k_for_16() -> None:
    """70.6 GB of weights leave one H100 (79.2 GiB) about 3 GiB, where 16 × 8,192 tokens take 40 GiB in BF16."""
    found = ask("meta-llama/Llama-3.1-70B-Instruct", "h100_sxm", context=8192, concurrency=16, precision=Precision.FP8)
    plan = plan_for(found, "h100_sxm", Precision.FP8)
    assert (plan.count, plan.verdict) == (2, Verdict.FITS)


def test_qwen3_32b_in_bf16_leaves_one_h100_about_40k_tokens() -> None:
    """65.5 GB of 79.2 GiB; 256 KiB a token; at vLLM's older share of 0.95 the public figure is 40k."""
    found = ask("Qwen/Qwen3-32B", "h100_sxm", context=8192, concurrency=1, utilisation=0.95)
    plan = plan_for(found, "h100_sxm")
    assert plan.count == 1
    assert plan.footprint is not None
    assert plan.footprint.capacity_tokens == pytest.approx(40_000, rel=0.1)


def test_deepseek_r1_runs_on_eight_h200_and_not_on_eight_h100() -> None:
    """689 GB in FP8 (its index) on 8 × 85 GB leave nothing; on 8 × 150 GB they do (DeepSeek's own recipe)."""
    found = ask("deepseek-ai/DeepSeek-R1", "h200_sxm", "h100_sxm", context=8192, concurrency=16)
    assert plan_for(found, "h200_sxm").count == 8
    assert plan_for(found, "h100_sxm").count > 8


def test_gpt_oss_120b_takes_one_card_of_80_gb() -> None:
    """OpenAI: one 80 GB GPU; 2 to 8 are for speed."""
    assert plan_for(ask("openai/gpt-oss-120b", "h100_sxm", context=8192, concurrency=8), "h100_sxm").count == 1


def test_llama_405b_in_fp8_takes_eight_h100() -> None:
    """Meta's recipe for Llama-3.1-405B-Instruct-FP8: one node of 8 × 80 GB."""
    found = ask("meta-llama/Llama-3.1-405B-Instruct-FP8", "h100_sxm", context=8192, concurrency=8)
    assert plan_for(found, "h100_sxm").count == 8


def test_kimi_k2_takes_sixteen_h100_or_eight_h200() -> None:
    """Moonshot's recipe: the smallest for its FP8 weights (1 TB) is 16 H800 of 80 GB, TP 16 or DP+EP; 8 × H200 fits weights."""
    found = ask("moonshotai/Kimi-K2-Instruct", "h100_sxm", "h200_sxm", context=8192, concurrency=4)
    assert plan_for(found, "h100_sxm").count >= 16


def test_what_is_out_of_reach_says_how_far() -> None:
    found = ask("deepseek-ai/DeepSeek-R1", "rtx_4090", context=8192, concurrency=16)
    plan = plan_for(found, "rtx_4090")
    assert plan.verdict is not Verdict.NO or "short per card" in plan.reasons[0]
