"""This room's branch of the error tree.

WhichgpuError
  CatalogError          the catalog cannot be used; never fatal to an answer
    NewerCatalogError   it was written by a newer whichgpu
    MissingLibraryError a format or a server needs an extra (exit 2)
    NothingKeptError    it has nothing of a model (exit 4)
    QueryError          a search that cannot be understood (exit 2)
"""

from __future__ import annotations

from whichgpu.inspect.errors import MissingExtraError, WhichgpuError


class CatalogError(WhichgpuError):
    """The catalog cannot be opened, read or written."""


class MissingLibraryError(MissingExtraError, CatalogError):
    """A format or a server needs an extra (exit 2)."""


class NothingKeptError(CatalogError):
    """The catalog has nothing of a model that is asked for."""


class QueryError(CatalogError):
    """A search has an unknown field, or a value that is none."""


class NewerCatalogError(CatalogError):
    """The file has a schema that this version does not know."""
