"""One of several machines that serve a model together, by vLLM's own launch over machines.

Number 0 serves, is measured and keeps the record; the others lend their cards.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from whichgpu.inspect.text import clean
from whichgpu.plan.nodes import node_words
from whichgpu.trial.errors import TrialError
from whichgpu.trial.failures import explain
from whichgpu.trial.launch import Launcher
from whichgpu.trial.process import VllmProcess, new_name
from whichgpu.trial.records import Failure
from whichgpu.trial.run import Progress, Step, TrialRequest, arguments_of
from whichgpu.trial.server import wait

MASTER_PORT = 29501
"""vLLM's own default."""
_SIOCGIFADDR = 0x8915
_ABSENT = 4
"""Looks in a row that find number 0 gone, before it is."""
_BETWEEN = 0.5
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the machines this is."""

    rank: int
    """From 0."""
    master: str
    """Address at which the others reach number 0."""
    port: int = MASTER_PORT

    def environment(self) -> dict[str, str]:
        """Return what names the network of this machine on which number 0 is, unless the user named one.

        Left alone, Gloo takes what the machine's own name stands for, which on Debian is the loopback (seen: two
        machines that wait for each other at 127.0.0.1).
        """
        address = _own_address(self.master)
        name = _interface_of(address) if address is not None else None
        if address is None or name is None:
            return {}
        named = {"VLLM_HOST_IP": address, "GLOO_SOCKET_IFNAME": name}
        return {k: v for k, v in named.items() if k not in os.environ}

    def words(self, count: int) -> tuple[str, ...]:
        """Return what vLLM takes on this one of ``count`` machines."""
        return tuple(node_words(count, str(self.rank), self.master, self.port))


def _own_address(other: str) -> str | None:
    """Return the IPv4 address from which this machine reaches another; no packet is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((other, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _interface_of(address: str) -> str | None:
    """Return the network interface that has an IPv4 address (Linux netdevice(7): SIOCGIFADDR)."""
    if sys.platform != "linux":
        return None
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):
                ifreq = fcntl.ioctl(probe, _SIOCGIFADDR, name.encode()[:15].ljust(256, b"\0"))
                if socket.inet_ntoa(ifreq[20:24]) == address:
                    return name
    return None


def read_place(text: str) -> Place:
    """Read ``RANK@HOST`` or ``RANK@HOST:PORT``.

    Raises:
        TrialError: it is neither.
    """
    rank, at, address = text.partition("@")
    try:
        url = urlsplit(f"//{address}")
        host, port = url.hostname, url.port or MASTER_PORT
    except ValueError:
        host, port = None, 0
    if not (rank.isascii() and rank.isdigit() and at and host) or "/" in address or "@" in address:
        raise TrialError(
            f"“{clean(text, 60)}” is no machine's place.", "Write its number from 0 and where 0 is: 1@HOST."
        )
    return Place(int(rank), host, port)


class Left(StrEnum):
    """Why a machine that lent its cards stopped."""

    SERVED = "number 0 has ended"
    ALONE = "number 0 never came"
    FAILED = "vLLM ended"
    OUT_OF_TIME = "the time is over"


@dataclass(frozen=True, slots=True)
class Lent:
    """How lending ended."""

    left: Left
    seconds: float
    folder: Path
    failure: Failure | None = None


def lend(request: TrialRequest, place: Place, launcher: Launcher, root: Path, progress: Progress) -> Lent:
    """Serve under number 0 until it ends; vLLM is gone when this returns, whatever happened.

    vLLM's headless machines stay when number 0 leaves (seen with 0.32), so its port is watched: the budget counts until
    it is seen, and then anew.

    Raises:
        TrialError: the run's folder cannot be written.
        KeyboardInterrupt: after vLLM was stopped.
    """
    began, process = time.monotonic(), VllmProcess.in_folder(root, new_name())
    with process:
        process.start(launcher, arguments_of(request, launcher), request.cpu, request.environment)
        ending = _watch_master(process, request.budget, place, progress, began)
        process.stop()
    failure = explain(process.text(), process.state.get("code")) if ending is Left.FAILED else None
    return Lent(ending, round(time.monotonic() - began, 2), process.folder, failure)


def _watch_master(process: VllmProcess, budget: float, place: Place, progress: Progress, began: float) -> Left:
    """Wait for number 0, then for its end."""
    since, had_contact, absent = began, False, 0
    while time.monotonic() - since < budget:
        if _listens(place):
            since, had_contact, absent = (since if had_contact else time.monotonic()), True, 0
        else:
            absent += had_contact
        if absent >= _ABSENT:
            return Left.SERVED
        if process.has_ended:
            return _local_ending(place, had_contact)
        doing = "lending cards to" if had_contact else "waiting for"
        progress(Step(f"{doing} {place.master}", time.monotonic() - began))
        wait(_BETWEEN)
    return Left.OUT_OF_TIME if had_contact else Left.ALONE


def _local_ending(place: Place, seen: bool) -> Left:
    """vLLM here ended first: after number 0 did, that is how it should be."""
    for _ in range(_ABSENT):
        if seen and not _listens(place):
            return Left.SERVED
        wait(_BETWEEN)
    return Left.FAILED


def _listens(place: Place) -> bool:
    """Whether number 0's rendezvous is there; vLLM is not disturbed by a look (seen with 0.32)."""
    try:
        with socket.create_connection((place.master, place.port), timeout=2):
            return True
    except OSError:
        return False
