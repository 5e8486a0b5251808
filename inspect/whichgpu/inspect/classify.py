"""What a model is, with the evidence: from the layers, the towers, the tensor names and the pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from whichgpu.inspect.config_view import ConfigView, is_filled_by_class
from whichgpu.inspect.design import Design
from whichgpu.inspect.encoder_kinds import ENCODER_DECODERS
from whichgpu.inspect.mixer_kinds import traits
from whichgpu.inspect.records import Evidence, ModelClass, Part, TensorGroup
from whichgpu.inspect.tower_views import towers

_IMAGE_KEYS = ("mm_vision_tower", "img_processor", "vision_encoder")
"""Keys that name an encoder; bare image token ids prove nothing, since text models inherit them."""

_AUDIO_KEYS = (
    "audio_token_id",
    "audio_token_index",
    "audio_config",
    "audio_processor",
    "num_mel_bins",
    "audio_pad_token_id",
)
_AUDIO_OUT = (
    "talker_config",
    "code2wav_config",
    "audio_decoder_config",
    "acoustic_tokenizer_config",
    "vocoder_offset",
    "token2wav_config",
)


EXPERTS, RECURRENT = "experts", "a recurrent state"
"""What tensors and config may contradict each other in."""


class Findings:
    """Collects classes in a fixed order, each with its evidence."""

    def __init__(self) -> None:
        self.evidence: list[Evidence] = []
        self.modalities: set[str] = set()

    def add(self, model_class: ModelClass, because: str, where: str) -> None:
        self.evidence.append(Evidence(model_class=model_class, because=because, where=where))

    def has(self, model_class: ModelClass) -> bool:
        return any(e.model_class is model_class for e in self.evidence)

    @property
    def classes(self) -> tuple[ModelClass, ...]:
        order = (
            ModelClass.DIFFUSION,
            ModelClass.ENCODER,
            ModelClass.ENCODER_DECODER,
            ModelClass.MULTIMODAL,
            ModelClass.SSM,
            ModelClass.HYBRID,
            ModelClass.MOE,
            ModelClass.DENSE,
        )
        return tuple(c for c in order if self.has(c)) or (ModelClass.UNKNOWN,)


def classify(
    root: ConfigView | None,
    design: Design | None,
    encoder: str | None,
    tensors: Sequence[TensorGroup],
    pipeline: Mapping[str, Any] | None,
    file_names: Iterable[str],
    task: str | None = None,
) -> Findings:
    """Return every class that holds, with the keys and tensor names that say so; ``task`` is the Hub's pipeline tag."""
    findings = Findings()
    names = tuple(file_names)
    if pipeline is not None or _is_denoiser(root):
        _diffusion(findings, root, pipeline)
        return findings
    if root is not None:
        _encoder(findings, root, encoder, names, task)
        _multimodal(findings, root)
    _from_tensors(findings, tensors)
    if design is not None and not findings.has(ModelClass.ENCODER_DECODER):
        _mixers(findings, design)
        _experts(findings, design)
    if (not findings.evidence and design is not None) or (
        design is not None and not (findings.has(ModelClass.MOE) or _is_special(findings))
    ):
        _dense(findings, design)
    return findings


def _is_special(findings: Findings) -> bool:
    """True when 'dense' would add nothing: encoders, hybrids and pure SSMs say what they are."""
    special = (
        ModelClass.ENCODER,
        ModelClass.ENCODER_DECODER,
        ModelClass.SSM,
        ModelClass.HYBRID,
        ModelClass.DIFFUSION,
        ModelClass.MULTIMODAL,
    )
    return any(findings.has(c) for c in special)


def _is_denoiser(root: ConfigView | None) -> bool:
    """A diffusers model on its own: its config names a class and a diffusers version, or has Wan's latent keys."""
    return root is not None and root.string("_class_name") is not None


def _diffusion(findings: Findings, root: ConfigView | None, pipeline: Mapping[str, Any] | None) -> None:
    if pipeline is not None:
        name = pipeline.get("_class_name")
        findings.add(ModelClass.DIFFUSION, f"pipeline {name or 'of components with a scheduler'}", "model_index.json")
    elif root is not None:
        findings.add(ModelClass.DIFFUSION, f"_class_name = {root.string('_class_name')}", root.where)
    text = str(pipeline.get("_class_name") if pipeline else root.string("_class_name") if root else "").lower()
    marks = {"video": ("video", "wan", "ltx", "mochi"), "audio": ("audio",)}
    hits = {kind for kind, words in marks.items() if any(w in text for w in words)} or {"image"}
    findings.modalities |= {f"{hit} out" for hit in hits}


_POOLING_FILES = frozenset({"modules.json", "1_Pooling/config.json"})
_EMBEDDING_TASKS = frozenset({"feature-extraction", "sentence-similarity"})


def _encoder(findings: Findings, root: ConfigView, encoder: str | None, names: Sequence[str], task: str | None) -> None:
    if root.flag("is_encoder_decoder") or encoder in ENCODER_DECODERS:
        because = "is_encoder_decoder" if root.flag("is_encoder_decoder") else f"{encoder} keys"
        findings.add(ModelClass.ENCODER_DECODER, because, root.where)
    elif encoder in ("bert", "distilbert", "clip"):
        findings.add(ModelClass.ENCODER, _encoder_reason(encoder), root.where)
    elif root.sub("latent_attention_config") is not None:
        findings.add(ModelClass.ENCODER, "latent_attention_config pools the text into one embedding", root.where)
    elif _POOLING_FILES.intersection(names):
        where = next(name for name in names if name in _POOLING_FILES)
        findings.add(ModelClass.ENCODER, "sentence-transformers modules pool it into one embedding", where)
    elif root.raw.get("is_causal") is False:
        findings.add(ModelClass.ENCODER, "is_causal = false: each token sees those after it", root.where)
    elif task in _EMBEDDING_TASKS:
        findings.add(ModelClass.ENCODER, f"pipeline_tag = {task}", "the Hub's model info")
    if encoder == "whisper":
        findings.modalities.add("audio in")
        findings.add(ModelClass.MULTIMODAL, "num_mel_bins: audio input", root.where)
    if encoder == "clip":
        findings.modalities.add("image in")


def _encoder_reason(encoder: str) -> str:
    return {"clip": "text and vision encoders that meet in projection_dim"}.get(
        encoder, "bidirectional encoder keys (token types, absolute positions)"
    )


def _multimodal(findings: Findings, root: ConfigView) -> None:
    if findings.has(ModelClass.ENCODER):
        return
    thinker = root.sub("thinker_config")
    is_filled = is_filled_by_class(root)
    for view in filter(None, (root, thinker)):
        for key in view:
            value = None if is_filled else view.raw.get(key)
            if isinstance(value, dict) and value and _vision_name(key):
                findings.modalities.add("image in")
                findings.add(ModelClass.MULTIMODAL, f"{key}: a vision encoder", view.where)
            elif isinstance(value, dict) and value and ("audio" in key or "speech" in key) and "decoder" not in key:
                findings.modalities.add("audio in")
                findings.add(ModelClass.MULTIMODAL, f"{key}: an audio encoder", view.where)
        image = next((k for k in _IMAGE_KEYS if view.raw.get(k) is not None), None)
        if image is not None and not findings.has(ModelClass.MULTIMODAL):
            findings.modalities.add("image in")
            findings.add(ModelClass.MULTIMODAL, f"{image}", view.where)
        audio = next((k for k in _AUDIO_KEYS if view.raw.get(k) is not None), None)
        if audio is not None and "audio in" not in findings.modalities:
            findings.modalities.add("audio in")
            findings.add(ModelClass.MULTIMODAL, f"{audio}", view.where)
        spoken = next((k for k in _AUDIO_OUT if view.raw.get(k) is not None), None)
        if spoken is not None:
            findings.modalities.add("audio out")
            findings.add(ModelClass.MULTIMODAL, f"{spoken}: speech output", view.where)
        if view.raw.get("video_token_id") is not None and "image in" in findings.modalities:
            findings.modalities.add("video in")
    _named_after_vision(findings, root)


def _vision_name(key: str) -> bool:
    return re.search(r"vision(?!_feature)|visual|^vit|siglip|image_embd|^embd_layer$", key) is not None


def _named_after_vision(findings: Findings, root: ConfigView) -> None:
    """Some configs describe no tower at all; the class name or a patch size is then the only mark."""
    if findings.has(ModelClass.MULTIMODAL):
        return
    for modality, view in towers(root):
        findings.modalities.add("image in" if modality == "vision" else f"{modality} in")
        findings.add(ModelClass.MULTIMODAL, f"the class has its own {modality} encoder", view.where.rstrip("; "))
    names = [] if findings.has(ModelClass.MULTIMODAL) else root.words("architectures") or []
    token = next((k for k in ("image_token_id", "image_token_index") if root.raw.get(k) is not None), None)
    if token is not None and any(n.endswith("ForConditionalGeneration") for n in names):
        findings.modalities.add("image in")
        findings.add(ModelClass.MULTIMODAL, f"{token} in a model for conditional generation", root.where)
        return
    speaks = next(
        (n for n in names if re.search(r"(?i)molmo|speech|audio|asr|Seamless|VL|Vision|Video|Perception", n)), None
    )
    if root.value("patch_size") is not None and root.value("hidden_size") is not None:
        findings.modalities.add("image in")
        findings.add(ModelClass.MULTIMODAL, "patch_size beside a language model", root.where)
    elif speaks is not None:
        audio = re.search(r"(?i)speech|audio|asr|seamless", speaks) is not None
        findings.modalities.add("audio in" if audio else "image in")
        findings.add(ModelClass.MULTIMODAL, f"class name {speaks}", f"{root.where}: architectures")


def _from_tensors(findings: Findings, tensors: Sequence[TensorGroup]) -> None:
    """Add what the tensor names prove and the config did not say."""
    marks = {Part.VISION: "image in", Part.AUDIO: "audio in"}
    for part, modality in marks.items():
        tower_tensor = next(
            (t.name for t in tensors if t.part is part and t.parameters > 1_000_000 and not t.component), None
        )
        if tower_tensor is not None and not findings.has(ModelClass.ENCODER):
            findings.modalities.add(modality)
            findings.add(ModelClass.MULTIMODAL, f"tensors {tower_tensor}", "tensor names")
    experts = next((t.name for t in tensors if t.part is Part.ROUTED_EXPERTS), None)
    if experts is not None:
        findings.add(ModelClass.MOE, f"tensors {experts}", "tensor names")
    recurrent = next((t.name for t in tensors if t.part is Part.SSM), None)
    attention = any(t.part is Part.ATTENTION for t in tensors)
    if recurrent is not None:
        kind = ModelClass.HYBRID if attention else ModelClass.SSM
        findings.add(kind, f"tensors {recurrent}", "tensor names")


def _mixers(findings: Findings, design: Design) -> None:
    kinds = [m.kind for m in design.mixers]
    both = sum(traits(k).recurrent and traits(k).softmax for k in kinds)
    recurrent, attention = sum(traits(k).recurrent for k in kinds) - both, sum(traits(k).softmax for k in kinds) - both
    if recurrent and not attention and not both:
        findings.add(
            ModelClass.SSM,
            f"{recurrent} recurrent layers ({next(k for k in kinds if traits(k).recurrent)}), no attention",
            design.view.where,
        )
    elif both or (recurrent and attention):
        text = f"{attention + both} attention and {recurrent + both} recurrent layers"
        findings.add(ModelClass.HYBRID, text, design.view.where)


def _experts(findings: Findings, design: Design) -> None:
    mixture = next((f for f in design.ffns if f.kind == "moe"), None)
    if mixture is not None:
        layers = sum(f.kind == "moe" for f in design.ffns)
        text = f"{mixture.experts} experts, {mixture.top_k or '?'} per token, in {layers} of {design.layers} layers"
        findings.add(ModelClass.MOE, text, design.view.sources.get("experts", design.view.where))


def _dense(findings: Findings, design: Design) -> None:
    findings.add(
        ModelClass.DENSE, f"{design.layers} layers of attention and one feed-forward block each", design.view.where
    )


def disagreements(root: ConfigView | None, design: Design | None, tensors: Sequence[TensorGroup]) -> list[str]:
    """Say where the config and the tensor names still contradict each other, of what no single layer tells; only for headers."""
    if root is None or design is None or not tensors:
        return []
    parts = {t.part for t in tensors}
    experts = any(f.kind == "moe" for f in design.ffns)
    recurrent = any(traits(m.kind).recurrent for m in design.mixers)
    vision = any(modality == "vision" for modality, _ in towers(root))
    checks = (
        (EXPERTS, experts, Part.ROUTED_EXPERTS in parts),
        (RECURRENT, recurrent, Part.SSM in parts),
        ("a vision encoder", vision, Part.VISION in parts),
    )
    texts = [
        f"The config names {what}, but no tensor does."
        for what, in_config, in_tensors in checks
        if in_config and not in_tensors
    ]
    return texts + [shown(what) for what, in_config, in_tensors in checks if in_tensors and not in_config]


def shown(what: str) -> str:
    """Say that the tensors have what no key of the config names."""
    return f"Tensors show {what}, but the config does not name it."
