"""What a shell completes: models of the atlas and the catalog, accelerators, fields of a search. Imports wait for the tab key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_MOST = 200
"""Names of the catalog that are offered at once."""


def complete_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer models that begin so, with or without their owner; a path is left to the shell."""
    from click.shell_completion import CompletionItem

    if incomplete.startswith((".", "/", "~")):
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(name) for name in models_like(incomplete, _catalog_option(context))]


def models_like(start: str, catalog: str | None = None) -> list[str]:
    """Return the models of the atlas and then of the catalog whose name begins so, else those that do without their owner."""
    from whichgpu import assets
    from whichgpu.catalog.atlas_index import FILE_NAME, read_index

    wanted = start.lower()
    known = dict.fromkeys([*(entry.name for entry in read_index(assets.read(FILE_NAME))), *_kept(catalog)])
    return [name for name in known if name.lower().startswith(wanted)] or [
        name for name in known if name.lower().rsplit("/", 1)[-1].startswith(wanted)
    ]


def _kept(catalog: str | None) -> list[str]:
    """Names of the catalog, the newest first; none where there is no catalog or it cannot be read."""
    import sqlite3

    from whichgpu.catalog.errors import CatalogError
    from whichgpu.inspect.text import clean
    from whichgpu.tui.desk.desk import open_desk

    desk = open_desk(catalog)
    if not desk.catalog.is_file():
        return []
    try:
        with desk.store.reading() as connection:
            rows = connection.execute("SELECT model FROM models ORDER BY made_at DESC LIMIT ?", (_MOST,)).fetchall()
    except (CatalogError, OSError, sqlite3.Error):
        return []
    return [clean(str(name)) for (name,) in rows]


def _catalog_option(context: click.Context) -> str | None:
    """The catalog that the line names, at whatever level of the command."""
    found = (level.params.get("catalog") for level in _levels(context))
    return next((stated for stated in found if stated), None)


def _levels(context: click.Context | None) -> Iterable[click.Context]:
    while context is not None:
        yield context
        context = context.parent


def complete_cards(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer accelerators by the short name that --gpu takes; help is the whole one."""
    from click.shell_completion import CompletionItem

    from whichgpu import assets
    from whichgpu.plan.hardware import parse_accelerators

    wanted = _plain(incomplete)
    cards = parse_accelerators(assets.read("accelerators.json"))
    begin = [card for card in cards if _plain(card.key).startswith(wanted)]
    offered = begin or [card for card in cards if wanted in _plain(card.name)]
    return [CompletionItem(card.key, help=card.name) for card in offered]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def complete_fields(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the columns that a search of the catalog knows: ``params:``, ``gpu:``."""
    from click.shell_completion import CompletionItem

    from whichgpu.catalog.query import FIELDS

    return [CompletionItem(f"{name}:") for name in FIELDS if name.startswith(incomplete.lower())]
