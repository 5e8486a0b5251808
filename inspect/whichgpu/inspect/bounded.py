"""Files that a user names, read with a bound: a regular file, of so many bytes, and never a pipe that nobody writes to."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any, BinaryIO


def read_bounded(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        OSError: it can't be opened, is no regular file, or has more than ``most`` bytes.
    """
    with _opened(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes")
    return data


def read_ends(path: Path, most: int) -> bytes:
    """Return a regular file's bytes, or its first and last half of ``most`` where it has more.

    Raises:
        OSError: it can't be opened, or is no regular file.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= most:
            return file.read(most)
        start = file.read(most // 2)
        file.seek(size - most // 2)
        return start + b"\n" + file.read(most // 2)


def read_piped(most: int) -> bytes:
    """Return what is on standard input.

    Raises:
        OSError: it is more than ``most`` bytes.
    """
    data = sys.stdin.buffer.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes")
    return data


MOST_CONTAINERS, MOST_ITEMS = 600_000, 2_000_000
"""Of one JSON document: three bytes of text become an object of 64, so its parts are counted before it is parsed."""


def json_of(data: str | bytes | bytearray) -> Any:
    """Parse JSON from others.

    Raises:
        ValueError: it is none, nested too deeply, has more parts than fit in some 200 MB of memory, or half a letter: a lone
            surrogate, which JSON can spell and no file, hash or terminal can take.
    """
    if isinstance(data, str):
        data = data.encode()
    containers = data.count(b"[") + data.count(b"{")
    if containers > MOST_CONTAINERS or containers + data.count(b",") > MOST_ITEMS:
        raise ValueError("it has too many parts")
    try:
        value = json.loads(data)
        if b"\\ud" in data or b"\\uD" in data:
            json.dumps(value, ensure_ascii=False).encode()  # a UnicodeEncodeError is a ValueError
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def _opened(path: Path) -> BinaryIO:
    # Not blocking: opening a FIFO would wait for a writer, and a device may never end.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return os.fdopen(descriptor, "rb")
