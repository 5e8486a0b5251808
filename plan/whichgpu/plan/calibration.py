"""What was measured of speed: kernel times per card, vLLM's own costs, and how far predictions were off."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields

from whichgpu.plan.choices import SpeedBasis
from whichgpu.plan.errors import FactsError
from whichgpu.plan.kernel_times import KernelCatalog, rates_of
from whichgpu.plan.records import Accelerator, Layout
from whichgpu.plan.step_time import Host, Machine


@dataclass(frozen=True, slots=True)
class Calibration:
    """Constants, how far they were off, and where they hold."""

    kernels: KernelCatalog
    host: Host
    ranges: Mapping[SpeedBasis, tuple[float, float]]
    """Measured over predicted time per output token between which 85 % of the rows lie, for models held out."""
    concurrency: int
    """Largest number of sequences per replica that the measurements cover."""
    date: str

    def basis_of(self, card: Accelerator) -> SpeedBasis:
        """Return what the speed of a card rests on."""
        if card.vendor == "amd":
            return SpeedBasis.AMD
        if card.vendor != "nvidia":
            return SpeedBasis.INTEL
        if card.unified:
            return SpeedBasis.UNIFIED
        if self.kernels.has_tables_of(card):
            return SpeedBasis.TABLES
        return SpeedBasis.CONSUMER if self.kernels.is_derived(card) else SpeedBasis.RELATIVE

    def covers(self, card: Accelerator) -> bool:
        """True for the kinds of cards that the measurements are of."""
        return self.basis_of(card) is SpeedBasis.TABLES

    def machine(self, card: Accelerator, layout: Layout) -> Machine:
        """Return what a step runs on.

        Raises:
            FactsError: neither the card nor a relative has kernel times.
        """
        times = self.kernels.of(card)
        return Machine(card, layout, times, rates_of(card), self.kernels.links(card), self.host)


def parse_calibration(data: bytes, kernel_times: bytes) -> Calibration:
    """Parse ``throughput.json`` and ``kernel_times.json``.

    Raises:
        FactsError: damaged facts.
    """
    kernels = KernelCatalog(kernel_times)
    try:
        raw = json.loads(data)
        host = Host(**{f.name: float(raw["host"][f.name]["value"]) for f in fields(Host)})
        ranges = {SpeedBasis(one["of"]): (float(one["low"]), float(one["high"])) for one in raw["ranges"]}
        if missing := set(SpeedBasis) - set(ranges):
            raise ValueError(f"no range of {missing}")
        return Calibration(kernels, host, ranges, int(raw["concurrency"]), str(raw["date"]))
    except (ValueError, KeyError, TypeError) as error:
        raise FactsError("The throughput facts are damaged.", "Reinstall whichgpu.") from error
