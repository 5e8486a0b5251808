"""Folders that vLLM takes for a model: the published config, and a tokenizer that is nobody's, with as many words.

Lengths are all that a measurement needs of a tokenizer: "t5 t9 t7" is three tokens, and comes back as the same three, so
that vLLM's benchmark finds its random prompts exactly as long as it was asked to make them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NAMED = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
    "vision_token_id": "<|vision_pad|>",
}
"""Tokens that a processor looks up by name."""

_PROCESSORS: dict[str, dict[str, Any]] = {
    "qwen2_5_vl": {
        "preprocessor_config.json": {
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2_5_VLProcessor",
            "min_pixels": 3136,
            "max_pixels": 12_845_056,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
        }
    }
}
"""What an encoder's largest input follows from."""


def write_stand_in(folder: Path, config: Mapping[str, Any]) -> None:
    """Write a model's folder."""
    folder.mkdir(parents=True)
    text = config.get("text_config", config)
    size = int(text.get("vocab_size") or config.get("vocab_size") or 32_000)
    special = {int(config[key]): name for key, name in _NAMED.items() if isinstance(config.get(key), int)}
    vocabulary = {special.get(number, f"t{number}"): number for number in range(size)}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {"id": n, "content": name, "special": True, "normalized": False, "single_word": False, "lstrip": False, "rstrip": False}
            for n, name in sorted(special.items())
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "t0"},
    }  # fmt: skip
    files = {
        "config.json": dict(config),
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": "t0",
            "bos_token": "t0",
            "eos_token": "t1",
            "pad_token": "t0",
            "clean_up_tokenization_spaces": False,
            "model_max_length": 10_000_000,
        },
        **_PROCESSORS.get(str(config.get("model_type")), {}),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
