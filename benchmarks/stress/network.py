"""The fault matrix: 24 kinds of failure × 8 repositories × where it happens × once or for good, on the Hub stand-in.

A cell is green where the answer is the one without the fault, or a lower grade that says so, or else one sentence with the exit code
of a network, an access or an unreadable model, and nothing on standard output. A wrong answer is never green.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tests.attack.fuzzed_readers import READERS
from tests.hub import Fault, HubStandIn, Repo, shapes
from tests.hub.content import Sparse

from benchmarks.stress.cells import Cell

_STATUSES = (400, 401, 403, 404, 408, 416, 429, 500, 502, 503, 504)
_BODIES = {"empty": b"", "null": b"null", "a list": b"[]", "deep": b"[" * 100_000, "noise": bytes(range(256)) * 8}
KINDS: dict[str, Fault] = {
    **{f"HTTP {status}": Fault("status", status=status) for status in _STATUSES},
    **{f"body: {name}": Fault("body", body=body) for name, body in _BODIES.items()},
    "redirect loop": Fault("status", status=302, headers={"Location": "?again"}),
    "reset": Fault("reset"),
    "stall": Fault("stall", seconds=1.0),
    "truncate": Fault("truncate"),
    "login page": Fault("html"),
    "range ignored": Fault("ignore_range"),
    "gzip bomb": Fault("gzip"),
    "a byte at a time": Fault("trickle", seconds=0.01),
}
POSITIONS = {
    "listing": "/api/models/",
    "all headers": "safetensors-metadata",
    "config": "config.json",
    "weights": "model",
    "all": "",
}
_CODES = {3, 4, 5, 6}


def repositories() -> dict[str, Repo]:
    """One of each shape in which models are published."""
    config = json.dumps(shapes.QWEN3_06B).encode()
    gguf = READERS["gguf"].seeds()[0]
    single = shapes.qwen3_06b()
    weights = single.files["model.safetensors"]
    pipeline = {
        "model_index.json": b'{"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}',
        "transformer/config.json": b'{"_class_name": "FluxTransformer2DModel", "num_layers": 2}',
        "transformer/model.safetensors": weights,
    }
    adapter = {"adapter_config.json": b'{"base_model_name_or_path": "a/single"}', "adapter_model.safetensors": weights}
    return {
        "a/single": single,
        "a/shards": shapes.llama_8b(),
        "a/mirror": shapes.llama_8b(offers_metadata=False),
        "a/unsized": shapes.qwen3_06b(unsized=True),
        "a/gguf": Repo({"model.gguf": Sparse(gguf, len(gguf) + 2**20)}),
        "a/pipeline": Repo(pipeline),
        "a/config": Repo({"config.json": config, "pytorch_model.bin": Sparse(b"", 1_192_135_096)}),
        "a/adapter": Repo(adapter),
    }


class Ended(NamedTuple):
    """How one command ended."""

    code: int
    out: str
    err: str


class Bench:
    """A stand-in, and whichgpu in this process pointed at it; time-outs and waits are cut short."""

    def __init__(self, folder: Path) -> None:
        import httpx2
        from huggingface_hub import constants

        from whichgpu.catalog.store import Catalog
        from whichgpu.inspect.sources import hub_http

        hub_http._TIMEOUT, hub_http.RETRY_WAIT_SECONDS = httpx2.Timeout(0.5), 0.01
        self.hub = HubStandIn(repositories()).__enter__()
        constants.ENDPOINT = self.hub.endpoint
        constants.HF_HUB_DISABLE_IMPLICIT_TOKEN = True
        self.folder = folder
        os.environ["HF_HOME"] = str(folder / "hf")
        self.cold, self.warm = folder / "cold.db", folder / "warm.db"
        Catalog(self.cold).add()
        shutil.copy(self.cold, self.warm)
        self.honest = {name: self.ask(name, self.warm) for name in self.hub.repos}

    def ask(self, *words: str | Path) -> Ended:
        """Ask for a model with a catalog."""
        name, catalog, *rest = words
        return run(
            ["-m", str(name), "--json", "--gpu", "H100", "--max-age", "0", "--catalog", str(catalog), *map(str, rest)]
        )

    def fresh(self, template: Path) -> Path:
        """A catalog like another, to be written into."""
        path = self.folder / "now.db"
        for left in self.folder.glob("now.db*"):
            left.unlink()
        shutil.copy(template, path)
        return path


def run(words: Sequence[str]) -> Ended:
    """Run whichgpu in this process."""
    from whichgpu.tui.cli.tree import run as run_words

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = int(run_words(words))
    return Ended(code, out.getvalue(), err.getvalue())


def judge(ended: Ended, honest: Ended) -> str:
    """Return what is wrong with how a command ended, beside how it ends without a fault."""
    errors = [line for line in ended.err.splitlines() if line.startswith("whichgpu: error: ")]
    if "Traceback" in ended.err or ended.code == 70:
        return f"a defect: {ended.err[-300:]}"
    if ended.code == honest.code and honest.code not in (0, 1):
        return ""
    if ended.code not in (0, 1):
        if ended.code not in _CODES or len(errors) != 1 or ended.out:
            return f"code {ended.code}, {len(errors)} errors, {len(ended.out)} characters of answer"
        return ""
    found, expected = (json.loads(e.out)["inspection"] for e in (ended, honest))
    if figures(found) == figures(expected):
        return ""
    if found["grade"] != expected["grade"] and (
        found["unread"] or found["warnings"] or found["grade"] != "tensor headers"
    ):
        return ""
    return f"another answer without a word: {figures(found)} for {figures(expected)}"


def figures(inspection: dict[str, Any]) -> tuple[Any, ...]:
    """What a wrong answer would have wrong."""
    return (
        inspection["parameters"]["total"]["value"],
        inspection["weights"]["total"]["value"],
        (inspection["architecture"] or {}).get("layers"),
    )


def _share(number: int, of: int, thin: int) -> list[Cell]:
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        cells = list(itertools.chain(_one_shots(bench, number, of, thin), _warm(bench, number, of, thin)))
        if number == 0:
            cells += [*_fleet(bench), *_app(bench)]
        return cells


def _matrix(bench: Bench) -> Iterator[tuple[str, str, str, int]]:
    return itertools.product(KINDS, bench.hub.repos, POSITIONS, (1, 10**6))


def _one_shots(bench: Bench, number: int, of: int, thin: int) -> Iterator[Cell]:
    for at, (kind, repo, position, times) in enumerate(_matrix(bench)):
        if at % of == number and at % thin == 0:
            bench.hub.faults[:] = [replace(KINDS[kind], where=POSITIONS[position], times=times)]
            fault = judge(bench.ask(repo, bench.fresh(bench.cold)), bench.honest[repo])
            yield Cell("one-shot, cold", f"{kind}, {repo}, {position}, {'once' if times == 1 else 'for good'}", fault)
    bench.hub.faults.clear()


def _warm(bench: Bench, number: int, of: int, thin: int) -> Iterator[Cell]:
    """A second look: what the catalog has is an answer, whatever the network does."""
    for at, (kind, repo, position, times) in enumerate(_matrix(bench)):
        if at % of == number and at % (7 * thin) == 0:
            bench.hub.faults[:] = [replace(KINDS[kind], where=POSITIONS[position], times=times)]
            fault = judge(bench.ask(repo, bench.fresh(bench.warm)), bench.honest[repo])
            yield Cell("one-shot, warm catalog", f"{kind}, {repo}, {position}", fault)
    bench.hub.faults.clear()


def _fleet(bench: Bench) -> Iterator[Cell]:
    """One model of three fails: the others are answered, and it is named."""
    path = bench.folder / "fleet.txt"
    path.write_text("a/single\na/shards\na/config\n")
    for kind, failure in KINDS.items():
        bench.hub.faults[:] = [replace(failure, where="a/shards")]
        ended = run(["fleet", str(path), "--json", "--catalog", str(bench.fresh(bench.cold))])
        fault = "Traceback or defect" if "Traceback" in ended.err or ended.code == 70 else ""
        if not fault:
            answered = {m["model"] for m in json.loads(ended.out)["models"]} if ended.out else set()
            fault = "" if {"a/single", "a/config"} <= answered else f"answered {sorted(answered)}: {ended.err[-200:]}"
        yield Cell("fleet, one of three", kind, fault)
    bench.hub.faults.clear()


def _app(bench: Bench) -> Iterator[Cell]:
    """The app opens a model that fails: a sentence on the screen, and it goes on."""
    from textual.widgets import Static

    from whichgpu.tui.app.application import WhichgpuApp
    from whichgpu.tui.desk.desk import open_desk

    async def drive() -> str:
        app = WhichgpuApp(open_desk(), offline=False, model="a/single")
        async with app.run_test(size=(80, 24)) as pilot:
            for _ in range(1500):
                await pilot.pause(0.02)
                texts = " ".join(str(w.content) for w in app.screen.query(Static))
                if "reading" not in texts:
                    break
            await pilot.press("escape")
            await pilot.pause(0.05)
            return "" if app.is_running and app.return_code is None else "the app ended"

    for kind, failure in KINDS.items():
        bench.hub.faults[:] = [replace(failure)]
        os.environ["WHICHGPU_CATALOG"] = str(bench.fresh(bench.cold))
        os.environ["WHICHGPU_STATE"] = str(bench.folder / "state.json")
        try:
            fault = asyncio.run(drive())
        except Exception as error:  # noqa: BLE001 - whatever gets out of the app is the fault
            fault = f"{type(error).__name__}: {error}"
        yield Cell("app, opening a model", kind, fault)
    bench.hub.faults.clear()


def cells(thin: int = 1, processes: int = 2) -> list[Cell]:
    """Try the whole matrix, or every ``thin``-th cell of it."""
    with ProcessPoolExecutor(processes) as pool:
        shares = [pool.submit(_share, number, processes, thin) for number in range(processes)]
        return [cell for share in shares for cell in share.result()]
