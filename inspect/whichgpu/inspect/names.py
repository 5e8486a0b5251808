"""What a tensor is, from its name: patterns, parts, buffers and scales."""

from __future__ import annotations

import re
from functools import lru_cache

from whichgpu.inspect.records import Part

_BUFFER = re.compile(
    r"(rotary_emb\.inv_freq|\.inv_freq|(^|\.)attn\.(masked_)?bias|attention\.(masked_)?bias|masked_bias|position_ids"
    r"|num_batches_tracked|running_(mean|var)|weight_shape|g_idx|tid2eid|weight_format|rotary_pos_emb\..*"
    r"|relative_position_index)$"
)
"""Stored but never trained. ``attention.bias`` is GPT-NeoX's causal mask, not a projection's bias."""

_SCALE = re.compile(
    r"((weight_|input_|output_|qkv_|[qkv]_|kv_)?(scale|scales)(_inv|_2|_lo|_hi|_\d)?|zero_point|qzeros|absmax|quant_map"
    r"|quant_state(\.[^.]+)?|nested_[a-z_]+|SCB|_scales|gate_up_proj_scales|down_proj_scales|weight_zero_point"
    r"|weight_global_scale|input_global_scale|biases|per_expert_scale_dummy|lora_scale|amax)$"
)
"""Scales and zero points of quantised weights: bytes, but no parameters."""

_RULES: tuple[tuple[Part, re.Pattern[str]], ...] = tuple(
    (part, re.compile(pattern))
    for part, pattern in (
        (Part.LOOKUP, r"ngram_embed|n_gram_embed|engram.*embed"),
        (Part.MTP, r"(^|\.)mtp[._]|nextn|mtp_layers|mtp_block|(^|\.)(eh_proj|enorm|hnorm)\."),
        (
            Part.PROJECTOR,
            (
                r"projector|mm_proj|multi_modal|multimodal_projection|(^|\.)merger|resampler|(^|\.)mlp1\.|connector|aligner"
                r"|embed_vision|embed_audio|img_projection|audio_projection|vision_embed_tokens\.(glb|sub)|patch_merger"
                r"|mm_input_projection|mm_soft_emb|vision_language_adapter|deepstack_merger|linear_(1|2)\.(weight|bias)$"
            ),
        ),
        (
            Part.VISION,
            (
                r"visual|vision|(^|\.)vit\.|(^|\.)vpm\.|image_(encoder|newline)|img_processor|sam_model|siglip"
                r"|view_sep|patch_embed|qwen2_model\.model"
            ),
        ),
        (
            Part.AUDIO,
            r"audio|speech|(^|\.)encoder\.conv[12]|whisper|code2wav|talker|acoustic|semantic_tokenizer|vocoder",
        ),
        (Part.ADAPTER, r"lora_|adapter"),
        (Part.SHARED_EXPERTS, r"shared_expert|shared_mlp|share_expert|shared_head_expert"),
        (
            Part.ROUTED_EXPERTS,
            r"\.experts?\.|\.experts\b|block_sparse_moe\.(input|output)_linear|\.switch_(mlp|glu)\.",
        ),
        (
            Part.ROUTER,
            r"(mlp|ffn|moe|feed_forward|block_sparse_moe|mixer)\.(gate|wg)\b(?!_)|router|fc[12]_latent|latent_proj|e_score_correction|moe_gate",
        ),
        (
            Part.SSM,
            (
                r"mamba|(^|\.)ssm|linear_attn|A_log|dt_bias|conv1d|conv_1d|x_proj|dt_proj|time_(mix|decay|maa|faaaa|first)"
                r"|rg_lru|temporal_block|recurrent|mixer\.(in_proj|out_proj|D|norm|conv)|(^|\.)conv\.(in_proj|out_proj|conv)"
                r"|rwkv|attention\.(ln_x|receptance|gate|output)\b"
            ),
        ),
        (
            Part.HEAD,
            r"lm_head|embed_out|^output\.weight|(^|\.)score\.|classifier|(^|\.)cls\.|pooler|^head\.|shared_head\.head",
        ),
        (
            Part.NORM,
            r"norm|(^|\.)ln_?\w*\.(weight|bias)|layer_scalar|LayerNorm|(^|\.)ln\d|_ln\.",
        ),
        (
            Part.EMBEDDING,
            r"embed|(^|\.)wte|(^|\.)wpe|(^|\.)shared\.weight|position_embedding",
        ),
        (
            Part.ATTENTION,
            r"attn|attention|[qkv]_proj|o_proj|query|qkv|wq|wk|wv|wo\b|c_attn|SelfAttention|indexer|sinks|Wqkv|compressor",
        ),
        (
            Part.DENSE_FFN,
            (
                r"mlp|ffn|feed_forward|(^|\.)fc\d|(^|\.)w[123]\b|dense|intermediate|c_fc|c_proj|gate_proj|up_proj|down_proj"
                r"|lin[12]|DenseReluDense|(^|\.)key|(^|\.)value|receptance"
            ),
        ),
    )
)


_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
_LAYER = re.compile(r"(?:(?<![^.])layers|^blk)\.(\d{1,9})\.")


@lru_cache(maxsize=50_000)
def part_of(pattern: str) -> Part:
    """Return the part that a name (with ``*`` for numbers) belongs to; ``OTHER`` when no rule knows it."""
    for part, rule in _RULES:
        if rule.search(pattern):
            return part
    return Part.OTHER


@lru_cache(maxsize=50_000)
def is_buffer(pattern: str) -> bool:
    """True for masks, position tables and counters that are stored but no parameters."""
    return _BUFFER.search(pattern) is not None


@lru_cache(maxsize=50_000)
def is_scale(pattern: str) -> bool:
    """True for scales and zero points of a quantised weight."""
    return _SCALE.search(pattern) is not None


def pattern_of(name: str, layers: int | None) -> str:
    """Replace the numbers in a tensor name by ``*``; next-token layers (beyond ``layers``) get an ``mtp.`` prefix.

    >>> pattern_of("model.layers.3.mlp.experts.7.up_proj.weight", 61)
    'model.layers.*.mlp.experts.*.up_proj.weight'
    >>> pattern_of("model.layers.61.eh_proj.weight", 61)
    'mtp.layers.*.eh_proj.weight'
    >>> pattern_of("blk.46.attn_q.weight", 46)
    'mtp.blk.*.attn_q.weight'
    """
    pattern = _NUMBER.sub("*", name)
    if (
        layers is None
        or (layer := _LAYER.search(name)) is None
        or int(layer[1]) < layers
        or _in_tower(name[: layer.start()])
    ):
        return pattern
    return "mtp." + pattern.removeprefix("model.")


def _in_tower(prefix: str) -> bool:
    return any(mark in prefix for mark in ("vision", "visual", "audio", "encoder", "decoder", "tower"))
