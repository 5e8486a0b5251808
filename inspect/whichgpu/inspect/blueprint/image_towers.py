"""Image encoders whose design is their own: DaViT, SAM with a language model, patches by rows and columns, RADIO, LFM3, dots3."""

from __future__ import annotations

from whichgpu.inspect.blueprint.special_towers import sam_base
from whichgpu.inspect.blueprint.table import Row, matrix, norm, vector
from whichgpu.inspect.blueprint.tower_layers import attention, feed_forward, layer_norms, number, times
from whichgpu.inspect.config_view import ConfigView
from whichgpu.inspect.records import Part

_V, _P = Part.VISION, Part.PROJECTOR


def davit(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Florence 2: stages of windowed and channel attention, each with two depthwise convolutions; one projection with learned
    positions (transformers Florence2VisionBackbone)."""
    widths, depths = view.numbers("dim_embed", "embed_dim") or [], view.numbers("depths") or []
    patches = view.numbers("patch_size") or []
    ratio = view.value("mlp_ratio")
    ratio = int(ratio) if isinstance(ratio, int | float) and 0 < ratio < 100 else 4
    rows: list[Row] = []
    for into, width, patch, depth in zip([3, *widths], widths, patches, depths, strict=False):
        block = attention(_V, width) + feed_forward(_V, width, ratio * width) + layer_norms(width, 2)
        block += [Row("conv.weight", _V, (width, 1, 3, 3), 2), *vector("conv.bias", _V, width, 2)]
        rows += [Row("patch.conv", _V, (width, into, patch, patch)), *vector("patch.bias", _V, width)]
        rows += norm("patch.norm", width, "layer") + times(block, 2 * depth, "blocks")
    last, out = (widths or [0])[-1], number(view, "projection_dim") or hidden or 0
    table = view.sub("image_pos_embed")
    positions = number(view, "max_position_embeddings") or (number(table, "max_pos_embeddings") if table else 0) or 50
    rows += matrix("image_projection", _P, out, last) + norm("image_proj_norm", out, "layer")
    return [*rows, Row("image_pos_embed", _P, (2 * positions, last // 2))]


def sam_alone(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """GOT-OCR 2: SAM's encoder, two strided convolutions, one linear (transformers GotOcr2VisionEncoder)."""
    rows = sam_base(number(view, "hidden_size"), number(view, "num_hidden_layers"))
    return rows + matrix("multimodal_projector", _P, hidden, 1024, True)


def sam_and_clip(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Unlimited-OCR: SAM's encoder before CLIP's, and one linear over both (transformers UnlimitedOcrVisionModel)."""
    from whichgpu.inspect.blueprint.towers import STYLES, vision_transformer

    sam, clip = view.sub("sam_config"), view.sub("encoder_config")
    if sam is None or clip is None:
        return []
    width, layers = number(clip, "hidden_size"), number(clip, "num_hidden_layers")
    rows = sam_base(number(sam, "hidden_size"), number(sam, "num_hidden_layers"))
    rows += vision_transformer(clip, STYLES["clip_vision_model"], width, number(clip, "intermediate_size"), layers)
    return rows + matrix("projector", _P, hidden, width + (sam.numbers("downsample_channels") or [1024])[-1], True)


def flattened_patches(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Pix2Struct, Kosmos 2.5: flattened patches with a row's and a column's embedding, gated layers without biases (transformers
    Pix2StructVisionModel, Kosmos2_5VisionModel)."""
    from whichgpu.inspect.blueprint.query_transformers import attended

    width, inner = number(view, "hidden_size"), number(view, "intermediate_size", "d_ff")
    heads, head = number(view, "num_attention_heads"), number(view, "head_dim", "d_kv")
    rows = matrix("patch_projection", _V, width, number(view, "patch_embed_hidden_size"), True)
    rows += [Row("row_and_column", _V, (number(view, "max_num_patches", "seq_len"), width), 2), *norm("norm", width)]
    layer = attention(_V, width, False, inner=heads * head or width) + feed_forward(_V, width, inner, False, gated=True)
    rows += times(layer + layer_norms(width, 2, "rms"), number(view, "num_hidden_layers"))
    has_queries = root.value("latent_query_num") is not None
    return rows + (attended(view, width, hidden, root) if has_queries and hidden else [])


def radio(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """C-RADIO beside Nemotron: positions for the largest image, linears for patches of images and of videos, scaled layers; pixel
    shuffle, norm and two linears after it (transformers RadioModel, NemotronH_Omni)."""
    width, patch = number(view, "hidden_size"), number(view, "patch_size") or 16
    ratio = view.value("mlp_ratio")
    inner = int(width * ratio) if isinstance(ratio, int | float) and 0 < ratio < 100 else 4 * width
    pixels = 3 * patch * patch
    rows = matrix("patch_projection", _V, width, pixels)
    rows += matrix("video_patch_projection", _V, width, pixels * number(view, "video_temporal_patch_size"))
    rows += [
        Row("positions", _V, ((number(view, "max_img_size") // patch) ** 2, width)),
        Row("registers", _V, (10, width)),
    ]
    layer = (
        attention(_V, width)
        + feed_forward(_V, width, inner)
        + layer_norms(width, 2)
        + [Row("layer_scale", _V, (width,), 2)]
    )
    rows += times(layer, number(view, "num_hidden_layers"))
    share = root.value("downsample_ratio")
    merged = width * (round(1 / share) ** 2 if isinstance(share, int | float) and 0.01 < share <= 1 else 4)
    between = number(root, "projector_hidden_size") or hidden or 0
    return (
        rows
        + norm("projector.norm", merged)
        + matrix("linear_1", _P, between, merged)
        + matrix("linear_2", _P, hidden, between)
    )


def convolved_vision(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """LFM3-VL: gated convolutions over the image between layers of grouped attention; a projector like LFM2-VL's whose norm comes
    before patches are merged (transformers Lfm3VlVisionModel)."""
    width, patch = number(view, "hidden_size"), number(view, "patch_size") or 16
    kernel, heads = number(view, "conv_kernel_size") or 3, number(view, "num_attention_heads") or 16
    head = width // heads
    words = view.words("layer_types") or []
    mixers = {
        "conv": matrix("conv.in_proj", _V, 3 * width, width)
        + matrix("conv.out_proj", _V, width, width)
        + [Row("conv.spatial", _V, (width, 1, kernel, kernel))],
        "full_attention": attention(_V, width, False, kv=number(view, "num_key_value_heads") * head)
        + layer_norms(head, 2, "rms"),
    }
    rows = matrix("patch_embed", _V, width, 3 * (number(view, "temporal_patch_size") or 1) * patch * patch) + norm(
        "norm", width
    )
    for word, mixer in mixers.items():
        rows += times(mixer, words.count(word))
    layer = feed_forward(_V, width, number(view, "intermediate_size"), False, gated=True) + layer_norms(width, 2, "rms")
    rows += times(layer, number(view, "num_hidden_layers"))
    merged = width * (number(view, "spatial_merge_size") or 2) ** 2
    between, bias = number(root, "projector_hidden_size") or hidden, root.flag("projector_bias") is not False
    rows += norm("projector.norm", width, "layer") + matrix("linear_1", _P, between, merged, bias)
    return rows + matrix("linear_2", _P, hidden, between, bias)


def expert_vision(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """dots3-note: an image encoder whose later layers are mixtures, more experts from layer to layer; a merger after it
    (transformers Dots3NoteVisionEncoder)."""
    width, patch = number(view, "hidden_size"), number(view, "patch_size") or 14
    head = width // (number(view, "num_attention_heads") or 1)
    layers, words = number(view, "num_hidden_layers"), view.words("mlp_layer_types") or []
    rows = [Row("patch_embed", _V, (width, 3, patch, patch)), *layer_norms(width, 2, "rms")]
    layer = (
        attention(_V, width, view.flag("attention_bias") is True)
        + layer_norms(width, 2, "rms")
        + layer_norms(head, 2, "rms")
    )
    rows += times(layer, layers)
    rows += times(feed_forward(_V, width, number(view, "intermediate_size"), False, gated=True), words.count("dense"))
    experts = sum(_experts_of(view, i) for i, word in enumerate(words) if word != "dense")
    expert = feed_forward(_V, width, number(view, "moe_intermediate_size"), False, gated=True)
    rows += times(expert + vector("gate", _V, width), experts, "experts")
    merged = width * (number(view, "adapter_merge_size", "spatial_merge_size") or 2) ** 2
    rows += norm("merger.norm", width, "layer") + matrix("merger.fc1", _P, merged, merged, True)
    return rows + matrix("merger.fc2", _P, number(view, "adapter_out_dim") or hidden, merged, True)


def _experts_of(view: ConfigView, index: int) -> int:
    own = view.sub("per_layer_config")
    layer = own.sub(f"{index:02d}") or own.sub(str(index)) if own is not None else None
    return (number(layer, "num_local_experts") if layer is not None else 0) or number(view, "num_local_experts")


def quantising(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Apertus 1.5: an image becomes tokens of a codebook, through stages of residual convolutions with attention in the last
    (transformers Apertus1p5VisionTokenizer)."""
    base, blocks = number(view, "base_channels"), number(view, "num_res_blocks")
    widths = [base * share for share in view.numbers("channel_multiplier") or []]
    latent, entry = number(view, "latent_channels"), number(view, "embed_dim")
    if not base or not widths or not blocks:
        return []
    rows = [Row("conv_in", _V, (base, number(view, "in_channels") or 3, 3, 3))]
    for into, width in zip([base, *widths], widths, strict=False):
        rows += _residual(into, width) + times(_residual(width, width), blocks - 1, "blocks")
    rows += [Row("downsample", _V, (width, width, 3, 3)) for width in widths[:-1]]
    last = widths[-1]
    rows += times(_pixel_attention(last), blocks + 1, "attention") + times(_residual(last, last), 2, "mid")
    rows += [Row("conv_out", _V, (latent, last, 3, 3)), Row("codebook", _V, (number(view, "codebook_size"), entry))]
    return rows + matrix("quant_conv", _V, entry, latent, True)


def _residual(into: int, width: int) -> list[Row]:
    rows = [
        Row("conv1", _V, (width, into, 3, 3)),
        Row("conv2", _V, (width, width, 3, 3)),
        *vector("conv.bias", _V, width, 2),
    ]
    rows += norm("norm1", into, "layer") + norm("norm2", width, "layer")
    return rows + (matrix("shortcut", _V, width, into, True) if into != width else [])


def _pixel_attention(width: int) -> list[Row]:
    return attention(_V, width) + norm("norm", width, "layer")
