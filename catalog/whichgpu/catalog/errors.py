"""This room's branch of the error tree.

WhichgpuError
  CatalogError          the catalog cannot be used; never fatal to an answer
    NewerCatalogError   it was written by a newer whichgpu
    QueryError          a search that cannot be understood (exit 2)
"""

from __future__ import annotations

from whichgpu.inspect.errors import WhichgpuError


class CatalogError(WhichgpuError):
    """The catalog cannot be opened, read or written."""


class QueryError(CatalogError):
    """A search has an unknown field, or a value that is none."""


class NewerCatalogError(CatalogError):
    """The file has a schema that this version does not know."""
