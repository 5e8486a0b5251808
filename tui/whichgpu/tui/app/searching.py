"""A search that leaves the list: the whole catalog, then the Hub."""

from __future__ import annotations

from whichgpu.inspect.errors import NetworkError, SourceError
from whichgpu.inspect.sources.hub_search import search_hub
from whichgpu.tui.app.knowledge import Known, of_catalog
from whichgpu.tui.desk.desk import Desk

_OF_EACH = 50


def ask_around(desk: Desk, text: str, offline: bool) -> tuple[list[Known], str]:
    """Return models of catalog and Hub that match a filter's words, and a word where the Hub could not be asked.

    The filter's fields are left to the list, which knows how to keep them.
    """
    words = " ".join(w for w in text.split() if ":" not in w)
    if len(words) < 3:
        return [], ""
    quoted = " ".join(f'"{w}"' for w in words.replace('"', " ").split())
    catalog_models = of_catalog(desk, quoted, _OF_EACH)
    if offline:
        return catalog_models, ""
    try:
        hub = [Known(m.name, "Hub", licence=m.licence, gated=m.gated, date=m.modified) for m in search_hub(words)]
    except NetworkError:
        return catalog_models, "offline: atlas and catalog"
    except SourceError as error:
        return catalog_models, f"the Hub: {error.message}"
    listed = {k.name.lower() for k in catalog_models}
    return [*catalog_models, *(k for k in hub if k.name.lower() not in listed)], ""
