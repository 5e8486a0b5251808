"""The seam between a model and the rest of this room: list files, read small ones, read headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from whichgpu.inspect.headers import Tensor
from whichgpu.inspect.records import Inspection, ModelSource

Progress = Callable[[str, int, int], None]
"""Called with (step, done, total) while something slow goes on."""


def silent(step: str, done: int, total: int) -> None:
    """A progress callback that shows nothing."""


Known = Callable[[ModelSource], Inspection | None]
"""Called with a repository at its commit; returns what is known of it already."""


def nothing_known(source: ModelSource) -> Inspection | None:
    """Knows nothing."""
    return None


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a repository; ``size`` is ``None`` when the listing does not say."""

    path: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in a repository, and what the Hub itself says about it."""

    source: ModelSource
    files: tuple[FileEntry, ...]
    hub_facts: Mapping[str, Any] = field(default_factory=dict)
    """From the Hub's model info: ``gguf``, ``safetensors``, ``pipeline_tag``, ``library_name``, ``tags``."""
    warnings: tuple[str, ...] = ()


class Repository(Protocol):
    """A model that can be looked into without reading its weights."""

    def listing(self) -> Listing:
        """Return the files and where they are; asked once."""

    def read(self, path: str, limit: int) -> bytes:
        """Return a small file whole; raise ``UnreadableError`` when it is larger than ``limit`` bytes."""

    def headers(self, files: Sequence[FileEntry], progress: Progress) -> dict[str, list[Tensor]]:
        """Return the checked safetensors headers of these files."""

    def start_of(self, entry: FileEntry, size: int) -> bytes:
        """Return the first ``size`` bytes of a file (for GGUF), or less when the file is shorter."""

    def source(self) -> ModelSource:
        """Return the source record as it stands now (the number of requests grows)."""
