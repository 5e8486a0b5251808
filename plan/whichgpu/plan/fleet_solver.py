"""The packing of a fleet by OR-tools' CP-SAT (extra), which starts from the heuristic and ends within a time limit."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from whichgpu.inspect.errors import MissingExtraError
from whichgpu.plan.fleet import Choice, Member, Packing, SharedCard, Way, pack, packed

_SCALE = 10_000
"""CP-SAT counts in whole numbers: shares and dollars in ten-thousandths."""

_ROOM = 9_500
_SPARE = 2
"""Cards of a kind beyond what its models need at most when packed badly."""


def solved(members: Sequence[Member], sold: Mapping[str, tuple[int, ...] | None], seconds: float) -> Packing:
    """Place every member on the cheapest cards; never dearer than the heuristic.

    Raises:
        MissingExtraError: OR-tools is not installed.
    """
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise MissingExtraError("OR-tools", "fleet", ", or leave --solver out.") from error
    first = pack(members, sold)
    model = _Model(cp_model, members)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 8
    status = solver.Solve(model.model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return first
    method = "CP-SAT, optimal" if status == cp_model.OPTIMAL else f"CP-SAT, best of {seconds:g} s"
    bound = max(first.bound, solver.BestObjectiveBound() / _SCALE)
    shared, whole = model.read(solver)
    packing = packed(members, Choice(shared, whole, bound, method), sold)
    if packing.usd_per_hour <= first.usd_per_hour:
        return packing
    return first.model_copy(update={"bound": min(bound, first.usd_per_hour)})


class _Model:
    """One boolean per member and way; shared ways also choose one of the cards of their kind."""

    def __init__(self, cp_model: Any, members: Sequence[Member]) -> None:
        self.model = cp_model.CpModel()
        self._members = members
        self._whole: list[tuple[int, Way, Any]] = []
        self._shared: dict[str, list[tuple[int, Way, list[Any]]]] = {}
        self._open: dict[str, list[Any]] = {}
        takes: dict[int, list[Any]] = {i: [] for i, m in enumerate(members) if m.ways}
        cards = self._most_cards()
        for index in takes:
            for way in members[index].ways:
                takes[index] += self._choices(index, way, cards)
        for choices in takes.values():
            self.model.AddExactlyOne(choices)
        self._add_bounds(cards)

    def _most_cards(self) -> dict[str, int]:
        """Shared cards of a kind that could be of use: two models of more than half fill one each."""
        shares: dict[str, list[float]] = {}
        for member in self._members:
            for way in member.ways:
                if way.share < 1:
                    shares.setdefault(way.accelerator, []).append(way.share)
        return {a: min(len(s), int(2 * sum(s)) + _SPARE) for a, s in shares.items()}

    def _choices(self, index: int, way: Way, cards: Mapping[str, int]) -> list[Any]:
        if way.share >= 1:
            choice = self.model.NewBoolVar("")
            self._whole.append((index, way, choice))
            return [choice]
        slots = [self.model.NewBoolVar("") for _ in range(cards[way.accelerator])]
        self._shared.setdefault(way.accelerator, []).append((index, way, slots))
        return slots

    def _add_bounds(self, cards: Mapping[str, int]) -> None:
        """A card that holds anything is paid for, holds no more than its budget, and opens after the one before it."""
        cost: list[Any] = [round(w.usd_per_card_hour * w.cards * _SCALE) * choice for _, w, choice in self._whole]
        for accelerator, placed in self._shared.items():
            opened = [self.model.NewBoolVar("") for _ in range(cards[accelerator])]
            self._open[accelerator] = opened
            for slot, card in enumerate(opened):
                load = sum(-int(-w.share * _SCALE // 1) * slots[slot] for _, w, slots in placed)
                self.model.Add(load <= _ROOM * card)
            for before, after in itertools.pairwise(opened):
                self.model.AddImplication(after, before)
            price = placed[0][1].usd_per_card_hour
            cost += [round(price * _SCALE) * card for card in opened]
        self.model.Minimize(sum(cost))

    def read(self, solver: Any) -> tuple[list[SharedCard], list[tuple[int, Way]]]:
        """Return the shared cards with what they hold, and the ways that keep whole cards."""
        whole = [(index, way) for index, way, choice in self._whole if solver.BooleanValue(choice)]
        shared: list[SharedCard] = []
        for accelerator, placed in self._shared.items():
            for slot in range(len(self._open[accelerator])):
                member_shares = {index: way.share for index, way, slots in placed if solver.BooleanValue(slots[slot])}
                if member_shares:
                    price, watts = placed[0][1].usd_per_card_hour, placed[0][1].board_watts
                    shared.append(SharedCard(accelerator, price, watts, member_shares))
        return shared, whole
