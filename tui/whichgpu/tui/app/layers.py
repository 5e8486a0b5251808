"""The layer map: which layer is what, one letter a layer."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

from whichgpu.inspect.records import Architecture
from whichgpu.tui.words.report_model import feed_forward_words, mixer_words

_A_LINE = 50
"""Layers in one line."""


def layer_map(architecture: Architecture | None) -> str:
    """Return both maps with their legends, or a sentence where the config doesn't say."""
    if architecture is None:
        return "No config could be read, so the layers are unknown."
    mixers = [mixer_words(m) for m in architecture.mixers]
    blocks = [feed_forward_words(f) if f.kind != "none" else "none" for f in architecture.feed_forwards]
    parts = [
        *_part("Token mixers", architecture.mixer_layout, mixers),
        *_part("Feed-forward blocks", architecture.feed_forward_layout, blocks),
    ]
    more = [f"Beside them {architecture.mtp_layers} next-token layers (MTP)."] if architecture.mtp_layers else []
    more += [
        f"Beside them a tower for {t.modality}: {t.layers or '?'} layers of {t.hidden or '?'}."
        for t in architecture.towers
    ]
    return "\n".join([*parts, *more]) if parts else "The config does not say which layer is what."


def _part(title: str, layout: Sequence[int], kinds: Sequence[str]) -> list[str]:
    if not layout:
        return []
    letters = [ascii_uppercase[kind % 26] for kind in layout]
    lines = [title]
    for start in range(0, len(letters), _A_LINE):
        row = letters[start : start + _A_LINE]
        tens = [" ".join("".join(row[i : i + 10]) for i in range(0, len(row), 10))]
        lines.append(f"  {start:>4}  {tens[0]}")
    layer_kinds = sorted(set(layout))
    lines += [f"  {ascii_uppercase[kind % 26]} = {kinds[kind]}" for kind in layer_kinds if kind < len(kinds)]
    return [*lines, ""]
