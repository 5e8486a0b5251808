"""How vLLM is started over several machines: by its own launch since 0.12, in a Ray cluster before.

Sources: vLLM 0.32 config/parallel.py (nnodes, node_rank, master_addr) and entrypoints/cli/serve.py (run_headless);
vLLM pull request 23691, which is in 0.12.0; for older ones vLLM docs examples/online_serving/multi-node-serving.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from whichgpu.plan.engine import version_numbers

_OWN_SINCE = (0, 12, 0)
_RAY_PORT = 6379
_HAVE_RAY = "(command -v ray >/dev/null || pip install -q 'ray[cgraph]')"
"""No vLLM installs Ray by itself."""


def node_words(count: int, rank: str, master: str, port: int | None = None) -> list[str]:
    """Return what vLLM takes on one of several machines; number 0 serves, the others have no server.

    ``rank`` and ``master`` (number 0's address) may be variables of a shell; without a port it is vLLM's own, 29501.
    """
    words = ["--nnodes", str(count), "--node-rank", rank, "--master-addr", master]
    words += ["--master-port", str(port)] if port is not None else []
    return words if rank == "0" else [*words, "--headless"]


@dataclass(frozen=True, slots=True)
class Launch:
    """Shell commands over machines."""

    first: str
    """On number 0."""
    other: str
    """On each of the others."""


class Machines(NamedTuple):
    """Several machines, as a shell on one of them finds the others."""

    nodes: int
    rank: str
    """The number of one that is not number 0."""
    master: str
    """Number 0's address."""


def launch(line: str, machines: Machines, version: str, port: int = _RAY_PORT) -> Launch:
    """Return how a server's command line runs on several machines; ``port`` is Ray's."""
    count, rank, master = machines
    if version_numbers(version) >= _OWN_SINCE:
        first, other = (" ".join([line, *node_words(count, number, master)]) for number in ("0", rank))
        return Launch(first, other)
    head = f"ray start --head --port={port}"
    served = f"{line} --distributed-executor-backend ray"
    return Launch(f"{_HAVE_RAY} && {head} && {served}", f"{_HAVE_RAY} && ray start --block --address={master}:{port}")
