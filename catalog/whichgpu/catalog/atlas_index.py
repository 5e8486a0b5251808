"""What a list shows of every model in the atlas, without opening a record: reading it costs JSON alone."""

from __future__ import annotations

import io
import json
import zipfile
from typing import NamedTuple

from whichgpu.catalog.errors import CatalogError

FILE_NAME = "atlas.zip"
INDEX = "index"
"""Entry of the archive; models' entries have a slash in their names."""


class Entry(NamedTuple):
    """One model; ``None`` is unknown."""

    name: str
    classes: list[str]
    parameters: int | None
    context: int | None
    """Tokens."""
    licence: str | None
    gated: bool | None
    modified: str | None
    """ISO date."""


def read_index(data: bytes) -> list[Entry]:
    """Return the index of an atlas archive, in the order that it was written in: what people look for first.

    Raises:
        CatalogError: the archive is damaged, or has no index.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [Entry(*row) for row in json.loads(archive.read(INDEX))]
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise CatalogError("The bundled atlas is damaged.", "Reinstall whichgpu.") from error
