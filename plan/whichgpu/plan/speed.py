"""How fast a plan serves and what its tokens cost, from the roofline and its error.

``$/Mtok = $/hour of all cards ÷ (tokens/s × 3,600 ÷ 1,000,000)``, at the load asked for, divided by the share of the
time that it is there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from whichgpu.plan.case import Case
from whichgpu.plan.footprint import footprint_of
from whichgpu.plan.learned import Learned
from whichgpu.plan.records import Accelerator, Footprint, Range, Speed, StepTime, Verdict, Workload
from whichgpu.plan.roofline import Calibration, Load, Machine, Step, step_time
from whichgpu.plan.sizing import Sizer
from whichgpu.plan.step_work import Works

_WIDER, _WIDER_OTHERS = 1.3, 1.6
"""Factor on the slow end for what the fit has not seen: NVIDIA's other cards or larger loads, other vendors' cards.

Assumed, not calibrated: no recent measurement of such cards was at hand."""


_MEASURED = 0.9, 1.1
"""Measured over predicted time where a trial of the very same plan decides: what identical runs differ by. Assumed."""


def lengths(workload: Workload) -> tuple[int, int]:
    """Return (prompt, output) tokens: as asked, else the last eighth of the context, at most 1,024, is the output."""
    output = workload.output or max(1, min(1024, workload.context // 8, workload.context - 1))
    prompt = workload.prompt or max(1, workload.context - output)
    return prompt, output


@dataclass(frozen=True, slots=True)
class Speeds:
    """How fast one model is served, by the formula and by what trials taught."""

    works: Works
    calibration: Calibration
    learned: Learned

    def of(self, case: Case, footprint: Footprint, usd_per_hour: float | None = None) -> Speed | None:
        """Return what a layout serves in the steady state; ``None`` for what does not decode token by token."""
        work = self.works.of(case)
        if work is None or not work.rates.dense or (work.expert_count and not work.rates.experts):
            return None
        prompt, output = lengths(case.workload)
        load = Load(_running(case, footprint), prompt, output)
        step = step_time(work, Machine(case.card, case.layout, self.calibration.factors_of(case.card)), load)
        return self._record(case, load, step, usd_per_hour)

    def _record(self, case: Case, load: Load, step: Step, usd_per_hour: float | None) -> Speed:
        card, cards = case.card, case.layout.cards
        running, prompt, output = int(load.running), load.prompt, load.output
        correction = self.learned.correction(self.works.inspection, case)
        covered = _is_covered(card, running, self.calibration)
        low, high = _MEASURED if correction.exact else _error(card, covered, self.calibration)
        tpot = step.total * correction.factor
        rate = running / tpot
        total = rate * (prompt + output) / output
        cost = usd_per_hour / (rate * 3600 / 1e6 * case.workload.busy) if usd_per_hour is not None else None
        return Speed(
            prompt_tokens=prompt,
            output_tokens=output,
            running=running,
            waiting=case.workload.concurrency - running,
            tpot_ms=_range(tpot * 1e3, low, high),
            ttft_ms=_range((step.prompt + step.total) * 1e3, low, high),
            output_tokens_per_second=_range(rate, 1 / high, 1 / low),
            total_tokens_per_second=_range(total, 1 / high, 1 / low),
            usd_per_million_output=_range(cost, low, high) if cost is not None else None,
            usd_per_million_total=_range(cost * output / (prompt + output), low, high) if cost is not None else None,
            output_tokens_per_joule=rate / (card.board_watts * cards) if card.board_watts else None,
            output_tokens_per_facility_joule=rate / (card.facility_watts * cards) if card.facility_watts else None,
            limit=step.limit,
            step_ms=_parts(step),
            in_range=correction.exact or covered,
            learned=correction.basis,
            learned_factor=correction.factor,
        )


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


def _is_covered(card: Accelerator, running: int, calibration: Calibration) -> bool:
    return calibration.covers(card) and running <= calibration.concurrency


def _error(card: Accelerator, covered: bool, calibration: Calibration) -> tuple[float, float]:
    """Return measured over predicted time, low and high."""
    if covered:
        return calibration.low, calibration.high
    wider = _WIDER if card.vendor == "nvidia" else _WIDER_OTHERS
    return calibration.low / _WIDER, calibration.high * wider


def _parts(step: Step) -> StepTime:
    return StepTime(
        weights=step.weights * 1e3,
        compute=step.compute * 1e3,
        kv_cache=step.cache * 1e3,
        links=step.links * 1e3,
        overheads=step.overhead * 1e3,
        prefills=step.prefill * 1e3,
    )
