"""Public measurements beside a plan: the nearest, what we predict for that very point, and what is said where nobody measured."""

from __future__ import annotations

import json

import pytest

from tests.planning import ask, model, plan_for
from whichgpu import assets
from whichgpu.plan.choices import Nearness, Precision
from whichgpu.plan.errors import FactsError
from whichgpu.plan.measurements import Measurements, shape_of

ASSET = assets.read("measurements.json")


def test_the_nearest_load_comes_first_and_ours_stands_beside_it() -> None:
    plan = plan_for(ask("openai/gpt-oss-120b", "b200", concurrency=64, prompt=1024, output=1024, context=2048), "b200")
    assert len(plan.measured) == 5
    first = plan.measured[0]
    assert (first.measurement.concurrency, first.measurement.layout.cards) == (64, 1)
    assert first.near is Nearness.SAME
    assert first.ours_ms == pytest.approx(first.measurement.tpot_ms, rel=0.25)
    assert "InferenceMAX" in first.measurement.source


def test_a_fine_tune_is_known_by_its_shape() -> None:
    base = model("meta-llama/Llama-3.1-70B-Instruct")
    assert shape_of(base) == shape_of(model("meta-llama/Llama-3.3-70B-Instruct")) == "8192x80x64x0x128256"
    assert Measurements(ASSET).near(base, "h200_sxm")
    assert not Measurements(ASSET).near(base, "t4")


def test_other_weights_are_said_and_get_no_figure_of_ours() -> None:
    plan = plan_for(ask("meta-llama/Llama-3.1-70B-Instruct", "h200_sxm"), "h200_sxm", Precision.PUBLISHED)
    assert plan.measured
    assert {n.near for n in plan.measured} == {Nearness.OTHER_WEIGHTS}
    assert all(n.ours_ms is None and n.measurement.weights == "fp8" for n in plan.measured)
    fp8 = plan_for(ask("meta-llama/Llama-3.1-70B-Instruct", "h200_sxm", precision="fp8"), "h200_sxm", Precision.FP8)
    assert all(n.ours_ms is not None for n in fp8.measured)


def test_nothing_measured_is_nothing() -> None:
    assert plan_for(ask("Qwen/Qwen3-32B", "t4"), "t4").measured == ()


@pytest.mark.parametrize("broken", [b"", b"[]", b'{"rows": [[1]]}', ASSET.replace(b',"fp8",', b',"x",')])
def test_damage_is_one_sentence(broken: bytes) -> None:
    with pytest.raises(FactsError, match="damaged"):
        Measurements(broken).near(model("openai/gpt-oss-120b"), "b200")


def test_every_row_can_be_read_and_says_where_it_is_from() -> None:
    raw = json.loads(ASSET)
    assert len(raw["rows"]) > 600
    assert all(source for source in raw["sources"])
    assert not any(row[raw["columns"].index("engine")].startswith("vLLM 2024") for row in raw["rows"])
