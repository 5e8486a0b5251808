"""sqlite-utils without the data frames that it imports wherever they are installed and that the catalog never hands it.

Importing pandas and numpy costs a first run up to a third of a second; installed or not, the answer is the same.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from types import ModuleType

_FRAMES = ("numpy", "pandas")


class _Absent(MetaPathFinder):
    """Says that data frames are not installed, to the thread that made it alone."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname in _FRAMES and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{fullname} is left out", name=fullname)


@contextmanager
def _without_frames() -> Iterator[None]:
    absent = _Absent()
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)


with _without_frames():
    from sqlite_utils import Database, Migrations

__all__ = ["Database", "Migrations"]
