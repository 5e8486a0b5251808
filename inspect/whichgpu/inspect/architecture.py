"""From a config to a design: one mixer and one feed-forward specification per layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from whichgpu.inspect import mixer_specs
from whichgpu.inspect.config_view import HIDDEN_KEYS, ConfigView, as_integer, check_sizes, layer_count, text_view
from whichgpu.inspect.design import Design, MixerSpec
from whichgpu.inspect.families import FAMILIES, Family, family_of
from whichgpu.inspect.feed_forwards import feed_forwards
from whichgpu.inspect.layer_patterns import mixer_kinds
from whichgpu.inspect.mixer_kinds import MixerKind, traits
from whichgpu.inspect.normal_form import normalised

_NESTED_GROUPS = ("attn_config", "ffn_config", "moe")
"""Objects in which some configs (DBRX, MPT, Mistral's params.json) put keys that others keep flat."""

_INHERITED = ("backbone_hidden_size",)
"""Keys of the outermost level that size what lies in the language model."""

_CONTEXT_KEYS = (
    "max_position_embeddings",
    "max_sequence_length",
    "model_max_length",
    "seq_length",
    "max_seq_len",
    "n_positions",
    "n_ctx",
    "context_length",
    "max_target_positions",
)


def read_design(root: ConfigView, *, hidden: int | None = None, layers: int | None = None) -> Design | None:
    """Return the language model's design, or ``None`` when the config describes none.

    Args:
        root: the whole config.
        hidden, layers: its width and how many layers there are, where they are known better than the config has them.

    Raises:
        UnreadableError: dimensions that no model has.
    """
    view = text_view(root)
    model_type = view.string("model_type") or root.string("model_type")
    family = family_of(model_type)
    inherited = {key: root.raw[key] for key in _INHERITED if key in root.raw}
    view = ConfigView(normalised(inherited | _flatten(view.raw)), view.where, family.defaults)
    check_sizes(view)
    hidden = hidden or view.integer("hidden", *HIDDEN_KEYS)
    layers = layers or layer_count(view)
    if not hidden or not layers:
        return None
    design = Design(
        view=view,
        family=family,
        known=model_type in FAMILIES,
        model_type=model_type,
        hidden=hidden,
        layers=layers,
        vocabulary=_vocabulary(view, root),
        context=_context(view),
        heads=None,
        kv_heads=None,
        head_dim=None,
        tied=_tied(view, root, family),
    )
    design.mixers = _mixers(view, design)
    design.ffns = feed_forwards(design)
    if "absent" not in (family.mtp, family_of(root.string("model_type")).mtp):
        design.mtp_layers = as_integer(view.value("mtp_num_hidden_layers", "num_nextn_predict_layers")) or 0
    summarise_heads(design)
    return design


def _flatten(raw: Any) -> dict[str, Any]:
    flat = dict(raw)
    for name in _NESTED_GROUPS:
        inner = raw.get(name)
        if isinstance(inner, dict):
            flat = {**inner, **flat}
    return flat


def _vocabulary(view: ConfigView, root: ConfigView) -> int | None:
    vocabulary = view.integer("vocabulary", "padded_vocab_size", "embedding_size", "vocab_size")
    if vocabulary is None and view.raw is not root.raw:
        vocabulary = root.integer("vocabulary", "vocab_size")
        view.sources.update({"vocabulary": root.sources["vocabulary"]} if vocabulary is not None else {})
    multiple = as_integer(view.value("pad_vocab_size_multiple"))
    return -(-vocabulary // multiple) * multiple if vocabulary and multiple else vocabulary


def _context(view: ConfigView) -> int | None:
    """Longest sequence in tokens; a YaRN factor is applied to the original length, as vLLM 0.32 does."""
    stated = view.integer("context", *_CONTEXT_KEYS)
    scaling = view.sub("rope_scaling") or view.sub("rope_parameters")
    if scaling is not None and "yarn" in (scaling.string("rope_type", "type") or ""):
        original = as_integer(scaling.value("original_max_position_embeddings"))
        factor = scaling.value("factor")
        if original and isinstance(factor, int | float) and 0 < factor < 1e6:
            view.sources["context"] = "computed: YaRN original length × factor"
            return int(original * factor)
    return stated


def _tied(view: ConfigView, root: ConfigView, family: Family) -> bool:
    """True where embedding and head are one. Where two levels contradict each other, one of them holds a default of its class:
    nobody writes that they are apart by default, so that one is believed."""
    keys = ("tie_word_embeddings", "tie_embeddings", "tied_embeddings", "weight_tying")
    between = root.sub("thinker_config")
    levels = [level for level in (view, between, root) if level is not None]
    stated = {level.where: flag for level in levels if (flag := level.flag(*keys)) is not None}
    is_filled = root.sub("decoder_config") is not None and root.sub("text_config") is not None
    if len(set(stated.values())) > 1 and (is_filled or root.raw.get("model_type") == view.raw.get("model_type")):
        stated.pop(
            root.where, None
        )  # a class filled the outermost level, the language model's or that of the whole (VibeVoice)
    if stated:
        tied = all(stated.values())
        where = next(where for where, flag in stated.items() if flag is tied)
        view.sources["tied_embeddings"] = f"{where}: tie_word_embeddings"
        return tied
    view.sources["tied_embeddings"] = "assumed: class default of tie_word_embeddings"
    return family.tied


def _mixers(view: ConfigView, design: Design) -> list[MixerSpec]:
    kinds = mixer_kinds(view, design.layers, design.family)
    specs_by_kind: dict[object, MixerSpec] = {}
    ratios = view.numbers("compress_ratios") or []
    specs: list[MixerSpec] = []
    for index, kind in enumerate(kinds):
        ratio = ratios[index] if kind == "compressed" and index < len(ratios) else 0
        key = (kind, ratio)
        if key not in specs_by_kind:
            specs_by_kind[key] = mixer_of(view, design.hidden, kind, ratio)
        specs.append(specs_by_kind[key])
    return _per_layer_changes(view, design, specs)


def mixer_of(view: ConfigView, hidden: int, kind: str, ratio: int = 0) -> MixerSpec:
    """Return the mixer that a config's sizes make of a word of ``layer_patterns``, which is less exact than a kind: ``mamba``, ``linear``."""
    if kind == "compressed":
        return mixer_specs.compressed_attention(view, ratio)
    if kind in ("full", "sliding") and as_integer(view.value("kv_lora_rank")) and view.flag("use_mla") is not False:
        return mixer_specs.latent_attention(view)
    if kind == "linear":
        return mixer_specs.linear(view, hidden)
    makers = {
        "mamba": mixer_specs.mamba,
        "conv": mixer_specs.short_convolution,
        "rglru": mixer_specs.recurrent_gate,
        "rwkv": mixer_specs.rwkv,
    }
    if kind in makers:
        return makers[kind](view, hidden)
    if kind == "none":
        return MixerSpec(kind=MixerKind.NONE)
    if kind == "hybrid":
        beside = mixer_specs.mamba(view, hidden)
        return replace(mixer_specs.attention(view, hidden, MixerKind.FULL), kind=MixerKind.HYBRID, beside=beside)
    return mixer_specs.attention(view, hidden, MixerKind(kind))


def _per_layer_changes(view: ConfigView, design: Design, specs: list[MixerSpec]) -> list[MixerSpec]:
    """Apply what differs by layer: shared caches, shared indexers, cross attention, NAS blocks, windows that never bite."""
    shared = as_integer(view.value("num_kv_shared_layers")) or 0
    if 0 < shared <= len(specs):
        specs = [replace(s, shares_kv=True) if i >= len(specs) - shared else s for i, s in enumerate(specs)]
    for key, field in (("num_attention_heads_per_layer", "heads"), ("num_key_value_heads_per_layer", "kv_heads")):
        own = view.numbers(key)
        if own is not None and len(own) == len(specs):
            specs = [_with_heads(s, field, n) for s, n in zip(specs, own, strict=True)]
    specs = _own_sizes(view, specs)
    kinds = view.words("layer_types") or []
    if "indexed_attention" in kinds:
        specs = [
            s if word == "indexed_attention" else _without_indexer(s) for s, word in zip(specs, kinds, strict=False)
        ]
    indexers = view.words("indexer_types")
    if indexers is not None:
        sharing = {i for i, word in enumerate(indexers) if word == "shared"}
        specs = [_without_indexer(s) if i in sharing else s for i, s in enumerate(specs)]
    sparse = view.sub("sparse_attention_config")
    sparse_flags = sparse.numbers("sparse_attention_freq") if sparse is not None else None
    if sparse_flags:
        specs = [s if i < len(sparse_flags) and sparse_flags[i] else _without_indexer(s) for i, s in enumerate(specs)]
    cross = set(view.numbers("cross_attention_layers") or [])
    specs = [replace(s, kind=MixerKind.CROSS) if i in cross else s for i, s in enumerate(specs)]
    blocks = view.value("block_configs")
    if isinstance(blocks, list) and len(blocks) == len(specs):
        specs = [_nas_block(s, b) for s, b in zip(specs, blocks, strict=True)]
    context = design.context
    if context is not None:
        specs = [replace(s, kind=MixerKind.FULL, window=None) if _never_bites(s, context) else s for s in specs]
    return specs


_OWN_SIZES = {
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "head_dim": "head_dim",
    "sliding_window": "window",
    "kv_lora_rank": "kv_lora_rank",
    "q_lora_rank": "q_lora_rank",
    "qk_nope_head_dim": "nope_head_dim",
    "v_head_dim": "v_head_dim",
}
"""Keys of ``per_layer_config`` (transformers 5.24), and what they are called in a specification."""


def _own_sizes(view: ConfigView, specs: list[MixerSpec]) -> list[MixerSpec]:
    """Apply the sizes that single layers have of their own."""
    by_layer = view.value("per_layer_config")
    if not isinstance(by_layer, dict):
        return specs
    own = {int(k): v for k, v in by_layer.items() if isinstance(k, str) and k.isascii() and k.isdigit() and len(k) < 6}
    return [_with_sizes(spec, own[i]) if i in own else spec for i, spec in enumerate(specs)]


def _with_sizes(spec: MixerSpec, sizes: object) -> MixerSpec:
    if not isinstance(sizes, dict):
        return spec
    changes = {_OWN_SIZES[k]: n for k, v in sizes.items() if k in _OWN_SIZES and (n := as_integer(v))}
    if spec.kind is MixerKind.MLA:
        latent = changes.get("kv_lora_rank", spec.kv_lora_rank) or 0
        changes |= {"kv_heads": 1, "head_dim": latent + (spec.rope_head_dim or 0)}
    elif "head_dim" in changes:
        changes.setdefault("v_head_dim", changes["head_dim"])
    return replace(spec, **changes)  # type: ignore[arg-type]


def _with_heads(spec: MixerSpec, field: str, number: int) -> MixerSpec:
    """A layer's own number of heads; without any it has no attention."""
    if traits(spec.kind).per_head_cache and not number:
        return MixerSpec(kind=MixerKind.NONE)
    return replace(spec, **{field: number}) if traits(spec.kind).per_head_cache and number else spec  # type: ignore[arg-type]


def _without_indexer(spec: MixerSpec) -> MixerSpec:
    return replace(spec, index_heads=None, index_head_dim=None)


def _never_bites(spec: MixerSpec, context: int) -> bool:
    return spec.kind is MixerKind.SLIDING and (not spec.window or spec.window >= context)


def _nas_block(spec: MixerSpec, block: object) -> MixerSpec:
    """One entry of Nemotron-NAS's block_configs: its own grouping of heads, or no attention at all."""
    attention = block.get("attention") if isinstance(block, dict) else None
    if not isinstance(attention, dict):
        return spec
    if attention.get("no_op") or attention.get("replace_with_linear"):
        return MixerSpec(kind=MixerKind.NONE if attention.get("no_op") else MixerKind.PROJECTION, inner=spec.head_dim)
    per_group = as_integer(attention.get("n_heads_in_group"))
    return replace(spec, kv_heads=spec.heads // per_group) if per_group and spec.heads else spec


def summarise_heads(design: Design) -> None:
    """Take the headline head counts from the first attention layer."""
    for spec in design.mixers:
        if traits(spec.kind).softmax:
            design.heads, design.head_dim = spec.heads, spec.head_dim
            named = as_integer(design.view.value("num_key_value_heads"))
            design.kv_heads = named if spec.kind is MixerKind.MLA and named else spec.kv_heads
            return
