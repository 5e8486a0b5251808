"""Record the demo of the app as text: ``python -m benchmarks.recording`` writes docs/demo.cast (asciinema's format, version 2).

Real keys into the real app on a pseudo-terminal of 80×24, offline: a model found, opened and planned, the workload turned.
Play it with ``asciinema play docs/demo.cast``.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

from benchmarks.app import Terminal

_KEYS = (
    (2.5, "/"),
    (0.6, "gpt-oss-120b"),
    (1.5, "\r"),
    (2.5, "2"),
    (2.0, "p"),
    (2.5, "c"),
    (1.0, "n"),
    (2.0, "h"),
    (2.5, "\x1b"),
    (1.5, "u"),
    (3.0, "\x1b"),
    (1.5, "e"),
    (3.0, "\x1b"),
    (1.0, "m"),
    (2.5, "\x1b"),
)
"""(seconds before it, keys)."""
_CODE = "from whichgpu.tui.app.application import run; from whichgpu.tui.desk.desk import open_desk; run(open_desk(), True, None)"


def main() -> None:
    """Drive the app and write what it sent, and when."""
    with tempfile.TemporaryDirectory() as folder:
        state_files = {"WHICHGPU_STATE": "s.json", "WHICHGPU_CATALOG": "c.db", "WHICHGPU_CONFIG": "c.toml"}
        environment = {**os.environ, **{k: str(Path(folder, v)) for k, v in state_files.items()}}
        environment |= {"TERM": "xterm-256color", "COLORTERM": "", "TEXTUAL_THEME": "ansi-dark"}
        terminal = Terminal(_CODE, environment)
        terminal.read(30, "418 models")
        events: list[tuple[float, str]] = []
        began, offset = time.perf_counter(), 0

        def record(seconds: float) -> None:
            nonlocal offset
            ends = time.perf_counter() + seconds
            while time.perf_counter() < ends:
                terminal.read(0.05)
                whole = terminal.text[offset:].decode(errors="ignore")
                if whole:
                    events.append((round(time.perf_counter() - began, 2), whole))
                    offset += len(whole.encode())

        for pause, keys in _KEYS:
            record(pause)
            for key in keys:
                os.write(terminal.master, key.encode())
                if len(keys) > 1:
                    record(0.12)
        record(1.0)
        terminal.close()
    header = {"version": 2, "width": 80, "height": 24, "title": "whichgpu", "env": {"TERM": "xterm-256color"}}
    lines = [json.dumps(header), *(json.dumps([at, "o", text], ensure_ascii=False) for at, text in events)]
    Path("docs/demo.cast").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
