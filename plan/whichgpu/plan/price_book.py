"""One price per card and count, by a rule that is said.

Hyperscalers ask 1.9 to 2.6 times what clouds of GPUs ask, marketplaces 0.65 to 0.8: the kinds are never mixed. Of one kind each
provider has one vote, its newest and then cheapest offer of a machine that holds the cards; votes count less the older they are, as
prices of 2026 moved by a third in months. The price is the median of the votes, with a quarter of the providers below its lower bound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from functools import cache
from typing import NamedTuple

from whichgpu.plan.choices import ON_DEMAND, Seller
from whichgpu.plan.records import Accelerator, Price, PriceOffer

_FULL_DAYS, _HALF_DAYS, _LAST_DAYS = 45, 90, 150
"""An offer counts whole, half and no more at these ages, seen from the newest offer at hand: a list is itself weeks old."""

_ORDER = (Seller.CLOUD, Seller.HYPERSCALER, Seller.MARKETPLACE)
_CHEAPEST, _RECENT = 3, 0.5
"""Providers that are named, and the least weight of their offers."""


class _Vote(NamedTuple):
    """What one provider asks for the cards."""

    usd: float
    """Per card that is needed."""
    weight: float
    offer: PriceOffer


class PriceBook:
    """Offers, ready to be asked for the price of some cards."""

    def __init__(self, offers: Iterable[PriceOffer]) -> None:
        self._by_card: dict[str, list[PriceOffer]] = defaultdict(list)
        for offer in offers:
            self._by_card[offer.accelerator].append(offer)
        dates = [o.date for rows in self._by_card.values() for o in rows if o.date is not None and not o.contract]
        self._newest = date.fromisoformat(max(dates)) if dates else None
        self.price = cache(self._find_price)
        """(card, kind, cards) → the price of so many cards of one machine, or of several machines; ``None`` without an offer."""

    def has(self, card: Accelerator, kind: str = ON_DEMAND) -> bool:
        """True where anybody sells a card, in any count."""
        return any(o.kind == kind and o.date is not None for o in self._by_card.get(card.key, ()))

    def listed(self, card: Accelerator, kind: str = ON_DEMAND) -> Price | None:
        """Return the price of a card in the smallest machine that it is sold in."""
        sold = [o.count for o in self._by_card.get(card.key, ()) if o.kind == kind and o.count is not None]
        return self.price(card, kind, min(sold, default=1))

    def counts(self, card: Accelerator) -> tuple[int, ...] | None:
        """Return how many cards the known machines hold; ``None`` where none is known, or the user's own price is for any number."""
        offers = self._by_card.get(card.key, ())
        if any(o.contract for o in offers):
            return None
        return tuple(sorted({o.count for o in offers if o.count is not None})) or None

    def _find_price(self, card: Accelerator, kind: str = ON_DEMAND, cards: int = 1) -> Price | None:
        offers = [o for o in self._by_card.get(card.key, ()) if o.kind == kind and o.date is not None]
        own = [o for o in offers if o.contract]
        if own:
            votes = [_Vote(o.usd_per_hour, 1.0, o) for o in {o.provider: o for o in own}.values()]
            return _price(votes, kind, yours=True)
        joined = cards > card.per_machine and card.per_machine in (self.counts(card) or ())
        whole = card.per_machine if joined else 0
        for is_stated in (True, False):
            kinds = {s: self._votes([o for o in offers if o.seller is s], cards, whole, is_stated) for s in _ORDER}
            chosen = next((kinds[s] for s in _ORDER if kinds[s]), None)
            if chosen is not None:
                votes = [v for of_kind in kinds.values() for v in of_kind]
                recent = [v for v in votes if v.weight >= _RECENT] or votes
                everyone = sorted(recent, key=lambda v: v.usd)
                cheapest = tuple(v.offer for v in everyone[:_CHEAPEST])
                return _price(chosen, kind, count_stated=is_stated, cheapest=cheapest)
        return None

    def _votes(self, offers: Sequence[PriceOffer], cards: int, whole: int, is_stated: bool) -> list[_Vote]:
        """One vote per provider: its newest offer of the smallest machine that holds the cards, the cheapest of that day."""
        sizes = [o.count for o in offers if o.count is not None and o.count >= cards]
        if is_stated and sizes:
            offers = [o for o in offers if o.count == min(sizes)]
        best: dict[str, _Vote] = {}
        for offer in offers:
            usd = _per_card(offer, cards, whole) if is_stated else (offer.usd_per_hour if offer.count is None else None)
            weight = self._weight(offer)
            if usd is None or not weight:
                continue
            before = best.get(offer.provider)
            if before is None or (offer.date or "", -usd) > (before.offer.date or "", -before.usd):
                best[offer.provider] = _Vote(usd, weight, offer)
        return list(best.values())

    def _weight(self, offer: PriceOffer) -> float:
        if self._newest is None or offer.date is None:
            return 0.0
        days = (self._newest - date.fromisoformat(offer.date)).days
        if days <= _FULL_DAYS:
            return 1.0
        if days <= _HALF_DAYS:
            return 1.0 - 0.5 * (days - _FULL_DAYS) / (_HALF_DAYS - _FULL_DAYS)
        return max(0.0, 0.5 * (_LAST_DAYS - days) / (_LAST_DAYS - _HALF_DAYS))


def _per_card(offer: PriceOffer, cards: int, whole: int) -> float | None:
    """What each of the cards costs in machines of an offer; ``None`` where they don't hold them together.

    ``whole``: cards of the largest machine, where the plan is over several of them; else 0.
    """
    if offer.count is None:
        return None
    if offer.count >= cards:
        return offer.usd_per_hour * offer.count / cards
    joins = offer.count == whole and cards % offer.count == 0
    return offer.usd_per_hour if joins else None


def _price(
    votes: Sequence[_Vote],
    kind: str,
    *,
    yours: bool = False,
    count_stated: bool = True,
    cheapest: tuple[PriceOffer, ...] = (),
) -> Price:
    dates = [v.offer.date for v in votes if v.offer.date is not None]
    return Price(
        usd_per_hour=round(_quantile(votes, 0.5), 4),
        low=round(_quantile(votes, 0.25), 4),
        high=round(max(v.usd for v in votes), 4),
        offers=len(votes),
        oldest=min(dates),
        newest=max(dates),
        kind=kind,
        yours=yours,
        providers=tuple(sorted(v.offer.provider for v in votes)),
        seller=votes[0].offer.seller,
        count_stated=count_stated,
        cheapest=cheapest,
    )


def _quantile(votes: Sequence[_Vote], share: float) -> float:
    """Weighted quantile; between two votes of like weight their mean, as a median of two is."""
    ordered = sorted(votes, key=lambda v: v.usd)
    total, below = sum(v.weight for v in ordered), 0.0
    for index, vote in enumerate(ordered):
        below += vote.weight
        if abs(below - share * total) < 1e-9 and index + 1 < len(ordered):
            return (vote.usd + ordered[index + 1].usd) / 2
        if below > share * total:
            return vote.usd
    return ordered[-1].usd
