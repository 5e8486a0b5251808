"""transformers itself as the oracle of configs: what its classes hold, and what becomes of a config that it saves again.

    python -m benchmarks.agreement MODELS_DIR --transformers [--python PYTHON [--place FOLDER ...]] [--write docs/transformers.md]

With ``--python`` (of vLLM's CPU build, or any that has torch and transformers; ``--place`` is another transformers, unpacked)
every type's default model is built on the meta device and counted, and every config of MODELS_DIR is saved again; both are
kept in ``transformers.jsonl.gz``. Without it, what was kept is compared with what we say.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.asking import answers_of
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.records import Inspection
from whichgpu.inspect.reference import parse_reference
from whichgpu.plan.case import ServedModel
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Layout, Workload
from whichgpu.plan.sizing import Sizer
from whichgpu.tui.desk.facts import load_facts

KEPT = Path(__file__).with_name("transformers.jsonl.gz")
_WORKER = Path(__file__).with_name("transformers_worker.py")
CLOSE, FAR = 0.005, 0.02
"""Shares of the parameters: what counts as the same, and what has to come with a warning."""

ARTEFACTS = {
    "falcon": "published checkpoints hold the tied head once more",
    "mistral3": "its class ties embedding and head; published checkpoints hold both",
    "internvl": "its class ties embedding and head; published checkpoints hold both",
    "longcat_flash": "the class builds weights for its zero experts; 562 B are published, and that is what we say",
    "deepseek_vl": "its class ties embedding and head, and the vision tower's default is another's",
    "lighton_ocr": "its class ties embedding and head",
    "glmasr": "its class ties embedding and head",
    "ovis2": "its class ties embedding and head",
    "granite_speech": "its class ties embedding and head",
    "granite_speech_plus": "its class ties embedding and head",
    "hyperclovax_vision_v2": "its class ties embedding and head",
    "minicpm_ocr": "its class ties embedding and head",
    "moss_transcribe_diarize": "its class ties embedding and head",
    "inkling_mm_model": "a default vision tower of 765 B",
}
"""Types whose default model is none that anybody publishes, and why."""

Row = dict[str, Any]


def asked(requests: Iterable[Row], python: str, places: Sequence[Path] = ()) -> Iterator[Row]:
    """Ask the worker, and yield its rows."""
    return answers_of(_WORKER, requests, python, places)


def record(models: Path, python: str, places: Sequence[Path]) -> None:
    """Ask about every type and every config, and keep what was answered."""
    first = next(iter(asked((), python, places)))
    folders = sorted(path.parent for path in models.glob("*/config.json"))
    requests = [{"model_type": name} for name in first["types"]] + [{"folder": str(folder)} for folder in folders]
    rows = [{"transformers": first["transformers"]}]
    for row in asked(requests, python, places):
        if "error" not in row and "types" not in row:
            folder = row.pop("folder", None)
            rows.append(row | ({"model": Path(folder).name.replace("__", "/", 1)} if folder else {}))
    with gzip.GzipFile(KEPT, "wb", mtime=0) as file:
        file.write("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows).encode())


def kept() -> list[Row]:
    """Return what was kept; the first row names the release."""
    with gzip.open(KEPT, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@dataclass(frozen=True)
class Counted:
    """A type's default model beside ours."""

    row: Row
    parameters: int | None
    """Ours; without next-token layers where those are what transformers leaves out."""
    is_warned: bool

    @property
    def off(self) -> float | None:
        return self.parameters / self.row["params"] - 1 if self.parameters is not None else None


def counted(row: Row) -> Counted:
    """Inspect the config that a type's default model was built from."""
    with tempfile.TemporaryDirectory() as folder:
        found = _inspection(Path(folder), row["config"])
    if found is None:
        return Counted(row, None, True)
    figures = [found.parameters.total.value, found.parameters.without_mtp.value]
    known = [figure for figure in figures if figure is not None]
    best = min(known, key=lambda figure: abs(figure / row["params"] - 1), default=None)
    return Counted(row, best, bool(found.warnings or found.unread))


def _inspection(folder: Path, config: Row | None = None) -> Inspection | None:
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    try:
        return inspect_model(parse_reference(str(folder)))
    except WhichgpuError:
        return None


def differences(row: Row, models: Path) -> list[str] | None:
    """Return what we say otherwise of a config that was saved again; ``None`` where the published one is not at hand."""
    published = models / row["model"].replace("/", "__", 1)
    if not (published / "config.json").is_file():
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / published.name
        folder.mkdir()
        for path in published.iterdir():
            if path.is_file() and path.name != "config.json":
                (folder / path.name).write_bytes(path.read_bytes())
        before, after = figures(_inspection(published)), figures(_inspection(folder, row["config"]))
    return [f"{key}: {before[key]} → {after[key]}" for key in before if before[key] != after[key]]


def figures(inspection: Inspection | None) -> dict[str, Any]:
    """Return what must not change."""
    if inspection is None:
        return dict.fromkeys(("class", "parameters", "active", "cache", "plan"))
    facts = load_facts()
    workload = Workload(context=8192, concurrency=16, accelerators=("h100_sxm",))
    model = ServedModel(inspection, facts.engines.of(None), facts.architectures)
    cache = Sizer(model).cache(workload, Layout(tensor_parallel=1))
    plan = answer(inspection, workload, facts, side_by_side=False).plans[0]
    return {
        "class": inspection.label,
        "parameters": inspection.parameters.total.value,
        "active": inspection.parameters.active.value,
        "cache": (round(cache.growth), cache.state),
        "plan": (plan.verdict.value, plan.layout.label if plan.layout is not None else None),
    }


_PAGE = """# Any config: our counts beside transformers'

<!-- Written by `python -m benchmarks.agreement MODELS_DIR --transformers --write docs/transformers.md`. -->

transformers {version} is the oracle, without weights: the language model of every type that it has one for is built from its default
config on the meta device, and every published config at hand is read and saved again by it, as a fine-tune's would be.

## Saved again

{saved}

{changed}

## Default models

Within {close:.1%} of the parameters: {right} of {all} types ({share:.0%}); {artefacts} of the others are artefacts of the oracle, {silent} are more than {far:.0%} off
without a warning or a part that could not be read. Most of the rest are old or speak another language than tokens: nobody serves them with vLLM.

{wrong}
"""


def page(models: Path) -> str:
    """Return docs/transformers.md."""
    rows = kept()
    defaults = [counted(row) for row in rows if "params" in row]
    saved = {row["model"]: differences(row, models) for row in rows if "model" in row}
    compared = {name: changes for name, changes in saved.items() if changes is not None}
    wrong = [c for c in defaults if c.off is None or abs(c.off) > CLOSE]
    silent = [c for c in wrong if not is_excused(c)]
    table = [
        [
            c.row["model_type"],
            f"{c.row['params']:,}",
            f"{c.off:+.2%}" if c.off is not None else "–",
            ARTEFACTS.get(c.row["model_type"], "warned" if c.is_warned else ""),
        ]
        for c in sorted(wrong, key=lambda c: -abs(c.off or 9.9))
    ]
    equal = sum(not changes for changes in compared.values())
    return _PAGE.format(
        version=rows[0]["transformers"],
        saved=f"Of {len(compared)} configs {equal} give the same class, parameters, active parameters, cache and plan.",
        changed="\n".join(f"- {name}: {'; '.join(changes)}" for name, changes in sorted(compared.items()) if changes),
        close=CLOSE,
        far=FAR,
        right=len(defaults) - len(wrong),
        all=len(defaults),
        share=(len(defaults) - len(wrong)) / len(defaults),
        artefacts=sum(c.row["model_type"] in ARTEFACTS for c in wrong),
        silent=len(silent),
        wrong=tabulate(table, ["type", "parameters", "ours", ""], tablefmt="github", disable_numparse=True),
    )


def is_excused(case: Counted) -> bool:
    """Return whether a count is close enough, or said to be none, or no fault of ours."""
    near = case.off is not None and abs(case.off) <= FAR
    return near or case.is_warned or case.row["model_type"] in ARTEFACTS
