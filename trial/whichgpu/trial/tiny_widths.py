"""How wide a tiny model is: one power of two divides its width and its heads, and what else follows from them.

The size of a head, of a recurrent state, of a convolution and MLA's latent widths stay: kernels exist for those of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import gcd
from typing import Any

from whichgpu.inspect.config_view import HIDDEN_KEYS, as_integer
from whichgpu.inspect.design import Design

_FACTORS = (64, 32, 16, 8, 4, 2)
_LEAST_WIDTH, _LEAST_HEADS = 256, 2
_UNIT = 64
"""Widths are multiples of this, or of the group that a quantisation scales together."""

_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads", "encoder_attention_heads",
          "swa_num_attention_heads")  # fmt: skip
_STATE_HEADS = ("mamba_n_heads", "mamba_num_heads", "n_mamba_heads", "linear_num_value_heads", "linear_num_key_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "n_kv_heads", "kv_n_heads", "multi_query_group_num",
             "num_query_groups", "num_global_key_value_heads", "swa_num_key_value_heads")  # fmt: skip
_FREE = ("intermediate_size", "intermediate_size_mlp", "ffn_hidden_size", "ffn_dim", "n_inner", "q_lora_rank")
"""How keys end whose widths nothing else depends on."""

_COUPLED = ("mamba_d_ssm", "lru_width", "d_inner")
_GROUPS = ("n_groups", "mamba_n_groups", "mamba_ngroups")
_EXPANSIONS = ("expand", "mamba_expand", "expansion_factor")


@dataclass(frozen=True, slots=True)
class Widths:
    """What a tiny model's sizes become."""

    factor: int
    hidden: int
    """Elements."""
    published_hidden: int
    unit: int

    def span(self, width: int) -> int:
        """A width that nothing depends on: divided, and up to the next multiple of the unit."""
        return width if self.factor == 1 else min(width, -(-width // (self.factor * self.unit)) * self.unit)

    def key_value_heads(self, count: int, heads: int | None) -> int:
        """Divided, at least one, and a divisor of the query heads that are left."""
        wanted = max(1, count // self.factor)
        return gcd(wanted, max(1, heads // self.factor)) if heads is not None else wanted


def widths_of(design: Design, group: int | None) -> Widths:
    """Return the largest factor by which everything divides that must divide.

    Args:
        design: the language model's.
        group: elements that its quantisation scales together; ``None`` without one.
    """
    unit = max(_UNIT, group or 0)
    for factor in _FACTORS:
        hidden = design.hidden // factor
        if not _is_free(design):
            whole = design.hidden % (factor * unit) == 0
        else:
            whole, hidden = True, -(-design.hidden // (factor * unit)) * unit
        if whole and hidden >= _LEAST_WIDTH and _divides(design, factor):
            return Widths(factor, hidden, design.hidden, unit)
    return Widths(1, design.hidden, design.hidden, unit)


def _is_free(design: Design) -> bool:
    """True where the width does not follow from heads: their size is stated, and no expansion leads from one to the other."""
    stated = design.view.value("head_dim", "kv_lora_rank", "attention_head_dim") is not None
    return stated and not any(_expands(design, mixer.inner) for m in design.mixers for mixer in (m, m.beside) if mixer)


def _divides(design: Design, factor: int) -> bool:
    heads = dict(_whole(design.view, _HEADS)) or ({"": design.heads} if design.heads else {})
    if not heads and not any(m.inner for m in design.mixers):
        return False  # the width would shrink beside heads of the class's own
    states = [count for _, count in _nested(design.view.raw, _STATE_HEADS + _COUPLED)]
    states += [count for _, count in _nested(design.view.raw.get("linear_attn_config") or {}, ("num_heads",))]
    return all(n % factor == 0 and n // factor >= _LEAST_HEADS for n in heads.values()) and all(
        n % factor == 0 for n in states
    )


def _whole(level: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    for key in keys:
        number = as_integer(level[key]) if key in level else as_integer(getattr(level, "defaults", {}).get(key))
        if number:
            yield key, number


def _nested(level: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    for key, value in level.items():
        if isinstance(value, dict):
            yield from _nested(value, keys)
        elif key in keys and (number := as_integer(value)):
            yield key, number


def narrowed(level: Mapping[str, Any], design: Design, widths: Widths) -> dict[str, Any]:
    """Return the language model's level with every width divided; class defaults that a config leaves unsaid are said."""
    if widths.factor == 1:
        return dict(level)
    unsaid = {k: v for k, v in design.view.defaults.items() if k not in level and _is_width(k) and as_integer(v)}
    return {**_level(level, design, widths), **_level(unsaid, design, widths)}


def _is_width(key: str) -> bool:
    return key in (*HIDDEN_KEYS, *_HEADS, *_KV_HEADS, *_STATE_HEADS, *_COUPLED) or key.endswith(_FREE)


def _level(level: Mapping[str, Any], design: Design, widths: Widths) -> dict[str, Any]:
    return {key: _narrow(key, value, design, widths) for key, value in level.items()}


def _narrow(key: str, value: Any, design: Design, widths: Widths) -> Any:
    if isinstance(value, dict):
        return _level(value, design, widths) if key.endswith(("attn_config", "ffn_config", "moe")) else value
    if isinstance(value, list) and key.endswith(_FREE):
        return [_narrow(key, each, design, widths) for each in value]
    number = as_integer(value)
    if not number or isinstance(value, str):
        return value
    if key in HIDDEN_KEYS:
        return widths.hidden if number == design.hidden else value
    if key in _KV_HEADS:
        return widths.key_value_heads(number, _query_heads(design))
    if key in (*_HEADS, *_STATE_HEADS, *_COUPLED):
        return max(1, number // widths.factor)
    if key in _GROUPS:
        return _groups(number, design, widths)
    if key.endswith(_FREE):
        return number // widths.factor if _expands(design, number) else widths.span(number)
    return value


def _query_heads(design: Design) -> int | None:
    return next((count for _, count in _whole(design.view, _HEADS)), design.heads)


def _expands(design: Design, width: int | None) -> bool:
    """True for Mamba's inner width, which is a multiple of the model's and of nothing else."""
    expansion = as_integer(design.view.value(*_EXPANSIONS))
    return expansion is not None and width == expansion * design.hidden


def _groups(number: int, design: Design, widths: Widths) -> int:
    """Groups of B and C divide the heads that are left."""
    heads = next((count for _, count in _whole(design.view, ("mamba_n_heads", "mamba_num_heads", "num_heads"))), None)
    return gcd(number, max(1, heads // widths.factor)) if heads else number
