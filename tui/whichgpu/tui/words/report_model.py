"""The part of the report that says what the model is, and how that is known."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from whichgpu.inspect.mixer_kinds import MixerKind, traits
from whichgpu.inspect.records import (
    Architecture,
    FeedForward,
    Inspection,
    Mixer,
    ModelSource,
    Part,
    Quantisation,
)
from whichgpu.inspect.text import clean
from whichgpu.tui.words.terminal import Terminal
from whichgpu.tui.words.units import WIDTH, memory, parameters

_LABEL = 13
_PARTS_SHOWN = 7
_PATTERNS_SHOWN = 4


def what_it_is(inspection: Inspection, terminal: Terminal) -> str:
    """Return the block of facts."""
    rows = [("because", "; ".join(f"{e.because} ({_short(e.where)})" for e in inspection.evidence[:3]))]
    if inspection.architecture is not None:
        rows += _structure(inspection.architecture)
    rows += _sizes(inspection)
    offered = terms(inspection.source)
    if offered:
        rows.append(("offered", offered))
    if inspection.quantisation is not None:
        rows.append(("published as", _quantisation_words(inspection.quantisation)))
    if inspection.selection.counted:
        rows.append(("counted", ", ".join(inspection.selection.counted[:6])))
    if inspection.selection.ignored:
        rows.append(("not counted", _ignored_summary(inspection)))
    if len(inspection.variants) > 1:
        variant_sizes = [f"{v.name.rsplit('-', 1)[-1]} {memory(v.bytes)}" for v in inspection.variants[:8]]
        rows.append(("variants", ", ".join(variant_sizes)))
    return terminal.bold("What it is") + "\n" + _facts(rows)


def terms(source: ModelSource) -> str:
    """On what terms the Hub offers a model, as far as it was said: licence, gate, last change."""
    parts = (
        f"licence {source.licence}" if source.licence else "",
        "gated" if source.gated else "",
        f"changed {source.modified}" if source.modified else "",
    )
    return clean(", ".join(p for p in parts if p), 120)


def _quantisation_words(quantisation: Quantisation) -> str:
    patterns = quantisation.unquantised
    if not patterns:
        return quantisation.label
    more = f" and {len(patterns) - _PATTERNS_SHOWN} more" if len(patterns) > _PATTERNS_SHOWN else ""
    return f"{quantisation.label}; in high precision: {', '.join(patterns[:_PATTERNS_SHOWN])}{more}"


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    """Label and text in two columns, wrapped."""
    lines: list[str] = []
    for label, text in rows:
        width = max(_LABEL, len(label) + 1)
        body = textwrap.wrap(text, WIDTH - width - 2) or [""]
        lines.append(f"  {label:<{width}}{body[0]}")
        lines += [" " * (_LABEL + 2) + line for line in body[1:]]
    return "\n".join(lines)


def _structure(architecture: Architecture) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if architecture.mixers:
        rows.append(("layers", "; ".join(mixer_words(m) for m in architecture.mixers)))
    blocks = [feed_forward_words(f) for f in architecture.feed_forwards if f.kind != "none"]
    if blocks:
        rows.append(("feed-forward", "; ".join(blocks)))
    if architecture.towers:
        tower_words = [f"{t.modality}: {t.layers or '?'} layers of {t.hidden or '?'}" for t in architecture.towers]
        rows.append(("towers", ", ".join(tower_words)))
    return rows


def _sizes(inspection: Inspection) -> list[tuple[str, str]]:
    if inspection.components:
        return [
            (c.name, f"{c.kind}: {parameters(c.parameters.value)} parameters, {memory(c.bytes.value)}")
            for c in inspection.components
        ]
    by_part = list(inspection.parameters.by_part.items())
    rows: list[tuple[str, str]] = []
    if by_part:
        part_sizes = [f"{part.value} {parameters(count)}" for part, count in by_part[:_PARTS_SHOWN]]
        rows.append(("parameters", " · ".join(part_sizes)))
    if inspection.parameters.by_part.get(Part.MTP):
        rows.append(("without MTP", f"{parameters(inspection.parameters.without_mtp.value)} parameters"))
    return rows


def _short(where: str) -> str:
    return where.replace("config.json: ", "").rstrip(".: ").replace(".: ", ".")


def _ignored_summary(inspection: Inspection) -> str:
    examples = [f"{name} ({reason})" for name, reason in inspection.selection.ignored[:3]]
    more = len(inspection.selection.ignored) - len(examples)
    return "; ".join(examples) + (f"; {more} more" if more > 0 else "")


def mixer_words(mixer: Mixer) -> str:
    """One kind of token mixer: how many layers, and its shape."""
    text = f"{mixer.layers} × {traits(mixer.kind).words}"
    if mixer.window:
        text += f" of {mixer.window:,}"
    if mixer.compress_ratio:
        text += f" and 1/{mixer.compress_ratio} of the rest"
    if mixer.kind is MixerKind.MLA:
        sparse = ", sparse indexer" if mixer.index_head_dim else ""
        return f"{text}, rank {mixer.kv_lora_rank} + {mixer.rope_head_dim}{sparse}"
    if mixer.shares_kv:
        text += " on shared KV"
    if mixer.heads and mixer.head_dim and traits(mixer.kind).softmax and not traits(mixer.kind).latent:
        return f"{text}, {mixer.heads} heads, {mixer.kv_heads} KV, dim {mixer.head_dim}"
    return text


def feed_forward_words(block: FeedForward) -> str:
    """One kind of feed-forward block: how many layers, and its width."""
    width = f"{block.intermediate:,}" if block.intermediate else "?"
    if block.kind == "moe":
        shared = f", {block.shared_experts} shared" if block.shared_experts else ""
        return f"{block.layers} × {block.experts} experts of {width}, top {block.top_k or '?'}{shared}"
    return f"{block.layers} × dense {width}"
