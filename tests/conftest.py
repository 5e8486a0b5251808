"""Fixtures: a scrubbed environment, the Hub stand-in, the command line in this process or a fresh one."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.hub import HubStandIn, Repo
from tests.tiny_models import CONFIGS
from tests.trying import VLLM

# Hundreds of children start; each would compile the rooms anew where the environment says to write no bytecode.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

settings.register_profile("whichgpu", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("whichgpu")  # a busy machine is no failure

_WAITING = ("test_trial", "test_on_gpu", "test_serve", "test_fleet")
"""Modules that mostly wait for processes of their own."""


def pytest_xdist_auto_num_workers() -> int:
    """Half of the suite waits for terminals, servers and budgets: two workers for each processor, and one."""
    return 2 * (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Whoever runs out of tests takes some of another's: a wait holds up nothing but itself."""
    if config.getoption("numprocesses", None) and config.option.dist == "no":
        config.option.dist = "worksteal"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Waits are spread evenly: every worker's share has as many, and some compute while others wait."""
    waiting = [item for item in items if item.path.stem.startswith(_WAITING)]
    computing = [item for item in items if not item.path.stem.startswith(_WAITING)]
    shares = [(i / len(group), item) for group in (waiting, computing) for i, item in enumerate(group)]
    items[:] = [item for _, item in sorted(shares, key=lambda pair: pair[0])]


def pytest_collection_finish() -> None:
    """What was collected stays; the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(
        20_000, 20, 50
    )  # apps and answers live for one test: a fifth of the suite's time went into looking


_SCRUBBED = (
    "HF_",
    "WHICHGPU_",
    "XDG_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_COLOR",
    "http_proxy",
    "https_proxy",
)


@pytest.fixture(autouse=True)
def scrubbed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's settings, tokens or caches reaches a test."""
    for name in list(os.environ):
        if name.startswith(_SCRUBBED):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("WHICHGPU_CATALOG", str(tmp_path / "catalog.db"))
    monkeypatch.setenv("WHICHGPU_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("whichgpu.tui.words.units.today", lambda: REVIEWED)


REVIEWED = date(2026, 11, 27)
"""The day of every test: prices get older, and what was reviewed says how old they are."""


@pytest.fixture
def start_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., HubStandIn]]:
    """Start stand-ins that huggingface_hub in this process and in child processes talks to."""
    started: list[HubStandIn] = []

    def start(repos: dict[str, Repo], token: str | None = None) -> HubStandIn:
        from huggingface_hub import constants

        hub = HubStandIn(repos, token).__enter__()
        started.append(hub)
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        return hub

    yield start
    from huggingface_hub import close_session

    close_session()
    for hub in started:
        hub.__exit__()


@dataclass(frozen=True)
class Result:
    """What a run of the command line did."""

    code: int
    out: str
    err: str


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run the command line in this process."""

    def run_here(*arguments: str) -> Result:
        from whichgpu.tui.cli.tree import run

        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run_here


@pytest.fixture
def ask_fresh() -> Callable[..., Result]:
    """Run the command line in a fresh process."""

    def run_fresh(*arguments: str, **environment: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "whichgpu", *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run_fresh


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Install the stand-in and choose how it behaves; returns the value of --vllm-at."""
    from whichgpu.trial import supervisor

    path = tmp_path / "vllm"
    path.write_text(f"#!{sys.executable}\n" + Path(__file__).with_name("fake_vllm.py").read_text())
    path.chmod(0o755)
    monkeypatch.setattr(supervisor, "GRACE", 15.0)

    def choose(how: str) -> str:
        monkeypatch.setenv("FAKE_VLLM", how)
        return str(path)

    return choose


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIGS["dense"]))
    return str(folder)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [VLLM or "", str(Path(__file__).with_name("tiny_models.py")), str(folder)], check=True, env=environment
    )
    return folder
