"""The working folder is somebody else's: a model's repository may hold a json.py, and none of it may ever run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.findings import finding
from tests.tiny_models import CONFIGS
from tests.trying import gone, words_of
from whichgpu.catalog.store import Catalog

_OURS = (
    "whichgpu",
    "click",
    "pydantic",
    "textual",
    "rich",
    "sqlite_utils",
    "huggingface_hub",
    "httpx2",
    "yaml",
    "numpy",
)
_TRAP = "import os\nwith open(os.environ['TRAPPED'], 'a') as file:\n    file.write(__name__ + '\\n')\n"


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a trap by every name that anything of ours imports; fails where one was run."""
    folder, told = tmp_path / "their model", tmp_path / "trapped"
    folder.mkdir()
    for name in (*sys.stdlib_module_names, *_OURS):
        (folder / f"{name}.py").write_text(_TRAP)
    (folder / "sitecustomize.py").write_text(_TRAP)
    (folder / "config.json").write_text(json.dumps(CONFIGS["dense"]))
    monkeypatch.setenv("TRAPPED", str(told))
    yield folder
    assert not told.exists(), told.read_text()


_SCRIPT = ("-c", "import sys; sys.path.pop(0); from whichgpu.tui.main import main; main()")
"""As the installed script: Python puts its own folder first, which is not the working folder."""


@cache
def _pythons_own() -> list[str]:
    """What ``python -m`` imports from the working folder before any of ours is there, as it takes a whichgpu.py that lies
    there for what is meant; ``python -P -m`` does neither."""
    code = "import runpy, sys; print(*{m.split('.')[0] for m in sys.modules})"
    return subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    "words",
    [
        ("--version",),
        ("-m", "."),
        ("-m", "Qwen/Qwen3-8B", "--offline", "--explain"),
        ("catalog", "list"),
        ("gpus",),
        ("prices", "list"),
        ("command", "-m", "Qwen/Qwen3-8B", "--offline", "--target", "k8s"),
    ],
    ids=lambda words: words[0] + words[-1],
)
def test_no_command_runs_it(trapped: Path, words: tuple[str, ...]) -> None:
    _run(trapped, *_SCRIPT, *words)


@pytest.mark.parametrize("start", [("-m", "whichgpu"), ("-P", "-m", "whichgpu")], ids=["module", "safe"])
def test_nor_does_it_run_as_a_module(trapped: Path, start: tuple[str, ...]) -> None:
    if start[0] == "-m":
        for name in ("whichgpu", *_pythons_own()):
            (trapped / f"{name}.py").unlink(missing_ok=True)
    _run(trapped, *start, "-m", ".")


def _run(folder: Path, *words: str) -> None:
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("how", ["ok", "die"])
def test_no_trial_runs_it(trapped: Path, fake: Callable[[str], str], tmp_path: Path, how: str) -> None:
    command = [sys.executable, *_SCRIPT, *words_of(str(trapped), fake(how), tmp_path, "--json")]
    done = subprocess.run(command, cwd=trapped, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["outcome"] == ("measured" if how == "ok" else "failed"), done.stderr


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def _started(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a server of ours there; gives it and where it is."""
    port = _free_port()
    command = [sys.executable, *_SCRIPT, *words, "--port", str(port)]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield server, f"http://127.0.0.1:{port}/"
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=30)


def test_the_served_catalog_runs_none_of_it(trapped: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasette")
    Catalog(tmp_path / "catalog.db").add(finding())
    with _started(trapped, "catalog", "serve") as (server, address):
        for _ in range(400):
            try:
                with urllib.request.urlopen(address, timeout=5) as page:
                    assert page.status == 200
                return
            except (urllib.error.URLError, ConnectionError):
                assert server.poll() is None
                time.sleep(0.05)
        raise AssertionError("it never answered")


def test_the_served_app_runs_none_of_it(trapped: Path) -> None:
    pytest.importorskip("textual_serve")
    import asyncio

    import aiohttp

    async def look(address: str, key: str) -> None:
        headers = {"Origin": address.rstrip("/"), "Cookie": f"whichgpu={key}"}
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{address}ws?width=80&height=24", headers=headers) as page,
            asyncio.timeout(60),
        ):
            seen = b""
            async for message in page:
                seen += message.data if isinstance(message.data, bytes) else str(message.data).encode()
                if b"models" in seen:
                    return

    with _started(trapped, "serve", "--offline") as (server, address):
        assert server.stdout is not None
        key = server.stdout.readline().split("?key=")[1].split()[0]
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(address.rstrip("/").rsplit(":", 1)[1]))) == 0:
                    break
            time.sleep(0.05)
        asyncio.run(look(address, key))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_no_token_is_left_on_disk(
    fake: Callable[[str], str], tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """vLLM's environment holds the Hub's token; killed at any moment, no file does."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_this_test")
    command = [sys.executable, "-m", "whichgpu", *words_of(tiny, fake("hang"), tmp_path, "--budget", "120")]
    started = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(400):
        if list((tmp_path / "runs").rglob("engine.pid")):
            break
        time.sleep(0.05)
    os.kill(started.pid, number)
    started.wait(60)
    assert gone(tmp_path)
    holding = [p for p in tmp_path.rglob("*") if p.is_file() and b"hf_secret_of_this_test" in p.read_bytes()]
    assert holding == []
