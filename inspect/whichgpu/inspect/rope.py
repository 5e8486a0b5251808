"""Rotary position tables: how many, how wide and how long. vLLM keeps them on the card with the weights.

Source: vLLM 0.32 layers/rotary_embedding: ``max_position × rotary_dim`` per distinct rope, YaRN at original × factor,
linear scaling × factor, multimodal rope four times as long.
"""

from __future__ import annotations

from collections.abc import Mapping

from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.design import Design
from whichgpu.inspect.families import Family
from whichgpu.inspect.mixer_kinds import MixerKind, traits
from whichgpu.inspect.records import RotaryTable


def rotary_tables(design: Design) -> tuple[RotaryTable, ...]:
    """Return one entry per distinct table; empty without rotary positions or without a known length."""
    mixer = next((m for m in design.mixers if traits(m.kind).rotary), None)
    view, family = design.view, design.family
    if mixer is None or not family.rotary or family.positions is not None or design.context is None:
        return ()
    stated = as_integer(view.value("max_position_embeddings", "model_max_length", "seq_length", "max_sequence_length"))
    length = stated or design.context
    width = mixer.rope_head_dim or int((mixer.head_dim or 0) * _partial(view))
    width = as_integer(view.value("rotary_dim")) or int(width * family.rotary_share)
    size = family.rotary_bytes
    scaling = view.sub("rope_scaling") or view.sub("rope_parameters")
    if not width:
        return ()
    first = RotaryTable(
        width=width,
        positions=_scaled_length(length, scaling, _has_long_video(design, scaling)),
        bytes_per_value=size,
        image_positions=family.short_image_positions,
    )
    if view.value("compress_rope_theta") is not None:
        plain = any(m.compress_ratio == 0 for m in design.mixers)
        return (first, first) if plain else (first,)  # DeepSeek-V4 rotates compressed entries with their own base
    local = (
        view.value("rope_local_base_freq", "swa_rope_theta") is not None
        or _per_layer_type(view)
        or family.window_every == 6
    )
    two = local and any(m.kind is MixerKind.SLIDING for m in design.mixers)
    if not two:
        return (first,)
    wide = next((m.head_dim for m in design.mixers if m.kind is MixerKind.FULL and m.head_dim), None)
    scale = wide // mixer.head_dim if wide and mixer.head_dim and wide > mixer.head_dim else 1  # Gemma 4's global heads
    widened = first.model_copy(update={"width": first.width * scale})
    return (widened, RotaryTable(width=width, positions=length, bytes_per_value=size))


def tower_table(family: Family, hidden: int | None, heads: int | None) -> tuple[RotaryTable, ...]:
    """Return the table of an image encoder of the Qwen-VL kind: 8,192 positions, half a head wide."""
    if not family.rotating_tower or not hidden or not heads:
        return ()
    return (RotaryTable(width=hidden // heads // 2, positions=8192, bytes_per_value=2),)


def _partial(view: ConfigView) -> float:
    parameters = view.sub("rope_parameters")
    for level in (view, parameters):
        share = level.value("partial_rotary_factor", "rotary_pct", "rope_pct") if level is not None else None
        if isinstance(share, int | float) and not isinstance(share, bool) and 0 < share <= 1:
            return float(share)
    return 1.0


def _per_layer_type(view: ConfigView) -> bool:
    parameters = view.raw.get("rope_parameters")
    return isinstance(parameters, Mapping) and "sliding_attention" in parameters


def _has_long_video(design: Design, scaling: ConfigView | None) -> bool:
    if scaling is None or design.family.short_image_positions:
        return False
    kind = scaling.string("rope_type", "type") or ""
    return "mrope" in kind or scaling.value("mrope_section") is not None


def _scaled_length(length: int, scaling: ConfigView | None, long_video: bool) -> int:
    if long_video:
        return 4 * length
    if scaling is None:
        return length
    kind = scaling.string("rope_type", "type") or ""
    factor = scaling.value("factor")
    if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 < factor < 1e6:
        return length
    if "yarn" in kind:
        return int((as_integer(scaling.value("original_max_position_embeddings")) or length) * factor)
    return int(length * factor) if kind == "linear" else length
