"""The app in a browser: a real server on loopback, driven over its WebSocket as the page drives it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.planning import ATLAS

if TYPE_CHECKING:
    import aiohttp
else:
    aiohttp = pytest.importorskip("aiohttp")


@dataclass(frozen=True, slots=True)
class Served:
    address: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """Of a page of its own."""
        return {"Origin": f"http://{self.address}", "Cookie": f"whichgpu={self.key}"}


def free_port() -> int:
    """Below those that the system hands out: between our look and the server's bind nobody else is given it."""
    for port in random.SystemRandom().sample(range(20_000, 30_000), 50):
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    port = free_port()
    own = {"WHICHGPU_STATE": str(tmp_path / "app.json"), "WHICHGPU_CATALOG": str(tmp_path / "catalog.db")}
    process = subprocess.Popen(
        [sys.executable, "-m", "whichgpu", "serve", "--port", str(port), "--offline"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **own},
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    assert "this machine alone" in said
    address, key = re.findall(r"http://(\S+)/\?key=(\S+)", said)[0]
    assert address == f"127.0.0.1:{port}"
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield Served(address, key)
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


async def quiet(page: aiohttp.ClientWebSocketResponse) -> None:
    """Wait until nothing more is drawn: a key that is pressed while the first screen settles may go elsewhere."""
    while True:
        try:
            await asyncio.wait_for(page.receive(), 1.0)
        except TimeoutError:
            return


async def typed(page: aiohttp.ClientWebSocketResponse, *keys: str) -> None:
    for key in keys:
        await page.send_json(["stdin", key])
        await asyncio.sleep(0.05)


def test_a_browser_finds_a_model_and_reads_its_plan(served: Served) -> None:
    async def use() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://{served.address}/ws?width=100&height=30", headers=served.headers) as page,
        ):
            await seen(page, f"{len(ATLAS.names())} models")
            await quiet(page)
            await typed(page, "/", *"qwen3-32b", "\r")
            await seen(page, "known from config")
            await typed(page, "p")
            assert "fits" in await seen(page, "activations")

    asyncio.run(use())


def test_nothing_of_this_machine_s_files_is_told(served: Served, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()

    async def use() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://{served.address}/ws?width=100&height=30", headers=served.headers) as page,
        ):
            await seen(page, f"{len(ATLAS.names())} models")
            await quiet(page)
            await typed(page, "/")
            await quiet(page)  # a busy machine opens the field late
            await typed(page, str(tmp_path / "private"), "\r")
            await seen(page, "by their Hub id alone")

    asyncio.run(use())


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Host": "evil.example", "Origin": "http://evil.example"}],
    ids=["another origin", "another name", "both"],
)  # fmt: skip
def test_other_pages_cannot_drive_it(served: Served, headers: dict[str, str]) -> None:
    address = served.address

    async def use() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"ws://{address}/ws?width=80&height=24", headers=served.headers | headers)
            assert refused.value.status == 403
            assert (await session.get(f"http://{address}/", headers=served.headers | headers)).status == 403
            own = await session.get(f"http://{address}/", headers=served.headers)
            assert own.status == 200

    asyncio.run(use())


def test_only_who_was_told_the_address_gets_in(served: Served) -> None:
    address = served.address
    guess = served.key[:-1] + ("y" if served.key.endswith("x") else "x")

    async def use() -> None:
        own = {"Origin": f"http://{address}"}
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            for path in ("/", "/?key=", f"/?key={guess}", "/static/js/textual.js", "/download/x"):
                assert (await session.get(f"http://{address}{path}", headers=own)).status == 403, path
            for headers in (own, {"Cookie": f"whichgpu={served.key}"}, own | {"Cookie": "whichgpu=guess"}):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await session.ws_connect(f"ws://{address}/ws?width=80&height=24", headers=headers)
                assert refused.value.status == 403, "a page says where it is from, and knows the secret"
            page = await session.get(f"http://{address}/?key={served.key}")
            assert (page.status, str(page.url)) == (200, f"http://{address}/"), "and the secret is not in the history"
            assert page.headers["X-Frame-Options"] == "DENY"
            assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
            assert (await session.get(f"http://{address}/static/js/textual.js")).status == 200
            async with session.ws_connect(f"ws://{address}/ws?width=80&height=24", headers=own) as terminal:
                await seen(terminal, "whichgpu")

    asyncio.run(use())
