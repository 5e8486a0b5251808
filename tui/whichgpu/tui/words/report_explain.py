"""``--explain``: every byte of one card, what vLLM will print, and what would change it."""

from __future__ import annotations

from tabulate import tabulate

from whichgpu.plan.choices import MemoryGroup
from whichgpu.plan.own_settings import as_planned
from whichgpu.plan.records import Answer, Footprint, Term
from whichgpu.tui.words.report_plans import cures
from whichgpu.tui.words.report_speed import measured_table, step_table
from whichgpu.tui.words.terminal import Terminal
from whichgpu.tui.words.units import GIB, big, memory_unit, wrapped


def explanation(answer: Answer, terminal: Terminal) -> str:
    """Return the breakdown of the recommended plan, else of the best one that was worked out."""
    plan = answer.recommended or next((p for p in answer.plans if p.footprint and p.footprint.terms), None)
    if plan is None or plan.footprint is None:
        return ""
    foot = plan.footprint
    title = f"Where the memory of one {plan.accelerator_name} goes ({foot.layout.label}, vLLM {answer.vllm})"
    lines = [terminal.bold(title)]
    share = (
        f"{answer.workload.utilisation:.2f} of its {big(foot.usable):.2f} {memory_unit()} are vLLM's:"
        f" {big(foot.budget):.2f} {memory_unit()}"
    )
    lines += [*wrapped(share, 2), *_table(foot)]
    lines += _reasons(foot.terms)
    lines += _startup_lines(answer, foot, as_planned(answer.workload, plan).context)
    if plan.speed is not None:
        lines += ["", "  Where the time goes, in ms:", *step_table(plan.speed)]
    if plan.measured:
        lines += ["", "  What others measured of it on this card, beside ours:", *measured_table(plan)]
    if plan.remedies and plan is not answer.recommended:
        lines += cures(plan, len(plan.remedies))
    return "\n".join(lines)


def _table(foot: Footprint) -> list[str]:
    rows = [
        _row(t.name, t.bytes, t.low, t.high, t.origin.value, t.flag or "") for t in foot.terms if t.bytes >= GIB // 200
    ]
    small = [t for t in foot.terms if t.bytes < GIB // 200]
    if sum(t.bytes for t in small) >= GIB // 200:
        low, size, high = (sum(getattr(t, part) for t in small) for part in ("low", "bytes", "high"))
        rows.append(_row("norms, scales and such", size, low, high, "computed", ""))
    rows.append(_row("= pool for cache", foot.pool, foot.pool_low, foot.pool_high, "computed", ""))
    headers = ("what", memory_unit(), "from", "to", "known", "changed by")
    alignment = ("left", "right", "right", "right", "left", "left")
    table = tabulate([headers, *rows], tablefmt="plain", colalign=alignment, disable_numparse=True)
    return [f"  {line}".rstrip() for line in table.splitlines()]


def _row(name: str, size: int, low: int, high: int, origin: str, flag: str) -> tuple[str, ...]:
    return (name, f"{big(size):.2f}", f"{big(low):.2f}", f"{big(high):.2f}", origin, flag)


def _reasons(terms: tuple[Term, ...]) -> list[str]:
    """Say why, for everything that is not simply a tensor."""
    others = (t for t in terms if t.group is not MemoryGroup.WEIGHTS or t.flag is not None)
    lines = [line for t in others for line in wrapped(f"{t.name}: {t.because}", 2)]
    return ["", *lines] if lines else []


def _startup_lines(answer: Answer, foot: Footprint, context: int) -> list[str]:
    """Say what vLLM's own start-up lines will be."""
    words = [
        f"Model loading took {foot.weights / GIB:.2f} GiB",
        f"Available KV cache memory: {foot.pool / GIB:.2f} GiB",
    ]
    if foot.printed_tokens is not None:
        words.append(f"GPU KV cache size: {foot.printed_tokens:,} tokens")
    if foot.concurrency is not None:
        words.append(f"Maximum concurrency for {context:,} tokens: {foot.concurrency:.2f}x")
    lines = ["", f"  vLLM {answer.vllm} will print, about:", *(f"    {word}" for word in words)]
    if foot.block_size and foot.bytes_per_block and foot.blocks is not None:
        lines += wrapped(f"{foot.blocks:,} blocks of {foot.block_size} tokens, {foot.bytes_per_block:,} bytes each", 2)
    if foot.longest_context:
        lines += wrapped(f"longest single sequence: {foot.longest_context:,} tokens", 2)
    return lines
