"""Encoder-decoders as tensor tables, and their decoders alone: T5, BART and kin, ProphetNet, Whisper."""

from __future__ import annotations

from whichgpu.inspect.blueprint.encoder_layers import mlp, number, self_attention, times
from whichgpu.inspect.blueprint.speech_towers import parakeet
from whichgpu.inspect.blueprint.table import Row, matrix, norm
from whichgpu.inspect.config_view import ConfigView
from whichgpu.inspect.families import family_of
from whichgpu.inspect.records import Part

_A, _E = Part.ATTENTION, Part.EMBEDDING


def t5(root: ConfigView) -> list[Row]:
    """T5: no biases, relative positions in the first layer of each stack, gated in v1.1. Pix2Struct has its decoder alone, gated."""
    h, inner, heads = number(root, "d_model", "hidden_size"), number(root, "d_ff"), number(root, "num_heads")
    width, vocab = heads * number(root, "d_kv"), number(root, "vocab_size")
    alone = root.flag("is_decoder") is True
    layers = number(root, "num_layers")
    decoders = number(root, "num_decoder_layers") or layers
    gated = alone or "gated" in (root.string("feed_forward_proj") or "")
    block = self_attention("attn", h, width, False) + norm("n1", h) + norm("n2", h) + mlp(h, inner, False, gated)
    bias = Row("relative_bias", _A, (number(root, "relative_attention_num_buckets"), heads))
    rows = [Row("shared", _E, (vocab, h))]
    rows += [] if alone else [*norm("encoder.norm", h), bias, *times(block, layers, "encoder.layers")]
    name = next(iter(root.words("architectures") or []), "")
    if name.endswith("EncoderModel"):
        return rows
    rows += times(block + self_attention("cross", h, width, False) + norm("n3", h), decoders, "decoder.layers")
    rows += [bias, *norm("decoder.norm", h)]
    tied = root.flag("tie_word_embeddings") is not False
    return rows if tied else [*rows, Row("lm_head", Part.HEAD, (vocab, h))]


def bart(root: ConfigView) -> list[Row]:
    """BART: learned positions with an offset of two, post-norm, tied embeddings."""
    h, vocab, family = number(root, "d_model", "hidden_size"), number(root, "vocab_size"), family_of(_type(root))
    offset = 2 if family.positions is None else family.positions
    alone = _is_decoder_alone(root)
    rows = [Row("shared", _E, (vocab, h))]
    rows.append(Row("positions", _E, (number(root, "max_position_embeddings") + offset, h), 1 if alone else 2))
    rows += norm("decoder.norm", h, "layer") + ([] if alone else norm("encoder.norm", h, "layer"))
    rows += [Row("lm_head", Part.HEAD, (vocab, h))] if alone and family.stores_tied_head else []
    return rows + _stacks(root, h, bias=root.flag("use_bias") is not False)


def prophetnet(root: ConfigView) -> list[Row]:
    """ProphetNet: BART whose layers have relative positions of their own, and a vector for each predicted token
    (transformers ProphetNetDecoder)."""
    h, buckets = number(root, "hidden_size"), number(root, "num_buckets")
    relative = matrix("relative_positions", _A, buckets * number(root, "num_decoder_attention_heads"), h, True)
    layers = number(root, "num_decoder_layers") + (0 if _is_decoder_alone(root) else number(root, "num_encoder_layers"))
    spelling = {
        "encoder_layers": number(root, "num_encoder_layers"),
        "decoder_layers": number(root, "num_decoder_layers"),
    }
    rows = bart(ConfigView({**root.raw, **spelling}, root.where))
    return [*rows, Row("ngram_embeddings", _E, (number(root, "ngram"), h)), *times(relative, layers)]


def whisper(root: ConfigView) -> list[Row]:
    """Whisper: two convolutions before an encoder with fixed positions."""
    h, mel = number(root, "d_model"), number(root, "num_mel_bins")
    rows = [Row("embed_tokens", _E, (number(root, "vocab_size"), h))]
    rows += [Row("decoder.positions", _E, (number(root, "max_target_positions") or 448, h))]
    rows += norm("decoder.norm", h, "layer")
    if not _is_decoder_alone(root):
        rows += [
            Row("encoder.conv1.weight", Part.AUDIO, (h, mel, 3)),
            Row("encoder.conv2.weight", Part.AUDIO, (h, h, 3)),
        ]
        rows += [Row("encoder.conv.bias", Part.AUDIO, (h,), 2), *norm("encoder.norm", h, "layer")]
        rows += [Row("encoder.positions", Part.AUDIO, (number(root, "max_source_positions") or 1500, h))]
    return rows + _stacks(root, h, key_bias=False)


def conformer(root: ConfigView) -> list[Row]:
    """Cohere Transcribe: NeMo's conformer before a plain decoder (transformers ParakeetEncoder, CohereAsrDecoder)."""
    ear = root.sub("encoder_config")
    if ear is None:
        return []
    h, width, vocab = number(root, "hidden_size"), number(ear, "hidden_size"), number(root, "vocab_size")
    block = (
        self_attention("attn", h, h, True)
        + self_attention("cross", h, h, True)
        + mlp(h, number(root, "intermediate_size"), True)
    )
    block += [r for i in range(3) for r in norm(f"n{i}", h, "layer")]
    rows = parakeet(ear, root, None) + times(block, number(root, "num_hidden_layers"), "decoder.layers")
    rows += [Row("embed_tokens", _E, (vocab, h)), Row("positions", _E, (number(root, "max_position_embeddings"), h))]
    rows += matrix("decoder.proj", Part.PROJECTOR, h, width, True)
    rows += norm("decoder.norm", h, "layer") + norm("embedding_norm", h, "layer")
    return rows + matrix("proj_out", Part.HEAD, vocab, h, True)


def _type(root: ConfigView) -> str | None:
    return root.string("model_type")


def _is_decoder_alone(root: ConfigView) -> bool:
    """True for the class that is made of such a config to generate text from text alone, and for a config without encoder."""
    named = any(name.endswith("ForCausalLM") for name in root.words("architectures") or [])
    return named or (root.flag("is_decoder") is True and root.value("encoder_layers") is None)


def _stacks(root: ConfigView, h: int, bias: bool = True, key_bias: bool = True) -> list[Row]:
    """Encoder and decoder layers of BART and Whisper."""
    norms = norm("n1", h, "layer") + norm("n2", h, "layer")
    attn = self_attention("attn", h, h, bias, key_bias)
    encoder = attn + norms + mlp(h, number(root, "encoder_ffn_dim"), True)
    cross = self_attention("cross", h, h, bias, key_bias) + norm("n3", h, "layer")
    decoder = attn + cross + norms + mlp(h, number(root, "decoder_ffn_dim"), True)
    encoders = 0 if _is_decoder_alone(root) else number(root, "encoder_layers")
    rows = times(encoder, encoders, "encoder.layers") if encoders else []
    return rows + times(decoder, number(root, "decoder_layers"), "decoder.layers")
