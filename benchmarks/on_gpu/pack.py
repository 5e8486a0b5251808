"""What a bare machine needs, in pieces that travel: a CUDA vLLM (``engine``), and ours with the stand-ins for models (``ours``).

A piece is a folder with ``part`` and ``about`` (archive, index, pieces, SHA-256 of the part, SHA-256 of the archive), which
``unpack.sh`` checks. What an archive was made of stands in ``packed.json``; it is made again only when that changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.on_gpu.sets import SETS, config_of
from benchmarks.on_gpu.stand_ins import write_stand_in

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
PIECE = 45 * 2**20
"""Bytes of a piece."""

_TAGS = ("2014", "2010", "1", "_2_39", "_2_35", "_2_34", "_2_31", "_2_28", "_2_27", "_2_24", "_2_17", "_2_12", "_2_5")
_NEVER_IMPORTED = (
    "vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so",  # Hopper takes FlashAttention 3
    "vllm/vllm-rs",
    "vllm/third_party/fmha_sm100",
    "xgrammar/lib/libxgrammar.a",
    "mistral_common/data",
    "bin",
)
_OURS = (
    "annotated-types", "click", "click-default-group", "filelock", "fsspec", "nvidia-ml-py", "packaging", "platformdirs", "pluggy",
    "prometheus_client", "pydantic", "pydantic_core", "python-dateutil", "PyYAML", "sqlite-fts4", "sqlite-utils", "tabulate",
    "tqdm", "typing-inspection", "typing_extensions", "huggingface_hub", "hf-xet", "httpx2", "httpcore2", "h11", "idna", "anyio",
    "certifi", "truststore",
)  # fmt: skip
"""What a trial of a folder imports, at the versions of constraints.txt."""


def pack(out: Path, sets: Sequence[str], python: str, engine: bool = True, piece: int = PIECE) -> list[Path]:
    """Make the pieces that are not there or are of another state, and return their folders in the order of travel."""
    out.mkdir(parents=True, exist_ok=True)
    archives: list[tuple[str, str, Callable[[Path], None]]] = []
    if engine:
        archives.append(("engine", _digest(HERE / "engine.txt", __file__, python), lambda at: _engine(at, python)))
    archives.append(("ours", _digest(*_sources(), *sorted(sets), python), lambda at: _ours(at, sets, python)))
    packed = _pack_record(out)
    for name, digest, make in archives:
        state = {"digest": digest, "piece": piece}
        if packed.get(name) != state:
            _make(out, name, make, piece)
            packed[name] = state
            (out / "packed.json").write_text(json.dumps(packed, indent=1), encoding="utf-8")
    return [folder for name, _, _ in archives for folder in sorted(out.glob(f"{name}-*"))]


def _pack_record(out: Path) -> dict[str, object]:
    try:
        packed: dict[str, object] = json.loads((out / "packed.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return packed


def _digest(*parts: Path | str) -> str:
    """SHA-256 over files and words."""
    sha = hashlib.sha256()
    for part in parts:
        path = Path(part)
        sha.update(path.read_bytes() if path.is_file() else str(part).encode())
    return sha.hexdigest()


def _sources() -> list[Path]:
    """Every file that ``ours`` is made of."""
    roots = ("assets", "catalog", "inspect", "plan", "trial", "tui", "benchmarks/on_gpu")
    files = (p for root in roots for p in (ROOT / root).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    source_files = [p for p in files if p.suffix != ".md"]
    extra = [ROOT / "constraints.txt", ROOT / "pyproject.toml", ROOT / "tests" / "tiny_models.py"]
    return sorted(source_files) + extra


def _make(out: Path, name: str, fill: Callable[[Path], None], piece: int) -> None:
    """Fill a folder, compress it, cut it into pieces."""
    for old in out.glob(f"{name}-*"):
        shutil.rmtree(old)
    with tempfile.TemporaryDirectory() as work:
        site, archive = Path(work) / name, Path(work) / "archive"
        site.mkdir()
        fill(site)
        for cache in list(site.rglob("__pycache__")):
            shutil.rmtree(cache)
        words = ["tar", "-C", str(site), "--sort=name", "--use-compress-program", "xz -T0 -6", "-cf", str(archive), "."]
        subprocess.run(words, check=True)
        content = archive.read_bytes()
    parts = [content[at : at + piece] for at in range(0, len(content), piece)]
    for index, part in enumerate(parts):
        folder = out / f"{name}-{index}"
        folder.mkdir()
        (folder / "part").write_bytes(part)
        shutil.copy(HERE / "unpack.sh", folder)
        facts = (name, index, len(parts), hashlib.sha256(part).hexdigest(), hashlib.sha256(content).hexdigest())
        (folder / "about").write_text(" ".join(map(str, facts)) + "\n", encoding="utf-8")


def _engine(at: Path, python: str) -> None:
    """vLLM and what such a machine lacks of its requirements, less what a run with dummy weights never imports."""
    _install(at / "site", python, "-r", str(HERE / "engine.txt"))
    for name in _NEVER_IMPORTED:
        path = at / "site" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    tag = python.replace(".", "")
    for extension in (at / "site/vllm/third_party/deep_gemm").glob("_C.cpython-3*"):
        if f"cpython-{tag}" not in extension.name:
            extension.unlink()
    _script(at / "python", 'PYTHONPATH="$here/site${PYTHONPATH:+:$PYTHONPATH}" exec python3 "$@"')


def _ours(at: Path, sets: Sequence[str], python: str) -> None:
    """Our wheel, what it needs for a trial, the scripts, and a folder for each model of the sets."""
    with tempfile.TemporaryDirectory() as wheels:
        build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, str(ROOT))
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pinned = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line]
        pins = {line.split("==")[0].lower(): line.strip() for line in pinned}
        _install(at / "site", python, *(pins[name.lower()] for name in _OURS), *map(str, Path(wheels).glob("*.whl")))
    scripts = at / "benchmarks" / "on_gpu"
    scripts.mkdir(parents=True)
    for source in HERE.glob("*.py"):
        shutil.copy(source, scripts)
    for start in {start.model: start for name in sets for start in SETS[name]}.values():
        write_stand_in(at / "models" / start.model.replace("/", "__"), config_of(start.model))
    _script(at / "start", 'PYTHONPATH="$here/site:$here" exec python3 -m benchmarks.on_gpu run "$@"')


def _script(path: Path, line: str) -> None:
    """Write a shell script that knows its own folder as ``$here``."""
    path.write_text(f'#!/bin/sh\nhere=$(cd "$(dirname "$0")" && pwd)\n{line}\n', encoding="utf-8")
    path.chmod(0o755)


def _install(at: Path, python: str, *what: str) -> None:
    """Install wheels for another machine: Linux, x86-64, this Python."""
    platforms = [word for tag in _TAGS for word in ("--platform", f"manylinux{tag}_x86_64")]
    tag = "cp" + python.replace(".", "")
    words = ("--no-deps", "--only-binary=:all:", "--no-compile", "--python-version", python, "--implementation", "cp")
    abis = ("--abi", tag, "--abi", "abi3", "--abi", "none")
    pip = (sys.executable, "-m", "pip", "install", "-q", "--root-user-action=ignore", "--target", str(at))
    done = subprocess.run([*pip, *words, *abis, *platforms, *what], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"pip could not install for Python {python}:\n{done.stderr[-2000:]}")
