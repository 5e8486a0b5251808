"""``--context auto``: the longest context that fits, for all sequences at once, even if the prediction errs."""

from __future__ import annotations

import shlex

import pytest
from click.testing import CliRunner

from tests.planning import GIB, ask, plan_for
from whichgpu.plan.own_settings import as_planned
from whichgpu.plan.records import Plan, Verdict
from whichgpu.tui.cli.tree import cli

_QWEN8, _PER_TOKEN = "Qwen/Qwen3-8B", 36 * 2 * 8 * 128 * 2
"""Bytes of cache of a token: layers, keys and values, heads, width, BF16."""


def _plan(name: str, card: str, **workload: object) -> Plan:
    return plan_for(ask(name, card, context_auto=True, **workload), card)


@pytest.mark.parametrize("concurrency", [1, 2, 4])
def test_all_sequences_fit_at_it_and_would_not_much_beyond(concurrency: int) -> None:
    plan = _plan(_QWEN8, "l4", cards=1, concurrency=concurrency)
    assert plan.verdict is Verdict.FITS
    assert plan.footprint is not None
    context = int(plan.sets["context"])
    needed = concurrency * context * _PER_TOKEN
    assert needed <= plan.footprint.pool_low < needed + (256 * concurrency + 32) * _PER_TOKEN
    assert plan.command is not None
    words = shlex.split(plan.command)
    assert words[words.index("--max-model-len") + 1] == str(context)


def test_a_card_with_room_for_everything_is_given_what_the_model_allows() -> None:
    plan = _plan(_QWEN8, "h200_sxm", concurrency=1)
    assert plan.sets.get("context") is None
    assert plan.command is not None
    assert "--max-model-len 40960" in plan.command


def test_without_a_count_of_cards_it_is_no_shorter_than_usual() -> None:
    plan = _plan(_QWEN8, "l4", concurrency=16)
    assert plan.count > 1
    assert plan.sets.get("context", 40_960) >= 8_192


def test_a_request_that_is_longer_than_what_fits_is_not_promised() -> None:
    plan = _plan(_QWEN8, "l4", cards=1, concurrency=16, prompt=20_000, output=1_000)
    assert plan.verdict is not Verdict.FITS


def test_trials_and_targets_take_the_context_that_was_planned() -> None:
    answer = ask(_QWEN8, "l4", context_auto=True, cards=1, concurrency=1)
    assert answer.recommended is not None
    assert as_planned(answer.workload, answer.recommended).context == answer.recommended.sets["context"]
    assert answer.workload.context == 40_960
    assert any("--max-model-len" in reason for reason in answer.recommended.reasons)


def test_speed_is_of_requests_that_have_room() -> None:
    plan = _plan(_QWEN8, "l4", cards=1, concurrency=1)
    assert plan.speed is not None
    assert plan.speed.prompt_tokens + plan.speed.output_tokens <= plan.sets["context"]


@pytest.mark.parametrize("word", ["auto", "-1"])
def test_it_is_asked_for_as_vllm_has_it(word: str) -> None:
    done = CliRunner().invoke(
        cli, ["--offline", "--model", _QWEN8, "--gpu", "L4", "--cards", "1", "--concurrency", "1", "--context", word]
    )
    assert done.exit_code == 0
    assert "as many tokens each as fit, at most 40,960" in done.output
    assert "--max-model-len" in done.output


def test_a_word_that_is_no_length_is_refused() -> None:
    done = CliRunner().invoke(cli, ["--offline", "--model", _QWEN8, "--context", "most"])
    assert done.exit_code == 2
    assert "--context" in done.output


def test_gib_are_those_of_the_card() -> None:
    plan = _plan(_QWEN8, "l4", cards=1, concurrency=1)
    assert plan.footprint is not None
    assert plan.footprint.kv_per_token == _PER_TOKEN
    assert plan.footprint.pool < 22 * GIB
