"""What the browser lists: pinned and recent models, the catalog, the atlas, and what the Hub finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from whichgpu import assets
from whichgpu.catalog.atlas_index import FILE_NAME, Entry, read_index
from whichgpu.catalog.errors import CatalogError, QueryError
from whichgpu.inspect.errors import UsageError, WhichgpuError
from whichgpu.inspect.text import clean
from whichgpu.tui.desk.desk import Desk
from whichgpu.tui.words.plans import cards_in_words, short_name
from whichgpu.tui.words.units import NOTHING, dollars, parameters, tokens

if TYPE_CHECKING:
    from whichgpu.catalog.query import Row
    from whichgpu.plan.records import Plan

FROM_CATALOG = 5_000
"""Models of the catalog that are listed; a filter finds the others too."""


@dataclass(frozen=True, slots=True)
class Known:
    """One line of the browser; ``None`` is unknown."""

    name: str
    source: str
    """pinned, recent, catalog, atlas or Hub."""
    classes: tuple[str, ...] = ()
    parameters: int | None = None
    context: int | None = None
    """Tokens."""
    licence: str | None = None
    gated: bool | None = None
    date: str | None = None
    """ISO date of the last change on the Hub."""
    on: str = ""
    """What it runs on at the remembered workload, as far as that was worked out."""
    path: str | None = None
    """Where it was read on this machine; ``None`` for the Hub's."""

    @property
    def cells(self) -> tuple[str, ...]:
        """Cells of the list: model, what, size, context, on, licence, changed, from."""
        what = "+".join(self.classes).replace("multimodal", "mm").replace("encoder-decoder", "enc-dec")
        is_classified = bool(self.classes)
        gate = " gated" if self.gated else ""
        return (
            clean(self.name, 200),
            what,
            parameters(self.parameters) if is_classified else "",
            _short(self.context) if is_classified else "",
            self.on,
            clean(f"{self.licence or ''}{gate}".strip(), 24),
            clean(self.date or "", 10),
            self.source,
        )


HEADERS = ("model", "what", "size", "context", "runs on", "licence", "changed", "from")
SORTS: dict[str, Callable[[Known], tuple[bool, object]]] = {
    "name": lambda k: (False, k.name.rsplit("/", 1)[-1].lower()),
    "size": lambda k: (k.parameters is None, k.parameters or 0),
    "context": lambda k: (k.context is None, -(k.context or 0)),
    "changed": lambda k: (k.date is None, [-ord(c) for c in k.date or ""]),
}
"""Orders to choose from; what is unknown comes last."""


def of_atlas() -> list[Known]:
    """Return the atlas as a list, from its index alone."""
    return [_of_entry(entry) for entry in read_index(assets.read(FILE_NAME))]


def _of_entry(entry: Entry) -> Known:
    return Known(
        entry.name,
        "atlas",
        tuple(entry.classes),
        entry.parameters,
        entry.context,
        entry.licence,
        entry.gated,
        entry.modified,
    )


def of_catalog(desk: Desk, words: str = "", limit: int = FROM_CATALOG) -> list[Known]:
    """Return models of the catalog, newest first; none where it can't be read, which an answer will say."""
    from whichgpu.catalog.query import search

    try:
        return [_of_row(row) for row in search(desk.store, words, limit=limit)]
    except CatalogError:
        return []


def _of_row(row: Row) -> Known:
    classes = tuple(row.label.split(" + ")) if row.label else ("?",)
    terms = (row.licence, row.gated, row.modified)
    return Known(row.model, "catalog", classes, row.parameters, row.context, *terms, path=row.local_path)


_GLYPHS = {"tight": "! ", "unknown": "? "}


def on_of(plan: Plan | None) -> str:
    """What a model runs on, as the list says it."""
    if plan is None:
        return "✗ nothing"
    price = f" {dollars(plan.total_usd_per_hour)}" if plan.total_usd_per_hour is not None else ""
    cards = cards_in_words(plan, short_name(plan).removesuffix(" SXM"))
    return f"{_GLYPHS.get(plan.verdict.value, '')}{cards}{price}"


def together(
    pinned: Sequence[str], recent: Sequence[str], catalog: Iterable[Known], atlas: Iterable[Known]
) -> list[Known]:
    """Return one list: pinned, recent, then the catalog before the atlas, each model once."""
    model_by_name: dict[str, Known] = {}
    for model in (*catalog, *atlas):
        model_by_name.setdefault(model.name, model)
    first = [*((n, "pinned") for n in pinned), *((n, "recent") for n in recent if n not in pinned)]
    top = [replace(model_by_name[n], source=s) if n in model_by_name else Known(n, s) for n, s in first]
    return [*top, *(k for n, k in model_by_name.items() if n not in pinned and n not in recent)]


def _short(context: int | None) -> str:
    if context is None:
        return NOTHING
    return f"{context // 1024}k" if context >= 1024 else tokens(context)


class FilterError(UsageError):
    """A filter that can't be understood; the list stays as it is."""


FIELDS = ("class", "size", "licence", "gated", "changed", "from")
_TERM = re.compile(r"([a-z]+):(.*)", re.IGNORECASE)


def named_by(text: str) -> str:
    """Return the model that a URL of the Hub names; other text as it is."""
    if "://" not in text and not text.startswith(("hf.co/", "huggingface.co/")):
        return text
    from whichgpu.inspect.reference import parse_reference

    with suppress(WhichgpuError):
        return parse_reference(text).name
    return text


def matching(models: Iterable[Known], text: str) -> list[Known]:
    """Return the models that have all words of a filter somewhere and keep all its fields, names that match first.

    Raises:
        FilterError: an unknown field, or a value that is none.
    """
    words, predicates = [], list[Callable[[Known], bool]]()
    for term in text.lower().split():
        field = _TERM.fullmatch(term)
        if field is None:
            words.append(term)
        elif field[2]:  # a field that is still being typed filters nothing
            predicates.append(_keeps(field[1], field[2]))
    scored = []
    for index, model in enumerate(models):
        if not all(keeps(model) for keeps in predicates):
            continue
        name, everything = model.name.lower(), " ".join(model.cells).lower()
        if all(word in everything or _fuzzy(word, name) for word in words):
            scored.append((sum(word not in name for word in words), index, model))
    return [model for *_, model in sorted(scored, key=lambda s: s[:2])]


def _keeps(field: str, value: str) -> Callable[[Known], bool]:
    if field == "class":
        return lambda k: any(c.startswith(value) for c in k.classes)
    if field in ("size", "params"):
        return _size_predicate(field, value)
    if field in ("licence", "license"):
        return lambda k: value in (k.licence or "").lower()
    if field == "gated":
        flag = {"yes": True, "y": True, "no": False, "n": False}.get(value)
        return lambda k: k.gated is flag and flag is not None
    if field == "changed":
        return lambda k: k.date is not None and k.date >= value
    if field == "from":
        return lambda k: k.source.lower().startswith(value)
    raise FilterError(f"“{clean(field)}” is no field of {', '.join(FIELDS)}")


def _size_predicate(field: str, value: str) -> Callable[[Known], bool]:
    import operator

    from whichgpu.catalog.query import comparison

    if value in ("<", ">", "<=", ">=", "="):
        return lambda _: True
    try:
        sign, number = comparison(field, value)
    except QueryError as error:
        raise FilterError(error.message.rstrip(".")) from error
    holds = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq}[sign]
    return lambda k: k.parameters is not None and holds(k.parameters, number)


def _fuzzy(word: str, name: str) -> bool:
    """True where a word's letters are in a name in this order, for words of four letters and more."""
    letters = iter(name)
    return len(word) >= 4 and all(letter in letters for letter in word)
