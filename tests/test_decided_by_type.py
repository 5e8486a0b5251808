"""What decides is a type: a checkpoint's formats, and the traits of a card's generation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.planning import ONE, card, model, served
from whichgpu import assets
from whichgpu.inspect.config_view import ConfigView
from whichgpu.inspect.quantisation import read_quantisation
from whichgpu.inspect.records import Part, Quantisation, TensorGroup
from whichgpu.inspect.weight_formats import WeightFormat
from whichgpu.plan.case import Case
from whichgpu.plan.choices import Precision
from whichgpu.plan.errors import FactsError
from whichgpu.plan.formats import dense_format, experts_format
from whichgpu.plan.hardware import find, parse_accelerators, parse_generations, read_card
from whichgpu.plan.operations import Works
from whichgpu.plan.prices import card_key
from whichgpu.plan.records import ExpertKernel, Kernels, Support, Workload
from whichgpu.plan.refusals import precision_refusal
from whichgpu.plan.runtime import expert_kernel, kind_of
from whichgpu.plan.sizing import Sizer
from whichgpu.plan.targets import skypilot_name
from whichgpu.tui.desk.facts import load_facts

FACTS = load_facts()
_WORKLOAD = Workload(context=8192, concurrency=1)
_ENGINE = FACTS.engines.of(None)

F = WeightFormat
_EXPERTS = TensorGroup(
    name="layers.*.mlp.experts.*.up_proj.weight",
    part=Part.ROUTED_EXPERTS,
    shape=(64, 64),
    count=8,
    dtype="",
    parameters=4096 * 8,
    bytes=None,
    quantised=True,
)
_DENSE = _EXPERTS.model_copy(update={"name": "layers.*.self_attn.q_proj.weight", "part": Part.ATTENTION, "count": 1})


def _mixed(**algorithms: str) -> dict[str, Any]:
    names = {"experts": "model.layers.0.mlp.experts.0.up_proj", "attention": "model.layers.0.self_attn.q_proj"}
    layers = {names[part]: {"quant_algo": algorithm} for part, algorithm in algorithms.items()}
    return {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers}


@pytest.mark.parametrize(
    ("config", "dense", "experts"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, F.FP8, F.FP8),
        ({"quant_method": "mxfp4"}, None, F.MXFP4),
        ({"quant_method": "gptq", "bits": 3, "group_size": 128}, F.INT4, F.INT4),
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, F.INT8_PACKED, F.INT8_PACKED),
        ({"quant_method": "awq", "bits": 4}, F.INT4, F.INT4),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, F.NF4, F.NF4),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, F.INT8, F.INT8),
        ({"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"}, F.INT4, F.INT4),
        ({"quant_method": "modelopt", "quant_algo": "MXFP8"}, F.MXFP8, F.MXFP8),
        (_mixed(experts="NVFP4", attention="FP8"), F.FP8, F.NVFP4),
        (_mixed(experts="FP8", attention="NVFP4"), F.NVFP4, F.FP8),
        ({"quant_method": "hqq", "bits": 4}, None, None),
    ],
)
def test_formats_are_typed_where_the_config_is_read(config: dict[str, Any], dense: F | None, experts: F | None) -> None:
    published = read_quantisation(ConfigView({"quantization_config": config}, "config.json"), None, {}, 1)
    assert published is not None
    record = published.record_of([_DENSE, _EXPERTS])
    assert (record.format, record.experts_format) == (dense, experts)


_PLACES: dict[F, tuple[float, str, ExpertKernel, ExpertKernel]] = {
    F.FP8: (7.5, "fp8", ExpertKernel.TRITON, ExpertKernel.TRITON),
    F.MXFP8: (7.5, "fp8", ExpertKernel.TRITON, ExpertKernel.TRITON),
    F.INT8: (7.5, "fp8", ExpertKernel.TRITON, ExpertKernel.TRITON),
    F.INT8_PACKED: (7.5, "int8", ExpertKernel.MARLIN, ExpertKernel.TRITON),
    F.INT4: (7.5, "int4", ExpertKernel.MARLIN, ExpertKernel.TRITON),
    F.NF4: (7.5, "int4", ExpertKernel.TRITON, ExpertKernel.TRITON),
    F.NVFP4: (7.5, "int4", ExpertKernel.MARLIN, ExpertKernel.TRITON),
    F.MXFP4: (8.0, "mxfp4", ExpertKernel.TRITON_MXFP4, ExpertKernel.MARLIN),
}
"""Per format: least compute capability, the kernel that multiplies it on Hopper, and the kernels of experts on Hopper and on
Blackwell."""


@pytest.mark.parametrize("weight_format", F)
def test_every_format_has_its_place_wherever_one_decides(weight_format: F) -> None:
    """A new format without a line here, or a line that a place does not keep, fails."""
    least, multiplied, hopper, blackwell = _PLACES[weight_format]
    record = Quantisation(method="any", label="", format=weight_format, experts_format=weight_format, bits=None)
    base = model("Qwen/Qwen3-30B-A3B")
    groups = tuple(g.model_copy(update={"quantised": True}) for g in base.tensors)
    inspection = base.model_copy(update={"quantisation": record, "tensors": groups})
    below = card("h100").model_copy(update={"capability": str(least - 0.5)})
    at_least = card("h100").model_copy(update={"capability": str(least)})
    assert precision_refusal(inspection, below, Precision.PUBLISHED, _ENGINE) is not None
    assert precision_refusal(inspection, at_least, Precision.PUBLISHED, _ENGINE) is None
    work = Works(Sizer(served(inspection))).of(Case(_WORKLOAD, Precision.PUBLISHED, card("h100"), ONE))
    assert work is not None
    assert work.experts is not None
    assert work.experts.key == multiplied
    assert multiplied in {m.key for m in work.matrices}
    assert multiplied in FACTS.calibration.kernels.of(card("h100")).matrices
    kernels = [
        expert_kernel(inspection, Precision.PUBLISHED, kind_of(card(name), _ENGINE, _WORKLOAD))
        for name in ("h100", "b200")
    ]
    assert kernels == [hopper, blackwell]


def test_one_name_for_all_mixers_still_finds_the_experts() -> None:
    """Nemotron 3.5 Lightning lists ``backbone.layers.N.mixer.experts``: 21.5 GB, not 64."""
    weights = model("nvidia/NVIDIA-Nemotron-3.5-Lightning-30B-A3B-NVFP4").weights
    assert weights is not None
    assert weights.total.value == pytest.approx(21.5e9, rel=0.01)


@pytest.mark.parametrize(
    ("label", "formats"),
    [
        ("fp8 128x128", (F.FP8, F.FP8)),
        ("fp8 128x128 + mxfp4 experts", (F.FP8, F.MXFP4)),
        ("modelopt nvfp4 + fp8", (F.FP8, F.NVFP4)),
        ("mxfp4 experts", (None, F.MXFP4)),
        ("bitsandbytes nf4", (F.NF4, F.NF4)),
        ("gguf q4_k_m", (None, None)),
        ("unknown 8-bit", (None, None)),
    ],
)
def test_records_kept_before_formats_were_typed_are_read(label: str, formats: tuple[F | None, F | None]) -> None:
    record = Quantisation.model_validate({"method": "", "label": label, "bits": None})
    assert (record.format, record.experts_format) == formats
    again = Quantisation.model_validate(record.model_dump(mode="json", exclude_defaults=True))
    assert again == record


def test_no_label_decides() -> None:
    """The same checkpoint under a misleading label keeps its kernels, formats and least capability."""
    inspection = model("deepseek-ai/DeepSeek-V3")
    assert inspection.quantisation is not None
    renamed = inspection.quantisation.model_copy(update={"label": "int4 mxfp4 nvfp4 awq"})
    other = inspection.model_copy(update={"quantisation": renamed})
    for name in ("h100", "b200", "mi300x", "t4"):
        kind = kind_of(card(name), _ENGINE, _WORKLOAD)
        before, after = (expert_kernel(i, Precision.PUBLISHED, kind) for i in (inspection, other))
        assert before is after
        refusals = {precision_refusal(i, card(name), Precision.PUBLISHED, _ENGINE) for i in (inspection, other)}
        assert len(refusals) == 1
    assert dense_format(other, Precision.PUBLISHED) is experts_format(other, Precision.PUBLISHED) is F.FP8


def test_every_card_has_a_known_generation_with_its_source() -> None:
    for accelerator in FACTS.accelerators:
        generation = accelerator.generation
        assert generation.source, accelerator.key
        assert Support.UNKNOWN not in (generation.fp8, generation.nvfp4, generation.mxfp4)


def test_a_new_generation_is_one_entry() -> None:
    """Its traits reach kernels, padding and rates without a line of code; an unknown one is refused nothing."""
    raw = json.loads(assets.read("accelerators.json"))
    hopper = next(g for g in raw["generations"] if g["name"] == "Hopper")
    h100 = next(a for a in raw["accelerators"] if a["key"] == "h100_sxm")
    tomorrow = hopper | {"name": "Feynman", "capabilities": ["13.0"], "packed_experts": "triton", "latent_block": 64}
    new, odd = ({**h100, "key": k, "capability": c} for k, c in (("x1", "13.0"), ("x2", "14.0")))
    x1, x2 = parse_accelerators(json.dumps({"generations": [tomorrow], "accelerators": [new, odd]}).encode())
    assert (x1.generation.name, x1.generation.latent_block, x1.generation.mxfp4_padding) == (
        "Feynman",
        64,
        Kernels.TRITON,
    )
    assert x1.generation.packed_experts is ExpertKernel.TRITON
    assert (x2.generation.name, x2.generation.fp8) == ("unknown", Support.UNKNOWN)
    misspelled = {**h100, "generation": "Hoper"}
    with pytest.raises(FactsError):
        parse_accelerators(json.dumps({"accelerators": [misspelled]}).encode(), [card("h100").generation])
    (own,) = parse_accelerators(json.dumps({"accelerators": [h100]}).encode(), [card("h100").generation])
    assert own.generation == card("h100").generation
    (printed,) = parse_accelerators(json.dumps({"accelerators": [card("h100").model_dump(mode="json")]}).encode())
    assert printed == card("h100")


@pytest.mark.parametrize(
    ("name", "sky"),
    [("h100", "H100"), ("a100_40_sxm:80GB", "A100-40-SXM-80GB"), ("a100_80_pcie", "A100-80GB"), ("l40s", "L40S")],
)
def test_other_tools_names_follow_the_card(name: str, sky: str) -> None:
    assert skypilot_name(read_card(name, FACTS.accelerators)[0]) == sky


@pytest.mark.parametrize(
    ("name", "memory", "key"),
    [
        ("A100", None, "a100_40_sxm"),
        ("A100", 80, "a100_80_sxm"),
        ("H100", 93, "h100_nvl"),
        ("GH200", 141, "gh200_144"),
        ("RTXPRO6000", None, "rtx_pro_6000_server"),
        ("H200", None, "h200_sxm"),
        ("H1000", None, None),
    ],
)
def test_price_lists_spell_cards_their_own_way(name: str, memory: float | None, key: str | None) -> None:
    assert card_key(name, memory, FACTS.accelerators) == key


def test_a_card_of_a_known_vendor_alone_keeps_what_all_of_them_have() -> None:
    old = card("mi210").model_dump(mode="json") | {"capability": "gfx1030", "generation": None}
    (accelerator,) = parse_accelerators(json.dumps([old]).encode(), parse_generations(assets.read("accelerators.json")))
    assert accelerator.generation.kubernetes_resource == "amd.com/gpu"
    assert accelerator.generation.mxfp4_padding is Kernels.ROCM
    for precision in (Precision.FP8, Precision.NVFP4):
        assert precision_refusal(model("Qwen/Qwen3-32B"), accelerator, precision, _ENGINE) is not None


@pytest.mark.parametrize(
    ("weight_format", "kernel"),
    [
        (F.INT8_PACKED, ExpertKernel.MARLIN),
        (F.INT4, ExpertKernel.MARLIN),
        (F.INT8, ExpertKernel.TRITON),
        (F.NF4, ExpertKernel.TRITON),
    ],
)
def test_packed_integers_are_marlins(weight_format: F, kernel: ExpertKernel) -> None:
    record = Quantisation(method="any", label="", format=weight_format, experts_format=weight_format, bits=8)
    inspection = model("Qwen/Qwen3-30B-A3B").model_copy(update={"quantisation": record})
    kind = kind_of(card("h100"), _ENGINE, _WORKLOAD)
    assert expert_kernel(inspection, Precision.PUBLISHED, kind) is kernel


def test_gaudi_is_asked_of_kubernetes_by_its_own_name() -> None:
    assert find("gaudi3", FACTS.accelerators).generation.kubernetes_resource == "habana.ai/gaudi"
