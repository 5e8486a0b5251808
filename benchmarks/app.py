"""The app's speed: start to first paint beside an empty Textual app, bytes on the wire, keys in a long list, memory.

    python -m benchmarks.app [--rows 100000]

Ratios of one run; the wire is a pseudo-terminal of 80×24, as a slow SSH line would see it.
"""

from __future__ import annotations

import argparse
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
        yield Static("adept/fuyu-8b")
        yield Footer()
Empty().run()
"""
_OURS = "from whichgpu.tui.app.application import run; from whichgpu.tui.desk.desk import open_desk; run(open_desk(), True, None)"
_COMMAND = "import sys; sys.argv = ['whichgpu']; from whichgpu.tui.main import main; main()"
_READY = "adept/fuyu-8b"
"""A row of the list that a new user sees first."""
_MODELS = "models"


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


def catalog_of(path: Path, rows: int) -> None:
    """Fill a catalog with so many models."""
    from tests.planning import model

    from whichgpu.catalog.intake import take
    from whichgpu.catalog.records import Stamp, inspection_finding
    from whichgpu.catalog.store import Catalog

    base = model("Qwen/Qwen3-8B").model_copy(update={"tensors": ()})
    stamp = Stamp(made_at="2026-11-24T08:00:00+00:00", made_by="p1", tool_version="0.1.0")
    named = (
        base.model_copy(update={"source": base.source.model_copy(update={"name": f"org{n % 40}/model-{n}"})})
        for n in range(rows)
    )
    store = Catalog(path)
    store.add()
    take(store, "bench", (inspection_finding(inspection, stamp) for inspection in named))


def key_times(environment: dict[str, str], keys: str, ready: str) -> list[float]:
    """Milliseconds from a key to what it draws first, one after the other."""
    terminal = Terminal(_OURS, environment)
    terminal.read(30, _MODELS)
    terminal.read(2.0)
    if keys:
        terminal.text = b""
        terminal.press(keys, 0.1)
        terminal.read(30, ready)
        terminal.read(1.0)
    times = []
    for _ in range(60):
        began = time.perf_counter()
        os.write(terminal.master, b"j")
        select.select([terminal.master], [], [], 2.0)
        times.append((time.perf_counter() - began) * 1e3)
        terminal.read(0.15)
    terminal.close()
    return sorted(times)


def peak_memory(environment: dict[str, str], model: str, ready: str) -> float:
    """MiB that the app had at most, with a model read from a Hub and its tree of tensors open."""
    terminal = Terminal(_OURS.replace("True, None", f"False, {model!r}"), environment)
    terminal.read(120, ready)
    terminal.press("4", 1.0)
    terminal.press("\r", 1.0)
    terminal.press("jjjj", 1.0)
    status = Path(f"/proc/{terminal.process.pid}/status").read_text()
    terminal.close()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def long_lists(folder: Path, environment: dict[str, str], rows: int) -> list[tuple[str, str]]:
    """The 95th percentile of a key in a long list over the same in a short one."""
    ratios = []
    times: dict[tuple[str, int], float] = {}
    for count in (100, rows):
        catalog_environment = {**environment, "WHICHGPU_CATALOG": str(folder / f"{count}.db")}
        catalog_of(folder / f"{count}.db", count)
        for screen, keys, ready in (("home", "", ""), ("catalog", "a", "Catalog  ")):
            times[screen, count] = key_times(catalog_environment, keys, ready)[56]
    for screen in ("home", "catalog"):
        short, long = times[screen, 100], times[screen, rows]
        words = f"{long / short:.2f} ({long:.1f} ms, {short:.1f} ms)"
        ratios.append((f"p95 of a key with {rows:,} models in the catalog / with 100, {screen}", words))
    return ratios


def memory(environment: dict[str, str]) -> tuple[str, str]:
    """Peak memory with a model of 91,991 tensors open, beside one of 310."""
    from tests.hub import HubStandIn, shapes

    with HubStandIn({"acme/large": shapes.deepseek(), "acme/small": shapes.qwen3_06b()}) as hub:
        hub_environment = {**environment, "HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0"}
        large, small = (
            peak_memory(hub_environment, "acme/large", "known from"),
            peak_memory(hub_environment, "acme/small", "known from"),
        )
    return "peak memory, 91,991 tensors open / 310 tensors", f"{large / small:.2f} ({large:.0f} MiB, {small:.0f} MiB)"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="models in the long catalog")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        overrides = {
            "WHICHGPU_STATE": str(Path(folder) / "s.json"),
            "WHICHGPU_CATALOG": str(Path(folder) / "c.db"),
            "TERM": "xterm-256color",
        }
        environment = {
            **os.environ,
            **overrides,
            "PYTHONPYCACHEPREFIX": folder,
        }  # bytecode, as an installed package has it
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        pairs = [(first_paint(_COMMAND, environment), first_paint(_EMPTY, environment)) for _ in range(12)][1:]
        ours, empty = (statistics.median(times) for times in zip(*pairs, strict=True))
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
        rows += long_lists(Path(folder), environment, options.rows)
        rows.append(memory(environment))
    print(tabulate(rows, ("what", "measured"), tablefmt="plain", disable_numparse=True))


if __name__ == "__main__":
    main()
