"""The repository's layout: six source roots that make one namespace package."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Container
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOTS = ("assets", "catalog", "inspect", "plan", "trial", "tui")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES = [p for r in ROOTS for p in sorted((ROOT / r).rglob("*.py"))]


@pytest.mark.parametrize("root", ROOTS)
def test_root_is_a_namespace(root: str) -> None:
    assert not (ROOT / root / "__init__.py").exists()
    assert not (ROOT / root / "whichgpu" / "__init__.py").exists()
    assert {p.name for p in (ROOT / root).iterdir()} == {"whichgpu"}
    expected = {root, "__main__.py"} if root == "tui" else {root}
    assert {p.name for p in (ROOT / root / "whichgpu").iterdir()} - {"__pycache__"} == expected


@pytest.mark.parametrize("root", ROOTS)
def test_packages_are_real_and_typed(root: str) -> None:
    package = ROOT / root / "whichgpu" / root
    assert (package / "py.typed").exists()
    for folder in [package, *(p for p in package.rglob("*") if p.is_dir() and p.name != "__pycache__")]:
        assert (folder / "__init__.py").exists(), folder


def test_no_module_shadows_the_standard_library() -> None:
    assert [p for p in MODULES if p.stem in sys.stdlib_module_names and p.stem != "inspect"] == []


def test_nothing_imports_a_room_by_its_bare_name() -> None:
    offenders = []
    for path in [*MODULES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            offenders += [(path, n) for n in names if n.split(".")[0] in set(ROOTS) - {"inspect"}]
    assert offenders == []


@pytest.mark.parametrize("folder", [".", *ROOTS])
def test_inspect_stays_the_standard_library(folder: str) -> None:
    code = "import inspect; print(inspect.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / folder, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).parent == Path(ast.__file__).parent


def test_all_tools_name_the_same_roots() -> None:
    tools = PROJECT["tool"]
    folders = [f"{r}/whichgpu" for r in ROOTS]
    assert tools["hatch"]["build"]["targets"]["wheel"]["packages"] == folders
    assert tools["hatch"]["build"]["targets"]["wheel"]["dev-mode-dirs"] == list(ROOTS)
    assert tools["ruff"]["src"] == tools["coverage"]["run"]["source"] == tools["mypy"]["mypy_path"] == list(ROOTS)
    assert tools["importlinter"]["root_packages"] == [f"whichgpu.{r}" for r in ROOTS]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 420
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    sizes = {n.name: (n.end_lineno or 0) - n.lineno + 1 for n in ast.walk(ast.parse(text)) if isinstance(n, functions)}
    assert {name: size for name, size in sizes.items() if size > 50} == {}


def test_dependencies_say_why_they_are_there() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    start = lines.index("dependencies = [")
    listed = lines[start + 1 : lines.index("]", start)]
    assert len(listed) >= 7
    assert [line for line in listed if "#" not in line] == []
    assert "vllm" not in "".join(PROJECT["project"]["dependencies"])


def test_what_is_locked_is_hashed_and_what_is_constrained() -> None:
    """README's test command installs nothing that was altered since: pip refuses a file of another hash."""
    locked = re.findall(
        r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(.*(?:\n    .*)*)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE
    )
    assert all("--hash=sha256:" in rest for _, _, rest in locked)
    pinned = dict(line.lower().replace("_", "-").split("==") for line in (ROOT / "constraints.txt").read_text().split())
    assert {name: version for name, version, _ in locked if pinned.get(name, version) != version} == {}
    asked = [
        re.split(r"[\[<>=]", d)[0]
        for d in [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]]
    ]
    assert set(asked) <= {name for name, _, _ in locked}


def test_constraints_pin_every_dependency() -> None:
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()}
    named = [d.split(">=")[0].lower() for d in PROJECT["project"]["dependencies"]]
    named += [d.split(">=")[0].lower() for d in PROJECT["project"]["optional-dependencies"]["dev"]]
    assert [n for n in named if n not in pinned] == []


def _imported(node: ast.stmt, modules: Container[str]) -> list[str]:
    """Our modules that an import statement loads."""
    if isinstance(node, ast.Import):
        return [a.name for a in node.names if a.name.startswith("whichgpu")]
    if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("whichgpu"):
        return []
    named = [f"{node.module}.{a.name}" for a in node.names]
    return [name if name in modules else str(node.module) for name in named]


def test_an_import_inside_a_function_buys_time() -> None:
    """It is there because the module is loaded when something is opened; one that is loaded anyway stands at the top."""
    trees = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts[1:]).removesuffix(".__init__"): ast.parse(p.read_text())
        for p in MODULES
    }
    at_once = {m: {i for node in tree.body for i in _imported(node, trees)} for m, tree in trees.items()}

    def loaded(module: str) -> set[str]:
        seen, waiting = set[str](), [module]
        while waiting:
            new = at_once.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        return seen

    bought_nothing = [
        (module, inner)
        for module, tree in trees.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for inner in _imported(node, trees)
        if inner in loaded(module)
    ]
    assert bought_nothing == []
