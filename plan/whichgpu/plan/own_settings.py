"""What a command must set although nobody asked: without it vLLM refuses to start, or takes what the host needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from whichgpu.plan.case import Case
from whichgpu.plan.records import Accelerator, Plan, Workload
from whichgpu.plan.runtime import batch_of, has_checked_states
from whichgpu.plan.sizing import Sizer, Sizes

_SURE = 0.9
"""Of the blocks that are there even if the prediction errs: on cards other than those it was checked on it errs by more."""


_FEWEST = 64
"""Sequences that are left at least, and twice the asked load."""


def on_card(workload: Workload, card: Accelerator) -> Workload:
    """Return the workload with the share of memory that a card leaves vLLM, where the user asked for none."""
    if card.utilisation is None or workload.utilisation_asked:
        return workload
    return workload.model_copy(update={"utilisation": card.utilisation, "utilisation_asked": True})


def with_fewer_sequences(sizer: Sizer, case: Case) -> Case | None:
    """Return the case with no more sequences than the asked load can use, where vLLM's default is for many more.

    The sampler is profiled for max_num_seqs of them: gigabytes at a vocabulary of 200,000 (vLLM 0.33 _dummy_sampler_run), which
    cost nothing to give back before another card is rented.
    """
    limit = max(_FEWEST, 1 << (2 * case.copies - 1).bit_length())
    if case.workload.max_sequences is not None or batch_of(case.card, sizer.engine, case.workload).sequences <= limit:
        return None
    return replace(case, workload=case.workload.model_copy(update={"max_sequences": limit}))


def within_slots(sizer: Sizer, case: Case, sizes: Sizes) -> tuple[Case, Sizes]:
    """Return the case with as many sequences as its pool has blocks of recurrent state, where vLLM's default is more.

    Each decoding sequence needs a block, and CUDA graphs are captured for max_num_seqs of them (vLLM 0.32 config/compilation.py
    resolve_cudagraph_mode_and_sizes).
    """
    slots = state_slots(sizer, case, sizes)
    if slots is None or case.workload.max_sequences is not None:
        return case, sizes
    if batch_of(case.card, sizer.engine, case.workload).sequences <= slots:
        return case, sizes
    sure = max(1, int(_SURE * slots))
    limit = max(1 << (sure.bit_length() - 1), case.copies)  # a power of two, as far below as that is
    limited = replace(case, workload=case.workload.model_copy(update={"max_sequences": limit}))
    return limited, sizer.size(limited)


def state_slots(sizer: Sizer, case: Case, sizes: Sizes) -> int | None:
    """Return how many sequences a start may ask for even if the prediction errs; ``None`` where vLLM does not look."""
    if not has_checked_states(sizer.model, case.workload):
        return None
    return sizes.cache.blocks([stage.pool - sizes.error_down for stage in sizes.stages])


def settings_beside(asked: Workload, planned: Workload) -> dict[str, int | float]:
    """Return the fields that a plan sets beside what was asked."""
    settings: dict[str, int | float] = {}
    if planned.max_sequences is not None and planned.max_sequences != asked.max_sequences:
        settings["max_sequences"] = planned.max_sequences
    if planned.utilisation is not None and planned.utilisation != asked.utilisation:
        settings["utilisation"] = planned.utilisation
    return settings


def as_planned(workload: Workload, plan: Plan) -> Workload:
    """Return the workload as a plan's command has it."""
    if not plan.sets:
        return workload
    asked = {"utilisation_asked": True} if "utilisation" in plan.sets else {}
    return workload.model_copy(update={**plan.sets, **asked})


def setting_reasons(sizer: Sizer, asked: Workload, case: Case, sizes: Sizes) -> Iterator[str]:
    """Say why a command sets what nobody asked."""
    settings = settings_beside(asked, case.workload)
    slots = state_slots(sizer, case, sizes)
    default = batch_of(case.card, sizer.engine, asked).sequences
    if "max_sequences" in settings and (slots is None or default <= slots):
        yield (
            f"--max-num-seqs {settings['max_sequences']}: for its default of {default:,} vLLM {sizer.engine.version} keeps memory that the"
            f" cache needs here; the {case.workload.concurrency:,} asked are served"
        )
    elif "max_sequences" in settings:
        yield (
            f"--max-num-seqs {settings['max_sequences']}: the pool holds about {sizes.blocks:,} blocks of recurrent state, and vLLM"
            f" {sizer.engine.version} refuses to start with more sequences than that; the {case.workload.concurrency:,} asked are served"
        )
    if "utilisation" in settings:
        yield f"--gpu-memory-utilization {settings['utilisation']:g}: the host needs the rest of the memory that it shares with the card"
