"""``--help`` on one screen: options by what they are about, the usual ones with a line each, the others by name; ``--help-all`` explains all."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from whichgpu.inspect.text import clean
from whichgpu.plan.choices import DEFAULT_CONCURRENCY, DEFAULT_CONTEXT


@dataclass(frozen=True, slots=True)
class Topic:
    """Options that are about the same."""

    title: str
    usual: Mapping[str, tuple[str, str]]
    """Option to (how its value is written, a few words)."""
    others: tuple[str, ...]
    """Options that ``--help`` names without a word on them."""

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.usual, *self.others)


TOPICS = (
    Topic("The load", {
        "--context": ("TOKENS", f"Of a request, prompt and output (default: {DEFAULT_CONTEXT:,})."),
        "--concurrency": ("N", f"Requests at once (default: {DEFAULT_CONCURRENCY})."),
        "--rate": ("N", "Requests a second to serve; says how many replicas."),
        "--objective": ("WORD", "cost, latency, throughput, fewest or power."),
        "--max-tpot": ("MS", "Limit: ms per output token."),
    }, ("--max-ttft", "--max-price", "--input", "--output", "--busy", "--prefix-share")),
    Topic("The model", {
        "--model": ("MODEL", "Hub id, URL, folder, .safetensors or .gguf file."),
        "--precision": ("WORD", "published, bf16, fp8, int8, int4, nvfp4, mxfp4."),
        "--offline": ("", "Use no network: catalog, cache, bundled atlas."),
    }, ("--kv-dtype", "--variant", "--quick", "--refresh", "--max-age", "--catalog")),
    Topic("The cards and their prices", {
        "--gpu": ("NAME", "This card alone, or “here”; repeatable."),
        "--cards": ("N", "Exactly so many of them."),
        "--vendor": ("NAME", "nvidia, amd or intel."),
        "--provider": ("NAME", "A provider, or cloud, hyperscaler, marketplace."),
    }, ("--price", "--price-file", "--spot", "--exclude", "--gpu-file", "--mixed")),
    Topic("vLLM", {
        "--vllm": ("VERSION", "Predict for this version (default: the newest known)."),
    }, ("--layout", "--tp", "--pp", "--dp", "--ep", "--max-num-seqs", "--max-num-batched-tokens", "--gpu-memory-utilization",
        "--enforce-eager", "--speculative", "--speculative-config", "--draft", "--text-only", "--limit-mm-per-prompt", "--cpu-offload-gb",
        "--kv-offloading-size", "--enable-lora", "--max-loras", "--max-lora-rank", "--fully-sharded-loras")),
    Topic("The answer", {
        "--explain": ("", "Every byte of a card, and what would change it."),
        "--json": ("", "The records as JSON."),
        "--quiet": ("", "The recommendation alone, on one line."),
    }, ("--open", "--second-opinion", "--no-calibration", "--version")),
)  # fmt: skip
"""In the order in which ``--help`` shows them. An option that a command has for itself stands under “Options”."""

_COLUMN = 20
_ALL = "whichgpu.help_all"
_TOPICAL = frozenset(name for topic in TOPICS for name in topic.names)


class Topical(click.Command):
    """A command whose options are shown by topic."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Add ``--help-all``."""
        return [*super().get_params(ctx), _HELP_ALL]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what is left over for ``--model``, as ``whichgpu MODEL`` does."""
        if isinstance(self, click.Group) or not any(p.name == "model" for p in self.params):
            return super().parse_args(ctx, args)
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if rest and ctx.params.get("model") is None:
            ctx.params["model"], *rest = rest
        if rest and not ctx.resilient_parsing:
            ctx.fail(f"Got unexpected extra argument ({clean(rest[0], 60)}).")
        ctx.args = rest
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then each topic."""
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option) and p is not _HELP_ALL]
        by_name = {_long(option): option for option in options if not option.hidden}
        own = [option for name, option in by_name.items() if name not in _TOPICAL and name != "--help"]
        if rows := [row for option in own if (row := option.get_help_record(ctx))]:
            with formatter.section("Options"):
                formatter.write_dl(rows)
        if own and not ctx.meta.get(_ALL):  # no room for both
            _write_names(TOPICS, by_name, formatter)
            return
        for topic in TOPICS:
            held = {name: by_name[name] for name in topic.names if name in by_name}
            if ctx.meta.get(_ALL):
                rows = [row for option in held.values() if (row := option.get_help_record(ctx))]
                if rows:
                    with formatter.section(topic.title):
                        formatter.write_dl(rows)
            elif held:
                _write_topic(topic, held, formatter)


class TopicalGroup(Topical, click.Group):
    """The same for a command that has others under it."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def _long(option: click.Option) -> str:
    """The name that a topic calls it by."""
    return next((name for name in option.opts if name.startswith("--")), option.opts[0])


def _spelled(option: click.Option, name: str, value: str) -> str:
    short = next((f"{opt}, " for opt in option.opts if not opt.startswith("--")), "")
    return f"{short}{name} {value}".rstrip()


def _write_topic(topic: Topic, held: Mapping[str, click.Option], formatter: click.HelpFormatter) -> None:
    rows = [
        (_spelled(held[name], name, v).ljust(_COLUMN), text) for name, (v, text) in topic.usual.items() if name in held
    ]
    others = " ".join(name for name in topic.others if name in held)
    with formatter.section(topic.title):
        if rows:
            formatter.write_dl(rows)
        if others:
            _write_words(f"also {others}" if rows else others, formatter)


def _write_names(topics: Sequence[Topic], held: Mapping[str, click.Option], formatter: click.HelpFormatter) -> None:
    """Name the options of all topics, a paragraph for each."""
    with formatter.section("As whichgpu MODEL takes them (--help-all explains each)"):
        for topic in topics:
            if names := " ".join(name for name in topic.names if name in held):
                _write_words(f"{topic.title}: {names}", formatter)


def _write_words(text: str, formatter: click.HelpFormatter) -> None:
    """A paragraph that is never broken within an option's name."""
    indent = " " * formatter.current_indent
    wrapped = textwrap.wrap(
        text, formatter.width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
    )
    formatter.write("".join(f"{line}\n" for line in wrapped))


def _show_all(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    context.meta[_ALL] = True
    click.echo(context.get_help())
    context.exit()


def shows_all(context: click.Context) -> bool:
    """Whether everything is to be explained."""
    return bool(context.meta.get(_ALL))


_HELP_ALL = click.Option(
    ["--help-all"], is_flag=True, is_eager=True, expose_value=False, callback=_show_all, help="Explain every option."
)
