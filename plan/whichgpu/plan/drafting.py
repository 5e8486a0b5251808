"""Speculative decoding with a model beside the served one: its weights, its cache, and what vLLM asks of it.

Sources: vLLM 0.32 config/speculative.py (methods; a draft model has the target's tensor parallelism and vocabulary),
v1/spec_decode/llm_base_proposer.py load_model (its layers join the pool), v1/worker/gpu_model_runner.py (loaded with the model).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from whichgpu.inspect.records import Grade, Inspection, Origin, Part
from whichgpu.plan import kv_layers
from whichgpu.plan.case import ServedModel
from whichgpu.plan.choices import MemoryGroup
from whichgpu.plan.records import Draft, Layout, Precision, Workload
from whichgpu.plan.terms import Size
from whichgpu.plan.weight_table import WeightTable

DRAFT = "draft model"
_FLAG = "--speculative-config"
_ERROR = 0.006
"""As of weights that are computed from a config."""


def looked_at(draft: Draft, model: ServedModel) -> Draft:
    """Return a draft with what its own inspection says: weights that every card holds, weights that cards share, caches."""
    table = WeightTable(model, Precision.PUBLISHED)
    one, two = (table.per_stage(Layout(tensor_parallel=cards))[0] for cards in (1, 2))
    inspection, architecture = model.inspection, model.architecture
    mixers = architecture.mixers if architecture is not None else ()
    ends = table.stages(Layout(tensor_parallel=1))
    is_head = inspection.grade is Grade.CONFIG and not model.is_listed("supported")
    is_known = bool(mixers) and all(kv_layers.is_counted(mixer) for mixer in mixers)
    return draft.model_copy(
        update={
            "shared_out": 2 * (one - two) if _is_sized(inspection) else None,
            "whole": 2 * two - one if _is_sized(inspection) else None,
            "perhaps_shared": sum(ends.get(part, (0,))[0] for part in (Part.EMBEDDING, Part.HEAD)) if is_head else 0,
            "mixers": mixers if is_known else None,
            # EAGLE heads and their like have classes of their own, which may know fewer words
            "vocabulary": architecture.vocabulary
            if architecture is not None and model.is_listed("supported")
            else None,
        }
    )


def _is_sized(inspection: Inspection) -> bool:
    return inspection.grade is not Grade.NOTHING and bool(inspection.tensors)


def is_known(draft: Draft | None) -> bool:
    """True where nothing is drafted with a model, or its weights and its cache are known."""
    if draft is None or draft.model is None:
        return True
    return None not in (draft.whole, draft.shared_out, draft.mixers)


def draft_size(draft: Draft | None, tensor_parallel: int) -> Size | None:
    """Return the draft's weights on one card of the last stage; ``None`` without one."""
    if draft is None or draft.whole is None or draft.shared_out is None:
        return None
    size = draft.whole + draft.shared_out / tensor_parallel
    why = f"{draft.model}, on the cards of the last stage"
    shared = draft.perhaps_shared / tensor_parallel
    bounds = (size - shared) * (1 - _ERROR), size * (1 + _ERROR)
    return Size(DRAFT, size - shared / 2, *bounds, Origin.COMPUTED, why, MemoryGroup.WEIGHTS, _FLAG)


def draft_refusal(model: ServedModel, workload: Workload) -> str | None:
    """Return why vLLM would not draft so; ``None`` where nothing is known against it."""
    draft, architecture = workload.draft, model.architecture
    if draft is None or draft.vocabulary is None or architecture is None or architecture.vocabulary is None:
        return None
    if draft.method not in (None, "draft_model") or draft.vocabulary == architecture.vocabulary:
        return None
    return (
        f"vLLM takes a draft model of the same vocabulary alone: {draft.model} has {draft.vocabulary:,} words,"
        f" {model.inspection.source.name} {architecture.vocabulary:,}"
    )


def drafting_notes(workload: Workload) -> Iterator[str]:
    """Say what is not predicted of drafting."""
    draft = workload.draft
    if draft is None:
        return
    yield "Speed is that without drafting: how many drafted tokens are kept depends on the text."
    if not is_known(draft):
        yield f"Weights or cache of {draft.model} are not known; they come on top of what is shown."


def config_of(draft: Draft) -> dict[str, Any]:
    """Return the object that ``--speculative-config`` takes."""
    given: dict[str, Any] = {"method": draft.method, "model": draft.model, "num_speculative_tokens": draft.tokens}
    if draft.lookup is not None:
        given["prompt_lookup_max"] = draft.lookup
    return {key: value for key, value in given.items() if value is not None}
