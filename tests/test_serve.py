"""The app in a browser: a real server on loopback, driven over its WebSocket as the page drives it."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import aiohttp
else:
    aiohttp = pytest.importorskip("aiohttp")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"WHICHGPU_STATE": str(tmp_path / "app.json"), "WHICHGPU_CATALOG": str(tmp_path / "catalog.db")}
    process = subprocess.Popen(
        [sys.executable, "-m", "whichgpu", "serve", "--port", str(port), "--offline"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **own},
    )
    assert process.stdout is not None
    assert "this machine alone" in process.stdout.readline()
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 0, "it ends when asked to"


async def seen(page: aiohttp.ClientWebSocketResponse, text: str) -> str:
    """Return what the browser was sent until it has shown ``text``."""
    shown = ""
    async with asyncio.timeout(60):
        async for message in page:
            data = message.data if isinstance(message.data, bytes) else str(message.data).encode()
            shown += re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", data.decode(errors="replace"))
            if text in shown:
                return shown
    raise AssertionError(f"{text!r} was never shown")


async def typed(page: aiohttp.ClientWebSocketResponse, *keys: str) -> None:
    for key in keys:
        await page.send_json(["stdin", key])
        await asyncio.sleep(0.05)


def test_a_browser_finds_a_model_and_reads_its_plan(address: str) -> None:
    async def use() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://{address}/ws?width=100&height=30") as page,
        ):
            await seen(page, "398 models")
            await typed(page, "/", *"qwen3-32b", "\r")
            await seen(page, "known from config")
            await typed(page, "p")
            assert "fits" in await seen(page, "activations")

    asyncio.run(use())


def test_nothing_of_this_machine_s_files_is_told(address: str, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()

    async def use() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://{address}/ws?width=100&height=30") as page,
        ):
            await seen(page, "398 models")
            await typed(page, "/", str(tmp_path / "private"), "\r")
            await seen(page, "by their Hub id alone")

    asyncio.run(use())


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Host": "evil.example", "Origin": "http://evil.example"}],
    ids=["another origin", "another name", "both"],
)  # fmt: skip
def test_other_pages_cannot_drive_it(address: str, headers: dict[str, str]) -> None:
    async def use() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"ws://{address}/ws?width=80&height=24", headers=headers)
            assert refused.value.status == 403
            assert (await session.get(f"http://{address}/", headers=headers)).status == 403
            own = await session.get(f"http://{address}/", headers={"Origin": f"http://{address}"})
            assert own.status == 200

    asyncio.run(use())
