"""The whole language model as a tensor table: embeddings, layers, next-token layers, head."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from whichgpu.inspect.blueprint import attention, feed_forward, recurrent
from whichgpu.inspect.blueprint.table import Row, Table, matrix, norm, vector
from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.design import Design, FfnSpec, MixerSpec
from whichgpu.inspect.mixer_kinds import MixerKind
from whichgpu.inspect.records import Part

_ADAPTERS = ("vision_lora", "speech_lora")

_Spec = TypeVar("_Spec", MixerSpec, FfnSpec)

_MIXERS: dict[MixerKind, Callable[[Design, MixerSpec], list[Row]]] = {
    MixerKind.FULL: attention.grouped_query,
    MixerKind.SLIDING: attention.grouped_query,
    MixerKind.CHUNKED: attention.grouped_query,
    MixerKind.MLA: attention.latent,
    MixerKind.COMPRESSED: attention.compressed,
    MixerKind.CROSS: attention.cross,
    MixerKind.MAMBA1: recurrent.mamba1,
    MixerKind.MAMBA2: recurrent.mamba2,
    MixerKind.GDN: recurrent.gated_delta,
    MixerKind.KDA: recurrent.kimi_delta,
    MixerKind.LIGHTNING: recurrent.lightning,
    MixerKind.CONV: recurrent.short_convolution,
    MixerKind.RGLRU: recurrent.recurrent_gate,
    MixerKind.RWKV: recurrent.rwkv,
}


def language_model(design: Design) -> list[Row]:
    """Return the tensor rows of the language model, MTP layers included."""
    table = Table()
    table.extend(_ends(design))
    calls = _calls(design)
    for (mixer, ffn), count in Counter(zip(design.mixers, design.ffns, strict=True)).items():
        table.extend(_layer(design, mixer, ffn), max(1, count // calls))
    table.extend(_extras(design))
    table.extend(_next_token_layers(design))
    return list(table)


def _calls(design: Design) -> int:
    """How often a layer's weights are used for one token: HRM's two stacks are gone through in cycles, and each pass has a cache of
    its own (transformers HrmTextModel)."""
    stack = as_integer(design.view.value("num_layers_per_stack"))
    return max(1, design.layers // (2 * stack)) if stack else 1


def _layer(design: Design, mixer: MixerSpec, ffn: FfnSpec) -> list[Row]:
    rows = _mixer(design, mixer) + feed_forward.block(design, ffn) + _norms(design, mixer, ffn)
    return [Row(f"layers.*.{r.name}", r.part, r.shape, r.count, r.linear, r.buffer) for r in rows]


def _mixer(design: Design, spec: MixerSpec) -> list[Row]:
    if spec.kind is MixerKind.HYBRID:
        return _hybrid(design, spec)
    if spec.kind is MixerKind.PROJECTION:
        return matrix("self_attn.linear", Part.ATTENTION, design.hidden, design.hidden)
    make = _MIXERS.get(spec.kind)
    return make(design, spec) if make else []


def _hybrid(design: Design, spec: MixerSpec) -> list[Row]:
    """A layer with both mixers side by side (Falcon-H1), or a Mamba layer that calls a shared block (Zamba 2)."""
    from whichgpu.inspect.mixer_specs import mamba

    beside = mamba(design.view, design.hidden)
    rows = _MIXERS[beside.kind](design, beside)
    if as_integer(design.view.value("num_mem_blocks")):
        return rows + matrix("linear", Part.ATTENTION, design.hidden, design.hidden)
    return rows + attention.grouped_query(design, spec)


def _norms(design: Design, mixer: MixerSpec, ffn: FfnSpec) -> list[Row]:
    family, h = design.family, design.hidden
    count = family.norms
    if mixer.kind is not MixerKind.NONE and ffn.kind == "none" and mixer.kind is not MixerKind.RWKV:
        count = 1
    if mixer.kind is MixerKind.NONE and ffn.kind == "none":
        count = 0
    if family.shared_norm:
        count = 2 if design.view.flag("new_decoder_architecture") or (design.kv_heads or 0) > 1 else 1
    rows = [row for i in range(count) for row in norm(f"norm_{i}", h, family.norm)]
    if ffn.parallel_dense:
        rows += [row for i in range(3) for row in norm(f"moe_norm_{i}", h)]
    if family.layer_scalar:
        rows.append(Row("layer_scalar", Part.NORM, (1,)))
    return rows + _hyper_connections(design)


def _hyper_connections(design: Design) -> list[Row]:
    """DeepSeek-V4's hyper-connections: two mixing maps per layer, kept in FP32."""
    streams = as_integer(design.view.value("hc_mult"))
    if not streams:
        return []
    mix = (2 + streams) * streams
    rows = [Row("hc_*_fn", Part.OTHER, (mix, streams * design.hidden), 2)]
    return [*rows, Row("hc_*_base", Part.OTHER, (mix,), 2), Row("hc_*_scale", Part.OTHER, (3,), 2)]


def _ends(design: Design) -> list[Row]:
    view, family, h, vocab = design.view, design.family, design.hidden, design.vocabulary
    width = as_integer(view.value("word_embed_proj_dim")) or h
    extra = as_integer(view.value("additional_vocab_size")) or 0
    rows = [Row("embed_tokens.weight", Part.EMBEDDING, (vocab + extra if vocab else 0, width))]
    if width != h:
        rows += matrix("project_in", Part.EMBEDDING, h, width) + matrix("project_out", Part.HEAD, width, h)
    if family.positions is not None and design.context:
        rows.append(Row("embed_positions.weight", Part.EMBEDDING, (design.context + family.positions, h)))
    if family.embedding_norm:
        rows += norm("embedding_norm", h, family.norm)
    rows += norm("final_norm", h, family.norm)
    names = design.view.words("architectures") or []
    stored = not design.tied or family.stores_tied_head
    if stored and (has_language_head(names) or family.bare_head):
        rows += [Row("lm_head.weight", Part.HEAD, (vocab or 0, width), linear=True)]
        rows += vector("lm_head.bias", Part.HEAD, vocab if _head_bias(design) else None)
    return rows


def has_language_head(names: object) -> bool:
    """False for bare encoders, rewards and classifiers, by the suffix of config.json: architectures."""
    listed = [n for n in names if isinstance(n, str)] if isinstance(names, list) else []
    bare = ("Model", "Classification", "ForDecision")
    return not any(n.endswith(bare) and not n.endswith("LMHeadModel") for n in listed)


def _head_bias(design: Design) -> bool:
    stated = design.view.flag("lm_head_bias")
    return design.family.head_bias if stated is None else stated


def _extras(design: Design) -> list[Row]:
    """Blocks that stand beside the layers: per-layer embeddings, hash routing, shared Zamba blocks, V4's head."""
    view, h = design.view, design.hidden
    rows: list[Row] = []
    width = as_integer(view.value("hidden_size_per_layer_input"))
    if width:
        vocab = as_integer(view.value("vocab_size_per_layer_input")) or design.vocabulary or 0
        if design.family.per_layer_table:
            rows.append(Row("embed_tokens_per_layer.weight", Part.EMBEDDING, (vocab, design.layers * width)))
        rows += matrix("per_layer_model_projection", Part.OTHER, design.layers * width, h)
        rows += norm("per_layer_projection_norm", width)
        rows += matrix("layers.*.per_layer_input_gate", Part.OTHER, width, h, count=design.layers)
        rows += matrix("layers.*.per_layer_projection", Part.OTHER, h, width, count=design.layers)
        rows += [Row("layers.*.post_per_layer_input_norm.weight", Part.NORM, (h,), design.layers)]
    rows += (
        _lookup_tables(view)
        + _streams(design)
        + _backbone_projections(design)
        + _gated_norms(design)
        + _layers_between(design)
        + _named_adapters(design)
    )
    hashed = as_integer(view.value("num_hash_layers"))
    if hashed and design.vocabulary:
        top_k = as_integer(view.value("num_experts_per_tok")) or 1
        rows.append(Row("layers.*.ffn.gate.tid2eid", Part.ROUTER, (design.vocabulary, top_k), hashed, buffer=True))
    streams = as_integer(view.value("hc_mult"))
    if streams:
        rows += [Row("hc_head_fn", Part.OTHER, (streams, streams * h)), Row("hc_head_base", Part.OTHER, (streams,))]
    return rows + _zamba_blocks(design)


def _streams(design: Design) -> list[Row]:
    """Gemma 3n: several streams that are predicted and corrected in every layer, and a low-rank block beside each attention
    (transformers Gemma3nTextAltUp, Gemma3nTextLaurelBlock)."""
    streams, rank = as_integer(design.view.value("altup_num_inputs")), as_integer(design.view.value("laurel_rank"))
    h, layers = design.hidden, design.layers
    rows: list[Row] = []
    if streams:
        rows += matrix("altup_projections", Part.OTHER, h, h, count=2 * (streams - 1))
        rows += matrix("layers.*.altup.modality_router", Part.OTHER, streams, h, count=layers)
        rows += matrix("layers.*.altup.prediction", Part.OTHER, streams**2, streams, count=layers)
        rows += matrix("layers.*.altup.correction", Part.OTHER, streams, streams, count=layers)
        rows += vector("layers.*.altup.norms", Part.NORM, h, 2 * layers)
    if rank:
        rows += matrix("layers.*.laurel.left", Part.OTHER, rank, h, count=layers)
        rows += matrix("layers.*.laurel.right", Part.OTHER, h, rank, count=layers)
        rows += vector("layers.*.laurel.norm", Part.NORM, h, layers)
    return rows


def _backbone_projections(design: Design) -> list[Row]:
    """A drafter that reads a larger model's states: two of its widths in, one out (transformers Gemma4UnifiedAssistant)."""
    width, h = as_integer(design.view.value("backbone_hidden_size")), design.hidden
    return (
        matrix("pre_projection", Part.OTHER, h, 2 * width) + matrix("post_projection", Part.OTHER, width, h)
        if width
        else []
    )


def _named_adapters(design: Design) -> list[Row]:
    """Phi-4-multimodal's low ranks beside every matrix, one set for images and one for speech, which its checkpoint holds (config.json:
    vision_lora, speech_lora)."""
    ranks = [as_integer(lora.value("r")) for key in _ADAPTERS if (lora := design.view.sub(key)) is not None]
    spec, width, h = design.mixers[0], design.ffns[0].intermediate, design.hidden
    heads, kv, d = spec.heads or 0, spec.kv_heads or 0, spec.head_dim or 0
    matrices = ((h, (heads + 2 * kv) * d), (heads * d, h), (h, 2 * (width or 0)), (width, h))
    rows: list[Row] = []
    for rank in filter(None, ranks):
        for into, out in matrices:
            rows += matrix("layers.*.lora_a", Part.ADAPTER, rank, into, count=design.layers)
            rows += matrix("layers.*.lora_b", Part.ADAPTER, out, rank, count=design.layers)
    return rows


def _layers_between(design: Design) -> list[Row]:
    """Idefics: after every so many layers one that looks at the image (transformers IdeficsGatedCrossAttentionLayer)."""
    interval, image = as_integer(design.view.value("cross_layer_interval")), design.view.sub("vision_config")
    if not interval or image is None:
        return []
    h, count, into = design.hidden, design.layers // interval, as_integer(image.value("embed_dim"))
    rows = matrix("cross_layers.*.q_proj", Part.ATTENTION, h, h, count=count)
    rows += matrix("cross_layers.*.k_proj", Part.ATTENTION, h, into, count=count)
    rows += matrix("cross_layers.*.v_proj", Part.ATTENTION, h, into, count=count)
    rows += matrix("cross_layers.*.o_proj", Part.ATTENTION, h, h, count=count)
    rows += [
        replace(row, count=count, name=f"cross_layers.*.{row.name}")
        for row in feed_forward.block(design, design.ffns[0])
    ]
    return rows + vector("cross_layers.*.norms", Part.NORM, h, 2 * count)


def _gated_norms(design: Design) -> list[Row]:
    """A.X K2 scales what it has normalised through a low rank: before attention and before experts."""
    rank = as_integer(design.view.value("gated_norm_rank"))
    count = design.layers + sum(1 for ffn in design.ffns if ffn.kind == "moe")
    return matrix("layers.*.norm.gate", Part.NORM, rank, design.hidden, count=2 * count) if rank else []


def _lookup_tables(view: ConfigView) -> list[Row]:
    """Qwen 4's n-gram embeddings: for every length of a word group and every hash a table (vLLM 0.33 models/qwen4_exp/ple_layer.py)."""
    entries, width = as_integer(view.value("ngram_vocab_size_base")), as_integer(view.value("ple_embed_dim"))
    hashes, longest = as_integer(view.value("heads_per_ngram")), as_integer(view.value("ngram_size"))
    layers = len(view.numbers("ple_layer_ids") or [])
    if not (entries and width and hashes and longest and longest > 1 and layers):
        return []
    tables = hashes * (longest - 1)
    return [Row("ple.ngram_embedding.weight", Part.LOOKUP, (entries, width // tables), tables * layers)]


def _zamba_blocks(design: Design) -> list[Row]:
    """Zamba 2's shared attention blocks over twice the width, with a low-rank adapter per call."""
    blocks = as_integer(design.view.value("num_mem_blocks"))
    if not blocks:
        return []
    h, wide = design.hidden, 2 * design.hidden
    inner = as_integer(design.view.value("ffn_hidden_size", "intermediate_size")) or 4 * h
    calls = sum(1 for m in design.mixers if m.kind is MixerKind.HYBRID)
    rank = as_integer(design.view.value("lora_rank", "adapter_rank"))
    rank = 128 if rank is None else rank
    rows: list[Row] = []
    for name in ("q_proj", "k_proj", "v_proj"):
        rows += matrix(f"shared_block.*.{name}", Part.ATTENTION, wide, wide, count=blocks)
    rows += matrix("shared_block.*.o_proj", Part.ATTENTION, h, wide, count=blocks)
    rows += matrix("shared_block.*.gate_up_proj", Part.DENSE_FFN, 2 * inner, h, count=blocks)
    rows += matrix("shared_block.*.down_proj", Part.DENSE_FFN, h, inner, count=blocks)
    rows += matrix("shared_block.*.adapter_a", Part.ADAPTER, rank, h, count=calls)
    return rows + matrix("shared_block.*.adapter_b", Part.ADAPTER, 2 * inner, rank, count=calls)


def _next_token_layers(design: Design) -> list[Row]:
    """Multi-token-prediction layers: a last layer again, a projection of two widths, and three norms.

    DeepSeek's checkpoints (and those that follow them) also store the embedding and the head once more.
    """
    if not design.mtp_layers:
        return []
    mixer = _last(design.mixers, (MixerKind.FULL, MixerKind.MLA)) or design.mixers[-1]
    ffn = _last(design.ffns, ("moe", "dense")) or design.ffns[-1]
    if design.mixers[-1].kind is MixerKind.COMPRESSED:
        mixer = replace(design.mixers[-1], compress_ratio=0, index_heads=None, index_head_dim=None)
    if design.family.mtp == "dense":
        ffn = _last(design.ffns, ("dense",)) or ffn
    h = design.hidden
    rows = _layer(design, mixer, ffn) + matrix("eh_proj", Part.MTP, h, 2 * h)
    rows += norm("enorm", h) + norm("hnorm", h) + norm("shared_head.norm", h)
    if design.family.mtp_ends:
        rows += [Row("embed_tokens.weight", Part.MTP, (design.vocabulary or 0, h))]
        rows += [Row("shared_head.head.weight", Part.MTP, (design.vocabulary or 0, h))]
    return [Row(f"mtp.{r.name}", Part.MTP, r.shape, r.count * design.mtp_layers, r.linear, r.buffer) for r in rows]


def _last(specs: list[_Spec], kinds: tuple[str, ...]) -> _Spec | None:
    return next((s for s in reversed(specs) if s.kind in kinds), None)
