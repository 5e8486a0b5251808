"""Over how many cards one copy of a tensor is spread.

Sources: vLLM 0.32 layers/linear.py, vocab_parallel_embedding.py, fused_moe.
"""

from __future__ import annotations

from typing import NamedTuple

from whichgpu.inspect.records import Architecture, TensorGroup
from whichgpu.plan.engine import ClassRules
from whichgpu.plan.records import Layout
from whichgpu.plan.roles import Role, role_of


class Ways(NamedTuple):
    """What the shapes on a card depend on, whatever the pipeline."""

    tensor_parallel: int
    data_parallel: int
    expert_parallel: bool

    @classmethod
    def of(cls, layout: Layout) -> Ways:
        """Return those of a layout."""
        return cls(layout.tensor_parallel, layout.data_parallel, layout.expert_parallel)

    @property
    def ranks(self) -> int:
        return self.tensor_parallel * self.data_parallel


def spread(role: Role, kv_heads: int, architecture: Architecture | None, ways: Ways) -> float:
    """Cards that one copy is spread over; ``kv_heads`` are those that keys and values are shared out by."""
    tp = ways.tensor_parallel
    if role is Role.REPLICATED:
        return 1
    if role is Role.KEY_VALUE and kv_heads:
        return min(tp, kv_heads)
    if role is Role.FUSED and architecture is not None and kv_heads and architecture.heads:
        queries, pairs = architecture.heads, 2 * kv_heads
        return (queries + pairs) / (queries / tp + pairs / min(tp, kv_heads))
    if role is Role.EXPERT:
        experts = max((f.experts or 0 for f in architecture.feed_forwards), default=0) if architecture else 0
        if ways.expert_parallel and experts and ways.ranks > 1:
            return experts / -(-experts // ways.ranks)
        return ways.ranks
    return tp


def spread_of(group: TensorGroup, architecture: Architecture | None, classes: ClassRules, ways: Ways) -> float:
    """Cards that one copy of a group is spread over."""
    return spread(role_of(group, architecture, classes), kv_heads_of(group, architecture), architecture, ways)


def kv_heads_of(group: TensorGroup, architecture: Architecture | None) -> int:
    """Key/value heads of the layers that a projection belongs to, by its width; else of the model."""
    if architecture is None:
        return 0
    matching_heads = (
        m.kv_heads for m in architecture.mixers if group.shape[:1] == ((m.kv_heads or 0) * (m.head_dim or 0),)
    )
    return next(matching_heads, None) or architecture.kv_heads or 0
