"""How fast a plan serves and what its tokens cost, from the times of its kernels and their error.

``$/Mtok = $/hour of all cards ÷ (tokens/s × 3,600 ÷ 1,000,000)``, at the load asked for, divided by the share of the
time that it is there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace

from whichgpu.plan.calibration import Calibration
from whichgpu.plan.case import Case
from whichgpu.plan.footprint import footprint_of
from whichgpu.plan.learned import Correction, Learned
from whichgpu.plan.operations import Operations, Works
from whichgpu.plan.records import Footprint, Range, Speed, StepTime, Verdict, Workload
from whichgpu.plan.runtime import batch_of
from whichgpu.plan.sizing import Sizer, Sizes
from whichgpu.plan.step_time import Load, Machine, Step, first_token, step_time

_WIDER = 1.3
"""Factor on the slow end for larger loads than any that was measured. Assumed."""

_MEASURED = 0.9, 1.1
"""Measured over predicted time where a trial of the very same plan decides: what identical runs differ by. Assumed."""


def lengths(workload: Workload) -> tuple[int, int]:
    """Return (prompt, output) tokens: as asked, else the last eighth of the context, at most 1,024, is the output."""
    output = workload.output or max(1, min(1024, workload.context // 8, workload.context - 1))
    prompt = workload.prompt or max(1, workload.context - output)
    return prompt, output


@dataclass(frozen=True, slots=True)
class _Point:
    """One load of a layout, worked out."""

    load: Load
    step: Step
    waiting: int


@dataclass(frozen=True, slots=True)
class _Served:
    """A layout that can be asked for any load."""

    case: Case
    operations: Operations
    machine: Machine
    correction: Correction

    def at(self, running: int, waiting: int = 0) -> _Point:
        prompt, output = lengths(self.case.workload)
        load = Load(running, prompt, output, int(prompt * self.case.workload.prefix_share))
        return _Point(load, step_time(self.operations, self.machine, load), waiting)

    def tpot(self, point: _Point) -> float:
        """Seconds per output token."""
        return point.step.total * self.correction.factor

    def rate(self, point: _Point) -> float:
        """Output tokens per second."""
        return point.load.running / (point.step.per_turn * self.correction.factor)

    def ttft(self, point: _Point) -> float:
        """Seconds to the first token at a steady load, after those that wait."""
        queue = point.waiting * point.load.output / self.rate(point)
        return first_token(point.step, 0, self.machine.host) * self.correction.factor + queue

    def burst(self, point: _Point) -> float:
        """The same for the median of a whole load that arrives at once."""
        queue = point.waiting * point.load.output / self.rate(point)
        opening = first_token(point.step, point.load.running, self.machine.host)
        return opening * self.correction.factor + queue


@dataclass(frozen=True, slots=True)
class Speeds:
    """How fast one model is served, by the formula and by what trials taught."""

    works: Works
    calibration: Calibration
    learned: Learned

    def of(self, case: Case, footprint: Footprint, usd_per_hour: float | None = None) -> Speed | None:
        """Return what a layout serves in the steady state; ``None`` for what does not decode token by token."""
        served = self._served(case)
        if served is None:
            return None
        running = _running(case, footprint)
        return self._record(served, served.at(running, case.workload.concurrency - running), usd_per_hour)

    def sustaining(self, case: Case, sizes: Sizes, usd_per_hour: float | None = None) -> Speed | None:
        """Return the load that serves ``Workload.rate`` within the limits on a time: the least that keeps up, on as few replicas
        as the largest load needs.

        The cache is charged at prompt + output tokens, as sequences come and go, not at the whole context.
        """
        served = self._served(case)
        if served is None or case.workload.rate is None:
            return None
        slots = self._slots(case, sizes)
        largest = _largest(slots, lambda n: _keeps(served, served.at(n), case.workload))
        low = 1 / self._error(case, largest, served.correction)[1]
        needed = case.workload.rate * lengths(case.workload)[1]
        replicas = max(1, -int(-needed // (served.rate(served.at(largest)) * low)))
        share = needed / replicas
        running = 1 + bisect_left(range(1, largest), share, key=lambda n: served.rate(served.at(n)) * low)
        return self._record(served, served.at(running), usd_per_hour)

    def busiest(self, case: Case, sizes: Sizes, usd_per_hour: float | None = None) -> Speed | None:
        """Return what the largest load serves that the pools hold within the limits on a time."""
        served = self._served(case)
        if served is None:
            return None
        slots = self._slots(case, sizes)
        return self._record(
            served, served.at(_largest(slots, lambda n: _keeps(served, served.at(n), case.workload))), usd_per_hour
        )

    def _slots(self, case: Case, sizes: Sizes) -> int:
        """Sequences of one replica that its pools and its slots hold at the tokens they really have."""
        prompt, output = lengths(case.workload)
        slots = batch_of(case.card, self.works.sizer.engine, case.workload).sequences
        if sizes.blocks is not None and sizes.cache.anything:
            slots = min(slots, int(sizes.cache.sequences(sizes.blocks, prompt + output)))
        return max(1, slots) * case.layout.data_parallel

    def _served(self, case: Case) -> _Served | None:
        operations = self.works.of(case)
        if operations is None or not case.card.bf16_tflops:
            return None
        machine = self.calibration.machine(case.card, case.layout)
        return _Served(case, operations, machine, self.learned.correction(self.works.inspection, case))

    def _record(self, served: _Served, point: _Point, usd_per_hour: float | None) -> Speed:
        case, step, correction = served.case, point.step, served.correction
        card, cards = case.card, case.layout.cards
        running, prompt, output = int(point.load.running), point.load.prompt, point.load.output
        low, high = self._error(case, running, correction)
        rate = served.rate(point)
        total = rate * (prompt + output) / output
        cost = usd_per_hour / (rate * 3600 / 1e6 * case.workload.busy) if usd_per_hour is not None else None
        return Speed(
            prompt_tokens=prompt,
            output_tokens=output,
            running=running,
            waiting=point.waiting,
            tpot_ms=_range(served.tpot(point) * 1e3, low, high),
            ttft_ms=_range(served.ttft(point) * 1e3, low, high),
            ttft_burst_ms=_range(served.burst(point) * 1e3, low, high),
            output_tokens_per_second=_range(rate, 1 / high, 1 / low),
            total_tokens_per_second=_range(total, 1 / high, 1 / low),
            usd_per_million_output=_range(cost, low, high) if cost is not None else None,
            usd_per_million_total=_range(cost * output / (prompt + output), low, high) if cost is not None else None,
            output_tokens_per_joule=rate / (card.board_watts * cards) if card.board_watts else None,
            output_tokens_per_facility_joule=rate / (card.facility_watts * cards) if card.facility_watts else None,
            limit=step.limit,
            step_ms=_parts(step),
            in_range=correction.exact or self._is_covered(case, running),
            basis=self.calibration.basis_of(card),
            learned=correction.basis,
            learned_factor=correction.factor,
        )

    def _is_covered(self, case: Case, running: int) -> bool:
        return self.calibration.covers(case.card) and running <= self.calibration.concurrency

    def _error(self, case: Case, running: int, correction: Correction) -> tuple[float, float]:
        """Return measured over predicted time, low and high."""
        if correction.exact:
            return _MEASURED
        low, high = self.calibration.ranges[self.calibration.basis_of(case.card)]
        beyond = running > self.calibration.concurrency * case.layout.data_parallel
        return (low / _WIDER, high * _WIDER) if beyond else (low, high)


def _keeps(served: _Served, point: _Point, workload: Workload) -> bool:
    """True where a load keeps the limits on its times."""
    within_tpot = workload.max_tpot_ms is None or served.tpot(point) * 1e3 <= workload.max_tpot_ms
    return within_tpot and (workload.max_ttft_ms is None or served.ttft(point) * 1e3 <= workload.max_ttft_ms)


def _largest(most: int, keeps: Callable[[int], bool]) -> int:
    """Return the largest load up to ``most`` that keeps its limits, 1 where none does: times grow with the load."""
    return max(1, bisect_left(range(1, most + 1), True, key=lambda n: not keeps(n)))


def _running(case: Case, footprint: Footprint) -> int:
    """Sequences that run at once: those asked for, as far as the pools hold them."""
    workload = case.workload
    if footprint.max_sequences is None or footprint.verdict is Verdict.UNKNOWN:
        return max(1, workload.concurrency)
    return max(1, min(workload.concurrency, footprint.max_sequences * case.layout.data_parallel))


def speed_as_run(sizer: Sizer, case: Case, calibration: Calibration) -> Speed | None:
    """Return what a layout serves of a load that is put on it, whether or not all of it fits at once: the rest queues.

    By the formula alone, without what trials taught: a trial is compared with this.
    """
    prompt, output = lengths(case.workload)
    shortened = case.workload.model_copy(update={"context": min(case.workload.context, prompt + output)})
    case = replace(case, workload=shortened)
    footprint = footprint_of(sizer, case, sizer.size(case), detailed=False)
    return Speeds(Works(sizer), calibration, Learned()).of(case, footprint)


def _range(value: float, low: float, high: float) -> Range:
    return Range(expected=value, low=value * low, high=value * high)


def _parts(step: Step) -> StepTime:
    return StepTime(
        weights=step.weights * 1e3,
        compute=step.compute * 1e3,
        kv_cache=step.cache * 1e3,
        links=step.links * 1e3,
        overheads=step.overhead * 1e3,
        prefills=step.prefill * 1e3,
    )
