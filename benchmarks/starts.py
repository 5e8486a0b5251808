"""vLLM itself as the judge of what starts: its selectors' answers as data, and whole models beside our gate.

    python -m benchmarks.starts ask MODELS_DIR --python VLLM_PYTHON --wheel FOLDER --vllm 0.33 [--only NAME ...]
    python -m benchmarks.starts write            # assets/whichgpu/assets/vllm_kernels.json from what was asked
    python -m benchmarks.starts commands MODELS_DIR --python VLLM_PYTHON --wheel FOLDER --vllm 0.33
    python -m benchmarks.starts compare MODELS_DIR [--write docs/starts.md]

``ask`` builds models on pretended cards (``starts_worker.py``, in vLLM's environment, with the Python of the release in
FOLDER) and keeps what each kind of layer got, and what whole models got, in ``asked.jsonl``; with ``--whole`` only whole
models, in ``starts_held_out.jsonl``, which nothing is made of. ``commands`` gives every command that we recommend to vLLM's
own parser and configuration. ``compare`` needs no vLLM.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.asking import answers_of
from benchmarks.starts_compared import (
    ASKED,
    COMMANDS,
    HELD_OUT,
    command_requests,
    counted,
    folders_of,
    held_out,
    rows_of,
    starts_page,
    whole_requests,
    write_rows,
)
from benchmarks.starts_table import Row, compact, release_of

ASSET = Path(__file__).parent.parent / "assets" / "whichgpu" / "assets" / "vllm_kernels.json"
_WORKER = Path(__file__).with_name("starts_worker.py")
_WIDTHS = (1, 2, 4, 8)
"""Tensor-parallel sizes at which experts and quantised weights are asked about: their widths on one card decide."""


def requests_of(folders: Iterable[Path]) -> list[Row]:
    """Return what is asked of each model: all of it on one card; what has experts or is quantised, on more cards too."""
    requests: list[Row] = []
    for folder in folders:
        text = (folder / "config.json").read_text(encoding="utf-8", errors="replace")
        has_formats = '"quantization_config"' in text or (folder / "hf_quant_config.json").exists()
        sizes = _WIDTHS if has_formats or "expert" in text else (1,)
        requests += [{"folder": str(folder), "tp": tp} for tp in sizes]
        if "expert" in text and not has_formats:
            requests += [{"folder": str(folder), "tp": tp, "quantization": "fp8"} for tp in sizes]
    return requests


_HEADS = (
    32,
    40,
    48,
    64,
    72,
    80,
    88,
    96,
    100,
    104,
    112,
    120,
    128,
    144,
    160,
    176,
    192,
    208,
    224,
    256,
    288,
    320,
    384,
    512,
)
"""Widths of a head to ask about, by a model whose config states its own."""


_HEADS_OF = "Qwen__Qwen3-8B"


def head_requests(folder: Path) -> list[Row]:
    """Return what is asked about widths of a head that no model at hand has."""
    return [{"folder": str(folder), "tp": 1, "overrides": {"head_dim": width}} for width in _HEADS]


def asked(requests: Sequence[Row], python: str, places: Sequence[Path] = ()) -> Iterator[Row]:
    """Ask the worker, and yield its rows; ``places`` hold the Python of another release than the installed one, and of what
    goes with it."""
    return answers_of(_WORKER, requests, python, places)


def all_requests(folders: Sequence[Path]) -> list[Row]:
    """Return what is asked for the asset: widths of heads, and all of the models."""
    heads = [request for folder in folders if folder.name == _HEADS_OF for request in head_requests(folder)]
    return [*heads, *requests_of(folders)]


def write_asset() -> None:
    """Put together what was asked of every release."""
    rows = rows_of(ASKED)
    releases = [release_of(rows, vllm) for vllm in sorted({row["vllm"] for row in rows})]
    ASSET.write_text(json.dumps({"schema_version": 1, "releases": releases}) + "\n", encoding="utf-8")


def _named(folders: Iterable[Path], only: Sequence[str]) -> list[Path]:
    """The folders of models, or of those that are named."""
    return [f for f in folders if not only or f.name.replace("__", "/", 1) in only]


def _places(options: argparse.Namespace) -> list[Path]:
    """The release's Python, and beside it the transformers and the FlashInfer that go with it, where they are."""
    if options.wheel is None:
        return []
    beside = [options.wheel.parent / name for name in ("transformers", "site")]
    return [options.wheel, *(place for place in beside if place.exists())]


def _ask(options: argparse.Namespace) -> None:
    folders = _named(folders_of(options.models), options.only)
    if options.whole:
        rows = held_out(asked(whole_requests(folders), options.python, _places(options)), options.vllm)
        write_rows(HELD_OUT, options.vllm, rows)
    else:
        rows = compact(asked(all_requests(folders), options.python, _places(options)), options.vllm)
        write_rows(ASKED, options.vllm, rows)


def _commands(options: argparse.Namespace) -> None:
    requests = list(command_requests(_named(folders_of(options.models), options.only), options.vllm))
    answers = list(asked([r for r in requests if "words" in r], options.python, _places(options)))
    write_rows(COMMANDS, options.vllm, counted([*answers, *(r for r in requests if "words" not in r)], options.vllm))


def main() -> None:
    """Ask, write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=("ask", "write", "commands", "compare"))
    parser.add_argument("models", nargs="?", type=Path)
    parser.add_argument("--python")
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--vllm", default="0.33")
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--whole", action="store_true", help="build whole models, to compare with; no row of the asset")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    if options.what == "ask":
        _ask(options)
    elif options.what == "write":
        write_asset()
    elif options.what == "commands":
        _commands(options)
    else:
        page = starts_page(options.models)
        if options.write is not None:
            options.write.write_text(page, encoding="utf-8")
        else:
            print(page)


if __name__ == "__main__":
    main()
