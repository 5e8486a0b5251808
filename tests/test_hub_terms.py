"""Licences and dates of an atlas that is built from folders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from benchmarks.agreement import build_atlas
from benchmarks.hub_terms import listed

from tests.hub import shapes
from whichgpu import assets
from whichgpu.catalog.atlas_index import read_index


def test_the_list_is_about_the_atlas_s_models() -> None:
    names = set(assets.read("atlas_ids.txt").decode().split())
    assert set(listed()) <= names
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d", model.created) for model in listed().values() if model.created)
    assert (listed()["Qwen/Qwen3-8B"].licence, listed()["Qwen/Qwen3-8B"].created) == ("apache-2.0", "2025-04-27")


def test_an_atlas_has_them_where_the_list_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # put back afterwards
    for name in ("Qwen__Qwen3-8B", "nobody__unlisted"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(shapes.QWEN3_06B))
    ids = tmp_path / "ids.txt"
    ids.write_text("Qwen/Qwen3-8B\nnobody/unlisted\n")
    build_atlas(tmp_path, tmp_path / "atlas.zip", ids)
    entries = read_index((tmp_path / "atlas.zip").read_bytes())
    assert [(e.name, e.licence, e.gated, e.modified) for e in entries] == [
        ("Qwen/Qwen3-8B", "apache-2.0", None, "2025-04-27"),
        ("nobody/unlisted", None, None, None),
    ]
