"""Notes and tags, kept with who wrote them."""

from __future__ import annotations

from whichgpu.catalog.errors import NothingKeptError
from whichgpu.catalog.people import names_here
from whichgpu.catalog.records import Finding
from whichgpu.catalog.store import SAME_MODEL, Catalog, people_of
from whichgpu.inspect.errors import UsageError
from whichgpu.inspect.text import clean
from whichgpu.tui.desk.bundled import bundled_atlas


def tag_word(word: str) -> str:
    """Return a tag.

    Raises:
        UsageError: it is none.
    """
    if not 0 < len(word) <= 60 or any(c.isspace() for c in word) or clean(word) != word:
        raise UsageError(f"“{clean(word, 60)}” is no tag: one word of up to 60 letters.")
    return word


def check_is_known(store: Catalog, model: str) -> None:
    """Refuse to annotate what nobody ever looked at: a typo would be kept for the whole team.

    Raises:
        NothingKeptError: neither the catalog nor the atlas has the model.
    """
    if not store.find(SAME_MODEL, (model,), 1) and bundled_atlas().find(model) is None:
        name = clean(model)
        raise NothingKeptError(f"Neither the catalog nor the atlas has {name}.", f"Ask for it first: whichgpu {name}.")


def annotate(store: Catalog, finding: Finding) -> None:
    """Keep a note or tag, and who its pseudonym is in this file.

    Raises:
        CatalogError: it cannot be written.
    """
    store.add(finding)
    with store.writing() as connection:
        people_of(connection, [(finding.made_by, *names_here())])
