"""The app's speed: start to first paint beside an empty Textual app, bytes on the wire, and a key in a long list.

    python -m benchmarks.app

Ratios of one run; the wire is a pseudo-terminal of 80×24, as a slow SSH line would see it.
"""

from __future__ import annotations

import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tabulate import tabulate

_EMPTY = """
from textual.app import App
from textual.widgets import Footer, Static
class Empty(App):
    def compose(self):
        yield Static("410 models")
        yield Footer()
Empty().run()
"""
_OURS = "from whichgpu.tui.app.application import run; run(True, None)"
_READY = "410 models"


class Terminal:
    """A program on a pseudo-terminal; what it writes is counted."""

    def __init__(self, code: str, environment: dict[str, str]) -> None:
        self.master, slave = pty.openpty()
        import fcntl
        import termios

        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.text = b""

    def read(self, seconds: float, until: str | None = None) -> int:
        """Read for so long, or until a text comes; return the bytes."""
        ends, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < ends:
            ready, _, _ = select.select([self.master], [], [], 0.01)
            if ready:
                data = os.read(self.master, 65_536)
                self.text += data
                count += len(data)
                if until is not None and until.encode() in self.text:
                    return count
        return count

    def press(self, keys: str, settle: float = 0.6) -> int:
        """Press keys and return the bytes that come back."""
        os.write(self.master, keys.encode())
        return self.read(settle)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def first_paint(code: str, environment: dict[str, str]) -> float:
    """Seconds from start to the first useful text."""
    began = time.perf_counter()
    terminal = Terminal(code, environment)
    terminal.read(20, _READY)
    spent = time.perf_counter() - began
    terminal.close()
    return spent


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        own = {
            "WHICHGPU_STATE": str(Path(folder) / "s.json"),
            "WHICHGPU_CATALOG": str(Path(folder) / "c.db"),
            "TERM": "xterm-256color",
        }
        environment = {**os.environ, **own}
        ours = statistics.median(first_paint(_OURS, environment) for _ in range(5))
        empty = statistics.median(first_paint(_EMPTY, environment) for _ in range(5))
        rows = [("start to first list / empty Textual app", f"{ours / empty:.2f} ({ours:.2f} s, {empty:.2f} s)")]
        for name, more in (("truecolor", {"COLORTERM": "truecolor"}), ("NO_COLOR", {"NO_COLOR": "1", "COLORTERM": ""})):
            terminal = Terminal(_OURS, {**environment, **more})
            terminal.read(20, _READY)
            start = len(terminal.text) + terminal.read(2.0)
            moved = statistics.median(terminal.press("j") for _ in range(5))
            terminal.press("/")
            terminal.press("qwen3-32b", 1.0)
            terminal.press("\r", 3.0)
            terminal.press("p", 2.0)
            turned = statistics.median(terminal.press("c", 1.0) for _ in range(3))
            terminal.close()
            rows.append(
                (f"bytes at 80×24, {name}: start, a row, a workload change", f"{start:,}, {moved:,.0f}, {turned:,.0f}")
            )
    print(tabulate(rows, ("what", "measured"), tablefmt="plain", disable_numparse=True))


if __name__ == "__main__":
    main()
