"""What each kind of layer caches: pages, and how many of them a sequence holds.

Source: vLLM 0.32 v1/kv_cache_interface.py (page sizes, blocks per request), layers/mamba/mamba_utils.py (states),
models/deepseek_v4 and the indexer caches (fp8_ds_mla, rounded to 576 bytes).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import lcm

from whichgpu.inspect.mixer_kinds import CacheForm, MixerKind, traits
from whichgpu.inspect.records import Architecture, Inspection, Mixer
from whichgpu.plan.case import ServedModel
from whichgpu.plan.records import Generation, KvDtype

_WIDTH = {"bf16": 2, "fp8": 1}
_INDEXER_GROUP, _SCALE = 128, 4
"""The sparse indexer's cache: FP8 values with one FP32 scale for each 128 of them (vLLM 0.32 models/deepseek_v2.py)."""

_SPARSE_FP8_BYTES = 656
"""fp8_ds_mla: 512 FP8 values, 16 bytes of scales, 64 BF16 rotary values per token (Hopper's sparse kernels)."""
_SPARSE_FP8_WIDTHS = (512, 64)
"""The only latent and rotary widths that this layout has."""

_V4_HEAD, _V4_TOKEN, _V4_ALIGNMENT = 512, 584, 576
"""DeepSeek-V4: vLLM packs 448 FP8 values, 64 BF16 rotary values and 8 bytes of scales, whatever the config says, so its
cache is known for heads of 512 alone; pages are rounded up (vLLM 0.32 models/deepseek_v4/attention.py)."""

_CHOSEN_TOKENS = 2048
"""``index_topk`` of DeepSeek-V3.2 and GLM-5; DeepSeek-V4-Flash chooses 512 entries of four tokens."""

_STATE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class CacheLayer:
    """One layer's cache on one card."""

    kind: CacheForm
    page: int
    """Bytes of one block."""
    block: int
    """Tokens per block; 0 for states, whose pages do not depend on tokens."""
    span: int = 0
    """Tokens that a window, a chunk or a fixed cache holds."""
    held: int = 0
    """Blocks of state that a sequence holds."""
    mla: bool = False
    chosen: int = 0
    """Tokens whose entries a step reads at most, where an indexer chooses them; 0 for all."""
    padded: bool = False
    """True once the page was padded to that of other layers."""

    @property
    def token_bytes(self) -> float:
        """Bytes per token."""
        return self.page / self.block if self.block else 0.0

    def blocks(self, tokens: int, in_flight: int, shared: int, step: int = 0) -> int:
        """Blocks that a sequence of ``tokens`` holds.

        ``in_flight``: tokens scheduled but not settled; ``shared``: cards that share one sequence's cache; ``step``:
        tokens of one batch, which vLLM sets aside for an encoder's output.
        """
        if self.kind is CacheForm.FULL:
            local = -(-tokens // shared)
            return -(-local // self.block)
        if self.kind is CacheForm.WINDOW:
            return -(-min(self.span - 1 + in_flight, tokens) // self.block) + 1
        if self.kind is CacheForm.CHUNK:
            return -(-min(self.span + in_flight, tokens) // self.block)
        return -(-max(self.span, step) // self.block) if self.kind is CacheForm.FIXED else self.held


@dataclass(frozen=True, slots=True)
class CacheSetting:
    """What the pages depend on beside the model."""

    kv_dtype: str
    tp: int = 1
    block: int = 16
    """Tokens per block that the attention backend takes."""
    state_blocks: int = 2
    speculative: int = 0
    scaled_latent: bool = True
    """An FP8 cache of sparse latent attention carries its scales (fp8_ds_mla); Blackwell's and ROCm's do not."""
    delta_checkpoints: bool = False
    """The card's kernels emit states of gated delta nets on the way."""
    draft: tuple[Mixer, ...] = ()
    """Layers of a draft model, which share the pool."""
    windows: bool = True
    """False sizes windows and chunks as full attention (no hybrid cache manager)."""


def kv_dtype_of(inspection: Inspection, kv_dtype: KvDtype, by_default: str = "bf16") -> str:
    """Resolve ``auto``: what the checkpoint asks for, else ``by_default``; DeepSeek-V4 always keeps its own FP8 layout."""
    mixers = inspection.architecture.mixers if inspection.architecture else ()
    if any(m.kind is MixerKind.COMPRESSED for m in mixers):
        return "fp8"
    if kv_dtype is not KvDtype.AUTO:
        return kv_dtype.value
    declared = inspection.quantisation.kv_cache if inspection.quantisation else None
    return "fp8" if declared and "fp8" in declared else by_default


def default_kv_dtype(model: ServedModel, generation: Generation) -> str:
    """What ``auto`` is on a card where the checkpoint says nothing (vLLM 0.33 models/config.py: FP8 for indexed latents of
    some classes on SM10x)."""
    architecture = model.architecture
    if architecture is None or not generation.fp8_indexed_cache:
        return "bf16"
    indexed = any(m.index_head_dim for m in architecture.mixers)
    return "fp8" if indexed and any(n.startswith(model.engine.fp8_caches) for n in architecture.names) else "bf16"


def _holds_keys(kind: MixerKind) -> bool:
    """True for attention over what the sequence itself has said: per head, or as one latent."""
    return traits(kind).per_head_cache or kind is MixerKind.MLA


def is_counted(mixer: Mixer, kv_dtype: str = "bf16") -> bool:
    """True when the record holds every size that this kind of layer's cache depends on, and vLLM's layout for them is known."""
    if mixer.index_head_dim and mixer.kind is MixerKind.MLA and kv_dtype == "fp8":
        return (mixer.kv_lora_rank, mixer.rope_head_dim) == _SPARSE_FP8_WIDTHS and is_counted(mixer)
    if mixer.shares_kv or traits(mixer.kind).silent:
        return True
    if mixer.index_head_dim and traits(mixer.kind).latent and mixer.index_head_dim % _INDEXER_GROUP:
        return False
    if mixer.kind is MixerKind.MLA:
        return bool(mixer.kv_lora_rank)
    if mixer.kind is MixerKind.COMPRESSED:
        indexed = mixer.compress_ratio != 4 or bool(mixer.index_head_dim)
        return mixer.compress_ratio in (0, 4, 128) and mixer.head_dim == _V4_HEAD and indexed
    if mixer.kind is MixerKind.HYBRID and not (mixer.state_size or mixer.conv_size):
        return False
    if traits(mixer.kind).per_head_cache or mixer.kind is MixerKind.CROSS:
        return bool(mixer.kv_heads and mixer.head_dim)
    return traits(mixer.kind).state_paged and bool(mixer.state_size or mixer.conv_size)


def block_size(architecture: Architecture | None, generation: Generation) -> int:
    """Tokens per block of the attention backend that vLLM 0.32 chooses (platforms/cuda.py)."""
    mixers = architecture.mixers if architecture else ()
    latent = any(m.kind is MixerKind.MLA for m in mixers)
    if any(m.index_head_dim for m in mixers):
        return generation.indexed_latent_block if latent else _INDEXED_BLOCK
    return generation.latent_block if latent else generation.block


_INDEXED_BLOCK = 128
_CHECKPOINT_STRIDE = 64
"""Tokens between the states that FlashInfer's prefill of gated delta nets emits (vLLM 0.33 qwen_gdn_linear_attn.py)."""


def cache_layers(model: ServedModel, setting: CacheSetting) -> list[tuple[int, CacheLayer]]:
    """Return (index of the model's layer, cache) pairs; a layer can have several caches.

    With speculative decoding the next-token layers come last, each with one more attention cache.
    """
    architecture, classes = model.architecture, model.engine.classes
    if architecture is None or not architecture.mixers:
        return []
    layout = architecture.mixer_layout or _sequential_layout(architecture.mixers)
    whole = (architecture.model_type or "").startswith(classes.full_latent_caches)
    mixers = [_with_full_cache(m) if whole and m.kind is MixerKind.MLA else m for m in architecture.mixers]
    exported = model.engine.delta_checkpoints if setting.delta_checkpoints else ()
    exports = any(name.startswith(exported) for name in architecture.names)
    setting = _enlarge_block(mixers, setting, _CHECKPOINT_STRIDE if exports else 1)
    delta = exports or any(name.startswith(classes.checkpointed_delta) for name in architecture.names)
    per_mixer = [tuple(_layers(m, setting, delta)) for m in mixers]
    layer_caches = [(i, cache) for i, mixer in enumerate(layout) for cache in per_mixer[mixer]]
    if setting.draft:
        drafted = [cache for m in setting.draft for _ in range(m.layers) for cache in _layers(m, setting, False)]
        layer_caches += [(len(layout) - 1, cache) for cache in drafted]
    elif setting.speculative and architecture.mtp_layers:
        last = next((m for m in reversed(layout) if _holds_keys(architecture.mixers[m].kind)), None)
        if last is not None:
            layer_caches += [(len(layout) - 1, cache) for cache in per_mixer[last]]
    return layer_caches


def _with_full_cache(mixer: Mixer) -> Mixer:
    """Latent attention as the full attention that its class in vLLM caches it as."""
    width = (mixer.nope_head_dim or 0) + (mixer.rope_head_dim or 0)
    return mixer.model_copy(
        update={"kind": MixerKind.FULL, "kv_heads": mixer.heads, "head_dim": width, "v_head_dim": width}
    )


def _sequential_layout(mixers: Sequence[Mixer]) -> list[int]:
    """Encoder-decoders have several caches per layer: take them one after the other."""
    return [index for index, mixer in enumerate(mixers) for _ in range(mixer.layers)]


def _enlarge_block(mixers: Sequence[Mixer], setting: CacheSetting, stride: int) -> CacheSetting:
    """Raise the block until an attention page holds a state (vLLM 0.33 platforms/interface.py).

    ``stride`` is that of the states that a prefill emits on its way: they land on blocks' ends.
    """
    state = max((_state_page(m, setting) for m in mixers if traits(m.kind).state_paged), default=0)
    attention = [_token_bytes(m, setting) for m in mixers if _holds_keys(m.kind) and not m.shares_kv]
    if not state or not attention or not max(attention):
        return setting
    align = lcm(max(128 if any(m.kind is MixerKind.MLA for m in mixers) else 16, setting.block), stride)
    return replace(setting, block=align * -(-state // (align * max(attention))))


def _layers(mixer: Mixer, setting: CacheSetting, delta: bool) -> Iterator[CacheLayer]:
    if mixer.shares_kv or traits(mixer.kind).silent or not is_counted(mixer):
        return
    if mixer.kind is MixerKind.COMPRESSED:
        yield from _compressed_caches(mixer)
        return
    if _holds_keys(mixer.kind) or mixer.kind is MixerKind.CROSS:
        yield _attention(mixer, setting)
    if mixer.index_head_dim and mixer.kind is MixerKind.MLA:
        yield CacheLayer(CacheForm.FULL, _indexer_bytes(mixer) * setting.block, setting.block, mla=True)
    if mixer.index_head_dim and mixer.kind is MixerKind.FULL:
        yield CacheLayer(CacheForm.FULL, mixer.index_head_dim * 2 * setting.block, setting.block)  # keys alone, BF16
    if traits(mixer.kind).state_paged:
        page = _state_page(mixer, setting)
        checkpoint = setting.state_blocks > 1 and (traits(mixer.kind).checkpointed or delta)
        if page:
            yield CacheLayer(CacheForm.STATE, page, 0, held=setting.state_blocks + setting.speculative + checkpoint)


def _attention(mixer: Mixer, setting: CacheSetting) -> CacheLayer:
    page = _token_bytes(mixer, setting) * setting.block
    form = traits(mixer.kind).form
    if form in (CacheForm.WINDOW, CacheForm.CHUNK) and (not setting.windows or not mixer.window):
        form = CacheForm.FULL
    span = mixer.window or 0 if form is not CacheForm.FULL else 0
    latent = mixer.kind is MixerKind.MLA
    chosen = _CHOSEN_TOKENS if mixer.index_head_dim else 0
    return CacheLayer(form, page, setting.block, span=span, mla=latent, chosen=chosen)


def _token_bytes(mixer: Mixer, setting: CacheSetting) -> int:
    """Bytes per token of one layer's keys and values on one card."""
    width = _WIDTH[setting.kv_dtype]
    if mixer.kind is MixerKind.MLA:
        if mixer.index_head_dim and setting.kv_dtype == "fp8" and setting.scaled_latent:
            return _SPARSE_FP8_BYTES
        return ((mixer.kv_lora_rank or 0) + (mixer.rope_head_dim or 0)) * width
    heads = max(1, -(-(mixer.kv_heads or 0) // setting.tp))
    return heads * ((mixer.head_dim or 0) + (mixer.v_head_dim or mixer.head_dim or 0)) * width


def _state_page(mixer: Mixer, setting: CacheSetting) -> int:
    """Bytes of one layer's convolution and recurrent state on one card."""
    tp = setting.tp
    recurrent = (mixer.state_size or 0) * _STATE_BYTES.get(mixer.state_dtype or "bfloat16", 2)
    conv = mixer.conv_size or 0
    if mixer.groups == 1 and tp > 1:
        conv += (tp - 1) * (mixer.group_conv_size or 0)  # the single group is kept on every card
    if setting.speculative and mixer.conv_kernel and mixer.conv_kernel > 1:
        conv = conv // (mixer.conv_kernel - 1) * (mixer.conv_kernel - 1 + setting.speculative)
    return (recurrent + conv * 2) // tp


def _indexer_bytes(mixer: Mixer) -> int:
    """Bytes of one entry of the sparse indexer's cache."""
    width = mixer.index_head_dim or 0
    return width + width // _INDEXER_GROUP * _SCALE


def _compressed_caches(mixer: Mixer) -> Iterator[CacheLayer]:
    """DeepSeek-V4: a window everywhere; beyond it compressed entries, with states of the compressors.

    A block is 256 tokens, so 64 entries at ratio 4 and two at ratio 128. A compressor keeps FP32 sums and scores of twice
    its ratio in blocks of 4 tokens (ratio 4), of its ratio in blocks of 8 (ratio 128).
    """
    head, index = mixer.head_dim or 0, mixer.index_head_dim or 0
    yield CacheLayer(CacheForm.WINDOW, _aligned(64 * _V4_TOKEN), 64, span=mixer.window or 128, mla=True)
    if mixer.compress_ratio == 4:
        yield CacheLayer(CacheForm.FULL, _aligned(64 * _V4_TOKEN), 256, mla=True, chosen=_CHOSEN_TOKENS)
        yield CacheLayer(CacheForm.FULL, _aligned(64 * _indexer_bytes(mixer)), 256, mla=True)
        yield CacheLayer(CacheForm.WINDOW, _aligned(4 * _compressor_bytes(2 * head)), 4, span=8, mla=True)
        yield CacheLayer(CacheForm.WINDOW, _aligned(4 * _compressor_bytes(2 * index)), 4, span=8, mla=True)
    elif mixer.compress_ratio == 128:
        yield CacheLayer(CacheForm.FULL, _aligned(2 * _V4_TOKEN), 256, mla=True)
        yield CacheLayer(CacheForm.WINDOW, _aligned(8 * _compressor_bytes(head)), 8, span=128, mla=True)


def _aligned(size: int) -> int:
    return -(-size // _V4_ALIGNMENT) * _V4_ALIGNMENT


def _compressor_bytes(width: int) -> int:
    """FP32 sums and scores of one token."""
    return 2 * 4 * width
