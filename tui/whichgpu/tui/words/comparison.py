"""Models and plans side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from whichgpu.plan.records import Plan, Verdict
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.words.plans import cards_in_words, short_name
from whichgpu.tui.words.units import NOTHING, UNKNOWN, dollars, memory, parameters, sign, tokens

_NAME_WIDTH = 16


def compared_record(reply: Reply) -> dict[str, Any]:
    """One model of ``compare --json``."""
    return {
        "model": reply.inspection.source.name,
        "inspection": reply.inspection.model_dump(mode="json"),
        "answer": reply.answer.model_dump(mode="json"),
    }


def side_by_side(replies: Sequence[Reply]) -> str:
    """Return one column per model; ≠ marks what differs."""
    columns = [_column(r) for r in replies]
    workload = replies[0].answer.workload
    title = f"{workload.concurrency:,} × {workload.context:,} tokens, vLLM {replies[0].answer.vllm}"
    return title + "\n" + _beside([_short(r.inspection.source.name) for r in replies], columns)


def plans_side_by_side(plans: Sequence[Plan]) -> str:
    """Return one column per plan; ≠ marks what differs."""
    return _beside([p.accelerator.upper().replace("_", " ") for p in plans], [_of_plan(p) for p in plans])


def _beside(names: Sequence[str], columns: Sequence[Sequence[tuple[str, str]]]) -> str:
    rows = []
    for index, (label, _) in enumerate(columns[0]):
        values = [column[index][1] for column in columns]
        mark = "≠" if len(set(values)) > 1 else ""
        rows.append((label, *values, mark))
    table = tabulate(rows, ("", *names, ""), tablefmt="plain", disable_numparse=True)
    return "\n".join(f"  {line}".rstrip() for line in table.splitlines())


def _short(name: str) -> str:
    """The model's own name, cut with a mark to what leaves room for others."""
    base_name = name.rsplit("/", 1)[-1]
    return base_name if len(base_name) <= _NAME_WIDTH else base_name[: _NAME_WIDTH - 1] + "…"


def _column(reply: Reply) -> list[tuple[str, str]]:
    inspection, answer = reply.inspection, reply.answer
    need, plan = answer.needs[0], answer.recommended
    foot, speed = (plan.footprint, plan.speed) if plan is not None else (None, None)
    cost = speed.usd_per_million_output if speed is not None else None
    return [
        ("what", inspection.label),
        ("parameters", parameters(inspection.parameters.total.value)),
        ("active", parameters(inspection.parameters.active.value)),
        ("context", tokens(inspection.architecture.context if inspection.architecture else None)),
        ("published as", inspection.quantisation.label if inspection.quantisation else "not quantised"),
        ("weights", memory(need.weights_bytes)),
        ("KV per token", memory(need.kv_bytes_per_token) if need.kv_bytes_per_token != 0 else NOTHING),
        ("KV cache", memory(need.kv_bytes) if need.kv_bytes != 0 else NOTHING),
        ("cards", cards_in_words(plan, short_name(plan)) if plan else "nothing fits"),
        ("verdict", plan.verdict.value if plan else Verdict.NO.value),
        (
            f"{sign()}/hour",
            dollars(plan.total_usd_per_hour) if plan else NOTHING,
        ),
        ("sequences", tokens(foot.max_sequences) if foot else UNKNOWN),
        ("ms per token", f"{speed.tpot_ms.expected:.1f}" if speed else NOTHING),
        ("tokens/s out", f"{speed.output_tokens_per_second.expected:,.0f}" if speed else NOTHING),
        (f"{sign()} per Mtok out", dollars(cost.expected) if cost else NOTHING),
    ]


def _of_plan(plan: Plan) -> list[tuple[str, str]]:
    foot, speed = plan.footprint if plan.layout is not None else None, plan.speed
    cost = speed.usd_per_million_output if speed is not None else None
    joule = speed.output_tokens_per_joule if speed is not None else None
    return [
        ("verdict", plan.verdict.value),
        ("cards", f"{plan.replicas} × {plan.count}" if plan.replicas > 1 else str(plan.count or NOTHING)),
        ("layout", plan.layout.label if plan.layout is not None else NOTHING),
        ("weights a card", memory(foot.weights) if foot else NOTHING),
        ("KV cache needed", memory(foot.kv_needed) if foot else NOTHING),
        ("activations", memory(foot.activations) if foot else NOTHING),
        ("runtime", memory(foot.runtime) if foot else NOTHING),
        ("left", memory(foot.headroom) if foot else NOTHING),
        ("tokens in the pool", tokens(foot.capacity_tokens) if foot else NOTHING),
        ("longest context", tokens(foot.longest_context) if foot else NOTHING),
        ("tokens/s out", f"{speed.output_tokens_per_second.expected:,.0f}" if speed else NOTHING),
        ("ms per token", f"{speed.tpot_ms.expected:.1f}" if speed else NOTHING),
        ("ms to the first", f"{speed.ttft_ms.expected:,.0f}" if speed else NOTHING),
        (f"{sign()}/hour", dollars(plan.total_usd_per_hour)),
        (f"{sign()} per Mtok out", dollars(cost.expected) if cost else NOTHING),
        ("tokens per joule", f"{joule:.2f}" if joule is not None else NOTHING),
        ("limited by", speed.limit if speed else NOTHING),
    ]
