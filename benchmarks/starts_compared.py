"""Our answers beside vLLM's: whole models on pretended cards, and every command through its own parser (``starts.py``)."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

from benchmarks.starts_table import Row, grouped, is_hole
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.records import Inspection
from whichgpu.inspect.reference import parse_reference
from whichgpu.plan.case import ServedModel
from whichgpu.plan.errors import PlanError
from whichgpu.plan.hardware import find
from whichgpu.plan.loading import config_overrides
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Accelerator, KvDtype, Plan, StartCheck, Verdict, Workload
from whichgpu.plan.search import Facts
from whichgpu.tui.desk.facts import load_facts

ASKED = Path(__file__).with_name("asked.jsonl")
HELD_OUT = Path(__file__).with_name("starts_held_out.jsonl")
COMMANDS = Path(__file__).with_name("starts_commands.jsonl")
_TWELVE = (
    "t4", "rtx_3090", "a10", "l4", "l40s", "rtx_5090", "a100_80_sxm", "h100_sxm", "h200_sxm", "b200", "rtx_pro_6000_ws", "gb10",
)  # fmt: skip
"""Cards that commands are checked for: each capability, small and large."""
_BY_CAPABILITY = {
    "7.5": "t4", "8": "a100_80_sxm", "8.6": "rtx_3090", "8.9": "l40s", "9": "h100_sxm", "10": "b200", "10.3": "b300", "12": "rtx_5090",
    "12.1": "gb10",
}  # fmt: skip
_KINDS = ("taken", "refused", "own_code", "unasked")
_ROOMY_GIB = 100_000.0
"""Memory that lets every model in: what is compared is whether it starts, not whether it fits."""


class Outcome(StrEnum):
    """What came of one cell."""

    BOTH_START = "both start"
    BOTH_REFUSE = "both refuse"
    FALSE_START = "we say starts, vLLM refuses"
    FALSE_REFUSAL = "we refuse, vLLM starts"
    NOT_CHECKED = "we say not checked"


def rows_of(path: Path) -> list[Row]:
    """Return what was kept."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def write_rows(path: Path, vllm: str, rows: Iterable[Row]) -> None:
    """Keep one release's rows in the place of its earlier ones."""
    earlier = [row for row in rows_of(path) if row["vllm"] != vllm]
    lines = [json.dumps(row, sort_keys=True) for row in (*earlier, *rows)]
    path.write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)), encoding="utf-8")


def folders_of(models: Path) -> list[Path]:
    """Return the folders that have a config."""
    return sorted(p.parent for p in models.glob("*/config.json"))


def whole_requests(folders: Iterable[Path]) -> list[Row]:
    """Return what is asked of whole models, with what our commands set in their configs. Those of MLX are left out: vLLM builds
    them as if they were not quantised, and building reads no weights."""
    requests: list[Row] = []
    for folder in folders:
        inspection = _inspection(folder)
        method = inspection.quantisation.method if inspection is not None and inspection.quantisation else None
        if inspection is None or method == "mlx":
            continue
        model = ServedModel(inspection, _facts().engines.of(None), _facts().architectures)
        requests.append({"folder": str(folder), "tp": 1, "whole": True, "overrides": config_overrides(model)})
    return requests


def command_requests(folders: Iterable[Path], vllm: str) -> Iterator[Row]:
    """Yield the command that we recommend for each model on each of twelve cards; without its words where the repository's
    own code would have to run, which it never does here."""
    for folder in folders:
        inspection = _inspection(folder)
        if inspection is None:
            continue
        workload = Workload(context=8192, concurrency=16, accelerators=_TWELVE, vllm=vllm)
        for plan in answer(inspection, workload, _facts(), side_by_side=False).plans:
            if plan.command is not None and plan.layout is not None:
                yield _request(folder, plan, plan.command)


def _request(folder: Path, plan: Plan, command: str) -> Row:
    card = find(plan.accelerator, _facts().accelerators)
    words = shlex.split(command)
    request = {
        "model": folder.name.replace("__", "/", 1),
        "accelerator": card.key,
        "capability": card.compute_capability,
        "name": card.name,
        "gib": card.usable_gib,
        "count": min(plan.count, card.per_machine),
        "checked": "--trust-remote-code" not in words,
    }
    if not request["checked"]:
        return request
    places = {"RANK": "0", "FIRST_ADDRESS": "127.0.0.1"}
    return request | {"words": ["--model", *(places.get(w, w) for w in words[words.index("serve") + 1 :])]}


def counted(rows: Iterable[Row], vllm: str) -> Iterator[Row]:
    """Yield per card how many commands were given to vLLM, and each that it refused."""
    by_card = {card: Counter[str]() for card in _TWELVE}
    refusals = list[Row]()
    for row in rows:
        refusal = row.get("refused")
        is_unasked = refusal is not None and is_hole(f"!{refusal}")
        kind = "own_code" if not row["checked"] else "unasked" if is_unasked else "refused" if refusal else "taken"
        by_card[row["accelerator"]][kind] += 1
        if kind == "refused":
            refusals.append(
                {"vllm": vllm, "model": row["model"], "accelerator": row["accelerator"], "refused": refusal}
            )
    for card, kinds in by_card.items():
        yield {"vllm": vllm, "accelerator": card, **{kind: kinds[kind] for kind in _KINDS}}
    yield from refusals


def held_out(rows: Iterable[Row], vllm: str) -> Iterator[Row]:
    """Yield what whole models got, and those that none of the cards takes with vLLM's reason."""
    for row in rows:
        if "folder" not in row:
            continue
        name = Path(row["folder"]).name.replace("__", "/", 1)
        if "cells" in row:
            yield {"vllm": vllm, "model": name, "by": grouped(row["cells"])}
        elif "failures" in row:
            cells = {f"{cell}/auto": f"!{answer.split(': ', 1)[-1]}" for cell, answer in row["failures"].items()}
            yield {"vllm": vllm, "model": name, "by": grouped(cells)}


@cache
def _facts() -> Facts:
    return load_facts()


def _inspection(folder: Path) -> Inspection | None:
    try:
        return inspect_model(parse_reference(str(folder)))
    except WhichgpuError:
        return None


def our_word(inspection: Inspection, capability: str, cache_dtype: str, vllm: str) -> str:
    """Return what we say of a whole model on one card of endless memory: starts, refused or not checked."""
    facts = _facts()
    card = find(_BY_CAPABILITY[capability], facts.accelerators)
    roomy = card.model_copy(update={"usable_gib": _ROOMY_GIB, "unified": False})
    workload = Workload(
        context=256,
        concurrency=1,
        accelerators=(card.key,),
        kv_dtype=KvDtype.FP8 if cache_dtype == "fp8" else KvDtype.AUTO,
        tensor_parallel=1,
        vllm=vllm,
    )
    try:
        plan = answer(inspection, workload, _with_card(roomy), side_by_side=False).plans[0]
    except PlanError:
        return "refused"
    if plan.verdict is Verdict.NO or plan.command is None:
        return "refused"
    return "starts" if plan.start is StartCheck.CHECKED else "not checked"


def _with_card(card: Accelerator) -> Facts:
    facts = _facts()
    return replace(facts, accelerators=tuple(card if c.key == card.key else c for c in facts.accelerators))


class Cell(NamedTuple):
    """One whole model on one card with one cache."""

    model: str
    place: str
    """Compute capability and cache."""
    ours: str
    theirs: str

    @property
    def outcome(self) -> Outcome:
        is_refused = self.theirs.startswith("!")
        if self.ours == "not checked":
            return Outcome.NOT_CHECKED
        if self.ours == "starts":
            return Outcome.FALSE_START if is_refused else Outcome.BOTH_START
        return Outcome.BOTH_REFUSE if is_refused else Outcome.FALSE_REFUSAL


def compared(rows: Sequence[Row], inspection_of: Callable[[str], Inspection | None]) -> Iterator[Cell]:
    """Yield every cell of whole models that can be inspected; holes of the pretended environment are none."""
    for row in rows:
        inspection = inspection_of(row["model"]) if "model" in row else None
        if inspection is None:
            continue
        for reply, cells in row["by"].items():
            for cell in cells if not is_hole(reply) else ():
                capability, cache_dtype, *dtype = cell.split("/")
                if not dtype:
                    yield Cell(row["model"], cell, our_word(inspection, capability, cache_dtype, row["vllm"]), reply)


def in_folder(models: Path) -> Callable[[str], Inspection | None]:
    """Return how to inspect a model whose metadata lie in a folder of folders."""
    return lambda name: _inspection(models / name.replace("/", "__", 1))


_PAGE = """# What starts: our answers beside vLLM's

<!-- Written by `python -m benchmarks.starts compare MODELS --write docs/starts.md`. -->

The judge is vLLM itself, {oldest} to {vllm}, without a GPU and without weights: its Python runs under a platform that pretends to be one card of each
compute capability. A whole model is built on the meta device on every card, with an unquantised and with an FP8 cache, so that its own
selectors (attention backends, expert kernels, quantisation, dtypes) speak; a cell is one model on one card with one cache. Beside it stands
what whichgpu says of the same model on the same card, if memory were no object. Cells in which the pretended environment lacks something,
not vLLM, are not counted. FlashInfer counts as installed from capability 9.0 on, and as a bare installation has it below.

## Whole models

{cells}

Models in the first rows have layers that the asset `vllm_kernels.json` was made from, layer by layer; those in the last were asked afterwards, and
nothing was made from them. Cells in which the two disagree under {vllm} are listed. “Not checked” is what whichgpu says where no layer of that kind was asked about, where a config or a class is
read by the repository's own code, and on every card that is not NVIDIA's: ROCm, XPU, Gaudi and TPU selectors can't be asked here.

{wrong}

## Commands

The command that is recommended for every model that has one (8,192 tokens, 16 at once), on twelve cards, given to `vllm serve`'s own parser and
`create_engine_config` on a pretended card of that name, memory and count. Commands with `--trust-remote-code` are counted apart: no code of a
repository runs here. So are those for which the metadata at hand lacks a file that vLLM wants (a processor's), or the environment a library.

{commands}

{refused}
"""


def starts_page(models: Path) -> str:
    """Return docs/starts.md: our answers for the models of a folder beside what was kept of vLLM's."""
    asset_rows, held_out_rows = rows_of(ASKED), rows_of(HELD_OUT)
    releases = sorted({row["vllm"] for row in asset_rows})
    sources = {f"asked for the asset, {vllm}": [row for row in asset_rows if row["vllm"] == vllm] for vllm in releases}
    sources[f"held out, {releases[-1]}"] = held_out_rows
    cells = {name: list(compared(rows, in_folder(models))) for name, rows in sources.items()}
    table = [
        [
            name,
            len({c.model for c in release_cells}),
            len(release_cells),
            *(sum(c.outcome is o for c in release_cells) for o in Outcome),
        ]
        for name, release_cells in cells.items()
    ]
    newest = [release_cells for name, release_cells in cells.items() if name.endswith(releases[-1])]
    wrong = [
        c
        for release_cells in newest
        for c in release_cells
        if c.outcome in (Outcome.FALSE_START, Outcome.FALSE_REFUSAL)
    ]
    rows = rows_of(COMMANDS)
    by_card = [[r["accelerator"], *(r[kind] for kind in _KINDS)] for r in rows if "taken" in r]
    totals = ["all", *(sum(row[i] for row in by_card) for i in range(1, len(_KINDS) + 1))]
    return _PAGE.format(
        oldest=releases[0],
        vllm=releases[-1],
        cells=tabulate(table, ["cells", "models", "cells", *Outcome], tablefmt="github"),
        wrong=_listed([f"{c.outcome}: {c.model} on {c.place} ({c.theirs.removeprefix('!')})" for c in wrong]),
        commands=tabulate(
            [*by_card, totals], ["card", "taken", "refused", "with own code", "not asked"], tablefmt="github"
        ),
        refused=_listed([f"{r['model']} on {r['accelerator']}: {r['refused']}" for r in rows if "taken" not in r]),
    )


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line[:240]}" for line in lines) if lines else "Nothing is wrong."
