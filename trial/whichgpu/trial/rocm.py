"""This machine's AMD GPUs, as ``rocm-smi --json`` reports them; its figures come as text, under names that changed over time."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from whichgpu.inspect.bounded import json_of
from whichgpu.inspect.text import clean

_SECONDS = 10
_NAMES = ("Card Series", "Card series", "Card Model", "Card model")
_POWER = ("Average Graphics Package Power (W)", "Current Socket Graphics Package Power (W)")
_TEMPERATURE = ("Temperature (Sensor junction) (C)", "Temperature (Sensor edge) (C)")


@dataclass(frozen=True, slots=True)
class AmdGpu:
    """One GPU. Memory in bytes; ``None`` is unknown."""

    index: int
    name: str
    total: int
    used: int
    watts: float | None
    temperature: float | None


def amd_gpus() -> tuple[AmdGpu, ...]:
    """Return this machine's AMD GPUs; none where ROCm's tool isn't there or says nothing that can be read."""
    tool = shutil.which("rocm-smi")
    if tool is None:
        return ()
    command = [tool, "--showproductname", "--showmeminfo", "vram", "--showpower", "--showtemp", "--json"]
    try:
        output = subprocess.run(
            command, capture_output=True, timeout=_SECONDS, check=True, stdin=subprocess.DEVNULL
        ).stdout
        content = json_of(output)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()
    return tuple(_cards(content)) if isinstance(content, dict) else ()


def _cards(content: Mapping[str, Any]) -> Iterator[AmdGpu]:
    for key, card in content.items():
        number = key.removeprefix("card")
        if not (key.startswith("card") and number.isdecimal() and isinstance(card, dict)):
            continue
        total, used = _number(card, "VRAM Total Memory (B)"), _number(card, "VRAM Total Used Memory (B)")
        name = next((card[n] for n in _NAMES if isinstance(card.get(n), str)), "")
        if total and used is not None:
            yield AmdGpu(
                index=int(number),
                name=clean(name, 80),
                total=int(total),
                used=int(used),
                watts=_number(card, *_POWER),
                temperature=_number(card, *_TEMPERATURE),
            )


def _number(card: Mapping[str, Any], *names: str) -> float | None:
    for name in names:
        try:
            return float(str(card[name]))
        except (KeyError, ValueError):
            continue
    return None
