"""What a command must set although nobody asked: without it vLLM refuses to start, or takes what the host needs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace

from whichgpu.plan.case import Case
from whichgpu.plan.choices import DEFAULT_CONTEXT
from whichgpu.plan.records import Accelerator, Plan, Verdict, Workload
from whichgpu.plan.runtime import batch_of, has_checked_states
from whichgpu.plan.sizing import Sizer, Sizes

_SURE = 0.9
"""Of the blocks that are there even if the prediction errs: on cards other than those it was checked on it errs by more."""


_CONTEXT_STEP = 256
"""Contexts that are found are whole multiples of it."""

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


def with_longest_context(sizer: Sizer, case: Case, sizes: Sizes) -> tuple[Case, Sizes]:
    """Return the case with the longest context that fits even if the prediction errs, where so is asked.

    As ``--max-model-len auto`` does after the start (vLLM 0.32 v1/core/kv_cache_utils.py _auto_fit_max_model_len), but for all
    sequences at once.
    """
    if not case.workload.context_auto or sizes.verdict not in (Verdict.TIGHT, Verdict.NO) or not sizes.cache.growth:
        return case, sizes
    blocks = sizes.cache.blocks([stage.pool - sizes.error_down for stage in sizes.stages]) or 0
    lengths, least = range(1, case.workload.context + 1), least_context(case.workload)
    fitting = bisect_right(lengths, blocks - 1, key=lambda tokens: sizes.cache.together(case.copies, tokens))
    context = max(least, fitting // _CONTEXT_STEP * _CONTEXT_STEP)
    shortened = replace(
        case, workload=case.workload.model_copy(update={"context": min(context, case.workload.context)})
    )
    return shortened, sizer.size(shortened)


def least_context(workload: Workload) -> int:
    """Return how short the longest context may be: the request that is asked; on cards that nobody counted the usual context."""
    request = (workload.prompt or 0) + (workload.output or 0)
    counted = workload.cards is not None or workload.layout is not None
    return min(workload.context, max(request, _CONTEXT_STEP if counted else DEFAULT_CONTEXT))


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
    if planned.context != asked.context:
        settings["context"] = planned.context
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
    if asked.context_auto and "context" in settings:
        yield (
            f"--max-model-len {case.workload.context}: the longest that {case.workload.concurrency:,} at once have room for even if"
            f" the prediction errs; the model allows {asked.context:,}"
        )
    if "utilisation" in settings:
        yield f"--gpu-memory-utilization {settings['utilisation']:g}: the host needs the rest of the memory that it shares with the card"
