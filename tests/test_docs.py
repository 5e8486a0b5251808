"""Documents say what is true now."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from benchmarks import claims

from tests.render_docs import DOCS, app_page, catalog_page, cli_page, json_page
from whichgpu import assets
from whichgpu.catalog.atlas import Atlas
from whichgpu.catalog.atlas_index import FILE_NAME

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("json.md", json_page),
        ("cli.md", cli_page),
        ("catalog.md", catalog_page),
        ("app.md", app_page),
        ("claims.md", claims.page),
    ],
)
def test_rendered_pages_are_current(name: str, page: object) -> None:
    assert callable(page)
    assert (DOCS / name).read_text() == page(), "run python -m tests.render_docs"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_readme_has_its_two_commands_and_ci_runs_one_of_them() -> None:
    text = (ROOT / "README.md").read_text()
    for marker in ("main job", "test"):
        assert re.search(rf"<!-- {marker} -->\n```sh\n[^\n]+(constraints|requirements-dev)\.txt[^\n]+\n```", text)
    assert "readme_command test" in (ROOT / ".ci" / "run").read_text()


def test_the_changelog_knows_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version} (" in (ROOT / "CHANGELOG.md").read_text()


def test_the_number_of_atlas_models_is_told_right() -> None:
    count = len(Atlas(assets.read(FILE_NAME)))
    for name in ("README.md", "CHANGELOG.md"):
        assert f"atlas of {count} models" in " ".join((ROOT / name).read_text().split())


def test_modules_named_in_contributing_exist() -> None:
    folders = [p for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")]
    paths = {f"/{p.relative_to(ROOT).as_posix()}" for folder in folders for p in folder.rglob("*.*")}
    paths |= {f"/{p.name}" for p in ROOT.iterdir()}
    for name in re.findall(r"`([a-z_/]+\.(?:py|json|txt))`", (ROOT / "CONTRIBUTING.md").read_text()):
        assert any(path.endswith(f"/{name}") for path in paths), name


def test_what_vllm_said_is_kept_without_where_files_lay() -> None:
    absolute = re.compile(r"(?<![\w:/.*~-])/(?:[\w.-]+/){2,}")
    for file in sorted((ROOT / "benchmarks").glob("*.jsonl")):
        assert not absolute.findall(file.read_text(encoding="utf-8")), file.name
