"""A repository on the Hugging Face Hub or a mirror of it, read with as few requests as its size allows.

One request for the listing with sizes, one for each small file, then the headers: in a single request where
the Hub offers that (``main`` of a sharded model), else one range per shard, in parallel.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Lock
from urllib.parse import quote

from whichgpu.inspect.errors import NetworkError, SourceError, UnreadableError
from whichgpu.inspect.headers import LARGE_HEADER_BYTES, Tensor, header_length, parse_header, refuse_too_many
from whichgpu.inspect.records import ModelSource
from whichgpu.inspect.reference import is_repository_id
from whichgpu.inspect.sources.base import FileEntry, Listing, Progress
from whichgpu.inspect.sources.hub_headers import all_headers
from whichgpu.inspect.sources.hub_http import HubHttp, close
from whichgpu.inspect.sources.hub_terms import terms_of
from whichgpu.inspect.text import clean

FIRST_RANGE = 100_000
"""Bytes asked for first: 97 % of headers fit (huggingface_hub hf_api.parse_safetensors_file_metadata)."""

_LISTING_LIMIT = 64 * 2**20
_ALL_HEADERS_LIMIT = 64 * 2**20
"""Unpacked; DeepSeek-V3's 92,000 tensors need 12 MiB, and what has more than this is read shard by shard."""
_WORKERS = 16
_INDEX = "model.safetensors.index.json"


class HubRepository:
    """One model repository at one revision."""

    def __init__(self, name: str, revision: str | None, http: HubHttp | None = None) -> None:
        self._http = http or HubHttp()
        self._name = name
        self._revision = revision
        self._large = Lock()
        self._source = ModelSource(
            kind="hub",
            name=name,
            revision=revision,
            endpoint=clean(self._http.endpoint),
            read_on=datetime.now(UTC).date().isoformat(),
        )

    def source(self) -> ModelSource:
        return self._source.model_copy(update={"requests": self._http.count})

    def listing(self) -> Listing:
        url = f"{self._http.endpoint}/api/models/{quote(self._name)}"
        if self._revision is not None:
            url += f"/revision/{quote(self._revision, safe='')}"
        info = self._http.json(f"{url}?blobs=true", _LISTING_LIMIT)
        if not isinstance(info, dict) or not isinstance(info.get("siblings"), list):
            raise NetworkError("The Hub's answer has no list of files.", "Check HF_ENDPOINT.")
        files = tuple(f for f in map(_entry, info["siblings"]) if f is not None)
        commit, named = info.get("sha"), info.get("id")
        warnings: tuple[str, ...] = ()
        if not (isinstance(named, str) and is_repository_id(named)):
            named = self._name
        if named.lower() != self._name.lower():
            warnings = (f"{clean(self._name)} is now called {clean(named)}.",)
            self._name = named
        self._source = self._source.model_copy(
            update={
                "name": named,
                "commit": clean(commit, 64) if isinstance(commit, str) else None,
                "private": info.get("private") is True,
                **terms_of(info),
            }
        )
        facts = {
            key: info[key] for key in ("gguf", "safetensors", "pipeline_tag", "library_name", "tags") if key in info
        }
        return Listing(self.source(), files, facts, warnings)

    def _url(self, path: str) -> str:
        revision = self._source.commit or self._revision or "main"
        return f"{self._http.endpoint}/{quote(self._name)}/resolve/{quote(revision, safe='')}/{quote(path)}"

    def read(self, path: str, limit: int) -> bytes:
        data = self._http.get(self._url(path), limit + 1).content
        if len(data) > limit:
            raise UnreadableError(f"{clean(path)} is larger than {limit:,} bytes.")
        if data[:200].lstrip()[:9].lower() in (b"<!doctype", b"<html>", b"<html lan"):
            raise NetworkError(
                f"A web page came back instead of {clean(path)}.",
                "A login page or a proxy may be in the way; check the network and HF_ENDPOINT.",
            )
        return data

    def headers(self, files: Sequence[FileEntry], progress: Progress) -> dict[str, list[Tensor]]:
        if self._revision in (None, "main") and len(files) > 1:
            progress("reading all headers", 0, 1)
            all_headers = self._all_at_once(files)
            if all_headers is not None:
                return all_headers
        return self._by_ranges(files, progress)

    def _all_at_once(self, files: Sequence[FileEntry]) -> dict[str, list[Tensor]] | None:
        """Ask the Hub for every shard's header in one request; ``None`` where it is not offered.

        The endpoint of huggingface_hub's ``get_sharded_safetensors_metadata``. It answers for ``main`` as it is
        now; if that names other shards than the listing did, ranges at the listed commit are read instead.
        """
        url = f"{self._http.endpoint}/api/models/{quote(self._name)}/safetensors-metadata/{_INDEX}"
        try:
            answer = self._http.unpacked(url, _ALL_HEADERS_LIMIT)
        except SourceError:
            return None
        return all_headers(answer, {f.path: None if f.size is None else f.size - 8 for f in files})

    def _by_ranges(self, files: Sequence[FileEntry], progress: Progress) -> dict[str, list[Tensor]]:
        pool = ThreadPoolExecutor(max_workers=min(_WORKERS, len(files)) or 1)
        tensors_by_file: dict[str, list[Tensor]] = {}
        try:
            for index, (entry, tensors) in enumerate(zip(files, pool.map(self._one_header, files), strict=True)):
                tensors_by_file[entry.path] = tensors
                refuse_too_many(tensors_by_file)
                progress("reading headers", index + 1, len(files))
        except Exception:
            pool.shutdown(wait=True, cancel_futures=True)  # others may be reading through the same client
            raise
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            close()
            raise
        pool.shutdown()
        return tensors_by_file

    def _one_header(self, entry: FileEntry) -> list[Tensor]:
        data = self.start_of(entry, FIRST_RANGE)
        length = header_length(data, entry.path, entry.size)
        if length <= LARGE_HEADER_BYTES:
            return self._whole_header(entry, data, length)
        with self._large:
            return self._whole_header(entry, data, length)

    def _whole_header(self, entry: FileEntry, start: bytes, length: int) -> list[Tensor]:
        data = start[8 : 8 + length]
        if length > len(data):
            response = self._http.get(self._url(entry.path), 8 + length, (8, 8 + length - 1))
            data = response.content if response.status_code == 206 else response.content[8:]
        if len(data) < length:
            raise NetworkError(f"The header of {clean(entry.path)} came back incomplete.", "Try again.")
        rest = None if entry.size is None else entry.size - 8 - length
        return parse_header(data[:length], entry.path, rest)

    def start_of(self, entry: FileEntry, size: int) -> bytes:
        length = size if entry.size is None else min(size, entry.size)
        if length <= 0:
            raise UnreadableError(f"{clean(entry.path)} is empty.")
        return self._http.get(self._url(entry.path), length, (0, length - 1)).content


def _entry(sibling: object) -> FileEntry | None:
    """One file of the listing; paths that climb out of the repository are left out."""
    if not isinstance(sibling, dict) or not isinstance(sibling.get("rfilename"), str):
        return None
    path = sibling["rfilename"]
    if path.startswith("/") or ".." in path.split("/") or "\\" in path or "\0" in path:
        return None
    lfs = sibling.get("lfs")
    size = lfs.get("size") if isinstance(lfs, dict) else sibling.get("size")
    return FileEntry(path, size if type(size) is int and size >= 0 else None)
