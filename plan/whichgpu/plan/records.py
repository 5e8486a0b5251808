"""Records of this room: the question, the hardware, the footprint of one layout, and ranked plans.

Memory is bytes (GiB = 2^30 on screen), rates are as vendors print them (GB = 10^9), prices are US dollars.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import AfterValidator, Field

from whichgpu.inspect.records import Origin, Record
from whichgpu.plan.accelerators import Accelerator, ExpertKernel, Generation, Kernels, Support
from whichgpu.plan.asked import Draft, MediaLimit
from whichgpu.plan.choices import (
    InsteadOf,
    KvDtype,
    Medium,
    MemoryGroup,
    Objective,
    Precision,
    Seller,
    StartCheck,
    Sureness,
    Verdict,
)
from whichgpu.plan.speed_records import (
    Layout,
    Measurement,
    NearestMeasurement,
    Range,
    SecondOpinion,
    Speed,
    StepTime,
)

__all__ = [
    "Accelerator",
    "Answer",
    "Draft",
    "ExpertKernel",
    "Footprint",
    "Generation",
    "Kernels",
    "KvDtype",
    "Layout",
    "Measurement",
    "MediaLimit",
    "Medium",
    "MemoryGroup",
    "NearestMeasurement",
    "Need",
    "Objective",
    "Plan",
    "Precision",
    "Price",
    "PriceOffer",
    "Range",
    "Remedy",
    "RunnerUp",
    "SecondOpinion",
    "Seller",
    "Speed",
    "StartCheck",
    "StepTime",
    "Support",
    "Term",
    "Verdict",
    "Workload",
]


class Workload(Record):
    """The question: how long, how many at once, how precise."""

    context: int
    """Tokens per sequence, prompt and output together."""
    context_auto: bool = False
    """As many tokens as fit, whatever ``context`` says: up to what the model allows, which ``context`` then is in an answer;
    ``Plan.sets`` has what fits there."""
    concurrency: int
    """Sequences in flight."""
    precision: Precision = Precision.PUBLISHED
    kv_dtype: KvDtype = KvDtype.AUTO
    accelerators: tuple[str, ...] = ()
    """Keys to consider; empty for the default list."""
    cards: int | None = None
    """Exactly so many cards of one kind; ``None`` is as few as serve."""
    prompt: int | None = None
    """Input tokens of a typical request, for speed; ``None`` is what ``output`` leaves of the context."""
    output: int | None = None
    """Output tokens of a typical request; ``None`` is an eighth of the context, at most 1,024."""
    rate: float | None = None
    """Requests per second that all replicas together have to serve."""
    objective: Objective = Objective.COST
    price_kind: str = "on-demand"
    busy: float = 1.0
    """Share of the paid time that the load is there; costs per token are divided by it."""
    prefix_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of a prompt's tokens that vLLM finds in its prefix cache: they are not computed again."""
    max_tpot_ms: float | None = None
    max_ttft_ms: float | None = None
    max_usd_per_hour: float | None = None
    utilisation: float | None = None
    """Share of the card that vLLM may use; ``None`` is the version's default (gpu_memory_utilization)."""
    utilisation_asked: bool = False
    """True where the user named the share, so that the command has to."""
    vllm: str | None = None
    """vLLM's version; ``None`` is the newest whose rules are known."""
    max_sequences: int | None = None
    """``--max-num-seqs``; ``None`` is the default of card and version."""
    batched_tokens: int | None = None
    """``--max-num-batched-tokens``; ``None`` is the default of card and version."""
    eager: bool = False
    """``--enforce-eager``: no CUDA graphs."""
    speculative_tokens: int = 0
    """Tokens drafted by the model's own next-token layers (``--speculative-config``); 0 leaves these layers out."""
    draft: Draft | None = None
    """``--speculative-config`` with another model than the served one's own layers."""
    text_only: bool = False
    """``--language-model-only``: encoders are neither loaded nor profiled."""
    media_limits: tuple[MediaLimit, ...] = ()
    """``--limit-mm-per-prompt``: what is not named is not limited; an encoder of what may not come is not loaded."""
    cpu_offload_gb: Annotated[float, Field(ge=0)] = 0.0
    """``--cpu-offload-gb``: GiB of weights per card that lie in the host's memory."""
    kv_offloading_size: Annotated[float, Field(gt=0)] | None = None
    """``--kv-offloading-size``: GiB of the host's memory for each engine, over all its cards, behind the pool."""
    enable_lora: bool = False
    """``--enable-lora``: room for the adapters of a batch is kept on every card."""
    max_loras: Annotated[int, Field(ge=1)] = 1
    """Adapters in one batch."""
    max_lora_rank: Annotated[int, Field(ge=1)] = 16
    fully_sharded_loras: bool = False
    """``--fully-sharded-loras``: both halves of an adapter are cut over the cards, not one."""
    tensor_parallel: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Exactly so many cards a stage; with any of these four the layout is the user's, and nothing else is tried."""
    pipeline_parallel: Annotated[int, Field(ge=1, le=1024)] | None = None
    data_parallel: Annotated[int, Field(ge=1, le=1024)] | None = None
    expert_parallel: bool = False

    @property
    def drafted(self) -> int:
        """Tokens that are drafted at once, by whatever."""
        return self.draft.tokens if self.draft is not None else self.speculative_tokens

    @property
    def layout(self) -> Layout | None:
        """The layout that was asked for; ``None`` leaves it to the planner."""
        sizes = (self.tensor_parallel, self.pipeline_parallel, self.data_parallel)
        if sizes == (None, None, None) and not self.expert_parallel:
            return None
        tp, pp, dp = (size or 1 for size in sizes)
        return Layout(tensor_parallel=tp, pipeline_parallel=pp, data_parallel=dp, expert_parallel=self.expert_parallel)


def _iso_date(text: str | None) -> str | None:
    """Raises ValueError: it is no date."""
    if text is not None and date.fromisoformat(text).isoformat() != text:
        raise ValueError("no ISO date")
    return text


class PriceOffer(Record):
    """One published price for one card-hour."""

    accelerator: str
    usd_per_hour: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
    provider: str
    kind: str
    """on-demand or spot."""
    date: Annotated[str | None, AfterValidator(_iso_date)]
    """ISO date on which it was seen; ``None`` when the source does not say."""
    source: str
    region: str | None = None
    count: int | None = None
    """Cards in the instance that is rented; ``None`` where any number is, or it isn't said."""
    instance: str | None = None
    contract: bool = False
    """True for a price of the user's own: typed, or a contract of the team's."""
    seller: Seller = Seller.CLOUD
    inferred: bool = False
    """True where the month was inferred, not stated."""


class Price(Record):
    """The price used for some cards of a kind: the median over providers of one kind, each with one vote, the older the lighter."""

    usd_per_hour: float
    """Per card that is needed, where a larger machine has to be rented for them too."""
    low: float
    """A quarter of the providers ask no more."""
    high: float
    offers: int
    """Providers."""
    oldest: str
    newest: str
    kind: str = "on-demand"
    """on-demand, or spot: cheaper, and taken away at any time."""
    yours: bool = False
    """True for a price that the user named, or a contract of the team's."""
    providers: tuple[str, ...] = ()
    seller: Seller = Seller.CLOUD
    """Kind of the providers; another than clouds where none of these sells it."""
    count_stated: bool = True
    """False where the providers list a price per card and not which machines they sell."""
    cheapest: tuple[PriceOffer, ...] = ()
    """Where to rent it: the three cheapest of any kind of provider."""


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


class Term(Record):
    """One part of what a card holds, with its bounds and what changes it."""

    name: str
    bytes: int
    low: int
    high: int
    origin: Origin
    because: str
    """The rule and its source."""
    flag: str | None = None
    """The vLLM option that changes it."""
    group: MemoryGroup = MemoryGroup.RUNTIME


class Footprint(Record):
    """Bytes on the fullest card under one layout, and what its pool holds."""

    layout: Layout
    weights: int
    """What vLLM prints as "Model loading took", in bytes."""
    activations: int
    """Peak beside what stays: the larger of forward pass, sampler and encoder."""
    runtime: int
    """Kernels, NCCL, resident buffers, expert workspaces and CUDA graphs."""
    terms: tuple[Term, ...]
    """Everything in ``weights``, ``activations`` and ``runtime``, broken down; empty at other precisions than asked."""
    usable: int
    budget: int
    """usable × utilisation."""
    pool: int
    """"Available KV cache memory"; negative when the weights alone do not fit."""
    pool_low: int
    """Unfavourable end of the prediction."""
    pool_high: int
    kv_per_token: int
    """Growth of one sequence per token, all layers on this card, once sliding windows are full."""
    state_per_sequence: int
    kv_needed: int | None
    """For the asked context × concurrency, in whole blocks; ``None`` when the cache is not known."""
    block_size: int | None
    """Tokens per block of the layers that see everything."""
    bytes_per_block: int | None
    """Of the pool that all layers share, page rounding and padding included."""
    blocks: int | None
    blocks_per_sequence: int | None
    """At the asked context, all groups of layers together."""
    capacity_tokens: int | None
    """Tokens that really fit at the asked context; more than vLLM prints where layers have windows, whose line counts
    the tokens in flight for every sequence anew."""
    printed_tokens: int | None
    """"GPU KV cache size" as this version of vLLM prints it."""
    max_sequences: int | None
    """Whole sequences of the asked context that fit at once; ``None`` without a cache, or with an unknown one."""
    concurrency: float | None
    """"Maximum concurrency" at the asked context, as vLLM prints it."""
    longest_context: int | None
    """Longest single sequence that fits, up to what the model allows."""
    verdict: Verdict

    @property
    def headroom(self) -> int:
        """Bytes left on the card; an unknown cache still has to go there."""
        return self.pool - (self.kv_needed or 0)


class Remedy(Record):
    """One change, and what it was recomputed to do."""

    flag: str
    """What to write: a vLLM option, or another checkpoint or card count."""
    effect: str
    """In words, per card: ``2.0 × tokens``, ``frees 1.4 GiB``."""
    verdict: Verdict
    """With this change alone."""
    pool: int
    capacity_tokens: int | None
    max_sequences: int | None
    changes: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Fields of the workload, with the values that make this change; empty where it changes the layout."""


class Plan(Record):
    """One way to run the model, or the reason why not."""

    accelerator: str
    accelerator_name: str
    vendor: str
    precision: Precision
    count: int
    layout: Layout | None
    footprint: Footprint | None
    """Of the layout that is planned; of the largest one tried where nothing fits."""
    verdict: Verdict
    usd_per_hour: float | None
    price: Price | None
    command: str | None
    sets: dict[str, int | float] = Field(default_factory=dict)
    """Fields of the workload that are planned and set although nobody asked: vLLM would not start, or the host needs its own."""
    start: StartCheck = StartCheck.NOT_CHECKED
    """Whether vLLM's own selectors have kernels for all its layers on this card (``vllm_kernels.json``)."""
    speed: Speed | None = None
    """``None`` for what does not decode token by token, or where no layout fits."""
    second_opinion: SecondOpinion | None = None
    """Where it was asked for, of the recommended plan."""
    measured: tuple[NearestMeasurement, ...] = ()
    """Public measurements of this model's shape on this card, nearest first; of plans at the asked precision."""
    other_price: Price | None = None
    """Of the other kind, to compare: spot beside on-demand, or the other way round."""
    replicas: int = 1
    """Copies that the asked rate of requests needs; prices and counts are of one."""
    machines: int = 1
    """Machines of one replica."""
    sureness: Sureness = Sureness.START_UNPROVEN
    missed: tuple[str, ...] = ()
    """Limits of the workload that it does not keep."""
    reasons: tuple[str, ...] = ()
    """Everything against it, most important first."""
    remedies: tuple[Remedy, ...] = ()
    """Where it does not fit safely: what would make it fit, best first."""

    @property
    def total_cards(self) -> int:
        """Cards of all replicas."""
        return self.count * self.replicas

    @property
    def total_usd_per_hour(self) -> float | None:
        """What all replicas cost; ``None`` without a price."""
        return self.usd_per_hour * self.replicas if self.usd_per_hour is not None else None

    @property
    def fits(self) -> bool:
        """True for a plan that holds what was asked even if the prediction errs."""
        return self.verdict is Verdict.FITS


class RunnerUp(Record):
    """The best plan on another card than the recommended one's."""

    plan: int
    """Position in the answer's plans."""
    why: str
    """Why it lost, and what it has for it."""


class Instead(Record):
    """A plan that may be taken instead of the recommended one."""

    plan: int
    """Position in the answer's plans."""
    kind: InsteadOf


class Answer(Record):
    """Needs at each precision and the plans, cheapest first."""

    workload: Workload
    needs: tuple[Need, ...]
    plans: tuple[Plan, ...]
    recommended: Plan | None
    alternatives: tuple[Plan, ...] = ()
    """The cheapest fitting plan of each other vendor, at the asked precision."""
    runner_up: RunnerUp | None = None
    front: tuple[int, ...] = ()
    """Positions in ``plans`` of those that fit and that no other beats in price, time per token and sureness at once, cheapest first."""
    instead: tuple[Instead, ...] = ()
    """A few others, each for a reason, cheapest first."""
    busiest: Speed | None = None
    """What the recommended plan serves at the largest load that it holds within the limits."""
    unpriced: int = 0
    """Cards that were not asked, as nobody is known to rent them."""
    notes: tuple[str, ...] = ()
    vllm: str
    """Version of vLLM that the plans are for."""
    facts_date: str
