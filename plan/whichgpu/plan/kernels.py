"""Which kernels vLLM has: what its own selectors answered for each kind of layer on each kind of card.

The answers are data of a release (``vllm_kernels.json``, written by ``python -m benchmarks.starts``): attention by kind,
width of a head and precision of the cache; experts by format and width on one card; the least capability of a method.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache, cached_property
from operator import itemgetter
from typing import Any

from whichgpu.inspect.mixer_kinds import MixerKind, traits
from whichgpu.inspect.records import Architecture, Mixer, Record
from whichgpu.plan.accelerators import Accelerator
from whichgpu.plan.engine import version_numbers
from whichgpu.plan.errors import FactsError


class LayerKind(StrEnum):
    """Attention layers that vLLM selects kernels for in a way of their own."""

    PER_HEAD = "per head"
    ENCODER = "encoder"
    """Sees both ways, and keeps no cache; vLLM looks for a kernel that could."""
    LATENT = "latent"
    INDEXED = "indexed latent"
    COMPRESSED = "compressed"
    CLASS = "class"
    """Layers that one model class brings along."""


class AttentionAnswer(Record):
    """What serves one kind of attention, card by card."""

    kind: LayerKind
    name: str | None = None
    """The layer's class, for ``CLASS``."""
    heads: tuple[int, ...] = ()
    """Widths of a head that were asked with this answer; none where the kind has one width."""
    cache: str
    """``auto`` (as the layer computes) or ``fp8``."""
    by: tuple[int, ...]
    """Indices into ``KernelAnswers.words``, in the order of its cards."""


class ExpertsAnswer(Record):
    """What serves routed experts of one format, card by card."""

    format: str
    """A ``WeightFormat``."""
    multiple: int
    """Power of two up to 128 that an expert's width on one card is a multiple of."""
    by: tuple[int, ...]


class KernelAnswers(Record):
    """One release's answers."""

    vllm: str
    date: str
    source: str
    cards: tuple[float, ...]
    """Compute capabilities that were asked for, ascending."""
    words: tuple[str, ...]
    """Names of backends; after “!”, why there is none."""
    attention: tuple[AttentionAnswer, ...]
    experts: tuple[ExpertsAnswer, ...]
    classes: dict[str, tuple[str, ...]]
    """Layers of their own that model classes have."""
    own_attention: frozenset[str] = frozenset()
    """Model classes that have no attention but their own."""

    @cached_property
    def _by_kind(self) -> dict[tuple[LayerKind, str | None, int | None, str], AttentionAnswer]:
        return {(row.kind, row.name, head, row.cache): row for row in self.attention for head in row.heads or (None,)}

    @cached_property
    def _by_format(self) -> dict[tuple[str, int], ExpertsAnswer]:
        return {(row.format, row.multiple): row for row in self.experts}

    def column(self, card: Accelerator) -> int | None:
        """Return the place of a card among those that were asked for: its own capability's, or that of its family's next
        below; ``None`` where there is none."""
        capability = card.compute_capability
        if capability is None:
            return None
        below = [i for i, place in enumerate(self.cards) if int(place) == int(capability) and place <= capability]
        return below[-1] if below else None

    def attention_words(self, architecture: Architecture, cache: str, card: Accelerator) -> Iterator[str | None]:
        """Yield what serves each kind of attention that a model has; ``None`` for one that was not asked for."""
        column = self.column(card)
        for kind, name, head in _kinds(self, architecture):
            row = self._by_kind.get((kind, name, head, cache))
            yield self.words[row.by[column]] if row is not None and column is not None else None

    def experts_word(self, weight_format: str, width: int, card: Accelerator) -> str | None:
        """Return what serves experts of a width on one card; ``None`` where that was not asked for."""
        column = self.column(card)
        multiple = next(m for m in (128, 64, 32, 16, 8, 4, 2, 1) if width % m == 0)
        row = self._by_format.get((weight_format, multiple))
        return self.words[row.by[column]] if row is not None and column is not None else None

    def least_served(self, architecture: Architecture, cache: str) -> float | None:
        """Return the least capability on which all of a model's attention is served; ``None`` where none is."""
        rows = [self._by_kind.get((*key, cache)) for key in _kinds(self, architecture)]
        known_rows = [row for row in rows if row is not None]
        capabilities = (
            capability
            for i, capability in enumerate(self.cards)
            if all(not self.words[row.by[i]].startswith("!") for row in known_rows)
        )
        return next(capabilities, None)


class KernelFacts:
    """The answers of every release that was asked; one is read when it is asked for."""

    def __init__(self, data: bytes = b'{"releases": []}') -> None:
        self._data = data

    @cached_property
    def _releases(self) -> list[tuple[tuple[int, int, int], dict[str, Any]]]:
        with _damage():
            releases = json.loads(self._data)["releases"]
            return sorted(((version_numbers(r["vllm"]), r) for r in releases), key=itemgetter(0))

    @cache  # noqa: B019 - lives as long as the facts
    def of(self, version: str) -> KernelAnswers | None:
        """Return the answers of a release: its own, or those of the last one asked before it.

        Raises:
            FactsError: damaged facts.
        """
        numbers = version_numbers(version)
        before = [release for since, release in self._releases if since <= numbers]
        with _damage():
            return KernelAnswers.model_validate(before[-1]) if before else None


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, LookupError) as error:
        raise FactsError("The facts about vLLM's kernels are damaged.", "Reinstall whichgpu.") from error


NO_ANSWERS = KernelFacts()


def _kinds(answers: KernelAnswers, architecture: Architecture) -> Iterator[tuple[LayerKind, str | None, int | None]]:
    """Yield the kinds of attention that a model has, each once."""
    kinds = [_kind(mixer) for mixer in architecture.mixers]
    if answers.own_attention.intersection(architecture.names):
        kinds = [kind for kind in kinds if kind is not None and kind[0] is not LayerKind.PER_HEAD]
    class_kinds = [(LayerKind.CLASS, layer, None) for n in architecture.names for layer in answers.classes.get(n, ())]
    yield from dict.fromkeys([*(k for k in kinds if k is not None), *class_kinds])


def _kind(mixer: Mixer) -> tuple[LayerKind, str | None, int | None] | None:
    if mixer.kind is MixerKind.COMPRESSED:
        return LayerKind.COMPRESSED, None, None
    if traits(mixer.kind).latent:
        return (LayerKind.INDEXED if mixer.index_head_dim else LayerKind.LATENT), None, None
    if traits(mixer.kind).per_head_cache and mixer.head_dim:
        return LayerKind.PER_HEAD, None, mixer.head_dim
    if mixer.kind is MixerKind.ENCODER and mixer.head_dim:
        return LayerKind.ENCODER, None, mixer.head_dim
    return None
