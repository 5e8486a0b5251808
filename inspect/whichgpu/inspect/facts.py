"""The architecture record: what the config says, in the field's terms, with the key behind each number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.design import Design, FfnSpec, MixerSpec
from whichgpu.inspect.families import family_of
from whichgpu.inspect.mixer_kinds import MixerKind
from whichgpu.inspect.records import Architecture, FeedForward, Mixer, ModelClass, OwnCode, Tower
from whichgpu.inspect.rope import rotary_tables, tower_table
from whichgpu.inspect.text import clean
from whichgpu.inspect.tower_views import sizes, towers

_CONFIG = "config.json"
_MISTRAL = "params.json"


def architecture_record(
    root: ConfigView | None,
    design: Design | None,
    dtype: str | None,
    classes: Sequence[ModelClass],
    files: Collection[str] = (),
) -> Architecture | None:
    """Return the record, or ``None`` when there is no config at all.

    Args:
        root, design, dtype, classes: what was read.
        files: names in the repository, where engines read the same config; none where they read another file.
    """
    record = _described(root, design, dtype, classes)
    if root is None or record is None or _CONFIG not in files:
        return record
    update = {
        "config_type": _config_type(root, files),
        "nested": root.sub("text_config") is not None,
        "saved_by": root.string("transformers_version"),
        "own_code": _own_code(root, files),
    }
    return record.model_copy(update=update)


def _config_type(root: ConfigView, files: Collection[str]) -> str | None:
    """The type that engines look up; with Mistral's own format beside it they don't (vLLM transformers_utils/config.py)."""
    return None if _MISTRAL in files else root.string("model_type") or ""


def _own_code(root: ConfigView, files: Collection[str]) -> tuple[OwnCode, ...]:
    """What the config names classes of its own for; and a tokenizer in Python where none stands beside it that libraries read."""
    named = root.value("auto_map")
    keys = [key for key in named if isinstance(key, str)] if isinstance(named, dict) else []
    in_python = any(name.startswith("tokenization_") and name.endswith(".py") for name in files)
    brought = {
        OwnCode.CONFIG: "AutoConfig" in keys,
        OwnCode.MODEL: any(key.startswith("AutoModel") for key in keys),
        OwnCode.TOKENIZER: in_python and "tokenizer.json" not in files,
    }
    return tuple(part for part, is_there in brought.items() if is_there)


def _described(
    root: ConfigView | None, design: Design | None, dtype: str | None, classes: Sequence[ModelClass]
) -> Architecture | None:
    if root is None:
        return None
    names = root.value("architectures")
    listed = tuple(clean(n) for n in names if isinstance(n, str)) if isinstance(names, list) else ()
    tower_records = tuple(_tower(modality, view, root) for modality, view in towers(root))
    if design is None:
        return Architecture(
            model_type=root.string("model_type"),
            names=listed,
            known=False,
            hidden=None,
            layers=None,
            heads=None,
            kv_heads=None,
            head_dim=None,
            vocabulary=None,
            context=None,
            dtype=dtype,
            tied_embeddings=None,
            towers=tower_records,
        )
    record = _full(design, listed, tower_records, dtype)
    family = family_of(root.string("model_type"))
    images = [tower for tower in tower_records if tower.modality == "vision"]
    tables = [table for tower in images for table in tower_table(family, tower.hidden, tower.heads)]
    record = record.model_copy(update={"rotary_tables": (*record.rotary_tables, *tables)})
    return _cacheless(record, design, classes)


def _cacheless(record: Architecture, design: Design, classes: Sequence[ModelClass]) -> Architecture:
    """Encoders keep no KV cache; of an encoder-decoder the decoder alone does."""
    if ModelClass.ENCODER_DECODER in classes:
        return record.model_copy(update={"mixers": _decoder_mixers(design), "mixer_layout": ()})
    if ModelClass.ENCODER in classes or design.view.flag("is_causal") is False:
        silent = tuple(m.model_copy(update={"kind": MixerKind.ENCODER}) for m in record.mixers)
        return record.model_copy(update={"mixers": silent})
    return record


def _merge(view: ConfigView, root: ConfigView) -> int | None:
    """Patches along one side that become one token: a merger's size, or the inverse of a pixel shuffle's ratio."""
    stated = as_integer(view.value("spatial_merge_size", "merge_size")) or as_integer(root.value("spatial_merge_size"))
    ratio = view.value("pixel_shuffle_ratio") or root.value("downsample_ratio")
    if stated is None and isinstance(ratio, int | float) and 0.05 < ratio <= 1:
        return round(1 / ratio)
    return stated


def _full(design: Design, names: tuple[str, ...], tower_records: tuple[Tower, ...], dtype: str | None) -> Architecture:
    mixers, ffns = list(dict.fromkeys(design.mixers)), list(dict.fromkeys(design.ffns))
    mixer_counts, ffn_counts = Counter(design.mixers), Counter(design.ffns)
    return Architecture(
        model_type=design.model_type,
        names=names,
        known=design.known,
        hidden=design.hidden,
        layers=design.layers,
        heads=design.heads,
        kv_heads=design.kv_heads,
        head_dim=design.head_dim,
        vocabulary=design.vocabulary,
        context=design.context,
        dtype=dtype,
        tied_embeddings=design.tied,
        mixers=tuple(_mixer(m, mixer_counts[m]) for m in mixers),
        feed_forwards=tuple(_ffn(f, ffn_counts[f]) for f in ffns),
        mixer_layout=tuple(mixers.index(m) for m in design.mixers),
        feed_forward_layout=tuple(ffns.index(f) for f in design.ffns),
        mtp_layers=design.mtp_layers,
        rotary_tables=rotary_tables(design),
        towers=tower_records,
        sources={key: clean(value) for key, value in sorted(design.view.sources.items())},
    )


def _decoder_mixers(design: Design) -> tuple[Mixer, ...]:
    """Self-attention and cross-attention of every decoder layer; nothing where the config does not say their sizes."""
    view = design.view
    layers = as_integer(view.value("decoder_layers", "num_decoder_layers", "num_layers"))
    heads = as_integer(view.value("decoder_attention_heads", "num_heads", "num_attention_heads"))
    if not layers or not heads:
        return ()
    head_dim = as_integer(view.value("d_kv", "head_dim")) or design.hidden // heads
    encoded = as_integer(view.value("max_source_positions")) or design.context
    common = {"layers": layers, "heads": heads, "kv_heads": heads, "head_dim": head_dim, "v_head_dim": head_dim}
    return (Mixer(kind=MixerKind.FULL, **common), Mixer(kind=MixerKind.CROSS, window=encoded, **common))


def _mixer(spec: MixerSpec, layers: int) -> Mixer:
    recurrent = spec.beside or spec
    state, conv = state_sizes(recurrent)
    second = recurrent.kind is MixerKind.MAMBA2
    group = 2 * (recurrent.state_dim or 0) * ((recurrent.conv_kernel or 1) - 1)
    return Mixer(
        kind=spec.kind,
        layers=layers,
        heads=spec.heads,
        kv_heads=spec.kv_heads,
        head_dim=spec.head_dim,
        v_head_dim=spec.v_head_dim,
        window=spec.window,
        kv_lora_rank=spec.kv_lora_rank,
        q_lora_rank=spec.q_lora_rank,
        rope_head_dim=spec.rope_head_dim,
        nope_head_dim=spec.nope_head_dim,
        index_head_dim=spec.index_head_dim,
        compress_ratio=spec.compress_ratio,
        state_size=state,
        state_dtype=recurrent.state_dtype,
        conv_size=conv,
        conv_kernel=recurrent.conv_kernel,
        groups=recurrent.groups if second else None,
        group_conv_size=group if second else None,
        key_heads=spec.key_heads,
        shared_key_value=spec.shared_key_value,
        shares_kv=spec.shares_kv,
    )


def state_sizes(spec: MixerSpec) -> tuple[int | None, int | None]:
    """Return (recurrent state, convolution state) in elements per sequence and layer.

    Source: vLLM 0.32 layers/mamba/mamba_utils.MambaStateShapeCalculator.
    """
    kernel, inner = (spec.conv_kernel or 1) - 1, spec.inner or 0
    heads, dim = spec.heads or 0, spec.head_dim or 0
    if spec.kind is MixerKind.MAMBA1:
        return inner * (spec.state_dim or 0), inner * kernel
    if spec.kind is MixerKind.MAMBA2:
        width = inner + 2 * (spec.groups or 1) * (spec.state_dim or 0)
        return heads * dim * (spec.state_dim or 0), width * kernel
    if spec.kind is MixerKind.GDN:
        keys = (spec.key_heads or 0) * (spec.key_dim or 0)
        return heads * dim * (spec.key_dim or 0), (2 * keys + heads * dim) * kernel
    if spec.kind is MixerKind.KDA:
        return heads * dim * dim, 3 * heads * dim * kernel
    if spec.kind in (MixerKind.LIGHTNING, MixerKind.RWKV):
        return heads * dim * dim, None
    if spec.kind is MixerKind.CONV:
        return None, inner * kernel
    if spec.kind is MixerKind.RGLRU:
        return inner, inner * kernel
    return None, None


def _ffn(spec: FfnSpec, layers: int) -> FeedForward:
    return FeedForward(
        kind=spec.kind,
        layers=layers,
        intermediate=spec.intermediate,
        experts=spec.experts,
        top_k=spec.top_k,
        shared_experts=spec.shared_experts,
        shared_intermediate=spec.shared_intermediate,
        gated=spec.gated,
        latent=spec.latent,
    )


def _tower(modality: str, view: ConfigView, root: ConfigView) -> Tower:
    layers, width, inner, heads = sizes(view)
    text = root.sub("text_config") or root
    return Tower(
        modality=modality,
        layers=layers,
        hidden=width,
        intermediate=inner,
        heads=heads,
        patch_size=as_integer(view.value("patch_size")),
        image_size=as_integer(view.value("image_size")),
        merge=_merge(view, root),
        tokens_per_item=as_integer(
            root.value("mm_tokens_per_image", "image_seq_length", "vision_soft_tokens_per_image")
        )
        or as_integer(text.value("mm_tokens_per_image")),
    )
