"""Where a model is read from: the Hub, a folder, the Hugging Face cache, a single file."""

from __future__ import annotations

from whichgpu.inspect.sources.base import FileEntry, Progress, Repository

__all__ = ["FileEntry", "Progress", "Repository"]
