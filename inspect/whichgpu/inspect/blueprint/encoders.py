"""Encoders and encoder-decoders as tensor tables: BERT and kin, CLIP, T5, BART, Whisper."""

from __future__ import annotations

from whichgpu.inspect.blueprint.table import Row, matrix, norm, vector
from whichgpu.inspect.blueprint.towers import tower_rows
from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.records import Part

_A, _F, _E = Part.ATTENTION, Part.DENSE_FFN, Part.EMBEDDING


def encoder_rows(kind: str, root: ConfigView) -> list[Row]:
    """Return the tensor table of an encoder or encoder-decoder."""
    makers = {"bert": _bert, "distilbert": _distilbert, "clip": _clip, "t5": _t5, "bart": _bart, "whisper": _whisper}
    return makers[kind](root)


def _number(view: ConfigView, *keys: str) -> int:
    return as_integer(view.value(*keys)) or 0


def _self_attention(name: str, width: int, inner: int, bias: bool, key_bias: bool = True) -> list[Row]:
    rows = matrix(f"{name}.q", _A, inner, width, bias) + matrix(f"{name}.k", _A, inner, width, bias and key_bias)
    return rows + matrix(f"{name}.v", _A, inner, width, bias) + matrix(f"{name}.o", _A, width, inner, bias)


def _mlp(width: int, inner: int, bias: bool, gated: bool = False) -> list[Row]:
    rows = matrix("mlp.fc1", _F, inner, width, bias) + matrix("mlp.fc2", _F, width, inner, bias)
    return rows + (matrix("mlp.gate", _F, inner, width, bias) if gated else [])


def _times(rows: list[Row], layers: int, name: str = "layers") -> list[Row]:
    return [Row(f"{name}.*.{r.name}", r.part, r.shape, r.count * layers, r.linear) for r in rows]


def _bert(root: ConfigView) -> list[Row]:
    """BERT, RoBERTa, XLM-R, ELECTRA; the pooler or head follows the class name."""
    h, layers, inner = (
        _number(root, "hidden_size"),
        _number(root, "num_hidden_layers"),
        _number(root, "intermediate_size"),
    )
    small = _number(root, "embedding_size") or h
    positions, kinds = _number(root, "max_position_embeddings"), _number(root, "type_vocab_size")
    rows = [
        Row("embeddings.word", _E, (_number(root, "vocab_size"), small)),
        Row("embeddings.position", _E, (positions, small)),
        Row("embeddings.token_type", _E, (kinds, small)),
        *norm("embeddings.norm", small, "layer"),
    ]
    rows += matrix("embeddings_project", _E, h, small, True) if small != h else []
    layer = _self_attention("attn", h, h, True) + _mlp(h, inner, True) + norm("n1", h, "layer") + norm("n2", h, "layer")
    return rows + _times(layer, layers) + _bert_head(root, h, small)


def _bert_head(root: ConfigView, h: int, small: int) -> list[Row]:
    name = next(iter(root.words("architectures") or []), "")
    labels = root.value("id2label")
    count = len(labels) if isinstance(labels, dict) else 2
    if name.endswith("ForMaskedLM"):
        rows = matrix("head.transform", Part.HEAD, small, h, True) + norm("head.norm", small, "layer")
        return rows + vector("head.bias", Part.HEAD, _number(root, "vocab_size"))
    if name.endswith(("SequenceClassification", "ForPreTraining")):
        return matrix("head.dense", Part.HEAD, h, h, True) + matrix("head.out", Part.HEAD, count, h, True)
    if name.endswith("TokenClassification"):
        return matrix("head.out", Part.HEAD, count, h, True)
    return matrix("pooler", Part.HEAD, h, h, True)


def _distilbert(root: ConfigView) -> list[Row]:
    h, inner = _number(root, "dim"), _number(root, "hidden_dim")
    vocab = _number(root, "vocab_size")
    rows = [Row("embeddings.word", _E, (vocab, h)), *norm("embeddings.norm", h, "layer")]
    rows.append(Row("embeddings.position", _E, (_number(root, "max_position_embeddings"), h)))
    layer = _self_attention("attn", h, h, True) + _mlp(h, inner, True) + norm("n1", h, "layer") + norm("n2", h, "layer")
    rows += _times(layer, _number(root, "n_layers"))
    return rows + matrix("head.transform", Part.HEAD, h, h, True) + vector("head.bias", Part.HEAD, vocab)


def _clip(root: ConfigView) -> list[Row]:
    """Two encoders that meet in one space."""
    text, vision = root.sub("text_config"), root.sub("vision_config")
    if text is None or vision is None:
        return []
    h, inner = _number(text, "hidden_size") or 512, _number(text, "intermediate_size") or 2048
    positions = _number(text, "max_position_embeddings") or 77
    rows = [Row("text.token_embedding", _E, (_number(text, "vocab_size") or 49408, h))]
    rows += [Row("text.position_embedding", _E, (positions, h)), *norm("text.final_norm", h, "layer")]
    layer = _self_attention("attn", h, h, True) + _mlp(h, inner, True) + norm("n1", h, "layer") + norm("n2", h, "layer")
    rows += _times(layer, _number(text, "num_hidden_layers") or 12)
    space = _number(root, "projection_dim") or 512
    width = _number(vision, "hidden_size") or 768
    rows += matrix("text_projection", Part.PROJECTOR, space, h) + matrix(
        "visual_projection", Part.PROJECTOR, space, width
    )
    return [*rows, *tower_rows("vision", vision, None, root), Row("logit_scale", Part.OTHER, (1,))]


def _t5(root: ConfigView) -> list[Row]:
    """T5: no biases, relative positions in the first layer of each stack, gated in v1.1."""
    h, inner, heads = _number(root, "d_model"), _number(root, "d_ff"), _number(root, "num_heads")
    width = heads * _number(root, "d_kv")
    layers = _number(root, "num_layers")
    decoders = _number(root, "num_decoder_layers") or layers
    gated = "gated" in (root.string("feed_forward_proj") or "")
    rows = [Row("shared", _E, (_number(root, "vocab_size"), h)), *norm("encoder.norm", h)]
    block = _self_attention("attn", h, width, False) + norm("n1", h) + norm("n2", h) + _mlp(h, inner, False, gated)
    rows += _times(block, layers, "encoder.layers")
    buckets = _number(root, "relative_attention_num_buckets")
    name = next(iter(root.words("architectures") or []), "")
    if name.endswith("EncoderModel"):
        return [*rows, Row("relative_bias", _A, (buckets, heads))]
    rows += _times(block + _self_attention("cross", h, width, False) + norm("n3", h), decoders, "decoder.layers")
    rows += [Row("relative_bias", _A, (buckets, heads), 2), *norm("decoder.norm", h)]
    tied = root.flag("tie_word_embeddings") is not False
    return rows if tied else [*rows, Row("lm_head", Part.HEAD, (_number(root, "vocab_size"), h))]


def _bart(root: ConfigView) -> list[Row]:
    """BART: learned positions with an offset of two, post-norm, tied embeddings."""
    h, vocab = _number(root, "d_model"), _number(root, "vocab_size")
    positions = _number(root, "max_position_embeddings") + 2
    stacks = 1 if _is_decoder_alone(root) else 2
    rows = [Row("shared", _E, (vocab, h)), Row("positions", _E, (positions, h), stacks)]
    rows += norm("decoder.norm", h, "layer") + (norm("encoder.norm", h, "layer") if stacks > 1 else [])
    return rows + _stacks(root, h, key_bias=True)


def _is_decoder_alone(root: ConfigView) -> bool:
    """True for the class that is made of such a config to generate text from text alone."""
    return any(name.endswith("ForCausalLM") for name in root.words("architectures") or [])


def _stacks(root: ConfigView, h: int, key_bias: bool) -> list[Row]:
    """Encoder and decoder layers of BART and Whisper."""
    norms = norm("n1", h, "layer") + norm("n2", h, "layer")
    attn = _self_attention("attn", h, h, True, key_bias)
    encoder = attn + norms + _mlp(h, _number(root, "encoder_ffn_dim"), True)
    cross = _self_attention("cross", h, h, True, key_bias) + norm("n3", h, "layer")
    decoder = attn + cross + norms + _mlp(h, _number(root, "decoder_ffn_dim"), True)
    encoders = 0 if _is_decoder_alone(root) else _number(root, "encoder_layers")
    rows = _times(encoder, encoders, "encoder.layers")
    return rows + _times(decoder, _number(root, "decoder_layers"), "decoder.layers")


def _whisper(root: ConfigView) -> list[Row]:
    h, mel = _number(root, "d_model"), _number(root, "num_mel_bins")
    rows = [Row("embed_tokens", _E, (_number(root, "vocab_size"), h))]
    rows += [Row("encoder.conv1.weight", Part.AUDIO, (h, mel, 3)), Row("encoder.conv2.weight", Part.AUDIO, (h, h, 3))]
    rows += [Row("encoder.conv.bias", Part.AUDIO, (h,), 2)]
    rows += [Row("encoder.positions", Part.AUDIO, (_number(root, "max_source_positions") or 1500, h))]
    rows += [Row("decoder.positions", _E, (_number(root, "max_target_positions") or 448, h))]
    rows += norm("encoder.norm", h, "layer") + norm("decoder.norm", h, "layer")
    return rows + _stacks(root, h, key_bias=False)
