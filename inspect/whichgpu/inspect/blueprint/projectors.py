"""Projectors between an encoder and a language model, one function per published design."""

from __future__ import annotations

from collections.abc import Callable

from whichgpu.inspect.blueprint import query_transformers
from whichgpu.inspect.blueprint.table import Row, matrix, norm
from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.families import family_of
from whichgpu.inspect.records import Part

_P = Part.PROJECTOR


def _merger(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """Qwen-VL: norm, then two linears over merged patches; Qwen3-VL repeats it for each deep-stack level."""
    merged = width * (as_integer(view.value("spatial_merge_size")) or 2) ** 2
    out = as_integer(view.value("out_hidden_size")) or hidden
    rows = (
        norm("norm", width, family_of(root.string("model_type")).merger_norm)
        + matrix("fc1", _P, merged, merged, True)
        + matrix("fc2", _P, out, merged, True)
    )
    levels = len(view.numbers("deepstack_visual_indexes") or [])
    if levels:
        deep = norm("deep.norm", merged, "layer")
        deep += matrix("deep.fc1", _P, merged, merged, True) + matrix("deep.fc2", _P, out, merged, True)
        rows += [Row(r.name, r.part, r.shape, r.count * levels, r.linear) for r in deep]
    return rows


def _pixel(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """InternVL: pixel shuffle by two, norm, two linears."""
    return (
        norm("mlp1.0", 4 * width, "layer")
        + matrix("mlp1.1", _P, hidden, 4 * width, True)
        + matrix("mlp1.3", _P, hidden, hidden, True)
    )


def _two(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """LLaVA: two linears with bias."""
    return matrix("linear_1", _P, hidden, width, True) + matrix("linear_2", _P, hidden, hidden, True)


def _one(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """A single linear (Qwen2-Audio)."""
    return matrix("linear", _P, hidden, width, True)


def _stacked(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """MOSS Transcribe: four frames at once through two linears and a norm."""
    frames = as_integer(root.value("audio_merge_size")) or 4
    rows = matrix("linear_1", _P, hidden, frames * width, True) + matrix("linear_2", _P, hidden, hidden, True)
    return rows + norm("norm", hidden, "layer")


def _stacked_wide(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """GLM-ASR: four frames at once through two linears with twice the language model's width between them."""
    stacked = as_integer(view.value("intermediate_size")) or 4 * width
    return matrix("linear_1", _P, 2 * hidden, stacked, True) + matrix("linear_2", _P, hidden, 2 * hidden, True)


def _merger_then_one(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """HyperCLOVA X Vision: Qwen-VL's merger to the width that it names, and a linear."""
    out = as_integer(view.value("out_hidden_size")) or hidden
    return _merger(view, width, hidden, root) + matrix("projector", _P, hidden, out, True)


def _visual_words(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """Ovis 2: a distribution over words for images, and their embeddings; five of them mark where an image is (transformers
    Ovis2VisionModel)."""
    words, stride = as_integer(view.value("vocab_size")) or 0, as_integer(view.value("hidden_stride")) or 1
    seen = max(0, words - 5)
    rows = matrix("head_linear", _P, seen, width * stride**2) + norm("head_norm", seen, "layer")
    return [*rows, Row("visual_embeddings_table", _P, (words, as_integer(root.value("hidden_size")) or hidden))]


def _gemma(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """Gemma 3: norm and one matrix."""
    return [Row("mm_input_projection_weight", _P, (width, hidden)), *norm("mm_soft_emb_norm", width)]


def _mistral(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """Mistral 3: norm, patch merger, two linears."""
    merge = (as_integer(root.value("spatial_merge_size")) or 2) ** 2
    bias = bool(root.flag("multimodal_projector_bias"))
    rows = norm("norm", width) + matrix("patch_merger.merging_layer", _P, width, merge * width)
    return rows + matrix("linear_1", _P, hidden, width, bias) + matrix("linear_2", _P, hidden, hidden, bias)


def _llama4(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """Llama 4: pixel-shuffle adapter in the tower, one linear after it."""
    inner = as_integer(view.value("intermediate_size")) or 4 * width
    between = as_integer(view.value("projector_input_dim")) or 4096
    out = as_integer(view.value("projector_output_dim")) or between
    rows = matrix("vision_adapter.fc1", _P, between, inner) + matrix("vision_adapter.fc2", _P, out, between)
    return rows + matrix("linear_1", _P, hidden, as_integer(view.value("vision_output_dim")) or out)


def _moon(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """Kimi-VL, LocateAnything, PaddleOCR-VL: norm and two linears over four merged patches; Cosmos 3 says how wide between them."""
    merged = 4 * width
    between = as_integer(root.value("projector_hidden_size")) or merged
    rows = norm("pre_norm", width, "layer") + matrix("linear_1", _P, between, merged, True)
    return rows + matrix("linear_2", _P, hidden, between, True)


def _aligned(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """Command A Vision: pixel shuffle, and two linears with a gate between them (transformers Cohere2VisionMultiModalProjector)."""
    merged = width * (as_integer(root.value("downsample_factor")) or 2) ** 2
    between = as_integer(root.value("alignment_intermediate_size")) or merged
    return matrix("linear_1", _P, between, merged, True) + matrix("linear_2", _P, hidden, between // 2, True)


def _connector(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """Idefics 3, SmolVLM: one matrix over scale_factor² patches."""
    scale = (as_integer(root.value("scale_factor")) or 2) ** 2
    return matrix("modality_projection.proj", _P, hidden, width * scale)


def _shuffle(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """LFM2-VL: pixel unshuffle, optional norm, two linears."""
    factor = (as_integer(root.value("downsample_factor")) or 2) ** 2
    inner = as_integer(root.value("projector_hidden_size")) or hidden
    bias = root.flag("projector_bias") is not False
    rows = norm("layer_norm", width * factor, "layer") if root.flag("projector_use_layernorm") is not False else []
    return rows + matrix("linear_1", _P, inner, width * factor, bias) + matrix("linear_2", _P, hidden, inner, bias)


def _resampler(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """MiniCPM-V: one cross-attention layer with learned queries."""
    queries = as_integer(root.value("query_num")) or 64
    rows = [Row("query", _P, (queries, hidden)), *matrix("kv_proj", _P, hidden, width)]
    rows += matrix("attn.in_proj", _P, 3 * hidden, hidden, True) + matrix("attn.out_proj", _P, hidden, hidden, True)
    rows += [Row("proj", _P, (hidden, hidden))]
    return rows + [r for name in ("ln_q", "ln_kv", "ln_post") for r in norm(name, hidden, "layer")]


def _minicpm46(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """MiniCPM-V 4.6: an attention and a wide merger inside the tower, a narrow one after it."""
    merged, inner = 4 * width, 4 * (as_integer(view.value("intermediate_size")) or 4 * width)
    rows = [r for name in "qkvo" for r in matrix(f"vit_merger.attn.{name}", _P, width, width, True)]
    rows += norm("vit_merger.norm", width, "layer") + norm("vit_merger.pre_norm", merged, "layer")
    rows += matrix("vit_merger.fc1", _P, inner, merged, True) + matrix("vit_merger.fc2", _P, width, inner, True)
    rows += norm("merger.norm", merged, "layer") + matrix("merger.fc1", _P, merged, merged, True)
    return rows + matrix("merger.fc2", _P, hidden, merged, True)


def _phi3(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """Phi-3-vision: two linears over four merged patches and two separators."""
    rows = [Row("glb_GN", _P, (4 * width,)), Row("sub_GN", _P, (4 * width,))]
    return (
        rows
        + matrix("img_projection.0", _P, hidden, 4 * width, True)
        + matrix("img_projection.2", _P, hidden, hidden, True)
    )


def _vl2(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    """DeepSeek-VL2: SigLIP's attention pool (stored, unused), two linears over four merged patches."""
    inner = as_integer(view.value("intermediate_size")) or int(width * 3.7362)
    rows = [Row("pos_embed", _P, (729, width)), *matrix("pool.mlp1", _P, inner, width, True)]
    rows += [*matrix("pool.mlp2", _P, width, inner, True), *matrix("pool.attn", _P, 4 * width, width, True)]
    return rows + matrix("layers.0", _P, hidden, 4 * width, True) + matrix("layers.2", _P, hidden, hidden, True)


def _none(view: ConfigView, width: int, hidden: int, root: ConfigView) -> list[Row]:
    return []


PROJECTORS: dict[str, Callable[[ConfigView, int, int, ConfigView], list[Row]]] = {
    "merger": _merger,
    "pixel": _pixel,
    "two": _two,
    "one": _one,
    "stacked": _stacked,
    "stacked wide": _stacked_wide,
    "merger then one": _merger_then_one,
    "visual words": _visual_words,
    "gemma": _gemma,
    "mistral": _mistral,
    "llama4": _llama4,
    "moon": _moon,
    "aligned": _aligned,
    "connector": _connector,
    "qformer": query_transformers.qformer,
    "reading qformer": query_transformers.reading_qformer,
    "perceiver": query_transformers.perceiver,
    "pooled": query_transformers.pooled,
    "attended": query_transformers.attended,
    "merged in time": query_transformers.merged_in_time,
    "two routes": query_transformers.two_routes,
    "shuffle": _shuffle,
    "resampler": _resampler,
    "minicpm46": _minicpm46,
    "phi3": _phi3,
    "vl2": _vl2,
    "none": _none,
}
