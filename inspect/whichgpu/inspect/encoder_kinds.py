"""Which encoder or encoder-decoder design a config describes, told from its keys."""

from __future__ import annotations

from whichgpu.inspect.config_view import ConfigView
from whichgpu.inspect.families import family_of
from whichgpu.inspect.normal_form import CONFORMER

ENCODER_DECODERS = ("t5", "bart", "prophetnet", "whisper", "bert decoder", "conformer")
"""Kinds with a decoder."""


def encoder_kind(root: ConfigView) -> str | None:
    """Tell the design from its keys: ``bert``, ``distilbert``, ``clip``, one of ``ENCODER_DECODERS`` or ``None``."""
    level = encoder_level(root)
    if level is not root:
        return _decoder_kind(level)
    if _is_t5(root):
        return "t5"
    ear = root.sub("encoder_config")
    if ear is not None and ear.string("model_type") == CONFORMER and root.value("hidden_size") is not None:
        return "conformer"
    if root.sub("text_config") and root.sub("vision_config") and root.value("projection_dim", "logit_scale_init_value"):
        return "clip" if root.value("logit_scale_init_value") is not None else None
    if root.value("encoder_layers") is not None or root.value("num_decoder_layers", "decoder_layers") is not None:
        return _sequence_kind(root)
    if root.value("type_vocab_size") is not None and root.value("hidden_size") is not None:
        return "bert"
    return family_of(root.string("model_type")).encoder or None


def encoder_level(root: ConfigView) -> ConfigView:
    """The level that describes an encoder-decoder: the root, or a decoder that looks at an image encoder beside it (Florence 2,
    BLIP, Pix2Struct, TrOCR and its kin)."""
    if root.value("decoder_layers", "d_kv", "type_vocab_size") is not None:
        return root
    pairs = (("text_config", "vision_config"), ("decoder", "encoder"))
    nested = (root.sub(text) for text, image in pairs if root.sub(image) is not None)
    return next((level for level in nested if level is not None and _decoder_kind(level) is not None), root)


def _decoder_kind(level: ConfigView) -> str | None:
    """Kind of a language model that attends to an encoder."""
    if _is_t5(level):
        return "t5" if level.flag("is_decoder") else None
    if level.value("decoder_layers") is not None:
        kind = _sequence_kind(level)
        return kind if kind == "bart" else None
    attends = level.flag("add_cross_attention") is True or level.value("encoder_hidden_size") is not None
    return "bert decoder" if attends and level.flag("is_decoder") is True else None


def _is_t5(level: ConfigView) -> bool:
    return level.value("relative_attention_num_buckets") is not None and level.value("d_kv") is not None


def _sequence_kind(level: ConfigView) -> str | None:
    if level.value("ngram") is not None and level.value("num_decoder_layers") is not None:
        return "prophetnet"
    alone = level.flag("is_decoder") is True and level.value("encoder_layers") is None
    if level.value("decoder_layers") is None or not (alone or level.value("encoder_layers") is not None):
        return None
    if level.value("num_mel_bins") is not None:
        return "whisper"
    return "bart" if level.value("speech_encoder_layers") is None else None
