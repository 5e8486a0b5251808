"""The bundled atlas: inspections of well-known models, for answers without any network.

One ZIP archive with one compressed JSON record per model; opening it reads the directory alone, and a look-up
decompresses a single entry. An index has what a list shows of every model.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from pydantic import ValidationError

from whichgpu.catalog.atlas_index import INDEX
from whichgpu.catalog.errors import CatalogError
from whichgpu.inspect.records import Inspection

_STAMP = (1980, 1, 1, 0, 0, 0)
"""A fixed time in the archive, so that the same inspections give the same bytes."""


class Atlas:
    """Read access to an atlas archive."""

    def __init__(self, data: bytes) -> None:
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except zipfile.BadZipFile as error:
            raise CatalogError("The bundled atlas is damaged.", "Reinstall whichgpu.") from error
        self._entries = {n.removesuffix(".json").lower(): n for n in self._archive.namelist() if n != INDEX}

    def __len__(self) -> int:
        return len(self._entries)

    def names(self) -> list[str]:
        """Return the repository ids in it."""
        return sorted((n.removesuffix(".json") for n in self._entries.values()), key=str.lower)

    def find(self, model: str) -> Inspection | None:
        """Return the inspection of a repository id (letter case does not matter), or ``None``."""
        entry = self._entries.get(model.lower())
        if entry is None:
            return None
        try:
            return Inspection.model_validate_json(self._archive.read(entry))
        except (ValidationError, zipfile.BadZipFile, OSError) as error:
            raise CatalogError("The bundled atlas is damaged.", "Reinstall whichgpu.") from error

    def similar(self, model: str) -> list[str]:
        """Return up to three ids that are spelled alike."""
        close = get_close_matches(model.lower(), list(self._entries), n=3, cutoff=0.6)
        return [self._entries[name].removesuffix(".json") for name in close]


def write_atlas(inspections: Iterable[Inspection], path: Path) -> int:
    """Write an archive and return the number of models in it; the same input gives the same bytes, and lists show its order."""
    ordered = list(inspections)
    with zipfile.ZipFile(path, "w") as archive:
        for inspection in ordered:
            info = zipfile.ZipInfo(f"{inspection.source.name}.json", _STAMP)
            info.compress_type = zipfile.ZIP_DEFLATED
            body = json.dumps(
                inspection.model_dump(mode="json", exclude_defaults=True), separators=(",", ":"), ensure_ascii=False
            )
            archive.writestr(info, body, compresslevel=9)
        info = zipfile.ZipInfo(INDEX, _STAMP)
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, json.dumps([_index_entry(i) for i in ordered], separators=(",", ":")), compresslevel=9)
    return len(ordered)


def _index_entry(inspection: Inspection) -> list[object]:
    """As ``atlas_index.Entry`` has it."""
    source, architecture = inspection.source, inspection.architecture
    return [
        source.name,
        [c.value for c in inspection.classes],
        inspection.parameters.total.value,
        architecture.context if architecture else None,
        source.licence,
        source.gated,
        source.modified,
    ]
