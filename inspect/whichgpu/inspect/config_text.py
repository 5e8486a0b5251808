"""A model's config as text for a person: read anew, printable line by line."""

from __future__ import annotations

import json
from pathlib import Path

from whichgpu.inspect.config_view import MAX_CONFIG_BYTES, parse_json
from whichgpu.inspect.errors import NotFoundError, OfflineError
from whichgpu.inspect.inspector import open_repository
from whichgpu.inspect.records import ModelSource
from whichgpu.inspect.reference import Reference
from whichgpu.inspect.sources.base import Repository
from whichgpu.inspect.text import clean

_NAMES = ("config.json", "params.json", "model_index.json")
_LONGEST_LINE = 300
_MOST_LINES = 4_000


def config_text(source: ModelSource, offline: bool) -> tuple[str, str]:
    """Return the name of the file that describes a model, and its content, indented.

    Raises:
        OfflineError: it would have to come from the network.
        SourceError: it cannot be read, or the model has none.
    """
    repository = _repository(source, offline)
    for name in _NAMES:
        try:
            content = parse_json(repository.read(name, MAX_CONFIG_BYTES), name)
        except NotFoundError:
            continue
        lines = json.dumps(content, indent=2, ensure_ascii=False).splitlines()
        more = [f"… {len(lines) - _MOST_LINES:,} lines more"] if len(lines) > _MOST_LINES else []
        return name, "\n".join([*(clean(line, _LONGEST_LINE) for line in lines[:_MOST_LINES]), *more])
    raise NotFoundError(f"{clean(source.name)} has none of {', '.join(_NAMES)}.")


def _repository(source: ModelSource, offline: bool) -> Repository:
    if source.kind in ("folder", "file") and source.path is not None:
        path = Path(source.path)
        return open_repository(Reference("folder", source.name, path=path.parent if source.kind == "file" else path))
    from huggingface_hub import constants

    from whichgpu.inspect.sources.local import cache_snapshot

    cached = cache_snapshot(Path(constants.HF_HUB_CACHE), source.name, source.commit or source.revision)
    if cached is not None:
        return cached
    if offline:
        raise OfflineError("The config is not on this machine.", "It is read from the Hub when there is a network.")
    return open_repository(Reference("hub", source.name, revision=source.commit or source.revision))
