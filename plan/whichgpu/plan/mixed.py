"""Different cards in one machine, as vLLM serves on them: every card does what the weakest can.

vLLM cuts a model evenly, and gives every worker the blocks of the one with the fewest (0.33 kv_cache_utils
get_kv_cache_configs); each takes the same share of its own card (gpu_memory_utilization).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whichgpu.plan.accelerators import Accelerator
from whichgpu.plan.errors import CardsError

_WORTH_SAYING = 0.5
"""GiB left unused that nobody minds."""


def mixed_card(cards: Sequence[Accelerator]) -> Accelerator:
    """Return what each card of a machine counts as, where the machine holds all of these.

    Raises:
        CardsError: fewer than two, or of different vendors.
    """
    if len(cards) < 2:
        raise CardsError("Mixed cards are at least two.", "Name each card of the machine with --gpu.")
    if len({card.vendor for card in cards}) > 1:
        raise CardsError(
            "One build of vLLM runs on one vendor's cards.", "Name cards of one vendor, or ask for each apart."
        )
    smallest = min(cards, key=lambda card: card.usable_gib)
    oldest = min(cards, key=lambda card: card.compute_capability or 0.0)
    kinds = tuple(dict.fromkeys(card.name for card in cards))
    watts = [card.board_watts for card in cards]
    return oldest.model_copy(
        update={
            "key": "+".join(dict.fromkeys(card.key for card in cards)),
            "name": f"mixed {', '.join(kinds)}",
            "aliases": (),
            "listed_as": (),
            "names": {},
            "usable_gib": smallest.usable_gib,
            "marketed_gb": smallest.marketed_gb,
            "bandwidth_gbs": min(card.bandwidth_gbs for card in cards),
            "bf16_tflops": _least([card.bf16_tflops for card in cards]),
            "fp8_tflops": _least([card.fp8_tflops for card in cards]),
            "board_watts": round(sum(w for w in watts if w is not None) / len(cards)) if None not in watts else None,
            "facility_watts": None,
            "link_gbs": 0.0,
            "linked_cards": 1,
            "unified": any(card.unified for card in cards),
            "utilisation": _least([card.utilisation for card in cards if card.utilisation is not None]),
            "small_batches": any(card.small_batches for card in cards),
            "node_counts": (len(cards),),
            "sources": {"memory": f"of the smallest, the {smallest.name}; vLLM gives every card as much"},
        }
    )


def mixing_notes(cards: Sequence[Accelerator]) -> Iterator[str]:
    """Yield what is lost by mixing."""
    smallest = min(cards, key=lambda card: card.usable_gib)
    yield (
        f"Mixed cards: vLLM cuts a model evenly, so each holds what the smallest can ({smallest.name}), and all wait for the"
        " slowest."
    )
    spare = {card.name: card.usable_gib - smallest.usable_gib for card in cards}
    for name, gib in spare.items():
        if gib >= _WORTH_SAYING:
            yield f"{gib:.1f} GiB of each {name} stay unused."


def _least(figures: Sequence[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return min(known) if known and len(known) == len(figures) else None
