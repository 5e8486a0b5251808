"""GGUF headers through the ``gguf`` package: metadata and tensor table from the start of a file."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from typing import Any

from whichgpu.inspect.errors import UnreadableError
from whichgpu.inspect.headers import Tensor
from whichgpu.inspect.records import Part
from whichgpu.inspect.text import clean

FIRST_BYTES = 8 * 2**20
"""Enough for the vocabulary of most models, which makes up nearly all of a GGUF header."""

_MOST_BYTES = 128 * 2**20

_KEYS = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.sliding_window": "sliding_window",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_count": "n_shared_experts",
    "leading_dense_block_count": "first_k_dense_replace",
    "context_length": "max_position_embeddings",
    "vocab_size": "vocab_size",
    "ssm.state_size": "state_size",
    "ssm.conv_kernel": "conv_kernel",
    "nextn_predict_layers": "num_nextn_predict_layers",
}
_MODEL_TYPES = {
    "gpt-oss": "gpt_oss",
    "qwen3moe": "qwen3_moe",
    "qwen2moe": "qwen2_moe",
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "deepseek2": "deepseek_v3",
    "glm4moe": "glm4_moe",
    "phi2": "phi",
}
_PARTS: tuple[tuple[Part, str], ...] = (
    (Part.ROUTED_EXPERTS, r"_exps\b"),
    (Part.SHARED_EXPERTS, r"_shexp"),
    (Part.ROUTER, r"ffn_gate_inp|exp_probs"),
    (Part.VISION, r"^v\.|^mm\."),
    (Part.SSM, r"ssm_"),
    (Part.NORM, r"norm"),
    (Part.EMBEDDING, r"^token_embd|^per_layer_token_embd|position_embd"),
    (Part.HEAD, r"^output\.|^cls"),
    (Part.MTP, r"nextn"),
    (Part.ATTENTION, r"attn|sinks"),
    (Part.DENSE_FFN, r"ffn_"),
)


def part_of_gguf(name: str) -> Part:
    """Return the part of a llama.cpp tensor name such as ``blk.*.ffn_up_exps.weight``."""
    return next((part for part, pattern in _PARTS if re.search(pattern, name)), Part.OTHER)


def read_gguf(
    start: Callable[[int], bytes], name: str, size: int | None
) -> tuple[dict[str, Any], list[Tensor], dict[str, int]]:
    """Read a GGUF header.

    Args:
        start: returns the first n bytes of the file.
        name: the file, for messages.
        size: its size, when known.

    Returns:
        A config in the names of transformers, the tensors as stored, and the logical elements per tensor.

    Raises:
        UnreadableError: no GGUF, damaged, or a header that never ends.
    """
    wanted = FIRST_BYTES
    while True:
        data = start(wanted)
        try:
            return _parse(data)
        except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
            whole = len(data) < wanted or (size is not None and len(data) >= size)
            if data[:4] != b"GGUF":
                raise UnreadableError(f"{clean(name)} is not a GGUF file.") from error
            if whole or wanted >= _MOST_BYTES:
                raise UnreadableError(f"{clean(name)} has a damaged GGUF header ({clean(error, 60)}).") from error
        wanted *= 4


def _parse(data: bytes) -> tuple[dict[str, Any], list[Tensor], dict[str, int]]:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.gguf_reader import GGUFReader, ReaderField

    class HeaderReader(GGUFReader):
        """Stops before the tensor data, so that the start of a file is enough."""

        infos: list[ReaderField]

        def _build_tensors(self, start_offs: int, fields: list[ReaderField]) -> None:
            self.infos = fields

    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(data)
        file.flush()
        reader = HeaderReader(file.name)
        fields = {key: _value(field) for key, field in reader.fields.items()}
        tensors: list[Tensor] = []
        elements: dict[str, int] = {}
        for info in reader.infos:
            shape = tuple(int(n) for n in reversed(info.parts[3].tolist()))
            kind = GGMLQuantizationType(int(info.parts[4][0]))
            block, width = GGML_QUANT_SIZES[kind]
            count = 1
            for n in shape:
                count *= n
            tensors.append(Tensor(clean(info.name), kind.name, shape, count * width // block))
            elements[clean(info.name)] = count
    return _config(fields), tensors, elements


def _value(field: Any) -> Any:
    """A field's value; long arrays (the vocabulary) become their length."""
    if len(field.types) > 1:
        return [] if len(field.data) > 4096 else field.contents()
    return field.contents()


def _config(fields: dict[str, Any]) -> dict[str, Any]:
    architecture = fields.get("general.architecture")
    if not isinstance(architecture, str):
        raise TypeError("no general.architecture")
    config: dict[str, Any] = {"model_type": _MODEL_TYPES.get(architecture, architecture.replace("-", "_"))}
    for key, name in _KEYS.items():
        value = fields.get(f"{architecture}.{key}")
        if isinstance(value, list) and value and all(isinstance(v, int) for v in value):
            value = max(value)
        if value is not None:
            config[name] = value
    return config
