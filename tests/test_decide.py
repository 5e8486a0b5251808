"""Five situations in figures: sums that can be done by hand, and the words around them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result
from tests.planning import ask as plans_of
from tests.planning import card
from tests.planning import model as atlas_model
from whichgpu import assets
from whichgpu.inspect.records import Origin
from whichgpu.plan import decide
from whichgpu.plan.breakeven import Move, Situation
from whichgpu.plan.decide import Decision, DecisionFigure
from whichgpu.plan.silicon import Access, missing_evidence, parse_silicon
from whichgpu.tui.words.decision_words import amount
from whichgpu.tui.words.exit_codes import ExitCode

Ask = Callable[..., Result]
CHIPS = {c.key: c for c in parse_silicon(assets.read("silicon.json"))}
GPT_OSS = ("--model", "openai/gpt-oss-120b", "--offline")


def baseline() -> decide.Baseline:
    plan = plans_of("openai/gpt-oss-120b", "h100_sxm").recommended
    assert plan is not None
    return decide.Baseline(card("h100_sxm"), plan)


def figure(decision: Decision, name: str) -> DecisionFigure:
    return next(f for f in decision.figures if f.name == name)


class TestSums:
    """Each by hand."""

    def test_an_owner_saves_power_energy_and_cards(self) -> None:
        decision = decide.owner(decide.Estate(100, 0.10, (1e6, 2e6), (0.2,)), baseline())
        assert figure(decision, "saved at 20%").expected == 20
        assert figure(decision, "energy at 20%").expected == pytest.approx(20_000 * 8760 * 0.10)
        payback = figure(decision, "pays at 20%, energy")
        assert payback.low == pytest.approx(12e6 / 17_520_000)
        assert payback.high == pytest.approx(24e6 / 17_520_000)
        today = baseline()
        assert today.watts == 1730
        cards = 0.2 * 100e6 / 1730
        assert figure(decision, "cards at 20%").expected == pytest.approx(
            cards * (today.plan.usd_per_hour or 0) / today.plan.count * 8760
        )

    def test_a_port_costs_weeks_and_has_a_price_to_beat(self) -> None:
        port = decide.Port(Move(2, 2, 5000), Move(6, 2, 5000), 10_000, 12, theirs=0.5)
        today = baseline()
        assert today.plan.speed is not None
        assert today.plan.speed.usd_per_million_output is not None
        ours = today.plan.speed.usd_per_million_output.expected
        decision = decide.cloud_chip(port, today)
        moving, below, pays = (figure(decision, n) for n in ("moving", "must be below", "pays after"))
        assert (moving.low, moving.high) == (20_000, 60_000)
        assert below.low == pytest.approx(ours - 60_000 / 120_000)
        assert below.high == pytest.approx(ours - 20_000 / 120_000)
        assert pays.low == pytest.approx(20_000 / ((ours - 0.5) * 10_000))
        assert pays.high == pytest.approx(60_000 / ((ours - 0.5) * 10_000))

    def test_what_is_not_cheaper_never_pays(self) -> None:
        port = decide.Port(Move(2, 2, 5000), Move(6, 2, 5000), 10_000, 12, theirs=50)
        pays = figure(decide.cloud_chip(port, baseline()), "pays after")
        assert (pays.low, pays.expected, pays.high) == (None, None, None)
        assert amount(pays) == "never"

    def test_tokens_per_watt_are_of_board_and_meter(self) -> None:
        today = baseline()
        assert today.plan.speed is not None
        rate = today.plan.speed.output_tokens_per_second.expected
        decision = decide.decode_service(today)
        assert figure(decision, "per watt, board").expected == pytest.approx(rate / 700)
        assert figure(decision, "per watt, at the meter").expected == pytest.approx(rate / 1730)

    def test_a_startup_s_chip_lacks_evidence_by_its_facts(self) -> None:
        hybrid = atlas_model("Qwen/Qwen3-Next-80B-A3B-Instruct")
        decision = decide.startup([CHIPS["etched_sohu"]], baseline(), hybrid)
        (evidence,) = decision.evidence
        assert len(evidence.missing) == 6
        assert "hybrid" in evidence.missing[-1]
        assert missing_evidence(CHIPS["tpu_v7"], atlas_model("Qwen/Qwen3-32B")) == ()

    def test_a_card_whose_price_nobody_knows_has_no_dollars(self) -> None:
        plan = baseline().plan.model_copy(update={"usd_per_hour": None})
        decision = decide.owner(decide.Estate(100, 0.1, (1e6, 2e6), (0.2,)), decide.Baseline(card("h100_sxm"), plan))
        assert not any(f.name.startswith("cards at") for f in decision.figures)


@pytest.mark.parametrize(
    ("unit", "ends", "text"),
    [
        ("$ per M output", (1.14, 1.0, 1.36), "$1.14 ($1.00 to $1.36) per M output"),
        ("$ a year", (1.4e9, None, None), "$1.4 bn a year"),
        ("months", (None, None, None), "never"),
        ("months", (None, 3.14, None), "3.1 months, or never"),
        ("tokens/s", (1045.0, 878.0, 1187.0), "1,045 (878 to 1,187) tokens/s"),
        ("MW", (2000.0, None, None), "2,000 MW"),
    ],
)
def test_amounts(unit: str, ends: tuple[float | None, float | None, float | None], text: str) -> None:
    expected, low, high = ends
    one = DecisionFigure(
        name="n", unit=unit, expected=expected, low=low, high=high, origin=Origin.COMPUTED, source="here"
    )
    assert amount(one) == text


class TestCommand:
    """As it is typed."""

    @pytest.mark.parametrize("situation", [s.value for s in Situation])
    def test_each_situation_ends_in_figures(self, ask: Ask, situation: str) -> None:
        result = ask("decide", situation, *GPT_OSS)
        assert result.code == ExitCode.OK, result.err
        assert sum(c.isdigit() for c in result.out) > 20
        assert max(map(len, result.out.splitlines())) <= 80
        record = json.loads(ask("decide", situation, *GPT_OSS, "--json").out)
        assert record["situation"] == situation
        assert record["figures"]

    def test_alone_it_lists_the_situations(self, ask: Ask) -> None:
        out = ask("decide").out
        assert all(s.value in out for s in Situation)

    def test_the_cheapest_card_is_the_answer_of_a_gpu_cloud(self, ask: Ask) -> None:
        record = json.loads(ask("decide", "gpu-cloud", *GPT_OSS, "--json").out)
        answer = json.loads(ask(*GPT_OSS, "--json").out)["answer"]["recommended"]
        assert record["figures"][0]["expected"] == answer["usd_per_hour"]

    def test_one_chip_can_be_named(self, ask: Ask) -> None:
        record = json.loads(ask("decide", "startup", *GPT_OSS, "--chip", "sohu", "--json").out)
        assert [e["chip"] for e in record["evidence"]] == ["etched_sohu"]
        every = json.loads(ask("decide", "startup", *GPT_OSS, "--json").out)
        assert [e["chip"] for e in every["evidence"]] == [c.key for c in CHIPS.values() if c.access is Access.CONTRACT]

    @pytest.mark.parametrize(
        "arguments",
        [("owner",), ("nowhere",), ("cloud-chip", "-m", "x", "--weeks", "6-2"), ("owner", "-m", "x", "--gain", "0")],
    )
    def test_bad_input_is_refused(self, ask: Ask, arguments: tuple[str, ...]) -> None:
        result = ask("decide", *arguments)
        assert result.code == ExitCode.USAGE
        assert result.err.startswith("whichgpu: error:")

    def test_nothing_that_serves_is_nothing_to_compare_with(self, ask: Ask) -> None:
        result = ask(
            "decide", "owner", "--model", "deepseek-ai/DeepSeek-V3", "--offline", "--gpu", "T4", "--cards", "1"
        )
        assert result.code != ExitCode.OK
        assert "--gpu" in result.err


class TestNonStarters:
    """The press's rule of thumb beside the chips' own documents."""

    def test_silicon_says_both(self, ask: Ask) -> None:
        out = " ".join(ask("silicon", "--model", "Qwen/Qwen3-Next-80B-A3B-Instruct", "--offline").out.split())
        assert (
            "non-starter for Groq 3 LPU (LPX), Jalapeño, Sohu; the documents of Groq 3 LPU (LPX), Jalapeño do not"
            in out
        )
        verdicts = json.loads(ask("silicon", "--model", "Qwen/Qwen3-Next-80B-A3B-Instruct", "--offline", "--json").out)
        assert {v["chip"] for v in verdicts if v["barred_by_rule"]} == {"groq3_lpu", "etched_sohu", "jalapeno"}
        assert "etched_sohu" in {v["chip"] for v in verdicts if v["barred"]}

    def test_of_a_dense_model_the_rule_says_nothing(self, ask: Ask) -> None:
        assert "non-starter" not in ask("silicon", "--model", "Qwen/Qwen3-32B", "--offline").out

    def test_a_fleet_says_it_per_model(self, ask: Ask, tmp_path: Path) -> None:
        models = ["Qwen/Qwen3-32B", "openai/gpt-oss-120b"]
        (tmp_path / "served.txt").write_text("\n".join(models))
        record = json.loads(ask("fleet", str(tmp_path / "served.txt"), "--offline", "--json").out)
        by_model = {m["model"]: m["non_starter_for"] for m in record["models"]}
        assert by_model["Qwen/Qwen3-32B"] == {"by_rule": [], "by_documents": []}
        assert "etched_sohu" in by_model["openai/gpt-oss-120b"]["by_rule"]
        assert by_model["openai/gpt-oss-120b"]["by_documents"] == []
