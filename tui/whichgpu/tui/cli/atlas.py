"""``whichgpu atlas``: list what is bundled, and build a new one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from whichgpu import assets
from whichgpu.catalog.atlas import Atlas, write_atlas
from whichgpu.catalog.atlas_index import FILE_NAME
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.records import Inspection
from whichgpu.inspect.text import clean
from whichgpu.tui.words.exit_codes import ExitCode


@click.command("list")
def atlas_list() -> int:
    """List the models in the bundled atlas."""
    for name in Atlas(assets.read(FILE_NAME)).names():
        click.echo(name)
    return ExitCode.OK


@click.command("build")
@click.option("--out", required=True, type=click.Path(dir_okay=False, writable=True), help="Archive to write.")
@click.option("--ids", required=True, type=click.File(), help="Text file with one Hub id per line.")
def atlas_build(out: str, ids: Iterable[str]) -> int:
    """Inspect every model in a list and write an atlas (see CONTRIBUTING.md)."""
    names = [line.strip() for line in ids if line.strip()]
    inspections: list[Inspection] = []
    for index, name in enumerate(names, 1):
        try:
            inspections.append(_portable(inspect_model(name, quick=True)))
        except WhichgpuError as error:
            click.echo(f"{index}/{len(names)} {clean(name)}: {error.message}", err=True)
    count = write_atlas(inspections, Path(out))
    click.echo(f"{count} models, {Path(out).stat().st_size:,} bytes")
    return ExitCode.OK if count == len(names) else ExitCode.UNREADABLE


def _portable(inspection: Inspection) -> Inspection:
    """Drop what belongs to this machine and this reading: the endpoint, the path, the number of requests."""
    source = inspection.source.model_copy(update={"endpoint": None, "path": None, "requests": 0})
    return inspection.model_copy(update={"source": source})


@click.group()
def atlas() -> None:
    """The bundled atlas of well-known models."""


for _command in (atlas_list, atlas_build):
    atlas.add_command(_command)
