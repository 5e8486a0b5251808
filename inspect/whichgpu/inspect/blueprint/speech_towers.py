"""Audio encoders whose design is their own: conformers, rotary Whispers, wav2vec, convolutional tokenizers."""

from __future__ import annotations

from whichgpu.inspect.blueprint.query_transformers import qformer
from whichgpu.inspect.blueprint.table import Row, matrix, norm, vector
from whichgpu.inspect.blueprint.tower_layers import attention, feed_forward, layer_norms, number, times
from whichgpu.inspect.config_view import ConfigView
from whichgpu.inspect.records import Part

_A, _P = Part.AUDIO, Part.PROJECTOR
_MOST_STAGES = 16
"""Each stage is twice as wide as the one before."""


def granite_conformer(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Granite Speech: half feed-forwards on both sides of attention and a wide convolution; a Q-Former after it (transformers
    GraniteSpeechCTCEncoder)."""
    width, layers = number(view, "hidden_dim"), number(view, "num_layers")
    inner, head = number(view, "num_heads") * number(view, "dim_head"), number(view, "dim_head")
    wide = width * (number(view, "conv_expansion_factor") or 2)
    layer = feed_forward(_A, width, width * (number(view, "feedforward_mult") or 4)) * 2 + layer_norms(width, 5)
    layer += matrix("attn.q", _A, inner, width) + matrix("attn.kv", _A, 2 * inner, width)
    layer += matrix("attn.out", _A, width, inner, True)
    layer += [Row("attn.rel_pos_emb", _A, (2 * number(view, "max_pos_emb") + 1, head))]
    layer += matrix("conv.up", _A, 2 * wide, width, True) + matrix("conv.down", _A, width, wide, True)
    layer += [
        Row("conv.depth", _A, (wide, 1, number(view, "conv_kernel_size") or 15)),
        *norm("conv.batch_norm", wide, "layer"),
    ]
    out = number(view, "output_dim")
    rows = matrix("input_linear", _A, width, number(view, "input_dim"), True) + times(layer, layers)
    rows += matrix("out", _A, out, width, True) + matrix("out_mid", _A, width, out, True)
    return rows + (qformer(view, width, hidden, root) if hidden else [])


def parakeet(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """NeMo's conformer: half feed-forwards on both sides of relative attention and a convolution, after three strided convolutions
    (transformers ParakeetEncoder)."""
    width, channels = number(view, "hidden_size"), number(view, "subsampling_conv_channels") or 256
    layer = [*attention(_A, width), *matrix("attn.relative", _A, width, width), *layer_norms(width, 6)]
    layer += feed_forward(_A, width, number(view, "intermediate_size")) * 2
    layer += matrix("conv.in", _A, 2 * width, width, True) + matrix("conv.out", _A, width, width, True)
    layer += [
        Row("conv.depthwise", _A, (width, 1, number(view, "conv_kernel_size") or 9)),
        Row("biases", _A, (width,), 3),
    ]
    rows = times(layer, number(view, "num_hidden_layers"))
    rows += [Row("subsampling.conv", _A, (channels, 1, 3, 3), 3), *vector("subsampling.bias", _A, channels, 3)]
    rows += matrix("subsampling.pointwise", _A, channels, channels, True, 2)
    stacked = channels * (number(view, "num_mel_bins") or 80) // (number(view, "subsampling_factor") or 8)
    return rows + matrix("subsampling.linear", _A, width, stacked, True)


def phi4_conformer(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Phi-4-multimodal: strided convolutions, gated half feed-forwards, a gated convolution; two ways into the language model, for
    speech alone and beside images (transformers Phi4MultimodalAudioModel)."""
    width, inner = number(view, "hidden_size") or 1024, number(view, "intermediate_size") or 1536
    layers = number(view, "num_blocks", "num_hidden_layers") or 24
    kernel, out = number(view, "kernel_size") or 3, number(view, "ext_pw_out_channel") or 1024
    layer = feed_forward(_A, width, inner, gated=True) * 2 + attention(_A, width) + layer_norms(width, 5)
    layer += matrix("conv.glu", _A, 2 * out, width, True) + matrix("conv.pointwise", _A, out, width, True)
    layer += matrix("conv.out", _A, out, out, True) + vector("conv.bias", _A, width)
    layer.append(Row("conv.depthwise", _A, (width, 1, kernel)))
    channels = number(view, "nemo_conv_channels") or 1024
    rows = [Row("embed.conv", _A, (channels, 1, 3, 3), 3), *matrix("embed.pointwise", _A, channels, channels, True, 2)]
    rows += matrix("embed.out", _A, width, channels * (number(view, "nemo_final_size") or 10), True) + times(
        layer, layers
    )
    rows += [
        Row(
            "relative_bias",
            _A,
            (2 * (number(view, "bias_max_distance") or 1000), number(view, "num_attention_heads") or 16),
        )
    ]
    way = matrix("up_proj", _P, hidden, width, True) + matrix("down_proj", _P, hidden, hidden, True)
    return rows + times(way, 2, "ways")


def rotary_whisper(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Voxtral Realtime: Whisper's convolutions before rotary, gated layers; frames stacked before two linears (transformers
    VoxtralRealtimeEncoder)."""
    width, mel = number(view, "hidden_size"), number(view, "num_mel_bins") or 128
    inner = number(view, "num_attention_heads") * number(view, "head_dim") or width
    layer = attention(_A, width, inner=inner, key_bias=False) + layer_norms(width, 2, "rms")
    layer += feed_forward(_A, width, number(view, "intermediate_size"), False, gated=True) + vector(
        "mlp.bias", _A, width
    )
    rows = [
        Row("conv1.weight", _A, (width, mel, 3)),
        Row("conv2.weight", _A, (width, width, 3)),
        Row("conv.bias", _A, (width,), 2),
    ]
    rows += times(layer, number(view, "num_hidden_layers")) + norm("norm", width)
    stacked = width * (number(root, "downsample_factor") or 4)
    return rows + matrix("linear_1", _P, hidden, stacked) + matrix("linear_2", _P, hidden, hidden)


def wav2vec(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Omnilingual ASR: convolutions over the wave itself, positions by a grouped convolution (transformers OmniASRAudioModel)."""
    width, groups = number(view, "hidden_size"), number(view, "num_conv_pos_embedding_groups") or 16
    channels, kernels = view.numbers("conv_dim") or [], view.numbers("conv_kernel") or []
    rows: list[Row] = []
    for into, out, kernel in zip([1, *channels], channels, kernels, strict=False):
        rows += [
            Row("conv.weight", _A, (out, into, kernel)),
            *vector("conv.bias", _A, out),
            *norm("conv.norm", out, "layer"),
        ]
    last = channels[-1] if channels else 0
    rows += norm("subsampling.norm", last, "layer") + matrix("subsampling.projection", _A, width, last, True)
    rows.append(Row("positions.conv", _A, (width, width // groups, number(view, "num_conv_pos_embeddings") or 128)))
    layer = attention(_A, width) + feed_forward(_A, width, number(view, "intermediate_size")) + layer_norms(width, 2)
    rows += times(layer, number(view, "num_hidden_layers")) + norm("norm", width, "layer")
    return rows + matrix("projector", _P, hidden, width, True)


def memory_encoder(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Fun-ASR-Nano: attention with a memory convolution over stacked frames; an adaptor of two linears and plain layers
    (transformers FunAsrNanoEncoder)."""
    width, inner = number(view, "hidden_size"), number(view, "intermediate_size")
    layers, stacked = (
        number(view, "num_hidden_layers"),
        number(view, "num_stacked_frames") * number(view, "num_mel_bins"),
    )
    layer = attention(_A, width) + feed_forward(_A, width, inner) + layer_norms(width, 2)
    layer.append(Row("attn.memory", _A, (width, 1, number(view, "fsmn_kernel_size") or 11)))
    rows = times(layer, layers) + layer_norms(width, 2) + [Row("first.qkv", _A, (3, width, max(0, stacked - width)))]
    adaptor = root.sub("adaptor_config")
    if adaptor is None or not hidden:
        return rows
    between = number(adaptor, "projector_hidden_size") or inner
    rows += matrix("linear_1", _P, between, width, True) + matrix("linear_2", _P, hidden, between, True)
    block = (
        attention(_P, hidden) + feed_forward(_P, hidden, number(adaptor, "intermediate_size")) + layer_norms(hidden, 2)
    )
    return rows + times(block, number(adaptor, "num_hidden_layers"), "adaptor.layers")


def dots_audio(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """dots3-note: three strided convolutions over the spectrogram, gated layers, an adapter of two linears (transformers
    Dots3NoteAudioEncoder)."""
    width, channels = number(view, "hidden_size"), number(view, "downsample_hidden_size")
    rows = [Row("conv_1", _A, (channels, 1, 3, 3)), Row("conv_2", _A, (channels, channels, 3, 3), 2)]
    rows += matrix("conv_out", _A, width, number(view, "conv_output_size"))
    layer = attention(_A, width, view.flag("attention_bias") is not False, key_bias=False) + layer_norms(
        width, 2, "rms"
    )
    layer += feed_forward(_A, width, number(view, "intermediate_size"), gated=True)
    rows += times(layer, number(view, "num_hidden_layers")) + norm("norm", width)
    out = number(view, "adapter_out_dim") or hidden
    rows += norm("adapter.norm", width, "layer") + matrix("adapter.fc1", _P, out, width, True)
    return rows + matrix("adapter.fc2", _P, out, out, True)


def vibevoice(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """VibeVoice: a convolutional encoder for how it sounds and one for what it says, with a projection of each; those that speak have
    the first one's mirror image and a denoiser too (transformers VibeVoiceAcousticTokenizer, VibeVoiceDiffusionHead)."""
    rows: list[Row] = []
    for kind in ("acoustic", "semantic"):
        encoder = root.sub(f"{kind}_tokenizer_encoder_config") or root.sub(f"{kind}_tokenizer_config")
        if encoder is None:
            continue
        size = number(encoder, "hidden_size", "vae_dim")
        rows += _tokenizer_stack(encoder, size) * (2 if encoder.value("decoder_n_filters") is not None else 1)
        rows += matrix("linear_1", _P, hidden, size, True) + matrix("linear_2", _P, hidden, hidden, True)
        rows += norm("projector.norm", hidden)
    return rows + _diffusion_head(root, hidden or 0)


def _tokenizer_stack(view: ConfigView, size: int) -> list[Row]:
    """Stages of depthwise convolutions with feed-forward blocks, twice as wide after each strided one."""
    filters, kernel = number(view, "num_filters", "encoder_n_filters") or 32, number(view, "kernel_size") or 7
    expansion, channels = number(view, "ffn_expansion") or 4, number(view, "channels") or 1
    depths = view.numbers("depths") or [
        int(d) for d in (view.string("encoder_depths") or "").split("-") if d.isdecimal()
    ]
    ratios = view.numbers("downsampling_ratios") or [*reversed(view.numbers("encoder_ratios") or [])]
    rows = [Row("stem.conv", _A, (filters, channels, kernel)), *vector("stem.bias", _A, filters)]
    width = filters
    for stage, depth in enumerate(depths[:_MOST_STAGES]):
        width = filters * 2**stage
        if 0 < stage <= len(ratios):
            rows += [
                Row("conv.weight", _A, (width, width // 2, 2 * ratios[stage - 1])),
                *vector("conv.bias", _A, width),
            ]
        block = [Row("mixer.conv", _A, (width, 1, kernel)), Row("scales", _A, (width,), 5)]
        rows += times(block + feed_forward(_A, width, expansion * width), depth, "stages")
    return [*rows, Row("head.conv", _A, (size, width, kernel))]


def _diffusion_head(root: ConfigView, hidden: int) -> list[Row]:
    """Gated blocks that are scaled and shifted by the step and by the language model's state."""
    head = root.sub("diffusion_head_config")
    if head is None or not hidden:
        return []
    ratio, latent = head.value("head_ffn_ratio"), number(head, "latent_size")
    inner = int(hidden * ratio) if isinstance(ratio, int | float) and 0 < ratio < 100 else 3 * hidden
    layer = feed_forward(Part.DENOISER, hidden, inner, False, gated=True) + matrix(
        "modulation", Part.DENOISER, 3 * hidden, hidden
    )
    rows = times(layer + layer_norms(hidden, 1, "rms"), number(head, "head_layers") or 4)
    rows += matrix("noisy", Part.DENOISER, hidden, latent) + matrix("condition", Part.DENOISER, hidden, hidden)
    rows += matrix("step.fc1", Part.DENOISER, hidden, 256) + matrix("step.fc2", Part.DENOISER, hidden, hidden)
    return (
        rows
        + matrix("final.modulation", Part.DENOISER, 2 * hidden, hidden)
        + matrix("final", Part.DENOISER, latent, hidden)
    )


def transcriber(view: ConfigView, root: ConfigView, hidden: int | None) -> list[Row]:
    """Nemotron 3.5 Transcribe: an encoder that hears words, one that hears who speaks, and one that times the words (transformers
    Nemotron3_5TranscribeAudioModel)."""
    speakers = view.sub("diarization_config")
    rows: list[Row] = []
    for encoder in (view.sub("asr_config"), speakers.sub("audio_config") if speakers is not None else None):
        if encoder is not None:
            width, frames = (
                number(encoder, "hidden_size"),
                number(encoder, "num_mel_bins") * number(encoder, "subsampling_factor"),
            )
            rows += matrix("projection", _A, width, frames) + _plain_layers(encoder) + layer_norms(width, 2)
    timing, words = root.sub("word_timestamp_config"), view.sub("asr_config")
    if timing is not None:
        width = number(timing, "hidden_size")
        rows += _plain_layers(timing) + matrix("timing.head", _A, number(timing, "vocab_size"), width, True)
        rows.append(Row("timing.upsampler", _A, (width, width, number(timing, "upsampling_factor") or 2)))
    return rows + matrix("projector", _P, hidden, number(words, "hidden_size") if words is not None else 0, True)


def _plain_layers(view: ConfigView) -> list[Row]:
    width = number(view, "hidden_size")
    layer = attention(_A, width, False) + vector("attn.o_bias", _A, width) + layer_norms(width, 2)
    return times(layer + feed_forward(_A, width, number(view, "intermediate_size")), number(view, "num_hidden_layers"))
