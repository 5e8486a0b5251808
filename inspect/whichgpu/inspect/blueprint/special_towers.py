"""Encoders whose design is their own: Llama 3.2 Vision, GLM-4V, Gemma 4, SAM, Ultravox's projector."""

from __future__ import annotations

from whichgpu.inspect.blueprint.table import Row, matrix, norm
from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.records import Part

_V = Part.VISION
_GEMMA4_MELS = 128
"""Bins of Gemma 4's spectrogram (transformers Gemma4AudioFeatureExtractor), halved by each strided convolution."""


def _number(view: ConfigView, *keys: str, default: int = 0) -> int:
    return as_integer(view.value(*keys)) or default


def _times(rows: list[Row], layers: int) -> list[Row]:
    return [Row(f"layers.*.{r.name}", r.part, r.shape, r.count * layers, r.linear) for r in rows]


def mllama(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Llama 3.2 Vision: tiles, local and gated global layers, one projection (transformers MllamaVisionModel)."""
    width, inner = _number(view, "hidden_size"), _number(view, "intermediate_size")
    patch, image = _number(view, "patch_size", default=14), _number(view, "image_size", default=560)
    tiles = _number(view, "max_num_tiles", default=4)
    patches = (image // patch) ** 2 + 1
    listed = view.value("supported_aspect_ratios")
    ratios = len(listed) + 1 if isinstance(listed, list) and listed else 9
    rows = [Row("patch_embedding.weight", _V, (width, 3, patch, patch)), Row("class_embedding", _V, (width,))]
    rows += [Row("position_embedding", _V, (patches, width))]
    rows += [Row("tile_embedding", _V, (ratios, tiles * patches * width))]
    rows += [Row("tile_positional.*.embedding", _V, (ratios, tiles * width), 2)]
    rows += norm("pre_norm", width, "layer") + norm("post_norm", width, "layer")
    layer = [r for name in ("q", "k", "v", "o") for r in matrix(f"attn.{name}", _V, width, width)]
    layer += matrix("mlp.fc1", _V, inner, width, True) + matrix("mlp.fc2", _V, width, inner, True)
    layer += norm("norm1", width, "layer") + norm("norm2", width, "layer")
    rows += _times(layer, _number(view, "num_hidden_layers") + _number(view, "num_global_layers", default=8))
    out = _number(view, "vision_output_dim", default=6 * width)
    return rows + matrix("projector", Part.PROJECTOR, hidden, out, True)


def glm4v(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """GLM-4.1V and 4.5V: RMS norms, gated blocks as wide as the output, a gated merger after a strided convolution."""
    width, out = _number(view, "hidden_size"), _number(view, "out_hidden_size")
    patch, image = _number(view, "patch_size", default=14), _number(view, "image_size", default=336)
    rows = [Row("position_embedding", _V, ((image // patch) ** 2, width)), *norm("post_conv_norm", width)]
    rows += _glm_layers(view, width, out, bias=False)
    return rows + _glm_merger(view, width, out, _number(view, "intermediate_size"))


def glm_ocr(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """GLM-OCR: no positions; blocks with biases and a width of their own; a merger as wide as three outputs (transformers
    GlmOcrVisionModel)."""
    width, out = _number(view, "hidden_size"), _number(view, "out_hidden_size")
    rows = _glm_layers(view, width, _number(view, "intermediate_size"), view.flag("attention_bias") is not False)
    head = width // (_number(view, "num_heads") or 1)
    rows += [Row("layers.*.qk_norms", _V, (head,), 2 * _number(view, "depth"))]
    return rows + _glm_merger(view, width, out, 3 * out)


def _glm_layers(view: ConfigView, width: int, inner: int, bias: bool) -> list[Row]:
    patch = _number(view, "patch_size", default=14)
    rows = [Row("patch_embedding.weight", _V, (width, 3 * 2, patch, patch)), Row("patch_embedding.bias", _V, (width,))]
    layer = matrix("attn.qkv", _V, 3 * width, width, bias) + matrix("attn.proj", _V, width, width, bias)
    layer += [r for n in ("gate", "up") for r in matrix(f"mlp.{n}", _V, inner, width, bias)]
    layer += matrix("mlp.down", _V, width, inner, bias) + norm("norm1", width) + norm("norm2", width)
    return rows + norm("post_norm", width) + _times(layer, _number(view, "depth"))


def _glm_merger(view: ConfigView, width: int, out: int, inner: int) -> list[Row]:
    merge = _number(view, "spatial_merge_size", default=2)
    rows = [Row("downsample.weight", _V, (out, width, merge, merge)), Row("downsample.bias", _V, (out,))]
    rows += matrix("merger.proj", Part.PROJECTOR, out, out) + norm("merger.norm", out, "layer")
    return rows + [r for n in ("gate", "up", "down") for r in matrix(f"merger.{n}", Part.PROJECTOR, inner, out)]


def gemma4_vision(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Gemma 4: gated blocks, four norms, q and k norms, two position tables."""
    width, inner = _number(view, "hidden_size"), _number(view, "intermediate_size")
    head = _number(view, "head_dim", default=64)
    patch = _number(view, "patch_size", default=16)
    rows = matrix("patch_embedder.input_proj", _V, width, 3 * patch * patch)
    rows += [Row("position_embedding_table", _V, (2, _number(view, "position_embedding_size", default=10240), width))]
    layer = [r for name in ("q", "k", "v", "o") for r in matrix(f"attn.{name}", _V, width, width)]
    layer += [r for n in ("gate", "up", "down") for r in matrix(f"mlp.{n}", _V, inner, width)]
    layer += [r for i in range(4) for r in norm(f"norm_{i}", width)] + norm("q_norm", head) + norm("k_norm", head)
    rows += _times(layer, _number(view, "num_hidden_layers"))
    return rows + matrix("embed_vision.projection", Part.PROJECTOR, hidden, width)


def gemma4_audio(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Gemma 4's conformer: two half feed-forwards, relative attention, a light convolution."""
    part = Part.AUDIO
    width, kernel = _number(view, "hidden_size"), _number(view, "conv_kernel_size", default=5)
    layer: list[Row] = []
    for name in ("ffw_1", "ffw_2"):
        layer += matrix(f"{name}.up", part, 4 * width, width) + matrix(f"{name}.down", part, width, 4 * width)
    layer += [r for n in ("q", "k", "v", "post", "relative") for r in matrix(f"attn.{n}", part, width, width)]
    layer += matrix("conv.start", part, 2 * width, width) + matrix("conv.end", part, width, width)
    layer += [Row("conv.depthwise", part, (width, kernel)), *[r for i in range(10) for r in norm(f"norm_{i}", width)]]
    rows = _times(layer, _number(view, "num_hidden_layers"))
    channels = view.numbers("subsampling_conv_channels") or [128, 32]
    rows += [
        Row("subsample.conv", part, (out, into, 3, 3)) for into, out in zip([1, *channels], channels, strict=False)
    ]
    rows += matrix("subsample.input_proj", part, width, channels[-1] * _GEMMA4_MELS // 2 ** len(channels))
    out = _number(view, "output_proj_dims", default=1536)
    rows += matrix("output_proj", part, out, width, True)
    return rows + matrix("embed_audio.projection", Part.PROJECTOR, hidden, out)


def molmo(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Molmo: 23 layers of CLIP ViT-L/14-336, attention pooling over two layers, a gated projector, 128 new tokens.

    None of it is in the config; the sizes are the class's own.
    """
    width, inner = 1024, 4096
    rows = [Row("class_embedding", _V, (width,)), Row("position_embedding", _V, (577, width))]
    rows += [Row("patch_embedding", _V, (width, 588)), *norm("pre_ln", width, "layer")]
    layer = [r for n in ("wq", "wk", "wv", "wo") for r in matrix(n, _V, width, width, True)]
    layer += matrix("w1", _V, inner, width, True) + matrix("w2", _V, width, inner, True)
    rows += _times(layer + norm("n1", width, "layer") + norm("n2", width, "layer"), 23)
    part, gate = Part.PROJECTOR, (as_integer(root.value("intermediate_size")) or 0) // 2
    rows += [r for n in ("wq", "wk", "wv") for r in matrix(f"pooling.{n}", part, width, 2 * width, True)]
    rows += matrix("pooling.wo", part, width, width, True) + matrix("projector.w1", part, gate, width)
    rows += matrix("projector.w3", part, gate, width) + matrix("projector.w2", part, hidden, gate)
    return [*rows, Row("new_embedding", Part.EMBEDDING, (128, hidden or 0))]


def undescribed(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Encoders whose sizes no config says (Inkling's)."""
    return []


def sam_base(width: int, layers: int) -> list[Row]:
    """SAM's ViT-B at 1,024 pixels with the two strided convolutions that DeepSeek-OCR adds."""
    layer = matrix("attn.qkv", _V, 3 * width, width, True) + matrix("attn.proj", _V, width, width, True)
    layer += matrix("mlp.lin1", _V, 4 * width, width, True) + matrix("mlp.lin2", _V, width, 4 * width, True)
    layer += norm("norm1", width, "layer") + norm("norm2", width, "layer")
    rows = _times(layer, layers)
    rows += [Row("patch_embed.weight", _V, (width, 3, 16, 16)), Row("pos_embed", _V, (64, 64, width))]
    rows += [Row("neck.0", _V, (256, width)), Row("neck.2", _V, (256, 256, 3, 3))]
    return [*rows, Row("net_2", _V, (512, 256, 3, 3)), Row("net_3", _V, (1024, 512, 3, 3))]


def deepseek_ocr(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """DeepSeek-OCR: the encoders listed under vision_config.width, and one linear."""
    named = view.sub("width")
    if named is None:
        return []
    rows: list[Row] = []
    for name in named:
        encoder = named.sub(name)
        if encoder is None:
            continue
        width, layers = _number(encoder, "width"), _number(encoder, "layers")
        if name.startswith("sam"):
            rows += sam_base(width, layers)
        elif width and layers:
            from whichgpu.inspect.blueprint.towers import STYLES, vision_transformer

            rows += vision_transformer(encoder, STYLES["clip_vision_model"], width, 4 * width, layers)
        elif _number(encoder, "dim"):
            rows += _qwen2_encoder(_number(encoder, "dim"))
    projector = root.sub("projector_config")
    inner = _number(projector, "input_dim", default=2048) if projector else 2048
    return rows + matrix("projector.layers", Part.PROJECTOR, hidden, inner, True)


def _qwen2_encoder(width: int) -> list[Row]:
    """The 24 layers of Qwen2-0.5B that DeepSeek-OCR 2 uses as an encoder (14 heads, 2 key/value heads, 4,864 wide)."""
    layer = matrix("q", _V, width, width, True) + matrix("k", _V, 128, width, True) + matrix("v", _V, 128, width, True)
    layer += matrix("o", _V, width, width) + norm("n1", width) + norm("n2", width)
    layer += [r for n in ("gate", "up", "down") for r in matrix(n, _V, 4864, width)]
    return _times(layer, 24) + norm("norm", width)


def ultravox_projector(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Stack frames, two linears with a SwiGLU between."""
    stacked = _number(view, "d_model") * _number(root, "stack_factor", default=8)
    out = _number(root, "hidden_size")
    rows = norm("ln_pre", stacked) + matrix("linear_1", Part.PROJECTOR, out, stacked)
    return rows + norm("ln_mid", out // 2) + matrix("linear_2", Part.PROJECTOR, hidden or out, out // 2)
