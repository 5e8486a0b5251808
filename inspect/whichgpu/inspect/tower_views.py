"""Where a config describes vision and audio encoders, and how large they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from whichgpu.inspect.config_view import ConfigView, as_integer, is_filled_by_class
from whichgpu.inspect.families import family_of

_VISION_KEYS = ("vision_config", "visual", "vit_config", "vision_tower_config", "siglip_config", "vision_model")
_AUDIO_KEYS = (
    "acoustic_tokenizer_config",
    "audio_config",
    "audio_encoder_config",
    "speech_config",
    "audio_model",
    "acoustic_tokenizer_encoder_config",
    "encoder_config",
)
_ANY_ENCODER = "encoder_config"
_SOUND_KEYS = ("input_dim", "num_mel_bins")
"""A key that does not say of what, and those that tell an encoder of sound (Granite Speech)."""
_IMAGE_KEYS = ("patch_size", "image_size")
_LEVELS = ("thinker_config", "vlm_config", "encoder")
"""Levels between the outermost and the encoders (Qwen Omni, pi0, T5Gemma 2)."""

_NAMED_TOWERS: dict[str, Mapping[str, object]] = {
    "vit_so400m_patch14_siglip": {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
    },
    "clip-vit-large-patch14-336": {
        "model_type": "clip_vision_model",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 336,
        "patch_size": 14,
    },
}
"""Public encoders that some configs name by string only."""


def towers(root: ConfigView) -> Iterator[tuple[str, ConfigView]]:
    """Yield (modality, view) for every encoder that the config describes."""
    if is_filled_by_class(root):
        return
    modalities: set[str] = set()
    for level in (*map(root.sub, _LEVELS), root):
        if level is None:
            continue
        for modality, keys in (("vision", _VISION_KEYS), ("audio", _AUDIO_KEYS)):
            for key in keys:
                view = level.sub(key)
                if view is None or (key == _ANY_ENCODER and view.value(*_SOUND_KEYS) is None):
                    continue
                if modality not in modalities:
                    modalities.add(modality)
                    yield modality, view
    beside = root.sub("encoder") if root.sub("decoder") is not None else None
    if beside is not None and "vision" not in modalities and beside.value(*_IMAGE_KEYS) is not None:
        modalities.add("vision")
        yield "vision", beside
    for modality, view in _unwritten(root):
        if modality not in modalities:
            yield modality, view


def _unwritten(root: ConfigView) -> Iterator[tuple[str, ConfigView]]:
    """Yield encoders that the class has although the config describes none, and those that it names alone."""
    names = root.words("architectures") or []
    text_alone = root.sub("text_config") is not None and bool(names) and all(n.endswith("ForCausalLM") for n in names)
    for model_type in () if text_alone else family_of(root.string("model_type")).towers:
        modality = "audio" if "audio" in model_type else "vision"
        yield modality, ConfigView({"model_type": model_type}, f"assumed: the class's {modality} encoder; ")
    processor = root.sub("img_processor")
    name = root.string("vision_encoder") or (processor.string("model_name") if processor else None) or ""
    for tower_name, config in _NAMED_TOWERS.items():
        if tower_name in name:
            yield "vision", ConfigView(config, f"assumed: published sizes of {tower_name}; ")
            return


def sizes(view: ConfigView) -> tuple[int | None, int | None, int | None, int | None]:
    """Return (layers, width, intermediate, heads) of an encoder."""
    layers = as_integer(
        view.value("num_hidden_layers", "depth", "vt_num_hidden_layers", "encoder_layers", "layers", "n_layer")
    )
    given = view.value(
        "embed_dim"
    )  # also where a class assumes it: its hidden_size is then the language model's (Qwen2-VL)
    width = as_integer(given if given is not None else view.value("vt_hidden_size", "hidden_size", "d_model", "width"))
    if view.value("embed_dim") is None and isinstance(view.value("width"), dict):
        width = None
    inner = as_integer(view.value("vt_intermediate_size", "intermediate_size", "encoder_ffn_dim"))
    ratio = view.value("mlp_ratio")
    if inner is None and width and isinstance(ratio, int | float) and 0 < ratio < 100:
        inner = int(width * ratio)
    heads = as_integer(
        view.value("num_heads", "num_attention_heads", "vt_num_attention_heads", "encoder_attention_heads", "heads")
    )
    return layers, width, inner or (4 * width if width else None), heads
