"""Compare predictions with what real starts of vLLM printed.

    python -m benchmarks.accuracy TRUTH_DIR [--models MODELS_DIR] [--json] [--write docs/memory.md]

``TRUTH_DIR`` holds files of rows (``controlled.jsonl``, ``memory.jsonl``, …); ``MODELS_DIR`` one folder of metadata per
model (``ORG__NAME``). Without it the bundled atlas answers. Rows that can't be answered are listed with the reason.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from whichgpu.inspect.mixer_kinds import MixerKind

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # so that `python benchmarks/accuracy.py` works too
    sys.path.insert(0, str(ROOT))

from benchmarks import serving
from benchmarks.metadata import inspections
from benchmarks.truth import Models, TruthRow, card_of, read_truth, truth_files
from whichgpu import assets
from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.records import Inspection, ModelClass
from whichgpu.plan.case import Case, ServedModel
from whichgpu.plan.engine import Engine, Engines
from whichgpu.plan.footprint import footprint_of
from whichgpu.plan.hardware import parse_accelerators
from whichgpu.plan.records import Footprint, KvDtype, Layout, Precision, Verdict, Workload
from whichgpu.plan.runtime import batch_of
from whichgpu.plan.sizing import Sizer, Sizes
from whichgpu.plan.terms import GIB

_OWN_DRAFT = re.compile(r"mtp\D*(\d*)")


@dataclass
class Compared:
    """One row beside its prediction; memory in GiB per card."""

    file: str
    line: int
    model: str
    gpu: str
    version: str
    layout: str
    family: str = ""
    matched: str | None = None
    skipped: str | None = None
    """Why nothing is predicted."""
    doubt: str | None = None
    """Why it is not in the strict score."""
    settings_known: bool = False
    hybrid: bool = False
    outcome: str = ""
    weights: float | None = None
    predicted_weights: float | None = None
    kv: float | None = None
    predicted_kv: float | None = None
    kv_low: float | None = None
    kv_high: float | None = None
    kv_exact: bool | None = None
    tokens: int | None = None
    predicted_tokens: int | None = None
    verdict: str | None = None

    @property
    def weights_error(self) -> float | None:
        if not self.weights or self.predicted_weights is None:
            return None
        return self.predicted_weights / self.weights - 1

    @property
    def kv_error(self) -> float | None:
        if self.kv is None or self.predicted_kv is None:
            return None
        return self.predicted_kv - self.kv


class Judge:
    """Predicts rows."""

    def __init__(self, names: Models, inspection_of: Callable[[str], Inspection]) -> None:
        self._names, self._inspection_of = names, inspection_of
        self._cards = parse_accelerators(assets.read("accelerators.json"))
        self._engines = Engines(assets.read("vllm_versions.json"))
        self._registry = json.loads(assets.read("vllm_architectures.json"))

    def compare(self, row: TruthRow) -> Compared:
        """Put one row beside its prediction."""
        reason = _beyond(row) or _unreadable(row)
        result = Compared(
            file=row.file,
            line=row.number,
            model=str(row.model),
            gpu=str(row.gpu),
            version=str(row.vllm),
            layout=_layout(row).label if reason is None else "–",
            doubt=row.doubt,
            hybrid=bool(row.hybrid),
            outcome=str(row.outcome),
            weights=row.weights_gib,
            kv=row.kv_gib,
            tokens=row.kv_tokens,
        )
        matched = self._names.match(row)
        if matched is None:
            reason = reason or "no metadata of this model"
        if reason is None and matched is not None:
            self._predict(row, result, *matched)
        else:
            result.skipped = reason
        return result

    def _predict(self, row: TruthRow, result: Compared, name: str, precision: Precision, matched: str | None) -> None:
        try:
            inspection = self._inspection_of(name)
        except WhichgpuError as error:
            result.skipped = error.message
            return
        result.matched = matched
        result.family = inspection.label
        engine, stated = _engine(row, self._engines)
        card = card_of(row, self._cards)
        result.settings_known = stated and card is not None and row.gpu_mem_util is not None
        workload, layout = _workload(row, inspection), _layout(row)
        sizer = Sizer(ServedModel(inspection, engine, self._registry))
        sizing_card = card or next(c for c in self._cards if c.key == "h100_sxm")
        case = Case(workload, precision, sizing_card, layout)
        sizes = sizer.size(case)
        result.kv_exact = _kv_exact(row, sizer, sizes, workload, stated)
        if _recipe_unknown(matched, precision, inspection):
            result.doubt = result.doubt or "another build, whose recipe is not at hand"
            return
        result.predicted_weights = _nearest([s.weights / GIB for s in sizes.stages], row.weights_gib)
        if card is None or not stated:
            return
        footprint = footprint_of(sizer, case, sizes)
        result.predicted_kv = _nearest([s.pool / GIB for s in sizes.stages], row.kv_gib)
        if result.predicted_kv is not None:
            result.kv_low = result.predicted_kv - sizes.error_down / GIB
            result.kv_high = result.predicted_kv + sizes.error_up / GIB
        result.predicted_tokens = footprint.printed_tokens
        result.verdict = str(_start_verdict(row, footprint, sizer, case))


def _beyond(row: TruthRow) -> str | None:
    """What the product doesn't predict."""
    spec = str(row.spec or "")
    if spec and not _OWN_DRAFT.search(spec):
        return f"drafts with another model ({spec})"
    if "EAGLE" in str(row.model):
        return "drafts with another model"
    if row.offload_gb:
        return "weights partly kept in the host's memory"
    if str(row.kv_dtype) not in ("auto", "None", "bf16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla"):
        return f"a {row.kv_dtype} cache"
    if row.tp is None:
        return "no layout"
    if "float32" in str(row.dtype):
        return "FP32 computation (--dtype float32)"
    return None


def _unreadable(row: TruthRow) -> str | None:
    """Settings of a kind that no vLLM takes."""
    sizes = (row.tp, row.pp, row.dp, row.dcp, row.max_model_len, row.max_num_seqs, row.max_num_batched_tokens)
    whole = all(s is None or (isinstance(s, int) and s > 0) for s in sizes)
    figures = (row.weights_gib, row.kv_gib, row.kv_tokens, row.gpu_mem_util)
    return (
        None
        if whole and all(f is None or isinstance(f, int | float) for f in figures)
        else "settings that can't be read"
    )


def _layout(row: TruthRow) -> Layout:
    return Layout(
        tensor_parallel=row.tp or 1,
        pipeline_parallel=row.pp or 1,
        data_parallel=row.dp or 1,
        expert_parallel=row.ep is True,
        context_parallel=row.dcp or 1,
    )


def _engine(row: TruthRow, engines: Engines) -> tuple[Engine, bool]:
    """Return the version's rules, and whether the row names a version at all."""
    try:
        if row.vllm and re.search(r"\d\.\d", str(row.vllm).split("(")[0]):
            return engines.of(str(row.vllm)), True
    except WhichgpuError:
        pass
    return engines.of(None), False


def _workload(row: TruthRow, inspection: Inspection) -> Workload:
    context = row.max_model_len or (inspection.architecture.context if inspection.architecture else None) or 8192
    drafts = _OWN_DRAFT.search(str(row.spec or ""))
    return Workload(
        context=context,
        concurrency=1,
        kv_dtype=KvDtype.FP8
        if "fp8" in str(row.kv_dtype)
        else KvDtype.BF16
        if row.kv_dtype == "bf16"
        else KvDtype.AUTO,
        utilisation=row.gpu_mem_util,
        max_sequences=row.max_num_seqs,
        batched_tokens=row.max_num_batched_tokens,
        eager=row.eager is True,
        speculative_tokens=int(drafts[1] or 1) if drafts else 0,
    )


def _nearest(predicted: list[float], measured: float | None) -> float | None:
    """A pipeline prints one line per stage, and the row holds one of them."""
    if measured is None:
        return min(predicted)
    return min(predicted, key=lambda p: abs(p - measured))


def _kv_exact(row: TruthRow, sizer: Sizer, sizes: Sizes, workload: Workload, stated: bool) -> bool | None:
    """True when the printed tokens follow from the printed pool, at the precision at which the pool is printed.

    On several cards the pool is printed by one and the tokens follow from the smallest, 1.5 % apart at most.
    ``None`` where the geometry is not known: nothing printed, pipelines (the line is of another stage), windows or
    states without a version (the line changed its meaning), and DeepSeek-V4 before 0.27 (its packing changed).
    """
    several = len(sizes.cache.groups) > 1
    mixers = sizer.inspection.architecture.mixers if sizer.inspection.architecture else ()
    compressed = any(m.kind is MixerKind.COMPRESSED for m in mixers)
    if not row.kv_gib or row.kv_gib <= 0 or not row.kv_tokens or (row.pp or 1) > 1 or not sizer.knows_cache(workload):
        return None
    if several and (not stated or compressed):
        return None
    spread = 0.015 * row.kv_gib if (row.tp or 1) > 1 else 0.0
    printed = []
    for edge in (-0.0051 - spread, 0.0051 + spread):
        blocks = sizes.cache.blocks([int((row.kv_gib + edge) * GIB)] * len(sizes.stages))
        printed.append(sizes.cache.printed(blocks or 0, workload.context, sizer.engine.unified_count))
    block = sizes.cache.block or 1
    return bool(printed[0] - block <= row.kv_tokens <= printed[1] + block)


def _start_verdict(row: TruthRow, footprint: Footprint, sizer: Sizer, case: Case) -> Verdict:
    """Whether one sequence fits; where the row does not say how it was started, under either default.

    vLLM takes 8,192 tokens a step as a server and 16,384 as a library on large cards, 2,048 and 8,192 on others.
    """
    workload, card = case.workload, case.card
    if row.max_num_batched_tokens is not None or workload.batched_tokens is not None:
        return footprint.verdict
    as_library = batch_of(card, sizer.engine, workload).tokens
    as_library = max(as_library, 16_384 if card.usable_gib >= 70 and not card.small_batches else 8_192)
    library_workload = workload.model_copy(update={"batched_tokens": as_library})
    other = sizer.size(replace(case, workload=library_workload)).verdict
    return footprint.verdict if other is footprint.verdict else Verdict.TIGHT


def _recipe_unknown(matched: str | None, precision: Precision, inspection: Inspection) -> bool:
    """True for a quantised build of which only the unquantised model is at hand, where recipes differ.

    Of a dense model everything but embedding and head is converted; mixtures and hybrids are each done their own way.
    """
    derived = matched is not None and precision is not Precision.PUBLISHED and " at " in matched
    return derived and bool({ModelClass.MOE, ModelClass.HYBRID}.intersection(inspection.classes))


@dataclass(frozen=True)
class Outcome:
    """Memory and speed, row by row, by file."""

    memory: Mapping[str, list[Compared]]
    speed: Mapping[str, tuple[list[serving.Point], list[tuple[int, str]]]]

    def summaries(self) -> dict[str, dict[str, Any]]:
        from benchmarks.accuracy_report import summary

        memory = {name: summary(rows) for name, rows in self.memory.items()}
        return memory | {name: serving.summary(*speed_rows) for name, speed_rows in self.speed.items()}

    def rows(self) -> list[dict[str, Any]]:
        speed = [row for name, (points, _) in self.speed.items() for row in serving.rows(name, points)]
        return [asdict(row) for rows in self.memory.values() for row in rows] + speed


OWN = ROOT / "benchmarks" / "truth"
"""Rows of our own runs on real cards (benchmarks/on_gpu)."""


def run(truth: Path, models: Path | None, own: Path = OWN) -> Outcome:
    """Compare every row of every file in a folder, and our own rows apart."""
    names, inspect, close = inspections(models)
    try:
        judge = Judge(names, inspect)
        memory = {path.name: [judge.compare(row) for row in read_truth(path)] for path in truth_files(truth)}
        memory |= {f"ours: {path.name}": [judge.compare(row) for row in read_truth(path)] for path in truth_files(own)}
        speed = {n: serving.read(truth / n, names, inspect) for n in serving.FILES if (truth / n).exists()}
        return Outcome(memory, speed)
    finally:
        close()


def main() -> None:
    """Run the comparison; print it or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("truth", type=Path)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--json", action="store_true", dest="as_json")
    parser.add_argument("--write", type=Path, help="markdown file to write")
    options = parser.parse_args()
    outcome = run(options.truth, options.models)
    if options.as_json:
        print(json.dumps({"rows": outcome.rows(), "summary": outcome.summaries()}, indent=1))
    else:
        from benchmarks.accuracy_report import text

        print(text(outcome.memory))
        for name in outcome.speed:
            print(f"\n== {name}\n{json.dumps(outcome.summaries()[name], indent=1)}")
    if options.write:
        from benchmarks.accuracy_page import page

        options.write.write_text(page(outcome))


if __name__ == "__main__":
    main()
