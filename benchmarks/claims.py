"""Claims of a popular article about inference chips, each beside what whichgpu itself answers.

``python -m tests.render_docs`` writes ``docs/claims.md`` from it; a test keeps the page equal to the answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from whichgpu import assets
from whichgpu.catalog.atlas import Atlas
from whichgpu.catalog.atlas_index import FILE_NAME
from whichgpu.inspect.records import Inspection
from whichgpu.plan.choices import SPOT
from whichgpu.plan.hardware import find
from whichgpu.plan.price_book import PriceBook
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Answer, Plan, Precision, Workload
from whichgpu.tui.desk.facts import load_facts

_FACTS = load_facts()
_ATLAS = Atlas(assets.read(FILE_NAME))
_PRICE = 3.92
"""Dollars an hour that the article takes for one H100."""


@dataclass(frozen=True)
class Checked:
    """One claim, the verdict on it, and the answer that it rests on."""

    claim: str
    verdict: str
    found: str
    command: str


def page() -> str:
    """Return the page as Markdown."""
    lines = [
        "# Ten claims, checked",
        "",
        "<!-- Written by `python -m tests.render_docs`. -->",
        "",
        "A widely read article on custom inference chips (Spheron's on OpenAI's Jalapeño) advises teams which",
        "GPUs to rent. Every line below is what whichgpu answers itself; run the command to see it with its bounds.",
    ]
    for number, checked in enumerate(_claims(), 1):
        lines += ["", f"## {number}. {checked.verdict}: {checked.claim}", "", checked.found, ""]
        lines += ["```sh", checked.command, "```"]
    return "\n".join(lines) + "\n"


def _claims() -> Iterator[Checked]:
    yield _seventy_billion()
    yield _gpt_oss()
    yield _v4_flash()
    yield _qwen()
    yield _parameters()
    yield _dtype()
    yield _figures()
    yield _cost()
    yield _captive()
    yield _prices()


def _model(name: str) -> Inspection:
    inspection = _ATLAS.find(name)
    assert inspection is not None, name
    return inspection


def _ask(name: str, card: str, precision: Precision = Precision.PUBLISHED, **workload: int) -> tuple[Answer, Plan]:
    request = Workload.model_validate(
        {"context": 8192, "concurrency": 1, **workload, "precision": precision, "accelerators": (card,)}
    )
    card_answer = answer(_model(name), request, _FACTS)
    return card_answer, next(p for p in card_answer.plans if p.precision is precision)


def _seventy_billion() -> Checked:
    name = "meta-llama/Llama-3.1-70B-Instruct"
    card = find("h100_sxm", _FACTS.accelerators)
    result, plan = _ask(name, card.key, Precision.FP8, context=2048, concurrency=32, prompt=1024, output=1024)
    weights = next(n.weights_bytes for n in result.needs if n.precision is Precision.FP8) or 0
    cap = 32 / (weights / (card.bandwidth_gbs * 1e9))
    assert plan.speed is not None
    rate = plan.speed.output_tokens_per_second
    return Checked(
        "an H100 gives 3,000 to 5,000 tokens/s for a 70B model at batch 32",
        "wrong",
        f"In FP8 the weights are {weights / 1e9:.1f} GB, and every step reads them: at the whole {card.bandwidth_gbs:,.0f} GB/s"
        f" that is at most {cap:,.0f} tokens/s. It does not even fit: 32 × 2,048 tokens need {plan.count} H100s, which serve"
        f" {rate.expected:,.0f} ({rate.low:,.0f} to {rate.high:,.0f}) tokens/s together.",
        f"whichgpu --model {name} --precision fp8 --gpu H100 --context 2048 --concurrency 32 --input 1024 --output 1024",
    )


def _gpt_oss() -> Checked:
    _, small = _ask("openai/gpt-oss-20b", "h100_sxm", concurrency=8)
    _, large = _ask("openai/gpt-oss-120b", "h100_sxm", concurrency=8)
    assert large.footprint is not None
    return Checked(
        "gpt-oss-20b runs on one H100; gpt-oss-120b needs 2 to 4, elsewhere 4 to 8",
        "half right",
        f"gpt-oss-20b takes {small.count} H100, and gpt-oss-120b {large.count} as well: 8 × 8,192 tokens fit, in all"
        f" {large.footprint.capacity_tokens:,}. More cards buy speed and sequences, not fit.",
        "whichgpu --model openai/gpt-oss-120b --gpu H100 --concurrency 8",
    )


def _v4_flash() -> Checked:
    result, plan = _ask("deepseek-ai/DeepSeek-V4-Flash", "h100_sxm")
    weights = result.needs[0].weights_bytes or 0
    usable = find("h100_sxm", _FACTS.accelerators).usable_gib
    return Checked(
        "DeepSeek-V4-Flash runs on a single H100",
        "wrong",
        f"Its weights as published are {weights / 2**30:.0f} GiB; one H100 has {usable:.1f}. The smallest layout that fits is"
        f" {plan.count} × H100.",
        "whichgpu --model deepseek-ai/DeepSeek-V4-Flash --gpu H100 --concurrency 1",
    )


def _qwen() -> Checked:
    _, plan = _ask("Qwen/Qwen3-32B", "h100_sxm")
    assert plan.footprint is not None
    return Checked(
        "Qwen3-32B runs on one H100",
        "right, with a limit",
        f"In BF16 one H100 is left with room for {plan.footprint.capacity_tokens:,} tokens in all: {plan.footprint.max_sequences}"
        " sequences of 8,192, or one of nearly the model's length.",
        "whichgpu --model Qwen/Qwen3-32B --gpu H100 --concurrency 1",
    )


def _parameters() -> Checked:
    def sizes(name: str) -> str:
        parameters = _model(name).parameters
        stored, active = parameters.without_mtp.value or 0, parameters.active.value or 0
        return f"{name} {stored / 1e9:,.0f}B with {active / 1e9:.0f}B active"

    names = ("deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V4-Flash", "deepseek-ai/DeepSeek-V4-Pro")
    return Checked(
        "DeepSeek V4 is 671B with 37B active; Qwen3-235B-A22B uses 22B of 235B",
        "first wrong, second right",
        f"671B is V3. Without next-token layers: {'; '.join(sizes(n) for n in names)};"
        f" {sizes('Qwen/Qwen3-235B-A22B')}.",
        "whichgpu compare deepseek-ai/DeepSeek-V3 deepseek-ai/DeepSeek-V4-Flash Qwen/Qwen3-235B-A22B",
    )


def _dtype() -> Checked:
    _, plan = _ask("Qwen/Qwen3-32B", "h100_sxm", Precision.FP8)
    return Checked(
        "start it with `--dtype fp8`",
        "invalid",
        "vLLM's `--dtype` knows no fp8 (its own parser refuses it). FP8 is a checkpoint published so, or made while"
        f" loading: `{plan.command}`.",
        "whichgpu command --model Qwen/Qwen3-32B --precision fp8 --gpu H100",
    )


def _figures() -> Checked:
    cards = [find(k, _FACTS.accelerators) for k in ("h100_sxm", "h200_sxm", "b200")]
    text = "; ".join(
        f"{c.name} {c.usable_gib:.1f} GiB usable of {c.marketed_gb} GB, {c.bandwidth_gbs / 1000:.2f} TB/s"
        for c in cards
    )
    return Checked(
        "H100 3.35 TB/s, H200 141 GB and 4.8 TB/s, B200 192 GB and 8 TB/s",
        "the first two right",
        f"{text}. What torch sees of a B200 is neither 192 GB nor 8 TB/s.",
        "whichgpu gpus B200",
    )


def _cost() -> Checked:
    _, plan = _ask(
        "meta-llama/Llama-3.1-70B-Instruct",
        "h100_sxm",
        Precision.FP8,
        context=2048,
        concurrency=32,
        prompt=1024,
        output=1024,
    )
    assert plan.speed is not None
    rate = plan.speed.output_tokens_per_second.expected
    cost = plan.count * _PRICE / (rate * 3600 / 1e6)
    return Checked(
        "cost per million tokens = dollars an hour ÷ (tokens/s × 3,600 ÷ 1,000,000)",
        "right, if the dollars are of all cards",
        f"At the article's ${_PRICE} an hour, {plan.count} H100s that serve a 70B model at batch 32 make it ${cost:.2f} per"
        f" million output tokens; with the claimed 3,000 to 5,000 tokens/s of one card it would be"
        f" ${_PRICE / (5000 * 0.0036):.2f} to ${_PRICE / (3000 * 0.0036):.2f}.",
        "whichgpu --model meta-llama/Llama-3.1-70B-Instruct --precision fp8 --gpu 'H100:$3.92' --context 2048"
        " --concurrency 32 --input 1024 --output 1024",
    )


def _captive() -> Checked:
    cards = {c.key: c.sources.get("vllm", "") for c in _FACTS.accelerators}
    return Checked(
        "GPU clouds with CUDA are the only path open to outside teams",
        "wrong",
        "vLLM runs on AMD and Intel cards as well, built in or as a plugin: "
        + "; ".join(f"{k}: {cards[k]}" for k in ("mi210", "b60", "gaudi3"))
        + ". Of the priced cards the cheapest that holds gpt-oss-120b for 16 × 8,192 tokens is "
        + f"{_cheapest()}.",
        "whichgpu --model openai/gpt-oss-120b",
    )


def _cheapest() -> str:
    best = answer(_model("openai/gpt-oss-120b"), Workload(context=8192, concurrency=16), _FACTS).recommended
    assert best is not None
    return f"{best.count} × {best.accelerator_name} at ${best.usd_per_hour:.2f} an hour"


def _prices() -> Checked:
    book, card = PriceBook(_FACTS.offers), find("h100_sxm", _FACTS.accelerators)
    price, spot = book.listed(card), book.listed(card, SPOT)
    assert price is not None
    assert spot is not None
    return Checked(
        "an H100 costs $3.92 an hour on demand and $2.91 spot",
        "one marketplace, not the market",
        f"Dated offers from {price.oldest} to {price.newest}: ${price.low:.2f} to ${price.high:.2f} on demand (median"
        f" ${price.usd_per_hour:.2f} of {price.offers}), ${spot.low:.2f} to ${spot.high:.2f} spot.",
        "whichgpu gpus H100",
    )
