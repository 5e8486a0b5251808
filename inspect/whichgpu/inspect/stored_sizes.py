"""The kind of a stored layer's mixer and feed-forward block, and their sizes, from the names and shapes of its modules."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod
from typing import NamedTuple

from whichgpu.inspect.design import FfnSpec, MixerSpec
from whichgpu.inspect.mixer_kinds import MixerKind
from whichgpu.inspect.records import Part
from whichgpu.inspect.stored_layers import Matrix, StoredLayer, width

Sizes = dict[str, int]
"""Sizes by the names that ``MixerSpec`` and ``FfnSpec`` give them."""

_ATTENTION = r"(^|\.)(self_attn|self_attention|attn|attention|mixer|attention\.self|temporal_block|self_attn\.attn)\."
_QUERY = re.compile(_ATTENTION + r"(q_proj|[Ww]q|query|q)(\.linear)?$")
_KEY = re.compile(_ATTENTION + r"(k_proj|[Ww]k|key|k)(\.linear)?$")
_FUSED = re.compile(_ATTENTION + r"(qkv_proj|Wqkv|wqkv|c_attn|query_key_value|qkv|W_pack)$")
_OUTPUT = re.compile(_ATTENTION + r"(o_proj|[Ww]o|out_proj|dense|c_proj|out|output)(\.linear)?$")
_HEAD_NORM = re.compile(_ATTENTION + r"(q_norm|k_norm|q_layernorm|k_layernorm|query_layernorm|key_layernorm)$")
_DOWN = re.compile(
    r"(^|[._])(down_proj|w2|fc2|fc_out|c_proj|dense_4h_to_h|down|w_down|proj_down|output_linear|linear_fc2|ff_out)$"
)

ATTENTION_KINDS = frozenset(
    {MixerKind.FULL, MixerKind.SLIDING, MixerKind.CHUNKED, MixerKind.CROSS, MixerKind.ENCODER, MixerKind.LIGHTNING}
)
"""Kinds whose tensors bear the same names: which of them it is, a config alone says."""

_NOTHING = frozenset({MixerKind.NONE})


def mixer_kinds_of(layer: StoredLayer) -> frozenset[MixerKind] | None:
    """Return the kinds that a layer's tensors may be; ``None`` where names tell none."""
    recurrent = _recurrent_kind(layer)
    if recurrent is MixerKind.MAMBA2 or recurrent is MixerKind.MAMBA1:
        return frozenset({MixerKind.HYBRID if _has_attention(layer) else recurrent})
    if recurrent is not None:
        return frozenset({recurrent})
    names = layer.modules
    if any("compressor" in name for name in names):
        return frozenset({MixerKind.COMPRESSED})
    if any(re.search(r"(^|\.)kv_a_(proj|layernorm|norm)", name) for name in names):
        return frozenset({MixerKind.MLA})
    if _has_attention(layer):
        return ATTENTION_KINDS
    parts = set(layer.parts().values())
    fed = parts & {Part.DENSE_FFN, Part.ROUTED_EXPERTS}
    return _NOTHING if fed and parts <= _FEEDING else None


_FEEDING = frozenset({Part.DENSE_FFN, Part.ROUTED_EXPERTS, Part.SHARED_EXPERTS, Part.ROUTER, Part.NORM})


def _has_attention(layer: StoredLayer) -> bool:
    return any((_KEY.search(n) or _FUSED.search(n)) and "mamba" not in n for n in layer.modules)


def _recurrent_kind(layer: StoredLayer) -> MixerKind | None:
    names = layer.modules
    ends = {name.rpartition(".")[2] for name in names}
    if "A_log" in ends:
        if any("linear_attn" in n for n in names) and not ends & {"f_a_proj", "f_proj"}:
            return MixerKind.GDN if "conv1d" in ends else None
        if "q_conv1d" in ends or "q_conv" in ends or ends & {"f_a_proj", "f_proj"}:
            return MixerKind.KDA
        if "conv1d" in ends:
            return MixerKind.MAMBA1 if "x_proj" in ends else MixerKind.MAMBA2
        return None
    if any(n.endswith("conv.conv") for n in names):
        return MixerKind.CONV
    if any("rg_lru" in n for n in names):
        return MixerKind.RGLRU
    return MixerKind.RWKV if any("time_" in n for n in names) else None


def mixer_sizes(layer: StoredLayer, spec: MixerSpec, hidden: int) -> Sizes:
    """Return the sizes that a layer's tensors prove of a mixer of ``spec``'s kind; sizes that agree with it included."""
    read = _READERS.get(spec.kind)
    return read(layer, spec, hidden) if read is not None else {}


def has_indexer(layer: StoredLayer) -> bool:
    """True where a layer of latent attention picks what it looks at by keys of its own."""
    return any("indexer." in name for name in layer.modules)


def _one(layer: StoredLayer, *ends: str, within: str = "") -> Matrix | None:
    return next((m for n, m in layer.modules.items() if n.rpartition(".")[2] in ends and within in n), None)


def _matching(layer: StoredLayer, pattern: re.Pattern[str]) -> Matrix | None:
    return next((m for n, m in layer.modules.items() if pattern.search(n)), None)


class _Sides(NamedTuple):
    """Widths of all queries, keys and outputs of a layer's heads; ``None`` where no tensor tells."""

    queries: int | None
    keys: int | None
    output: int | None


def _sides(layer: StoredLayer, spec: MixerSpec, hidden: int) -> _Sides:
    queries, keys, output, fused = (
        width(_matching(layer, pattern), hidden) for pattern in (_QUERY, _KEY, _OUTPUT, _FUSED)
    )
    if queries is None and keys is None and fused is not None and output is not None and not spec.output_gate:
        return _Sides(output, (fused - output) // 2, output)
    return _Sides(queries, keys, output)


def explains(spec: MixerSpec, layer: StoredLayer, hidden: int) -> bool:
    """False where a layer's projections are not of as many heads as a mixer has, whose keys and values are kept per head."""
    if _READERS.get(spec.kind) is not _per_head or not spec.heads:
        return True
    return _fits(spec, _sides(layer, spec, hidden))


def _per_head(layer: StoredLayer, spec: MixerSpec, hidden: int) -> Sizes:
    """Heads, key/value heads and their width: the explanation of the projections' sides that differs least from the config."""
    sides = _sides(layer, spec, hidden)
    queries, keys, output = sides
    own = _head_norm(layer, queries)
    if queries is None or (_fits(spec, sides) and own in (None, spec.head_dim)) or not (own or spec.heads):
        return {}
    if output is not None and queries == 2 * output:
        queries = output  # the other half are gates
    choices = [own] if own else [queries // (spec.heads or 1), spec.head_dim, (keys or 0) // (spec.kv_heads or 1)]
    solutions = [s for d in choices if d and (s := _solved(spec, _Sides(queries, keys, output), d)) is not None]
    return min(
        solutions, key=lambda s: sum(getattr(spec, k) != s[k] for k in ("heads", "kv_heads", "head_dim")), default={}
    )


def _fits(spec: MixerSpec, sides: _Sides) -> bool:
    """True where the sides of the projections are what a mixer makes them, gates beside queries included."""
    heads, head_dim = spec.heads or 0, spec.head_dim or 0
    fits_keys = sides.keys is None or spec.shares_kv or sides.keys == (spec.kv_heads or 0) * head_dim
    is_gated = sides.output != sides.queries
    asked = {None, heads * head_dim, *((2 * heads * head_dim, heads * head_dim + heads) if is_gated else ())}
    return fits_keys and sides.queries in asked


def _head_norm(layer: StoredLayer, queries: int | None) -> int | None:
    """Width of a head, where a norm over one is stored."""
    lengths = {prod(m.shape) for n, m in layer.modules.items() if _HEAD_NORM.search(n) and m.times == 1}
    return lengths.pop() if len(lengths) == 1 and queries not in lengths else None


def _solved(spec: MixerSpec, sides: _Sides, head_dim: int) -> Sizes | None:
    queries, keys, output = sides.queries or 0, sides.keys, sides.output
    heads, kv_heads = queries // head_dim, (keys // head_dim if keys is not None else spec.kv_heads)
    if not heads or not kv_heads or queries % head_dim or (keys or 0) % head_dim or heads % kv_heads:
        return None
    values = output // heads if output is not None and output % heads == 0 else head_dim
    return {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "v_head_dim": values}


def _latent(layer: StoredLayer, spec: MixerSpec, hidden: int) -> Sizes:
    """Ranks of latent attention, and how many heads are made of them."""
    norm = _one(layer, "kv_a_layernorm", "kv_a_norm")
    down = width(_one(layer, "kv_a_proj_with_mqa", "kv_a_proj"), hidden)
    sizes: Sizes = {}
    if norm is not None and down is not None and down > (rank := prod(norm.shape)):
        sizes = {"kv_lora_rank": rank, "rope_head_dim": down - rank, "head_dim": down}
    query_rank = width(_one(layer, "q_a_proj"), hidden)
    if query_rank is not None:
        sizes["q_lora_rank"] = query_rank
    indexed = width(_one(layer, "wk", "wk_proj", "k_proj", within="indexer"), hidden)
    if indexed is not None:
        sizes["index_head_dim"] = indexed
    rope, nope, value = sizes.get("rope_head_dim", spec.rope_head_dim), spec.nope_head_dim, spec.v_head_dim
    output = width(_one(layer, "o_proj", "dense"), hidden)
    queries = width(_one(layer, "q_b_proj"), query_rank) or width(_one(layer, "q_proj"), hidden)
    if not output or not queries or not nope or not value or output % value:
        return sizes
    heads = output // value
    return sizes | ({"heads": heads} if queries == heads * (nope + (rope or 0)) else {})


def _gated_delta(layer: StoredLayer, spec: MixerSpec, hidden: int) -> Sizes:
    decay, norm, conv = _one(layer, "A_log"), _one(layer, "norm", within="linear_attn"), _one(layer, "conv1d")
    if decay is None or norm is None or conv is None or len(conv.shape) < 2:
        return {}
    heads, head_dim = prod(decay.shape), prod(norm.shape)
    keys = (conv.shape[0] - heads * head_dim) // 2
    key_dim = spec.key_dim or head_dim
    sizes = {"heads": heads, "head_dim": head_dim, "conv_kernel": conv.shape[-1]}
    return sizes | ({"key_heads": keys // key_dim, "key_dim": key_dim} if keys > 0 and keys % key_dim == 0 else {})


def _kimi_delta(layer: StoredLayer, spec: MixerSpec, hidden: int) -> Sizes:
    decay, conv = _one(layer, "A_log"), _one(layer, "q_conv1d", "q_conv")
    if decay is None or conv is None or len(conv.shape) < 2 or conv.shape[0] % prod(decay.shape):
        return {}
    heads = prod(decay.shape)
    return {"heads": heads, "head_dim": conv.shape[0] // heads, "conv_kernel": conv.shape[-1]}


def _mamba1(layer: StoredLayer, spec: MixerSpec, hidden: int) -> Sizes:
    decay, conv = _one(layer, "A_log"), _one(layer, "conv1d")
    if decay is None or len(decay.shape) != 2 or conv is None or not conv.shape:
        return {}
    inner, state = decay.shape
    sizes = {"inner": inner, "state_dim": state, "conv_kernel": conv.shape[-1]}
    rank = width(_one(layer, "dt_proj"), inner)
    return sizes | ({"dt_rank": rank} if rank else {})


def _mamba2(layer: StoredLayer, spec: MixerSpec, hidden: int) -> Sizes:
    decay, conv = _one(layer, "A_log"), _one(layer, "conv1d")
    inner = width(_one(layer, "out_proj"), hidden)
    if decay is None or conv is None or not inner or len(conv.shape) < 2 or inner % prod(decay.shape):
        return {}
    heads, rest, groups = prod(decay.shape), conv.shape[0] - inner, spec.groups or 1
    sizes = {"heads": heads, "head_dim": inner // heads, "inner": inner, "conv_kernel": conv.shape[-1]}
    return sizes | ({"state_dim": rest // (2 * groups)} if rest > 0 and rest % (2 * groups) == 0 else {})


def _short_convolution(layer: StoredLayer, spec: MixerSpec, hidden: int) -> Sizes:
    conv = _matching(layer, re.compile(r"conv\.conv$"))
    return {"inner": conv.shape[0], "conv_kernel": conv.shape[-1]} if conv is not None and conv.shape else {}


_READERS: dict[MixerKind, Callable[[StoredLayer, MixerSpec, int], Sizes]] = {
    MixerKind.FULL: _per_head,
    MixerKind.SLIDING: _per_head,
    MixerKind.CHUNKED: _per_head,
    MixerKind.HYBRID: _per_head,
    MixerKind.MLA: _latent,
    MixerKind.GDN: _gated_delta,
    MixerKind.KDA: _kimi_delta,
    MixerKind.MAMBA1: _mamba1,
    MixerKind.MAMBA2: _mamba2,
    MixerKind.CONV: _short_convolution,
}


def ffn_kind(layer: StoredLayer) -> str | None:
    """``moe``, ``dense`` or ``none`` by a layer's tensors; ``None`` where names tell none of them."""
    parts = layer.parts()
    if any(part is Part.ROUTED_EXPERTS for part in parts.values()):
        return "moe"
    if any(part is Part.DENSE_FFN for part in parts.values()):
        return "dense"
    known = {Part.ATTENTION, Part.SSM, Part.NORM}
    return "none" if parts and set(parts.values()) <= known and mixer_kinds_of(layer) is not None else None


def ffn_sizes(layer: StoredLayer, spec: FfnSpec, hidden: int) -> Sizes:
    """Return the sizes of a feed-forward block of ``spec``'s kind: experts and their width, or the width of a dense block."""
    parts = layer.parts()

    def down(part: Part) -> Matrix | None:
        """The projection back of a part's blocks, and how many of them there are, stored one by one or in one tensor."""
        name = next((n for n in layer.modules if parts[n] is part and _DOWN.search(n)), None)
        if name is None:
            return None
        matrix = layer.modules[name]
        if len(matrix.shape) == 3:
            return Matrix(matrix.shape[1:], matrix.shape[0])
        in_rows = part is Part.ROUTED_EXPERTS and "*" not in name  # all of them in one matrix (DBRX)
        return None if in_rows else matrix

    if spec.kind == "dense":
        inner = width(down(Part.DENSE_FFN), hidden)
        return {"intermediate": inner} if inner else {}
    expert, shared = down(Part.ROUTED_EXPERTS), down(Part.SHARED_EXPERTS)
    if spec.kind != "moe" or expert is None:
        return {}
    inner, shared_inner = width(expert, spec.latent or hidden), width(shared, hidden)
    sizes = {"experts": expert.times} | ({"intermediate": inner} if inner else {})
    return sizes | ({"shared_intermediate": shared_inner * shared.times} if shared and shared_inner else {})
