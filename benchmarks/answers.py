"""What the atlas' models are answered: lines, cards, vendors, sureness; and ten answers reckoned up from their parts.

python -m benchmarks.answers --write docs/answers.md
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tabulate import tabulate

from whichgpu import assets
from whichgpu.catalog.atlas import Atlas
from whichgpu.catalog.atlas_index import FILE_NAME
from whichgpu.inspect.records import Inspection
from whichgpu.plan.price_book import PriceBook
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Answer, Plan, Workload
from whichgpu.plan.search import Facts
from whichgpu.plan.sureness import handicap
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.desk.facts import load_facts
from whichgpu.tui.words.answer_lines import answer_lines
from whichgpu.tui.words.terminal import Terminal

_WORKLOAD = Workload(context=8192, concurrency=16)
_TEN = (
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-32B",
    "openai/gpt-oss-20b",
    "openai/gpt-oss-120b",
    "meta-llama/Llama-3.1-70B-Instruct",
    "google/gemma-4-26B-A4B",
    "deepseek-ai/DeepSeek-V3",
    "deepseek-ai/DeepSeek-V4-Flash",
    "Qwen/Qwen3.5-397B-A17B",
    "MiniMaxAI/MiniMax-M2.5",
)
_GIB = 2**30

_INTRO = """# What the atlas' models are answered

<!-- Written by `python -m benchmarks.answers --write docs/answers.md`. -->

Each model of the bundled atlas was asked for 16 requests of 8,192 tokens at once, over every card that somebody rents. Recommended is the cheapest
of what is likely true: an unproven start counts at twice its price, a relative's speed at 1.25 times, marketplaces alone at three times, several
machines at twice, a count that nobody states at 1.5 times (`plan/whichgpu/plan/sureness.py`)."""


def page() -> str:
    """Return the page."""
    facts, atlas = load_facts(), Atlas(assets.read(FILE_NAME))
    models = [m for name in atlas.names() if (m := atlas.find(name)) is not None]
    answers = [(m, answer(m, _WORKLOAD, facts, side_by_side=False)) for m in models]
    terminal = Terminal(colour=False, unicode=True, narrate=False)
    lines = [len(answer_lines(Reply(m, a, "atlas", None, (), facts), terminal).splitlines()) for m, a in answers]
    blocks = [
        _INTRO,
        f"{len(lines)} answers: {statistics.median(lines):.0f} lines in the median, {max(lines)} at most.",
    ]
    blocks += [*_recommended([a for _, a in answers]), "## Ten answers, reckoned up", *_ten(atlas, facts)]
    return "\n\n".join(blocks) + "\n"


def _recommended(answers: Sequence[Answer]) -> Iterator[str]:
    best = [a.recommended for a in answers]
    for title, key in (
        ("card", lambda p: p.accelerator_name),
        ("vendor", lambda p: p.vendor),
        ("how sure", lambda p: p.sureness.value),
    ):
        counts = Counter(key(p) if p is not None else "nothing" for p in best)  # type: ignore[no-untyped-call]
        yield _grid(counts.most_common(), (f"recommended, by {title}", "models"))
    unproven = [a for a in answers if a.recommended is not None and a.recommended.vendor != "nvidia"]
    yield (
        f"Another vendor's card is recommended {len(unproven)} times; the cheapest proven plan costs more than twice as much "
        f"in {sum(_is_far(a) for a in unproven)} of them, and there is none in the others."
    )


def _is_far(answered: Answer) -> bool:
    best = answered.recommended
    assert best is not None
    proven = [p for p in answered.plans if p.fits and p.vendor == "nvidia" and p.usd_per_hour is not None]
    return bool(proven) and min(_compared(p) for p in proven) >= _compared(best)


def _compared(plan: Plan) -> float:
    return (plan.total_usd_per_hour or 0.0) * handicap(plan)


def _ten(atlas: Atlas, facts: Facts) -> Iterator[str]:
    book = PriceBook(facts.offers)
    for name in _TEN:
        inspection = atlas.find(name)
        if inspection is not None:
            yield "\n".join(_reckoned(inspection, facts, book))


def _reckoned(inspection: Inspection, facts: Facts, book: PriceBook) -> Iterator[str]:
    """One answer from its parts: memory, price, speed, cost, and what was measured."""
    plan = answer(inspection, _WORKLOAD, facts).recommended
    assert plan is not None and plan.footprint is not None and plan.speed is not None  # noqa: PT018 - the ten have one
    foot, speed = plan.footprint, plan.speed
    yield f"### {inspection.source.name}: {plan.count} × {plan.accelerator_name}\n"
    parts = (foot.weights, foot.kv_needed or 0, foot.activations, foot.runtime)
    words = " + ".join(
        f"{size / _GIB:.2f} {word}"
        for size, word in zip(parts, ("weights", "cache", "activations", "runtime"), strict=True)
    )
    yield f"- memory of a card: {words} = {sum(parts) / _GIB:.2f} of {foot.budget / _GIB:.2f} GiB"
    card = next(a for a in facts.accelerators if a.key == plan.accelerator)
    price = book.price(card, "on-demand", plan.count)
    assert price is not None
    yield (
        f"- price: median of {price.offers} {price.seller.value} offers ({', '.join(price.providers)}; {price.oldest} to {price.newest}) "
        f"${price.usd_per_hour:.2f} × {plan.count} = ${plan.usd_per_hour:.2f} an hour"
    )
    step = speed.step_ms
    times = {
        "weights": step.weights,
        "compute": step.compute,
        "cache": step.kv_cache,
        "links": step.links,
        "overheads": step.overheads,
    }
    named = " + ".join(
        f"{value:.2f} {word}" for word, value in {**times, "others' prompts": step.prefills}.items() if value >= 0.005
    )
    yield f"- a token at {speed.running} at once: {named} = {speed.tpot_ms.expected:.2f} ms"
    rate = speed.output_tokens_per_second.expected
    assert speed.usd_per_million_output is not None
    yield f"- {rate:,.0f} tokens/s: ${plan.usd_per_hour:.2f} ÷ ({rate:,.0f} × 3,600 ÷ 1,000,000) = ${speed.usd_per_million_output.expected:.2f} per million"
    near = plan.measured[0] if plan.measured else None
    if near is None:
        yield "- measured: no public run of it on this card is known here"
        return
    row = near.measurement
    value = f"{row.tpot_ms:.1f} ms" if row.tpot_ms else f"{row.output_tokens_per_second:,.0f} tokens/s"
    ours = f"{near.ours_ms:.1f} ms a token" if near.ours_ms is not None else "nothing, of other weights"
    yield f"- measured: {value} on {row.layout.cards} at {row.concurrency:,.0f} at once ({row.engine}, {row.source}); we predict {ours} there"


def _grid(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> str:
    return str(tabulate(rows, headers, tablefmt="github"))


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--write", type=Path, required=True)
    options = parser.parse_args()
    options.write.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
