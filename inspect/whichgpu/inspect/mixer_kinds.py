"""What kinds of token mixer there are, and what is true of each: the one table that every room asks.

A new kind is a member and a row here, a maker in ``mixer_specs``, its tensors in ``blueprint``, its state in ``facts`` where it
has one, and its cache in ``plan.kv_layers`` where that is of a new form. A kind without a row, or without what its row
promises, fails when this or those are imported, or in ``tests/test_mixer_kinds.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class MixerKind(StrEnum):
    """How a layer lets tokens see each other."""

    FULL = "full"
    SLIDING = "sliding"
    CHUNKED = "chunked"
    MLA = "mla"
    COMPRESSED = "compressed"
    """DeepSeek-V4's: a window, and compressed entries beyond it."""
    CROSS = "cross"
    ENCODER = "encoder"
    """Bidirectional: nothing is kept."""
    HYBRID = "hybrid"
    """Attention and Mamba 2 side by side in one layer."""
    MAMBA1 = "mamba1"
    MAMBA2 = "mamba2"
    GDN = "gdn"
    KDA = "kda"
    LIGHTNING = "lightning"
    CONV = "conv"
    RGLRU = "rglru"
    RWKV = "rwkv"
    PROJECTION = "projection"
    """A linear layer where attention was (puzzle models)."""
    NONE = "none"


class CacheForm(StrEnum):
    """What of a sequence one cache of a layer holds."""

    FULL = "full"
    WINDOW = "window"
    CHUNK = "chunk"
    FIXED = "fixed"
    """As much as an encoder puts out, whatever the sequence."""
    STATE = "state"
    """Blocks of recurrent state, which do not grow."""


@dataclass(frozen=True, slots=True)
class MixerTraits:
    """What is true of a kind."""

    words: str
    softmax: bool = False
    """Scores × values over heads."""
    recurrent: bool = False
    """Keeps a state per sequence."""
    rotary: bool = False
    """Rotates positions."""
    per_head_cache: bool = False
    """Caches keys and values of its heads; tensor parallelism divides them."""
    latent: bool = False
    """One latent for all heads, which every card of a tensor-parallel group keeps."""
    windowed: bool = False
    """Does not see all of a sequence."""
    form: CacheForm = CacheForm.FULL
    """Of the cache of keys and values."""
    silent: bool = False
    """Keeps nothing of a sequence."""
    state_paged: bool = False
    """vLLM keeps its state in pages of known size (vLLM 0.32 layers/mamba); without it, a recurrent kind's cache is unknown."""
    checkpointed: bool = False
    """vLLM keeps one more block of state as a prefill checkpoint."""
    split_by_heads: bool = False
    """Tensor parallelism deals its heads and groups, so that they must divide."""
    scaled: bool = False
    """An Attention layer of vLLM, which registers four FP32 scales."""
    attention_free: bool = False
    """vLLM plans a model of nothing but these without attention (is_attention_free)."""


TRAITS: dict[MixerKind, MixerTraits] = {
    MixerKind.FULL: MixerTraits("full attention", per_head_cache=True, softmax=True, rotary=True, scaled=True),
    MixerKind.SLIDING: MixerTraits(
        "sliding-window attention", per_head_cache=True, windowed=True, form=CacheForm.WINDOW, softmax=True, rotary=True, scaled=True
    ),
    MixerKind.CHUNKED: MixerTraits(
        "chunked attention", per_head_cache=True, windowed=True, form=CacheForm.CHUNK, softmax=True, rotary=True, scaled=True
    ),
    MixerKind.MLA: MixerTraits("latent attention (MLA)", latent=True, softmax=True, rotary=True, scaled=True),
    MixerKind.COMPRESSED: MixerTraits(
        "compressed sparse attention", softmax=True, rotary=True, latent=True, windowed=True
    ),
    MixerKind.CROSS: MixerTraits("cross attention", softmax=True, scaled=True, form=CacheForm.FIXED),
    MixerKind.ENCODER: MixerTraits("bidirectional attention", silent=True, scaled=True),
    MixerKind.HYBRID: MixerTraits(
        "attention and Mamba side by side",
        recurrent=True, per_head_cache=True, state_paged=True, checkpointed=True, softmax=True, rotary=True, scaled=True,
    ),
    MixerKind.MAMBA1: MixerTraits("Mamba", recurrent=True, state_paged=True, attention_free=True),
    MixerKind.MAMBA2: MixerTraits(
        "Mamba 2", recurrent=True, state_paged=True, checkpointed=True, split_by_heads=True, attention_free=True
    ),
    MixerKind.GDN: MixerTraits("gated delta net", recurrent=True, state_paged=True, split_by_heads=True),
    MixerKind.KDA: MixerTraits("Kimi delta attention", recurrent=True, state_paged=True, split_by_heads=True),
    MixerKind.LIGHTNING: MixerTraits("lightning attention", recurrent=True, state_paged=True, split_by_heads=True),
    MixerKind.CONV: MixerTraits("short convolution", recurrent=True, state_paged=True),
    MixerKind.RGLRU: MixerTraits("gated linear recurrence", recurrent=True),
    MixerKind.RWKV: MixerTraits("RWKV time mixing", recurrent=True),
    MixerKind.PROJECTION: MixerTraits("linear instead of attention", silent=True),
    MixerKind.NONE: MixerTraits("no mixer", silent=True, attention_free=True),
}  # fmt: skip


def traits(kind: MixerKind) -> MixerTraits:
    """Return what is true of a kind.

    Raises:
        KeyError: it has no row.
    """
    return TRAITS[kind]
