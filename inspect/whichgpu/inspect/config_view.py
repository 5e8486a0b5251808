"""A config.json read with suspicion: typed look-ups, aliases, bounds, and a note of every key that was used."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from whichgpu.inspect.bounded import json_of
from whichgpu.inspect.errors import UnreadableError
from whichgpu.inspect.text import clean

MAX_CONFIG_BYTES = 16 * 2**20
"""Real configs stay under 1 MB; anything larger is an attack or a mistake."""

_MAX_INTEGER = 2**40
"""Far above any real dimension; larger values are read as unusable, not as a model."""

MOST_LAYERS = 4096
"""Everything is made once for each of them; no model has so many."""
_LAYER_COUNTS = ("layers", "n_layer", "depth", "block_count")
"""How keys end that count layers, of the language model or of anything beside it."""

_MOST_NESTED = 64

TEXT_CONFIGS = (
    "thinker_config",
    "vlm_config",
    "decoder_config",
    "text_config",
    "llm_config",
    "language_config",
    "language_model",
    "text_model",
    "decoder",
    "llm",
)
"""Names under which multimodal configs nest the language model, in order of preference."""

LAYER_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
HIDDEN_KEYS = ("hidden_size", "d_model", "n_embd", "n_embed", "dim", "model_dim", "block_dim", "emb_dim")
_ESSENTIAL = (
    "vocab_size", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size", "moe_intermediate_size",
    "num_experts", "n_routed_experts", "num_local_experts", "num_experts_per_tok", "kv_lora_rank", "q_lora_rank",
)  # fmt: skip
_POSITIVE = (*HIDDEN_KEYS, "num_attention_heads", "vocab_size")
_DESCRIPTION = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
_SIZES = ("intermediate_size", "num_key_value_heads", "max_position_embeddings")


def parse_json(data: bytes, name: str, limit: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """Parse one JSON object.

    Raises:
        UnreadableError: too large, not JSON, not an object, or nested too deeply.
    """
    if len(data) > limit:
        raise UnreadableError(f"{name} has {len(data):,} bytes; it never needs more than {limit:,}.")
    try:
        parsed = json_of(data)
    except ValueError as error:
        raise UnreadableError(f"{name} is not valid JSON ({clean(error, 80)}).") from error
    if not isinstance(parsed, dict):
        raise UnreadableError(f"{name} holds a {type(parsed).__name__}, not an object.")
    return parsed


class ConfigView(Mapping[str, Any]):
    """One level of a config, with class defaults behind it and the used keys on record.

    A key whose value has the wrong type, is infinite or out of bounds counts as absent; ``rejected`` names it.
    """

    def __init__(self, raw: Mapping[str, Any], where: str, defaults: Mapping[str, Any] | None = None) -> None:
        self.raw = raw
        self.where = where
        self.defaults: Mapping[str, Any] = defaults or {}
        self.sources: dict[str, str] = {}
        self.rejected: list[str] = []

    def __getitem__(self, key: str) -> Any:
        return self.raw[key] if key in self.raw else self.defaults[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def _note(self, field: str, key: str) -> None:
        is_present = key in self.raw
        self.sources.setdefault(field, f"{self.where}: {key}" if is_present else f"assumed: class default of {key}")

    def value(self, *keys: str) -> Any:
        """Return the first of ``keys`` that is present and not null, else the first class default."""
        for layer in (self.raw, self.defaults):
            for key in keys:
                if layer.get(key) is not None:
                    return layer[key]
        return None

    def integer(self, field: str, *keys: str) -> int | None:
        """Return the first usable non-negative integer among ``keys`` and note it as the source of ``field``."""
        for layer in (self.raw, self.defaults):
            for key in keys:
                number = as_integer(layer.get(key))
                if number is not None:
                    self._note(field, key)
                    return number
                if layer.get(key) is not None and not isinstance(layer[key], list | dict):
                    self.rejected.append(f"{self.where}: {key} = {clean(layer[key], 40)}")
        return None

    def flag(self, *keys: str) -> bool | None:
        """Return the first boolean among ``keys``; ``None`` when the config is silent."""
        value = self.value(*keys)
        return value if isinstance(value, bool) else None

    def string(self, *keys: str) -> str | None:
        value = self.value(*keys)
        return clean(value, 120) if isinstance(value, str) else None

    def sub(self, key: str) -> ConfigView | None:
        """Return a nested object as a view of its own."""
        inner = self.raw.get(key)
        if not isinstance(inner, dict) or not inner:
            return None
        prefix = self.where if ": " in self.where else f"{self.where}: "
        return ConfigView(inner, f"{prefix}{key}." if prefix.endswith((".", " ")) else f"{prefix}.{key}.")

    def numbers(self, *keys: str) -> list[int] | None:
        """Return a per-layer list of integers (a bounded length), or ``None``."""
        value = self.value(*keys)
        if not isinstance(value, Sequence) or isinstance(value, str) or not 0 < len(value) <= MOST_LAYERS:
            return None
        parsed = [as_integer(v) for v in value]
        return [v for v in parsed if v is not None] if None not in parsed else None

    def words(self, *keys: str) -> list[str] | None:
        """Return a per-layer list of strings (a bounded length), or ``None``."""
        value = self.value(*keys)
        if not isinstance(value, Sequence) or isinstance(value, str) or not 0 < len(value) <= MOST_LAYERS:
            return None
        return [v for v in value if isinstance(v, str)] if all(isinstance(v, str) for v in value) else None


def as_integer(value: object) -> int | None:
    """Return ``value`` as a plausible dimension: a finite, whole, non-negative number below 2**40."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not (math.isfinite(value) and value == int(value)):
        return None
    return int(value) if 0 <= value < _MAX_INTEGER else None


def text_view(root: ConfigView) -> ConfigView:
    """Return the part of a config that describes the language model: a nested one, or the root itself.

    Known names come first; otherwise the nested object that most looks like a transformer (layers and a
    width, no patch size) is taken, unless the root does itself.
    """
    for name in TEXT_CONFIGS:
        inner = root.sub(name)
        if inner is None or _overrules(root, inner):
            continue
        deeper = text_view(inner)
        named = inner.string("model_type") is not None and not looks_like_transformer(root)
        if deeper is not inner or looks_like_transformer(inner) or named:
            return deeper
    if looks_like_transformer(root):
        return root
    for name in root:
        inner = root.sub(name)
        if inner is not None and looks_like_transformer(inner) and "vocab_size" in inner and not is_tower(name, inner):
            return inner
    return root


def _overrules(root: ConfigView, inner: ConfigView) -> bool:
    """True where a config describes a language model flat, and one that is nested in it says otherwise.

    transformers nests a part of defaults into what it saves where the published config has its keys flat (GLM-4.1V, Step 3.7).
    """
    described = all(root.raw.get(key) is not None for key in _DESCRIPTION)
    if root.raw.get("model_type") == inner.raw.get("model_type"):
        return False  # the other way round: the class of a language model filled its own level, and kept what it does not know
    return described and any(
        inner.raw.get(key) not in (None, root.raw[key]) for key in (*_DESCRIPTION, *_SIZES) if key in root.raw
    )


def is_filled_by_class(root: ConfigView) -> bool:
    """True where what is nested are defaults of a class, beside a language model that is described flat and served alone."""
    names = root.value("architectures")
    alone = isinstance(names, list) and bool(names) and all(str(name).endswith("ForCausalLM") for name in names)
    nested = (root.sub(name) for name in TEXT_CONFIGS)
    return alone and any(inner is not None and _overrules(root, inner) for inner in nested)


def looks_like_transformer(view: ConfigView) -> bool:
    """True when the object has a width and a number of layers."""
    return view.value(*HIDDEN_KEYS) is not None and view.value(*LAYER_KEYS) is not None


def is_tower(name: str, view: ConfigView) -> bool:
    """True when a nested object describes a vision or audio encoder."""
    marks = ("vision", "visual", "audio", "speech", "image", "siglip", "vit")
    return any(m in name for m in marks) or view.value("patch_size", "num_mel_bins", "image_size") is not None


def config_root(raw: Mapping[str, Any], where: str) -> ConfigView:
    """Return a whole config as a view, refusing counts of layers that no model has: everything is made once for each.

    Raises:
        UnreadableError: more than 4,096 layers anywhere in it, or objects nested too deeply.
    """
    levels: list[tuple[Mapping[str, Any], int]] = [(raw, 0)]
    while levels:
        level, depth = levels.pop()
        if depth > _MOST_NESTED:
            raise UnreadableError(f"{where} is nested more than {_MOST_NESTED} levels deep.")
        for key, value in level.items():
            if isinstance(value, dict):
                levels.append((value, depth + 1))
            elif key.endswith(_LAYER_COUNTS) and (number := as_integer(value)) is not None and number > MOST_LAYERS:
                raise _too_many_layers(f"{where}: {clean(key, 60)}", number)
    return ConfigView(raw, where)


def _too_many_layers(where: str, layers: int) -> UnreadableError:
    return UnreadableError(f"{where} asks for {layers:,} layers; no model has more than {MOST_LAYERS:,}.")


def check_sizes(view: ConfigView) -> None:
    """Refuse a config in which a size that everything hangs on is none: nothing is put in the place of what somebody wrote.

    Raises:
        UnreadableError: text, a fraction, a negative or an absurd number where a size belongs; it names the key.
    """
    for key in (*HIDDEN_KEYS, *LAYER_KEYS, *_ESSENTIAL):
        value = view.raw.get(key)
        listed = value if isinstance(value, list) else [value]
        sizes = [as_integer(entry) for entry in listed if entry is not None]
        if None in sizes or (key in _POSITIVE and 0 in sizes):
            raise UnreadableError(f"{view.where}: {key} = {clean(value, 40)} is no size.", "Look into the config.")


def layer_count(view: ConfigView) -> int | None:
    """Return the number of layers, refusing counts that no model has.

    Raises:
        UnreadableError: more than 4,096 layers.
    """
    layers = view.integer("layers", *LAYER_KEYS)
    if layers is None:
        listed = view.words("layers_block_type", "layer_types") or list(view.string("hybrid_override_pattern") or "")
        layers = len(listed) or None
        view.sources["layers"] = "computed: length of the per-layer list"
    if layers is not None and layers > MOST_LAYERS:
        raise _too_many_layers(view.where, layers)
    return layers
