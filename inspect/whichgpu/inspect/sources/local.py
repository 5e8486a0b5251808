"""Models on this machine: a folder, one file, an entry of the Hugging Face cache."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from whichgpu.inspect.errors import AccessError, NotFoundError, UnreadableError
from whichgpu.inspect.headers import Tensor, header_length, parse_header, refuse_too_many
from whichgpu.inspect.records import ModelSource
from whichgpu.inspect.selection import SHARD
from whichgpu.inspect.sources.base import FileEntry, Listing, Progress
from whichgpu.inspect.text import clean

_MAX_FILES = 20_000
_MAX_DEPTH = 4


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn the file system's errors into ours."""
    try:
        yield
    except PermissionError as error:
        raise AccessError(f"No permission to read {clean(path)}.", "Check the owner and mode of the folder.") from error
    except FileNotFoundError as error:
        raise NotFoundError(f"{clean(path)} is not there (any more).") from error
    except OSError as error:
        raise UnreadableError(f"{clean(path)} cannot be read: {clean(error.strerror or error)}.") from error


class FolderRepository:
    """A local folder that looks like a repository."""

    def __init__(self, root: Path, kind: str = "folder", name: str | None = None, commit: str | None = None) -> None:
        self._root = root
        self._seen = 0
        self._closed: list[str] = []
        self._source = ModelSource(
            kind=kind,
            name=clean(name or root.resolve().name),
            commit=commit,
            path=clean(root, 4096),
            read_on=datetime.now(UTC).date().isoformat(),
        )

    def source(self) -> ModelSource:
        return self._source

    def listing(self) -> Listing:
        with translated(self._root):
            files = tuple(self._walk(self._root, 0))
        warnings = tuple(f"{clean(name)} is left out: no permission to read it." for name in self._closed)
        return Listing(self._source, tuple(sorted(files, key=lambda f: f.path)), warnings=warnings)

    def _walk(self, folder: Path, depth: int) -> Iterator[FileEntry]:
        try:
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except PermissionError:
            if depth == 0:
                raise
            self._closed.append(folder.relative_to(self._root).as_posix())
            return
        for entry in entries:
            self._seen += 1
            if self._seen > _MAX_FILES:
                raise UnreadableError(f"{clean(folder)} holds more than {_MAX_FILES:,} files; that is no model.")
            if entry.name.startswith("."):
                continue
            if entry.is_dir() and depth < _MAX_DEPTH:
                yield from self._walk(Path(entry.path), depth + 1)
            elif entry.is_file():
                yield FileEntry(Path(entry.path).relative_to(self._root).as_posix(), entry.stat().st_size)

    def read(self, path: str, limit: int) -> bytes:
        target = self._root / path
        with translated(target), target.open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise UnreadableError(f"{clean(path)} is larger than {limit:,} bytes.")
        return data

    def headers(self, files: Sequence[FileEntry], progress: Progress) -> dict[str, list[Tensor]]:
        tensors_by_file: dict[str, list[Tensor]] = {}
        for index, entry in enumerate(files):
            progress("reading headers", index, len(files))
            tensors_by_file[entry.path] = read_local_header(self._root / entry.path)
            refuse_too_many(tensors_by_file)
        return tensors_by_file

    def start_of(self, entry: FileEntry, size: int) -> bytes:
        target = self._root / entry.path
        with translated(target), target.open("rb") as file:
            return file.read(size)


class FileRepository(FolderRepository):
    """One weight file, with whatever config lies beside it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent, "file", path.name)
        self._path = path
        self._source = self._source.model_copy(update={"path": str(path)})

    def listing(self) -> Listing:
        with translated(self._path):
            size = self._path.stat().st_size
            beside = self._path.parent / "config.json"
            config = (FileEntry("config.json", beside.stat().st_size),) if beside.is_file() else ()
            shards = self._siblings()
        if self._path.suffix.lower() == ".gguf":
            config = ()
        files = shards or (FileEntry(self._path.name, size),)
        return Listing(self._source, (*config, *files))

    def _siblings(self) -> tuple[FileEntry, ...]:
        """The other shards, when the file is one of several."""
        shard_match = SHARD.match(self._path.name)
        if shard_match is None:
            return ()
        folder = [(p, SHARD.match(p.name)) for p in sorted(self._path.parent.iterdir()) if p.is_file()]
        same = [
            p
            for p, m in folder
            if m
            and (m["stem"], m["total"], m["rest"]) == (shard_match["stem"], shard_match["total"], shard_match["rest"])
        ]
        return tuple(FileEntry(p.name, p.stat().st_size) for p in same)


def read_local_header(path: Path) -> list[Tensor]:
    """Read and check one local safetensors header; the data is never read."""
    with translated(path), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = header_length(file.read(8), path.name, size)
        data = file.read(length)
    return parse_header(data, path.name, size - 8 - length)


def cache_snapshot(cache: Path, name: str, revision: str | None) -> FolderRepository | None:
    """Return a Hub repository from the Hugging Face cache, or ``None`` when it is not there.

    Layout: ``models--ORG--NAME/refs/REVISION`` holds a commit, ``snapshots/COMMIT`` the files.
    """
    entry = cache / f"models--{name.replace('/', '--')}"
    revision_name = revision or "main"
    reference = entry / "refs" / revision_name
    try:
        commit = reference.read_text().strip() if reference.is_file() else revision_name
        snapshot = entry / "snapshots" / commit
        return FolderRepository(snapshot, "cache", name, commit) if snapshot.is_dir() else None
    except OSError:
        return None


def cache_entry(path: Path) -> FolderRepository | None:
    """Recognise a folder of the Hugging Face cache, or one of its snapshots."""
    for folder in (path, *path.parents[:2]):
        if folder.name.startswith("models--"):
            name = folder.name.removeprefix("models--").replace("--", "/", 1)
            if path.parent.name == "snapshots":
                return FolderRepository(path, "cache", name, path.name)
            return cache_snapshot(folder.parent, name, None) or _only_snapshot(folder, name)
    return None


def _only_snapshot(folder: Path, name: str) -> FolderRepository | None:
    try:
        snapshots = sorted(p for p in (folder / "snapshots").iterdir() if p.is_dir())
    except OSError:
        return None
    return FolderRepository(snapshots[-1], "cache", name, snapshots[-1].name) if snapshots else None
