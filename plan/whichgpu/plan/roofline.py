"""How fast a layout serves: a roofline of bytes and FLOP with fitted factors, in the steady state.

Formulas: per decoding step of B sequences, time = max(weights, compute) + cache + links + overheads; while sequences
come and go, every step also carries B / output prefills. The factors say how much of a card's published rates vLLM's
kernels reach, and what it spends beside them. ``benchmarks/serving.py --fit`` calibrates them on public measurements:
it starts from values set by hand, and only those that the rows decide move far (see docs/accuracy.md).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from whichgpu.plan.errors import FactsError
from whichgpu.plan.records import Accelerator, Layout
from whichgpu.plan.step_work import StepWork

_PCIE_GBS = 50.0
"""Two-way rate between cards without links. Assumed: somewhat below PCIe 4.0 x16 both ways (64); not measured."""


_MEMORY_SHARE, _FLOP_SHARE = 0.77, 0.6
"""Shares of the cards in the fit, to which those of other cards are relative (accelerators.json: memory_share)."""


@dataclass(frozen=True, slots=True)
class Factors:
    """What the rates are multiplied by, and what a step costs beside them. Times in seconds."""

    bandwidth: float
    """Share of the memory rate that reading weights reaches."""
    cache: float
    """Share of the memory rate that attention over the cache reaches."""
    unpacking: float
    """Share of ``bandwidth`` that remains where four-bit weights are unpacked to BF16."""
    experts: float
    """Share of ``bandwidth`` that grouped expert kernels reach: many small matrices."""
    prefill: float
    """Share of the FLOP rate in prefills."""
    prefill_experts: float
    """Share of the FLOP rate of grouped expert kernels."""
    link_rate: float
    """Share of the links' rate in all-reduces."""
    link_latency: float
    """Per all-reduce."""
    step: float
    """Per step: scheduling, sampling, launching the graph."""
    layer: float
    """Per layer with a dense feed-forward block."""
    moe_layer: float
    """Per layer with experts: routing, sorting, two grouped kernels."""
    fused_moe_layer: float
    """Per layer with experts in one fused kernel."""
    latent_layer: float
    """Per layer with latent attention, beside the others: projections into and out of the latent space."""
    sequence: float
    """Per sequence and step: sampling, detokenising, bookkeeping."""
    variety: float
    """Exponent of the batch in the share of experts that it touches; below 1, as tokens of a batch agree on experts."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Factors, how far they were off, and where they hold."""

    factors: Factors
    low: float
    high: float
    """Measured time per output token over predicted: the 10th and 90th percentile for models that were not in the fit."""
    concurrency: int
    """Largest number of sequences per replica that the measurements cover."""
    date: str
    capabilities: tuple[str, ...]
    """Compute capabilities of the cards in the measurements."""

    def covers(self, card: Accelerator) -> bool:
        """True for the kinds of cards that the measurements are of."""
        return card.capability in self.capabilities

    def factors_of(self, card: Accelerator) -> Factors:
        """Return the factors of a card: as fitted, or scaled by what is known of a kind that was not in the fit."""
        if self.covers(card):
            return self.factors
        memory = (card.memory_share or _MEMORY_SHARE) / _MEMORY_SHARE
        flop = (card.flop_share or _FLOP_SHARE) / _FLOP_SHARE
        fitted = self.factors
        return replace(
            fitted,
            bandwidth=fitted.bandwidth * memory,
            cache=fitted.cache * memory,
            experts=fitted.experts * memory,
            prefill=fitted.prefill * flop,
            prefill_experts=fitted.prefill_experts * flop,
        )


def parse_calibration(data: bytes) -> Calibration:
    """Parse ``throughput.json``.

    Raises:
        FactsError: damaged facts.
    """
    try:
        raw = json.loads(data)
        factors = Factors(**{f.name: float(raw["factors"][f.name]["value"]) for f in fields(Factors)})
        low, high = map(float, raw["error"])
        capabilities = tuple(map(str, raw["capabilities"]))
        return Calibration(factors, low, high, int(raw["concurrency"]), str(raw["date"]), capabilities)
    except (ValueError, KeyError, TypeError) as error:
        raise FactsError("The throughput facts are damaged.", "Reinstall whichgpu.") from error


@dataclass(frozen=True, slots=True)
class Step:
    """Where the time of one output token goes, in seconds."""

    weights: float
    compute: float
    cache: float
    links: float
    overhead: float
    prefill: float
    """Of other sequences' prompts, spread over the tokens."""
    prompt: float
    """One prompt alone, which no part of ``total`` holds."""

    @property
    def total(self) -> float:
        return max(self.weights, self.compute) + self.cache + self.links + self.overhead + self.prefill

    @property
    def limit(self) -> str:
        """What takes longest."""
        parts = {
            "memory bandwidth (weights)": self.weights if self.weights >= self.compute else 0.0,
            "compute": self.compute if self.compute > self.weights else 0.0,
            "memory bandwidth (KV cache)": self.cache,
            "links between cards": self.links,
            "vLLM's overheads": self.overhead,
            "prefill": self.prefill,
        }
        return max(parts, key=lambda k: parts[k])


class Machine(NamedTuple):
    """What a step runs on."""

    card: Accelerator
    layout: Layout
    factors: Factors


class Load(NamedTuple):
    """Sequences of one replica under way, and tokens of each."""

    running: float
    prompt: int
    output: int


def step_time(work: StepWork, machine: Machine, load: Load) -> Step:
    """Time per output token."""
    layout, factors = machine.layout, machine.factors
    stages, ranks = layout.pipeline_parallel, layout.data_parallel
    local = max(1.0, load.running / ranks)
    batch = max(1.0, local / stages)
    rate = machine.card.bandwidth_gbs * 1e9
    slow = factors.unpacking if work.rates.unpacked else 1.0
    expert_bytes = work.experts * work.touched(batch * ranks, factors.variety)
    weights = work.weights / (rate * factors.bandwidth * (slow if not work.experts else 1.0))
    weights += expert_bytes / (rate * factors.experts * slow)
    compute = batch * (
        work.dense_flop / (work.rates.dense * factors.prefill)
        + work.expert_flop / (work.rates.experts * factors.prefill_experts)
    )
    cache = batch * work.cached(load.prompt + load.output / 2) / (rate * factors.cache)
    overhead = (
        factors.step / stages
        + (work.layers - work.moe_layers) * factors.layer
        + work.moe_layers * (factors.fused_moe_layer if work.rates.fused else factors.moe_layer)
        + work.latent_layers * factors.latent_layer
        + batch * factors.sequence
    )
    links = _links(work, machine, batch)
    alone = prefill_time(work, machine, load.prompt)
    return Step(
        weights=weights * stages,
        compute=compute * stages,
        cache=cache * stages,
        links=links * stages,
        overhead=overhead * stages,
        prefill=local * alone / stages / load.output,
        prompt=alone,
    )


def _links(work: StepWork, machine: Machine, tokens: float) -> float:
    """All-reduces of one stage: two large ones per layer under tensor parallelism, two exchanges per expert layer under DP."""
    card, layout, factors = machine
    tp = layout.tensor_parallel
    rate = (card.link_gbs or _PCIE_GBS) * 1e9 * factors.link_rate
    size = tokens * work.hidden * 2.0
    time = 0.0
    if tp > 1:
        time += work.collectives * work.layers * factors.link_latency
        time += 2 * work.layers * (2 * size * (tp - 1) / tp / rate)
    if layout.data_parallel > 1 and work.moe_layers:
        time += 2 * work.moe_layers * (factors.link_latency + size * work.top_k / rate)
    return time


def prefill_time(work: StepWork, machine: Machine, prompt: int) -> float:
    """Seconds for one prompt alone, over all pipeline stages."""
    card, layout, factors = machine
    bf16 = (card.bf16_tflops or 0.0) * 1e12
    compute = prompt * (
        work.dense_flop / (work.rates.dense * factors.prefill)
        + work.expert_flop / (work.rates.experts * factors.prefill_experts)
    )
    attention = work.prefill_flop(prompt) / (bf16 * factors.prefill)
    read = (work.weights + work.experts * work.touched(prompt)) / (card.bandwidth_gbs * 1e9 * factors.bandwidth)
    return (max(compute, read) + attention + _links(work, machine, prompt)) * layout.pipeline_parallel
