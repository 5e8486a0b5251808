"""The part of the report that says what the model needs and where it runs."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from whichgpu.plan.own_settings import as_planned
from whichgpu.plan.records import Answer, Footprint, Need, Plan, Precision, Price, Verdict
from whichgpu.tui.words.plans import cards_in_words, price_in_words, short_name
from whichgpu.tui.words.report_speed import speed_lines
from whichgpu.tui.words.terminal import Terminal
from whichgpu.tui.words.units import NOTHING, WIDTH, big, dollars, is_stale, memory, memory_unit, sign, wrapped

_REASONS_SHOWN = 8
_CURES_SHOWN = 5


def needs(answer: Answer, terminal: Terminal) -> str:
    """Return the precisions side by side."""
    workload = answer.workload
    kv = answer.needs[0].kv_dtype.upper()
    title = f"What it needs for {workload.concurrency:,} × {workload.context:,} tokens ({kv} cache)"
    rows = [_need_row(need) for need in answer.needs]
    return terminal.bold(title) + "\n" + _table(("precision", "weights", "KV/token", "state", "KV cache", "sum"), rows)


def _need_row(need: Need) -> tuple[str, ...]:
    is_known = need.weights_bytes is not None and need.kv_bytes is not None
    total = (need.weights_bytes or 0) + (need.kv_bytes or 0) if is_known else None
    per_token = memory(need.kv_bytes_per_token) if need.kv_bytes_per_token != 0 else NOTHING
    state = memory(need.state_bytes_per_sequence) if need.state_bytes_per_sequence else NOTHING
    cache = memory(need.kv_bytes) if need.kv_bytes != 0 else NOTHING
    return need.label, memory(need.weights_bytes), per_token, state, cache, memory(total)


def _table(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    alignment = ("left", *["right"] * (len(headers) - 1))
    lines = tabulate(rows, headers, tablefmt="plain", colalign=alignment, disable_numparse=True).splitlines()
    excess = max(map(len, lines)) + 2 - WIDTH
    if excess > 0:
        room = max(len(row[0]) for row in rows) - excess
        cut = [(row[0] if len(row[0]) <= room else row[0][: room - 1] + "…", *row[1:]) for row in rows]
        lines = tabulate(cut, headers, tablefmt="plain", colalign=alignment, disable_numparse=True).splitlines()
    return "\n".join(f"  {line}".rstrip() for line in lines)


def where_it_runs(answer: Answer, terminal: Terminal) -> str:
    """Return one row per accelerator: the count at each precision, price and headroom at the asked one."""
    asked_precision = answer.workload.precision
    precisions = list(dict.fromkeys(n.precision for n in answer.needs))
    by_card: dict[str, dict[Precision, Plan]] = {}
    for plan in sorted(answer.plans, key=lambda p: p.precision is not asked_precision):
        by_card.setdefault(plan.accelerator, {})[plan.precision] = plan
    rows: list[tuple[str, ...]] = []
    for plans in by_card.values():
        asked_plan = plans[asked_precision]
        counts = [_count(plans[p], labelled=p is asked_precision) if p in plans else NOTHING for p in precisions]
        rows.append((short_name(asked_plan), *counts, dollars(asked_plan.total_usd_per_hour), *_figures(asked_plan)))
    if not rows:
        return ""
    names = ["stored" if p is Precision.PUBLISHED else p.value.upper() for p in precisions]
    rates = any(plans[asked_precision].speed for plans in by_card.values())
    what = (
        f"{asked_precision.value}; tokens/s out of all cards, {memory_unit()} left on each"
        if rates
        else f"{asked_precision.value}; {memory_unit()} left on each"
    )
    headers = ("cards", *names, f"{sign()}/hour", *(("tok/s", f"{sign()}/Mtok") if rates else ()), "left")
    rows = rows if rates else [(*row[:-3], row[-1]) for row in rows]
    return terminal.bold(f"Where it runs (figures: {what})") + "\n" + _table(headers, rows)


def counts_by_precision(answer: Answer) -> str:
    """Return the smallest number of cards at each precision that was worked out, a row per accelerator."""
    precisions = list(dict.fromkeys(n.precision for n in answer.needs))
    plans_by_card: dict[str, dict[Precision, Plan]] = {}
    for plan in answer.plans:
        plans_by_card.setdefault(plan.accelerator, {})[plan.precision] = plan
    rows = [
        (
            short_name(next(iter(plans.values()))),
            *(_count(plans[p], False) if p in plans else NOTHING for p in precisions),
        )
        for plans in plans_by_card.values()
    ]
    names = ["stored" if p is Precision.PUBLISHED else p.value.upper() for p in precisions]
    return _table(("cards", *names), rows)


def _figures(plan: Plan) -> tuple[str, str, str]:
    """Output tokens per second, the cost of a million of them, and what is left on a card."""
    headroom = f"{big(plan.footprint.headroom):,.1f}" if plan.footprint and plan.layout else NOTHING
    speed = plan.speed
    if speed is None:
        return NOTHING, NOTHING, headroom
    cost = dollars(speed.usd_per_million_output.expected) if speed.usd_per_million_output else NOTHING
    return f"{speed.output_tokens_per_second.expected:,.0f}", cost, headroom


def _count(plan: Plan, labelled: bool = True) -> str:
    if plan.verdict is Verdict.NO or plan.layout is None:
        return "no"
    mark = {Verdict.TIGHT: "tight ", Verdict.UNKNOWN: "? "}.get(plan.verdict, "")
    count = f"{plan.replicas} × {plan.count}" if plan.replicas > 1 and labelled else f"{plan.count}"
    return f"{mark}{count} ({plan.layout.label})" if plan.count > 1 and labelled else f"{mark}{count}"


_TITLES = {
    Verdict.FITS: "Recommended: ",
    Verdict.UNKNOWN: "As far as is known: ",
    Verdict.TIGHT: "Nothing fits safely; the closest: ",
}


def recommended(answer: Answer, terminal: Terminal) -> str:
    """Return the recommendation with its arithmetic and command, or why nothing fits and what would help."""
    plan = answer.recommended
    if plan is None or plan.footprint is None:
        missed = any(p.missed for p in answer.plans)
        title = "Nothing keeps the limits; the nearest" if missed else "Nothing fits"
        return "\n".join([terminal.bold(title), _why_not(answer), *_first_cures(answer)])
    title = _TITLES[plan.verdict]
    lines = [terminal.bold(title) + terminal.good(cards_in_words(plan)) + f", {price_in_words(plan)}"]
    lines += [f"  or {cards_in_words(p)}, {price_in_words(p)}" for p in answer.alternatives]
    if answer.runner_up is not None:
        second = answer.plans[answer.runner_up.plan]
        lines += wrapped(f"runner-up: {cards_in_words(second)}: {answer.runner_up.why}", 2, 4)
    lines += _front_lines([answer.plans[i] for i in answer.front])
    lines += _price_lines(plan.price)
    lines += _other_kind(plan)
    lines += _arithmetic(answer, plan.footprint, as_planned(answer.workload, plan).context)
    lines += speed_lines(plan)
    lines += [line for reason in plan.reasons for line in wrapped(f"but: {reason}", 2)]
    if plan.command is not None:
        lines += ["", f"  {plan.command}"]
    if plan.verdict is Verdict.TIGHT:
        lines += cures(plan, _CURES_SHOWN)
    return "\n".join(lines)


def _why_not(answer: Answer) -> str:
    unfit_plans = [p for p in answer.plans if p.reasons and p.precision is answer.workload.precision]
    reasons = dict.fromkeys(f"{_plan_label(p)}: {p.reasons[0]}" for p in unfit_plans)
    return "\n".join(line for reason in list(reasons)[:_REASONS_SHOWN] for line in wrapped(reason, 2))


def _plan_label(plan: Plan) -> str:
    return cards_in_words(plan) if plan.missed else plan.accelerator_name


def _first_cures(answer: Answer) -> list[str]:
    plan = next((p for p in answer.plans if p.remedies), None)
    return [f"On {plan.accelerator_name}:", *cures(plan, _CURES_SHOWN)] if plan is not None else []


def cures(plan: Plan, limit: int) -> list[str]:
    """Return what would make a plan fit, one line each, as it was recomputed."""
    lines = [f"  {r.verdict.value:<5}  {r.flag}: {r.effect}" for r in plan.remedies[:limit]]
    return ["", "  What would change it, each alone:", *(f"  {line}" for line in lines)] if lines else []


def _front_lines(front: Sequence[Plan]) -> list[str]:
    """Say what more money buys, where it buys anything."""
    if len(front) < 2:
        return []
    parts = [
        f"{cards_in_words(p, short_name(p))} {dollars(p.total_usd_per_hour)} {p.speed.tpot_ms.expected:.1f} ms"
        for p in front
        if p.speed is not None
    ]
    return wrapped("dearer but faster: " + " → ".join(parts), 2, 4)


def _price_lines(price: Price | None) -> list[str]:
    if price is None:
        return []
    if price.yours:
        named = [p for p in price.providers if p != "yours"]
        return wrapped(f"contract price of {', '.join(named)}" if named else "your price", 2)
    risk = " (over 60 days old)" if is_stale(price.newest) else ""
    risk += "; spot: it can be taken away at any time" if price.kind == "spot" else ""
    if price.offers == 1:
        return wrapped(f"price of one {price.kind} offer of {price.newest}{risk}", 2)
    spread = f"{dollars(price.low)} to {dollars(price.high)} a card"
    dates = f"{price.oldest} to {price.newest}"
    return wrapped(f"median of {price.offers} {price.kind} offers, {spread}, {dates}{risk}", 2)


def _other_kind(plan: Plan) -> list[str]:
    """Compare spot with on-demand, and say what the cheaper one risks."""
    price, other = plan.price, plan.other_price
    if price is None or other is None or price.yours or other.usd_per_hour > price.usd_per_hour:
        return []
    total = dollars(other.usd_per_hour * plan.total_cards)
    change = other.usd_per_hour / price.usd_per_hour - 1
    risk = "; it can be taken away at any time" if other.kind == "spot" else ""
    return wrapped(f"{other.kind} would be {total}/h ({change:+.0%}, {other.newest}){risk}", 2)


def _arithmetic(answer: Answer, foot: Footprint, context: int) -> list[str]:
    parts = {"weights": foot.weights, "KV": foot.kv_needed, "activations": foot.activations, "runtime": foot.runtime}
    terms = " + ".join(
        f"{big(size):.1f} {name}" if size is not None else f"unknown {name}" for name, size in parts.items()
    )
    used, share = big(sum(size or 0 for size in parts.values())), answer.workload.utilisation
    budget = f"{big(foot.budget):.1f} {memory_unit()} ({share:.2f} × {big(foot.usable):.1f})"
    lines = wrapped(f"per card: {terms} = {used:.1f} of {budget}", 2)
    low, pool, high = (big(size) for size in (foot.pool_low, foot.pool, foot.pool_high))
    lines += wrapped(f"pool for the cache: {pool:.1f} {memory_unit()} ({low:.1f} to {high:.1f})", 2)
    if foot.capacity_tokens is not None and foot.max_sequences is not None:
        room = f"{foot.max_sequences:,} sequences of {context:,} tokens"
        lines += wrapped(f"room for {room}, {foot.capacity_tokens:,} tokens in all", 2)
    return lines
