"""What the host's memory takes over: weights of layers, and a second cache behind the pool.

Sources: vLLM 0.32 model_executor/offloader/uva.py (parameters of layers and encoders, in their order, until so many bytes are
out; embedding, head and tables stay), model_loader/utils.py device_loading_context (repacked ones go out again),
config/offload.py (``cpu_offload_gb`` is GiB per GPU), config/cache.py (``kv_offloading_size`` is GiB over all ranks of one engine),
v1/kv_offload/cpu/spec.py (whole blocks of all ranks).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whichgpu.inspect.records import Inspection, Part
from whichgpu.plan.case import Case
from whichgpu.plan.choices import Precision
from whichgpu.plan.records import Accelerator, Workload
from whichgpu.plan.terms import GIB, Size

_MOVABLE = frozenset(
    part.value
    for part in (
        *(Part.ATTENTION, Part.DENSE_FFN, Part.ROUTED_EXPERTS, Part.SHARED_EXPERTS, Part.ROUTER, Part.SSM),
        *(Part.VISION, Part.AUDIO),
    )
)
_FLAG = "--cpu-offload-gb"
_HALVED = 2
"""Weights that are converted while they load are counted at their width before it."""


def offloaded_bytes(workload: Workload, card: Accelerator, inspection: Inspection, precision: Precision) -> int:
    """Return how many bytes of weights one card may leave to the host; 0 where both use the same memory."""
    if card.unified:
        return 0
    is_converted = precision is Precision.FP8 and inspection.quantisation is None
    return round(workload.cpu_offload_gb * GIB / (_HALVED if is_converted else 1))


def left_on_card(parts: Sequence[Size], offloaded: int) -> tuple[Size, ...]:
    """Return weights by component, less what the host has of them: of all layers alike, as they come in their order."""
    movable = sum(part.bytes for part in parts if part.name in _MOVABLE)
    if not offloaded or not movable:
        return tuple(parts)
    share = min(1.0, offloaded / movable)
    why = f"{share:.0%} of the layers' weights lie in the host's memory"
    return tuple(_less(part, share, why) if part.name in _MOVABLE else part for part in parts)


def _less(part: Size, share: float, why: str) -> Size:
    """The last parameter that goes out whole may take more with it, and layers need not be alike: the error stays whole."""
    size = part.bytes * (1 - share)
    low, high = max(0.0, size - (part.bytes - part.low)), size + (part.high - part.bytes)
    return part._replace(bytes=size, low=low, high=high, because=why, flag=_FLAG)


def offloading_reasons(case: Case, kv_per_token: float) -> Iterator[str]:
    """Say what a plan needs of the host, and what it gets for it; ``kv_per_token`` is bytes over all cards of one engine."""
    workload, layout = case.workload, case.layout
    host = workload.cpu_offload_gb * min(layout.cards, case.card.per_machine)
    if workload.cpu_offload_gb and case.card.unified:
        yield f"{_FLAG} frees nothing: {case.card.name} shares its memory with the host"
    elif workload.cpu_offload_gb:
        yield (
            f"{_FLAG} {workload.cpu_offload_gb:g}: each machine needs {host:g} GiB of its own memory for weights, which cross the bus"
            " at every step; how fast that is depends on the host and is unknown here"
        )
    size = workload.kv_offloading_size
    if size and kv_per_token:
        tokens = int(size * GIB / kv_per_token)
        yield (
            f"--kv-offloading-size {size:g}: so many GiB of the host's memory for each engine keep the cache of about {tokens:,} tokens"
            " for later prompts; no more sequences run at once"
        )
