"""How long sizing takes, and how it grows: one model over everything, and a sweep of a million sizings.

    python -m benchmarks.sweep [--rows 1000000]

A row is one (model, accelerator, layout, precision, context, concurrency): pool, tokens, verdict. Times are of this
machine; what holds anywhere are the ratios between them.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from unittest import mock

from tabulate import tabulate

from whichgpu import assets
from whichgpu.catalog.atlas import Atlas
from whichgpu.catalog.atlas_index import FILE_NAME
from whichgpu.plan.case import Case, ServedModel
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Layout, Precision, Workload
from whichgpu.plan.sizing import Sizer
from whichgpu.tui.desk.facts import load_facts

_MODELS = (
    "Qwen/Qwen3-8B",
    "Qwen/Qwen2.5-VL-7B-Instruct",
    "openai/gpt-oss-120b",
    "Qwen/Qwen3.5-397B-A17B",
    "deepseek-ai/DeepSeek-V3",
    "deepseek-ai/DeepSeek-V4-Flash",
    "moonshotai/Kimi-K3",
)


def whole_answers(atlas: Atlas) -> list[tuple[str, int, str, str]]:
    """Time an answer over every accelerator that somebody rents, every count and layout, in milliseconds (best of nine).

    First the sizing alone, then with the throughput of every plan.
    """
    facts = load_facts()
    rows: list[tuple[str, int, str, str]] = []
    for name in _MODELS:
        inspection = atlas.find(name)
        assert inspection is not None
        workload = Workload(context=8192, concurrency=16)
        whole = answer(inspection, workload, facts)
        with mock.patch("whichgpu.plan.search.Speeds.of", return_value=None):
            sizing = _best(lambda m=inspection, w=workload: answer(m, w, facts))  # type: ignore[misc]
        throughput = _best(lambda m=inspection, w=workload: answer(m, w, facts))  # type: ignore[misc]
        rows.append((name, len(whole.plans), f"{sizing:.0f}", f"{throughput:.0f}"))
    return rows


def _best(work: Callable[[], object]) -> float:
    """Milliseconds of this process's time, the best of nine."""
    times = []
    for _ in range(9):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times) * 1000


def sizings(atlas: Atlas) -> Iterator[None]:
    """Size models on all cards, layouts, precisions, contexts and concurrencies, for ever."""
    facts = load_facts()
    engine = facts.engines.of(None)
    models = [m for n in _MODELS if (m := atlas.find(n)) is not None]
    sizers = [Sizer(ServedModel(m, engine, facts.architectures)) for m in models]
    layouts = [Layout(tensor_parallel=tp) for tp in (1, 2, 4, 8)]
    precisions = (Precision.PUBLISHED, Precision.BF16, Precision.FP8)
    workloads = [Workload(context=c, concurrency=n) for c in (2048, 8192, 32_768) for n in (1, 16, 256)]
    for sizer, workload, card, layout, precision in itertools.cycle(
        itertools.product(sizers, workloads, facts.accelerators, layouts, precisions)
    ):
        sizer.size(Case(workload, precision, card, layout))
        yield


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    atlas = Atlas(assets.read(FILE_NAME))
    print(
        tabulate(
            whole_answers(atlas),
            ("over every card for rent", "plans", "sizing ms", "with throughput ms"),
            tablefmt="plain",
        )
    )
    sizing_iterator, total, grown = sizings(atlas), 0.0, []
    done = 0
    step = max(1, options.rows // 10)
    while done < options.rows:
        begun = time.process_time()
        for _ in itertools.islice(sizing_iterator, step):
            pass
        total += time.process_time() - begun
        done += step
        grown.append((f"{done:,}", f"{total:.1f}", f"{total / done * 1e6:.0f}"))
    print("\n" + tabulate(grown, ("rows", "CPU s", "µs a row"), tablefmt="plain"))
    per_row = [float(g[2]) for g in grown]
    print(
        f"\nlast tenth of the rows / first: {per_row[-1] / per_row[0]:.2f} (1 is linear); median {statistics.median(per_row):.0f} µs"
    )


if __name__ == "__main__":
    main()
