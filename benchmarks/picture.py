"""Draw the pictures in the README from a real answer and the running app: ``python -m benchmarks.picture``."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import subprocess
import sys
import tempfile
import termios
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

from whichgpu.tui.desk.desk import open_desk

COMMAND = ("openai/gpt-oss-120b", "--offline", "--catalog", "/dev/null/none")


_SCREENS = {"browse": (), "plan": ("slash", *"gpt-oss-120b", "enter", "p"), "curve": ("u",)}
"""What is pressed, one screen after the other."""


def main() -> None:
    """Run the command and the app, and write what they show."""
    draw_answer()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WHICHGPU_STATE"] = str(Path(folder, "app.json"))
        os.environ["WHICHGPU_CATALOG"] = str(Path(folder, "catalog.db"))
        asyncio.run(draw_app())


async def draw_app() -> None:
    """Drive the app with keys at 80×24, offline, and keep each screen."""
    from whichgpu.tui.app.application import WhichgpuApp

    app = WhichgpuApp(open_desk(), offline=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(3)
        for screen, keys in _SCREENS.items():
            for key in keys:
                await pilot.press(key)
                await pilot.pause(0.3 if len(key) == 1 and screen == "plan" else 3)
            _write(f"app-{screen}", app.export_screenshot(title="whichgpu", simplify=True))


def _write(name: str, svg: str) -> None:
    """The web font that rich links to is left out."""
    Path(f"docs/{name}.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


def draw_answer() -> None:
    """One answer, as a terminal of 80 columns shows it."""
    console = Console(record=True, width=80, file=Path("/dev/null").open("w"))  # noqa: SIM115 - lives as long as we do
    console.print(Text(f"$ whichgpu {COMMAND[0]}", style="bold"))
    console.print(Text.from_ansi(_on_a_terminal([sys.executable, "-m", "whichgpu", *COMMAND])), soft_wrap=True)
    _write("answer", console.export_svg(title="whichgpu"))


def _on_a_terminal(command: list[str]) -> str:
    """What a command prints on a pseudo-terminal of 80×50."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (50, 80))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.DEVNULL)
    os.close(slave)
    printed = bytearray()
    with suppress(OSError):  # what reading gives when the last writer has gone
        while part := os.read(master, 65_536):
            printed += part
    os.close(master)
    assert process.wait() == 0, printed
    return printed.decode().replace("\r\n", "\n").rstrip("\n")


if __name__ == "__main__":
    main()
