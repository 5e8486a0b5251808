"""A card that vLLM is told of: its platform answers for it, whichever it is at the moment.

Imported by workers that run in vLLM's environment, after ``vllm_worker``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import types
from typing import Any

import vllm.distributed.utils
import vllm_worker
from vllm_worker import DeviceCapability, torch

CARDS = {
    7.5: ("Tesla T4", 14.56),
    8.0: ("NVIDIA A100-SXM4-80GB", 79.25),
    8.6: ("NVIDIA GeForce RTX 3090", 23.56),
    8.9: ("NVIDIA L40S", 44.39),
    9.0: ("NVIDIA H100 80GB HBM3", 79.19),
    10.0: ("NVIDIA B200", 178.35),
    10.3: ("NVIDIA B300", 267.69),
    12.0: ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 94.97),
    12.1: ("NVIDIA GB10", 119.7),
}
"""One card of each compute capability: its name and GiB."""
_GIB = 2**30
DEEPEST = 16
"""Layers built of each model: every kind of layer is among its first ones."""


class Pretended:
    """The card that vLLM is told of."""

    def __init__(self) -> None:
        self.capability = 9.0
        self._named, self._gib, self.count = CARDS[9.0][0], CARDS[9.0][1], 8
        self._caches: list[Any] = []
        self._modules = 0

    def become(self, capability: float, name: str | None = None, gib: float | None = None, count: int = 8) -> None:
        """Be another card from here on: what vLLM remembers of the last one is forgotten."""
        self.capability, self.count = capability, count
        usual_name, usual_gib = CARDS.get(capability, CARDS[9.0])
        self._named, self._gib = name or usual_name, gib or usual_gib
        os.environ["VLLM_HAS_FLASHINFER_CUBIN"] = "1" if capability >= 9.0 else "0"
        for cached in self._remembered():
            cached.cache_clear()

    def _remembered(self) -> list[Any]:
        modules = [m for name, m in list(sys.modules.items()) if name.startswith(("vllm.", "flashinfer."))]
        if len(modules) != self._modules:
            self._modules = len(modules)
            holders = [vars(m) for m in modules]
            holders += [vars(c) for h in holders for c in list(h.values()) if isinstance(c, type)]
            bare = [v.__func__ if type(v) in (classmethod, staticmethod) else v for h in holders for v in h.values()]
            self._caches = [v for v in bare if type(v) is functools._lru_cache_wrapper]
        return self._caches

    def pair(self) -> tuple[int, int]:
        return int(self.capability), round(self.capability * 10) % 10

    def name(self) -> str:
        return self._named

    def memory(self) -> int:
        return int(self._gib * _GIB)

    def properties(self) -> types.SimpleNamespace:
        major, minor = self.pair()
        return types.SimpleNamespace(
            name=self.name(),
            major=major,
            minor=minor,
            total_memory=self.memory(),
            multi_processor_count=132,
            warp_size=32,
            L2_cache_size=50 << 20,
            max_threads_per_multi_processor=2048,
            shared_memory_per_block_optin=99 << 10 if major in (7, 8, 12) else 227 << 10,
        )


CARD = Pretended()


def pretend() -> None:
    """Make the platform answer for ``CARD``, whatever it is at the moment."""
    vllm_worker.pretend_h100()
    platform = type(vllm_worker.vllm.platforms.current_platform)
    platform.get_device_capability = classmethod(lambda cls, *a, **k: DeviceCapability(*CARD.pair()))
    platform.get_device_name = classmethod(lambda cls, *a, **k: CARD.name())
    platform.get_device_total_memory = classmethod(lambda cls, *a, **k: CARD.memory())
    torch.cuda.get_device_capability = lambda *a, **k: CARD.pair()
    platform.device_count = classmethod(lambda cls: CARD.count)
    torch.cuda.device_count = lambda: CARD.count
    torch.accelerator.empty_cache = lambda: None
    torch.cuda.get_device_properties = lambda *a, **k: CARD.properties()
    vllm.distributed.utils.get_pp_indices = lambda layers, rank, stages: (0, min(layers, DEEPEST))
    with contextlib.suppress(ImportError):  # the CPU build has neither; options can be checked without
        _pretend_kernels()


def _pretend_kernels() -> None:
    """FlashAttention as it is built for the card; FlashInfer as a bare installation has it."""
    from vllm.v1.attention.backends import flashinfer
    from vllm.vllm_flash_attn import flash_attn_interface

    def is_built_for(version: int, *arguments: Any, **named: Any) -> bool:
        major = CARD.pair()[0]
        return {2: major >= 8, 3: major == 9, 4: major in (9, 10)}[version]

    check = flashinfer.FlashInferBackend.validate_configuration.__func__

    def checked(cls: Any, *arguments: Any, **named: Any) -> list[str]:
        return check(cls, *arguments, **named) if CARD.capability >= 9.0 else ["FlashInfer's kernels are not installed"]

    flashinfer.FlashInferBackend.validate_configuration = classmethod(checked)
    flash_attn_interface.is_fa_version_supported = is_built_for
    flash_attn_interface.fa_version_unsupported_reason = lambda *a, **k: None
