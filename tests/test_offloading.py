"""Weights and cache in the host's memory: bytes, commands, what is said, and what stays unknown."""

from __future__ import annotations

import pytest

from tests.planning import GIB, ask, footprint, model, plan_for
from whichgpu.plan.records import Layout, Precision, Verdict

_ONE, _TWO = Layout(tensor_parallel=1), Layout(tensor_parallel=2)
_QWEN32 = "Qwen/Qwen3-32B"


@pytest.mark.parametrize(("layout", "gib"), [(_ONE, 20), (_TWO, 10), (_TWO, 0.5)])
def test_so_many_gib_of_each_card_lie_in_the_host(layout: Layout, gib: float) -> None:
    found = model(_QWEN32)
    whole, less = (footprint(found, "h100_sxm", layout, cpu_offload_gb=size) for size in (0, gib))
    assert whole.weights - less.weights == pytest.approx(gib * GIB, abs=2)
    assert less.pool - whole.pool == pytest.approx(gib * GIB, abs=2)
    assert {t.flag for t in less.terms if t.name == "dense ffn"} == {"--cpu-offload-gb"}


def test_embedding_and_head_stay_whatever_is_asked() -> None:
    foot = footprint(model("Qwen/Qwen3-8B"), "h100_sxm", _ONE, cpu_offload_gb=1_000)
    left = {t.name: t.bytes for t in foot.terms if t.group == "weights"}
    assert left["embedding"] == left["head"] == 151_936 * 4_096 * 2
    assert left["dense ffn"] == left["attention"] == 0


def test_weights_that_are_converted_while_they_load_are_counted_before() -> None:
    found = model("Qwen/Qwen3-8B")
    whole, less = (footprint(found, "h100_sxm", _ONE, Precision.FP8, cpu_offload_gb=size) for size in (0, 4))
    assert whole.weights - less.weights == pytest.approx(2 * GIB, abs=2)


def test_a_model_too_large_for_a_card_is_served_at_a_speed_that_is_unknown() -> None:
    alone = plan_for(ask("Qwen/Qwen3-14B", "rtx_4090", cards=1, concurrency=1), "rtx_4090")
    assert alone.verdict is Verdict.NO
    helped = plan_for(ask("Qwen/Qwen3-14B", "rtx_4090", cards=1, concurrency=1, cpu_offload_gb=12), "rtx_4090")
    assert helped.verdict is Verdict.FITS
    assert helped.speed is None
    assert helped.command is not None
    assert "--cpu-offload-gb 12" in helped.command
    assert any("12 GiB of its own memory" in reason for reason in helped.reasons)


def test_memory_that_is_shared_with_the_host_gains_nothing() -> None:
    plain, asked = (footprint(model(_QWEN32), "gb10", _ONE, cpu_offload_gb=size) for size in (0, 10))
    assert plain.weights == asked.weights
    plan = plan_for(ask(_QWEN32, "gb10", cpu_offload_gb=10, cards=1), "gb10")
    assert any("shares its memory" in reason for reason in plan.reasons)


def test_a_second_cache_changes_no_card_and_says_what_it_holds() -> None:
    name = "Qwen/Qwen3-8B"
    plain = plan_for(ask(name, "l40s", cards=2), "l40s")
    asked = plan_for(ask(name, "l40s", cards=2, kv_offloading_size=64), "l40s")
    assert plain.footprint is not None
    assert asked.footprint is not None
    assert asked.footprint.pool == plain.footprint.pool
    assert asked.command is not None
    assert "--kv-offloading-size 64" in asked.command
    tokens = 64 * GIB // (36 * 2 * 8 * 128 * 2)  # layers, K and V, heads, width, BF16: over both cards
    assert any(f"about {tokens:,} tokens" in reason for reason in asked.reasons)
