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
from whichgpu.plan import decide
from whichgpu.plan.breakeven import Move
from whichgpu.plan.choices import SPOT
from whichgpu.plan.hardware import find
from whichgpu.plan.price_book import PriceBook
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Answer, Plan, Precision, Workload
from whichgpu.plan.silicon import parse_silicon, verdict_on
from whichgpu.tui.desk.facts import load_facts
from whichgpu.tui.words.decision_words import amount

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
        "# An article's claims, checked",
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
    yield _h200_fits_on_fewer()
    yield _h200_is_cheaper()
    yield _same_everywhere()
    yield _watts()
    yield _gains()
    yield _weeks()
    yield _plugins()
    yield _dense_alone()


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
        looked_up = parameters.embedding.value or 0
        return f"{name} {stored / 1e9:,.0f}B with {(active - looked_up) / 1e9:.0f}B active"

    names = ("deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V4-Flash", "deepseek-ai/DeepSeek-V4-Pro")
    return Checked(
        "DeepSeek V4 is 671B with 37B active; Qwen3-235B-A22B uses 22B of 235B",
        "first wrong, second right",
        f"671B is V3. Without next-token layers, and the active ones without the embedding, of which a token reads one row: {'; '.join(sizes(n) for n in names)};"
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
    b200 = cards[-1]
    text = "; ".join(f"{c.name} {c.usable_gib:.2f} GiB usable, {c.bandwidth_gbs / 1000:.2f} TB/s" for c in cards)
    return Checked(
        "H100 3.35 TB/s, H200 141 GB and 4.8 TB/s, B200 192 GB and 8 TB/s",
        "right, but for the last digit of B200's bandwidth",
        f"{text}. The 192 GB of a B200 are {b200.usable_gib:.2f} GiB = {b200.usable_gib * 2**30 / 1e9:.1f} GB, as torch reports"
        f" them; machines are sold as {b200.marketed_gb} GB, and the bus makes {b200.bandwidth_gbs / 1000:.1f} TB/s.",
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
        f" ${price.usd_per_hour:.2f} of {price.offers}); spot ${spot.usd_per_hour:.2f}, the median of {spot.offers}.",
        "whichgpu gpus H100",
    )


def _h200_fits_on_fewer() -> Checked:
    _, h100 = _ask("openai/gpt-oss-120b", "h100_sxm", concurrency=8)
    _, h200 = _ask("openai/gpt-oss-120b", "h200_sxm", concurrency=8)
    assert h100.footprint is not None
    assert h200.footprint is not None
    return Checked(
        "gpt-oss-120b fits on fewer H200s than H100s",
        "wrong",
        f"It takes {h200.count} H200 and {h100.count} H100. What the larger card buys is cache: {h200.footprint.capacity_tokens:,}"
        f" tokens for {h100.footprint.capacity_tokens:,}.",
        "whichgpu --model openai/gpt-oss-120b --gpu H100 --gpu H200 --concurrency 8",
    )


def _h200_is_cheaper() -> Checked:
    book = PriceBook(_FACTS.offers)
    h100, h200 = (book.listed(find(k, _FACTS.accelerators)) for k in ("h100_sxm", "h200_sxm"))
    assert h100 is not None
    assert h200 is not None
    fits = "wrong" if h200.usd_per_hour >= h100.usd_per_hour else "right"
    return Checked(
        "an H200 at $3.70 is cheaper by the hour than an H100 at $3.92",
        f"{fits}, of the market",
        f"Medians of clouds of GPUs: H200 ${h200.usd_per_hour:.2f} ({h200.offers} providers), H100 ${h100.usd_per_hour:.2f}"
        f" ({h100.offers}). One seller's two prices say little about either card.",
        "whichgpu gpus H200",
    )


def _same_everywhere() -> Checked:
    commands = {c: _ask("deepseek-ai/DeepSeek-V4-Flash", c)[1] for c in ("h100_sxm", "h200_sxm", "b200")}
    counts = ", ".join(f"{p.count} × {p.accelerator_name}" for p in commands.values())
    alike = len({p.command for p in commands.values()}) == 1
    return Checked(
        "DeepSeek-V4-Flash runs on H100, H200 and B200 unchanged: the only difference is the instance type",
        "right" if alike else "right about the software, wrong about the command",
        f"vLLM has kernels for its attention on all three, and on nothing older than Hopper. It takes {counts}, so the"
        " layout is another one each time.",
        "whichgpu --model deepseek-ai/DeepSeek-V4-Flash --gpu H100 --gpu H200 --gpu B200 --concurrency 1",
    )


def _baseline(name: str) -> decide.Baseline:
    _, plan = _ask(name, "h100_sxm", concurrency=16)
    return decide.Baseline(find("h100_sxm", _FACTS.accelerators), plan)


def _figure(decision: decide.Decision, name: str) -> str:
    return amount(next(f for f in decision.figures if f.name == name))


def _watts() -> Checked:
    decision = decide.decode_service(_baseline("openai/gpt-oss-120b"))
    return Checked(
        "an H100 draws 700 W, and a chip of 400 W with the same rate would save 40 %",
        "half right",
        "The arithmetic holds for the board alone, (700 − 400) ÷ 700 = 43 %. At the utility's meter a card counts with its share"
        f" of server and cooling, 1,730 W, of which 300 W are 17 %. The baseline that the article asks for, gpt-oss-120b on one"
        f" H100 with 16 at once: {_figure(decision, 'per watt, board')}, {_figure(decision, 'per watt, at the meter')} at the meter.",
        "whichgpu decide decode-service --model openai/gpt-oss-120b",
    )


def _gains() -> Checked:
    estate = decide.Estate(10_000, 0.08, (5e8, 1.5e9), (0.2, 0.4))
    decision = decide.owner(estate, _baseline("openai/gpt-oss-120b"))
    return Checked(
        "at 10 GW even 20 % pays for a chip in months, and 40 % saves 4 GW",
        "right, for an owner",
        f"20 % are {_figure(decision, 'saved at 20%')} and {_figure(decision, 'energy at 20%')} of energy at $0.08 a kWh (assumed):"
        f" a programme of $0.5 to $1.5 bn (assumed) is earned back in {_figure(decision, 'pays at 20%, energy')}. 40 % are"
        f" {_figure(decision, 'saved at 40%')}: {_figure(decision, 'pays at 40%, energy')}. At a thousandth of that scale it is"
        " a thousand times as long.",
        "whichgpu decide owner --model openai/gpt-oss-120b --megawatts 10000 --gain 20 --gain 40",
    )


def _weeks() -> Checked:
    shortest, longest = (Move(weeks, 2, 40 * 125) for weeks in (2, 6))
    decision = decide.cloud_chip(decide.Port(shortest, longest, 10_000, 12), _baseline("openai/gpt-oss-120b"))
    return Checked(
        "moving to Neuron takes 2 to 6 engineering weeks, to be set against the savings of a lifetime",
        "the right question",
        f"Two people at $125 an hour (assumed): {_figure(decision, 'moving')}. At ten billion tokens a month the other chip must cost"
        f" {_figure(decision, 'must be below')} to earn that back in a year, where the H100 costs {_figure(decision, 'to beat')}.",
        "whichgpu decide cloud-chip --model openai/gpt-oss-120b --weeks 2-6 --people 2 --hourly 125 --tokens 1e10",
    )


def _plugins() -> Checked:
    chips = {c.key: c for c in parse_silicon(assets.read("silicon.json"))}
    return Checked(
        "Neuron does not run CUDA, and JAX is not compatible with vLLM, so Trainium and TPU are out of reach",
        "right, wrong, and wrong",
        f"CUDA kernels do not run there, and need not: Trainium3 has {chips['trainium3'].vllm}, TPU v7 {chips['tpu_v7'].vllm};"
        " both are rented by anybody with an account.",
        "whichgpu silicon --model openai/gpt-oss-120b",
    )


def _dense_alone() -> Checked:
    chips = parse_silicon(assets.read("silicon.json"))
    names = ("Qwen/Qwen3-32B", "openai/gpt-oss-120b", "Qwen/Qwen3-Next-80B-A3B-Instruct")
    sentences = []
    for name in names:
        verdicts = [verdict_on(c, _model(name)) for c in chips if c.called_fixed]
        barred = [next(c.name for c in chips if c.key == v.chip) for v in verdicts if v.barred]
        sentences.append(f"{name} ({_model(name).label}) is ruled out by {', '.join(barred) or 'none of them'}")
    fixed = ", ".join(c.name for c in chips if c.called_fixed)
    return Checked(
        "custom inference chips serve dense transformers alone: mixtures, multimodal and other models are non-starters",
        "a rule of thumb that the chips' makers contradict",
        f"By the public documents of {fixed}: {'; '.join(sentences)}. Whether one of them is fast with a mixture nobody has shown.",
        "whichgpu silicon --model openai/gpt-oss-120b",
    )
