"""Parts of a question that have fields of their own: limits on media, and what drafts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from whichgpu.inspect.records import Mixer, Record
from whichgpu.plan.choices import Medium


class MediaLimit(Record):
    """How much of one medium a prompt may hold, and how large it is profiled (vLLM 0.32 config/multimodal.py); pixels, frames."""

    medium: Medium
    count: Annotated[int, Field(ge=0)] = 999
    width: Annotated[int, Field(gt=0)] | None = None
    height: Annotated[int, Field(gt=0)] | None = None
    num_frames: Annotated[int, Field(gt=0)] | None = None
    length: Annotated[int, Field(gt=0)] | None = None
    """Samples of audio."""


class Draft(Record):
    """What drafts tokens for the served model to check (vLLM 0.32 config/speculative.py); bytes, ``None`` until it was looked at."""

    tokens: Annotated[int, Field(ge=1, le=64)]
    """num_speculative_tokens."""
    model: str | None = None
    """``None`` where the prompt itself is looked through."""
    method: str | None = None
    """As vLLM calls it; ``None`` leaves it to vLLM, which reads it from the draft's config."""
    lookup: int | None = None
    """prompt_lookup_max."""
    whole: int | None = None
    """Weights that every card of the last stage holds."""
    shared_out: int | None = None
    """Weights that they hold together."""
    perhaps_shared: int = 0
    """Of these, what may be the served model's own: embedding and head of a head such as EAGLE's, known by its config alone."""
    mixers: tuple[Mixer, ...] | None = None
    """Its layers, whose caches join the pool."""
    vocabulary: int | None = None
