"""How long one kernel takes: what a card's rates are, and how much of them each kind of kernel reaches.

A kernel takes ``launch + ‖bytes / (bandwidth · memory), FLOP / (rate · compute)‖ₚ``: with p → ∞ the roofline; 4 fits multiplications,
1.5 grouped experts, whose memory and compute hardly overlap. ``kernel_times.json`` has the constants per card;
``benchmarks/kernel_tables.py`` derives them from aiconfigurator-core's operator tables (Apache-2.0), and says how far each is off its table.
Cards without tables take those of their nearest relative (``Accelerator.timed_like``) at their own rates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from whichgpu.plan.errors import FactsError
from whichgpu.plan.records import Accelerator

SHARP, BLUNT = 4.0, 1.5
"""Exponents of the norms: multiplications and attention, grouped experts."""

_HALF_DUPLEX = 2.0
"""``link_gbs`` counts both directions."""

_RING_SHARE = 0.7
"""Of a link's rate one way that all-gathers reach (NCCL; assumed)."""

_GATHER_LAUNCH = 30e-6
"""Seconds of one NCCL collective, whatever its size (scheduler steps of vLLM 0.20 with data-parallel experts)."""

_PCIE_GBS = 50.0
"""Both ways, between cards without links: somewhat below PCIe 4.0 x16 (64)."""


class Spent(NamedTuple):
    """Seconds of one kernel, or of many, by what they wait for."""

    launch: float = 0.0
    memory: float = 0.0
    compute: float = 0.0

    @property
    def total(self) -> float:
        return self.launch + self.memory + self.compute

    def and_(self, other: Spent) -> Spent:
        return Spent(self.launch + other.launch, self.memory + other.memory, self.compute + other.compute)


@dataclass(frozen=True, slots=True)
class Kernel:
    """What one kind of kernel reaches on one card."""

    launch: float
    """Seconds whatever its size."""
    memory: float = 1.0
    """Share of the memory rate; above 1 where caches hold part of it."""
    compute: float = 1.0
    """Share of the dense FLOP rate of its operands."""
    variety: float = 1.0
    """Experts: exponent of the tokens in how many experts they touch; below 1, as tokens agree on experts."""


@dataclass(frozen=True, slots=True)
class Reduction:
    """An all-reduce over some cards."""

    launch: float
    rate: float
    """Bytes of the message per second."""


@dataclass(frozen=True, slots=True)
class KernelTimes:
    """All kernels of one card."""

    matrices: Mapping[str, Kernel]
    """By the format of the weights."""
    experts: Mapping[str, Kernel]
    decode: Mapping[str, Kernel]
    """Attention of one token each over a cache, by the cache's precision."""
    prefill: Kernel
    latent: Kernel
    """The same over latents, where all heads share one cache."""
    state: Kernel
    """A step of a recurrent layer: reads and writes its state."""
    scan: Kernel
    """A recurrent layer over a prompt."""
    mixing: Kernel
    """Hyper-connections around one block."""
    reductions: Mapping[int, Reduction]
    """By the number of cards."""
    measured: bool
    """True where the constants are of this very card."""


class Rates(NamedTuple):
    """A card's own rates, per second."""

    memory: float
    bf16: float
    fp8: float
    fp4: float

    def of(self, key: str) -> float:
        """FLOP/s at which weights of a format are multiplied."""
        return {"fp8": self.fp8, "mxfp4 by fp8": self.fp8, "nvfp4": self.fp4}.get(key, self.bf16)


_FP4_FACTOR = 2.0
"""Dense FP4 rate over FP8: B200, GB200, MI350X and MI355X; B300 and GB300 have 3 (vendor figures), counted as 2."""


def rates_of(card: Accelerator) -> Rates:
    """Return the card's published dense rates."""
    bf16 = (card.bf16_tflops or 0.0) * 1e12
    fp8 = (card.fp8_tflops or card.bf16_tflops or 0.0) * 1e12
    return Rates(card.bandwidth_gbs * 1e9, bf16, fp8, fp8 * _FP4_FACTOR)


def spent(kernel: Kernel, launches: float, moved: float, flop: float, rates: tuple[float, float], sharp: float = SHARP) -> Spent:  # fmt: skip
    """Seconds of some launches that move and compute so much together; ``rates`` are bytes and FLOP per second."""
    memory = moved / (rates[0] * kernel.memory)
    compute = flop / (rates[1] * kernel.compute) if flop else 0.0
    if not compute:
        return Spent(launches * kernel.launch, memory, 0.0)
    longer = max(memory, compute)
    both: float = longer * ((memory / longer) ** sharp + (compute / longer) ** sharp) ** (1 / sharp)
    at = launches * kernel.launch
    return Spent(at, both, 0.0) if memory >= compute else Spent(at, 0.0, both)


class Links:
    """How the cards of a layout reach each other."""

    def __init__(self, card: Accelerator, times: KernelTimes, over_pcie: Mapping[int, Reduction]) -> None:
        self._card, self._times, self._over_pcie = card, times, over_pcie

    def _are_linked(self, cards: int) -> bool:
        return bool(self._card.link_gbs) and cards <= self._card.linked_cards

    def all_reduce(self, cards: int, size: float) -> float:
        """Seconds to add up a message of ``size`` bytes over cards."""
        if cards < 2:
            return 0.0
        table = self._times.reductions if self._are_linked(cards) and self._times.reductions else self._over_pcie
        nearest = table.get(cards) or table[min(table, key=lambda n: (abs(n - cards), n))]
        return nearest.launch + size / nearest.rate

    def gather(self, cards: int, size: float) -> float:
        """Seconds until every card has all ``size`` bytes that they hold in parts."""
        if cards < 2:
            return 0.0
        both_ways = self._card.link_gbs if self._are_linked(cards) else _PCIE_GBS
        launch = max(_GATHER_LAUNCH, self.all_reduce(cards, 0.0))
        return launch + size * (cards - 1) / cards / (both_ways / _HALF_DUPLEX * 1e9 * _RING_SHARE)


class KernelCatalog:
    """The constants of all cards.

    Raises:
        FactsError: damaged facts.
    """

    def __init__(self, data: bytes) -> None:
        try:
            raw = json.loads(data)
            self.date, self.source = str(raw["date"]), str(raw["source"])
            self._times = {key: _times(card) for key, card in raw["cards"].items()}
            self._otherwise = dict(raw["otherwise"])
            self._over_pcie = {key: _reductions(rows) for key, rows in raw["pcie"].items()}
        except (ValueError, KeyError, TypeError) as error:
            raise FactsError("The kernel times are damaged.", "Reinstall whichgpu.") from error

    def of(self, card: Accelerator) -> KernelTimes:
        """Return the constants of a card, or of its nearest relative.

        Raises:
            FactsError: the facts have neither.
        """
        relatives = card.timed_like, card.generation.timed_like, self._otherwise.get(card.vendor, "")
        times = next((self._times[key] for key in relatives if key in self._times), None)
        if times is None:
            raise FactsError(f"No kernel times are known for {card.name}.", "Name a known card as timed_like.")
        return times

    def has_tables_of(self, card: Accelerator) -> bool:
        """True where this very card's kernels were measured."""
        own = self._times.get(card.timed_like)
        return own is not None and own.measured and card.known_key == card.timed_like

    def is_derived(self, card: Accelerator) -> bool:
        """True where a card's constants are another's times factors that were chosen for its kind."""
        times = self._times.get(card.timed_like)
        return times is not None and not times.measured

    def links(self, card: Accelerator) -> Links:
        """Return how its cards reach each other."""
        over_pcie = self._over_pcie.get(card.vendor, self._over_pcie["nvidia"])
        return Links(card, self.of(card), over_pcie)


def _kernel(raw: Mapping[str, float]) -> Kernel:
    return Kernel(
        float(raw["launch_us"]) * 1e-6,
        float(raw.get("memory", 1.0)),
        float(raw.get("compute", 1.0)),
        float(raw.get("variety", 1.0)),
    )


def _kernels(raw: Mapping[str, Any]) -> dict[str, Kernel]:
    return {key: _kernel(one) for key, one in raw.items()}


def _reductions(raw: Mapping[str, Mapping[str, float]]) -> dict[int, Reduction]:
    return {int(n): Reduction(float(one["launch_us"]) * 1e-6, float(one["gbs"]) * 1e9) for n, one in raw.items()}


def _times(raw: Mapping[str, Any]) -> KernelTimes:
    return KernelTimes(
        matrices=_kernels(raw["matrices"]),
        experts=_kernels(raw["experts"]),
        decode=_kernels(raw["decode"]),
        prefill=_kernel(raw["prefill"]),
        latent=_kernel(raw["latent"]),
        state=_kernel(raw["state"]),
        scan=_kernel(raw["scan"]),
        mixing=_kernel(raw["mixing"]),
        reductions=_reductions(raw["reductions"]),
        measured=raw["origin"] == "measured",
    )
