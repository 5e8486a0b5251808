"""What use cases are handed: where findings are kept, and the user's settings. Nothing further in looks them up."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from whichgpu.tui.desk.paths import config_path, data_path

if TYPE_CHECKING:
    from whichgpu.catalog.store import Catalog
    from whichgpu.tui.desk.settings import Settings


@dataclass(frozen=True, slots=True)
class Desk:
    """One user's desk. Made before anything is painted, so it imports records and SQLite only when it is asked for them."""

    catalog: Path
    """The catalog's file, whether it is there or not."""
    settings: Settings | None = None
    """``None`` where the user has none, so that defaults hold."""

    @property
    def store(self) -> Catalog:
        """The catalog."""
        from whichgpu.catalog.store import Catalog

        return Catalog(self.catalog)


def open_desk(catalog: str | None = None) -> Desk:
    """Return the desk of this process: the option, ``WHICHGPU_CATALOG``, the settings, else the user's data folder.

    Raises:
        UsageError: the settings cannot be read.
    """
    settings = None
    if config_path().exists():
        from whichgpu.tui.desk.settings import load

        settings = load()
    stated = catalog or os.environ.get("WHICHGPU_CATALOG") or (settings.catalog if settings is not None else "")
    return Desk(Path(os.path.expanduser(stated)) if stated else data_path() / "catalog.db", settings)
