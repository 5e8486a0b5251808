"""What the plan screen says: its rows, the memory of one card, and what more sequences buy on it."""

from __future__ import annotations

from collections.abc import Sequence

from whichgpu.plan.records import Answer, Plan, Verdict, Workload
from whichgpu.plan.speed import lengths
from whichgpu.tui.app.bars import legend, memory_parts, stacked
from whichgpu.tui.app.reading import PLAIN
from whichgpu.tui.desk.replanning import CONCURRENCIES
from whichgpu.tui.words.plans import short_name
from whichgpu.tui.words.report_explain import explanation
from whichgpu.tui.words.units import NOTHING, big, dollars, sign

GLYPHS = {Verdict.FITS: "✓ fits", Verdict.TIGHT: "! tight", Verdict.NO: "✗ no", Verdict.UNKNOWN: "? unknown"}
_BLOCKS = "▁▂▃▄▅▆▇█"


def headers() -> tuple[str, ...]:
    """Headers of the table, in the currency that is shown."""
    return "card", "verdict", "cards", "left", "tok/s", f"{sign()}/h", f"{sign()}/Mtok"


def row(plan: Plan) -> tuple[str, ...]:
    """Cells of one accelerator."""
    speed, foot = plan.speed, plan.footprint
    cost = speed.usd_per_million_output.expected if speed and speed.usd_per_million_output else None
    cards = (
        f"{plan.count} {plan.layout.label}"
        if plan.layout is not None and plan.count > 1
        else str(plan.count or NOTHING)
    )
    return (
        short_name(plan),
        GLYPHS[plan.verdict],
        f"{plan.replicas}× {cards}" if plan.replicas > 1 else cards,
        f"{big(foot.headroom):,.1f}" if foot is not None and plan.layout is not None else NOTHING,
        f"{speed.output_tokens_per_second.expected:,.0f}" if speed else NOTHING,
        dollars(plan.total_usd_per_hour),
        dollars(cost),
    )


def card(plan: Plan, width: int) -> str:
    """The memory of one card, and what speaks against the plan or mends it."""
    parts = memory_parts(plan)
    lines = [stacked(parts, width), legend(parts)] if parts else []
    if plan.footprint is not None and plan.footprint.kv_needed is None:
        lines += ["the KV cache is unknown: it has to go into what is free"]
    lines += [f"but: {reason}" for reason in plan.reasons[:3]]
    if plan.remedies:
        best = plan.remedies[0]
        more = f" and {len(plan.remedies) - 1} more" if len(plan.remedies) > 1 else ""
        lines += [f"f fixes: {best.flag}: {best.effect} → {best.verdict.value}{more}"]
    lines += [plan.command] if plan.command is not None else []
    return "\n".join(lines)


def plots(plans: Sequence[Plan]) -> str:
    """Three lines of blocks over 1 to 1,024 sequences: tokens/s, cost, and the longest context that fits."""
    rates = [p.speed.output_tokens_per_second.expected if p.speed else None for p in plans]
    costs = [
        p.speed.usd_per_million_output.expected if p.speed and p.speed.usd_per_million_output else None for p in plans
    ]
    lengths_ = [
        p.footprint.longest_context if p.footprint is not None and p.layout is not None else None for p in plans
    ]
    return "\n".join(
        (
            f"at once     {'1':<5} to {CONCURRENCIES[-1]:,}",
            _plot("tok/s", rates, lambda v: f"{v:,.0f}"),
            _plot(f"{sign()}/Mtok", costs, dollars),
            _plot("longest", lengths_, lambda v: f"{v:,.0f}"),
        )
    )


def _plot(name: str, values: Sequence[float | None], show: object) -> str:
    assert callable(show)
    figures = [v for v in values if v is not None]
    if not figures:
        return f"{name:<11} {NOTHING}"
    most = max(figures) or 1
    blocks = "".join(" " if v is None else _BLOCKS[min(7, int(v / most * 7.99))] * 2 for v in values)
    return f"{name:<11} {blocks}  {show(min(figures))} to {show(max(figures))}"


def workload_lines(load: Workload, mark: str) -> list[tuple[str, str]]:
    """(key and name, value) of everything that keys change."""
    prompt, output = lengths(load)
    return [
        ("c context", f"{load.context:,}{mark}"),
        ("n at once", f"{load.concurrency:,}"),
        ("i input", f"{prompt:,}{'' if load.prompt else ' (rest)'}"),
        ("r reply", f"{output:,}{'' if load.output else ' (usual)'}"),
        ("p precision", load.precision.value),
        ("v KV cache", load.kv_dtype.value),
        ("o objective", load.objective.value),
        ("s prices", load.price_kind),
        ("w more", limits(load) or "no limits"),
    ]


def two_lines(load: Workload, mark: str) -> str:
    """The same for a narrow terminal."""
    prompt, output = lengths(load)
    return (
        f"c {load.context:,} tokens{mark} · n {load.concurrency:,} at once · i {prompt:,} in · r {output:,} out"
        f" · p {load.precision.value}\n"
        f"v KV {load.kv_dtype.value} · o {load.objective.value} · s {load.price_kind} · w {limits(load) or 'no limits'}"
    )


def limits(load: Workload) -> str:
    """What else the workload asks."""
    words = [
        f"exactly {load.cards} card{'s' if load.cards != 1 else ''}" if load.cards else "",
        f"{load.rate:g} requests/s" if load.rate else "",
        f"≤ {load.max_tpot_ms:g} ms a token" if load.max_tpot_ms else "",
        f"≤ {load.max_ttft_ms:g} ms to the first" if load.max_ttft_ms else "",
        f"≤ {dollars(load.max_usd_per_hour)}/h" if load.max_usd_per_hour else "",
        f"vLLM {load.vllm}" if load.vllm else "",
        f"utilisation {load.utilisation:g}" if load.utilisation_asked and load.utilisation else "",
        f"{load.max_sequences} sequences at most" if load.max_sequences else "",
        f"{load.batched_tokens} batched tokens" if load.batched_tokens else "",
        "eager" if load.eager else "",
        "text only" if load.text_only else "",
        ", ".join(f"{limit.count} × {limit.medium.value}" for limit in load.media_limits),
        f"{load.cpu_offload_gb:g} GiB of weights in the host" if load.cpu_offload_gb else "",
        f"{load.kv_offloading_size:g} GiB of cache in the host" if load.kv_offloading_size else "",
        f"{load.max_loras} × LoRA of rank {load.max_lora_rank}" if load.enable_lora else "",
        f"{load.drafted} drafted" if load.drafted else "",
    ]
    return ", ".join(w for w in words if w)


def explained(result: Answer, plan: Plan) -> str:
    """``--explain`` of this plan, whatever is recommended."""
    return explanation(result.model_copy(update={"recommended": plan}), PLAIN) or "\n".join(plan.reasons)
