"""A release that is followed, asked itself: its selectors for the asset, its classes for bytes, and what both changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import judge
from benchmarks.starts import all_requests, asked
from benchmarks.starts_compared import ASKED, folders_of, rows_of, write_rows
from benchmarks.starts_table import Row, compact, release_of

_FLASHINFER = ("flashinfer-python", "nvidia-ml-py", "tabulate", "apache-tvm-ffi")
"""Its Python, without which selectors think that its kernels are not there."""
_SIZES = (1, 4)


def flashinfer_in(folder: Path) -> Path:
    """Install FlashInfer's Python into a folder."""
    options = ["-q", "--no-deps", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *_FLASHINFER], check=True)
    return folder


def follow(models: Path, python: str, places: Sequence[Path], vllm: str, write: bool) -> Iterator[str]:
    """Ask a release about every model of a folder, and yield what it says that the last one did not.

    Args:
        models: folders of metadata (``ORG__NAME/config.json``).
        python: of vLLM's CPU build.
        places: the release's Python, and of what goes with it.
        vllm: its version.
        write: keep its answers for the asset (``python -m benchmarks.starts write``).
    """
    folders = folders_of(models)
    earlier_rows = rows_of(ASKED)
    before = max((row["vllm"] for row in earlier_rows if row["vllm"] != vllm), default=None)
    rows = list(compact(asked(all_requests(folders), python, places), vllm))
    if before is not None:
        yield from answer_changes(release_of(earlier_rows, before), release_of(rows, vllm))
        yield from whole_changes([row for row in earlier_rows if row["vllm"] == before], rows)
    if write:
        write_rows(ASKED, vllm, rows)
    judged_models = {row["model"] for row in judge.rows()}
    again = [folder for folder in folders if folder.name.replace("__", "/", 1) in judged_models]
    last = max((row["vllm"] for row in judge.rows() if row["vllm"] != vllm), default=None)
    earlier = [row for row in judge.rows() if row["vllm"] == last]
    yield from byte_changes(earlier, list(judge.record(again, python, _SIZES, places)))


def answer_changes(before: Row, after: Row) -> Iterator[str]:
    """Yield the kinds of layers that one release serves on a card and the other does not."""
    old, new = _by_kind(before), _by_kind(after)
    for key, answers in new.items():
        label = " ".join(str(part) for part in key if part is not None)
        if key not in old:
            yield f"kernels: + {label}"
            continue
        for card, was, now in zip(after["cards"], old[key], answers, strict=False):
            if was.startswith("!") != now.startswith("!"):
                yield f"kernels: {label} on {card:g}: {was} → {now}"


def _by_kind(release: Row) -> dict[tuple[Any, ...], list[str]]:
    words = release["words"]
    attention = {
        (row["kind"], row.get("name"), head, row["cache"]): [words[i] for i in row["by"]]
        for row in release["attention"]
        for head in row["heads"] or [None]
    }
    experts = {("experts", row["format"], row["multiple"]): [words[i] for i in row["by"]] for row in release["experts"]}
    return attention | experts


def whole_changes(before: Sequence[Row], after: Sequence[Row]) -> Iterator[str]:
    """Yield the cells of whole models that one release starts and the other does not."""
    old = {row["model"]: _by_cell(row) for row in before if "model" in row}
    for row in after:
        for cell, now in _by_cell(row).items() if row.get("model") in old else ():
            was = old[row["model"]].get(cell)
            if was is not None and was.startswith("!") != now.startswith("!"):
                yield f"start: {row['model']} on {cell}: {was} → {now}"


def _by_cell(row: Row) -> dict[str, str]:
    return {cell: answer for answer, cells in row["by"].items() for cell in cells}


def byte_changes(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the models whose weights or cache have another size than before."""
    old = {(row["model"], row["tp"]): row for row in before}
    for row in after:
        was = old.get((row["model"], row["tp"]))
        if was is None:
            continue
        for field in ("weights", "per_block", "blocks", "error", "cache_error"):
            if was.get(field) != row.get(field):
                yield f"bytes: {row['model']} TP{row['tp']} {field}: {was.get(field)} → {row.get(field)}"
