"""The page docs/accuracy.md: figures against their aims, the worst rows with their reasons, and every breakdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from benchmarks.accuracy_report import breakdowns, reasons, table, worst
from benchmarks.own_runs import own_runs

if TYPE_CHECKING:
    from benchmarks.accuracy import Compared, Outcome

_AIMS: tuple[tuple[str, str, str], ...] = (
    ("weights_median_pct", "weights per card: median error", "≤ 0.5 %"),
    ("weights_within_2pct", "weights per card: rows within 2 %", "≥ 95 %"),
    ("kv_bytes_exact_pct", "cache geometry: printed tokens follow from the printed pool", "≥ 98 %"),
    ("kv_pool_mae_gib", "KV pool: mean absolute error, GiB", "≤ 0.25 (controlled)"),
    ("kv_pool_worst_gib", "KV pool: worst, GiB", "≤ 0.8 (controlled)"),
    ("kv_pool_median_pct", "KV pool: median error", "≤ 3 % (logs)"),
    ("kv_pool_within_10pct", "KV pool: within 10 % or the stated interval", "≥ 90 % (logs)"),
    ("false_fits", "called fitting, failed for memory", "0"),
    ("false_no_pct", "called impossible, started", "≤ 3 %"),
)

EXPLAINED = {
    ("controlled.jsonl", "ibm-granite/granite-3.3-8b-instruct"): (
        "0.46 GiB beside torch, where every other start of the campaign on one card has 0.25"
    ),
    ("controlled.jsonl", "meta-llama/Llama-3.1-8B-Instruct"): (
        "stages of a pipeline: 0.07 GiB beside torch, 0.18 less than on one card"
    ),
    ("controlled.jsonl", "openai/gpt-oss-20b"): "how far Triton's kernels pad packed experts is known to about 2 %",
    ("controlled.jsonl", "RedHatAI/Mistral-Small-3.1-24B-Instruct-2503-quantized.w8a8"): (
        "eight-bit activations beside the others, by the widths alone"
    ),
    ("memory.jsonl", "google/gemma-3-4b-it"): (
        "ROCm: hardly anything beside the weights was used; no controlled start on ROCm is known, so the interval is wide"
    ),
    ("memory.jsonl", "deepseek-ai/DeepSeek-V4-Flash"): (
        "versions in which the model was new; on unified memory, or without saying how many tokens a step takes"
    ),
    ("memory.jsonl", "Qwen/Qwen3-0.6B"): "unified memory: what the host takes differs by GiB from start to start",
    ("memory.jsonl", "Qwen/Qwen2.5-VL-3B-Instruct"): (
        "the image encoder on a card without FlashAttention 3 took almost twice what its sizes say"
    ),
    ("memory.jsonl", "nvidia/Qwen3.6-27B-NVFP4"): "a drafting hybrid with an image encoder: several wide terms at once",
    ("memory.jsonl", "Qwen/Qwen3-14B-AWQ"): (
        "predicted from the unquantised model at INT4: zero points and the kernels' own workspaces are not in it"
    ),
    ("memory.jsonl", "TechxGenus/Meta-Llama-3-70B-Instruct-AWQ"): "predicted from the unquantised model at INT4",
    (
        "memory.jsonl",
        "Qwen/Qwen2.5-7B-Instruct",
    ): "0.22 on an A10G: vLLM's own estimate of CUDA graphs differs by as much",
    ("memory.jsonl", "meta-llama/Llama-3.1-8B-Instruct"): "V0 profiled whole prompts of 20,000 tokens and more",
}

_INTRO = """# How right it is: memory

<!-- Written by `python -m benchmarks.accuracy TRUTH_DIR --models MODELS_DIR --write docs/accuracy.md`. -->

What real starts of vLLM printed, beside what whichgpu predicts from a config (and file sizes where they are known)
without having seen the log. How well it tells what a model *is* (class, parameters) is in [inspection.md](inspection.md).

A row is left out of the score when the data itself marks it as uncertain, when it contradicts itself, or when it comes
from a fork; the pool is scored where version, card and share of the card are all stated. A pipeline prints one line per
stage and a row holds one of them: the nearest stage is compared. What a row does not state is vLLM's default.
"""

_NOTES = """
## Where the numbers come from

Nothing is fitted to a model. Each term has a cause: tensors by name and shape; what torch's allocator rounds up;
sampler, forward pass and encoder from the step that vLLM profiles; graphs from the number of captured sizes and layers.
Four constants are measured and listed as *assumed* in every answer: memory beside torch on one card, what NCCL and the
all-reduce workspaces add, bytes per captured graph and layer, and the host's share of unified memory. `--explain` prints
every term with its bounds, its reason and the flag that changes it.

## What is not known well

- ROCm and unified memory: single logs only, hence wide intervals.
- vLLM's own estimate of CUDA graphs under expert parallelism: 4 to 124 GiB in public reports (issues 57936, 53013).
- DeepSeek-V4 before 0.27: its cache was packed differently from version to version.
- vLLM 0.32's V2 model runner: its terms are read from the source; no log of it was at hand.
- Quantised builds of mixtures and hybrids whose own config is not at hand: every publisher leaves out something else.
"""


def page(outcome: Outcome) -> str:
    """Return the page as Markdown."""
    compared, summaries = outcome.memory, outcome.summaries()
    names = [n for n in compared if summaries[n]["rows_answered"]]
    rows = [(text, aim, *(_cell(summaries[n][key]) for n in names)) for key, text, aim in _AIMS]
    rows += [
        (text, "", *(_cell(summaries[n][key]) for n in names))
        for key, text in (
            ("rows_read", "rows read"),
            ("rows_answered", "rows answered"),
            ("left_out", "answered, but left out of the score"),
            ("weights_rows", "rows with weights"),
            ("kv_bytes_rows", "rows with a known geometry"),
            ("kv_pool_rows", "rows with a scored pool"),
            ("failed_for_memory", "scored starts that failed for memory"),
        )
    ]
    blocks = [_INTRO, _grid(rows, ("figure", "aim", *names))]
    for name in names:
        blocks.append(_section(name, compared[name]))
    blocks += [*own_runs(), _judge_section(), _NOTES]
    return "\n\n".join(block.strip("\n") for block in blocks) + "\n"


def _judge_section() -> str:
    """What vLLM's own classes hold, beside ours."""
    from benchmarks.judge import CLOSE, EXPLAINED, compare, rows
    from whichgpu import assets
    from whichgpu.catalog.atlas import Atlas
    from whichgpu.catalog.atlas_index import FILE_NAME

    judged_rows, atlas = rows(), Atlas(assets.read(FILE_NAME))
    by_release = {
        vllm: [r for r in judged_rows if r["vllm"] == vllm] for vllm in sorted({r["vllm"] for r in judged_rows})
    }
    counts = []
    for vllm, asked in by_release.items():
        verdicts = list(compare(asked, atlas))
        close = sum(abs(v.weights_off) <= CLOSE and v.cache_agrees for v in verdicts)
        equal = sum(v.weights == v.our_weights and v.cache_agrees for v in verdicts)
        counts.append((vllm, len(asked), len(verdicts), equal, close, sum(v.cache_agrees for v in verdicts)))
    differing = [v for v in verdicts if abs(v.weights_off) > CLOSE or not v.cache_agrees]
    table = [
        (v.model, v.tp, f"{v.weights_off:+.3%}", "same" if v.cache_agrees else "differs", EXPLAINED.get(v.model, "?"))
        for v in sorted(differing, key=lambda v: -abs(v.weights_off))
    ]
    columns = ("vLLM", "asked", "built, and in the atlas", "equal", f"within {CLOSE:.2%}, same cache", "same cache")
    text = (
        "## vLLM itself as the judge\n\n"
        "`python -m benchmarks.judge record` builds vLLM's real classes on the meta device, as one rank of a pretended"
        " group on a pretended H100, and keeps parameters, buffers and KV cache groups in `benchmarks/judged.jsonl`; the"
        " tests compare them on every run. What could not be built needs remote code or a newer Transformers, or is not known to that"
        " release; of 0.33 only what 0.32 had built was asked again. Same cache: groups, blocks and bytes per block.\n\n"
        + _grid([[str(c) for c in row] for row in counts], columns)
        + f"\n\nThe rest, under {max(by_release)}:"
    )
    return text + "\n\n" + _grid(table, ("model", "TP", "weights", "cache", "why"))


def _section(name: str, rows: Sequence[Compared]) -> str:
    worst_rows = worst(rows)
    explained = [(r.model, EXPLAINED[name, r.model]) for r in worst_rows if (name, r.model) in EXPLAINED]
    unique = list(dict.fromkeys(explained))
    blocks = [
        f"## {name}: worst pools first",
        "GiB per card, measured / predicted.",
        table(worst_rows, "github"),
        _grid(unique, ("model", "why")) if unique else "",
        f"## {name}: by family, card, version and layout",
        breakdowns(rows, "github"),
    ]
    reason_counts = reasons(rows)
    if reason_counts:
        blocks += [f"## {name}: not answered", _grid(reason_counts, ("rows", "because"))]
    return "\n\n".join(b for b in blocks if b)


def _cell(value: Any) -> str:
    return "–" if value is None else f"{value:,}"


def _grid(rows: Sequence[Sequence[Any]], headers: Sequence[str]) -> str:
    return str(tabulate(rows, headers, tablefmt="github", disable_numparse=True))
