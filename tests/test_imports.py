"""What an import costs: proved in fresh interpreters by the modules that it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("textual", "huggingface_hub", "sqlite_utils", "pydantic", "httpx2", "numpy", "vllm", "torch")


def loaded_after(code: str) -> set[str]:
    """Top-level modules in ``sys.modules`` after running code in a fresh interpreter."""
    probe = f"import sys\ntry:\n    {code}\nexcept SystemExit: pass\nprint('LOADED', *{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.rsplit("LOADED", 1)[1].split())


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_load_nothing_heavy(option: str) -> None:
    loaded = loaded_after(
        f"sys.argv = ['whichgpu', '{option}']; import os; os._exit = sys.exit; from whichgpu.tui.main import main; main()"
    )
    assert "click" in loaded
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "module",
    [
        "whichgpu.inspect.inspector",
        "whichgpu.plan.recommend",
        "whichgpu.catalog.store",
        "whichgpu.catalog.atlas",
        "whichgpu.trial",
        "whichgpu.assets",
    ],
)
def test_core_never_loads_the_terminal(module: str) -> None:
    assert loaded_after(f"import {module}").isdisjoint({"textual", "rich", "click"})


@pytest.mark.parametrize("module", ["whichgpu.plan", "whichgpu.plan.recommend", "whichgpu.plan.hardware"])
def test_plan_loads_no_network_code(module: str) -> None:
    assert loaded_after(f"import {module}").isdisjoint({"huggingface_hub", "httpx2", "httpcore2", "requests", "ssl"})


def test_a_first_run_loads_no_data_frames() -> None:
    code = (
        "from pathlib import Path; import tempfile; from whichgpu.catalog.store import Catalog; from tests.findings import finding;"
        " Catalog(Path(tempfile.mkdtemp()) / 'c.db').add(finding())"
    )
    loaded = loaded_after(code)
    assert "sqlite3" in loaded
    assert loaded.isdisjoint({"sqlite_utils", "numpy", "pandas", "pyarrow"})


def test_data_frames_are_there_for_everyone_else() -> None:
    """A thread that imports them at the same moment gets them, and so does whoever asks later."""
    code = (
        "import threading; t = threading.Thread(target=lambda: __import__('numpy')); t.start();"
        " import whichgpu.catalog.schema; t.join(); import numpy, pandas"
    )
    assert {"numpy", "pandas"} <= loaded_after(code)


def test_an_answer_from_headers_loads_neither_the_catalogs_library_nor_the_app() -> None:
    loaded = loaded_after("import whichgpu.tui.cli.answer, whichgpu.inspect.sources.hub")
    assert loaded.isdisjoint({"textual", "sqlite_utils", "numpy", "gguf", "rich"})
