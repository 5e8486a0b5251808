"""Vision and audio encoders beside a language model, and the projector between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from whichgpu.inspect.blueprint import image_towers, special_towers, speech_towers
from whichgpu.inspect.blueprint.table import Row, matrix, norm
from whichgpu.inspect.blueprint.tower_layers import attention, feed_forward
from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.families import family_of
from whichgpu.inspect.records import Part
from whichgpu.inspect.tower_views import sizes, towers

__all__ = ["STYLES", "TowerStyle", "is_known_tower", "style_of", "tower_rows", "towers", "vision_transformer"]


@dataclass(frozen=True, slots=True)
class TowerStyle:
    """What a tower's config leaves unsaid."""

    bias: bool = True
    key_bias: bool = True
    gated: bool = False
    norm: str = "layer"
    class_token: bool = False
    patch_bias: bool = True
    learned_positions: bool = True
    pre_norm: bool = False
    post_norm: bool = True
    pooling_head: bool = False
    """Attention with one query after the last layer, stored whether or not it is used."""
    layer_scale: bool = False
    grouped: bool = False
    """Keys and values for fewer heads, as many as the config says."""
    projector: str = "two"
    """``merger``, ``pixel``, ``two`` (two linears), ``one``, ``gemma``, ``none``."""
    defaults: Mapping[str, int] = field(default_factory=dict)
    """Class defaults of the tower's config."""


STYLES: dict[str, TowerStyle] = {
    "siglip_vision_model": TowerStyle(projector="gemma"),
    "siglip2_vision_model": TowerStyle(projector="shuffle"),
    "idefics3_vision": TowerStyle(projector="connector"),
    "idefics2": TowerStyle(projector="perceiver"),
    "paddleocr_vl_vision": TowerStyle(projector="moon"),
    "cosmos3_edge_vision": TowerStyle(projector="moon"),
    "molmo2_vision": TowerStyle(post_norm=False, projector="pooled"),
    "granite_docling_vision": TowerStyle(projector="two routes"),
    "ovis2_vision": TowerStyle(bias=False, gated=True, norm="rms", pre_norm=True, projector="visual words"),
    "glmasr_encoder": TowerStyle(learned_positions=False, projector="stacked wide"),
    "moss_transcribe_diarize_audio": TowerStyle(projector="stacked"),
    "minicpmv4_7_vision": TowerStyle(projector="minicpm46"),
    "minicpm_ocr_vision": TowerStyle(projector="minicpm46"),
    "phi4_multimodal_vision": TowerStyle(
        pooling_head=True,
        defaults={
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "image_size": 448,
            "patch_size": 14,
        },
    ),
    "blip_2_vision_model": TowerStyle(class_token=True, projector="qformer"),
    "instructblip_vision_model": TowerStyle(class_token=True, projector="reading qformer"),
    "instructblipvideo_vision_model": TowerStyle(class_token=True, projector="reading qformer"),
    "ernie4_5_vl_moe_vision": TowerStyle(patch_bias=False, learned_positions=False, projector="merged in time"),
    "kosmos_2_vision_model": TowerStyle(class_token=True, patch_bias=False, pre_norm=True, projector="attended"),
    "git_vision_model": TowerStyle(class_token=True, patch_bias=False, pre_norm=True, projector="one"),
    "siglip": TowerStyle(projector="two"),
    "clip_vision_model": TowerStyle(class_token=True, patch_bias=False, pre_norm=True, projector="two"),
    "minimax_m3_vl_vision": TowerStyle(
        class_token=True,
        patch_bias=False,
        pre_norm=True,
        projector="two",
        defaults={"temporal_patch_size": 2},
    ),
    "pixtral": TowerStyle(
        bias=False,
        key_bias=False,
        gated=True,
        norm="rms",
        patch_bias=False,
        learned_positions=False,
        pre_norm=True,
        post_norm=False,
        projector="mistral",
    ),
    "intern_vit_6b": TowerStyle(class_token=True, layer_scale=True, post_norm=False, projector="pixel"),
    "moonvit": TowerStyle(projector="moon"),
    "qwen2_vl": TowerStyle(
        patch_bias=False,
        learned_positions=False,
        post_norm=False,
        projector="merger",
        defaults={"depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "num_heads": 16, "temporal_patch_size": 2},
    ),
    "qwen2_5_vl": TowerStyle(
        gated=True, norm="rms", patch_bias=False, learned_positions=False, post_norm=False, projector="merger"
    ),
    "exaone4_5_vision": TowerStyle(
        gated=True,
        norm="rms",
        patch_bias=False,
        learned_positions=False,
        post_norm=False,
        grouped=True,
        projector="merger",
    ),
    "qwen3_vl": TowerStyle(post_norm=False, projector="merger"),
    "llama4_vision_model": TowerStyle(
        class_token=True,
        patch_bias=False,
        pre_norm=True,
        projector="llama4",
        defaults={
            "hidden_size": 768,
            "intermediate_size": 5632,
            "num_hidden_layers": 34,
            "image_size": 448,
            "vision_output_dim": 7680,
        },
    ),
    "vit": TowerStyle(class_token=True, projector="none"),
    "blip_vision_model": TowerStyle(class_token=True, projector="none"),
    "minicpmv4_6_vision": TowerStyle(projector="minicpm46"),
}


_KIN = (
    ("qwen3", "qwen3_vl"),
    ("qwen2_5", "qwen2_5_vl"),
    ("kimi", "moonvit"),
    ("internvl", "intern_vit_6b"),
    ("intern_vit", "intern_vit_6b"),
)
"""Words in the names of model types whose towers are built like a listed one."""

_WHISPERS = ("whisper", "qwen2_audio", "qwen2_audio_encoder", "ultravox", "qwen2_5_omni_audio_encoder")
"""Audio encoders that are Whisper's."""
_OF_MODEL = {"minimax_m3_vl": "minimax_m3_vl_vision"}
"""Towers that published configs call by the name of the one that they are built after."""

_SPECIAL: dict[str, Callable[[ConfigView, ConfigView, int | None], list[Row]]] = {
    "mllama_vision_model": special_towers.mllama,
    "glm4v": special_towers.glm4v,
    "glm4v_moe": special_towers.glm4v,
    "glm4v_vision": special_towers.glm4v,
    "glm4v_moe_vision": special_towers.glm4v,
    "gemma4_vision": special_towers.gemma4_vision,
    "gemma4_audio": special_towers.gemma4_audio,
    "molmo_vision": special_towers.molmo,
    "glm_ocr_vision": special_towers.glm_ocr,
    "davit": image_towers.davit,
    "florence_vision": image_towers.davit,
    "got_ocr2_vision": image_towers.sam_alone,
    "pp_chart2table_vision": image_towers.sam_alone,
    "unlimited_ocr_vision": image_towers.sam_and_clip,
    "kosmos_2_5_vision_model": image_towers.flattened_patches,
    "pix2struct_vision_model": image_towers.flattened_patches,
    "radio": image_towers.radio,
    "lfm3_vl_vision": image_towers.convolved_vision,
    "dots3_note_vision_encoder": image_towers.expert_vision,
    "dots3_note_audio_encoder": speech_towers.dots_audio,
    "vibevoice_acoustic_tokenizer": speech_towers.vibevoice,
    "inkling_vision": special_towers.undescribed,
    "inkling_audio": special_towers.undescribed,
    "granite_speech_encoder": speech_towers.granite_conformer,
    "granite_speech_plus_encoder": speech_towers.granite_conformer,
    "phi4_multimodal_audio": speech_towers.phi4_conformer,
    "voxtral_realtime_encoder": speech_towers.rotary_whisper,
    "apertus1p5_vision_tokenizer": image_towers.quantising,
    "nemotron3_5_transcribe_audio": speech_towers.transcriber,
    "parakeet_encoder": speech_towers.parakeet,
    "omniasr_audio": speech_towers.wav2vec,
    "fun_asr_nano_encoder": speech_towers.memory_encoder,
    "vibevoice_acoustic_tokenizer_encoder": speech_towers.vibevoice,
}


_OWN_PROJECTORS = {"ultravox": special_towers.ultravox_projector}
"""Projectors whose sizes do not follow from the encoder's and the language model's widths alone."""


def tower_rows(modality: str, view: ConfigView, text_hidden: int | None, root: ConfigView) -> list[Row]:
    """Return the tensors of one encoder and its projector; empty when its sizes are not in the config."""
    special = _SPECIAL.get(view.string("model_type") or root.string("model_type") or "")
    if special is None and modality == "vision" and isinstance(view.value("width"), dict):
        special = special_towers.deepseek_ocr
    if special is not None:
        rows = special(view, root, text_hidden)
        part = Part.AUDIO if modality == "audio" else Part.VISION
        return [
            replace(r, name=f"{modality}.{r.name}", part=r.part if r.part is Part.PROJECTOR else part) for r in rows
        ]
    view = ConfigView(view.raw, view.where, style_of(view, root).defaults)
    rows = _audio(view) if modality == "audio" else _vision(view, root)
    if not rows:
        return []
    if family_of(root.string("model_type")).twin_tower:
        rows = [replace(row, count=2 * row.count) for row in rows]
    part = Part.AUDIO if modality == "audio" else Part.VISION
    placed = [Row(f"{modality}.{r.name}", part, r.shape, r.count, r.linear, r.buffer) for r in rows]
    projector = _projector(modality, view, text_hidden, root)
    return placed + [Row(f"projector.{r.name}", Part.PROJECTOR, r.shape, r.count, r.linear) for r in projector]


def is_known_tower(modality: str, view: ConfigView, root: ConfigView) -> bool:
    """False for an encoder that is counted as a plain transformer for want of a design that is known."""
    names = (view.string("model_type") or "", root.string("model_type") or "")
    if any(name in _SPECIAL or name in _OF_MODEL or name in _WHISPERS for name in names):
        return True
    if modality == "vision" and isinstance(view.value("width"), dict):
        return True
    return any(name in STYLES or any(word in name for word, _ in _KIN) for name in names)


def style_of(view: ConfigView, root: ConfigView) -> TowerStyle:
    names = (
        _OF_MODEL.get(root.string("model_type") or "", view.string("model_type") or ""),
        root.string("model_type") or "",
    )
    for name in names:
        if name in STYLES:
            return STYLES[name]
    kin = (style for word, style in _KIN if any(word in name for name in names))
    return STYLES.get(next(kin, ""), TowerStyle())


def _vision(view: ConfigView, root: ConfigView) -> list[Row]:
    layers, width, inner, _ = sizes(view)
    if not layers or not width or not inner:
        return []
    return vision_transformer(view, style_of(view, root), width, inner, layers)


def vision_transformer(view: ConfigView, style: TowerStyle, width: int, inner: int, layers: int) -> list[Row]:
    """A plain vision transformer: patches, positions, layers, norms."""
    part = Part.VISION
    patch = as_integer(view.value("patch_size", "encoder_patch_size")) or 14
    temporal = as_integer(view.value("temporal_patch_size")) or 1
    rows = [Row("patch_embedding.weight", part, (width, 3 * temporal, patch, patch))]
    rows += [Row("patch_embedding.bias", part, (width,))] if style.patch_bias else []
    rows += _positions(view, style, width, patch)
    rows += [r for name in ("pre_norm",) if style.pre_norm for r in norm(name, width, style.norm)]
    rows += [r for name in ("post_norm",) if style.post_norm for r in norm(name, width, style.norm)]
    for row in _encoder_layer(view, style, width, inner):
        rows.append(Row(f"layers.*.{row.name}", part, row.shape, row.count * layers, row.linear))
    return rows + (_pooling_head(width, inner) if view.flag("vision_use_head") or style.pooling_head else [])


def _pooling_head(width: int, inner: int) -> list[Row]:
    """SigLIP's, which a class builds unless its config says that it does not (transformers SiglipMultiheadAttentionPoolingHead)."""
    rows = attention(Part.VISION, width, name="head.attn") + feed_forward(Part.VISION, width, inner, name="head.mlp")
    return [*rows, *norm("head.norm", width, "layer"), Row("head.probe", Part.VISION, (width,))]


def _positions(view: ConfigView, style: TowerStyle, width: int, patch: int) -> list[Row]:
    rows = [Row("class_embedding", Part.VISION, (width,))] if style.class_token else []
    if not style.learned_positions:
        return rows
    count = as_integer(view.value("num_position_embeddings", "num_patches"))
    side = as_integer(view.value("init_pos_emb_height"))
    image = as_integer(view.value("image_size"))
    if count is None and side:
        count = side * side
    if count is None and image:
        count = (image // patch) ** 2 + (1 if style.class_token else 0)
    return rows + ([Row("position_embedding", Part.VISION, (count, width))] if count else [])


def _encoder_layer(view: ConfigView, style: TowerStyle, width: int, inner: int) -> list[Row]:
    part = Part.VISION
    attn = as_integer(view.value("qkv_hidden_size")) or width
    bias = style.bias if view.flag("attn_bias") is None else bool(view.flag("attn_bias"))
    mlp_bias = bias if view.flag("linear_bias") is None else bool(view.flag("linear_bias"))
    heads, kv_heads = as_integer(view.value("num_heads")), as_integer(view.value("num_key_value_heads"))
    kv = attn // heads * kv_heads if style.grouped and heads and kv_heads else attn
    rows = matrix("attn.q_proj", part, attn, width, bias) + matrix("attn.v_proj", part, kv, width, bias)
    rows += matrix("attn.k_proj", part, kv, width, bias and style.key_bias)
    rows += matrix("attn.o_proj", part, width, attn, bias)
    rows += matrix("mlp.fc1", part, inner, width, mlp_bias) + matrix("mlp.fc2", part, width, inner, mlp_bias)
    rows += matrix("mlp.gate", part, inner, width, mlp_bias) if style.gated else []
    rows += norm("norm1", width, style.norm) + norm("norm2", width, style.norm)
    return rows + ([Row("layer_scale", part, (width,), 2)] if style.layer_scale else [])


def _sound_style(view: ConfigView) -> TowerStyle:
    """Only an encoder of sound's own name counts: its kin see."""
    return STYLES.get(view.string("model_type") or "", TowerStyle(projector="one"))


def _audio(view: ConfigView) -> list[Row]:
    """Whisper's encoder; other audio towers are not described closely enough by their configs."""
    layers, width, inner, _ = sizes(view)
    mel = as_integer(view.value("num_mel_bins"))
    if not layers or not width or not inner or not mel:
        return []
    part = Part.AUDIO
    rows = [Row("conv1.weight", part, (width, mel, 3)), Row("conv2.weight", part, (width, width, 3))]
    rows += [Row("conv.bias", part, (width,), 2)]
    positions = as_integer(view.value("max_source_positions")) or 1500
    rows += [Row("embed_positions.weight", part, (positions, width))] if _sound_style(view).learned_positions else []
    rows += norm("layer_norm", width, "layer")
    style = TowerStyle(key_bias=False)
    for row in _encoder_layer(view, style, width, inner):
        rows.append(Row(f"layers.*.{row.name}", part, row.shape, row.count * layers, row.linear))
    return rows


def _projector(modality: str, view: ConfigView, hidden: int | None, root: ConfigView) -> list[Row]:
    from whichgpu.inspect.blueprint.projectors import PROJECTORS

    _, width, _, _ = sizes(view)
    family = family_of(root.string("model_type"))
    if family.projector in _OWN_PROJECTORS:
        return _OWN_PROJECTORS[family.projector](view, root, hidden)
    if not hidden or not width:
        return []
    is_sound = modality == "audio"
    kind = _sound_style(view).projector if is_sound else family.projector or style_of(view, root).projector
    return PROJECTORS[kind](view, width, hidden, root)
