"""Custom chips: dated facts, and verdicts that follow from a model's architecture."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Result
from tests.planning import ATLAS, model
from whichgpu import assets
from whichgpu.inspect.records import ModelClass
from whichgpu.plan.errors import FactsError
from whichgpu.plan.silicon import Access, Outlook, parse_silicon, serves_by_design, verdict_on

Run = Callable[..., Result]
CHIPS = {c.key: c for c in parse_silicon(assets.read("silicon.json"))}


def outlook(chip: str, name: str) -> Outlook:
    return verdict_on(CHIPS[chip], model(name)).outlook


def test_the_articles_chips_are_there_with_dates_and_sources() -> None:
    asked = "jalapeno trainium2 trainium3 inferentia2 tpu_v5e tpu_v5p tpu_v6e tpu_v7 maia100 maia200 mtia groq_lpu"
    asked += " groq3_lpu etched_sohu cerebras_wse3 sambanova_sn40l qualcomm_ai200 ascend_910b gaudi3 apple_m"
    assert set(asked.split()) <= set(CHIPS)
    assert all(c.as_of >= "2026-11-22" and c.source and c.who and c.rentable for c in CHIPS.values())


@pytest.mark.parametrize(
    ("chip", "name", "expected"),
    [
        ("etched_sohu", "state-spaces/mamba-2.8b-hf", Outlook.ARCHITECTURE),
        ("etched_sohu", "Qwen/Qwen3-Next-80B-A3B-Instruct", Outlook.ARCHITECTURE),
        ("etched_sohu", "meta-llama/Llama-3.1-8B-Instruct", Outlook.CONTRACT),
        ("jalapeno", "meta-llama/Llama-3.1-8B-Instruct", Outlook.CAPTIVE),
        ("jalapeno", "black-forest-labs/FLUX.1-dev", Outlook.CAPTIVE),
        ("groq_lpu", "openai/gpt-oss-120b", Outlook.TOKENS),
        ("groq_lpu", "black-forest-labs/FLUX.1-dev", Outlook.ARCHITECTURE),
        ("trainium2", "openai/gpt-oss-120b", Outlook.USABLE),
        ("trainium2", "deepseek-ai/DeepSeek-V3", Outlook.UNPROVEN),
        ("tpu_v6e", "Qwen/Qwen3-32B", Outlook.USABLE),
        ("tpu_v6e", "state-spaces/mamba-2.8b-hf", Outlook.UNPROVEN),
        ("ascend_910c", "deepseek-ai/DeepSeek-V3", Outlook.USABLE),
        ("mtia", "Qwen/Qwen3-32B", Outlook.CAPTIVE),
    ],
)
def test_verdicts(chip: str, name: str, expected: Outlook) -> None:
    assert outlook(chip, name) is expected


def test_chips_that_the_weights_fill() -> None:
    """Llama-3.1-70B is 141.1 GB in BF16 (its index: total_size 141,107,412,992)."""
    llama = model("meta-llama/Llama-3.1-70B-Instruct")
    assert verdict_on(CHIPS["groq_lpu"], llama).chips == 614  # 0.23 GB of SRAM each
    assert verdict_on(CHIPS["cerebras_wse3"], llama).chips == 4
    assert verdict_on(CHIPS["tpu_v7"], llama).chips == 1


def test_no_transformer_only_chip_serves_a_recurrent_model() -> None:
    chip = CHIPS["etched_sohu"]
    found = [m for name in ATLAS.names() if (m := ATLAS.find(name)) is not None]
    served = [m for m in found if serves_by_design(chip, m)]
    recurrent = {ModelClass.SSM, ModelClass.HYBRID, ModelClass.DIFFUSION}
    assert len(served) > 250
    assert not any(recurrent.intersection(m.classes) for m in served)
    assert not serves_by_design(chip, model("Qwen/Qwen3-Next-80B-A3B-Instruct"))


def test_captive_chips_are_for_nobody() -> None:
    for name in ATLAS.names()[::20]:
        for chip in (c for c in CHIPS.values() if c.access is Access.CAPTIVE):
            assert outlook(chip.key, name) is Outlook.CAPTIVE


def test_the_command(ask: Run) -> None:
    table = ask("silicon").out
    assert max(map(len, table.splitlines())) <= 80
    assert "OpenAI alone" in table
    whole = ask("silicon", "Jalapeño").out
    assert "not sold to outsiders" in whole
    assert "source" in whole
    verdicts = json.loads(ask("silicon", "-m", "Qwen/Qwen3-Next-80B-A3B-Instruct", "--offline", "--json").out)
    assert {v["chip"]: v["outlook"] for v in verdicts}["etched_sohu"] == "not for this architecture"
    text = ask("silicon", "-m", "Qwen/Qwen3-32B", "--offline").out
    assert max(map(len, text.splitlines())) <= 80
    assert "Did you mean etched_sohu" in ask("silicon", "etched_sohoo").err


def test_damaged_facts_are_one_sentence() -> None:
    with pytest.raises(FactsError):
        parse_silicon(b'{"chips": [{"key": 1}]}')
