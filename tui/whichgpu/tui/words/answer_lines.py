"""The answer in two dozen lines: what to rent, whether it holds, how fast, the command, what instead, how sure; the rest is ``--explain``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import date

from whichgpu.inspect.records import Grade, Inspection, ModelClass
from whichgpu.plan.choices import InsteadOf, Seller, SpeedBasis, StartCheck, Sureness
from whichgpu.plan.records import Answer, Footprint, Plan, Price, Speed, Verdict
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.words import units
from whichgpu.tui.words.plans import card_in_words, cards_in_words, price_in_words
from whichgpu.tui.words.report_plans import cures
from whichgpu.tui.words.report_speed import nearest_words, opinion_words
from whichgpu.tui.words.terminal import Terminal
from whichgpu.tui.words.units import NOTHING, big, dollars, memory_unit, parameters, sign, wrapped

_LABEL = 7
_REASONS, _NOTES, _REFUSED = 1, 2, 3
"""Lines of each that are shown; ``--explain`` has them all."""

_CURES = 3
_NARROW = 72
"""Columns below which the table leaves out what can be worked out."""

_SELLERS = {Seller.CLOUD: "cloud", Seller.HYPERSCALER: "hyperscaler", Seller.MARKETPLACE: "marketplace"}

_SHORT_SELLERS = {Seller.CLOUD: "", Seller.HYPERSCALER: "hyper", Seller.MARKETPLACE: "market"}


def answer_lines(reply: Reply, terminal: Terminal) -> str:
    """Return the whole answer."""
    inspection, answer = reply.inspection, reply.answer
    plan = answer.recommended
    blocks = [_head(reply, terminal)]
    if plan is None or plan.footprint is None:
        blocks.append(_nothing(answer, terminal))
    else:
        blocks += [
            _plan(answer, plan, terminal),
            _command(plan, terminal),
            _instead(answer, terminal),
            _sure(inspection, answer, plan, terminal),
        ]
    blocks.append(_notes(reply, terminal))
    return "\n\n".join(block for block in blocks if block)


def headline(reply: Reply, terminal: Terminal) -> list[str]:
    """Return what to rent, by whose price and of what age, and how fast it is with the range: what a picture of the answer is headed by."""
    answer, plan = reply.answer, reply.answer.recommended
    if plan is None or plan.footprint is None:
        return _nothing(answer, terminal).splitlines()[:1]
    return [*_rent(plan, terminal), *_speed(answer, plan, terminal)]


def caveats(reply: Reply, terminal: Terminal, others: bool = True) -> str:
    """Return everything else that the answer says: what speaks against it, ``others`` instead, what is no way, how sure it is, notes."""
    answer, plan = reply.answer, reply.answer.recommended
    if plan is None or plan.footprint is None:
        return "\n\n".join([_nothing(answer, terminal), _notes(reply, terminal)])
    rest = (
        _instead(answer, terminal) if others else "\n".join([*_refused(answer, terminal), *_busier(answer, terminal)])
    )
    blocks = [_command(plan, terminal), rest, _sure(reply.inspection, answer, plan, terminal), _notes(reply, terminal)]
    return "\n\n".join(block for block in blocks if block)


def _head(reply: Reply, terminal: Terminal) -> str:
    inspection, workload = reply.inspection, reply.answer.workload
    name = inspection.source.name + (f" @ {inspection.source.commit[:7]}" if inspection.source.commit else "")
    most = "as many tokens each as fit, at most" if workload.context_auto else "up to"
    tokens_each = f"{most} {workload.context:,}" + ("" if workload.context_auto else " tokens each")
    asked = f"For {workload.concurrency:,} requests at once, {tokens_each}"
    if workload.rate is not None:
        asked = f"For {workload.rate:g} requests a second, {tokens_each}"
    if not generates(inspection):
        asked = f"For {workload.concurrency:,} at once" + (
            f", {workload.context:,} tokens each" if has_tokens(inspection) else ""
        )
    asked += f"   (vLLM {reply.answer.vllm}; {reply.origin})"
    lines = wrapped(f"{name}    {_model_words(inspection)}", hang=4, width=terminal.width)
    workload_lines = wrapped(asked, hang=4, width=terminal.width)
    return "\n".join([terminal.bold(lines[0]), *lines[1:], *map(terminal.dim, workload_lines)])


def _model_words(inspection: Inspection) -> str:
    total = parameters(inspection.parameters.total.value)
    if ModelClass.MOE in inspection.classes and inspection.parameters.active.value:
        total += f" ({parameters(inspection.parameters.active.value)} active)"
    words = [inspection.label, total]
    if inspection.quantisation is not None:
        words.append(inspection.quantisation.label)
    context = inspection.architecture.context if inspection.architecture else None
    if context and has_tokens(inspection):
        words.append(f"{_short(context)} context")
    if inspection.source.gated:
        words.append("gated")
    return ", ".join(words)


def _short(tokens: int) -> str:
    """``131k``, ``1M``: as people say a context."""
    return (
        f"{tokens / 2**20:.3g}M"
        if tokens >= 2**20
        else f"{round(tokens / 1000)}k"
        if tokens >= 10_000
        else f"{tokens:,}"
    )


def generates(inspection: Inspection) -> bool:
    """True for what writes token by token."""
    return not {ModelClass.DIFFUSION, ModelClass.ENCODER}.intersection(inspection.classes)


def has_tokens(inspection: Inspection) -> bool:
    """True for what has a context of tokens."""
    return ModelClass.DIFFUSION not in inspection.classes


def _labelled(label: str, text: str, terminal: Terminal, mark: bool = False) -> list[str]:
    lines = wrapped(f"{label:<{_LABEL}}{text}", 2, 2 + _LABEL, terminal.width)
    return [terminal.good(line) if mark else line for line in lines]


_TITLES = {Verdict.FITS: "RENT", Verdict.UNKNOWN: "RENT?", Verdict.TIGHT: "TIGHT"}


def _plan(answer: Answer, plan: Plan, terminal: Terminal) -> str:
    assert plan.footprint is not None
    holds = _labelled("HOLDS", _memory_words(plan, plan.footprint), terminal)
    return "\n".join([*_rent(plan, terminal), *holds, *_speed(answer, plan, terminal)])


def _rent(plan: Plan, terminal: Terminal) -> list[str]:
    rent = f"{cards_in_words(plan)}  {price_in_words(plan)}{_price_words(plan.price)}"
    return _labelled(_TITLES[plan.verdict], rent + _doubts(plan), terminal, mark=True)


def _speed(answer: Answer, plan: Plan, terminal: Terminal) -> list[str]:
    if plan.speed is not None:
        return _labelled("SPEED", _speed_words(plan.speed, plan.replicas), terminal)
    if not _wants_speed(answer):
        return []
    crossing = answer.workload.cpu_offload_gb > 0
    why = "weights in the host's memory cross its bus" if crossing else "it does not write token by token"
    return _labelled("SPEED", f"not predicted: {why}", terminal)


def _wants_speed(answer: Answer) -> bool:
    return answer.recommended is not None and answer.recommended.speed is None


def _price_words(price: Price | None) -> str:
    """Who asks that: kind and number of providers, the spread, the age."""
    if price is None:
        return ""
    if price.yours:
        return "  (your price)"
    kind = "spot, " if price.kind == "spot" else ""
    many = "s" if price.offers > 1 else ""
    who = f"{price.offers} {_SELLERS[price.seller]}{many}"
    spread = f", {price.low:.2f} to {price.high:.2f}" if price.offers > 1 else ""
    stated = "" if price.count_stated else ", count not stated"
    return f"  ({kind}{who}{spread}, {_age(price)}{stated})"


def days_old(price: Price) -> int:
    """Return how old the oldest offer behind a price is."""
    return (units.today() - date.fromisoformat(price.oldest)).days


def _age(price: Price) -> str:
    days = days_old(price)
    return f"up to {days} days old" if days > 0 else "of today"


def _doubts(plan: Plan) -> str:
    """What is unproven."""
    return "" if plan.sureness is Sureness.PROVEN else f"; {plan.sureness.value}"


def _memory_words(plan: Plan, foot: Footprint) -> str:
    rest = foot.activations + foot.runtime
    used = foot.weights + rest + (foot.kv_needed or 0)
    each = " a card" if plan.count > 1 else ""
    cache = (
        f", {big(foot.kv_needed):.1f} cache" if foot.kv_needed else ", cache unknown" if foot.kv_needed is None else ""
    )
    parts = f"{big(foot.weights):.1f} weights{cache}, {big(rest):.1f} vLLM"
    spare = big(foot.headroom) if foot.headroom is not None else None
    left = f"; {spare:.1f} spare" if spare is not None else ""
    return f"{big(used):.1f} of {big(foot.budget):.1f} {memory_unit()}{each}: {parts}{left}"


def _speed_words(speed: Speed, replicas: int) -> str:
    rate = speed.output_tokens_per_second
    text = f"{rate.expected:,.0f} tok/s in all ({rate.low:,.0f} to {rate.high:,.0f})"
    if replicas > 1:
        text += " of each"
    text += f", {_ms(speed.tpot_ms.expected)} a token, first after {_ms(speed.ttft_ms.expected)}"
    if speed.usd_per_million_output is not None:
        text += f"; {dollars(speed.usd_per_million_output.expected)} per M output"
    return text + (f"; {speed.waiting:,} queue" if speed.waiting else "")


def _ms(value: float) -> str:
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _command(plan: Plan, terminal: Terminal) -> str:
    lines = [f"  {plan.command}"] if plan.command is not None else []
    lines += [line for reason in plan.reasons[:_REASONS] for line in wrapped(f"but: {reason}", 2, 4, terminal.width)]
    if len(plan.reasons) > _REASONS:
        lines[-1] += f"  (+{len(plan.reasons) - _REASONS})"
    if plan.verdict is Verdict.TIGHT:
        lines += _cures(plan, terminal)
    return "\n".join(lines)


def _cures(plan: Plan, terminal: Terminal) -> list[str]:
    return [part for line in cures(plan, _CURES) for part in wrapped(line.strip(), 4, 11, terminal.width)]


_KINDS = {InsteadOf.CHEAPEST: "cheapest", InsteadOf.SURER: "surer", InsteadOf.FAST: "fast", InsteadOf.ROOMY: "roomy"}
_VENDORS = {"nvidia": "NVIDIA", "amd": "AMD", "intel": "Intel"}


def _instead(answer: Answer, terminal: Terminal) -> str:
    """Others, each for a reason, and what is no way at all."""
    plans = [(answer.plans[i.plan], i.kind) for i in answer.instead]
    narrow = terminal.width < _NARROW
    lines: list[str] = []
    if plans:
        headers = ["Instead", "", f"{sign()}/h", "tok/s", "ms/tok", f"{sign()}/M", "spare", ""]
        rows = [_row(plan, _KINDS.get(kind) or _VENDORS.get(plan.vendor, plan.vendor)) for plan, kind in plans]
        kept = [0, 1, 2, 4, 5] if narrow else list(range(len(headers)))
        cells = [[row[i] for i in kept] for row in [headers, *rows]]
        lines += [f"  {line}".rstrip() for line in _columns(cells, left={0, 1, len(headers) - 1})]
    lines += _refused(answer, terminal)
    lines += _busier(answer, terminal)
    return "\n".join(lines)


def _columns(rows: Sequence[Sequence[str]], left: Collection[int]) -> Iterator[str]:
    """Rows in columns two spaces apart; those of ``left`` begin alike, the others end alike."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )


def _row(plan: Plan, kind: str) -> tuple[str, ...]:
    speed, spare = plan.speed, plan.footprint.headroom if plan.footprint else None
    rate = f"{speed.output_tokens_per_second.expected * plan.replicas:,.0f}" if speed else NOTHING
    time = f"{speed.tpot_ms.expected:.0f}" if speed else NOTHING
    cost = f"{speed.usd_per_million_output.expected:.2f}" if speed and speed.usd_per_million_output else NOTHING
    hourly = f"{plan.total_usd_per_hour:,.2f}" if plan.total_usd_per_hour is not None else NOTHING
    room = f"{big(spare):.0f}" if spare is not None else NOTHING
    cards = card_in_words(plan).replace(" replicas of ", " × ")
    return kind, cards, hourly, rate, time, cost, room, _remark(plan)


def _remark(plan: Plan) -> str:
    """The most serious thing to know: a start that nobody checked, other people's machines, another card's speed."""
    if plan.sureness is Sureness.START_UNPROVEN:
        return "start?"
    if plan.price is not None and plan.price.seller is not Seller.CLOUD and not plan.price.yours:
        return _SHORT_SELLERS[plan.price.seller]
    return "" if plan.sureness is Sureness.PROVEN else "speed?"


def _refused(answer: Answer, terminal: Terminal) -> list[str]:
    """Name cards on which nothing works, with the reason of the first."""
    asked = [p for p in answer.plans if p.precision is answer.workload.precision]
    refused = [p for p in asked if p.verdict is Verdict.NO and p.reasons]
    if not refused or len(refused) == len(asked):
        return []
    same = [p for p in refused if p.reasons[0] == refused[0].reasons[0]][:_REFUSED]
    names = ", ".join(p.accelerator_name.split(" (")[0] for p in same)
    return wrapped(f"No: {names} ({refused[0].reasons[0]})", 2, 4, terminal.width)


def _busier(answer: Answer, terminal: Terminal) -> list[str]:
    plan, busy = answer.recommended, answer.busiest
    if plan is None or plan.speed is None or busy is None or busy.running < 1.5 * plan.speed.running:
        return []
    cost = busy.usd_per_million_output
    price = f", {dollars(cost.expected)} per M out" if cost is not None else ""
    rate = f"{busy.output_tokens_per_second.expected:,.0f} tok/s"
    text = (
        f"Busier is cheaper: at {busy.running:,} at once it gives {rate}{price}, {_ms(busy.tpot_ms.expected)} a token"
    )
    return wrapped(text, 2, 4, terminal.width)


_BASIS = {
    SpeedBasis.TABLES: "speed from this card's kernels",
    SpeedBasis.RELATIVE: "speed from a relative's kernels",
    SpeedBasis.CONSUMER: "speed from a relative's kernels",
    SpeedBasis.AMD: "speed from runs on AMD's cards",
    SpeedBasis.INTEL: "speed from a relative's kernels",
    SpeedBasis.UNIFIED: "speed from a relative's kernels",
}
_GRADES = {
    Grade.HEADERS: "sizes from tensor headers",
    Grade.SIZES: "sizes from files, structure from the config",
    Grade.CONFIG: "sizes from the config",
    Grade.NOTHING: "sizes guessed from names",
}


def _sure(inspection: Inspection, answer: Answer, plan: Plan, terminal: Terminal) -> str:
    parts = [_GRADES[inspection.grade]]
    parts.append("start checked" if plan.start is StartCheck.CHECKED else "start not checked")
    speed = plan.speed
    if speed is not None and speed.basis is not None:
        rate = speed.output_tokens_per_second
        low, high = (round(100 * (bound / rate.expected - 1)) for bound in (rate.low, rate.high))
        parts.append(f"{_BASIS[speed.basis]}, {low} to {high:+d} %")
    if answer.unpriced:
        priced = len({p.accelerator for p in answer.plans})
        parts.append(f"{priced} of {priced + answer.unpriced} cards have a price")
    lines = _labelled("Sure?", " · ".join(parts), terminal)
    if speed is not None:
        seen = f"{speed.learned}, × {speed.learned_factor:.2f}" if speed.learned is not None else nearest_words(plan)
        lines += _labelled("Seen", seen, terminal)
    if plan.second_opinion is not None:
        lines += _labelled("Else", opinion_words(plan.second_opinion), terminal)
    return "\n".join(lines)


def _nothing(answer: Answer, terminal: Terminal) -> str:
    missed = any(p.missed for p in answer.plans)
    lines = [terminal.bold("Nothing keeps the limits; the nearest" if missed else "Nothing fits")]
    unfit = [p for p in answer.plans if p.reasons and p.precision is answer.workload.precision]
    reasons = dict.fromkeys(f"{_named(p)}: {p.reasons[0]}" for p in unfit)
    lines += [line for reason in list(reasons)[:6] for line in wrapped(reason, 2, 4, terminal.width)]
    cured = next((p for p in answer.plans if p.remedies), None)
    if cured is not None:
        lines += [f"On {cured.accelerator_name}:", *_cures(cured, terminal)]
    return "\n".join(lines)


def _named(plan: Plan) -> str:
    return cards_in_words(plan) if plan.missed else plan.accelerator_name


def _notes(reply: Reply, terminal: Terminal) -> str:
    notes = [
        n
        for n in (*reply.answer.notes, *(f"Not read: {t}" for t in reply.inspection.unread))
        if not n.startswith("Graded")
    ]
    lines = [line for note in notes[:_NOTES] for line in wrapped(f"- {note}", hang=2, width=terminal.width)]
    more = [] if len(notes) <= _NOTES else [f"{len(notes) - _NOTES} more notes"]
    where = [*more, "--explain", "--gpu NAME", "--vendor nvidia", "--rate N", "whichgpu command"]
    lines += wrapped(f"More: {' · '.join(where)}", hang=2, width=terminal.width)
    return terminal.dim("\n".join(lines))
