"""While requests run: the server's gauges and the cards' sensors, a few times a second, on a thread of its own."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from whichgpu.trial.records import Power
from whichgpu.trial.rocm import AmdGpu, amd_gpus
from whichgpu.trial.server import Gauges, Server

_EVERY = 0.5
_RECENT = 3.0
"""Seconds over which a rate of now is taken."""
_THROTTLES = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "thermal (software)",
    0x40: "thermal (hardware)",
    0x80: "power brake",
}
"""NVML's clock event reasons that mean that the card is held back."""


@dataclass(slots=True)
class _Reading:
    at: float
    watts: float
    memory: int
    clock: float | None
    temperature: float | None
    reasons: int


@dataclass(frozen=True, slots=True)
class Live:
    """What goes on now; ``None`` is unknown."""

    tokens_per_second: float | None
    """Output, over the last seconds."""
    ttft_ms: float | None
    """Mean of the requests that had their first token in the last seconds."""
    cache_used: float | None
    """Of 1."""
    waiting: float | None
    watts: float | None
    """Of all cards."""


@dataclass(slots=True)
class Sampler:
    """Samples between entering and leaving; a server without /metrics and a machine without NVML give nothing."""

    server: Server
    cards: Sequence[int] = ()
    """Indices of the cards to read; none on a CPU."""
    _gauges: list[Gauges] = field(default_factory=list)
    _readings: dict[int, list[_Reading]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        library = _nvml() if self.cards else None
        while True:
            with suppress(Exception):  # a sample that fails is a sample less
                self._gauges.append(self.server.gauges())
            if library is None and self.cards:
                for gpu in amd_gpus():
                    if gpu.index in self.cards and gpu.watts is not None:
                        self._readings.setdefault(gpu.index, []).append(_of_amd(gpu, gpu.watts))
            if library is not None:
                for index in self.cards:
                    with suppress(Exception):
                        self._readings.setdefault(index, []).append(_read(library, index))
            if self._stop.wait(_EVERY):
                return

    @property
    def live(self) -> Live | None:
        """What goes on now, or ``None`` before the second sample."""
        gauges = list(self._gauges)
        if len(gauges) < 2:
            return None
        now = gauges[-1]
        then = next(g for g in gauges if now.at - g.at <= _RECENT or g is gauges[-2])
        seconds, first = now.at - then.at, _growth(then.first_count, now.first_count)
        spent, tokens = _growth(then.first_seconds, now.first_seconds), _growth(then.generated, now.generated)
        card_watts = [readings[-1].watts for readings in self._readings.values() if readings]
        return Live(
            tokens_per_second=tokens / seconds if tokens is not None and seconds > 0 else None,
            ttft_ms=1e3 * spent / first if first and spent is not None else None,
            cache_used=now.cache_used,
            waiting=now.waiting,
            watts=sum(card_watts) if card_watts else None,
        )

    @property
    def cache_used(self) -> float | None:
        """Largest share of the cache in use."""
        return max((g.cache_used for g in self._gauges if g.cache_used is not None), default=None)

    @property
    def waiting(self) -> int | None:
        """Most requests in the queue."""
        queue_lengths = [g.waiting for g in self._gauges if g.waiting is not None]
        return int(max(queue_lengths)) if queue_lengths else None

    @property
    def preemptions(self) -> int | None:
        """Sequences that were thrown out and begun again meanwhile."""
        counts = [g.preemptions for g in self._gauges if g.preemptions is not None]
        return int(counts[-1] - counts[0]) if counts else None

    def power(self) -> Power | None:
        """Return what the sensors said, or ``None`` where none did."""
        card_readings = [r for r in self._readings.values() if r]
        if not card_readings:
            return None
        everything = [reading for readings in card_readings for reading in readings]
        clocks = [r.clock for r in everything if r.clock is not None]
        reasons = 0
        for reading in everything:
            reasons |= reading.reasons
        return Power(
            samples=len(everything),
            watts=sum(statistics.fmean(r.watts for r in readings) for readings in card_readings),
            joules=sum(map(energy, card_readings)),
            memory_used=max(r.memory for r in everything),
            clock_mhz=statistics.fmean(clocks) if clocks else None,
            temperature=max((r.temperature for r in everything if r.temperature is not None), default=None),
            throttled=tuple(name for bit, name in _THROTTLES.items() if reasons & bit),
        )


def _growth(before: float | None, after: float | None) -> float | None:
    return after - before if before is not None and after is not None else None


def energy(readings: Sequence[_Reading]) -> float:
    """Joules of one card: trapezoids between its readings."""
    pairs = itertools.pairwise(readings)
    return sum((b.at - a.at) * (a.watts + b.watts) / 2 for a, b in pairs)


def _of_amd(gpu: AmdGpu, watts: float) -> _Reading:
    """What rocm-smi says; of clocks and throttling it isn't asked."""
    return _Reading(time.monotonic(), watts, gpu.used, None, gpu.temperature, 0)


def _nvml() -> Any:
    """Return NVML, opened, or ``None``."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 - not installed, or no driver: there is nothing to read
        return None
    return pynvml


def _read(library: Any, index: int) -> _Reading:
    card = library.nvmlDeviceGetHandleByIndex(index)
    return _Reading(
        at=time.monotonic(),
        watts=library.nvmlDeviceGetPowerUsage(card) / 1e3,
        memory=int(library.nvmlDeviceGetMemoryInfo(card).used),
        clock=float(library.nvmlDeviceGetClockInfo(card, library.NVML_CLOCK_SM)),
        temperature=float(library.nvmlDeviceGetTemperature(card, library.NVML_TEMPERATURE_GPU)),
        reasons=int(library.nvmlDeviceGetCurrentClocksThrottleReasons(card)),
    )
