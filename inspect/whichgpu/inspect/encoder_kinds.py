"""Which encoder or encoder-decoder design a config describes, told from its keys."""

from __future__ import annotations

from whichgpu.inspect.config_view import ConfigView
from whichgpu.inspect.families import family_of


def encoder_kind(root: ConfigView) -> str | None:
    """Tell the design from its keys: ``bert``, ``distilbert``, ``clip``, ``t5``, ``bart``, ``whisper`` or ``None``."""
    if root.value("relative_attention_num_buckets") is not None and root.value("d_kv") is not None:
        return "t5"
    if root.sub("text_config") and root.sub("vision_config") and root.value("projection_dim", "logit_scale_init_value"):
        return "clip" if root.value("logit_scale_init_value") is not None else None
    if root.value("encoder_layers") is not None and root.value("decoder_layers") is not None:
        if root.value("num_mel_bins") is not None:
            return "whisper"
        return "bart" if root.value("speech_encoder_layers") is None else None
    if root.value("type_vocab_size") is not None and root.value("hidden_size") is not None:
        return "bert"
    return family_of(root.string("model_type")).encoder or None
