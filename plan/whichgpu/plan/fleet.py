"""Many models on the cheapest cards: what each could run on, and how they share.

A model that needs part of one card may share it with others; what needs whole cards keeps them. The heuristic: each
model takes its cheapest way, priced by the share of a card that it fills; the shares are packed first-fit, largest
first; then cards that hold little are emptied into others' room or replaced by a cheaper card that holds the same.
Without sharing whole numbers of cards the sum of the shares would be the cost, so that is the bound it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from whichgpu.inspect.records import Record
from whichgpu.plan.records import Answer, Verdict
from whichgpu.plan.sureness import handicap

_SHARED = 0.95
"""Of a card's budget that models sharing it may fill: each keeps a context and a margin of its own."""


_LARGE = 0.9
"""Share of a card from which a model has it to itself: hardly anything would fit beside it."""


class Way(Record):
    """One way to run one copy of a model."""

    accelerator: str
    cards: int
    share: float
    """Of one card's budget that it needs; 1 where it keeps its cards to itself."""
    usd_per_card_hour: float
    layout: str
    board_watts: int | None = None

    @property
    def bound(self) -> float:
        """Dollars an hour if cards could be rented by the share."""
        return self.usd_per_card_hour * (self.cards if self.share >= 1 else self.share)


class Member(Record):
    """One copy of a model of the fleet, and its ways."""

    model: str
    ways: tuple[Way, ...]


class Placed(Record):
    """One copy of a model on a machine."""

    model: str
    cards: int
    share: float
    """Of one card, for --gpu-memory-utilization; 1 where it has its cards to itself."""


class Machine(Record):
    """One rented machine: some cards of one kind, and what runs on them."""

    accelerator: str
    cards: int
    usd_per_hour: float
    models: tuple[Placed, ...]
    filled: float
    """Share of its cards' budgets in use."""
    board_watts: int | None = None


_Block = tuple[int, tuple[Placed, ...], float]
"""Cards that stay together, what runs on them, and how many cards' worth it fills."""


class Packing(Record):
    """The machines for a whole fleet."""

    machines: tuple[Machine, ...]
    usd_per_hour: float
    bound: float
    """Dollars an hour that no packing can undercut."""
    method: str
    unplaced: tuple[str, ...] = ()

    @property
    def cards(self) -> int:
        return sum(m.cards for m in self.machines)


@dataclass(slots=True)
class SharedCard:
    """One card that several models share."""

    accelerator: str
    price: float
    watts: int | None
    held: dict[int, float] = field(default_factory=dict)
    """Share of the card by the index of a member."""

    @property
    def room(self) -> float:
        return room_beside(sum(self.held.values()))


def room_beside(filled: float) -> float:
    """What is left of a shared card: 0.65 + 0.25 + 0.05 fill 0.95 of it, whatever floats say."""
    return round(_SHARED - filled, 9)


def ways_of(answer: Answer, watts: Mapping[str, int | None]) -> tuple[Way, ...]:
    """Return the priced ways of an answer that fit, at the asked precision, and are as sure as what it recommends."""
    ways: list[Way] = []
    best = answer.recommended
    least_sure = handicap(best) if best is not None else math.inf
    for plan in answer.plans:
        foot, same_precision = plan.footprint, plan.precision is answer.workload.precision
        if plan.verdict is not Verdict.FITS or plan.missed or not same_precision or foot is None or plan.price is None:
            continue
        if handicap(plan) > least_sure:
            continue
        needed = foot.budget - foot.pool_low + (foot.kv_needed or 0)
        alone = plan.count > 1 or foot.kv_needed is None or needed > _LARGE * foot.budget
        ways.append(
            Way(
                accelerator=plan.accelerator,
                cards=plan.count,
                share=1.0 if alone else needed / foot.budget,
                usd_per_card_hour=plan.price.usd_per_hour,
                layout=plan.layout.label if plan.layout else "",
                board_watts=watts.get(plan.accelerator),
            )
        )
    return tuple(ways)


def pack(members: Sequence[Member], sold: Mapping[str, tuple[int, ...] | None]) -> Packing:
    """Place every member on the cheapest machines that the heuristic finds.

    ``sold``: per accelerator the counts in which machines come; ``None`` for any.
    """
    cheapest_ways = {i: min(m.ways, key=lambda w: w.bound) for i, m in enumerate(members) if m.ways}
    bound = sum(w.bound for w in cheapest_ways.values())
    bins = _first_fit(cheapest_ways)
    _empty_bins(bins, members)
    _cheapen_bins(bins, members)
    shared = {i for b in bins for i in b.held}
    whole = [(i, w) for i, w in cheapest_ways.items() if i not in shared]
    return packed(members, Choice(bins, whole, bound, "heuristic"), sold)


def _first_fit(chosen: Mapping[int, Way]) -> list[SharedCard]:
    """The largest first, each into the first card with room; where one had none, none as large finds any later."""
    bins: dict[str, list[SharedCard]] = {}
    filled: dict[str, list[float]] = {}
    first: dict[tuple[str, float], int] = {}
    for index, way in sorted(chosen.items(), key=lambda item: -item[1].share):
        if way.share >= 1:
            continue
        cards, loads = bins.setdefault(way.accelerator, []), filled.setdefault(way.accelerator, [])
        at = first.get((way.accelerator, way.share), 0)
        while at < len(cards) and room_beside(loads[at]) < way.share:
            at += 1
        first[way.accelerator, way.share] = at
        if at == len(cards):
            cards.append(SharedCard(way.accelerator, way.usd_per_card_hour, way.board_watts))
            loads.append(0.0)
        cards[at].held[index] = way.share
        loads[at] += way.share
    return [card for cards in bins.values() for card in cards]


def _empty_bins(bins: list[SharedCard], members: Sequence[Member]) -> None:
    """Move what the emptiest cards hold into others' room, where all of it goes.

    Copies of one model are alike: where one card could not be emptied, none that holds the same can until something moved.
    """
    stuck: set[tuple[object, ...]] = set()
    for source in sorted(bins, key=lambda b: sum(b.held.values())):
        alike = source.accelerator, *sorted(members[i].model for i in source.held)
        if alike in stuck:
            continue
        others = [b for b in bins if b is not source]
        moves: dict[int, tuple[SharedCard, float]] = {}
        for index in sorted(source.held, key=lambda i: -source.held[i]):
            target = _roomy(others, members[index], moves)
            if target is None:
                break
            moves[index] = target
        if len(moves) == len(source.held):
            for index, (target_bin, share) in moves.items():
                target_bin.held[index] = share
            bins.remove(source)
            stuck.clear()
        else:
            stuck.add(alike)


def _roomy(
    bins: Iterable[SharedCard], member: Member, moves: Mapping[int, tuple[SharedCard, float]]
) -> tuple[SharedCard, float] | None:
    """The fullest card with room for a member, counting what is about to move there."""
    best: tuple[SharedCard, float] | None = None
    least = 2.0
    for candidate in bins:
        share = next((w.share for w in member.ways if w.accelerator == candidate.accelerator and w.share < 1), None)
        incoming_share = sum(s for b, s in moves.values() if b is candidate)
        if share is not None and share <= candidate.room - incoming_share < least:
            best, least = (candidate, share), candidate.room - incoming_share
    return best


def _cheapen_bins(bins: list[SharedCard], members: Sequence[Member]) -> None:
    """Replace a card by the cheapest that holds all of the same models."""
    for card in bins:
        options: dict[str, dict[int, Way]] = {}
        for index in card.held:
            for way in members[index].ways:
                if way.cards == 1:
                    options.setdefault(way.accelerator, {})[index] = way
        for accelerator, ways in options.items():
            total = round(sum(w.share for w in ways.values()), 9)
            alone = len(card.held) == 1
            if len(ways) < len(card.held) or (total > _SHARED and not alone):
                continue
            way = next(iter(ways.values()))
            if way.usd_per_card_hour < card.price:
                card.accelerator, card.price, card.watts = accelerator, way.usd_per_card_hour, way.board_watts
                card.held = {i: min(1.0, w.share) for i, w in ways.items()}


class Choice(NamedTuple):
    """Where every member goes."""

    shared: Sequence[SharedCard]
    whole: Sequence[tuple[int, Way]]
    """Members that keep whole cards."""
    bound: float
    """Dollars an hour that no packing undercuts."""
    method: str


class _Kind(NamedTuple):
    """One kind of card, as it is rented."""

    accelerator: str
    usd_per_hour: float
    watts: int | None
    sold: tuple[int, ...] | None


def packed(members: Sequence[Member], choice: Choice, sold: Mapping[str, tuple[int, ...] | None]) -> Packing:
    """Put cards into machines as they are rented, and add up."""
    blocks: dict[_Kind, list[_Block]] = {}
    for card in choice.shared:
        alone = len(card.held) == 1
        names = tuple(Placed(model=members[i].model, cards=1, share=1.0 if alone else s) for i, s in card.held.items())
        kind = _Kind(card.accelerator, card.price, card.watts, sold.get(card.accelerator))
        blocks.setdefault(kind, []).append((1, names, sum(card.held.values())))
    for index, way in choice.whole:
        placed = Placed(model=members[index].model, cards=way.cards, share=1.0)
        kind = _Kind(way.accelerator, way.usd_per_card_hour, way.board_watts, sold.get(way.accelerator))
        blocks.setdefault(kind, []).append((way.cards, (placed,), float(way.cards)))
    machines = [
        machine
        for kind, card_blocks in sorted(blocks.items(), key=lambda item: item[0].accelerator)
        for machine in _machines(kind, card_blocks)
    ]
    return Packing(
        machines=tuple(machines),
        usd_per_hour=round(sum(m.usd_per_hour for m in machines), 4),
        bound=round(choice.bound, 4),
        method=choice.method,
        unplaced=tuple(m.model for m in members if not m.ways),
    )


def _machines(kind: _Kind, blocks: Sequence[_Block]) -> list[Machine]:
    """Deal blocks of cards to machines of the sold sizes, largest first; each block stays in whole machines."""
    sold = kind.sold
    racks: list[list[_Block]] = []
    used_cards: list[int] = []
    first: dict[int, int] = {}
    for block in sorted(blocks, key=lambda b: -b[0]):
        largest = max(sold) if sold else block[0]
        at = first.get(block[0], 0) if sold else len(racks)
        while at < len(racks) and used_cards[at] + block[0] > largest:
            at += 1
        first[block[0]] = at
        if at == len(racks):
            racks.append([])
            used_cards.append(0)
        racks[at].append(block)
        used_cards[at] += block[0]
    machines: list[Machine] = []
    for rack in racks:
        used = sum(b[0] for b in rack)
        count = min((c for c in sold if c >= used), default=-(-used // max(sold)) * max(sold)) if sold else used
        names = tuple(name for _, placements, _ in rack for name in placements)
        machines.append(
            Machine(
                accelerator=kind.accelerator,
                cards=count,
                usd_per_hour=round(kind.usd_per_hour * count, 4),
                models=names,
                filled=sum(b[2] for b in rack) / count,
                board_watts=kind.watts * count if kind.watts is not None else None,
            )
        )
    return machines
