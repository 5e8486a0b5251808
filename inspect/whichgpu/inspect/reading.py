"""What was read of one model so far: the one mutable thing that this room passes along."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from whichgpu.inspect.config_view import ConfigView
from whichgpu.inspect.design import Design
from whichgpu.inspect.headers import Tensor
from whichgpu.inspect.selection import Choice
from whichgpu.inspect.sources.base import Listing, Repository


@dataclass(slots=True)
class Reading:
    """Everything that was read of one model, before it is put together."""

    repository: Repository
    listing: Listing
    choice: Choice
    root: ConfigView | None = None
    design: Design | None = None
    pipeline: dict[str, Any] | None = None
    component_configs: dict[str, ConfigView] = field(default_factory=dict)
    extras: dict[str, dict[str, Any]] = field(default_factory=dict)
    tensors: dict[str, list[Tensor]] = field(default_factory=dict)
    """Per component, every tensor of its files."""
    gguf_elements: dict[str, int] | None = None
    gguf_type: str = ""
    index_names: list[str] = field(default_factory=list)
    index_files: list[str] = field(default_factory=list)
    index_bytes: dict[str, int] = field(default_factory=dict)
    """Per component, metadata.total_size of its index."""
    adapter_of: str | None = None
    warnings: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def has(self, path: str) -> bool:
        return any(f.path == path for f in self.listing.files)
