"""What the user typed, understood: a Hub id, a URL, a folder, a file or a cache entry."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from whichgpu.inspect.errors import NotFoundError, UsageError
from whichgpu.inspect.text import clean

_PIECE = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?"
_REPOSITORY = re.compile(rf"(?:{_PIECE}/)?{_PIECE}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_FILE_SUFFIXES = (".safetensors", ".gguf", ".json")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed model reference: ``kind`` is ``hub``, ``folder`` or ``file``."""

    kind: str
    name: str
    revision: str | None = None
    path: Path | None = None


def parse_reference(text: str) -> Reference:
    """Understand a model reference.

    Accepted: ``ORG/NAME``, ``ORG/NAME@REVISION``, a Hub URL pasted whole (with ``/tree/REVISION`` or
    ``/blob/REVISION/…``), a local folder, a ``.safetensors`` or ``.gguf`` file, and a folder of the Hugging
    Face cache (``models--ORG--NAME``). A path that exists wins over an id of the same spelling only when it
    is written as a path (with ``./``, ``/`` or ``~``) or is no valid id.

    Raises:
        UsageError: nothing that could name a model.
        NotFoundError: a path that is not there.
    """
    text = text.strip()
    if not text or "\0" in text or len(text) > 4096:
        raise UsageError("The model name is empty or malformed.", "Give ORG/NAME, a folder or a file.")
    if "://" in text or text.startswith(("huggingface.co/", "hf.co/")):
        return _from_url(text)
    if _written_as_path(text):
        return _from_path(Path(os.path.expanduser(text)))
    name, _, revision = text.partition("@")
    if is_repository_id(name):
        return _hub(name, revision if "@" in text else None)
    if os.path.exists(text):
        return _from_path(Path(text))
    raise UsageError(
        f"{clean(text)} is not a Hub id, and no such file or folder exists.",
        "A Hub id looks like Qwen/Qwen3-8B or Qwen/Qwen3-8B@main.",
    )


def is_repository_id(name: str) -> bool:
    """True for ``ORG/NAME`` or ``NAME`` as the Hub allows it."""
    return _REPOSITORY.fullmatch(name) is not None and ".." not in name and "--" not in name


def _written_as_path(text: str) -> bool:
    if text.startswith(("./", "../", "/", "~", ".\\")) or text in (".", ".."):
        return True
    return text.lower().endswith(_FILE_SUFFIXES) or re.match(r"^[A-Za-z]:[\\/]", text) is not None


def _hub(name: str, revision: str | None) -> Reference:
    if revision is not None and not (_REVISION.fullmatch(revision) and ".." not in revision):
        raise UsageError(f"{clean(revision)} is not a revision.", "Use a branch, a tag or a commit: ORG/NAME@v1.0")
    return Reference("hub", name, revision)


def _from_url(text: str) -> Reference:
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
    except ValueError as error:
        raise UsageError(f"{clean(text)} is no address.", "Paste a model page, or give ORG/NAME.") from error
    pieces = [unquote(piece) for piece in parts.path.split("/") if piece]
    if parts.scheme != "hf" and not _is_hub_host(parts.netloc):
        raise UsageError(
            f"{clean(text)} is no page of the Hub (or of HF_ENDPOINT).", "Paste a model page, or give ORG/NAME."
        )
    if parts.scheme not in ("http", "https", "hf") or (pieces and pieces[0] in ("datasets", "spaces")):
        raise UsageError(f"{clean(text)} is not the address of a model.", "Paste a model page, or give ORG/NAME.")
    if parts.scheme == "hf":
        pieces = [p for p in [parts.netloc, *pieces] if p and p != "models"]
    for mark in ("tree", "blob", "resolve", "commit"):
        if mark in pieces[1:3] and pieces.index(mark, 1) + 1 < len(pieces):
            at = pieces.index(mark, 1)
            return _check_hub("/".join(pieces[:at]), pieces[at + 1], text)
    name, _, revision = "/".join(pieces[:2]).partition("@")
    return _check_hub(name, revision or None, text)


def _is_hub_host(host: str) -> bool:
    endpoint = ""
    with suppress(ValueError):  # it is none; whoever asks there says so
        endpoint = urlsplit(os.environ.get("HF_ENDPOINT", "")).netloc
    return host.lower() in {"huggingface.co", "www.huggingface.co", "hf.co", endpoint.lower()} - {""}


def _check_hub(name: str, revision: str | None, text: str) -> Reference:
    if not is_repository_id(name):
        raise UsageError(f"{clean(text)} does not name a model repository.", "Paste a model page, or give ORG/NAME.")
    return _hub(name, revision)


def _from_path(path: Path) -> Reference:
    try:
        if path.is_dir():
            return Reference("folder", path.resolve().name or str(path), path=path)
        if path.is_file():
            return Reference("file", path.name, path=path)
    except OSError as error:
        raise NotFoundError(f"{clean(path)} cannot be opened: {clean(error.strerror)}.") from error
    raise NotFoundError(f"{clean(path)} does not exist.", "Check the path, or give a Hub id such as Qwen/Qwen3-8B.")
