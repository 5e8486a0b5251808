"""Licences and dates of an atlas that is built from folders."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.agreement import offered
from benchmarks.hub_terms import listed

from tests.hub import shapes
from whichgpu import assets
from whichgpu.catalog.atlas import write_atlas
from whichgpu.catalog.atlas_index import read_index
from whichgpu.inspect.inspector import inspect_model


def test_the_list_is_about_the_atlas_s_models() -> None:
    names = set(assets.read("atlas_ids.txt").decode().split())
    assert set(listed()) <= names
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d", model.created) for model in listed().values() if model.created)
    assert (listed()["Qwen/Qwen3-8B"].licence, listed()["Qwen/Qwen3-8B"].created) == ("apache-2.0", "2025-04-27")


def test_an_atlas_has_them_where_the_list_does(tmp_path: Path, start_hub: Callable[..., object]) -> None:
    names = ["Qwen/Qwen3-8B", "nobody/unlisted"]
    for name in names:
        folder = tmp_path / name.replace("/", "__")
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(shapes.QWEN3_06B))
    start_hub(offered(tmp_path, names))
    write_atlas((inspect_model(name, quick=True) for name in names), tmp_path / "atlas.zip")
    entries = read_index((tmp_path / "atlas.zip").read_bytes())
    assert [(e.name, e.licence, e.gated, e.modified) for e in entries] == [
        ("Qwen/Qwen3-8B", "apache-2.0", None, "2025-04-27"),
        ("nobody/unlisted", None, None, None),
    ]
