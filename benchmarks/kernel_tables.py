"""Kernel times per card, from aiconfigurator-core's operator tables (Apache-2.0; not shipped).

    pip install --no-deps aiconfigurator-core && pip install scipy pyarrow
    python -m benchmarks.kernel_tables --write assets/whichgpu/assets/kernel_times.json

Each table is fitted with the formula that the product uses (``plan/whichgpu/plan/kernel_times.py``), and the page says how far each fit is
off its own table. Cards without tables are derived from a relative by the factors of ``RELATIVES``, whose reasons stand beside them.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from whichgpu import assets
from whichgpu.plan.accelerators import Accelerator
from whichgpu.plan.hardware import parse_accelerators
from whichgpu.plan.kernel_times import BLUNT, SHARP, rates_of

Row = Mapping[str, Any]

_STORED = {"bf16": 2.0, "fp8": 1.0, "nvfp4": 0.5625, "int4": 0.53, "mxfp4": 0.53125, "mxfp4 by fp8": 0.53125}
"""Bytes per weight, scales included."""

_TABLE_NAMES = {"bfloat16": "bf16", "fp8": "fp8", "nvfp4": "nvfp4"}
"""Formats of multiplications. Block FP8 is left out: its rows carry 40 to 110 µs of host time each."""

_EXPERT_KERNELS: tuple[tuple[str, str], ...] = (
    ("bf16", "bfloat16 vllm_unquantizedfusedmoe_flashinfer_trtllm"),
    ("bf16", "bfloat16"),
    ("fp8", "fp8_block vllm_fp8moe_flashinfer_trtllm_trtllmfp8expertsmonolithic"),
    ("fp8", "fp8_block vllm_fp8moe_triton"),
    ("fp8", "fp8_block"),
    ("fp8", "fp8 "),
    ("int4", "int4_wo"),
    ("nvfp4", "nvfp4 vllm_compressedtensorsw4a4nvfp4moe_flashinfer_trtllm_trtllmnvfp4expertsmonolithic"),
    ("nvfp4", "nvfp4"),
    ("mxfp4", "w4a16_mxfp4 vllm_gptoss"),
    ("mxfp4", "w4a16_mxfp4"),
    ("mxfp4 by fp8", "w4a8_mxfp4_mxfp8"),
)
"""(format, start of “dtype kernel”), first choice first: the kernels that vLLM 0.24 and later choose by themselves."""

_GRAPH = "vllm_graph"
_DECAY_LAUNCHES = 4
"""Kernels of one step of a recurrent layer beside the one in the table: convolution, gates, norm."""

_SCAN_FLOP = 8.0


class Fit(NamedTuple):
    """Constants of one kernel, and how far they are off their table."""

    constants: dict[str, float]
    median: float
    within: float
    rows: int


class Relative(NamedTuple):
    """How a card without tables differs from one that has them."""

    of: str
    memory: float
    compute: float
    launch: float
    why: str
    links: Mapping[str, tuple[float, float]] = {}
    """(µs, GB/s) of all-reduces by the number of cards; none means PCIe."""
    unpacking: float = 1.0
    """Factor on formats that are unpacked."""


RELATIVES: Mapping[str, Relative] = {
    "mi300x": Relative("h200_sxm", 0.9, 0.65, 1.4, "whole runs of vLLM 0.6 to 0.10: Llama-3.1-70B and 405B in FP8, Llama-3.1-8B",
                       {"2": (8, 80), "4": (10, 80), "8": (12, 90)}),
    "mi355x": Relative("b200", 0.85, 0.75, 1.4, "MI300X's shares; SGLang's runs of DeepSeek-R1 point the same way",
                       {"2": (8, 110), "4": (10, 110), "8": (12, 110)}),
    "r9700": Relative("l40s", 0.8, 0.5, 2.0, "whole runs of vLLM 0.11 to 0.13: seven models; Triton unpacks four bits slowly", {}, 0.55),
    "gaudi3": Relative("h100_sxm", 0.75, 0.6, 2.0, "no runs at hand", {"2": (13, 80), "4": (15, 60), "8": (16, 60)}),
    "gb10": Relative("rtx_pro_6000_server", 0.86, 0.55, 1.0, "whole runs of vLLM 0.26: 16 models"),
    "rtx_3090": Relative("l40s", 1.0, 1.45, 1.0, "an L40S reaches 60 % of its rate for power; a GeForce's rate is half of it"),
    "rtx_4090": Relative("l40s", 1.0, 1.45, 1.0, "the same chip as L40S, at half its rate"),
    "rtx_5090": Relative("rtx_pro_6000_server", 1.0, 1.25, 1.0, "the same chip as RTX PRO 6000, at half its rate"),
}  # fmt: skip
PCIE = {
    "nvidia": {"2": (5, 12), "4": (28, 5), "8": (42, 3.5)},
    "amd": {"2": (10, 10), "4": (30, 5), "8": (50, 3.5)},
}
"""(µs, GB/s) of all-reduces over PCIe 4.0, between the L40S' table (custom kernels) and the RTX PRO 6000's (PCIe 5.0)."""

OTHERWISE = {"nvidia": "l40s", "amd": "mi300x", "intel": "b60"}
"""Relatives of cards of which nothing more is known than who makes them."""


@dataclass(frozen=True)
class Tables:
    """The operator tables of one card."""

    folder: Path
    card: Accelerator

    def rows(self, family: str, name: str) -> list[Row]:
        """Return the rows of vLLM's newest table of a kind."""
        import pyarrow.parquet as pq

        tables = self.folder.glob(f"{family}/vllm/*/{name}_perf.parquet")
        numbered = [t for t in tables if t.parent.name.replace(".", "").isdecimal()]
        if not numbered:
            return []
        newest = max(numbered, key=lambda t: tuple(map(int, t.parent.name.split("."))))
        return pq.read_table(newest).to_pylist()  # type: ignore[no-any-return]


def _norm(one: Any, other: Any, sharp: float) -> Any:
    return (one**sharp + other**sharp) ** (1 / sharp)


def _fit(
    seconds: Any, model: Callable[[Any], Any], start: Mapping[str, tuple[float, float, float]], weights: Any = 1.0
) -> Fit:
    """Least squares of log(model / table), robust; ``start`` gives (start, low, high) of each constant."""
    import numpy as np
    from scipy.optimize import least_squares

    first, low, high = (np.log([v[i] for v in start.values()]) for i in range(3))
    solution = least_squares(
        lambda v: weights * np.log(model(np.exp(v)) / seconds), first, bounds=(low, high), loss="soft_l1", f_scale=0.1
    )
    values = np.exp(solution.x)
    off = np.abs(model(values) / seconds - 1)
    constants = {n: round(float(v) * (1e6 if n == "launch_us" else 1), 3) for n, v in zip(start, values, strict=True)}
    return Fit(constants, float(np.median(off)), float(np.mean(off <= 0.25)), len(seconds))


def _columns(rows: Sequence[Row], *names: str) -> tuple[Any, ...]:
    """Columns as arrays of floats, and the latencies in seconds last."""
    import numpy as np

    values = [np.array([float(r[n]) for r in rows]) for n in names]
    return (*values, np.array([float(r["latency"]) for r in rows]) * 1e-3)


_LAUNCH = (5e-6, 5e-7, 2e-4)
_USUAL = 4096 * 4096
"""Weights of a matrix of usual size."""


def multiplications(tables: Tables) -> dict[str, Fit]:
    """Fit matrices by the format of their weights."""
    import numpy as np

    rates, fits = rates_of(tables.card), dict[str, Fit]()
    rows = [r for r in tables.rows("gemm", "gemm") if r["n"] * r["k"] >= 512 * 512]
    for stored_as, key in _TABLE_NAMES.items():
        kind = [r for r in rows if r["gemm_dtype"] == stored_as]
        if not kind:
            continue
        m, n, k, seconds = _columns(kind, "m", "n", "k")
        moved, flop = n * k * _STORED[key] + 2 * m * (n + k), 2 * m * n * k
        peak = rates.of(key)

        def model(v: Any, moved: Any = moved, flop: Any = flop, peak: float = peak) -> Any:
            return v[0] + _norm(moved / (rates.memory * v[1]), flop / (peak * v[2]), SHARP)

        start = {"launch_us": _LAUNCH, "memory": (0.8, 0.3, 1.4), "compute": (0.6, 0.05, 1.2)}
        weights = np.clip((n * k / _USUAL) ** 0.5, 0.3, 2.0)  # models spend their time in large matrices
        fits[key] = _fit(seconds, model, start, weights * np.where(m <= 512, 1.0, 0.7))
    return fits


def experts(tables: Tables) -> dict[str, Fit]:
    """Fit grouped experts by format, each of the kernel that vLLM chooses."""
    rows = tables.rows("moe", "moe")
    kernels = sorted({f"{r['moe_dtype']} {r['kernel_source']}" for r in rows})
    fits: dict[str, Fit] = {}
    for key, prefix in _EXPERT_KERNELS:
        chosen = next((k for k in kernels if k.startswith(prefix)), None)
        if chosen is not None and key not in fits:
            fits[key] = _one_experts(
                tables.card, key, [r for r in rows if f"{r['moe_dtype']} {r['kernel_source']}" == chosen]
            )
    return fits


def _one_experts(card: Accelerator, key: str, rows: Sequence[Row]) -> Fit:
    import numpy as np

    uneven = [r for r in rows if r.get("distribution") != "balanced"]
    kept = uneven if len(uneven) >= 200 else rows
    names = ("num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size", "moe_ep_size")
    tokens, hidden, width, top_k, count, tp, ep, seconds = _columns(kept, *names)
    rates = rates_of(card)
    peak = rates.bf16 if key in ("int4", "mxfp4") else rates.of(key)
    held, flop = 3 * hidden * width * count / (tp * ep), 6 * hidden * width * tokens * top_k / (tp * ep)

    def model(v: Any) -> Any:
        touched = 1 - (1 - np.minimum(1, top_k / count)) ** (np.maximum(1, tokens) ** v[3])
        return v[0] + _norm(held * _STORED[key] * touched / (rates.memory * v[1]), flop / (peak * v[2]), BLUNT)

    start = {
        "launch_us": (4e-5, 2e-6, 2e-4),
        "memory": (0.7, 0.1, 1.1),
        "compute": (0.3, 0.03, 1.0),
        "variety": (0.95, 0.4, 1.1),
    }
    return _fit(seconds, model, start)


def decoding(tables: Tables) -> dict[str, Fit]:
    """Fit attention of one token each over a cache, by its precision."""
    fits: dict[str, Fit] = {}
    for stored_as, key, width in (("bfloat16", "bf16", 2), ("fp8", "fp8", 1)):
        rows = [
            r
            for r in tables.rows("attention", "generation_attention")
            if r.get("kv_cache_dtype") == stored_as
            and "triton" not in str(r.get("kernel_source"))
            and not r.get("window_size")
            and r["head_dim"] <= 256
        ]
        if not rows:
            continue
        batch, heads, kv_heads, head, step, seconds = _columns(
            rows, "batch_size", "num_heads", "num_key_value_heads", "head_dim", "step"
        )
        moved = batch * (step + 1) * _or(kv_heads, heads) * head * 2 * width
        memory = tables.card.bandwidth_gbs * 1e9

        def model(v: Any, moved: Any = moved, memory: float = memory) -> Any:
            return v[0] + moved / (memory * v[1])

        fits[key] = _fit(seconds, model, {"launch_us": (1.2e-5, 1e-6, 2e-4), "memory": (0.8, 0.1, 1.5)})
    return fits


def _or(values: Any, others: Any) -> Any:
    """Tables write 0 key/value heads where there are as many as queries'."""
    import numpy as np

    return np.where(values == 0, others, values)


def prefilling(tables: Tables) -> Fit | None:
    """Fit attention over a prompt: half of all pairs."""
    import numpy as np

    rows = [
        r
        for r in tables.rows("attention", "context_attention")
        if r.get("kv_cache_dtype") == "bfloat16"
        and not r.get("window_size")
        and r["head_dim"] <= 256
        and r["isl"] >= 64
    ]
    if not rows:
        return None
    batch, heads, head, tokens, seconds = _columns(rows, "batch_size", "num_heads", "head_dim", "isl")
    flop, peak = 4 * heads * head * batch * tokens * tokens / 2, rates_of(tables.card).bf16
    weights = np.clip((seconds / 1e-4) ** 0.5, 0.5, 2)  # what counts is long prompts
    start = {"launch_us": (2e-5, 1e-6, 3e-4), "compute": (0.5, 0.05, 1.2)}
    return _fit(seconds, lambda v: v[0] + flop / (peak * v[1]), start, weights)


def recurrence(tables: Tables) -> dict[str, Fit]:
    """Fit gated delta nets: a step over a state in FP32, and a chunked scan over a prompt."""
    rows = tables.rows("linear_attention", "gdn")
    steps = [r for r in rows if r["kernel_source"] == "fused_recurrent_gated_delta_rule_packed_decode"]
    scans = [r for r in rows if "chunk_gated" in str(r["kernel_source"])]
    if not steps or not scans:
        return {}
    rates = rates_of(tables.card)
    batch, heads, keys, values, seconds = _columns(steps, "batch_size", "num_v_heads", "head_k_dim", "head_v_dim")
    moved = batch * heads * keys * values * 4 * 2
    start = {"launch_us": (5e-6, 1e-7, 2e-4), "memory": (0.8, 0.1, 1.0)}
    state = _fit(seconds, lambda v: v[0] + moved / (rates.memory * v[1]), start)
    batch, tokens, heads, keys, values, seconds = _columns(
        scans, "batch_size", "seq_len", "num_v_heads", "head_k_dim", "head_v_dim"
    )
    flop = batch * tokens * heads * keys * values * _SCAN_FLOP
    start = {"launch_us": (2e-5, 1e-6, 1e-3), "compute": (0.2, 0.005, 1.5)}
    return {"state": state, "scan": _fit(seconds, lambda v: v[0] + flop / (rates.bf16 * v[1]), start)}


def reductions(tables: Tables) -> dict[str, Fit]:
    """Fit all-reduces by the number of cards: inside graphs where the table has them."""
    rows = tables.rows("comm", "custom_allreduce")
    backend = _GRAPH if any(r["backend"] == _GRAPH for r in rows) else "vllm_eager"
    fits: dict[str, Fit] = {}
    for cards in sorted({int(r["num_gpus"]) for r in rows}):
        size, seconds = _columns(
            [r for r in rows if r["num_gpus"] == cards and r["backend"] == backend], "message_size"
        )
        fit = _fit(seconds, _message(size), {"launch_us": (5e-6, 1e-6, 2e-4), "gbs": (1e11, 1e8, 2e12)})
        gigabytes = round(fit.constants["gbs"] / 1e9, 2)
        fits[str(cards)] = fit._replace(constants=fit.constants | {"gbs": gigabytes})
    return fits


def _message(size: Any) -> Callable[[Any], Any]:
    return lambda v: v[0] + size / v[1]


def card_times(tables: Tables) -> tuple[dict[str, Any], list[tuple[str, Fit]]]:
    """Return the constants of a card with tables, and each fit with its name."""
    matrices, grouped, decode = multiplications(tables), experts(tables), decoding(tables)
    prompt, recurrent, links = prefilling(tables), recurrence(tables), reductions(tables)
    assert prompt is not None, tables.card.key
    state = recurrent["state"].constants if recurrent else {"launch_us": 4.0, "memory": 0.8}
    times = {
        "origin": "measured",
        "matrices": _all_formats({k: f.constants for k, f in matrices.items()}),
        "experts": _all_experts({k: f.constants for k, f in grouped.items()}),
        "decode": {k: f.constants for k, f in decode.items()},
        "prefill": prompt.constants,
        "latent": {"launch_us": round(1.5 * decode["bf16"].constants["launch_us"], 2), "memory": 0.75, "compute": 0.6},
        "mixing": {"launch_us": 13.0},
        "state": state | {"launch_us": round(_DECAY_LAUNCHES * state["launch_us"], 2)},
        "scan": recurrent["scan"].constants if recurrent else {"launch_us": 22.0, "compute": 0.12},
        "reductions": {n: f.constants for n, f in links.items()},
    }
    named = [
        ("matrices", matrices),
        ("experts", grouped),
        ("decode", decode),
        ("recurrent", recurrent),
        ("all-reduce", links),
    ]
    fits = [(f"{kind} {key}", fit) for kind, group in named for key, fit in group.items()]
    return times, [*fits, ("prefill attention", prompt)]


def _scaled(kernel: Mapping[str, float], **factors: float) -> dict[str, float]:
    return {k: round(v * factors.get(k, 1.0), 3) for k, v in kernel.items()}


def _all_formats(fits: Mapping[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Add what no table has: weights that are unpacked to sixteen bits on the way (Marlin). Assumed."""
    bf16 = fits["bf16"]
    fp8 = fits.get("fp8", bf16)
    packed = _scaled(bf16, memory=0.85, compute=0.8) | {"launch_us": round(bf16["launch_us"] + 2, 2)}
    return {
        "bf16": bf16,
        "fp8": fp8,
        "int8": _scaled(bf16, memory=0.9, compute=0.85),
        "int4": packed,
        "mxfp4": packed,
        "nvfp4": fits.get("nvfp4", packed),
        "mxfp4 by fp8": _scaled(fp8, memory=0.9),
    }


def _all_experts(fits: Mapping[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Add what no table has. The A100's table of experts holds the host's time (vLLM 0.14, eager): assumed instead."""
    if set(fits) == {"bf16"}:
        usual = {"launch_us": 60.0, "compute": 0.22, "variety": 0.9}
        return {k: usual | {"memory": 0.7 if k == "bf16" else 0.8} for k in ("bf16", "fp8", "int8", *_STORED)}
    int4 = fits.get("int4", fits["bf16"])
    mxfp4 = fits.get("mxfp4", int4)
    by_fp8 = fits.get("mxfp4 by fp8", mxfp4)
    if by_fp8 is not mxfp4:  # its table is of the modular kernel; vLLM takes the monolithic one, with routing in it
        by_fp8 = by_fp8 | {"launch_us": mxfp4["launch_us"]}
    return {
        "bf16": fits["bf16"],
        "fp8": fits.get("fp8", fits["bf16"]),
        "int8": int4,
        "int4": int4,
        "nvfp4": fits.get("nvfp4", int4),
        "mxfp4": mxfp4,
        "mxfp4 by fp8": by_fp8,
    }


_UNPACKED = ("int4", "mxfp4", "nvfp4", "mxfp4 by fp8")


def derived(base: Mapping[str, Any], relative: Relative) -> dict[str, Any]:
    """Return the constants of a card without tables."""

    def one(kernel: Mapping[str, float], unpacking: float = 1.0) -> dict[str, float]:
        changed = _scaled(
            kernel, launch_us=relative.launch, memory=relative.memory * unpacking, compute=relative.compute * unpacking
        )
        return changed | ({"memory": min(1.0, changed["memory"])} if "memory" in changed else {})

    groups = {
        group: {k: one(v, relative.unpacking if k in _UNPACKED else 1.0) for k, v in base[group].items()}
        for group in ("matrices", "experts", "decode")
    }
    single = {name: one(base[name]) for name in ("prefill", "latent", "mixing", "state", "scan")}
    links = {n: {"launch_us": us, "gbs": gbs} for n, (us, gbs) in relative.links.items()}
    of = {"origin": "assumed", "of": relative.of, "why": relative.why}
    return {**of, **groups, **single, "reductions": links}


def all_tables() -> Iterator[Tables]:
    """Yield the tables of every card that both sides know."""
    root = Path(str(files("aiconfigurator_core"))) / "systems" / "data"
    for card in parse_accelerators(assets.read("accelerators.json")):
        name = card.names.get("aiconfigurator")
        if name is not None and (root / name).is_dir():
            yield Tables(root / name, card)


def main() -> None:
    """Fit all tables; print how far each fit is off, and write the facts."""
    from importlib.metadata import version

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--date", default="undated")
    options = parser.parse_args()
    cards: dict[str, Any] = {}
    for tables in all_tables():
        cards[tables.card.key], fits = card_times(tables)
        for name, fit in fits:
            if not math.isfinite(fit.median):
                continue
            print(
                f"{tables.card.key:20} {name:22} {fit.rows:6} rows, off by {fit.median:.1%}, {fit.within:.0%} within 25 %"
            )
        cards[tables.card.key]["off"] = {name: round(fit.median, 3) for name, fit in fits}
    cards |= {key: derived(cards[relative.of], relative) for key, relative in RELATIVES.items()}
    if options.write:
        links = {
            vendor: {n: {"launch_us": us, "gbs": gbs} for n, (us, gbs) in rows.items()} for vendor, rows in PCIE.items()
        }
        source = f"aiconfigurator-core {version('aiconfigurator-core')} (Apache-2.0), benchmarks/kernel_tables.py"
        data = {"date": options.date, "source": source, "cards": cards, "pcie": links, "otherwise": OTHERWISE}
        options.write.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
