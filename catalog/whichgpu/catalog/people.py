"""Who makes findings: a pseudonym per person and machine. Names stay in the file they were made in."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path

_FILE = "person"


def pseudonym(folder: Path) -> str:
    """Return this person's random id, made once per user and machine and kept in a folder of the user's.

    Where the folder can't be written the id is of this process alone.
    """
    path = folder / _FILE
    with suppress(OSError, UnicodeDecodeError):
        stored_id = path.read_text(encoding="ascii").strip()
        if len(stored_id) == 12 and stored_id.isalnum():
            return stored_id
    new_id = secrets.token_hex(6)
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(new_id + "\n")
        return new_id
    with suppress(OSError, UnicodeDecodeError):  # another process was first
        return path.read_text(encoding="ascii").strip() or new_id
    return new_id


def names_here() -> tuple[str, str]:
    """Return (user name, host name) for the file's own table of people."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return user, socket.gethostname()
