"""Encoders as tensor tables: BERT and kin, CLIP; encoder-decoders have a module of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from whichgpu.inspect.blueprint.encoder_decoders import bart, conformer, prophetnet, t5, whisper
from whichgpu.inspect.blueprint.encoder_layers import mlp, number, self_attention, times
from whichgpu.inspect.blueprint.table import Row, matrix, norm, vector
from whichgpu.inspect.blueprint.towers import tower_rows
from whichgpu.inspect.config_view import ConfigView
from whichgpu.inspect.encoder_kinds import encoder_level
from whichgpu.inspect.records import Part

_E = Part.EMBEDDING


_MAKERS: dict[str, Callable[[ConfigView], list[Row]]] = {
    "t5": t5,
    "bart": bart,
    "prophetnet": prophetnet,
    "whisper": whisper,
    "conformer": conformer,
}


def encoder_rows(kind: str, root: ConfigView) -> list[Row]:
    """Return the tensor table of an encoder or encoder-decoder, without an image encoder beside it."""
    makers = {"bert": _bert, "bert decoder": _bert, "distilbert": _distilbert, "clip": _clip, **_MAKERS}
    return makers[kind](encoder_level(root))


def _bert(root: ConfigView) -> list[Row]:
    """BERT, RoBERTa, XLM-R, ELECTRA; the pooler or head follows the class name."""
    h, layers = number(root, "hidden_size"), number(root, "num_hidden_layers")
    small = number(root, "embedding_size", "input_embedding_size") or h
    rows = [
        Row("embeddings.word", _E, (number(root, "vocab_size"), small)),
        Row("embeddings.position", _E, (number(root, "max_position_embeddings"), _position_width(root, h, small))),
        *norm("embeddings.norm", small, "layer"),
    ]
    rows += [Row("embeddings.token_type", _E, (kinds, small)) for kinds in (number(root, "type_vocab_size"),) if kinds]
    rows += matrix("embeddings_project", _E, h, small, True) if small != h else []
    rows += _looks_and_sounds(root, h)
    layer = self_attention("attn", h, h, True) + mlp(h, number(root, "intermediate_size"), True)
    layer += norm("n1", h, "layer") + norm("n2", h, "layer") + _language_adapters(root, h) + _cross_attention(root, h)
    return rows + times(layer, layers) + _bert_head(root, h, small)


def _cross_attention(root: ConfigView, h: int) -> list[Row]:
    """What a decoder of BERT's design looks at an image encoder with (transformers BlipTextLayer, BertLayer)."""
    into = number(root, "encoder_hidden_size") or (h if root.flag("add_cross_attention") else 0)
    if not into or root.flag("is_decoder") is not True:
        return []
    rows = matrix("cross.q", Part.ATTENTION, h, h, True) + matrix("cross.o", Part.ATTENTION, h, h, True)
    rows += matrix("cross.k", Part.ATTENTION, h, into, True) + matrix("cross.v", Part.ATTENTION, h, into, True)
    return rows + norm("cross.norm", h, "layer")


def _position_width(root: ConfigView, h: int, small: int) -> int:
    """RoFormer turns a head's positions; the others add them to the embedding."""
    heads = number(root, "num_attention_heads")
    return h // heads if root.value("rotary_value") is not None and heads else small


def _looks_and_sounds(root: ConfigView, h: int) -> list[Row]:
    """RoCBERT embeds how a character looks and sounds beside what it is (transformers RoCBertEmbeddings)."""
    rows: list[Row] = []
    width = h
    for key in ("pronunciation", "shape"):
        size, entries = number(root, f"{key}_embed_dim"), number(root, f"{key}_vocab_size")
        if root.flag(f"enable_{key}") and size and entries:
            rows.append(Row(f"embeddings.{key}", _E, (entries, size)))
            width += size
    return rows + (matrix("embeddings.map_inputs", _E, h, width, True) if rows and root.flag("concat_input") else [])


def _language_adapters(root: ConfigView, h: int) -> list[Row]:
    """X-MOD has a narrow block per language in every layer (transformers XmodAdapter)."""
    languages, share = root.words("languages") or [], root.value("adapter_reduction_factor")
    if not languages or not isinstance(share, int | float) or not 0 < share <= h:
        return []
    inner = int(h // share)
    rows = matrix("adapter.dense1", Part.ADAPTER, inner, h, True) + matrix(
        "adapter.dense2", Part.ADAPTER, h, inner, True
    )
    return [replace(row, count=len(languages)) for row in rows]


def _bert_head(root: ConfigView, h: int, small: int) -> list[Row]:
    name = next(iter(root.words("architectures") or []), "")
    labels = root.value("id2label")
    count, vocab = len(labels) if isinstance(labels, dict) else 2, number(root, "vocab_size")
    if name.endswith("GenerationDecoder"):
        return vector("head.bias", Part.HEAD, vocab)
    if name.endswith(("ForMaskedLM", "ForCausalLM", "LMHeadModel")) or (not name and root.flag("is_decoder")):
        out = number(root, "output_embedding_size") or small
        rows = matrix("head.transform", Part.HEAD, out, h, True) + norm("head.norm", out, "layer")
        rows += [Row("head.decoder", Part.HEAD, (vocab, out), linear=True)] if out != small else []
        return rows + vector("head.bias", Part.HEAD, vocab)
    if name.endswith(("SequenceClassification", "ForPreTraining")):
        return matrix("head.dense", Part.HEAD, h, h, True) + matrix("head.out", Part.HEAD, count, h, True)
    if name.endswith("TokenClassification"):
        return matrix("head.out", Part.HEAD, count, h, True)
    return matrix("pooler", Part.HEAD, h, h, True)


def _distilbert(root: ConfigView) -> list[Row]:
    h, inner = number(root, "dim"), number(root, "hidden_dim")
    vocab = number(root, "vocab_size")
    rows = [Row("embeddings.word", _E, (vocab, h)), *norm("embeddings.norm", h, "layer")]
    rows.append(Row("embeddings.position", _E, (number(root, "max_position_embeddings"), h)))
    layer = self_attention("attn", h, h, True) + mlp(h, inner, True) + norm("n1", h, "layer") + norm("n2", h, "layer")
    rows += times(layer, number(root, "n_layers"))
    return rows + matrix("head.transform", Part.HEAD, h, h, True) + vector("head.bias", Part.HEAD, vocab)


def _clip(root: ConfigView) -> list[Row]:
    """Two encoders that meet in one space."""
    text, vision = root.sub("text_config"), root.sub("vision_config")
    if text is None or vision is None:
        return []
    h, inner = number(text, "hidden_size") or 512, number(text, "intermediate_size") or 2048
    positions = number(text, "max_position_embeddings") or 77
    rows = [Row("text.token_embedding", _E, (number(text, "vocab_size") or 49408, h))]
    rows += [Row("text.position_embedding", _E, (positions, h)), *norm("text.final_norm", h, "layer")]
    layer = self_attention("attn", h, h, True) + mlp(h, inner, True) + norm("n1", h, "layer") + norm("n2", h, "layer")
    rows += times(layer, number(text, "num_hidden_layers") or 12)
    space = number(root, "projection_dim") or 512
    width = number(vision, "hidden_size") or 768
    rows += matrix("text_projection", Part.PROJECTOR, space, h) + matrix(
        "visual_projection", Part.PROJECTOR, space, width
    )
    return [*rows, *tower_rows("vision", vision, None, root), Row("logit_scale", Part.OTHER, (1,))]
