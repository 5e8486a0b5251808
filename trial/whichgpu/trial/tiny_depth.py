"""Which layers a tiny model keeps, and every per-layer list, pattern and index of its config cut to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from whichgpu.inspect.config_view import LAYER_KEYS
from whichgpu.inspect.design import Design

LEAST_LAYERS = 2
_MOST_KINDS = 4
"""A list with more different values than this is a schedule of sizes, not a choice among kinds of layers."""

_TOWER_DEPTHS = (
    "depth",
    "num_hidden_layers",
    "encoder_layers",
    "decoder_layers",
    "num_layers",
    "layers",
    "n_layer",
    "vt_num_hidden_layers",
    "num_global_layers",
)
_SHARED = "num_kv_shared_layers"
_INDEX_WORDS = ("layers", "layer_ids", "indices", "indexes", "idxs", "layers_enum")
"""How keys are called that list layers by their number."""

_APART = ("quantization_config", "compression_config")
"""What names layers in a language of its own, or none."""


def kept_layers(design: Design) -> int:
    """Return how many of the first layers have every kind of layer: mixer, feed-forward block, what the config lists of them.

    Layers that read the cache of earlier ones come last in a model; there the prefix is taken twice, and its second half
    shares.
    """
    own = [i for i, mixer in enumerate(design.mixers) if not mixer.shares_kv] or list(range(design.layers))
    lists = [_as_kinds(value) for value in _lists_of(design.view.raw, design.layers)]
    signatures = [_kinds_of(design, i, lists) for i in own]
    prefix = max(LEAST_LAYERS, max(signatures.index(kind) + 1 for kind in set(signatures)))
    if len(own) < design.layers:
        return min(design.layers, 2 * prefix)
    return min(design.layers, prefix)


def _kinds_of(design: Design, index: int, lists: Sequence[Sequence[str]]) -> tuple[object, ...]:
    mixer, ffn = design.mixers[index], design.ffns[index]
    beside = mixer.beside.kind if mixer.beside is not None else None
    return (mixer.kind, beside, mixer.compress_ratio, ffn.kind, bool(ffn.experts), *(kinds[index] for kinds in lists))


def _as_kinds(values: Sequence[object]) -> list[str]:
    """A list's values where they tell kinds of layers apart, else the same for all."""
    words = [str(value) for value in values]
    return words if len(set(words)) <= _MOST_KINDS else [""] * len(words)


def _lists_of(level: Mapping[str, Any], layers: int) -> list[list[object]]:
    """Per-layer lists; one per layer and next-token layer counts without the latter."""
    extra = _next_token_layers(level)
    return [v[:layers] for v in level.values() if isinstance(v, list) and len(v) in (layers, layers + extra)]


def _next_token_layers(level: Mapping[str, Any]) -> int:
    value = level.get("num_nextn_predict_layers", level.get("mtp_num_hidden_layers"))
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 16 else 0


def cut_text(level: Mapping[str, Any], layers: int, kept: int) -> dict[str, Any]:
    """Return the language model's level of a config with ``kept`` of its ``layers``."""
    cut = _cut_lists(level, layers, kept, _next_token_layers(level))
    cut |= {key: kept for key in LAYER_KEYS if _is_count(cut.get(key), layers)}
    cut |= {key: min(cut[key], LEAST_LAYERS) for key in ("encoder_layers",) if isinstance(cut.get(key), int)}
    shared = cut.get(_SHARED)
    if isinstance(shared, int) and shared > 0:
        cut[_SHARED] = kept // 2
    last = cut.get("moe_layer_end_index")
    if isinstance(last, int) and last >= kept:
        cut["moe_layer_end_index"] = kept - 1
    return cut


def cut_tower(level: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """Return the level of an encoder with two layers, and how many it had; unchanged where it says no depth."""
    depths = [level[key] for key in _TOWER_DEPTHS if _is_count(level.get(key))]
    if not depths:
        return dict(level), None
    deepest = max(depths)
    cut = _cut_lists(level, deepest, min(deepest, LEAST_LAYERS), 0)
    cut |= {key: min(level[key], LEAST_LAYERS) for key in _TOWER_DEPTHS if _is_count(level.get(key))}
    return cut, deepest


def _is_count(value: object, exactly: int | None = None) -> bool:
    is_whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return is_whole and (exactly is None or value == exactly)


def _cut_lists(level: Mapping[str, Any], layers: int, kept: int, extra: int) -> dict[str, Any]:
    """Cut what has an entry per layer, and what lists layers by number, in a level and what is nested in it."""
    first = 1 if _counts_from_one(level, layers) else 0
    return {key: _cut_value(key, value, (layers, kept, extra, first)) for key, value in level.items()}


def _cut_value(key: str, value: Any, sizes: tuple[int, int, int, int]) -> Any:
    layers, kept, extra, first = sizes
    if isinstance(value, dict) and key not in _APART and "rope" not in key:
        return _cut_lists(value, layers, kept, extra)
    if isinstance(value, list) and len(value) in (layers, layers + extra) and layers > kept:
        return [*value[:kept], *value[layers:]]
    if isinstance(value, list) and value and _lists_layers(key, value, layers):
        return [i for i in value if i < kept + first] or [kept - 1 + first]
    if isinstance(value, str) and "pattern" in key and len(value) == layers:
        return value[:kept]
    if isinstance(value, str) and key.endswith(_INDEX_WORDS) and value.replace(",", "").replace(" ", "").isdigit():
        return ",".join(part for part in value.split(",") if int(part) < kept + first)
    return value


def _lists_layers(key: str, values: Sequence[Any], layers: int) -> bool:
    if not key.endswith(_INDEX_WORDS) or any(isinstance(v, bool) or not isinstance(v, int) for v in values):
        return False
    return all(0 <= v <= layers for v in values) and all(a < b for a, b in pairwise(values))


def _counts_from_one(level: Mapping[str, Any], layers: int) -> bool:
    """True where layers are numbered from 1, which the number of the last one gives away (Kimi Linear)."""
    listed = [
        v
        for key, value in level.items()
        if isinstance(value, list) and _lists_layers(key, value, layers)
        for v in value
    ]
    return layers in listed
