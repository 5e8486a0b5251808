"""Records of this room: the question, the hardware, the footprint of one layout, and ranked plans.

Memory is bytes (GiB = 2^30 on screen), rates are as vendors print them (GB = 10^9), prices are US dollars.
"""

from __future__ import annotations

from pydantic import Field

from whichgpu.inspect.records import Origin, Record
from whichgpu.plan.choices import KvDtype, Precision

__all__ = [
    "Accelerator",
    "Answer",
    "Footprint",
    "KvDtype",
    "Layout",
    "Need",
    "Plan",
    "Precision",
    "Price",
    "PriceOffer",
    "Workload",
]


class Workload(Record):
    """The question: how long, how many at once, how precise."""

    context: int
    """Tokens per sequence, prompt and output together."""
    concurrency: int
    """Sequences in flight."""
    precision: Precision = Precision.PUBLISHED
    kv_dtype: KvDtype = KvDtype.AUTO
    accelerators: tuple[str, ...] = ()
    """Keys to consider; empty for the default list."""
    utilisation: float = 0.92
    """Share of the card that vLLM may use (vLLM 0.32 config/cache.py gpu_memory_utilization)."""


class Accelerator(Record):
    """One accelerator; every figure has its source in ``sources``."""

    key: str
    name: str
    vendor: str
    aliases: tuple[str, ...] = ()
    usable_gib: float
    """What torch reports as total memory, not the marketed figure."""
    marketed_gb: int
    bandwidth_gbs: float
    bf16_tflops: float | None
    """Dense."""
    fp8_tflops: float | None
    board_watts: int | None
    capability: str
    """CUDA compute capability, or the gfx name of an AMD part."""
    node_counts: tuple[int, ...]
    """Cards per rented node."""
    confidence: str
    default: bool = False
    """In the list that is considered when the user names none."""
    sources: dict[str, str] = Field(default_factory=dict)


class PriceOffer(Record):
    """One published price for one card-hour."""

    accelerator: str
    usd_per_hour: float
    provider: str
    kind: str
    """on-demand or spot."""
    date: str | None
    """ISO date on which it was seen; ``None`` when the source does not say."""
    source: str


class Price(Record):
    """The price used for an accelerator: the median of its dated on-demand offers."""

    usd_per_hour: float
    low: float
    high: float
    offers: int
    oldest: str
    newest: str


class Layout(Record):
    """How a model is spread over cards."""

    tensor_parallel: int
    pipeline_parallel: int = 1

    @property
    def cards(self) -> int:
        return self.tensor_parallel * self.pipeline_parallel


class Need(Record):
    """What a model needs at one precision, on no card in particular."""

    precision: Precision
    label: str
    """As shown: ``as published (fp8 128x128)``."""
    weights_bytes: int | None
    kv_dtype: str
    kv_bytes_per_token: int | None
    """Growth per token of one sequence, all layers, once sliding windows are full; ``None`` when unknown."""
    state_bytes_per_sequence: int
    """Recurrent state: constant per sequence."""
    kv_bytes: int | None
    """For context × concurrency."""
    origin: Origin
    notes: tuple[str, ...] = ()


class Footprint(Record):
    """Bytes on each card under one layout; the fullest card where they differ."""

    layout: Layout
    weights: int
    kv_per_token: int
    state_per_sequence: int
    kv_needed: int | None
    """For the asked context × concurrency; ``None`` when the cache is not known."""
    activations: int
    runtime: int
    """CUDA graphs, buffers, NCCL and kernels' own memory."""
    usable: int
    budget: int
    """usable × utilisation."""
    pool: int
    """What is left for the KV cache; negative when the weights alone do not fit."""
    capacity_tokens: int | None
    """Tokens that fit into the pool at the asked context; ``None`` without a cache that grows with tokens."""
    max_sequences: int | None
    """Sequences of the asked context that fit at once; ``None`` without a cache, or with an unknown one."""

    @property
    def headroom(self) -> int:
        """Bytes left on the card; an unknown cache still has to go there."""
        return self.pool - (self.kv_needed or 0)


class Plan(Record):
    """One way to run the model, or the reason why not."""

    accelerator: str
    accelerator_name: str
    vendor: str
    precision: Precision
    count: int
    layout: Layout | None
    footprint: Footprint | None
    fits: bool
    usd_per_hour: float | None
    price: Price | None
    command: str | None
    reasons: tuple[str, ...] = ()
    """Everything against it, most important first."""


class Answer(Record):
    """Needs at each precision and the plans, cheapest first."""

    workload: Workload
    needs: tuple[Need, ...]
    plans: tuple[Plan, ...]
    recommended: Plan | None
    alternatives: tuple[Plan, ...] = ()
    """The cheapest fitting plan of each other vendor, at the asked precision."""
    notes: tuple[str, ...] = ()
    facts_date: str
