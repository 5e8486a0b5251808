"""What a trial leaves: what was launched, what was measured, beside what had been predicted.

Memory is bytes, times are seconds unless the name says ms; ``None`` is unknown, never 0.
"""

from __future__ import annotations

from enum import StrEnum

from whichgpu.inspect.records import Record
from whichgpu.plan.records import Layout, Precision


class Outcome(StrEnum):
    """How a trial ended."""

    MEASURED = "measured"
    FAILED = "failed"
    OUT_OF_TIME = "out of time"
    """The budget ended first; what was measured by then is kept."""
    INTERRUPTED = "interrupted"


class FailureKind(StrEnum):
    """Why vLLM did not serve."""

    CACHE_TOO_SMALL = "cache too small"
    MEMORY = "memory"
    """The host's, not the card's."""
    BUSY = "busy"
    """Something else uses the card, or gave memory back while vLLM measured."""
    TOO_MANY_SEQUENCES = "too many sequences for the state"
    OUT_OF_MEMORY = "out of memory"
    ENCODER = "encoder"
    """One image or video is more than the encoder's cache or a step holds."""
    LAYOUT = "layout"
    OPTIONS = "options"
    """Two options contradict each other."""
    TOO_LONG = "too long"
    ARCHITECTURE = "architecture"
    LIBRARY = "library"
    OPERATOR = "operator"
    GATED = "gated"
    NOT_FOUND = "not found"
    NO_GPU = "no gpu"
    DRIVER = "driver"
    CARD = "architecture of the card"
    DEVICE_FAULT = "device fault"
    """A kernel failed on the card."""
    PORT = "port"
    FLAG = "flag"
    DISK = "disk"
    MACHINES_APART = "machines apart"
    MACHINE_LOST = "machine lost"
    ENGINE_DIED = "engine died"
    KILLED = "killed"
    HANG = "hang"
    UNKNOWN = "unknown"


class StartStage(StrEnum):
    """What vLLM was at when it failed."""

    LOAD = "load"
    PROFILE = "profile"
    """A forward pass of the largest step, and of the encoder."""
    CACHE = "allocating the cache"
    GRAPHS = "capturing graphs"
    WARM_UP = "warm-up"
    """Of the sampler or the pooler, or without graphs."""
    SERVING = "serving"


class Failure(Record):
    """Why vLLM did not serve, in a sentence, and what mends it; figures that the log lacks are ``None``."""

    kind: FailureKind
    sentence: str
    hint: str
    lines: tuple[str, ...] = ()
    """The log's decisive lines."""
    stage: StartStage | None = None
    asked: int | None = None
    """Tokens, sequences, heads or cards, as the message has it."""
    would_do: int | None = None
    """The most of it that the log says there is room for."""
    needed_bytes: int | None = None
    free_bytes: int | None = None
    """What there was instead."""
    total_bytes: int | None = None
    """The card's."""


class Load(Record):
    """Requests to measure: how many at once, and their tokens; lengths that are not named are the question's."""

    concurrency: int
    prompt: int | None = None
    output: int | None = None

    @property
    def words(self) -> str:
        """As ``--sweep`` takes it: ``16``, or ``16@7168:1024``."""
        has_lengths = self.prompt is not None and self.output is not None
        return f"{self.concurrency}@{self.prompt}:{self.output}" if has_lengths else str(self.concurrency)


class Stage(Record):
    """One stage of a start, and how long it took."""

    name: str
    seconds: float


class Memory(Record):
    """What vLLM says of one card's memory; of several ranks the fullest."""

    weights_bytes: int | None = None
    pool_bytes: int | None = None
    activation_bytes: int | None = None
    beside_torch_bytes: int | None = None
    """What grew outside torch's allocator while it was profiled: kernels, NCCL."""
    graph_bytes: int | None = None
    """CUDA graphs as captured."""
    graph_estimate_bytes: int | None = None
    """What vLLM took off the pool for them."""
    total_bytes: int | None = None
    """The card's, as torch sees it."""
    utilisation: float | None = None
    """Share of it in force, of 1."""
    tokens: int | None = None
    """"GPU KV cache size"."""
    concurrency: float | None = None
    """"Maximum concurrency" at the context in force."""
    blocks: int | None = None
    block_size: int | None = None
    max_model_len: int | None = None


class Percentiles(Record):
    """Milliseconds."""

    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


class Power(Record):
    """What the card's own sensors said while requests ran; per card, summed where it says so."""

    samples: int
    watts: float | None
    """Of all cards, mean."""
    joules: float | None
    """Of all cards, over the load."""
    memory_used: int | None
    """Bytes, fullest card."""
    clock_mhz: float | None
    temperature: float | None
    throttled: tuple[str, ...] = ()


class LoadPoint(Record):
    """One load, as ``vllm bench serve`` measured it."""

    concurrency: int
    input_tokens: int
    output_tokens: int
    completed: int
    failed: int
    seconds: float
    output_tokens_per_second: float
    total_tokens_per_second: float
    ttft_ms: Percentiles
    tpot_ms: Percentiles
    itl_ms: Percentiles
    e2e_ms: Percentiles
    cache_used: float | None = None
    """Largest share of the KV cache in use, of 1."""
    waiting: int | None = None
    """Most requests in the queue."""
    preemptions: int | None = None
    power: Power | None = None
    output_tokens_per_joule: float | None = None


class PredictedPoint(Record):
    """What the plan said of one load, without what trials taught; ``None`` where speed is not predicted."""

    concurrency: int
    input_tokens: int
    output_tokens: int
    tpot_ms: float | None
    ttft_ms: float | None
    tokens_per_second: float | None


class Predicted(Record):
    """What the plan said of exactly this."""

    weights_bytes: int | None
    pool_bytes: int | None
    tokens: int | None
    tokens_per_second: float | None
    tpot_ms: float | None
    usd_per_hour: float | None
    points: tuple[PredictedPoint, ...] = ()
    """Of each load; the speeds above are those of the question's own concurrency."""

    def of(self, concurrency: int, prompt: int, output: int) -> PredictedPoint | None:
        """What had been said of one load."""
        key = (concurrency, prompt, output)
        return next((p for p in self.points if (p.concurrency, p.input_tokens, p.output_tokens) == key), None)


class Summary(Record):
    """The busiest point beside its prediction: what the catalog has in columns."""

    accelerator: str
    cards: int
    vllm: str | None
    layout: str
    precision: str
    context: int
    concurrency: int | None
    input_tokens: int
    output_tokens: int
    succeeded: bool
    weights_bytes: int | None
    predicted_weights_bytes: int | None
    pool_bytes: int | None
    predicted_pool_bytes: int | None
    tokens_per_second: float | None
    predicted_tokens_per_second: float | None
    tpot_ms: float | None
    predicted_tpot_ms: float | None
    ttft_ms: float | None
    usd_per_million_output: float | None
    tokens_per_joule: float | None


class TinyWeights(StrEnum):
    """Where the weights of a tiny model come from."""

    WRITTEN = "written"
    """Files under the published names, which vLLM's loader read."""
    DUMMY = "dummy"
    """vLLM filled its own class: no class of transformers has these names."""


class Tiny(Record):
    """What a trial of a model made tiny is worth: its config was cut, so its figures say nothing of the model's speed or memory."""

    weights: TinyWeights
    weights_bytes: int | None
    """Of the files; ``None`` where there are none."""
    layers: int
    hidden: int
    """Width of the language model in elements."""
    model_class: str | None
    """transformers' class whose names the tensors have."""
    cuts: tuple[str, ...]
    """How it differs from what is published, each in a sentence."""
    proves: tuple[str, ...]
    """What is certain now, each in a sentence; empty where it failed."""
    not_proved: tuple[str, ...]


class Trial(Record):
    """One trial."""

    identity: str
    """Of this run: names its folder."""
    model: str
    commit: str | None
    accelerator: str
    """Key of the card, or ``cpu``."""
    cards: int
    """On all machines."""
    nodes: int = 1
    """Machines."""
    layout: Layout
    precision: Precision
    context: int
    dummy_weights: bool
    command: str
    vllm: str | None
    """Version that answered."""
    versions: dict[str, str]
    """Of everything that may matter: vLLM, torch, driver, whichgpu."""
    outcome: Outcome
    failure: Failure | None
    stages: tuple[Stage, ...]
    memory: Memory
    points: tuple[LoadPoint, ...]
    predicted: Predicted
    log_tail: tuple[str, ...]
    started_at: str
    seconds: float
    summary: Summary
    tiny: Tiny | None = None
    """Of a trial of the model made tiny; nothing is learned from its figures."""
