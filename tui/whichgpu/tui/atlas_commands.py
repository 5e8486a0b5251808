"""``whichgpu atlas``: list what is bundled, and build a new one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from whichgpu import assets
from whichgpu.catalog.atlas import Atlas, write_atlas
from whichgpu.catalog.atlas_index import FILE_NAME
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.records import Inspection
from whichgpu.tui.exit_codes import ExitCode


def list_models() -> int:
    """Print the ids of the bundled atlas."""
    for name in Atlas(assets.read(FILE_NAME)).names():
        click.echo(name)
    return ExitCode.OK


def build(out: str, ids: Sequence[str]) -> int:
    """Inspect the ids at the configured endpoint and write an archive; models that fail are named and left out."""
    inspections: list[Inspection] = []
    for index, name in enumerate(ids, 1):
        try:
            inspections.append(_portable(inspect_model(name, quick=True)))
        except WhichgpuError as error:
            click.echo(f"{index}/{len(ids)} {name}: {error.message}", err=True)
    count = write_atlas(inspections, Path(out))
    click.echo(f"{count} models, {Path(out).stat().st_size:,} bytes")
    return ExitCode.OK if count == len(ids) else ExitCode.UNREADABLE


def _portable(inspection: Inspection) -> Inspection:
    """Drop what belongs to this machine and this reading: the endpoint, the path, the number of requests."""
    source = inspection.source.model_copy(update={"endpoint": None, "path": None, "requests": 0})
    return inspection.model_copy(update={"source": source})
