"""Which encoder or encoder-decoder design a config describes, told from its keys."""

from __future__ import annotations

from whichgpu.inspect.config_view import ConfigView
from whichgpu.inspect.families import family_of

ENCODER_DECODERS = ("t5", "bart", "prophetnet", "whisper")
"""Kinds with a decoder."""


def encoder_kind(root: ConfigView) -> str | None:
    """Tell the design from its keys: ``bert``, ``distilbert``, ``clip``, one of ``ENCODER_DECODERS`` or ``None``."""
    level = encoder_level(root)
    if level.value("relative_attention_num_buckets") is not None and level.value("d_kv") is not None:
        return "t5"
    if root.sub("text_config") and root.sub("vision_config") and root.value("projection_dim", "logit_scale_init_value"):
        return "clip" if root.value("logit_scale_init_value") is not None else _sequence_kind(level)
    kind = _sequence_kind(level)
    if kind is not None or level.value("decoder_layers") is not None:
        return kind
    if root.value("type_vocab_size") is not None and root.value("hidden_size") is not None:
        return "bert"
    return family_of(root.string("model_type")).encoder or None


def encoder_level(root: ConfigView) -> ConfigView:
    """The level that describes an encoder-decoder: the root, or the language model that an image encoder stands beside (Florence 2)."""
    text = root.sub("text_config")
    nested = text is not None and root.value("decoder_layers") is None and _sequence_kind(text) == "bart"
    return text if text is not None and nested else root


def _sequence_kind(level: ConfigView) -> str | None:
    if level.value("ngram") is not None and level.value("num_decoder_layers") is not None:
        return "prophetnet"
    alone = level.flag("is_decoder") is True and level.value("encoder_layers") is None
    if level.value("decoder_layers") is None or not (alone or level.value("encoder_layers") is not None):
        return None
    if level.value("num_mel_bins") is not None:
        return "whisper"
    return "bart" if level.value("speech_encoder_layers") is None else None
