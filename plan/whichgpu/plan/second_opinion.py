"""A second opinion on speed: aiconfigurator-core (extra), NVIDIA's tables of measured kernels, beside our sum of kernels.

It is asked only for models whose config and cards whose tables it ships, as published, tensor parallel alone. Its
answer is rejected with a word where it is more than twice as slow as ours (its tables have such errors for
block-FP8 on Blackwell) or more than 20 % faster than the card's rates allow.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any, NamedTuple

from whichgpu.inspect.errors import MissingExtraError
from whichgpu.inspect.records import Inspection
from whichgpu.plan.operations import Operations
from whichgpu.plan.records import Accelerator, Layout, Plan, Precision, SecondOpinion
from whichgpu.plan.step_time import Load, Machine, least_time

TOO_SLOW, TOO_FAST = 2.0, 1.2
"""Factors on our time, and on the rate that physics allows."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What both opinions are about."""

    inspection: Inspection
    precision: Precision
    card: Accelerator
    layout: Layout
    running: int
    prompt: int
    output: int


def second_opinion(
    plan: Plan, inspection: Inspection, machine: Machine, operations: Operations | None
) -> SecondOpinion:
    """Return what aiconfigurator-core says of a plan whose own speed is known, or why it says nothing.

    Raises:
        FactsError: the package is not installed.
    """
    if plan.speed is None or plan.layout is None or operations is None:
        return _silent("there is no speed to compare with")
    speed = plan.speed
    question = Comparison(
        inspection, plan.precision, machine.card, plan.layout, speed.running, speed.prompt_tokens, speed.output_tokens
    )
    tpot = time_per_token(question)
    if isinstance(tpot, str):
        return _silent(tpot)
    load = Load(speed.running, speed.prompt_tokens, speed.output_tokens)
    physics = least_time(operations, machine, load)
    rejected = rejection(tpot, speed.tpot_ms.expected, physics * 1e3)
    return SecondOpinion(
        source=_source(), tpot_ms=tpot, output_tokens_per_second=1e3 * speed.running / tpot, note=rejected
    )


def rejection(tpot_ms: float, ours_ms: float, physics_ms: float) -> str | None:
    """Why a time per token is not to be believed, or ``None``."""
    if tpot_ms > TOO_SLOW * ours_ms:
        return f"rejected: {tpot_ms / ours_ms:.1f} × slower than ours"
    if tpot_ms * TOO_FAST < physics_ms:
        return f"rejected: {physics_ms / tpot_ms:.1f} × faster than the card's rates allow"
    return None


def time_per_token(comparison: Comparison) -> float | str:
    """Return milliseconds per output token in the steady state (decoding, and others' prefills), or why there is none.

    Raises:
        FactsError: the package is not installed.
    """
    try:
        from aiconfigurator_core.sdk import EngineHandle
    except ImportError as error:
        raise MissingExtraError("aiconfigurator-core", "second-opinion") from error
    logging.getLogger("aiconfigurator_core").setLevel(logging.CRITICAL)
    system = comparison.card.names.get("aiconfigurator")
    if system is None:
        return f"it has no vLLM tables of {comparison.card.name}"
    layout = comparison.layout
    if layout.pipeline_parallel > 1 or layout.data_parallel > 1:
        return "it is asked for tensor parallel alone"
    if comparison.precision is not Precision.PUBLISHED:
        return "it is asked for checkpoints as published"
    shipped_name = _known_as(comparison.inspection)
    if shipped_name is None:
        return "it does not know this model"
    blocks = comparison.inspection.architecture.feed_forwards if comparison.inspection.architecture else ()
    mixture = any(f.kind == "moe" for f in blocks)
    handle = _compiled(
        _Build(EngineHandle, shipped_name, system, layout.tensor_parallel, layout.expert_parallel, mixture)
    )
    if isinstance(handle, str):
        return handle
    return _mixed_time(handle, comparison)


def _mixed_time(handle: Any, comparison: Comparison) -> float | str:
    try:
        step = float(handle.decode_step_latency(comparison.running, comparison.prompt, comparison.output))
        prefill = float(handle.predict_prefill_latency(1, comparison.prompt))
    except Exception as error:  # noqa: BLE001 - a foreign package's tables raise anything
        return f"its tables fail here ({type(error).__name__})"
    return (
        step + comparison.running * prefill / comparison.output
        if step > 0 and prefill > 0
        else "its tables give no time"
    )


class _Build(NamedTuple):
    """One of its engines."""

    handle: Any
    name: str
    system: str
    cards: int
    whole_experts: bool
    mixture: bool


@cache
def _compiled(build: _Build) -> Any:
    """Return its engine, built once, or why it refuses."""
    experts = {}
    if build.mixture:
        whole = build.whole_experts
        experts = {"moe_tp_size": 1 if whole else build.cards, "moe_ep_size": build.cards if whole else 1}
    try:
        return build.handle.compile(build.name, build.system, "vllm", tp_size=build.cards, **experts)
    except Exception as error:  # noqa: BLE001 - a foreign package refuses models in many ways
        return f"it refuses this layout ({type(error).__name__})"


@cache
def _configs() -> dict[str, dict[str, Any]]:
    """The configs that the package ships, by repository."""
    configs: dict[str, dict[str, Any]] = {}
    for entry in files("aiconfigurator_core").joinpath("model_configs").iterdir():
        if entry.name.endswith("_config.json") and not entry.name.endswith("_hf_quant_config.json"):
            configs[entry.name.removesuffix("_config.json").replace("--", "/", 1)] = json.loads(entry.read_text())
    return configs


def _known_as(inspection: Inspection) -> str | None:
    """The name under which it ships this model: its own, or that of an unquantised model of the very same shape."""
    configs = _configs()
    if inspection.source.name in configs:
        return inspection.source.name
    shape = inspection.architecture
    if shape is None or inspection.quantisation is not None:
        return None
    shape_key = (shape.model_type, shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.vocabulary)
    names = (
        "model_type",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
    )
    alike = (
        name
        for name, config in configs.items()
        if "quantization_config" not in config and tuple(config.get(n) for n in names) == shape_key
    )
    return next(alike, None)


def _source() -> str:
    return f"aiconfigurator-core {version('aiconfigurator-core')}"


def _silent(why: str) -> SecondOpinion:
    return SecondOpinion(source=_source(), tpot_ms=None, output_tokens_per_second=None, note=why)
