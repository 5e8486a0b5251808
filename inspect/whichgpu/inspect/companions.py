"""Models that a config describes beside the language model and its encoders: a second stack of layers, or one that nobody counts."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from whichgpu.inspect.config_view import ConfigView, looks_like_transformer, text_view
from whichgpu.inspect.records import Part
from whichgpu.inspect.text import clean
from whichgpu.inspect.tower_views import towers

_SECOND_STACKS = ("encoder", "dit_config", "encoder_config", "global_config", "patcher_config")
"""T5Gemma's encoder beside its decoder, pi0's stack for actions, the stacks around the decoder of bytes of BLT."""
_BASES = {
    "text_model_id": ("language model", frozenset({Part.ATTENTION, Part.SSM})),
    "audio_model_id": ("audio encoder", frozenset({Part.AUDIO})),
}
"""Keys by which a composite (Ultravox) names models that it is made of, and the parts that are there where they are its own."""
_WITHOUT_WORDS = "global_config"
"""A stack between others, which sees no words."""
_OF_TOWERS = (
    "word_timestamp_config",
    "qformer_config",
    "projector_config",
    "adapter_config",
    "adaptor_config",
    "perceiver_config",
    "semantic_tokenizer_encoder_config",
    "semantic_tokenizer_config",
    "semantic_model_config",
    "diffusion_head_config",
    "audio_config",
    "text_config",
    "text_config_dict",
    "vision_config_dict",
)
"""Objects that are counted with an encoder, and defaults that a class filled in beside what a config described."""
_DEEPEST = 3


def second_stacks(root: ConfigView) -> Iterator[tuple[str, ConfigView]]:
    """Yield (name, level) of language models that the same class runs beside the first."""
    text, encoders = text_view(root), [view.raw for _, view in towers(root)]
    for name in _SECOND_STACKS:
        level = root.sub(name)
        if level is None or any(level.raw is raw for raw in encoders):
            continue
        inner = text_view(level)
        if (
            inner.raw is not text.raw
            and looks_like_transformer(inner)
            and ("vocab_size" in inner or name == _WITHOUT_WORDS)
        ):
            yield name, inner


def uncounted(root: ConfigView) -> list[str]:
    """Return the names of objects in a config that describe a model which nothing counts."""
    views = [text_view(root), *(view for _, view in towers(root)), *(view for _, view in second_stacks(root))]
    return [name for name in root if name not in _OF_TOWERS and _has_model(root.sub(name), views, 1)]


def _has_model(level: ConfigView | None, views: list[ConfigView], depth: int) -> bool:
    if level is None or depth > _DEEPEST or any(level.raw is view.raw for view in views):
        return False
    inner = any(_has_model(level.sub(name), views, depth + 1) for name in level if name not in _OF_TOWERS or depth > 1)
    return inner or (looks_like_transformer(level) and not any(_holds(level, view) for view in views))


def _holds(level: ConfigView, view: ConfigView) -> bool:
    return any(level.raw[key] is view.raw for key in level)


def uncounted_bases(root: ConfigView, parts: Collection[Part]) -> list[str]:
    """Say which models a composite only names, so that nothing of them is counted.

    Args:
        root: the whole config.
        parts: what was counted.
    """
    bases = [(key, what, root.string(key)) for key, (what, own) in _BASES.items() if not own.intersection(parts)]
    return [
        f"The {what} is only named ({root.where}: {key} = {clean(base, 100)}); its weights lie there, and are not counted."
        for key, what, base in bases
        if base
    ]
