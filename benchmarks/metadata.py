"""The models whose metadata is at hand: a folder of real metadata behind a Hub on loopback, or the bundled atlas."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.truth import Models
from whichgpu import assets
from whichgpu.inspect.records import Inspection


def inspections(models: Path | None) -> tuple[Models, Callable[[str], Inspection], Callable[[], None]]:
    """Return the names at hand, how to inspect one, and what to call at the end."""
    if models is None:
        from whichgpu.catalog.atlas import Atlas
        from whichgpu.catalog.atlas_index import FILE_NAME

        atlas = Atlas(assets.read(FILE_NAME))

        def from_atlas(name: str) -> Inspection:
            inspection = atlas.find(name)
            assert inspection is not None
            return inspection

        return Models(atlas.names()), from_atlas, lambda: None
    from tests.hub import HubStandIn

    from benchmarks.agreement import repository_of
    from whichgpu.inspect.inspector import inspect_model
    from whichgpu.inspect.reference import parse_reference

    folders = {p.name.replace("__", "/", 1): p for p in sorted(models.iterdir()) if (p / "config.json").exists()}
    hub = HubStandIn({}).__enter__()
    os.environ["HF_ENDPOINT"] = hub.endpoint
    inspection_cache: dict[str, Inspection] = {}

    def from_folder(name: str) -> Inspection:
        if name not in inspection_cache:
            hub.repos[name] = repository_of(folders[name])
            inspection_cache[name] = inspect_model(parse_reference(name), quick=True)
        return inspection_cache[name]

    return Models(list(folders)), from_folder, lambda: hub.__exit__(None, None, None)
