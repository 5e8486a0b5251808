"""Every app here has a state, a folder and units of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from whichgpu.tui.words import units


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHICHGPU_STATE", str(tmp_path / "app.json"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def usual_units() -> Any:
    yield
    units.show(units.Shown())
