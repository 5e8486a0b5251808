"""What a repository publishes beside its weights, as it stands there: the whole config, and the small files of its processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from whichgpu.inspect.config_view import MAX_CONFIG_BYTES, config_root, parse_json
from whichgpu.inspect.errors import UnreadableError
from whichgpu.inspect.inspector import open_repository
from whichgpu.inspect.reference import Reference
from whichgpu.inspect.sources.base import Progress, silent

_CONFIG = "config.json"
_QUANTISATION = "hf_quant_config.json"
_PROCESSOR = (
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
"""Data alone; what a repository has of code is never among them."""

_MOST_FILE = 64 * 2**20
"""Bytes of one of them: the largest tokenizers have 33 MiB."""


@dataclass(frozen=True, slots=True)
class Published:
    """A config and what lies beside it, unchanged."""

    config: Mapping[str, Any]
    processor: Mapping[str, bytes] = field(default_factory=dict)
    """Files of the tokenizer and of the image and audio processors, by name; none where they were not asked for."""


def read_published(reference: Reference, with_processor: bool = False, progress: Progress = silent) -> Published:
    """Read a model's config whole, from the source that an inspection reads.

    A quantisation that stands in ModelOpt's file of its own is put where all others have it.

    Args:
        reference: see ``parse_reference``.
        with_processor: read the files of its tokenizer and processors too.
        progress: called with (step, done, total).

    Raises:
        UnreadableError: there is no config.json (GGUF files, pipelines of diffusion), or it is none.
        WhichgpuError: another of the branches drawn in ``errors.py``.
    """
    progress("reading the config", 0, 1)
    repository = open_repository(reference)
    names = {entry.path for entry in repository.listing().files}
    if _CONFIG not in names:
        raise UnreadableError("There is no config.json in it.", "Name the repository that it was converted from.")
    config = parse_json(repository.read(_CONFIG, MAX_CONFIG_BYTES), _CONFIG)
    config_root(config, _CONFIG)  # refuses what is nested too deeply, and layers without end
    if _QUANTISATION in names and "quantization_config" not in config:
        beside = parse_json(repository.read(_QUANTISATION, MAX_CONFIG_BYTES), _QUANTISATION)
        config |= {"quantization_config": {"quant_method": "modelopt", **beside}}
    wanted = [name for name in _PROCESSOR if name in names] if with_processor else []
    return Published(config, {name: repository.read(name, _MOST_FILE) for name in wanted})
