"""The options of a question, in the groups in which ``--help`` shows them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

from whichgpu.plan.choices import DEFAULT_CONCURRENCY, DEFAULT_CONTEXT, KvDtype, Objective, Precision

_Command = Callable[..., Any]


class Finite(click.FloatRange):
    """A number within bounds; NaN and infinity are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number to reckon with", param, ctx)
        return float(number)


def _together(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Apply several options so that they are listed in the order in which they are written."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


workload_options = _together(
    click.option(
        "--context",
        type=click.IntRange(1, 100_000_000),
        default=DEFAULT_CONTEXT,
        show_default=True,
        help="Tokens per sequence, prompt and output.",
    ),
    click.option(
        "--concurrency",
        type=click.IntRange(1, 1_000_000),
        default=DEFAULT_CONCURRENCY,
        show_default=True,
        help="Sequences at once.",
    ),
    click.option("--input", "prompt", type=click.IntRange(1), help="Input tokens of a typical request, for speed."),
    click.option("--output", type=click.IntRange(1), help="Output tokens of a typical request, for speed."),
    click.option("--rate", type=Finite(0, min_open=True), help="Requests a second to serve; says how many replicas."),
    click.option(
        "--objective",
        type=click.Choice([o.value for o in Objective]),
        default=Objective.COST.value,
        show_default=True,
        help="What to be best at: dollars an hour, ms a token, tokens/s, cards, tokens/s per watt.",
    ),
    click.option("--max-tpot", type=Finite(0, min_open=True), help="Limit: ms per output token."),
    click.option("--max-ttft", type=Finite(0, min_open=True), help="Limit: ms to the first token, idle."),
    click.option("--max-price", type=Finite(0, min_open=True), help="Limit: dollars an hour, all cards."),
    click.option(
        "--precision",
        type=click.Choice([p.value for p in Precision]),
        default=Precision.PUBLISHED.value,
        show_default=True,
        help="Precision of the weights to recommend for.",
    ),
    click.option(
        "--kv-dtype",
        type=click.Choice([k.value for k in KvDtype]),
        default=KvDtype.AUTO.value,
        show_default=True,
        help="Precision of the KV cache.",
    ),
    click.option(
        "--gpu",
        "gpus",
        multiple=True,
        metavar="NAME[:GB][:$PRICE]",
        help="Consider only this accelerator, with your memory or price an hour; “here” for this machine's; repeatable.",
    ),
    click.option(
        "--cards", type=click.IntRange(1, 4096), help="Exactly so many cards of one kind (default: as few as serve)."
    ),
    click.option("--exclude", multiple=True, metavar="NAME", help="Leave this accelerator out; may be repeated."),
    click.option("--price", "prices", multiple=True, metavar="NAME=USD", help="Your price a card-hour; repeatable."),
    click.option(
        "--busy",
        type=Finite(0, 1, min_open=True),
        default=1.0,
        show_default=True,
        help="Share of the paid time that the load is there; divides the cost of a token.",
    ),
    click.option("--spot/--on-demand", "spot", default=False, help="Which prices to compare (default: on-demand)."),
    click.option("--provider", "providers", multiple=True, help="Only this provider's prices; may be repeated."),
    click.option("--no-calibration", is_flag=True, help="Leave the catalog's trials out of predicted speed."),
    click.option("--price-file", metavar="FILE", help="Your prices: CSV of accelerator,usd_per_hour, or SkyPilot's."),
    click.option("--gpu-file", metavar="FILE", help="Your accelerators, as JSON like whichgpu gpus --json."),
    click.option("--variant", metavar="TEXT", help="Pick a GGUF quantisation by part of its file name."),
)
"""What is asked of the model."""

question_options = _together(
    click.option(
        "-m", "--model", help="Hub id (ORG/NAME, ORG/NAME@REVISION), Hub URL, folder, .safetensors or .gguf file."
    ),
    workload_options,
)
"""What is asked."""

engine_options = _together(
    click.option("--vllm", metavar="VERSION", help="Predict for this version of vLLM (default: the newest known)."),
    click.option(
        "--max-num-seqs",
        type=click.IntRange(1, 1_000_000),
        help="As vLLM's option (default: by card and version); fewer free memory of the sampler.",
    ),
    click.option(
        "--max-num-batched-tokens",
        type=click.IntRange(1, 100_000_000),
        help="As vLLM's option (default: by card and version).",
    ),
    click.option(
        "--gpu-memory-utilization",
        type=Finite(0.01, 1.0),
        help="Share of a card that vLLM may use (default: 0.92, before 0.21 0.90).",
    ),
    click.option("--enforce-eager", is_flag=True, help="Without CUDA graphs."),
    click.option(
        "--speculative",
        type=click.IntRange(0, 64),
        default=0,
        metavar="TOKENS",
        help="Draft this many tokens with the model's own next-token layers.",
    ),
    click.option("--text-only", is_flag=True, help="Leave image and audio encoders out (--language-model-only)."),
)
"""How vLLM is started."""

source_options = _together(
    click.option("--offline", is_flag=True, help="Use no network: catalog, Hugging Face cache, bundled atlas."),
    click.option("--refresh", is_flag=True, help="Read the model anew, whatever the catalog has."),
    click.option(
        "--max-age",
        type=Finite(0),
        default=10.0,
        show_default=True,
        metavar="MINUTES",
        help="Ask the Hub for a branch's commit again after so long.",
    ),
    click.option("--quick", is_flag=True, help="Leave tensor headers alone: file sizes and config only."),
    click.option(
        "--catalog", metavar="PATH", help="Catalog file (default: WHICHGPU_CATALOG, else the user's data folder)."
    ),
)
"""Where the model is looked up."""

output_options = _together(
    click.option("--second-opinion", is_flag=True, help="Ask aiconfigurator-core for the speed too (extra; seconds)."),
    click.option("--explain", is_flag=True, help="Break every byte of a card down, and say what would change it."),
    click.option("--json", "as_json", is_flag=True, help="Print the records as JSON."),
    click.option("-o", "--open", "opens", is_flag=True, help="Open the answer in the app afterwards."),
    click.option("-q", "--quiet", is_flag=True, help="Print the recommendation alone."),
    click.option("--version", is_flag=True, help="Print the version."),
)
"""How the answer is shown."""
