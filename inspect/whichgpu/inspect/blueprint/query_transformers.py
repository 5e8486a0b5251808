"""Blocks with learned queries between an encoder and a language model: Q-Formers, perceivers, pooling by attention."""

from __future__ import annotations

from whichgpu.inspect.blueprint.table import Row, matrix, norm, vector
from whichgpu.inspect.blueprint.tower_layers import attention, feed_forward, layer_norms, number, times
from whichgpu.inspect.config_view import ConfigView
from whichgpu.inspect.records import Part

_P = Part.PROJECTOR


def qformer(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """BLIP-2, Granite Speech: a BERT that looks at the encoder in every n-th layer, and one linear after it (transformers
    Blip2QFormerModel)."""
    inner = root.sub("qformer_config") or root.sub("projector_config")
    if inner is None:
        return []
    h, layers = number(inner, "hidden_size"), number(inner, "num_hidden_layers")
    every = number(inner, "cross_attention_frequency") or 1
    layer = attention(_P, h) + layer_norms(h, 1) + _query_block(inner)
    cross = attention(_P, h, into=number(inner, "encoder_hidden_size"), name="cross") + layer_norms(h, 1)
    rows = times(layer, layers) + times(cross, -(-layers // every)) + norm("qformer.norm", h, "layer")
    window, rate = number(root, "window_size"), number(root, "downsample_rate")
    queries = window // rate if window and rate else number(root, "num_query_tokens") or 32
    return [*rows, Row("query_tokens", _P, (queries, h)), *matrix("linear", _P, hidden, h, True)]


def reading_qformer(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """InstructBLIP: a Q-Former that reads the question too, with embeddings and feed-forward blocks for text (transformers
    InstructBlipQFormerModel)."""
    inner, rows = root.sub("qformer_config"), qformer(view, width, hidden, root)
    if inner is None:
        return rows
    h = number(inner, "hidden_size")
    rows += times(_query_block(inner), number(inner, "num_hidden_layers"), "text")
    rows += [Row("word_embeddings", _P, (number(inner, "vocab_size"), h))]
    return [*rows, Row("position_embeddings", _P, (number(inner, "max_position_embeddings"), h))]


def _query_block(inner: ConfigView) -> list[Row]:
    h = number(inner, "hidden_size")
    return feed_forward(_P, h, number(inner, "intermediate_size")) + layer_norms(h, 1)


def perceiver(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """Idefics 2: a gated projection as wide as the language model's block, and a perceiver over it (transformers
    Idefics2Connector)."""
    inner, text = root.sub("perceiver_config"), root.sub("text_config")
    if inner is None or text is None:
        return []
    head = number(inner, "resampler_head_dim") or 96
    heads, kv = number(inner, "resampler_n_heads") or 16, number(inner, "num_key_value_heads") or 4
    between = number(text, "intermediate_size")
    rows = matrix("modality.gate", _P, between, width) + matrix("modality.up", _P, between, width)
    rows += matrix("modality.down", _P, hidden, between)
    layer = attention(_P, hidden, False, inner=heads * head, kv=kv * head) + layer_norms(hidden, 3, "rms")
    layer += feed_forward(_P, hidden, 4 * hidden, False, gated=True)
    rows += times(layer, number(inner, "resampler_depth") or 3) + norm("norm", hidden)
    return [*rows, Row("latents", _P, (number(inner, "resampler_n_latents") or 64, hidden))]


def pooled(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """Molmo 2: attention over patches of several layers of the encoder, and a gated projection (transformers Molmo2Adapter)."""
    inner = root.sub("adapter_config")
    if inner is None:
        return []
    h = number(inner, "hidden_size")
    taps = len(inner.numbers("vision_feature_layer", "vit_layers") or [0])
    heads = number(inner, "num_attention_heads") * number(inner, "head_dim") or h
    rows = [r for name in "qkv" for r in matrix(f"pooling.{name}_proj", _P, heads, taps * h, True)]
    rows += matrix("pooling.o_proj", _P, h, heads, True)
    gate, out = number(inner, "intermediate_size"), number(inner, "text_hidden_size") or hidden
    rows += matrix("projector.gate", _P, gate, h) + matrix("projector.up", _P, gate, h)
    return rows + matrix("projector.down", _P, out, gate)


def attended(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """Kosmos 2: one linear, and queries that attend to what comes out of it (transformers Kosmos2ImageToTextProjection)."""
    queries = number(root, "latent_query_num") or 64
    rows = [Row("latent_query", _P, (queries, hidden)), *matrix("dense", _P, hidden, width, True)]
    return rows + attention(_P, hidden)


def merged_in_time(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """ERNIE 4.5 VL: four patches merged, two frames merged, one linear (transformers Ernie4_5_VLMoeVariableResolutionResampler)."""
    merged = width * (number(view, "spatial_merge_size") or 2) ** 2
    frames = number(view, "temporal_merge_size") or 2
    rows: list[Row] = []
    for name, into in (("spatial", merged), ("temporal", frames * merged)):
        rows += matrix(f"{name}.fc1", _P, merged, into, True) + matrix(f"{name}.fc2", _P, merged, merged, True)
        rows += norm(f"{name}.ln", merged, "layer")
    return rows + matrix("mlp", _P, hidden, merged, True) + vector("after_norm", Part.NORM, hidden)


def two_routes(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """Granite Docling: coarse patches and fine ones, each with a merger per level of the encoder (transformers
    GraniteDoclingConnector)."""
    out, scale = number(view, "out_hidden_size") or hidden, number(view, "scale_factor") or 4
    levels = len(view.numbers("deepstack_visual_indexes") or [])
    shares = [scale**2] + ([scale] if view.flag("use_fine_route") is not False else [])
    rows = norm("ln_in", width, "layer") + layer_norms(out, 2) + matrix("mlp_fc2", _P, out, out)
    for share in shares:
        merged = share * width
        level = matrix("merger.linear_1", _P, out, merged, True) + matrix("merger.linear_2", _P, out, out, True)
        rows += matrix("projection", _P, out, merged) + times(
            level + norm("merger.norm", merged, "layer"), levels, "mergers"
        )
    return rows
