"""Facts that are data: accelerators, prices, architectures, the atlas. Read as bytes, parsed by the rooms."""

from __future__ import annotations

from importlib.resources import files


def read(name: str) -> bytes:
    """Return a bundled file, for example ``accelerators.json``."""
    return files(__name__).joinpath(name).read_bytes()
