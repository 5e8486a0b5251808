"""Records of speed: what one replica serves, where its time goes, and what was measured near it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, Field

from whichgpu.inspect.records import Record
from whichgpu.plan.choices import KvDtype, Nearness, SpeedBasis


class Layout(Record):
    """How a model is spread over cards."""

    tensor_parallel: int
    pipeline_parallel: int = 1
    data_parallel: int = 1
    """Copies of everything but the routed experts, each with a cache of its own."""
    expert_parallel: bool = False
    """Whole experts are dealt over all cards of a stage."""
    context_parallel: int = 1
    """Cards of a tensor-parallel group that share one sequence's cache (decode context parallel)."""

    @property
    def cards(self) -> int:
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel

    @property
    def label(self) -> str:
        """``TP4``, ``TP8 PP2``, ``DP8 EP``."""
        words = [f"TP{self.tensor_parallel}"] if self.tensor_parallel > 1 or self.data_parallel == 1 else []
        words += [f"{n}{v}" for n, v in (("PP", self.pipeline_parallel), ("DP", self.data_parallel)) if v > 1]
        words += ["EP"] if self.expert_parallel else []
        words += [f"DCP{self.context_parallel}"] if self.context_parallel > 1 else []
        return " ".join(words)


class Range(Record):
    """A figure with bounds: between them lay 85 % of the measurements of such cards."""

    expected: float
    low: float
    high: float


class StepTime(Record):
    """Parts of the time per output token, in milliseconds; a kernel counts under what it waits for."""

    weights: float
    compute: float
    kv_cache: float = Field(validation_alias=AliasChoices("kv_cache", "KV cache"))
    links: float
    overheads: float
    prefills: float = Field(validation_alias=AliasChoices("prefills", "others' prefills"))
    """Of other sequences' prompts."""


class Speed(Record):
    """What one replica serves in the steady state, as its kernels' times add up."""

    prompt_tokens: int
    output_tokens: int
    running: int
    """Sequences at once: as many as asked, or as the pool holds."""
    waiting: int
    """Sequences that queue because the pool holds no more."""
    tpot_ms: Range
    """Time per output token, other sequences' prefills included."""
    ttft_ms: Range
    """Time to the first token of a request that arrives at this load; where some queue, with the wait of the last."""
    ttft_burst_ms: Range | None = None
    """The same for the median request where the whole load arrives at once."""
    output_tokens_per_second: Range
    total_tokens_per_second: Range
    """Input and output."""
    usd_per_million_output: Range | None
    """Dollars of all cards per million output tokens, at this load all the time."""
    usd_per_million_total: Range | None
    """Per million of input and output tokens together."""
    output_tokens_per_joule: float | None
    """Tokens per second and watt of board power."""
    output_tokens_per_facility_joule: float | None = None
    """Tokens per second and watt at the utility's meter; ``None`` where that power is not known."""
    limit: str
    """What takes most of the time."""
    step_ms: StepTime
    in_range: bool
    """True where the card's own kernels were measured and so many sequences too; the range is wider elsewhere."""
    basis: SpeedBasis | None = None
    """What the kernel times of the card rest on."""
    learned: str | None = None
    """The trials that moved it."""
    learned_factor: float = 1.0
    """What they multiplied the time per token by."""


class Measurement(Record):
    """What somebody measured of a model on cards under one load."""

    model: str
    accelerator: str
    layout: Layout
    weights: str
    """Format that its kernels multiply."""
    kv_dtype: KvDtype
    concurrency: Annotated[float, Field(gt=0, le=1e7)]
    prompt_tokens: Annotated[int, Field(gt=0)]
    output_tokens: Annotated[int, Field(gt=0)]
    tpot_ms: float | None
    """Time per output token."""
    output_tokens_per_second: float | None
    engine: str
    source: str


class NearestMeasurement(Record):
    """The public measurement nearest to a plan."""

    measurement: Measurement
    near: Nearness
    ours_ms: float | None
    """Time per output token that is predicted for the very point that was measured; ``None`` for other weights."""


class SecondOpinion(Record):
    """Another estimator's figure for the same plan and load."""

    source: str
    tpot_ms: float | None
    output_tokens_per_second: float | None
    note: str | None
    """Why it is rejected, or why there is none."""
