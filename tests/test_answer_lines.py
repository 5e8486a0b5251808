"""The answer in two dozen lines: its order, its widths, and what each kind of model gets."""

from __future__ import annotations

import pytest

from tests.planning import FACTS, ask, model
from whichgpu.plan.choices import InsteadOf, Sureness
from whichgpu.plan.records import Answer, Verdict
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.words.answer_lines import answer_lines
from whichgpu.tui.words.terminal import Terminal

_MODELS = (
    "Qwen/Qwen3-8B",
    "openai/gpt-oss-120b",
    "deepseek-ai/DeepSeek-V4-Flash",
    "Qwen/Qwen3.5-397B-A17B",
    "Qwen/Qwen2.5-VL-7B-Instruct",
    "state-spaces/mamba-2.8b-hf",
    "sentence-transformers/all-MiniLM-L6-v2",
    "black-forest-labs/FLUX.1-dev",
    "openai/whisper-large-v3",
    "google/gemma-4-E4B-it",
    "moonshotai/Kimi-K3",
    "meta-llama/Llama-3.1-405B-Instruct-FP8",
)


def text(name: str, answer: Answer, width: int = 80) -> str:
    terminal = Terminal(colour=False, unicode=True, narrate=False, width=width)
    return answer_lines(Reply(model(name), answer, "atlas", None, (), FACTS), terminal)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", _MODELS)
def test_it_takes_the_width_that_there_is_and_no_more_lines_than_a_screen(name: str, width: int) -> None:
    lines = text(name, ask(name), width).splitlines()
    assert all(len(line) <= width for line in lines if not line.startswith("  vllm serve "))
    assert width < 80 or len(lines) <= 32


def test_the_order_is_that_of_a_person_who_asks() -> None:
    said = text("Qwen/Qwen3-8B", ask("Qwen/Qwen3-8B"))
    words = ("Qwen/Qwen3-8B", "RENT", "HOLDS", "SPEED", "vllm serve", "Instead", "Sure?", "Seen", "More:")
    places = [said.index(word) for word in words]
    assert places == sorted(places)


def test_what_is_not_text_is_said_in_its_own_terms() -> None:
    flux = text("black-forest-labs/FLUX.1-dev", ask("black-forest-labs/FLUX.1-dev"))
    assert "cache" not in flux.split("Instead")[0]
    assert "tokens each" not in flux
    embeddings = text("sentence-transformers/all-MiniLM-L6-v2", ask("sentence-transformers/all-MiniLM-L6-v2"))
    assert "--runner pooling" in embeddings
    assert "per M output" not in embeddings + flux


def test_where_nothing_fits_the_reasons_and_what_would_help_are_shown() -> None:
    answer = ask("Qwen/Qwen3-32B", "t4", cards=1)
    said = text("Qwen/Qwen3-32B", answer)
    assert "Nothing fits" in said
    assert "T4" in said


class TestWhatIsRecommended:
    def test_a_surer_plan_may_cost_more_by_a_factor_that_is_said(self) -> None:
        answer = ask("openai/gpt-oss-120b")
        best = answer.recommended
        assert best is not None
        assert best.sureness is Sureness.PROVEN
        cheaper = [p for p in answer.plans if p.fits and (p.total_usd_per_hour or 1e9) < (best.total_usd_per_hour or 0)]
        assert cheaper, "something unproven, or on marketplaces alone, is cheaper"
        assert answer.plans[answer.instead[0].plan] in cheaper
        assert answer.instead[0].kind is InsteadOf.CHEAPEST

    def test_every_card_that_somebody_rents_is_asked(self) -> None:
        answer = ask("Qwen/Qwen3-8B")
        asked = {p.accelerator for p in answer.plans}
        assert len(asked) > 30
        assert len(asked) + answer.unpriced == len(FACTS.accelerators)

    def test_instead_names_each_card_once_cheapest_first(self) -> None:
        answer = ask("Qwen/Qwen3-32B")
        plans = [answer.plans[i.plan] for i in answer.instead]
        assert len({p.accelerator for p in plans}) == len(plans) >= 3
        assert all(p.verdict is Verdict.FITS for p in plans)
        costs = [p.total_usd_per_hour or 0 for p in plans]
        assert costs == sorted(costs)

    def test_busier_is_cheaper(self) -> None:
        answer = ask("Qwen/Qwen3-8B", "h100_sxm", concurrency=4)
        now, busy = answer.recommended, answer.busiest
        assert now is not None and now.speed is not None and busy is not None  # noqa: PT018 - one thought
        assert busy.running > 3 * now.speed.running
        assert busy.usd_per_million_output is not None
        assert now.speed.usd_per_million_output is not None
        assert busy.usd_per_million_output.expected < 0.5 * now.speed.usd_per_million_output.expected
        assert f"at {busy.running:,} at once" in " ".join(text("Qwen/Qwen3-8B", answer).split())
