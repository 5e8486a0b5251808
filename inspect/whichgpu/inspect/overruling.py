"""Headers overrule a config: the design as the tensors have it, and in words where the config says otherwise.

What a config does not say, and a rule of ours filled in, is taken from the tensors without a word.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from whichgpu.inspect.architecture import mixer_of, read_design, summarise_heads
from whichgpu.inspect.classify import EXPERTS, RECURRENT, shown
from whichgpu.inspect.companions import second_stacks
from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.design import Design, FfnSpec, MixerSpec
from whichgpu.inspect.feed_forwards import TOP_K_KEYS, first_integer
from whichgpu.inspect.mixer_kinds import MixerKind, traits
from whichgpu.inspect.mixer_specs import attention
from whichgpu.inspect.stored_layers import Stored, StoredLayer
from whichgpu.inspect.stored_sizes import Sizes, explains, ffn_kind, ffn_sizes, has_indexer, mixer_kinds_of, mixer_sizes
from whichgpu.inspect.text import clean

HEADERS = "tensor headers"

_WORDS = {
    "heads": "attention heads",
    "kv_heads": "key/value heads",
    "head_dim": "elements per head",
    "v_head_dim": "elements per value head",
    "kv_lora_rank": "elements of KV latent",
    "q_lora_rank": "elements of query latent",
    "rope_head_dim": "rotated elements per head",
    "index_head_dim": "elements of indexer key",
    "key_heads": "key heads",
    "key_dim": "elements per key head",
    "inner": "elements inside the mixer",
    "state_dim": "elements of state",
    "conv_kernel": "tokens of convolution",
    "dt_rank": "elements of step rank",
    "intermediate": "elements of feed-forward width",
    "experts": "experts",
    "shared_intermediate": "elements of shared-expert width",
}
_MAMBA_HEADS = ("mamba_num_heads", "mamba_n_heads", "n_mamba_heads")
_PATTERN_KEYS = (
    "layer_types", "layers_block_type", "block_types", "_block_types", "hybrid_override_pattern", "attn_type_list",
    "full_attn_idxs", "attn_layer_indices", "attn_layer_period", "full_attention_interval", "layer_group_size",
    "linear_attn_config", "kv_lora_rank",
)  # fmt: skip
_FFN_KEYS = (
    "hybrid_override_pattern", "mlp_layer_types", "layers_block_type", "moe_layer_freq", "expert_layer_period", "decoder_sparse_step",
    "first_k_dense_replace", "mlp_only_layers", "moe_layers", "num_experts", "n_routed_experts", "num_local_experts",
)  # fmt: skip
_DRAFT_KEYS = ("mtp_num_hidden_layers", "num_nextn_predict_layers")
_GENERIC = {
    MixerKind.MLA: "full",
    MixerKind.GDN: "linear",
    MixerKind.KDA: "linear",
    MixerKind.MAMBA1: "mamba",
    MixerKind.MAMBA2: "mamba",
    MixerKind.HYBRID: "hybrid",
    MixerKind.CONV: "conv",
    MixerKind.RGLRU: "rglru",
    MixerKind.RWKV: "rwkv",
    MixerKind.NONE: "none",
}
"""Words of ``layer_patterns`` for the kinds that names of tensors tell."""


_KEYS = {
    "heads": ("num_attention_heads", "swa_num_attention_heads", "num_attention_heads_per_layer", "linear_num_value_heads", *_MAMBA_HEADS),
    "kv_heads": (
        "num_key_value_heads", "swa_num_key_value_heads", "num_global_key_value_heads", "num_key_value_heads_per_layer"
    ),
    "head_dim": ("head_dim", "swa_head_dim", "global_head_dim", "linear_value_head_dim", "mamba_head_dim", "mamba_d_head"),
    "v_head_dim": ("v_head_dim", "swa_v_head_dim"),
    "index_head_dim": ("index_head_dim",),
    "key_heads": ("linear_num_key_heads",),
    "key_dim": ("linear_key_head_dim",),
    "inner": ("mamba_d_ssm", "mamba_intermediate_size", "conv_dim"),
    "state_dim": ("ssm_state_size", "mamba_d_state", "state_size"),
    "conv_kernel": ("linear_conv_kernel_dim", "conv_kernel", "mamba_d_conv", "d_conv", "conv_L_cache"),
    "dt_rank": ("time_step_rank", "mamba_dt_rank"),
}  # fmt: skip
"""Keys that say a size of some kind of layer: of those that are there, the one that has the number is meant."""


def _stated_by(view: ConfigView, name: str, number: int) -> str | None:
    """The key that says a number, or ``None`` where a rule of ours gave it."""
    for key in _KEYS.get(name, ()):
        if as_integer(view.raw.get(key)) == number or number in (view.numbers(key) or ()):
            return f"{view.where}: {key}"
    source = view.sources.get(name)
    return None if source is None or source.startswith(("assumed", "computed", HEADERS)) else source


@dataclass(slots=True)
class _Differences:
    """Layers by what the config says of them and what the headers hold, in the order of the model."""

    view: ConfigView
    layers: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    unnamed: dict[str, None] = field(default_factory=dict)
    """What tensors show and no key names."""
    unexplained: list[int] = field(default_factory=list)
    """Layers whose projections no number of heads explains."""
    read: set[str] = field(default_factory=set)
    """Names of the sizes that the tensors have otherwise."""

    def note(self, claim: str, content: str, layer: int) -> None:
        self.layers.setdefault((claim, content), []).append(layer)

    def sizes(self, spec: MixerSpec | FfnSpec, sizes: Sizes, layer: int) -> dict[str, int]:
        """Note what differs between a specification and what a layer's tensors prove; return it."""
        changes = {name: number for name, number in sizes.items() if getattr(spec, name) != number}
        for name, number in changes.items():
            before = getattr(spec, name)
            source_name = "expert_intermediate" if name == "intermediate" and spec.kind == "moe" else name
            self.read.add(source_name)
            key = _stated_by(self.view, source_name, before) if before is not None else None
            if key is not None:
                self.note(f"{key} says {before:,}", f"{number:,} {_WORDS[name]}", layer)
        return changes

    def kind(self, keys: tuple[str, ...], claim: str, content: str, unnamed: str, layer: int) -> None:
        """Note what a layer is; where no key says that, what the config has no word for."""
        key = _key(self.view, keys)
        if key is None and unnamed:
            self.unnamed.setdefault(unnamed)
        else:
            self.note(f"{key or self.view.where} makes {claim} of it", f"those of {content}", layer)

    def texts(self, count: int) -> list[str]:
        """The differences as sentences."""
        texts = [
            f"{claim}, but the tensors of {_which(indices, count)} have {content}; the tensors count."
            for (claim, content), indices in self.layers.items()
        ]
        if self.unexplained:
            layers = _which(self.unexplained, count)
            texts.append(
                f"No number of heads explains the projections of {layers}; heads are those of {self.view.where}."
            )
        return texts + [shown(what) for what in self.unnamed]


def _which(indices: list[int], count: int) -> str:
    if len(indices) == count:
        return "all layers"
    return f"layer {indices[0]}" if len(indices) == 1 else f"{len(indices)} of {count} layers (first {indices[0]})"


def overruled(root: ConfigView, design: Design, stored: Stored) -> tuple[Design, list[str]]:
    """Return the design with the tensors' layers, kinds, experts, heads and head, and the disagreements in words.

    Args:
        root: the whole config.
        design: what it describes.
        stored: what the headers hold.
    """
    if not _is_comparable(root, design, stored):
        return design, []
    design, texts = _with_own_size(root, design, stored)
    differences = _Differences(design.view)
    for index, layer in enumerate(stored.layers[: design.layers]):
        design.mixers[index] = _mixer(design, layer, index, differences)
        design.ffns[index] = _ffn(design, layer, index, differences)
    design.view.sources.update(dict.fromkeys(differences.read, f"{HEADERS}: shapes"))
    summarise_heads(design)
    texts += differences.texts(design.layers)
    texts += _drafts(design, stored) + _tying(root, design, stored)
    return design, [text.replace(".: ", ".") for text in texts]  # as a nested key is written in a sentence


def _is_comparable(root: ConfigView, design: Design, stored: Stored) -> bool:
    """False where a layer of the design is not one layer of the stack: shared blocks, double layers, second stacks."""
    view = design.view
    shares = view.value("num_mem_blocks", "num_layers_per_stack", "zero_expert_num", "cross_layer_interval") is not None
    is_special = design.family.attention_experts or design.family.shared_feed_forwards
    return bool(stored.layers) and not shares and not is_special and not any(True for _ in second_stacks(root))


def _layer_count(design: Design, stored: Stored) -> int:
    count = len(stored.layers)
    if count <= design.layers:
        # blocks that a search left out of the end have no tensors at all
        rest = zip(design.mixers[count:], design.ffns[count:], strict=True)
        return design.layers if all(m.kind is MixerKind.NONE and f.kind == "none" for m, f in rest) else count
    return design.layers if count - design.layers <= design.mtp_layers - stored.drafts else count


def _with_own_size(root: ConfigView, design: Design, stored: Stored) -> tuple[Design, list[str]]:
    """The design with as many layers as there are, and as wide as their norms, on which every other size hangs."""
    count, hidden = _layer_count(design, stored), stored.hidden or design.hidden
    own_design = (
        read_design(root, hidden=hidden, layers=count) if (count, hidden) != (design.layers, design.hidden) else None
    )
    if own_design is None:
        return design, []
    texts: list[str] = []
    contents = (
        ("layers", design.layers, count, f"{count:,} layers ({clean(stored.prefix)}*)"),
        ("hidden", design.hidden, hidden, f"layers {hidden:,} wide"),
    )
    for name, number, own_number, content in contents:
        if number != own_number:
            key = design.view.sources.get(name) or design.view.where
            texts.append(f"{key} says {number:,}, but the headers hold {content}; the tensors count.")
            own_design.view.sources[name] = f"{HEADERS}: names and shapes"
    return own_design, texts


def _mixer(design: Design, layer: StoredLayer, index: int, differences: _Differences) -> MixerSpec:
    spec, kinds = design.mixers[index], mixer_kinds_of(layer)
    if kinds is None or spec.kind is MixerKind.PROJECTION:
        return spec
    if spec.kind not in kinds:
        words = traits(spec.kind).words
        spec = _of_kind(design, kinds)
        unnamed = RECURRENT if traits(spec.kind).recurrent else ""
        differences.kind(_PATTERN_KEYS, words, traits(spec.kind).words, unnamed, index)
        return replace(spec, **mixer_sizes(layer, spec, design.hidden))  # type: ignore[arg-type]
    beside = spec.beside
    if beside is not None:
        own = differences.sizes(beside, mixer_sizes(layer, beside, design.hidden), index)
        spec = replace(spec, beside=replace(beside, **own)) if own else spec  # type: ignore[arg-type]
    changes = differences.sizes(spec, mixer_sizes(layer, spec, design.hidden), index)
    spec = replace(spec, **changes) if changes else spec  # type: ignore[arg-type]
    if not explains(spec, layer, design.hidden):
        differences.unexplained.append(index)
    if spec.kind is MixerKind.MLA and spec.index_head_dim and not has_indexer(layer):
        key = _stated_by(design.view, "index_head_dim", spec.index_head_dim) or design.view.where
        differences.note(f"{key} says {spec.index_head_dim:,}", "no indexer", index)
        spec = replace(spec, index_heads=None, index_head_dim=None)
    return spec


def _of_kind(design: Design, kinds: frozenset[MixerKind]) -> MixerSpec:
    """A mixer of one of the kinds: as another layer has it, else with what the config says of its sizes."""
    neighbour = next((m for m in design.mixers if m.kind in kinds), None)
    if neighbour is not None:
        return neighbour
    if MixerKind.FULL in kinds:
        return attention(design.view, design.hidden, MixerKind.FULL)
    kind = next(iter(kinds))
    word = _GENERIC.get(kind)
    spec = mixer_of(design.view, design.hidden, word) if word else MixerSpec(kind=kind)
    return spec if spec.kind in kinds else MixerSpec(kind=kind)


def _key(view: ConfigView, keys: tuple[str, ...]) -> str | None:
    """The key that says what a layer is."""
    key = next((key for key in keys if key in view.raw), None)
    return f"{view.where}: {key}" if key is not None else None


def _ffn(design: Design, layer: StoredLayer, index: int, differences: _Differences) -> FfnSpec:
    spec, kind = design.ffns[index], ffn_kind(layer)
    has_own = design.mixers[index].kind is MixerKind.RWKV  # channel mixing, which counts with the mixer
    if kind is None or spec.image_intermediate or has_own:
        return spec
    if spec.kind == kind:
        changes = differences.sizes(spec, ffn_sizes(layer, spec, design.hidden), index)
        return replace(spec, **changes) if changes else spec  # type: ignore[arg-type]
    top_k = first_integer(design.view, "top_k", *TOP_K_KEYS) if kind == "moe" else None
    like = next((f for f in design.ffns if f.kind == kind), FfnSpec(kind=kind, gated=spec.gated, top_k=top_k))
    differences.kind(_FFN_KEYS, _BLOCKS[spec.kind], _BLOCKS[kind], EXPERTS if kind == "moe" else "", index)
    return replace(like, **ffn_sizes(layer, like, design.hidden))  # type: ignore[arg-type]


_BLOCKS = {"moe": "a mixture of experts", "dense": "a dense feed-forward block", "none": "no feed-forward block"}


def _drafts(design: Design, stored: Stored) -> list[str]:
    """Next-token layers that a config names and a copy has left out."""
    if not design.mtp_layers or stored.has_drafts or len(stored.layers) > design.layers:
        return []
    key = _key(design.view, _DRAFT_KEYS)
    text = f"{key} says {design.mtp_layers}, but no tensor is a next-token layer's; the tensors count."
    design.mtp_layers = 0
    return [text] if any(key in design.view.raw for key in _DRAFT_KEYS) else []


def _tying(root: ConfigView, design: Design, stored: Stored) -> list[str]:
    """One matrix for embedding and head where no head is stored.

    A head that is stored although the config ties it is left as it is: engines go by the config and don't load it (vLLM 0.33
    models/llama.py, skip_prefixes).
    """
    names = root.words("architectures") or []
    generates = any(name.endswith(("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")) for name in names)
    source = design.view.sources.get("tied_embeddings", "")
    has_key = not source.startswith("assumed")
    if stored.has_head and design.tied and has_key and not design.family.stores_tied_head:
        return [f"{source} is true, but the headers hold a head too; engines that go by the config don't load it."]
    if stored.has_head is not False or design.tied or not generates or design.family.bare_head:
        return []
    design.tied = True
    design.view.sources["tied_embeddings"] = f"{HEADERS}: no head is stored"
    return [f"{source} is false, but the headers hold no head; the embedding counts as both."] if has_key else []
