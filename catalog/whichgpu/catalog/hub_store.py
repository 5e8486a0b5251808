"""Bundles in a dataset repository of the Hugging Face Hub: each push is one commit on the commit that was seen."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from whichgpu.catalog.bundles import FORMAT
from whichgpu.catalog.errors import CatalogError
from whichgpu.inspect.text import clean

_FOLDER = "bundles/"
_TRIES = 6
_OUTRUN = (409, 412)
"""Another commit came first."""

_CARD = f"""---
tags: [whichgpu]
---
Findings of whichgpu: bundles of format {FORMAT}; `whichgpu catalog pull` reads them.
"""


class HubStore:
    """A dataset repository ``ORG/NAME``; who may read and write is the Hub's to say."""

    def __init__(self, name: str) -> None:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            raise CatalogError(f"“{clean(name)}” is no dataset.", "Write hf://datasets/ORG/NAME.")
        self._name, self._api = name, HfApi()

    def names(self) -> set[str]:
        try:
            files = self._api.list_repo_files(self._name, repo_type="dataset")
        except RepositoryNotFoundError:
            return set()
        except Exception as error:
            raise self._trouble(error) from error
        return {f.removeprefix(_FOLDER) for f in files if f.startswith(_FOLDER)}

    def read(self, name: str) -> bytes:
        try:
            path = hf_hub_download(self._name, f"{_FOLDER}{name}", repo_type="dataset")
            with open(path, "rb") as file:
                return file.read()
        except Exception as error:
            raise self._trouble(error) from error

    def add(self, bundles: Mapping[str, bytes]) -> None:
        """Commit the bundles; where someone else's commit came first, look again and repeat."""
        adding = [CommitOperationAdd(f"{_FOLDER}{name}", data) for name, data in bundles.items()]
        for attempt in range(_TRIES):
            try:
                operations = [*adding, *self._card()]
                self._api.create_commit(
                    self._name,
                    operations,
                    commit_message=f"{len(bundles)} bundles of findings",
                    repo_type="dataset",
                    parent_commit=self._head(),
                )
                return
            except HfHubHTTPError as error:
                status = error.response.status_code if error.response is not None else None
                if status not in _OUTRUN or attempt == _TRIES - 1:
                    raise self._trouble(error) from error
                time.sleep(0.2 * 2**attempt)
            except Exception as error:
                raise self._trouble(error) from error

    def _head(self) -> str | None:
        """The commit that the next one is on; the repository is made, private, where there is none."""
        try:
            return self._api.dataset_info(self._name).sha
        except RepositoryNotFoundError:
            self._api.create_repo(self._name, repo_type="dataset", private=True, exist_ok=True)
            return self._api.dataset_info(self._name).sha

    def _card(self) -> list[CommitOperationAdd]:
        try:
            files = self._api.list_repo_files(self._name, repo_type="dataset")
        except RepositoryNotFoundError:
            files = []
        return [] if "README.md" in files else [CommitOperationAdd("README.md", _CARD.encode())]

    def _trouble(self, error: Exception) -> CatalogError:
        reason = clean(str(error).splitlines()[0] if str(error) else type(error).__name__, 120)
        return CatalogError(f"hf://datasets/{self._name} cannot be used: {reason}", "Check HF_TOKEN and its rights.")
