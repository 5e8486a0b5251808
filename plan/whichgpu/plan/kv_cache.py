"""KV cache and recurrent state. Source: vLLM 0.32 v1/kv_cache_interface.py and layers/mamba/mamba_utils.py.

First version: bytes as the layers need them, without page rounding between layer kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whichgpu.inspect.records import Inspection, Mixer
from whichgpu.plan.layouts import stage_layers
from whichgpu.plan.records import KvDtype

_ENTRY = {"bf16": 2, "fp8": 1}
_INDEXER_BYTES = 132
"""Sparse indexer: 128 FP8 values and one FP32 scale per token (vLLM 0.32, DeepSeek-V3.2)."""

_V4_WINDOW_BYTES = 585
"""DeepSeek-V4: 37,440 bytes per 64 tokens and layer inside the window (fp8_ds_mla, rounded to 576)."""

_V4_COMPRESSED_BYTES = {4: (37_440 + 8_640) / 256, 128: 1_728 / 256}
"""DeepSeek-V4: bytes per token and layer beyond the window, by compression ratio, indexer included."""

_STATE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_ATTENTION = frozenset({"full", "sliding", "chunked", "hybrid"})
_SILENT = frozenset({"none", "projection", "encoder"})


@dataclass(frozen=True, slots=True)
class Cache:
    """What one card keeps per token and per sequence."""

    per_token: float
    """Bytes per token in layers that see everything."""
    windowed: tuple[tuple[float, int], ...]
    """(bytes per token, window in tokens) of layers that forget."""
    state: int
    """Bytes of recurrent state per sequence."""
    unknown: tuple[str, ...] = ()
    """Kinds of layers whose cache is not counted."""

    def sequence(self, tokens: int) -> int:
        """Bytes of one sequence of this many tokens."""
        grown = self.per_token * tokens + sum(size * min(tokens, window) for size, window in self.windowed)
        return int(grown) + self.state

    @property
    def growth(self) -> int:
        """Bytes per further token, once every window is full."""
        return int(self.per_token)

    @property
    def anything(self) -> bool:
        return bool(self.per_token or self.windowed or self.state)


def kv_dtype_of(inspection: Inspection, asked: KvDtype) -> str:
    """Resolve ``auto``: what the checkpoint asks for, else BF16; DeepSeek-V4 always keeps its own FP8 layout."""
    mixers = inspection.architecture.mixers if inspection.architecture else ()
    if any(m.kind == "compressed" for m in mixers):
        return "fp8"
    if asked is not KvDtype.AUTO:
        return asked.value
    declared = inspection.quantisation.kv_cache if inspection.quantisation else None
    return "fp8" if declared and "fp8" in declared else "bf16"


def cache_of(mixers: Sequence[Mixer], kv_dtype: str, tp: int = 1, pp: int = 1) -> Cache:
    """Return the cache of the fullest card under tensor and pipeline parallelism."""
    per_token = 0.0
    windowed: list[tuple[float, int]] = []
    state = 0.0
    layers = sum(m.layers for m in mixers) or pp
    share = max(stage_layers(layers, pp)) / layers
    unknown = dict.fromkeys(m.kind for m in mixers if not is_counted(m))
    for mixer in mixers:
        if mixer.kind in unknown:
            continue
        size = _per_token(mixer, kv_dtype, tp) * mixer.layers
        if mixer.kind == "compressed" and mixer.window:
            windowed.append((_V4_WINDOW_BYTES * mixer.layers * share, mixer.window))
            per_token += size
        elif mixer.kind in ("sliding", "chunked") and mixer.window:
            windowed.append((size * share, mixer.window))
        else:
            per_token += size
        state += _state(mixer, tp) * mixer.layers
    return Cache(per_token * share, tuple(windowed), int(state * share), tuple(unknown))


def is_counted(mixer: Mixer) -> bool:
    """True when the record holds every size that this kind of layer's cache depends on."""
    if mixer.shares_kv or mixer.kind in _SILENT:
        return True
    if mixer.kind == "mla":
        return bool(mixer.kv_lora_rank)
    if mixer.kind == "compressed":
        return mixer.compress_ratio in (0, *_V4_COMPRESSED_BYTES)
    if mixer.kind in _ATTENTION:
        return bool(mixer.kv_heads and mixer.head_dim)
    return bool(mixer.state_size or mixer.conv_size)


def _per_token(mixer: Mixer, kv_dtype: str, tp: int) -> float:
    """Bytes per token of one layer on one card."""
    if mixer.shares_kv or mixer.kind in _SILENT:
        return 0
    width = _ENTRY[kv_dtype]
    if mixer.kind == "mla":
        latent = (mixer.kv_lora_rank or 0) + (mixer.rope_head_dim or 0)
        return latent * width + (_INDEXER_BYTES if mixer.index_head_dim else 0)
    if mixer.kind == "compressed":
        return _V4_COMPRESSED_BYTES[mixer.compress_ratio] if mixer.compress_ratio else 0
    if mixer.kind in _ATTENTION:
        heads = max(1, -(-(mixer.kv_heads or 0) // tp))
        return heads * ((mixer.head_dim or 0) + (mixer.v_head_dim or mixer.head_dim or 0)) * width
    return 0


def _state(mixer: Mixer, tp: int) -> float:
    """Bytes of recurrent state of one layer per sequence on one card."""
    recurrent = (mixer.state_size or 0) * _STATE_BYTES.get(mixer.state_dtype or "bfloat16", 2)
    return (recurrent + (mixer.conv_size or 0) * 2) / tp
