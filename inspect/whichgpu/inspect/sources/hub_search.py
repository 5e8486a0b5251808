"""The Hub's own search: models by words, with the terms they are offered on."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from huggingface_hub import constants

from whichgpu.inspect.errors import OfflineError
from whichgpu.inspect.reference import is_repository_id
from whichgpu.inspect.sources.hub_http import HubHttp
from whichgpu.inspect.sources.hub_terms import terms_of
from whichgpu.inspect.text import clean

_LIMIT = 4 * 2**20


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model that the Hub found; ``None`` is unknown."""

    name: str
    licence: str | None
    gated: bool | None
    modified: str | None
    """ISO date."""


def search_hub(words: str, count: int = 30) -> list[HubModel]:
    """Return models that the Hub finds, the most downloaded first.

    Raises:
        NetworkError: the Hub cannot be reached, or the network is switched off.
        SourceError: it refuses.
    """
    if constants.is_offline_mode():
        raise OfflineError("The network is switched off.")
    http = HubHttp()
    parameters = {"search": words, "sort": "downloads", "limit": count, "expand": ("gated", "lastModified", "tags")}
    query = urlencode(parameters, doseq=True)
    reply = http.json(f"{http.endpoint}/api/models?{query}", _LIMIT)
    entries = [m for m in reply if isinstance(m, dict)] if isinstance(reply, list) else []
    return [
        HubModel(clean(m["id"], 200), **terms_of(m))
        for m in entries
        if isinstance(m.get("id"), str) and is_repository_id(m["id"])
    ]
