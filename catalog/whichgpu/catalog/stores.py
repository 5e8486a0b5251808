"""Where bundles lie: a folder, anything that fsspec reaches, or a dataset repository of the Hugging Face Hub."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from whichgpu.catalog.bundles import FORMAT, MOST_PACKED
from whichgpu.catalog.errors import CatalogError
from whichgpu.inspect.text import clean

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_FOLDER = "bundles"
_MANIFEST = "manifest.json"
_ABOUT = json.dumps({"whichgpu": "catalog bundles", "format": FORMAT, "folder": _FOLDER}, indent=1).encode() + b"\n"
_HUB = "hf://datasets/"
_TRIES = 6
_SSH = {"timeout": 10, "banner_timeout": 10, "auth_timeout": 10}
_PATIENCE: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 10, "read_timeout": 20, "retries": {"max_attempts": 2}}},
    "ssh": _SSH,
    "sftp": _SSH,
}
"""Options of back ends that would wait for minutes: seconds, and tries."""

_WITHOUT_FOLDERS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss"})
"""Back ends that have none to make: they would make a bucket of a name that was mistyped."""

_PART = re.compile(r"\.(manifest\.json|[0-9a-f]{64}\.jsonl\.gz)\.[0-9a-f]{8}")
_PART_SECONDS = 3600.0


class BundleStore(Protocol):
    """Append-only: bundles are added and read, never changed."""

    def names(self) -> set[str]:
        """Return the names of all bundles."""

    def read(self, name: str) -> bytes:
        """Return a bundle."""

    def add(self, bundles: Mapping[str, bytes]) -> None:
        """Add bundles; one that is there already stays as it is."""


def store_at(target: str) -> BundleStore:
    """Return the store that a target names: a folder, an fsspec URL, or ``hf://datasets/ORG/NAME``.

    Raises:
        CatalogError: the URL is of a kind that nothing installed here can reach.
    """
    if target.startswith(_HUB):
        from whichgpu.catalog.hub_store import HubStore

        return HubStore(target.removeprefix(_HUB).strip("/"))
    return FileStore(target)


@contextmanager
def _store_errors(target: str) -> Iterator[None]:
    try:
        yield
    except CatalogError:
        raise
    except Exception as error:
        reason = clean(getattr(error, "strerror", None) or str(error) or type(error).__name__, 120)
        raise CatalogError(
            f"{clean(target)} cannot be used: {reason}.", "Check that you may read and write there."
        ) from error


class FileStore:
    """A folder, or a place that fsspec reaches (s3://, gs://, ssh://, memory://, …); access is that place's own."""

    def __init__(self, target: str) -> None:
        import fsspec

        self._target = target
        self._protocol = protocol = target.partition("://")[0] if "://" in target else ""
        try:
            with _store_errors(target):
                place = target if protocol else str(Path(target).expanduser())
                # Not fsspec's cached one: its credentials and address may be those of an earlier time.
                fs_and_root = fsspec.url_to_fs(place, skip_instance_cache=True, **_PATIENCE.get(protocol, {}))
        except CatalogError as error:
            if isinstance(error.__cause__, ImportError | ValueError):
                error.hint = "Install that back end."
            raise
        self._fs: AbstractFileSystem = fs_and_root[0]
        self._root = str(fs_and_root[1]).rstrip("/")

    def names(self) -> set[str]:
        with _store_errors(self._target):
            if not self._fs.exists(self._root) and not self._is_local:
                return set()
            if not self._fs.exists(f"{self._root}/{_FOLDER}"):
                return set()
            self._fs.invalidate_cache()
            paths: list[Any] = self._fs.ls(f"{self._root}/{_FOLDER}", detail=False)
            return {str(path).rsplit("/", 1)[-1] for path in paths if not str(path).rsplit("/", 1)[-1].startswith(".")}

    def read(self, name: str) -> bytes:
        with _store_errors(self._target), self._fs.open(f"{self._root}/{_FOLDER}/{name}", "rb") as file:
            return bytes(file.read(MOST_PACKED + 1))

    def add(self, bundles: Mapping[str, bytes]) -> None:
        with _store_errors(self._target):
            if self._protocol not in _WITHOUT_FOLDERS:
                self._fs.makedirs(f"{self._root}/{_FOLDER}", exist_ok=True)
            if self._is_local:
                self._sweep()
            self._put(f"{self._root}/{_MANIFEST}", _ABOUT)
            for name, data in bundles.items():
                self._put(f"{self._root}/{_FOLDER}/{name}", data)

    @property
    def _is_local(self) -> bool:
        return type(self._fs).__name__ == "LocalFileSystem"

    def _sweep(self) -> None:
        """Remove what a writer left that was killed half-way; what is young may be somebody's who writes now."""
        for folder in (self._root, f"{self._root}/{_FOLDER}"):
            for entry in self._fs.ls(folder, detail=True):
                name = str(entry["name"]).rsplit("/", 1)[-1]
                if _PART.fullmatch(name) and time.time() - float(entry["mtime"]) > _PART_SECONDS:
                    self._fs.rm_file(entry["name"])

    def _put(self, path: str, data: bytes) -> None:
        """Write whole or not at all: objects are, and a local file is renamed when it is complete."""
        if self._fs.exists(path):
            return
        if not self._is_local:
            self._fs.pipe_file(path, data)
            return
        folder, name = path.rsplit("/", 1)
        part = f"{folder}/.{name}.{secrets.token_hex(4)}"
        self._fs.pipe_file(part, data)
        self._fs.mv(part, path)
