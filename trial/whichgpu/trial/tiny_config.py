"""A model's published config, made tiny: the first layers that have every kind of layer, narrower, with fewer experts.

Rules, and no list of models. The vocabulary stays, since special and image tokens must lie inside; so does everything that is
not named here. Pure: a config goes in and a config comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from typing import Any

from whichgpu.inspect.architecture import read_design
from whichgpu.inspect.config_view import ConfigView, as_integer, config_root, text_view
from whichgpu.inspect.design import Design
from whichgpu.trial.errors import TrialError
from whichgpu.trial.tiny_depth import cut_text, cut_tower, kept_layers
from whichgpu.trial.tiny_widths import Widths, narrowed, widths_of

_LEAST_EXPERTS = 8
_LEAST_GROUP, _MOST_GROUP = 128, 1024
"""Elements that a quantisation scales together."""
_EXPERTS = (
    "num_experts",
    "n_routed_experts",
    "num_local_experts",
    "moe_num_experts",
    "num_routed_experts",
    "n_experts",
)
_EXPERT_GROUPS = ("n_group", "num_expert_group")
_QUANTISATIONS = ("quantization_config", "compression_config")
_OUTPUTS = ("out_hidden_size", "text_hidden_size", "projection_dim", "output_dim", "output_proj_dims", "llm_hidden_size",
            "language_hidden_size", "n_embed")  # fmt: skip
"""Widths of an encoder that are the language model's."""


@dataclass(frozen=True, slots=True)
class TinyConfig:
    """A tiny model's config, and how it differs from the published one."""

    config: dict[str, Any]
    layers: int
    """Of the language model."""
    hidden: int
    """Its width in elements."""
    cuts: tuple[str, ...]
    """What was cut, each in a sentence."""


def tiny_config(config: Mapping[str, Any]) -> TinyConfig:
    """Shrink a config.

    Raises:
        TrialError: it describes no language model.
        UnreadableError: it has sizes that no model has.
    """
    root = config_root(config, "config.json")
    design = read_design(root)
    if design is None:
        raise TrialError("Its config describes no language model.", "--tiny is for what vLLM serves.")
    text = text_view(root).raw
    kept, widths = kept_layers(design), widths_of(design, _quantised_group(config))
    tiny_text = narrowed(cut_text(_without_parts(text), design.layers, kept), design, widths)
    experts = _fewer_experts(tiny_text, design)
    shrinking = _Shrinking(text, tiny_text, widths, [])
    tiny = shrinking.level(config)
    cuts = [f"{kept} of {design.layers} layers: the first that have every kind of them"]
    if widths.factor > 1:
        cuts.append(f"width {widths.hidden:,} for {design.hidden:,}, and heads divided by {widths.factor}")
    cuts += experts + shrinking.cuts
    return TinyConfig(tiny, kept, widths.hidden, tuple(f"{cut}." for cut in cuts))


def _quantised_group(config: Mapping[str, Any]) -> int | None:
    """Elements that a quantisation scales together, wherever in the config it stands: tensors must divide by them."""
    for key, value in config.items():
        if not isinstance(value, dict):
            continue
        if key not in _QUANTISATIONS:
            inner = _quantised_group(value)
            if inner is not None:
                return inner
            continue
        view = ConfigView(value, key)
        blocks = [*(view.numbers("weight_block_size") or []), as_integer(view.value("group_size")) or 0]
        return min(_MOST_GROUP, max(_LEAST_GROUP, *blocks))
    return None


def _without_parts(text: Mapping[str, Any]) -> dict[str, Any]:
    """The language model's own keys, where its encoders are nested in the same level."""
    return {key: value for key, value in text.items() if not _is_part(key, value)}


def _is_part(key: str, value: object) -> bool:
    return isinstance(value, dict) and key not in _QUANTISATIONS and cut_tower(value)[1] is not None


def _fewer_experts(tiny: dict[str, Any], design: Design) -> list[str]:
    """Cut the routed experts to eight, or twice what a token takes, in groups that divide them."""
    top_k = max((ffn.top_k or 0 for ffn in design.ffns), default=0)
    published = max((ffn.experts or 0 for ffn in design.ffns), default=0)
    left = max(_LEAST_EXPERTS, 2 * top_k)
    if published <= left:
        return []
    for level in (tiny, *(v for v in tiny.values() if isinstance(v, dict))):
        for key in _EXPERTS:
            if as_integer(level.get(key)) == published:
                level[key] = left
        _regroup(level, left, top_k)
    return [f"{left} of {published} experts; a token still takes {top_k}"]


def _regroup(level: dict[str, Any], experts: int, top_k: int) -> None:
    """Groups of at least two experts, of which the chosen ones hold what a token takes."""
    key = next((key for key in _EXPERT_GROUPS if as_integer(level.get(key))), None)
    if key is None:
        return
    groups, chosen = int(level[key]), as_integer(level.get("topk_group")) or 1
    left = min(gcd(groups, experts), experts // 2)
    least = -(-top_k * left // experts)
    level[key], level["topk_group"] = left, min(left, max(least, -(-chosen * left // groups)))


@dataclass(slots=True)
class _Shrinking:
    """One config on its way: the language model's level is put in its place, encoders lose their depth."""

    text: Mapping[str, Any]
    tiny_text: Mapping[str, Any]
    widths: Widths
    cuts: list[str]

    def level(self, level: Mapping[str, Any]) -> dict[str, Any]:
        if level is self.text:
            return {key: self.part(key, v) if _is_part(key, v) else self.tiny_text[key] for key, v in level.items()} | {
                key: value for key, value in self.tiny_text.items() if key not in level
            }
        changed = {k: self.tiny_text[k] for k, v in self.text.items() if k in self.tiny_text and self.tiny_text[k] != v}
        return {
            key: self.part(key, value) if isinstance(value, dict) and key not in _QUANTISATIONS
            else changed[key] if key in changed and self.text[key] == value else value
            for key, value in level.items()
        }  # fmt: skip

    def part(self, key: str, level: Mapping[str, Any]) -> dict[str, Any]:
        """A nested object: the language model, what holds it, or an encoder."""
        if level is self.text or self._holds_text(level):
            return self.level(level)
        tower, deep = cut_tower(level)
        if deep is not None and deep > 2:
            self.cuts.append(f"2 of {deep} layers of {key}")
        return {k: self.widths.hidden if self._is_output(k, v, level) else v for k, v in tower.items()}

    def _is_output(self, key: str, value: object, tower: Mapping[str, Any]) -> bool:
        if value != self.widths.published_hidden:
            return False
        return key in _OUTPUTS or (key == "hidden_size" and "embed_dim" in tower)

    def _holds_text(self, level: Mapping[str, Any]) -> bool:
        return any(v is self.text or (isinstance(v, dict) and self._holds_text(v)) for v in level.values())
