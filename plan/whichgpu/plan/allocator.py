"""What torch's CUDA allocator adds to weights: the rest of a segment that is too small to be of use to others.

Source: c10/cuda/CUDACachingAllocator: sizes from 10 MiB up are taken as segments of whole 2 MiB; what is left of one
is split off only when it is larger than 1 MiB, else it counts as allocated. "Model loading took" includes it:
Qwen2.5-7B has 14.19 GiB of tensors and loads 14.25; on two cards 7.10 and 7.12; on four 3.55 and 3.55.
"""

from __future__ import annotations

import re
from functools import lru_cache

from whichgpu.inspect.records import Part

_MIB = 2**20
_MERGED = (
    (re.compile(r"(q|k|v|qkv)_proj|query_key_value|\bw[qkv]\b"), "qkv"),
    (re.compile(r"(q_a|kv_a)_proj|kv_a_proj_with_mqa"), "qkv_a"),
    (re.compile(r"gate_proj|up_proj|gate_up|\bw[13]\b|\bgate\.weight"), "gate_up"),
    (re.compile(r"in_proj"), "in_proj"),
)
"""Tensors of one layer that vLLM keeps as one (QKVParallelLinear, MergedColumnParallelLinear, fused experts)."""


@lru_cache(maxsize=50_000)
def merged_name(name: str, part: Part) -> str:
    """Return the name under which vLLM keeps a tensor, the same for all that it merges."""
    if part is Part.NORM or name.endswith("bias"):
        return name
    return next((f"{part.value}.{merged}" for rule, merged in _MERGED if rule.search(name)), name)


def unused(size: float) -> int:
    """Bytes that a tensor of this size takes beyond its own."""
    if size < 10 * _MIB:
        return 0
    slack = -size % (2 * _MIB)
    return int(slack) if slack <= _MIB else 0
