"""The bundled atlas against published figures: parameters as the Hub counts them, active ones as publishers say."""

from __future__ import annotations

import pytest

from whichgpu import assets
from whichgpu.catalog.atlas import Atlas
from whichgpu.catalog.atlas_index import FILE_NAME
from whichgpu.inspect.records import Grade, ModelClass

ATLAS = Atlas(assets.read(FILE_NAME))

TOTALS = {
    # Hub API, safetensors.total, read 2026-11
    "deepseek-ai/DeepSeek-R1": 684_489_845_504,
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "meta-llama/Llama-3.1-70B-Instruct": 70_553_706_496,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "Qwen/Qwen3-235B-A22B": 235_093_634_560,
    "Qwen/Qwen3-Next-80B-A3B-Instruct": 81_324_862_720,
    "mistralai/Mixtral-8x22B-Instruct-v0.1": 140_630_071_296,
    "google/gemma-2b-it": 2_506_172_416,
    "tiiuae/falcon-180B-chat": 179_522_565_120,
    "HuggingFaceTB/SmolLM3-3B": 3_075_098_624,
    "LiquidAI/LFM2-1.2B": 1_170_340_608,
    "moonshotai/Kimi-Linear-48B-A3B-Instruct": 49_122_681_728,
    "MiniMaxAI/MiniMax-M1-80k": 456_089_655_296,
    "ai21labs/Jamba-v0.1": 51_570_323_328,
    "Qwen/Qwen3.6-35B-A3B": 35_951_822_704,
    "bigscience/bloom": 176_247_271_424,
    "BAAI/bge-reranker-large": 559_891_971,
    "openai/gpt-oss-20b": 20_914_757_184,
    "XiaomiMiMo/MiMo-7B-RL": 7_833_409_536,
    "allenai/Olmo-3-7B-Instruct": 7_298_011_136,
    "meta-llama/Llama-3.2-11B-Vision-Instruct": 10_670_220_835,
    "microsoft/Phi-3-vision-128k-instruct": 4_146_621_440,
    "THUDM/chatglm2-6b": 6_243_620_700,
}


@pytest.mark.parametrize("name", TOTALS)
def test_totals_within_half_a_percent(name: str) -> None:
    found = ATLAS.find(name)
    assert found is not None
    assert found.parameters.total.value == pytest.approx(TOTALS[name], rel=0.005)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("deepseek-ai/DeepSeek-V3", 37),  # DeepSeek-V3 technical report
        ("deepseek-ai/DeepSeek-V4-Pro", 49),  # publisher's model card
        ("deepseek-ai/DeepSeek-V4-Flash", 13),
        ("Qwen/Qwen3-235B-A22B", 22),
        ("mistralai/Mixtral-8x7B-v0.1", 12.9),  # Mixtral of Experts, arXiv 2401.04088
        ("moonshotai/Kimi-K2-Instruct", 32),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 17),
    ],
)
def test_active_parameters_as_published(name: str, billions: float) -> None:
    found = ATLAS.find(name)
    assert found is not None
    assert found.parameters.active.value == pytest.approx(billions * 1e9, rel=0.07)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("Qwen/Qwen3-32B", {ModelClass.DENSE}),
        ("openai/gpt-oss-120b", {ModelClass.MOE}),
        ("state-spaces/mamba-2.8b-hf", {ModelClass.SSM}),
        ("LiquidAI/LFM2-1.2B", {ModelClass.HYBRID}),
        ("Qwen/Qwen3.5-122B-A10B", {ModelClass.MULTIMODAL, ModelClass.HYBRID, ModelClass.MOE}),
        ("black-forest-labs/FLUX.1-dev", {ModelClass.DIFFUSION}),
        ("sentence-transformers/all-MiniLM-L6-v2", {ModelClass.ENCODER}),
        ("google-t5/t5-base", {ModelClass.ENCODER_DECODER}),
        ("openai/whisper-tiny", {ModelClass.ENCODER_DECODER, ModelClass.MULTIMODAL}),
        ("google/gemma-3-27b-it", {ModelClass.MULTIMODAL, ModelClass.DENSE}),
    ],
)
def test_classes(name: str, classes: set[ModelClass]) -> None:
    found = ATLAS.find(name)
    assert found is not None
    assert set(found.classes) - {ModelClass.DENSE} == classes - {ModelClass.DENSE}
    assert all(e.because and e.where for e in found.evidence)


def test_the_atlas_is_what_it_promises() -> None:
    assert len(ATLAS) >= 200
    assert len(assets.read(FILE_NAME)) < 1_000_000
    families = (
        "gpt-oss-20b",
        "DeepSeek-V3.2",
        "V4-Flash",
        "Llama-4",
        "Mixtral",
        "gemma-3",
        "GLM-",
        "Kimi",
        "MiniMax",
        "Nemotron",
    )
    names = ATLAS.names()
    assert [f for f in families if not any(f in n for n in names)] == []


def test_every_entry_loads_and_says_how_it_is_known() -> None:
    for name in ATLAS.names():
        found = ATLAS.find(name)
        assert found is not None
        assert found.grade is not Grade.NOTHING
        assert found.source.read_on is not None
        assert found.source.endpoint is None
        assert found.parameters.total.value


def test_look_ups_are_kind() -> None:
    assert ATLAS.find("qwen/qwen3-32b") is not None
    assert ATLAS.find("no/such") is None
    assert "Qwen/Qwen3-32B" in ATLAS.similar("Qwen/Qwen-32B")
