"""Every option of a question, once: how click reads it, which field of which record it is, and how it is spelled again.

An option of a workload is a row here and a field of ``plan.records.Workload``; nothing else keeps a list of them.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import click

from whichgpu.plan.choices import (
    DEFAULT_CONCURRENCY,
    DEFAULT_CONTEXT,
    DEFAULT_LORA_RANK,
    LORA_RANKS,
    ON_DEMAND,
    SPOT,
    KvDtype,
    Objective,
    Precision,
)
from whichgpu.tui.asking.completing import complete_cards
from whichgpu.tui.asking.json_options import Drafting, MediaLimits, draft_words, limits_words

_MOST = 1e15
"""More than anything that is asked for in numbers, and far from where sums lose their meaning."""


class Finite(click.FloatRange):
    """A number within bounds; NaN and infinity are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number) or abs(number) > _MOST or 0 < abs(number) < 1 / _MOST:
            self.fail(f"{value} is no number to reckon with", param, ctx)
        return float(number)


class Span(click.ParamType[tuple[float, float]]):
    """A number, or two with a dash between them: ``2-6``."""

    name = "number or range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(
            r"(\d+(?:\.\d+)?(?:e\d+)?)(?:-(\d+(?:\.\d+)?(?:e\d+)?))?", str(value).strip(), re.IGNORECASE
        )
        low, high = (float(match[1]), float(match[2] or match[1])) if match else (1.0, 0.0)
        if not low <= high < 1e15:
            self.fail(f"“{value}” is neither a number nor a range such as 2-6.", param, ctx)
        return low, high


AUTO = "auto"


class Tokens(click.IntRange):
    """A number of tokens, or as many as fit: ``auto``, which is -1 too, as vLLM has it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or ``AUTO``."""
        return AUTO if str(value).strip() in (AUTO, "-1") else super().convert(value, param, ctx)


class Owner(StrEnum):
    """The record whose field an option is."""

    WORKLOAD = "workload"
    OWN = "own"
    """The user's cards and prices."""
    QUESTION = "question"


@dataclasses.dataclass(frozen=True, slots=True)
class Ask:
    """One option, and the field that it fills."""

    option: str
    """With its opposite, as click writes it: ``--spot/--on-demand``."""
    field: str
    owner: Owner
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """For click: type, default, help, metavar, …"""
    param: str | None = None
    """What click calls it, where not by its own name."""
    read: Callable[[Any], Any] = lambda value: value
    """From what click gives to what the field holds."""
    usual: Any = None
    """What is left out when it is spelled; ``None`` always is."""
    spelled: Callable[[Any], list[str]] | None = None
    """From the field's value to words, where not ``option value``."""
    also: tuple[str, ...] = ()
    """Other names: vLLM's own spelling."""

    @property
    def name(self) -> str:
        """What click calls it."""
        return self.param or self.option.split("/")[0].lstrip("-").replace("-", "_")

    def declared(self) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """As click declares it."""
        return click.option(self.option, *self.also, self.name, **self.settings)

    def words(self, value: Any) -> list[str]:
        """As it is spelled on a command line; empty where it need not be."""
        if self.spelled is not None:
            return self.spelled(value)
        if value is None or value == self.usual or value is False:
            return []
        if value is True:
            return [self.option]
        if isinstance(value, tuple):
            return [word for part in value for word in (self.option, str(part))]
        return [self.option, f"{value:.12g}" if isinstance(value, float) else str(value)]


def _choice(kinds: type[StrEnum], default: StrEnum, spellings: Mapping[str, StrEnum] | None = None) -> dict[str, Any]:
    names = [k.value for k in kinds]
    kind = Spelled(names, spellings) if spellings else click.Choice(names)
    return {"type": kind, "default": default.value, "show_default": True}


class Spelled(click.Choice[str]):
    """Some words, and others that mean the same."""

    def __init__(self, names: Sequence[str], spellings: Mapping[str, StrEnum]) -> None:
        super().__init__(names)
        self._spellings = spellings

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the word that is meant."""
        meant = self._spellings.get(value)
        return super().convert(meant.value if meant is not None else value, param, ctx)


_VLLM_CACHES = {"bfloat16": KvDtype.BF16, "fp8_e4m3": KvDtype.FP8}
"""vLLM's own words for the same."""


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text is not None else None


def _version(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    from whichgpu.plan.engine import named_version  # records, which --help does without
    from whichgpu.plan.errors import UnknownVersionError

    try:
        return named_version(value)
    except UnknownVersionError as error:
        raise click.BadParameter(f"{error.message} {error.hint}") from error


_W, _O, _Q = Owner.WORKLOAD, Owner.OWN, Owner.QUESTION
_POSITIVE = Finite(0, min_open=True)
_FLAG = {"is_flag": True}
_SIZE = click.IntRange(1, 1024)

WORKLOAD: tuple[Ask, ...] = (
    Ask("--context", "context", _W, {"type": Tokens(1, 100_000_000), "default": DEFAULT_CONTEXT, "show_default": True,
        "help": "Tokens per sequence, prompt and output; “auto” for as many as fit."},
        read=lambda tokens: DEFAULT_CONTEXT if tokens == AUTO else tokens, also=("--max-model-len",)),
    Ask("--concurrency", "concurrency", _W, {"type": click.IntRange(1, 1_000_000), "default": DEFAULT_CONCURRENCY,
        "show_default": True, "help": "Sequences at once."}),
    Ask("--input", "prompt", _W, {"type": click.IntRange(1), "help": "Input tokens of a typical request, for speed."}, "prompt"),
    Ask("--output", "output", _W, {"type": click.IntRange(1), "help": "Output tokens of a typical request, for speed."}),
    Ask("--rate", "rate", _W, {"type": _POSITIVE, "help": "Requests a second to serve; says how many replicas."}),
    Ask("--objective", "objective", _W, {**_choice(Objective, Objective.COST),
        "help": "What to be best at: dollars an hour, ms a token, tokens/s, cards, tokens/s per watt."},
        read=Objective, usual=Objective.COST),
    Ask("--max-tpot", "max_tpot_ms", _W, {"type": _POSITIVE, "help": "Limit: ms per output token."}),
    Ask("--max-ttft", "max_ttft_ms", _W, {"type": _POSITIVE, "help": "Limit: ms to the first token, idle."}),
    Ask("--max-price", "max_usd_per_hour", _W, {"type": _POSITIVE, "help": "Limit: dollars an hour, all cards."}),
    Ask("--precision", "precision", _W, {**_choice(Precision, Precision.PUBLISHED),
        "help": "Precision of the weights to recommend for."}, read=Precision, usual=Precision.PUBLISHED),
    Ask("--kv-dtype", "kv_dtype", _W, {**_choice(KvDtype, KvDtype.AUTO, _VLLM_CACHES), "help": "Precision of the KV cache."},
        read=KvDtype, usual=KvDtype.AUTO, also=("--kv-cache-dtype",)),
    Ask("--gpu", "accelerators", _O, {"multiple": True, "metavar": "NAME[:GB][:$PRICE]", "shell_complete": complete_cards,
        "help": "Consider only this accelerator, with your memory or price an hour; “here” for this machine's; repeatable."},
        "gpus"),
    Ask("--mixed", "mixed", _O, {**_FLAG,
        "help": "The cards named with --gpu stand in one machine (name each as often as it is there) and serve together."}),
    Ask("--cards", "cards", _W, {"type": click.IntRange(1, 4096),
        "help": "Exactly so many cards of one kind (default: as few as serve)."}),
    Ask("--exclude", "excluded", _O, {"multiple": True, "metavar": "NAME", "shell_complete": complete_cards,
        "help": "Leave this accelerator out; may be repeated."}),
    Ask("--price", "prices", _O, {"multiple": True, "metavar": "NAME=USD", "shell_complete": complete_cards,
        "help": "Your price a card-hour; repeatable."}, "prices"),
    Ask("--busy", "busy", _W, {"type": Finite(0, 1, min_open=True), "default": 1.0, "show_default": True,
        "help": "Share of the paid time that the load is there; divides the cost of a token."}, usual=1.0),
    Ask("--prefix-share", "prefix_share", _W, {"type": Finite(0, 1), "default": 0.0, "show_default": True,
        "help": "Share of each prompt that the prefix cache has already (a system prompt, a conversation)."}, usual=0.0),
    Ask("--spot/--on-demand", "price_kind", _W, {"default": False, "help": "Which prices to compare (default: on-demand)."},
        "spot", read=lambda spot: SPOT if spot else ON_DEMAND, spelled=lambda kind: ["--spot"] if kind == SPOT else []),
    Ask("--provider", "providers", _O, {"multiple": True, "metavar": "NAME|KIND",
        "help": "Only these prices: a provider's, or cloud, hyperscaler, marketplace."}, "providers", also=("--providers",)),
    Ask("--vendor", "vendors", _O, {"multiple": True, "type": click.Choice(["nvidia", "amd", "intel"]),
        "help": "Only this vendor's accelerators; may be repeated."}),
    Ask("--no-calibration", "calibrated", _O, {**_FLAG, "help": "Leave the catalog's trials out of predicted speed."},
        read=lambda off: not off, spelled=lambda on: [] if on else ["--no-calibration"]),
    Ask("--price-file", "price_file", _O, {"metavar": "FILE",
        "help": "Your prices: CSV of accelerator,usd_per_hour, or SkyPilot's."}, read=_path),
    Ask("--gpu-file", "card_file", _O, {"metavar": "FILE", "help": "Your accelerators, as JSON like whichgpu gpus --json."},
        read=_path),
    Ask("--variant", "variant", _Q, {"metavar": "TEXT", "help": "Pick a GGUF quantisation by part of its file name."}),
)  # fmt: skip
"""What is asked of the model."""

ENGINE: tuple[Ask, ...] = (
    Ask("--vllm", "vllm", _W, {"callback": _version, "metavar": "VERSION", "help": "Predict for this version of vLLM (default: the newest known)."}),
    Ask("--max-num-seqs", "max_sequences", _W, {"type": click.IntRange(1, 1_000_000),
        "help": "As vLLM's option (default: by card and version); fewer free memory of the sampler."}),
    Ask("--max-num-batched-tokens", "batched_tokens", _W, {"type": click.IntRange(1, 100_000_000),
        "help": "As vLLM's option (default: by card and version)."}),
    Ask("--gpu-memory-utilization", "utilisation", _W, {"type": Finite(0.01, 1.0),
        "help": "Share of a card that vLLM may use (default: 0.92, before 0.21 0.90)."}),
    Ask("--enforce-eager", "eager", _W, {**_FLAG, "help": "Without CUDA graphs."}),
    Ask("--speculative", "speculative_tokens", _W, {"type": click.IntRange(0, 64), "default": 0, "metavar": "TOKENS",
        "help": "Draft this many tokens with the model's own next-token layers."}, usual=0),
    Ask("--speculative-config", "draft", _W, {"type": Drafting(), "metavar": "JSON",
        "help": "As vLLM's option: {\"model\": NAME, \"num_speculative_tokens\": 5}, or a method without a model."},
        spelled=draft_words),
    Ask("--text-only", "text_only", _W, {**_FLAG,
        "help": "Leave image and audio encoders out."}, also=("--language-model-only",)),
    Ask("--limit-mm-per-prompt", "media_limits", _W, {"type": MediaLimits(), "metavar": "JSON",
        "help": "As vLLM's option: {\"image\": 2, \"video\": 0}, or sizes in place of a count."},
        read=lambda limits: limits or (), spelled=limits_words),
    Ask("--cpu-offload-gb", "cpu_offload_gb", _W, {"type": Finite(0, 100_000), "metavar": "GIB",
        "help": "As vLLM's option: weights per card that lie in the host's memory."}, read=lambda size: size or 0.0, usual=0.0),
    Ask("--kv-offloading-size", "kv_offloading_size", _W, {"type": Finite(0, 1_000_000, min_open=True), "metavar": "GIB",
        "help": "As vLLM's option: a cache in the host's memory behind the pool, for all cards of an engine together."}),
    Ask("--enable-lora", "enable_lora", _W, {**_FLAG, "help": "Keep room for LoRA adapters, as vLLM's option does."}),
    Ask("--max-loras", "max_loras", _W, {"type": click.IntRange(1, 10_000), "metavar": "COUNT",
        "help": "With --enable-lora: adapters in one batch (default: 1)."}, read=lambda count: count or 1, usual=1),
    Ask("--max-lora-rank", "max_lora_rank", _W, {"type": click.Choice([str(rank) for rank in LORA_RANKS]),
        "help": "With --enable-lora: the largest rank (default: 16)."}, read=lambda rank: int(rank or DEFAULT_LORA_RANK),
        usual=DEFAULT_LORA_RANK),
    Ask("--fully-sharded-loras", "fully_sharded_loras", _W, {**_FLAG,
        "help": "With --enable-lora: cut both halves of an adapter over the cards."}),
    Ask("--tp", "tensor_parallel", _W, {"type": _SIZE, "help": "This layout alone: cards that share each layer."},
        also=("--tensor-parallel-size",)),
    Ask("--pp", "pipeline_parallel", _W, {"type": _SIZE, "help": "This layout alone: stages."}, also=("--pipeline-parallel-size",)),
    Ask("--dp", "data_parallel", _W, {"type": _SIZE, "help": "This layout alone: copies, each with a cache of its own."},
        also=("--data-parallel-size",)),
    Ask("--ep", "expert_parallel", _W, {**_FLAG, "help": "This layout alone: whole experts dealt over its cards."},
        also=("--enable-expert-parallel",)),
)  # fmt: skip
"""How vLLM is started."""

SOURCE: tuple[Ask, ...] = (
    Ask("--offline", "offline", _Q, {**_FLAG, "help": "Use no network: catalog, Hugging Face cache, bundled atlas."}),
    Ask("--refresh", "refresh", _Q, {**_FLAG, "help": "Read the model anew, whatever the catalog has."}),
    Ask("--max-age", "max_age", _Q, {"type": Finite(0), "default": 10.0, "show_default": True, "metavar": "MINUTES",
        "help": "Ask the Hub for a branch's commit again after so long."}, read=lambda minutes: minutes * 60),
    Ask("--quick", "quick", _Q, {**_FLAG, "help": "Leave tensor headers alone: file sizes and config only."}),
)  # fmt: skip
"""Where the model is looked up."""


def fields_of(owner: Owner, rows: tuple[Ask, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's fields as options fill them; options that a command does not have are left to their defaults."""
    return {row.field: row.read(options[row.name]) for row in rows if row.owner is owner and row.name in options}


def words_of(owner: Owner, record: Any) -> list[str]:
    """Return the options that fill a record so."""
    return [
        word for row in (*WORKLOAD, *ENGINE) if row.owner is owner for word in row.words(getattr(record, row.field))
    ]
