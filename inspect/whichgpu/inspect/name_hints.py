"""What a repository's name suggests, used only when neither headers nor a config can be read, and said so."""

from __future__ import annotations

import re

from whichgpu.inspect.records import ModelClass

_MIXTURE = re.compile(r"(?i)(^|[-_/])(\d+x\d+(\.\d+)?b|a\d+(\.\d+)?b|moe|mixtral|gpt-oss|deepseek-(v[2-9]|r1))")
_VISION = re.compile(r"(?i)gemma-3n|gemma-3-(4|12|27)b|(^|[-_/])(vl|vision|llava|ocr|pixtral|omni)([-_.]|$)|minicpm-v")
_BILLIONS = re.compile(r"(?i)(?<![a-z0-9.])(\d+(?:\.\d+)?)b(?![a-z0-9])")


def classes_from_name(name: str) -> dict[ModelClass, str]:
    """Return the classes that a name suggests, with the part of the name that does."""
    hints: dict[ModelClass, str] = {}
    if (match := _VISION.search(name)) is not None:
        hints[ModelClass.MULTIMODAL] = match.group().strip("-_/")
    if (match := _MIXTURE.search(name)) is not None:
        hints[ModelClass.MOE] = match.group().strip("-_/")
    return hints or {ModelClass.DENSE: name.rsplit("/", 1)[-1]}


def parameters_from_name(name: str) -> int | None:
    """Return the parameter count that a name like ``Qwen3-4B`` announces (two digits of precision at best)."""
    match = _BILLIONS.search(name.rsplit("/", 1)[-1])
    return int(float(match.group(1)) * 1e9) if match else None
