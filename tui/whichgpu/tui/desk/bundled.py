"""The bundled atlas, opened once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from whichgpu import assets

if TYPE_CHECKING:
    from whichgpu.catalog.atlas import Atlas


@cache
def bundled_atlas() -> Atlas:
    """Return the bundled atlas; its records are read one by one as they are asked for."""
    from whichgpu.catalog.atlas import Atlas
    from whichgpu.catalog.atlas_index import FILE_NAME

    return Atlas(assets.read(FILE_NAME))
