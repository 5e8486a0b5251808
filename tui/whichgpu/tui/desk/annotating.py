"""Notes and tags, kept with who wrote them."""

from __future__ import annotations

from whichgpu.catalog.people import names_here
from whichgpu.catalog.records import Finding
from whichgpu.catalog.store import Catalog, people_of
from whichgpu.inspect.errors import UsageError
from whichgpu.inspect.text import clean


def tag_word(word: str) -> str:
    """Return a tag.

    Raises:
        UsageError: it is none.
    """
    if not 0 < len(word) <= 60 or any(c.isspace() for c in word) or clean(word) != word:
        raise UsageError(f"“{clean(word, 60)}” is no tag: one word of up to 60 letters.")
    return word


def annotate(store: Catalog, finding: Finding) -> None:
    """Keep a note or tag, and who its pseudonym is in this file.

    Raises:
        CatalogError: it cannot be written.
    """
    store.add(finding)
    with store.writing() as connection:
        people_of(connection, [(finding.made_by, *names_here())])
