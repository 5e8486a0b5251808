"""Tensors of recurrent mixers: Mamba 1 and 2, delta nets, lightning attention, short convolutions, RG-LRU, RWKV."""

from __future__ import annotations

from whichgpu.inspect.blueprint.table import Row, matrix, norm, vector
from whichgpu.inspect.design import Design, MixerSpec
from whichgpu.inspect.records import Part

_S = Part.SSM


def mamba1(design: Design, spec: MixerSpec) -> list[Row]:
    """transformers MambaMixer; Jamba adds norms on dt, B and C."""
    h, inner = design.hidden, spec.inner or 0
    state, rank, kernel = spec.state_dim or 0, spec.dt_rank or 0, spec.conv_kernel or 0
    bias = bool(design.view.flag("use_bias", "mamba_proj_bias"))
    rows = matrix("mixer.in_proj", _S, 2 * inner, h, bias)
    rows += [Row("mixer.conv1d.weight", _S, (inner, 1, kernel)), Row("mixer.conv1d.bias", _S, (inner,))]
    rows += matrix("mixer.x_proj", _S, rank + 2 * state, inner) + matrix("mixer.dt_proj", _S, inner, rank, True)
    rows += [Row("mixer.A_log", _S, (inner, state)), Row("mixer.D", _S, (inner,))]
    rows += matrix("mixer.out_proj", _S, h, inner, bias)
    if design.family.scan_norms:
        rows += norm("mixer.dt_norm", rank) + norm("mixer.b_norm", state) + norm("mixer.c_norm", state)
    return rows


def mamba2(design: Design, spec: MixerSpec) -> list[Row]:
    """transformers Mamba2Mixer, as in Nemotron-H, Granite 4, Falcon-H1, Zamba 2."""
    h, inner, heads = design.hidden, spec.inner or 0, spec.heads or 0
    width = inner + 2 * (spec.groups or 1) * (spec.state_dim or 0)
    bias = bool(design.view.flag("use_bias", "mamba_proj_bias"))
    rows = matrix("mixer.in_proj", _S, inner + width + heads, h, bias)
    rows.append(Row("mixer.conv1d.weight", _S, (width, 1, spec.conv_kernel or 0)))
    if design.view.flag("use_conv_bias", "mamba_conv_bias") is not False:
        rows.append(Row("mixer.conv1d.bias", _S, (width,)))
    for name in ("dt_bias", "A_log", "D"):
        rows.append(Row(f"mixer.{name}", _S, (heads,)))
    if design.view.flag("mamba_rms_norm") is not False:
        rows += norm("mixer.norm", inner, part=_S)
    return rows + matrix("mixer.out_proj", _S, h, inner, bias)


def gated_delta(design: Design, spec: MixerSpec) -> list[Row]:
    """Gated delta net (Qwen3-Next, Qwen3.5)."""
    h, heads, dim = design.hidden, spec.heads or 0, spec.head_dim or 0
    keys, values = (spec.key_heads or 0) * (spec.key_dim or 0), heads * dim
    rows = matrix("linear_attn.in_proj_qkvz", _S, 2 * keys + 2 * values, h)
    rows += matrix("linear_attn.in_proj_ba", _S, 2 * heads, h)
    rows.append(Row("linear_attn.conv1d.weight", _S, (2 * keys + values, 1, spec.conv_kernel or 0)))
    rows += vector("linear_attn.dt_bias", _S, heads) + vector("linear_attn.A_log", _S, heads)
    return rows + norm("linear_attn.norm", dim, part=_S) + matrix("linear_attn.out_proj", _S, h, values)


def kimi_delta(design: Design, spec: MixerSpec) -> list[Row]:
    """Kimi delta attention (Kimi-Linear, Kimi-K3)."""
    h, heads, dim = design.hidden, spec.heads or 0, spec.head_dim or 0
    width = heads * dim
    rows: list[Row] = []
    for letter in "qkv":
        rows += matrix(f"self_attn.{letter}_proj", _S, width, h)
        rows.append(Row(f"self_attn.{letter}_conv1d.weight", _S, (width, 1, spec.conv_kernel or 0)))
    if spec.dt_rank == 0:
        rows += matrix("self_attn.f_proj", _S, width, h)
    else:
        rows += matrix("self_attn.f_a_proj", _S, dim, h) + matrix("self_attn.f_b_proj", _S, width, dim)
    rows += vector("self_attn.A_log", _S, heads) + vector("self_attn.dt_bias", _S, width)
    rows += matrix("self_attn.b_proj", _S, heads, h)
    if spec.output_gate:
        rows += matrix("self_attn.g_proj", _S, width, h)
    else:
        rows += matrix("self_attn.g_a_proj", _S, dim, h) + matrix("self_attn.g_b_proj", _S, width, dim)
    return rows + norm("self_attn.o_norm", dim, part=_S) + matrix("self_attn.o_proj", _S, h, width)


def lightning(design: Design, spec: MixerSpec) -> list[Row]:
    """MiniMax's lightning attention."""
    h, width = design.hidden, (spec.heads or 0) * (spec.head_dim or 0)
    rows = matrix("self_attn.qkv_proj", _S, 3 * width, h) + matrix("self_attn.output_gate", _S, width, h)
    return rows + norm("self_attn.norm", width, part=_S) + matrix("self_attn.out_proj", _S, h, width)


def short_convolution(design: Design, spec: MixerSpec) -> list[Row]:
    """LFM2's double-gated convolution."""
    h, width = design.hidden, spec.inner or 0
    rows = matrix("conv.in_proj", _S, 3 * width, h)
    return [
        *rows,
        Row("conv.conv.weight", _S, (width, 1, spec.conv_kernel or 0)),
        *matrix("conv.out_proj", _S, h, width),
    ]


def recurrent_gate(design: Design, spec: MixerSpec) -> list[Row]:
    """RecurrentGemma's recurrent block with block-diagonal gates."""
    h, width, heads = design.hidden, spec.inner or 0, spec.heads or 1
    rows = matrix("temporal_block.linear_x", _S, width, h, True) + matrix("temporal_block.linear_y", _S, width, h, True)
    rows += matrix("temporal_block.linear_out", _S, h, width, True)
    rows += [Row("temporal_block.conv_1d.weight", _S, (width, 1, spec.conv_kernel or 0))]
    rows += vector("temporal_block.conv_1d.bias", _S, width) + vector(
        "temporal_block.rg_lru.recurrent_param", _S, width
    )
    block = width // heads
    for gate in ("input_gate", "recurrent_gate"):
        rows.append(Row(f"temporal_block.rg_lru.{gate}_weight", _S, (heads, block, block)))
        rows += vector(f"temporal_block.rg_lru.{gate}_bias", _S, width)
    return rows


def rwkv(design: Design, spec: MixerSpec) -> list[Row]:
    """RWKV 4, 5.2 and 6: time mixing and channel mixing of one layer. The fourth has neither heads nor a gate."""
    if design.view.value("head_size", "head_size_divisor", "num_attention_heads") is None:
        return _rwkv4(design, spec)
    h, width, heads = design.hidden, spec.inner or 0, spec.heads or 0
    channel = design.view.integer("intermediate", "intermediate_size") or int(h * 3.5) // 32 * 32
    rows: list[Row] = []
    for name in ("key", "value", "receptance", "gate"):
        rows += matrix(f"attention.{name}", _S, width, h)
    rows += matrix("attention.output", _S, h, width) + norm("attention.ln_x", width, "layer")
    rows.append(Row("attention.time_faaaa", _S, (heads, spec.head_dim or 0)))
    rows += _rwkv_mixing(design, h, width, heads, spec.head_dim or 0)
    rows += matrix("feed_forward.key", Part.DENSE_FFN, channel, h) + matrix(
        "feed_forward.value", Part.DENSE_FFN, h, channel
    )
    return rows + matrix("feed_forward.receptance", Part.DENSE_FFN, h, h)


def _rwkv4(design: Design, spec: MixerSpec) -> list[Row]:
    """transformers RwkvSelfAttention and RwkvFeedForward."""
    h, width = design.hidden, spec.inner or 0
    channel = design.view.integer("intermediate", "intermediate_size") or 4 * h
    rows = [row for name in ("key", "value", "receptance") for row in matrix(f"attention.{name}", _S, width, h)]
    rows += matrix("attention.output", _S, h, width)
    rows += [Row("attention.time_*", _S, (width,), 2), Row("attention.time_mix_*", _S, (h,), 3)]
    rows += matrix("feed_forward.key", Part.DENSE_FFN, channel, h) + matrix(
        "feed_forward.value", Part.DENSE_FFN, h, channel
    )
    rows += matrix("feed_forward.receptance", Part.DENSE_FFN, h, h)
    return [*rows, Row("feed_forward.time_mix_*", _S, (h,), 2)]


def _rwkv_mixing(design: Design, hidden: int, width: int, heads: int, head_dim: int) -> list[Row]:
    if not design.family.mixing_adapters:
        return [
            Row("attention.time_mix_*", _S, (hidden,), 4),
            Row("attention.time_decay", _S, (heads, head_dim)),
            Row("feed_forward.time_mix_*", _S, (hidden,), 2),
        ]
    lora = 64 if hidden >= 4096 else 32
    return [
        Row("attention.time_maa_*", _S, (hidden,), 6),
        Row("attention.time_maa_w1", _S, (hidden, 5 * lora)),
        Row("attention.time_maa_w2", _S, (5, lora, hidden)),
        Row("attention.time_decay", _S, (width,)),
        Row("attention.time_decay_w1", _S, (hidden, 2 * lora)),
        Row("attention.time_decay_w2", _S, (2 * lora, width)),
        Row("feed_forward.time_maa_*", _S, (hidden,), 2),
    ]
