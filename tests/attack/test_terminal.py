"""Every command on a real pseudo-terminal (a pipe would have its codes taken out), over a shared file that lies in every column."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import sqlite3
import struct
import sys
import termios
from contextlib import closing
from pathlib import Path

import pytest

from tests.findings import at
from tests.planning import ATLAS
from tests.planning import ask as answer_of
from tests.test_catalog_sharing import inspected
from whichgpu.catalog.records import answer_finding, note_finding, price_finding, tag_finding
from whichgpu.catalog.store import Catalog
from whichgpu.plan.records import PriceOffer

pty = pytest.importorskip("pty")

_LIE = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m"
_OURS = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[hl]|\x1b\[K")
"""Colours, the cursor and the end of a line: what we print ourselves."""

_COMMANDS = [
    ("catalog", "list"),
    ("catalog", "search", "qwen"),
    ("catalog", "show", "Qwen/Qwen3-8B"),
    ("catalog", "status"),
    ("catalog", "history", "Qwen/Qwen3-8B"),
    ("catalog", "verify"),
    ("prices", "list"),
    ("-m", "Qwen/Qwen3-8B", "--offline"),
    ("-m", "Qwen/Qwen3-8B", "--offline", "--explain"),
    ("-m", "Qwen/Qwen3-8B", "--offline", "-q"),
    ("fleet", "--tag", "served", "--offline"),
    ("trial", "report"),
    ("trial", "list"),
    ("compare", "Qwen/Qwen3-8B", "openai/gpt-oss-20b", "--offline"),
    ("catalog", "watch", "--offline"),
]
_CHILD = "import json, sys; from whichgpu.tui.cli.tree import run; [run(words) for words in json.loads(sys.argv[1])]"


def _lying(path: Path) -> None:
    """Make a catalog, and write into every column of text what a terminal obeys, as whoever may write the file can."""
    inspection = inspected("Qwen/Qwen3-8B")
    offer = PriceOffer(
        accelerator="h100_sxm", usd_per_hour=1, provider="one", kind="on-demand", date="2026-11-20", source="a list"
    )
    Catalog(path).add(
        inspection,
        answer_finding(inspection, answer_of("Qwen/Qwen3-8B", "h100_sxm"), at(1)),
        note_finding("Qwen/Qwen3-8B", "hello", at(2)),
        tag_finding("Qwen/Qwen3-8B", "served", True, at(3)),
        price_finding(offer, False, at(4)),
    )
    keys = {"identity", "model", "made_at", "at", "kind", "date", "tag", "accelerator", "body", "about", "commit_sha"}
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO people VALUES ('ada', 'Ada', 'here')")
        for table in ("findings", "inspections", "plans", "prices", "notes", "tags", "people"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            for column in set(columns) - keys:
                connection.execute(
                    f"UPDATE {table} SET {column} = {column} || ? WHERE typeof({column}) = 'text'", (_LIE,)
                )
        connection.commit()


def _read(terminal: int, quiet_seconds: float) -> bytes:
    """Return what is written until it ends, or until nothing came for so long."""
    shown = b""
    while select.select([terminal], [], [], quiet_seconds)[0]:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    return shown


def test_no_command_prints_what_a_terminal_obeys(tmp_path: Path) -> None:
    _lying(tmp_path / "catalog.db")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-P", "-c", _CHILD, json.dumps(_COMMANDS)])
    shown = _read(terminal, 120)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    text = _OURS.sub("", shown.decode())
    assert "Qwen/Qwen3-8B" in text
    for code in ("\x1b", "\x07", "\u202e", "\x9b"):
        assert code not in text, repr(text[max(0, text.find(code) - 80) : text.find(code) + 40])
    assert "Traceback" not in text
    assert "did not expect" not in text


_WALK = (
    ("dense  ·  1 × A40", ""),
    ("full attention", "2"),
    ("INT4", "3"),
    ("lm_head", "4"),
    ("not on this machine", "5"),
    ("Trainium2", "6"),
    ("A100 80 SXM", "p"),
    ("KV cache", "e"),
    ("A100 80 SXM", "\x1b"),
    ("256", "u"),
    ("A100 80 SXM", "\x1b"),
    ("MI300X", "h"),
    ("A100 80 SXM", "\x1b"),
    ("whichgpu", "m"),
    ("A100 80 SXM", "\x1b"),
    ("Trainium2", "\x1b"),
    (f"{len(ATLAS.names())} models", "\x1b"),
    ("hello", "a"),
    (f"{len(ATLAS.names())} models", "\x1b"),
    ("in 1 machines", "l"),
    (f"{len(ATLAS.names())} models", "\x1b"),
    ("Inferentia2", "s"),
    (f"{len(ATLAS.names())} models", "\x1b"),
    ("memory_unit", ","),
    (f"{len(ATLAS.names())} models", "\x1b"),
    ("filters as you type", "?"),
    (f"{len(ATLAS.names())} models", "\x1b"),
    ("q again quits", "q"),
    ("", "q"),
)
"""What a screen shows, and the key that opens it."""

_CODES = re.compile(r"\x1b\[[0-9;?<>=]*[a-zA-Z]|\x1b\]22;[a-z]*\x07|\x1b\[[?0-9;]*\$p")


def _screen(terminal: int, word: str) -> str:
    """Return what is drawn until a word is there and nothing more comes."""
    shown, tries = "", 0
    while True:
        shown += _CODES.sub("", _read(terminal, 0.25).decode(errors="replace"))
        tries += 1
        if word in shown or tries > 80:
            return shown


def test_no_screen_draws_what_a_terminal_obeys(tmp_path: Path) -> None:
    _lying(tmp_path / "catalog.db")
    pid, terminal = pty.fork()
    if pid == 0:
        code = "from whichgpu.tui.main import main; main()"
        os.environ |= {
            "TERM": "xterm-256color",
            "COLUMNS": "100",
            "LINES": "40",
            "WHICHGPU_STATE": str(tmp_path / "state.json"),
        }
        os.execv(sys.executable, [sys.executable, "-P", "-c", code, "app", "Qwen/Qwen3-8B", "--offline"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    screens: list[str] = []
    for word, key in _WALK:
        os.write(terminal, key.encode())
        screens.append(_screen(terminal, word))
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for (word, key), screen in zip(_WALK, screens, strict=True):
        assert word in screen, (key, screen)
        for code in ("\x1b]0;owned", "\x07", "\u202e", "\x9b"):
            assert code not in screen, (key, repr(code))
