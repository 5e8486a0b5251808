"""What the browser lists: recent models, the catalog, the atlas, and what the Hub finds; read off the UI's thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whichgpu.catalog.errors import CatalogError
from whichgpu.inspect.text import clean
from whichgpu.tui.bundled import bundled_atlas
from whichgpu.tui.units import NOTHING, parameters, tokens

if TYPE_CHECKING:
    from whichgpu.inspect.records import Inspection

_FROM_CATALOG = 5_000


@dataclass(frozen=True, slots=True)
class Known:
    """One line of the browser."""

    name: str
    what: str
    size: str
    context: str
    source: str
    """recent, catalog, atlas or Hub."""

    @property
    def cells(self) -> tuple[str, ...]:
        return clean(self.name, 200), self.what, self.size, self.context, self.source


def local_models(recent: Sequence[str]) -> list[Known]:
    """Return everything that is known without a network: recent first, then the catalog, then the atlas."""
    from whichgpu.catalog.query import search
    from whichgpu.catalog.store import Catalog
    from whichgpu.tui.answering import catalog_path

    found: dict[str, Known] = {}
    try:
        for row in search(Catalog(catalog_path(None)), "", limit=_FROM_CATALOG):
            what = (row.label or "?").replace("multimodal", "mm")
            found[row.model] = Known(row.model, what, parameters(row.parameters), _short(row.context), "catalog")
    except CatalogError:
        pass  # the atlas is there all the same; an answer will say what is wrong with the catalog
    atlas = bundled_atlas()
    for name in atlas.names():
        inspection = atlas.find(name) if name not in found else None
        if inspection is not None:
            found[name] = of(inspection, "atlas")
    first = [Known(n, *_rest(found.get(n)), "recent") for n in recent]
    return [*first, *(k for n, k in found.items() if n not in recent)]


def _rest(known: Known | None) -> tuple[str, str, str]:
    return (known.what, known.size, known.context) if known is not None else ("", "", "")


def of(inspection: Inspection, source: str) -> Known:
    """Return the line of an inspection."""
    context = inspection.architecture.context if inspection.architecture else None
    what = inspection.label.replace("multimodal", "mm")
    return Known(inspection.source.name, what, parameters(inspection.parameters.total.value), _short(context), source)


def _short(context: int | None) -> str:
    if context is None:
        return NOTHING
    return f"{context // 1024}k" if context >= 1024 else tokens(context)


def matching(models: Iterable[Known], text: str) -> list[Known]:
    """Return the models that have all words of a filter somewhere, best first: in the name before elsewhere."""
    words = text.lower().split()
    scored = []
    for index, known in enumerate(models):
        name, everything = known.name.lower(), " ".join(known.cells).lower()
        if all(word in everything or _fuzzy(word, name) for word in words):
            scored.append((sum(word not in name for word in words), index, known))
    return [known for *_, known in sorted(scored, key=lambda s: s[:2])]


def _fuzzy(word: str, name: str) -> bool:
    """True where a word's letters are in a name in this order, for words of four letters and more."""
    letters = iter(name)
    return len(word) >= 4 and all(letter in letters for letter in word)
