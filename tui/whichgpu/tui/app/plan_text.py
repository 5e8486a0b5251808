"""What the plan screen says: its rows, the memory of one card, and what more sequences buy on it."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from whichgpu.plan.price_book import PriceBook
from whichgpu.plan.records import Answer, Plan, Verdict, Workload
from whichgpu.plan.search import Facts
from whichgpu.plan.speed import lengths
from whichgpu.tui.app.bars import legend, memory_parts, stacked
from whichgpu.tui.app.reading import PLAIN
from whichgpu.tui.desk.replanning import CONCURRENCIES
from whichgpu.tui.words.answer_lines import days_old
from whichgpu.tui.words.plans import short_name
from whichgpu.tui.words.report_explain import explanation
from whichgpu.tui.words.units import NOTHING, big, converted, dollars, sign

GLYPHS = {Verdict.FITS: "✓ fits", Verdict.TIGHT: "! tight", Verdict.NO: "✗ no", Verdict.UNKNOWN: "? unknown"}
_BLOCKS = "▁▂▃▄▅▆▇█"
_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: its head, and what it is sorted by; plans without that figure come last."""

    head: Callable[[], str]
    figure: Callable[[Plan], float | str | None]


def _cost(plan: Plan) -> float | None:
    speed = plan.speed
    return speed.usd_per_million_output.expected if speed and speed.usd_per_million_output else None


def _ms(plan: Plan) -> float | None:
    return plan.speed.tpot_ms.expected if plan.speed else None


def _rate(plan: Plan) -> float | None:
    return plan.speed.output_tokens_per_second.expected * plan.replicas if plan.speed else None


def _left(plan: Plan) -> float | None:
    return plan.footprint.headroom if plan.footprint is not None and plan.layout is not None else None


def _first(plan: Plan) -> float | None:
    return plan.speed.ttft_ms.expected if plan.speed else None


def _age(plan: Plan) -> float | None:
    return days_old(plan.price) if plan.price is not None else None


_VERDICTS = list(Verdict)
COLUMNS = (
    Column(lambda: "  card", short_name),
    Column(lambda: "verdict", lambda p: float(_VERDICTS.index(p.verdict))),
    Column(lambda: "cards", lambda p: p.total_cards if p.layout is not None else None),
    Column(lambda: f"{sign()}/h", lambda p: p.total_usd_per_hour),
    Column(lambda: "ms/token", _ms),
    Column(lambda: f"{sign()}/Mtok", _cost),
    Column(lambda: "memory", _left),
    Column(lambda: "left", _left),
    Column(lambda: "first s", _first),
    Column(lambda: "tok/s", _rate),
    Column(lambda: "days", _age),
)
"""What a row says, from left to right; the last four where there is room."""
RIGHT, WIDE = (2, 3, 7, 8, 9, 10), (7, 8, 9, 10)
_BAR, _MEMORY = 4, 8


def in_order(plans: Sequence[Plan], column: int | None, down: bool) -> list[Plan]:
    """Return plans by a column, or as the answer ranks them; what has no figure comes last either way."""
    if column is None:
        return list(plans)
    figure = COLUMNS[column].figure
    there = [(f, at) for at, f in enumerate(map(figure, plans)) if f is not None]
    order = [at for _, at in sorted(there, key=lambda pair: pair[0], reverse=down)]
    return [plans[at] for at in (*order, *(at for at in range(len(plans)) if at not in order))]


def headers(column: int | None = None, down: bool = False) -> tuple[str, ...]:
    """Heads of the table, in the currency that is shown, with an arrow on what it is sorted by."""
    return tuple(f"{c.head()}{('▼' if down else '▲') if at == column else ''}" for at, c in enumerate(COLUMNS))


def most_of(plans: Sequence[Plan]) -> tuple[float, float]:
    """Milliseconds per token and US dollars a million tokens that the longest bars stand for: twice the median of plans that run, so that one that is
    far off leaves the others apart."""
    run = [p for p in plans if p.layout is not None]
    figures = [sorted(f for f in map(figure, run) if f is not None) for figure in (_ms, _cost)]
    ms, cost = (2 * found[len(found) // 2] if found else 0.0 for found in figures)
    return ms, cost


def row(plan: Plan, most: tuple[float, float], mark: str) -> tuple[str, ...]:
    """Cells of one accelerator; ``mark`` says how it stands."""
    left, first, rate, age = _left(plan), _first(plan), _rate(plan), _age(plan)
    cards = str(plan.count or NOTHING)
    if plan.layout is not None and plan.count > 1:
        cards = f"{plan.count} {plan.layout.label}"
    runs = plan.layout is not None
    return (
        f"{mark}{short_name(plan)}",
        GLYPHS[plan.verdict] if plan.machines == 1 or not plan.fits else f"✓ on {plan.machines}",
        f"{plan.replicas}× {cards}" if plan.replicas > 1 else cards,
        dollars(plan.total_usd_per_hour),
        _with_bar(_ms(plan), most[0], 0 if (_ms(plan) or 0) >= 10 else 1) if runs else NOTHING,
        _with_bar(_cost(plan), most[1], 2, converted) if runs else NOTHING,
        stacked(memory_parts(plan), _MEMORY) if runs else "",
        f"{big(left):,.1f}" if left is not None else NOTHING,
        f"{first / 1000:.1f}" if first is not None else NOTHING,
        f"{rate:,.0f}" if rate is not None else NOTHING,
        f"{age:.0f}" if age is not None else NOTHING,
    )


def _with_bar(value: float | None, most: float, digits: int, shown: Callable[[float], float] = float) -> str:
    if value is None or most <= 0:
        return NOTHING
    eighths = max(1, min(8 * _BAR, round(8 * _BAR * value / most)))
    return f"{shown(value):5.{digits}f} {'█' * (eighths // 8)}{_EIGHTHS[eighths % 8]}"


def counted(answer: Answer, facts: Facts) -> str:
    """``39 of 70 cards have a price``: of those that are asked, or of all where the others are left out for the want of one."""
    asked = {p.accelerator for p in answer.plans}
    cards = [a for a in facts.accelerators if answer.unpriced or a.key in asked]
    book = PriceBook(facts.offers)
    priced = sum(book.has(a, answer.workload.price_kind) for a in cards)
    return f"{priced} of {len(cards)} cards have a price"


def card(plan: Plan, width: int) -> str:
    """The memory of one card, and what speaks against the plan or mends it."""
    parts = memory_parts(plan)
    lines = [stacked(parts, width), legend(parts)] if parts else []
    lines += [plan.command] if plan.command is not None else []
    if plan.footprint is not None and plan.footprint.kv_needed is None:
        lines += ["the KV cache is unknown: it has to go into what is free"]
    lines += [f"but: {reason}" for reason in plan.reasons]
    if plan.remedies:
        best = plan.remedies[0]
        more = f" and {len(plan.remedies) - 1} more" if len(plan.remedies) > 1 else ""
        lines += [f"f fixes: {best.flag}: {best.effect} → {best.verdict.value}{more}"]
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


def workload_lines(load: Workload, mark: str, actions: Container[str]) -> list[tuple[str, str]]:
    """(key and name, value) of everything that keys change; ``actions`` are those that this model has."""
    prompt, output = lengths(load)
    lines = [
        ("context", "c context", f"{load.context:,}"),
        ("concurrency", "n at once", f"{load.concurrency:,}"),
        ("length", "i input", f"{prompt:,}{'' if load.prompt else ' (rest)'}"),
        ("length", "r reply", f"{output:,}{'' if load.output else ' (usual)'}"),
        ("precision", "p precision", load.precision.value),
        ("kv_dtype", "v KV cache", load.kv_dtype.value),
        ("objective", "o objective", load.objective.value),
        ("spot", "s prices", load.price_kind),
        ("workload", "w more", limits(load) or "no limits"),
    ]
    named = [(name, value) for action, name, value in lines if action in actions]
    return [(named[0][0], f"{named[0][1]}{mark}"), *named[1:]]


def two_lines(load: Workload, mark: str, actions: Container[str]) -> str:
    """The same for a narrow terminal."""
    prompt, output = lengths(load)
    first = {
        "context": f"c {load.context:,} tokens",
        "concurrency": f"n {load.concurrency:,} at once",
        "length": f"i {prompt:,} in · r {output:,} out",
        "precision": f"p {load.precision.value}",
    }
    second = {
        "kv_dtype": f"v KV {load.kv_dtype.value}",
        "objective": f"o {load.objective.value}",
        "spot": f"s {load.price_kind}",
        "workload": f"w {limits(load) or 'no limits'}",
    }
    lines = [" · ".join(text for action, text in line.items() if action in actions) for line in (first, second)]
    return f"{lines[0]}{mark}\n{lines[1]}"


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
