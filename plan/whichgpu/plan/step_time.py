"""How fast a layout serves in the steady state: the times of a step's kernels added up, and what vLLM spends beside them.

Per decoding step of B sequences: multiplications, attention over the caches, experts touched, all-reduces, and the host; while
sequences come and go, every step also carries B / output prefills. Nothing of it is fitted to whole runs but ``Host``, whose
constants each have a meaning and a bound (benchmarks/serving.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from whichgpu.plan.kernel_times import BLUNT, Kernel, KernelTimes, Links, Rates, Spent, spent
from whichgpu.plan.operations import Experts, Matrix, Operations
from whichgpu.plan.records import Accelerator, Layout

_CHUNK = 8192
"""Tokens of a prompt that are read in at once (vLLM's max_num_batched_tokens on large cards)."""

_TOKEN_BYTES = 2.0
"""Of one activation in an exchange between cards."""


@dataclass(frozen=True, slots=True)
class Host:
    """What a step costs beside its large kernels. Seconds."""

    normed_layer: float
    """Per layer that normalises queries and keys."""
    sequence: float
    """Per sequence and step: sampling, detokenising, bookkeeping."""
    step: float
    """Per step: scheduling, launching the graph."""
    prefill: float
    """Share of a prompt's time alone that it costs the others: it shares their reads of the weights."""
    first: float
    """Per request: tokenising, scheduling, the way to the server and back."""
    arrival: float
    """Steps that a request waits for: half of the one under way, and its own sampling."""
    opening: float
    """Share of the prompts of a burst that the median request of it waits for."""


class Machine(NamedTuple):
    """What a step runs on."""

    card: Accelerator
    layout: Layout
    times: KernelTimes
    rates: Rates
    links: Links
    host: Host


class Load(NamedTuple):
    """Sequences of one replica under way, and tokens of each."""

    running: float
    prompt: int
    output: int
    cached: int = 0
    """Tokens of each prompt that are found in the prefix cache."""


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
    own_prefill: float
    """The same of its own, which delays its first token and no other."""
    prompt: float
    """One prompt alone, which no part of ``total`` holds."""

    @property
    def per_turn(self) -> float:
        """Seconds per output token of a sequence's whole stay: its own prompt too."""
        return self.total + self.own_prefill

    @property
    def total(self) -> float:
        return self.weights + self.compute + self.cache + self.links + self.overhead + self.prefill

    @property
    def limit(self) -> str:
        """What takes longest."""
        parts = {
            "memory bandwidth (weights)": self.weights,
            "compute": self.compute,
            "memory bandwidth (KV cache)": self.cache,
            "links between cards": self.links,
            "vLLM's overheads": self.overhead,
            "prefill": self.prefill,
        }
        return max(parts, key=lambda k: parts[k])


def step_time(operations: Operations, machine: Machine, load: Load) -> Step:
    """Time per output token."""
    layout, host = machine.layout, machine.host
    stages, ranks = layout.pipeline_parallel, layout.data_parallel
    local = max(1.0, load.running / ranks)
    batch = max(1.0, local / stages)
    padded = padded_batch(batch)
    context = load.prompt + load.output / 2
    multiplied = _matrices(operations, machine, padded)
    routed = _experts(operations.experts, machine, padded * ranks)
    attended = _decode(operations, machine, batch, context)
    weights = multiplied.and_(routed)
    overhead = (
        weights.launch
        + attended.launch
        + operations.mixing_sites * machine.times.mixing.launch
        + operations.normed_layers * host.normed_layer
        + batch * host.sequence
        + host.step / stages
    )
    alone = prefill_time(operations, machine, load.prompt, load.cached)
    each = host.prefill * alone / stages / load.output
    return Step(
        weights=weights.memory * stages,
        compute=(weights.compute + attended.compute) * stages,
        cache=attended.memory * stages,
        links=_exchanges(operations, machine, padded) * stages,
        overhead=overhead * stages,
        prefill=each * (local - 1),
        own_prefill=each,
        prompt=alone,
    )


def first_token(step: Step, at_once: float, host: Host) -> float:
    """Seconds to the first token of a request that arrives at a steady load, or beside ``at_once`` others."""
    return host.first + step.prompt * (1.0 + host.opening * at_once) + host.arrival * step.total


def least_time(operations: Operations, machine: Machine, load: Load) -> float:
    """Seconds per token that no engine can beat: each byte once at the memory's rate, each FLOP at the dense rate."""
    rates, layout = machine.rates, machine.layout
    batch = max(1.0, load.running / layout.data_parallel / layout.pipeline_parallel)
    experts = operations.experts
    drawn = experts.touched(batch * layout.data_parallel, _FEWEST) * experts.stored if experts else 0.0
    moved = sum(m.stored for m in operations.matrices) + drawn + batch * operations.read(load.prompt + load.output / 2)
    compute = sum(2.0 * batch * m.parameters / rates.of(m.key) for m in operations.matrices)
    return max(moved / rates.memory, compute) * layout.pipeline_parallel


_FEWEST = 0.5
"""Exponent of the tokens in the experts that they touch at the very least."""


def padded_batch(batch: float) -> float:
    """Return the size of the graph that a batch runs in: 1, 2, 4, then every 8, from 256 every 16 (vLLM 0.33 config/vllm.py);
    larger ones run without."""
    if batch <= _SMALL_GRAPHS[-1]:
        return float(next(size for size in _SMALL_GRAPHS if batch <= size))
    if batch > _LARGEST_GRAPH:
        return batch
    stride = 8 if batch <= _FINE_GRAPHS else 16
    return float(-(-batch // stride) * stride)


_SMALL_GRAPHS, _FINE_GRAPHS, _LARGEST_GRAPH = (1, 2, 4), 256, 512


def prefill_time(operations: Operations, machine: Machine, prompt: int, cached: int = 0) -> float:
    """Seconds for one prompt alone, over all pipeline stages; its first ``cached`` tokens are attended to, not computed."""
    new = max(1, prompt - cached)  # vLLM computes the last token in any case
    chunks = -(-new // _CHUNK)
    tokens = new / chunks
    times, rates, host = machine.times, machine.rates, machine.host
    spent_here = _matrices(operations, machine, tokens).and_(_experts(operations.experts, machine, tokens))
    layers = sum(a.layers for a in operations.attention)
    flop = sum(a.flop * (a.pairs(prompt) - a.pairs(prompt - new)) for a in operations.attention) / chunks
    attended = spent(times.prefill, layers, 0.0, flop, (rates.memory, rates.bf16))
    scanned = spent(
        times.scan, operations.state_layers, 0.0, _scan_flop(operations, tokens), (rates.memory, rates.bf16)
    )
    mixed = operations.mixing_sites * times.mixing.launch * max(1.0, tokens / _MIXED_TOKENS)
    kernels = spent_here.total + attended.total + scanned.total + mixed
    whole = kernels + operations.normed_layers * host.normed_layer + host.step + _exchanges(operations, machine, tokens)
    return whole * chunks * machine.layout.pipeline_parallel


_MIXED_TOKENS = 512
"""Tokens up to which hyper-connections take no longer than for one (aiconfigurator-core's table)."""

_SCAN_FLOP = 8.0
"""Per element of a recurrent state and token of a prompt: the products of the chunked delta rule."""


def _scan_flop(operations: Operations, tokens: float) -> float:
    return _SCAN_FLOP * operations.state / 2 / 4 * tokens


def _matrices(operations: Operations, machine: Machine, tokens: float) -> Spent:
    result = Spent()
    for matrix in operations.matrices:
        result = result.and_(_matrix(matrix, machine, tokens))
    return result


def _matrix(matrix: Matrix, machine: Machine, tokens: float) -> Spent:
    moved = matrix.stored + _TOKEN_BYTES * tokens * matrix.width
    kernel = machine.times.matrices[matrix.key]
    flop = 2.0 * tokens * matrix.parameters
    return spent(kernel, matrix.launches, moved, flop, (machine.rates.memory, machine.rates.of(matrix.key)))


def _experts(experts: Experts | None, machine: Machine, tokens: float) -> Spent:
    """Grouped kernels over all tokens of a step, of all data-parallel ranks."""
    if experts is None:
        return Spent()
    kernel = machine.times.experts[experts.key]
    moved = experts.stored * experts.touched(tokens, kernel.variety)
    flop = 2.0 * tokens * experts.parameters * experts.top_k / experts.total
    return spent(kernel, experts.launches, moved, flop, (machine.rates.memory, machine.rates.of(experts.key)), BLUNT)


def _decode(operations: Operations, machine: Machine, batch: float, context: float) -> Spent:
    """Attention of one new token of each sequence, and steps of recurrent layers."""
    times, rates = machine.times, machine.rates
    result = Spent()
    for latent in (False, True):
        kernel = times.latent if latent else _decode_kernel(times, operations.cache_key)
        kind = [a for a in operations.attention if a.latent == latent]
        moved = batch * sum(r.read(context) for r in operations.readings if r.latent == latent)
        flop = batch * sum(a.latent_flop * min(context, a.span or context) for a in kind)
        result = result.and_(spent(kernel, sum(a.layers for a in kind), moved, flop, (rates.memory, rates.bf16)))
    return result.and_(
        spent(times.state, operations.state_layers, batch * operations.state, 0.0, (rates.memory, rates.bf16))
    )


def _decode_kernel(times: KernelTimes, cache_key: str) -> Kernel:
    return times.decode.get(cache_key) or times.decode["bf16"]


def _exchanges(operations: Operations, machine: Machine, tokens: float) -> float:
    """All-reduces of one stage, its logits, and the exchange of tokens between data-parallel ranks that share experts."""
    layout, links = machine.layout, machine.links
    tp, ranks, stages = layout.tensor_parallel, layout.data_parallel, layout.pipeline_parallel
    size = tokens * operations.hidden * _TOKEN_BYTES
    time = operations.reductions * links.all_reduce(tp, size)
    if tp > 1:
        time += links.gather(tp, min(tokens, 512.0) * operations.vocabulary * _TOKEN_BYTES) / stages
    if ranks > 1 and operations.moe_layers:
        time += 2 * operations.moe_layers * links.gather(tp * ranks, size * ranks)
    if stages > 1:
        time += links.gather(2, size)
    return time
