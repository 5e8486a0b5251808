"""The ``catalog`` commands as click sees them; what they do is imported when they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

CATALOG = click.option("--catalog", metavar="PATH", help="Catalog file (default: as for answers).")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")


def _policy(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say what may leave beside public findings."""
    for option in (
        click.option("--names", is_flag=True, help="Also say who the pseudonyms are."),
        click.option("--local", is_flag=True, help="Also findings on folders and files."),
        click.option("--private", is_flag=True, help="Also findings on private repositories."),
    ):
        command = option(command)
    return command


@click.group()
def catalog() -> None:
    """What is kept: find it again, annotate it, share it."""


def _page_options(command: Callable[..., Any]) -> Callable[..., Any]:
    sorts = ["date", "model", "params", "context", "price", "cpm"]
    for option in (
        CATALOG,
        click.option("--format", "form", type=click.Choice(["text", "json", "csv", "md"]), default="text"),
        click.option("--page", type=click.IntRange(1), default=1, show_default=True),
        click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True),
        click.option("--sort", type=click.Choice(sorts), default="date", show_default=True),
    ):
        command = option(command)
    return command


@catalog.command("list")
@_page_options
def list_models(sort: str, limit: int, page: int, form: str, catalog: str | None) -> int:
    """List the models that were looked at, newest first."""
    from whichgpu.tui.catalog_commands import find

    return find("", sort, limit, page, form, catalog)


@catalog.command()
@click.argument("query", nargs=-1, required=True)
@_page_options
def search(query: tuple[str, ...], sort: str, limit: int, page: int, form: str, catalog: str | None) -> int:
    """Find models by words and fields: llama class:moe params:>100B gpu:H200 cpm:<0.5 tag:served since:2026-11."""
    from whichgpu.tui.catalog_commands import find

    return find(" ".join(query), sort, limit, page, form, catalog)


@catalog.command()
@click.argument("model")
@_JSON
@CATALOG
def show(model: str, as_json: bool, catalog: str | None) -> int:
    """Show what is known of a model: its newest reading, answers, notes, tags."""
    from whichgpu.tui.catalog_commands import show as shown

    return shown(model, as_json, catalog)


@catalog.command()
@click.argument("model")
@CATALOG
def history(model: str, catalog: str | None) -> int:
    """List every finding on a model."""
    from whichgpu.tui.catalog_commands import history as told

    return told(model, catalog)


@catalog.command()
@click.argument("first")
@click.argument("second", required=False)
@CATALOG
def diff(first: str, second: str | None, catalog: str | None) -> int:
    """Say what differs between two models (NAME or NAME@COMMIT), or the two newest readings of one."""
    from whichgpu.tui.catalog_commands import diff as compared

    return compared(first, second, catalog)


@catalog.command()
@click.argument("model")
@click.argument("text")
@CATALOG
def note(model: str, text: str, catalog: str | None) -> int:
    """Keep a note on a model; an empty text takes yours back."""
    from whichgpu.tui.catalog_commands import note as noted

    return noted(model, text, catalog)


@catalog.command()
@click.argument("model")
@click.argument("tags", nargs=-1, required=True)
@click.option("--off", is_flag=True, help="Take them off.")
@CATALOG
def tag(model: str, tags: tuple[str, ...], off: bool, catalog: str | None) -> int:
    """Put tags on a model; those tagged “served” are the fleet view."""
    from whichgpu.tui.catalog_commands import tag as tagged

    return tagged(model, tags, off, catalog)


@catalog.command()
@CATALOG
def path(catalog: str | None) -> int:
    """Print where the catalog is."""
    from whichgpu.tui.catalog_commands import path as printed

    return printed(catalog)


@catalog.command()
@_JSON
@CATALOG
def status(catalog: str | None, as_json: bool) -> int:
    """Say what the file is, what it holds, and where it is shared."""
    from whichgpu.tui.catalog_commands import status as told

    return told(catalog, as_json)


catalog.add_command(status, "stats")


@catalog.command()
@CATALOG
def verify(catalog: str | None) -> int:
    """Check every finding, and say which stored answers today's facts and rules would change."""
    from whichgpu.tui.catalog_watch import verify as verified

    return verified(catalog)


@catalog.command()
@CATALOG
def check(catalog: str | None) -> int:
    """Say which models have new commits, which prices are old, which answers an older whichgpu gave differently."""
    from whichgpu.tui.catalog_watch import check as checked

    return checked(catalog)


@catalog.command()
@click.option("--days", type=click.IntRange(0), default=90, show_default=True, help="Only older ones.")
@click.option("--yes", "apply", is_flag=True, help="Do it.")
@CATALOG
def prune(days: int, apply: bool, catalog: str | None) -> int:
    """Drop answers that a newer one to the same question has replaced."""
    from whichgpu.tui.catalog_commands import prune as pruned

    return pruned(days, apply, catalog)


@catalog.command()
@click.argument("others", nargs=-1, required=True, metavar="OTHER…")
@click.option("--dry-run", is_flag=True, help="Only say what would be new.")
@CATALOG
def merge(others: tuple[str, ...], dry_run: bool, catalog: str | None) -> int:
    """Take the findings of other catalog files: the union, in any order, as often as you like."""
    from whichgpu.tui.catalog_sharing import merge_files

    return merge_files(others, dry_run, catalog)


@catalog.command()
@click.argument("target")
@_policy
@CATALOG
def push(target: str, private: bool, local: bool, names: bool, catalog: str | None) -> int:
    """Send what TARGET does not have: a folder, s3://…, ssh://…, hf://datasets/ORG/NAME."""
    from whichgpu.catalog.bundles import Policy
    from whichgpu.tui.catalog_sharing import push as pushed

    return pushed(target, Policy(private=private, local=local, names=names), catalog)


@catalog.command()
@click.argument("target")
@CATALOG
def pull(target: str, catalog: str | None) -> int:
    """Take what TARGET has."""
    from whichgpu.tui.catalog_sharing import pull as pulled

    return pulled(target, catalog)


@catalog.command()
@click.argument("target")
@_policy
@CATALOG
def sync(target: str, private: bool, local: bool, names: bool, catalog: str | None) -> int:
    """Pull from TARGET, then push to it."""
    from whichgpu.catalog.bundles import Policy
    from whichgpu.tui.catalog_sharing import sync as synced

    return synced(target, Policy(private=private, local=local, names=names), catalog)


@catalog.command("import")
@click.argument("bundles", nargs=-1, required=True, metavar="BUNDLE…")
@CATALOG
def import_bundles(bundles: tuple[str, ...], catalog: str | None) -> int:
    """Take bundle files that came another way."""
    from whichgpu.tui.catalog_sharing import import_bundle

    return import_bundle(bundles, catalog)


@catalog.command()
@click.argument("target")
@_policy
@CATALOG
def export(target: str, private: bool, local: bool, names: bool, catalog: str | None) -> int:
    """Write the catalog as .csv, .json, .parquet, .duckdb, into a database (postgresql://…), or as a folder of bundles."""
    from whichgpu.catalog.bundles import Policy
    from whichgpu.tui.catalog_sharing import export_to

    return export_to(target, Policy(private=private, local=local, names=names), catalog)


@catalog.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8001, show_default=True)
@CATALOG
def serve(port: int, catalog: str | None) -> int:
    """Browse the catalog in Datasette, on this machine alone (extra: serve)."""
    from whichgpu.tui.catalog_sharing import serve as served

    return served(port, catalog)
