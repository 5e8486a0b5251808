"""Compare inspections of real models with what is known of them, and write the table of docs/inspection.md.

    python -m benchmarks.agreement MODELS_DIR [--write docs/inspection.md]
    python -m benchmarks.agreement MODELS_DIR --transformers [--python PYTHON] [--write docs/transformers.md]

``MODELS_DIR`` holds one folder per model (``ORG__NAME``: config, indexes, ``lfs_sizes.json``) and an
``INDEX.jsonl`` with the published class, parameters and bytes. The models are served by the tests' Hub
stand-in and asked through the command line, so every one of them goes all the way through.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.hub import HubStandIn, Repo, Sparse

from benchmarks.hub_terms import model_info

_NOT_IN_REPOSITORY = {"SOURCE.txt", "lfs_sizes.json", "siblings.json", "model_files.json", "safetensors_header.json"}
_CLASSES = {
    "dense": ({"dense"}, {"moe", "multimodal", "hybrid", "ssm", "diffusion", "encoder", "encoder-decoder"}),
    "moe": ({"moe"}, {"multimodal", "hybrid"}),
    "multimodal": ({"multimodal"}, {"moe"}),
    "multimodal-moe": ({"multimodal", "moe"}, set()),
    "hybrid": ({"hybrid"}, {"moe", "multimodal"}),
    "hybrid-moe": ({"hybrid", "moe"}, {"multimodal"}),
    "ssm": ({"ssm"}, {"hybrid"}),
    "diffusion": ({"diffusion"}, set()),
    "encoder": ({"encoder"}, set()),
    "encoder-decoder": ({"encoder-decoder"}, {"multimodal"}),
    "audio": ({"multimodal"}, set()),
}
"""Published class: (must be among ours, must not be). 'audio' also needs an audio modality."""


@dataclass(frozen=True)
class Row:
    """One model's comparison."""

    name: str
    expected_class: str
    label: str
    class_agrees: bool
    grade: str
    true_parameters: int | None
    parameters: int | None
    true_active: int | None
    active: int | None
    embedding: int
    true_bytes: int | None
    bytes: int | None
    code: int
    error: str
    notes: str

    @property
    def parameter_error(self) -> float | None:
        if not self.true_parameters or not self.parameters:
            return None
        return (self.parameters - self.true_parameters) / self.true_parameters

    @property
    def active_agrees(self) -> bool | None:
        """Within one unit of the last published digit, with the embedding table or without it.

        Published figures are rounded, up or down ("37B", "3.6B"), and some publishers leave the embedding out.
        """
        if not self.true_active or not self.active:
            return None
        unit = 1_000_000_000 if self.true_active % 1_000_000_000 == 0 else 100_000_000
        return any(abs(self.active - left_out - self.true_active) < unit for left_out in (0, self.embedding))


def repository_of(folder: Path) -> Repo:
    """Build a repository from a metadata folder: its files, and weights of the listed sizes."""
    files: dict[str, bytes | Sparse] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in _NOT_IN_REPOSITORY:
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    for name, size in _listed_sizes(folder).items():
        files[name] = Sparse(b"", size)
    return Repo(files, commit=None)


def _listed_sizes(folder: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    lfs, siblings, listed = (folder / n for n in ("lfs_sizes.json", "siblings.json", "model_files.json"))
    if lfs.exists():
        sizes |= {k: int(v) for k, v in json.loads(lfs.read_text()).items()}
    if siblings.exists():
        for entry in json.loads(siblings.read_text()):
            names = entry["rfilename"] if isinstance(entry["rfilename"], list) else [entry["rfilename"]]
            rest = entry["size"]
            for index, name in enumerate(names):
                share = rest // (len(names) - index)
                sizes[name], rest = share, rest - share
    if listed.exists():
        sizes |= {e["name"]: int(e["size"]) for e in json.loads(listed.read_text())["model_files"]}
    return sizes


def ask(name: str, catalog: Path) -> tuple[int, str, str]:
    """Ask the command line for one model; return (exit code, stdout, stderr)."""
    from whichgpu.tui.cli.tree import run

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["--model", name, "--json", "--quick", "--catalog", str(catalog)])
    return code, out.getvalue(), err.getvalue()


def compare(entry: dict[str, Any], code: int, out: str, err: str) -> Row:
    """Put one answer beside what is known."""
    inspection: Any = json.loads(out)["inspection"] if out else None
    classes = set(inspection["classes"]) if inspection else set()
    expected = entry["arch_class"]
    must, must_not = _CLASSES[expected]
    agrees = must <= classes and not (must_not & classes)
    if expected == "audio":
        agrees = agrees and any("audio" in m for m in inspection["modalities"])
    return Row(
        name=entry["id"],
        expected_class=expected,
        label=" + ".join(inspection["classes"]) if inspection else "–",
        class_agrees=agrees,
        grade=inspection["grade"] if inspection else "–",
        true_parameters=entry["true_total_params"],
        parameters=inspection["parameters"]["total"]["value"] if inspection else None,
        true_active=entry["true_active_params"],
        active=inspection["parameters"]["active"]["value"] if inspection else None,
        embedding=inspection["parameters"]["by_part"].get("embedding", 0) if inspection else 0,
        true_bytes=entry["true_bytes"],
        bytes=inspection["weights"]["total"]["value"] if inspection else None,
        code=code,
        error=err.strip().splitlines()[-1] if not inspection and err else "",
        notes=entry["notes"],
    )


def run_all(models: Path) -> tuple[list[Row], float]:
    """Send every model through the command line; return rows and seconds."""
    entries = [json.loads(line) for line in (models / "INDEX.jsonl").read_text().splitlines()]
    repos = {e["id"]: repository_of(models / e["id"].replace("/", "__")) for e in entries}
    begun = time.perf_counter()
    with HubStandIn(repos) as hub, tempfile.TemporaryDirectory() as folder:
        os.environ["HF_ENDPOINT"] = hub.endpoint
        rows = [compare(e, *ask(e["id"], Path(folder) / "catalog.db")) for e in entries]
    return rows, time.perf_counter() - begun


def offered(models: Path, names: Sequence[str]) -> dict[str, Repo]:
    """Build repositories from metadata folders, with the licences and dates that a list of the Hub has of them."""
    repos = {n: repository_of(models / n.replace("/", "__")) for n in names}
    return {n: replace(r, extra_info={**r.extra_info, **model_info(n)}) for n, r in repos.items()}


def build_atlas(models: Path, out: Path) -> None:
    """Build the atlas from metadata folders instead of the Hub."""
    ids = Path("assets/whichgpu/assets/atlas_ids.txt")
    with HubStandIn(offered(models, ids.read_text().split())) as hub:
        os.environ["HF_ENDPOINT"] = hub.endpoint
        from whichgpu.tui.cli.tree import run

        run(["atlas", "build", "--ids", str(ids), "--out", str(out)])


def _beside_transformers(options: argparse.Namespace) -> None:
    from benchmarks import transformers_oracle

    if options.python:
        transformers_oracle.record(options.models, options.python, options.place)
    page = transformers_oracle.page(options.models)
    if options.write:
        options.write.write_text(page, encoding="utf-8")
    else:
        print(page)


def main() -> None:
    """Run the comparison and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("models", type=Path)
    parser.add_argument("--write", type=Path, help="markdown file to write")
    parser.add_argument(
        "--atlas", type=Path, help="build this atlas from the ids in assets/whichgpu/assets/atlas_ids.txt instead"
    )
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument(
        "--transformers", action="store_true", help="beside transformers' own classes and what it saves"
    )
    parser.add_argument("--python", help="with --transformers: ask it anew, with this Python")
    parser.add_argument("--place", nargs="*", type=Path, default=[], help="another transformers than that Python's own")
    options = parser.parse_args()
    if options.transformers:
        _beside_transformers(options)
        return
    if options.atlas:
        build_atlas(options.models, options.atlas)
        return
    rows, seconds = run_all(options.models)
    from benchmarks.agreement_report import markdown, summary

    print(f"{len(rows)} models in {seconds:.1f} s")
    print(summary(rows))
    if options.verbose:
        for row in rows:
            off = row.parameter_error
            if not row.class_agrees or row.code not in (0, 1) or (off is not None and abs(off) > 0.005):
                share = f"{off:+.2%}" if off is not None else "-"
                print(
                    f"{row.name} | {row.expected_class} | {row.label} | {row.grade} | {share} | {row.code} {row.error}"
                )
    if options.write:
        options.write.write_text(markdown(rows))


if __name__ == "__main__":
    main()
