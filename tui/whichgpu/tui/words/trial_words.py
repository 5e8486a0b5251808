"""A trial before it runs, in words: what, on what, how long, at what price, and what stands in the way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from whichgpu.inspect.records import Inspection
from whichgpu.plan.records import Verdict
from whichgpu.trial.errors import TrialError
from whichgpu.trial.gpus import gpus_here
from whichgpu.tui.desk.trials import Prepared, TrialOptions
from whichgpu.tui.words.units import GIB, dollars, memory

_START_SECONDS, _LOAD_SECONDS = 60, 30
"""What a start and one load take at least, for the estimate."""


def before(prepared: Prepared, options: TrialOptions) -> list[str]:
    """Say what will run, on what, how long it takes and what that costs, and what stands in the way.

    Raises:
        TrialError: real weights do not fit on the disk.
    """
    request, plan = prepared.request, prepared.plan
    least = _START_SECONDS + _LOAD_SECONDS * len(request.loads)
    weights = "dummy weights: nothing is downloaded" if request.dummy else ""
    if options.server is not None:
        weights = "a server that runs already"
    elif not request.dummy:
        weights = _download(prepared.reply.inspection)
    where = f"{request.layout.cards} × {plan.accelerator_name}" if plan is not None else "this machine's CPU"
    where += f" in {request.nodes} machines" if request.nodes > 1 else ""
    loads = ", ".join(load.words for load in request.loads)
    load = f"{loads} at once, {request.prompt:,} tokens in and {request.output:,} out"
    rate = request.predicted.usd_per_hour
    cost = f" ({dollars(rate * least / 3600)} to {dollars(rate * request.budget / 3600)})" if rate is not None else ""
    time = f"about {least} s, at most {request.budget:.0f}{cost}"
    lines = [f"{request.name} on {where} ({request.layout.label}), {weights}; {load}; {time}"]
    if options.place is not None:
        lines.append(f"this is machine {options.place.rank} of 0 to {request.nodes - 1}; number 0 measures")
    if plan is not None and plan.verdict is not Verdict.FITS:
        lines.append(f"note: the prediction is “{plan.verdict.value}”")
    if plan is not None and plan.accelerator.endswith("_here") and not options.server:
        busy = [g for g in gpus_here()[: request.layout.cards] if g.processes]
        lines += [f"note: {g.processes} processes use GPU {g.index} already" for g in busy]
    return lines


def _download(inspection: Inspection) -> str:
    from huggingface_hub import constants

    size = inspection.weights.total.value
    place = Path(constants.HF_HUB_CACHE)
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if size is not None and inspection.source.kind == "hub" and size > free and not os.environ.get("HF_HUB_OFFLINE"):
        raise TrialError(
            f"The weights are {size / GIB:,.1f} GiB, and {free / GIB:,.1f} are free.",
            "Without --real-weights none are needed.",
        )
    return f"real weights: {memory(size)}, {free / GIB:,.0f} GiB free on the disk"
