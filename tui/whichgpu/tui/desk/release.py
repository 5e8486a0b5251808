"""Which whichgpu this is."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version


@cache
def release() -> str:
    """``0.1.0``; read once, since the package's whole metadata is parsed for it."""
    return version("whichgpu")
