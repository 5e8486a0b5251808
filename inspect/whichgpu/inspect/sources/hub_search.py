"""The Hub's own search: names of models, by words."""

from __future__ import annotations

from urllib.parse import urlencode

from huggingface_hub import constants

from whichgpu.inspect.errors import OfflineError
from whichgpu.inspect.reference import is_repository_id
from whichgpu.inspect.sources.hub_http import HubHttp
from whichgpu.inspect.text import clean

_LIMIT = 4 * 2**20


def search_hub(words: str, count: int = 30) -> list[str]:
    """Return ids of models that the Hub finds, the most downloaded first.

    Raises:
        NetworkError: the Hub cannot be reached, or the network is switched off.
    """
    if constants.is_offline_mode():
        raise OfflineError("The network is switched off.")
    http = HubHttp()
    query = urlencode({"search": words, "sort": "downloads", "direction": -1, "limit": count})
    found = http.json(f"{http.endpoint}/api/models?{query}", _LIMIT)
    names = [m.get("id") for m in found if isinstance(m, dict)] if isinstance(found, list) else []
    return [clean(n, 200) for n in names if isinstance(n, str) and is_repository_id(n)]
