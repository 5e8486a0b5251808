"""This machine's own GPUs, as NVIDIA's management library (NVML, package nvidia-ml-py) or ROCm's ``rocm-smi`` reports them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whichgpu.inspect.text import clean
from whichgpu.plan.records import Accelerator
from whichgpu.trial.errors import NoGpuError, NoReaderError
from whichgpu.trial.rocm import amd_gpus

_MIB, _GIB = 2**20, 2**30
_TORCH_SHARE = 0.996
"""torch's total over NVML's, on cards whose usable memory was never measured (0.995 to 0.997 on known ones)."""

_NOISE = re.compile(r"nvidia|amd|geforce|tesla|quadro|graphics|generation|hbm\d\w*|\d+\s*gb", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LocalGpu:
    """One GPU of this machine. Memory in bytes."""

    index: int
    name: str
    total: int
    free: int
    processes: int | None
    """Processes that compute on it now; ``None`` where nobody counts them."""
    reader: str = "NVML"


def gpus_here() -> tuple[LocalGpu, ...]:
    """Return this machine's NVIDIA GPUs, else its AMD ones.

    Raises:
        NoGpuError: the library is not installed, there is no driver, or there is no GPU.
    """
    try:
        return _nvidia()
    except NoGpuError:
        local_gpus = tuple(LocalGpu(g.index, g.name, g.total, g.total - g.used, None, "rocm-smi") for g in amd_gpus())
        if not local_gpus:
            raise
        return local_gpus


def _nvidia() -> tuple[LocalGpu, ...]:
    try:
        import pynvml
    except ImportError as error:
        raise NoReaderError("NVIDIA's management library", "local") from error
    try:
        pynvml.nvmlInit()
        try:
            gpus = tuple(_read(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount()))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise NoGpuError(f"This machine's GPUs cannot be read: {clean(error, 80)}.", _ELSE) from error
    if not gpus:
        raise NoGpuError("This machine has no NVIDIA GPU.", _ELSE)
    return gpus


_ELSE = "Name a card instead, for example --gpu H100."


def _read(library: Any, index: int) -> LocalGpu:
    handle = library.nvmlDeviceGetHandleByIndex(index)
    memory = library.nvmlDeviceGetMemoryInfo(handle)
    name = library.nvmlDeviceGetName(handle)
    return LocalGpu(
        index=index,
        name=clean(name.decode() if isinstance(name, bytes) else name, 80),
        total=int(memory.total),
        free=int(memory.free),
        processes=len(library.nvmlDeviceGetComputeRunningProcesses(handle)),
    )


def as_accelerators(
    local_gpus: Sequence[LocalGpu], accelerators: Sequence[Accelerator]
) -> tuple[list[Accelerator], list[str]]:
    """Return one accelerator per kind of GPU found, with as many as there are, and what is to be said about them.

    Raises:
        NoGpuError: a GPU is no known card.
    """
    kinds: dict[tuple[str, int], list[LocalGpu]] = defaultdict(list)
    for gpu in local_gpus:
        kinds[gpu.name, gpu.total // _MIB].append(gpu)
    cards, notes = list[Accelerator](), list[str]()
    for (name, mib), gpus in kinds.items():
        known_card = _matching_card(name, mib, accelerators)
        if known_card is None:
            raise NoGpuError(f"This machine's {name} is no known card.", "Describe it with --gpu-file.")
        cards.append(_card_here(known_card, mib, len(gpus), gpus[0].reader))
        notes += [_busy(gpu) for gpu in gpus if gpu.free < 0.9 * gpu.total]
    return cards, notes


def _matching_card(name: str, mib: int, accelerators: Sequence[Accelerator]) -> Accelerator | None:
    """The card whose name has the most of the reported words, then the nearest memory."""
    words = set(re.findall(r"[a-z0-9]+", _NOISE.sub(" ", name).lower()))
    words |= {re.sub(r"^(rtx|sxm)(\d+)$", r"\1", w) for w in words}

    def score(card: Accelerator) -> tuple[int, float]:
        card_words = set(re.findall(r"[a-z0-9]+", card.name.lower()))
        return len(words & card_words), -abs(card.usable_gib - mib / 1024)

    models = {w for w in words if re.search(r"\d", w)}
    fitting = [
        c for c in accelerators if models & set(re.findall(r"[a-z0-9]+", f"{c.name} {c.key}".lower().replace("_", " ")))
    ]
    return max(fitting, key=score, default=None)


def _card_here(card: Accelerator, mib: int, count: int, reader: str) -> Accelerator:
    """The known card as this machine has it: so many, and its memory as read where that differs."""
    total = mib / 1024
    same = abs(card.usable_gib / total - _TORCH_SHARE) < 0.05
    counts = sorted({n for n in (1, 2, 4, 8) if n <= count} | {count})
    return card.model_copy(
        update={
            "key": f"{card.key}_here",
            "copy_of": card.known_key,
            "name": f"{card.name} (here)",
            "aliases": (),
            "listed_as": (),
            "usable_gib": card.usable_gib if same else round(total * _TORCH_SHARE, 2),
            "node_counts": tuple(counts),
            "linked_cards": min(card.linked_cards, count),
            "sources": {**card.sources, "here": f"{reader}: {count} with {mib:,} MiB each"},
        }
    )


def _busy(gpu: LocalGpu) -> str:
    users = f", {gpu.processes} process{'es' if gpu.processes != 1 else ''} on it" if gpu.processes else ""
    free, total = gpu.free / _GIB, gpu.total / _GIB
    share = max(0.01, int(gpu.free / gpu.total * 100 - 2) / 100)
    return (
        f"GPU {gpu.index} has {free:.1f} of {total:.1f} GiB free{users}; "
        f"vLLM wants its share free: end them, or plan with --gpu-memory-utilization {share:.2f}"
    )
