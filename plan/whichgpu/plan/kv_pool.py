"""One pool of blocks for all layers: groups, bytes per block, and what fits into a pool.

Source: vLLM 0.32 v1/core/kv_cache_utils.py (get_kv_cache_groups, unify_kv_cache_spec_page_size,
_get_packed_kv_cache_groups, get_max_concurrency_for_kv_cache_config).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from whichgpu.inspect.mixer_kinds import CacheForm
from whichgpu.plan.kv_layers import CacheLayer

_Member = tuple[int, CacheLayer]
"""Index of the model's layer, and its cache."""


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that share one block table."""

    members: tuple[_Member, ...]

    @property
    def first(self) -> CacheLayer:
        return self.members[0][1]

    def bytes_per_block(self, layers: range) -> int:
        """Bytes of one block in the layers of one pipeline stage."""
        low, high = layers.start, layers.stop
        return sum(cache.page for index, cache in self.members if low <= index < high)


class Grouping:
    """The layers' caches dealt into groups; the same however pipelines are cut, so many pools share one."""

    def __init__(self, members: Sequence[_Member]) -> None:
        self.groups = grouped(members)
        self.caches = tuple(c for g in self.groups for _, c in g.members)
        self.growth = sum(c.token_bytes for c in self.caches if c.kind is CacheForm.FULL)
        self.state = sum(c.page for c in self.caches if c.kind is CacheForm.STATE)


class Schedule(NamedTuple):
    """What is under way at once."""

    in_flight: int
    """Tokens of all batches, which windows keep beside their own."""
    steps: int = 1
    """Batches, of which a decoding sequence has one token each."""
    shared: int = 1
    """Cards that share one sequence's cache."""


class Pool:
    """How the caches of a model's layers share one pool; ``stages`` are the layers of each pipeline stage."""

    def __init__(self, grouping: Grouping, stages: Sequence[range], schedule: Schedule) -> None:
        self.grouping, self.groups = grouping, grouping.groups
        self._schedule = schedule
        self.per_sequence = cache(self._count_most)
        """Blocks that one sequence of so many tokens holds at most, all groups together: while it is read in."""
        self.settled = cache(self._count_settled)
        """Blocks that one holds while it decodes: windows have let go of what is behind them."""
        self.growth = grouping.growth / schedule.shared
        """Bytes that one further token takes in the layers that see everything, over all stages of one card each."""
        self.state = grouping.state
        """Bytes of recurrent state per sequence, one copy, over all stages."""
        self.bytes_per_block = tuple(max((g.bytes_per_block(s) for g in self.groups), default=0) for s in stages)

    @property
    def anything(self) -> bool:
        """False for a model without a cache."""
        return bool(self.groups)

    @property
    def block(self) -> int | None:
        """Tokens per block of the layers that see everything, or of any layer that counts tokens."""
        sizes = [g.first.block for g in self.groups if g.first.kind is CacheForm.FULL]
        return next(iter(sizes), None) or next((g.first.block for g in self.groups if g.first.block), None)

    def blocks(self, pools: Sequence[int]) -> int | None:
        """Blocks that fit, given the pool of each stage in bytes; the poorest stage decides. ``None`` without a cache."""
        counts = [max(0, pool) // size for pool, size in zip(pools, self.bytes_per_block, strict=True) if size]
        return min(counts) if counts else None

    def _count_most(self, tokens: int) -> int:
        in_flight, steps, shared = self._schedule
        return sum(g.first.blocks(tokens, in_flight, shared, in_flight // steps) for g in self.groups)

    def _count_settled(self, tokens: int) -> int:
        return sum(g.first.blocks(tokens, self._schedule.steps, self._schedule.shared) for g in self.groups)

    def together(self, sequences: int, tokens: int) -> int:
        """Blocks that so many sequences need: the tokens in flight are those of all of them together.

        Source: vLLM 0.32 kv_cache_manager: a sequence is let in when its most is free, and holds what it uses.
        """
        return (sequences - 1) * self.settled(tokens) + self.per_sequence(tokens) if sequences > 0 else 0

    def sequences(self, blocks: int, tokens: int) -> float:
        """Sequences of this length that really fit at once beside the block that stays empty, as a fraction."""
        settled = self.settled(tokens)
        spare = blocks - 1 - (self.per_sequence(tokens) - settled)
        return max(0.0, spare / settled) if settled else 0.0

    def concurrency(self, blocks: int, tokens: int) -> float:
        """What vLLM prints as "Maximum concurrency": as if every sequence were being read in at once."""
        return blocks / self.per_sequence(tokens)

    def longest(self, blocks: int, limit: int) -> int:
        """Longest sequence up to ``limit`` that fits beside the one block that stays empty; 0 when none does."""
        if self.per_sequence(limit) < blocks:
            return limit
        return bisect_right(range(1, limit + 1), blocks - 1, key=self.per_sequence)

    def printed(self, blocks: int, tokens: int, unified: bool) -> int:
        """ "GPU KV cache size" of a version: concurrency × length, before 0.20 blocks / groups × smallest block."""
        if unified:
            return int(self.concurrency(blocks, tokens) * tokens)
        smallest = min((g.first.block for g in self.groups if g.first.block), default=tokens)
        return blocks // len(self.groups) * smallest * self._schedule.shared


def grouped(members: Sequence[_Member]) -> tuple[Group, ...]:
    """Deal layers into groups, as vLLM does."""
    if not members:
        return ()
    if _same_demand([c for _, c in members]):
        return (Group(tuple(members)),)
    if any(c.mla and c.kind is CacheForm.WINDOW for _, c in members):
        return _pack_groups(members)
    return _deal_groups(_one_page(members))


def _same_demand(caches: Sequence[CacheLayer]) -> bool:
    """True when every layer needs the same number of blocks for any sequence."""
    return len({(c.kind, c.block, c.span, c.held, c.page if c.kind is CacheForm.STATE else 0) for c in caches}) == 1


def _one_page(members: Sequence[_Member]) -> list[_Member]:
    """Give all layers the largest page: a bigger block where it divides, padding elsewhere."""
    largest = max(c.page for _, c in members)
    paged = {cache: _with_page(cache, largest) for cache in {c for _, c in members}}
    return [(index, paged[cache]) for index, cache in members]


def _with_page(cache: CacheLayer, page: int) -> CacheLayer:
    if cache.page == page:
        return cache
    if cache.block and page % cache.page == 0:
        return replace(cache, page=page, block=cache.block * (page // cache.page))
    return replace(cache, page=page, padded=True)


def _deal_groups(members: Sequence[_Member]) -> tuple[Group, ...]:
    """Split each kind of layer into groups of equal size, dealt in turn (_get_kv_cache_groups_uniform_page_size)."""
    buckets: dict[CacheLayer, list[_Member]] = defaultdict(list)
    for member in members:
        buckets[member[1]].append(member)
    sizes = [len(b) for b in buckets.values()]
    size = max(sizes) if max(sizes) < min(sizes) * 1.5 else min(sizes)
    groups: list[Group] = []
    for bucket in buckets.values():
        count = -(-len(bucket) // size)
        groups += [Group(tuple(bucket[i::count])) for i in range(count)]
    return tuple(groups)


def _pack_groups(members: Sequence[_Member]) -> tuple[Group, ...]:
    """Pack pages of different sizes side by side in one block (DeepSeek-V4; _get_packed_kv_cache_groups)."""
    buckets: dict[tuple[str, int, int], dict[int, list[_Member]]] = {}
    for member in members:
        cache = member[1]
        pages = buckets.setdefault((cache.kind, cache.block, cache.span), defaultdict(list))
        pages[cache.page].append(member)
    balanced = [p for p in buckets.values() if len({len(m) for m in p.values()}) == 1]
    repeats = [len(next(iter(p.values()))) for p in balanced]
    floor = max((n for n, p in zip(repeats, balanced, strict=True) if len(p) > 1), default=0)
    size = _least_padding(repeats, floor) if floor else 0
    groups: list[Group] = []
    for pages in buckets.values():
        rows = list(zip(*pages.values(), strict=False))
        count = -(-len(rows) // size) if size and pages in balanced else 1
        if count == 1:
            groups.append(Group(tuple(m for page_members in pages.values() for m in page_members)))
            continue
        groups += [Group(tuple(m for row in rows[i::count] for m in row)) for i in range(count)]
    return tuple(groups)


def _least_padding(counts: Sequence[int], floor: int) -> int:
    """Group size from ``floor`` up that rounds the counts up least; the larger of equals (_approximate_gcd)."""
    return min(range(floor, max(counts) + 1), key=lambda d: (sum(-c % d for c in counts), -d))
