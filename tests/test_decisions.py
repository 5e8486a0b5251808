"""Models side by side, and when another chip pays."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Result
from whichgpu.plan.breakeven import Move, Offer, Situation, break_even
from whichgpu.tui.words.exit_codes import ExitCode

Ask = Callable[..., Result]


class TestCompare:
    """One column per model."""

    def test_what_differs_is_marked(self, ask: Ask) -> None:
        lines = ask("compare", "Qwen/Qwen3-32B", "openai/gpt-oss-120b", "--offline").out.splitlines()
        rows = {line[2:18].strip(): line for line in lines[2:]}
        assert rows["weights"].endswith("≠")
        assert "61.0 GiB" in rows["weights"]
        assert not rows["verdict"].endswith("≠")
        assert max(map(len, lines)) <= 80

    def test_a_model_that_fails_leaves_the_others(self, ask: Ask) -> None:
        result = ask("compare", "Qwen/Qwen3-32B", "no/such-model", "--offline")
        assert result.code == ExitCode.NETWORK
        assert "Qwen3-32B" in result.out
        assert "no/such-model" in result.err

    def test_json_has_one_record_each(self, ask: Ask) -> None:
        found = json.loads(ask("compare", "Qwen/Qwen3-32B", "Qwen/Qwen3-8B", "--offline", "--json").out)
        assert [r["model"] for r in found] == ["Qwen/Qwen3-32B", "Qwen/Qwen3-8B"]

    def test_a_model_is_needed(self, ask: Ask) -> None:
        assert ask("compare").code == ExitCode.USAGE


class TestBreakEven:
    """Sums that can be done by hand."""

    def test_by_hand(self, ask: Ask) -> None:
        # one-off 4 × 2 × 5,000 + 10,000 = 50,000; saving (1.00 − 0.50) × 20,000 = 10,000 a month
        arguments = ("--ours", "1", "--theirs", "0.5", "--tokens", "2e10", "--reserve", "10000", "--json")
        found = json.loads(ask("breakeven", *arguments).out)
        assert found["one_off"] == 50_000
        assert found["months"] == pytest.approx(5)
        assert found["needed"] == pytest.approx(1 - 50_000 / (12 * 20_000))
        assert found["pays"]

    def test_what_is_not_cheaper_never_pays(self, ask: Ask) -> None:
        result = ask("breakeven", "--ours", "1", "--theirs", "1.2", "--tokens", "1e9")
        assert result.code == ExitCode.NOTHING_FITS
        assert "never pays" in result.out
        assert "loss" in result.out

    def test_ours_can_be_predicted(self, ask: Ask) -> None:
        arguments = ("--model", "Qwen/Qwen3-32B", "--gpu", "h200", "--offline", "--theirs", "0.1", "--tokens", "1e10")
        result = ask("breakeven", *arguments)
        assert "predicted" in result.out
        assert "H200" in result.out

    def test_a_price_or_a_model_is_needed(self, ask: Ask) -> None:
        assert ask("breakeven", "--theirs", "1", "--tokens", "1e9").code == ExitCode.USAGE

    @given(
        ours=st.floats(0.01, 100),
        load=st.floats(1, 1e6),
        weeks=st.floats(0.1, 52),
        horizon=st.integers(1, 120),
        situation=st.sampled_from(Situation),
    )
    def test_the_number_to_beat_just_pays(
        self, ours: float, load: float, weeks: float, horizon: int, situation: Situation
    ) -> None:
        found = break_even(Offer(ours, ours, load), Move(weeks, 2, 5000), horizon, situation)
        assert not found.pays
        if found.needed is not None:
            there = break_even(Offer(ours, found.needed, load), Move(weeks, 2, 5000), horizon, situation)
            assert there.months == pytest.approx(horizon, rel=1e-3)
