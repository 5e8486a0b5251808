"""Rotary position tables: how many, how wide and how long. vLLM keeps them on the card with the weights.

Source: vLLM 0.32 layers/rotary_embedding: ``max_position × rotary_dim`` per distinct rope, YaRN at original × factor,
linear scaling × factor, multimodal rope four times as long.
"""

from __future__ import annotations

from collections.abc import Mapping

from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.design import Design
from whichgpu.inspect.records import RotaryTable

_ROTARY = frozenset({"full", "sliding", "chunked", "mla", "compressed", "hybrid"})
_LEARNED = ("gpt2", "gpt_bigcode", "opt", "bloom", "mpt")
_DOUBLE_PRECISION = ("gpt_oss", "deepseek_v4", "deepseek_ref")
"""Families whose scaled tables stay FP32 (four bytes)."""


def rotary_tables(design: Design) -> tuple[RotaryTable, ...]:
    """Return one entry per distinct table; empty without rotary positions or without a known length."""
    mixer = next((m for m in design.mixers if m.kind in _ROTARY), None)
    if mixer is None or design.model_type in _LEARNED or design.context is None:
        return ()
    view = design.view
    stated = as_integer(view.value("max_position_embeddings", "model_max_length", "seq_length", "max_sequence_length"))
    length = stated or design.context
    width = mixer.rope_head_dim or int((mixer.head_dim or 0) * _partial(view))
    width = as_integer(view.value("rotary_dim")) or width
    size = 4 if design.model_type in _DOUBLE_PRECISION else 2
    scaling = view.sub("rope_scaling") or view.sub("rope_parameters")
    if not width:
        return ()
    first = RotaryTable(
        width=width, positions=_scaled(length, scaling, _is_multimodal(design, scaling)), bytes_per_value=size
    )
    if view.value("compress_rope_theta") is not None:
        return (first, first)  # DeepSeek-V4 rotates compressed entries with a base of their own
    local = view.value("rope_local_base_freq") is not None or _per_layer_type(view) or design.family.window_every == 6
    two = local and any(m.kind == "sliding" for m in design.mixers)
    return (first, RotaryTable(width=width, positions=length, bytes_per_value=size)) if two else (first,)


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


def _is_multimodal(design: Design, scaling: ConfigView | None) -> bool:
    """Rotary positions in three directions: said by the config, or the rule of the Qwen-VL families."""
    if scaling is not None:
        kind = scaling.string("rope_type", "type") or ""
        if "mrope" in kind or scaling.value("mrope_section") is not None:
            return True
    return (design.model_type or "").startswith(("qwen2_vl", "qwen2_5_vl", "qwen3_vl"))


def _scaled(length: int, scaling: ConfigView | None, multimodal: bool) -> int:
    if multimodal:
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
