"""The answer as text for 80 columns: what it is, what it needs, where it runs, what to type."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from tabulate import tabulate

from whichgpu.inspect.records import Grade, Inspection, Mixer, ModelClass
from whichgpu.plan.records import Answer, Plan, Precision
from whichgpu.tui.answering import Reply
from whichgpu.tui.terminal import Terminal
from whichgpu.tui.units import GIB, dollars, memory, parameters, tokens

WIDTH = 80
_LABEL = 13
_GRADE_WORDS = {
    Grade.HEADERS: "exact, from tensor headers",
    Grade.SIZES: "bytes from file sizes, structure from the config",
    Grade.CONFIG: "computed from the config alone",
    Grade.NOTHING: "from names alone",
}
_MIXER_WORDS = {
    "full": "full attention",
    "sliding": "sliding-window attention",
    "chunked": "chunked attention",
    "mla": "latent attention (MLA)",
    "compressed": "compressed sparse attention",
    "cross": "cross attention",
    "hybrid": "attention and Mamba side by side",
    "mamba1": "Mamba",
    "mamba2": "Mamba 2",
    "gdn": "gated delta net",
    "kda": "Kimi delta attention",
    "lightning": "lightning attention",
    "conv": "short convolution",
    "rglru": "gated linear recurrence",
    "rwkv": "RWKV time mixing",
    "none": "no mixer",
    "projection": "linear instead of attention",
}


def report(reply: Reply, terminal: Terminal) -> str:
    """Return the whole report."""
    inspection, answer = reply.inspection, reply.answer
    blocks = [
        _head(reply, terminal),
        _what(inspection, terminal),
        _needs(inspection, answer, terminal),
        _where(answer, terminal),
        _recommended(answer, terminal),
        _notes(inspection, answer, terminal),
    ]
    return "\n\n".join(block for block in blocks if block)


def one_line(reply: Reply) -> str:
    """Return the recommendation in one line, for scripts and prompts."""
    plan = reply.answer.recommended
    if plan is None:
        return "nothing fits"
    price = f", {dollars(plan.usd_per_hour)}/h" if plan.usd_per_hour is not None else ""
    return f"{plan.count} × {plan.accelerator_name}{price}"


def _head(reply: Reply, terminal: Terminal) -> str:
    source = reply.inspection.source
    commit = f" @ {source.commit[:7]}" if source.commit else ""
    words = [reply.inspection.label, f"{parameters(reply.inspection.parameters.total.value)} parameters"]
    active = reply.inspection.parameters.active.value
    if ModelClass.MOE in reply.inspection.classes:
        words.append(f"{parameters(active)} active")
    context = reply.inspection.architecture.context if reply.inspection.architecture else None
    if context:
        words.append(f"{tokens(context)} tokens of context")
    grade = f"{_GRADE_WORDS[reply.inspection.grade]}; {reply.origin}"
    return "\n".join([terminal.bold(f"{source.name}{commit}"), *_wrapped(" · ".join(words), 0), terminal.dim(grade)])


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent) or [""]


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    """Label and text in two columns, wrapped."""
    lines: list[str] = []
    for label, text in rows:
        body = textwrap.wrap(text, WIDTH - _LABEL - 2) or [""]
        lines.append(f"  {label:<{_LABEL}}{body[0]}")
        lines += [" " * (_LABEL + 2) + line for line in body[1:]]
    return "\n".join(lines)


def _what(inspection: Inspection, terminal: Terminal) -> str:
    rows = [("because", "; ".join(f"{e.because} ({_short(e.where)})" for e in inspection.evidence[:3]))]
    architecture = inspection.architecture
    if architecture is not None and architecture.mixers:
        rows.append(("layers", "; ".join(_mixer(m) for m in architecture.mixers)))
        blocks = [_ffn(f) for f in architecture.feed_forwards if f.kind != "none"]
        rows += [("feed-forward", "; ".join(blocks))] if blocks else []
        rows += (
            [
                (
                    "towers",
                    ", ".join(
                        f"{t.modality} {t.layers or '?'} layers of {t.hidden or '?'}" for t in architecture.towers
                    ),
                )
            ]
            if architecture.towers
            else []
        )
    if inspection.components:
        rows += [
            (c.name[: _LABEL - 1], f"{c.kind}: {parameters(c.parameters.value)}, {memory(c.bytes.value)}")
            for c in inspection.components
        ]
    else:
        parts = [f"{part.value} {parameters(count)}" for part, count in list(inspection.parameters.by_part.items())[:7]]
        rows += [("parameters", " · ".join(parts))] if parts else []
    if inspection.parameters.by_part.get("mtp"):  # type: ignore[call-overload]
        rows.append(("without MTP", f"{parameters(inspection.parameters.without_mtp.value)} parameters"))
    if inspection.quantisation is not None:
        rows.append(("published as", inspection.quantisation.label))
    if inspection.selection.counted:
        rows.append(("counted", ", ".join(inspection.selection.counted[:4])))
    if inspection.selection.ignored:
        rows.append(("not counted", _ignored(inspection)))
    rows += [("variants", _variants(inspection))] if len(inspection.variants) > 1 else []
    return terminal.bold("What it is") + "\n" + _facts(rows)


def _short(where: str) -> str:
    return where.replace("config.json: ", "").rstrip(".: ")


def _ignored(inspection: Inspection) -> str:
    shown = [f"{name} ({reason})" for name, reason in inspection.selection.ignored[:3]]
    more = len(inspection.selection.ignored) - len(shown)
    return "; ".join(shown) + (f"; {more} more" if more > 0 else "")


def _variants(inspection: Inspection) -> str:
    shown = [f"{v.name.rsplit('-', 1)[-1]} {memory(v.bytes)}" for v in inspection.variants[:8]]
    return ", ".join(shown)


def _mixer(mixer: Mixer) -> str:
    name = _MIXER_WORDS.get(mixer.kind, mixer.kind)
    text = f"{mixer.layers} × {name}"
    if mixer.window:
        text += f" of {mixer.window:,}"
    if mixer.kind == "mla":
        return f"{text}, rank {mixer.kv_lora_rank} + {mixer.rope_head_dim}"
    if mixer.heads and mixer.head_dim and mixer.kind in ("full", "sliding", "chunked", "hybrid", "cross"):
        return f"{text}, {mixer.heads} heads, {mixer.kv_heads} KV, dim {mixer.head_dim}"
    return text


def _ffn(block: object) -> str:
    from whichgpu.inspect.records import FeedForward

    assert isinstance(block, FeedForward)
    if block.kind == "moe":
        shared = f", {block.shared_experts} shared" if block.shared_experts else ""
        return f"{block.layers} × {block.experts} experts of {block.intermediate:,}, top {block.top_k or '?'}{shared}"
    return f"{block.layers} × dense {block.intermediate:,}" if block.intermediate else f"{block.layers} × dense"


def _needs(inspection: Inspection, answer: Answer, terminal: Terminal) -> str:
    workload = answer.workload
    kv = answer.needs[0].kv_dtype.upper()
    title = f"What it needs for {workload.concurrency:,} × {workload.context:,} tokens ({kv} cache)"
    rows = []
    for need in answer.needs:
        total = None if need.weights_bytes is None or need.kv_bytes is None else need.weights_bytes + need.kv_bytes
        per_token = memory(need.kv_bytes_per_token) if need.kv_bytes_per_token else "–"
        state = memory(need.state_bytes_per_sequence) if need.state_bytes_per_sequence else "–"
        rows.append(
            (
                need.label[:26],
                memory(need.weights_bytes),
                per_token,
                state,
                memory(need.kv_bytes) if need.kv_bytes else "–",
                memory(total),
            )
        )
    headers = ("precision", "weights", "KV/token", "state/seq", "KV cache", "sum")
    table = tabulate(rows, headers, tablefmt="plain", colalign=("left", *["right"] * 5), disable_numparse=True)
    return terminal.bold(title) + "\n" + _indented(table)


def _indented(table: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in table.splitlines())


def _where(answer: Answer, terminal: Terminal) -> str:
    shown = [
        p for p in (Precision.PUBLISHED, Precision.BF16, Precision.FP8) if any(x.precision is p for x in answer.plans)
    ]
    if answer.workload.precision not in shown:
        shown.append(answer.workload.precision)
    by_card: dict[str, dict[Precision, Plan]] = {}
    for plan in sorted(answer.plans, key=lambda p: p.precision is not answer.workload.precision):
        by_card.setdefault(plan.accelerator, {})[plan.precision] = plan
    rows = []
    for plans in by_card.values():
        chosen = plans[answer.workload.precision]
        left = memory(chosen.footprint.headroom) if chosen.footprint else "–"
        rows.append(
            (chosen.accelerator_name[:18], *[_count(plans[p]) for p in shown], dollars(chosen.usd_per_hour), left)
        )
    if not rows:
        return ""
    headers = (
        "cards",
        *[p.value if p is Precision.PUBLISHED else p.value.upper() for p in shown],
        "$/hour",
        "left/card",
    )
    table = tabulate(
        rows, headers, tablefmt="plain", colalign=("left", *["right"] * (len(headers) - 1)), disable_numparse=True
    )
    title = f"Where it runs ($/hour and left per card: {answer.workload.precision.value})"
    return terminal.bold(title) + "\n" + _indented(table)


def _count(plan: Plan) -> str:
    if not plan.fits or plan.layout is None:
        return "no"
    stages = f" PP{plan.layout.pipeline_parallel}" if plan.layout.pipeline_parallel > 1 else ""
    return f"{plan.count} (TP{plan.layout.tensor_parallel}{stages})"


def _recommended(answer: Answer, terminal: Terminal) -> str:
    plan = answer.recommended
    if plan is None or plan.footprint is None:
        reasons = list(
            dict.fromkeys(
                f"{p.accelerator_name}: {p.reasons[0]}"
                for p in answer.plans
                if p.reasons and p.precision is answer.workload.precision
            )
        )
        return terminal.bold("Nothing fits") + "\n" + "\n".join(line for r in reasons[:8] for line in _wrapped(r, 2))
    foot = plan.footprint
    price = plan.price
    money = f" at {dollars(plan.usd_per_hour)}/hour" if price is not None else " (no dated price known)"
    lines = [terminal.bold("Recommended: ") + terminal.good(f"{plan.count} × {plan.accelerator_name}") + money]
    if price is not None:
        lines += _wrapped(
            f"median of {price.offers} on-demand offers, {dollars(price.low)} to {dollars(price.high)} a card, {price.oldest} to {price.newest}",
            2,
        )
    used = foot.weights + foot.activations + foot.runtime + foot.kv_needed
    lines += _wrapped(
        f"per card: {foot.weights / GIB:.1f} weights + {foot.kv_needed / GIB:.1f} KV + {foot.activations / GIB:.1f} activations"
        f" + {foot.runtime / GIB:.1f} runtime = {used / GIB:.1f} of {foot.budget / GIB:.1f} GiB ({answer.workload.utilisation:.2f} of {foot.usable / GIB:.1f})",
        2,
    )
    if foot.capacity_tokens is not None:
        lines += _wrapped(
            f"room for {foot.max_sequences:,} sequences of {answer.workload.context:,} tokens, {foot.capacity_tokens:,} tokens in all",
            2,
        )
    lines += [line for reason in plan.reasons for line in _wrapped(f"but: {reason}", 2)]
    if plan.command is not None:
        lines += ["", f"  {plan.command}"]
    return "\n".join(lines)


def _notes(inspection: Inspection, answer: Answer, terminal: Terminal) -> str:
    notes = [*answer.notes, *(f"Not read: {text}" for text in inspection.unread)]
    notes.append(f"Hardware facts of {answer.facts_date}.")
    return terminal.dim("\n".join(line for note in notes for line in _wrapped(f"- {note}", 0)))
