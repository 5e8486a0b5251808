"""The command tree: one table of nouns, each module imported when its command is called. Importing this costs click alone."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from whichgpu.inspect.errors import NotFoundError, WhichgpuError
from whichgpu.inspect.text import clean
from whichgpu.tui.asking.completing import complete_models
from whichgpu.tui.asking.helping import TopicalGroup, shows_all
from whichgpu.tui.asking.options import engine_options, output_options, question_options, source_options
from whichgpu.tui.cli.common import Shell
from whichgpu.tui.desk.paths import config_path
from whichgpu.tui.words.exit_codes import MEANINGS, ExitCode, code_of

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_CODES = "\n".join(f"  {int(code):>3}  {text}" for code, text in MEANINGS.items())
_EPILOG = f"""\b
Exit codes:
{_CODES}

\b
Examples:
  whichgpu Qwen/Qwen3-32B
  whichgpu openai/gpt-oss-120b --context 32768 --gpu H100
  whichgpu ./my-finetune --precision fp8 --json
  whichgpu Qwen/Qwen3-32B --gpu H100 --concurrency 64 --explain
"""
_BRIEF = """\b
Try   whichgpu Qwen/Qwen3-32B    More  whichgpu --help-all, COMMAND --help
Exit  0 answered, 1 answered but nothing fits, others failed
"""

COMMANDS: dict[str, tuple[str, str]] = {
    "app": ("app:open_app", "Open the terminal app, perhaps at a model; whichgpu without arguments opens it too."),
    "atlas": ("atlas:atlas", "The bundled atlas of well-known models."),
    "breakeven": ("breakeven:breakeven", "Say when moving to another chip pays, and which price per million tokens it has to beat."),
    "catalog": ("catalog:catalog", "What is kept: find it again, annotate it, share it."),
    "command": ("answer:command_for", "Print the recommended plan as a command or file: vLLM, docker, SGLang, TensorRT-LLM, Kubernetes, SkyPilot."),
    "completion": ("completion:completion", "Print the script that completes in bash, zsh or fish."),
    "compare": ("compare:compare", "Set models side by side on one workload; ≠ marks what differs."),
    "cpm": ("cpm:cpm", "Say what a million tokens cost at a price and a rate: dollars an hour ÷ (tokens/s × 3,600 ÷ 1,000,000)."),
    "decide": ("decide:decide", "Say in figures whether custom chips are your question: what a claim has to beat, bring or prove."),
    "fleet": ("fleet:fleet", "Size a list of models, and pack them on the cheapest machines."),
    "gpus": ("gpus:gpus", "List accelerators: memory, rates, price; with NAME one in full, with its sources."),
    "prices": ("prices:prices", "What card-hours cost: list, refresh, and the team's contracts."),
    "read-log": ("trial_upkeep:read_log", "Say what a vLLM log holds, of any version from 0.5: memory, stages, and why it failed."),
    "schema": ("schema:schema", "Print the JSON Schema of what COMMAND prints with --json; without COMMAND the names that have one."),
    "serve": ("app:serve_app", "Serve the app to a browser on this machine (extra: serve); it reads no folders or files there."),
    "silicon": ("silicon:silicon", "List custom chips (TPU, Trainium, Groq, …): who can use them, and what a model can expect."),
    "trial": ("trial:trial", "Prove a plan with a short real vLLM run on this machine, and keep what was measured."),
    "trials": ("trial:trials", ""),
}  # fmt: skip
"""Name to (module of this package:command, the first sentence of its help; empty hides it)."""


class _Tree(TopicalGroup):
    """Commands that are imported when they are called; the list of them is the table's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what stands where a command would and names a model (ORG/NAME, a URL, a path) as ``--model``; ``help COMMAND`` as its --help."""
        if args and args[0] == "help":
            args = [*args[1:], "--help"]
        rest = click.Command.parse_args(self, ctx, list(args))
        is_free = rest and rest[0] not in COMMANDS and ctx.params.get("model") is None
        if is_free and (_names_model(rest[0]) or _is_short_name(rest[0])):
            place = len(args) - len(rest)
            args = [*args[:place], "--model", *args[place:]]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """UsageError: neither a command nor what could be a model."""
        if ctx.resilient_parsing and args[0] not in COMMANDS:
            return None, None, []  # the tab key; nobody is to be told off
        if args[0] in COMMANDS:
            return super().resolve_command(ctx, args)
        from difflib import get_close_matches

        near = get_close_matches(args[0], [name for name, (_, text) in COMMANDS.items() if text], 1)
        similar = [] if near or ctx.params.get("model") is not None else _similar_models(args[0])
        if similar:
            raise NotFoundError(f"No model is called “{clean(args[0], 60)}”.", f"Did you mean {', '.join(similar)}?")
        meant = f" Did you mean {near[0]}?" if near else ""
        second = ctx.params.get("model") is not None
        wants = (
            "one model at a time; whichgpu compare sets several side by side"
            if second
            else "a model is ORG/NAME, a URL or a path"
        )
        raise click.UsageError(f"No such command {args[0]!r}; {wants}.{meant}")

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(f"whichgpu.tui.cli.{module}"), name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer commands without importing them, and models where no command begins so."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        if ctx.params.get("model") is not None:
            return []
        commands = [CompletionItem(n, help=t) for n, (_, t) in COMMANDS.items() if t and n.startswith(incomplete)]
        return commands or complete_models(ctx, self.params[0], incomplete)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Exit codes and examples in full are for ``--help-all``."""
        self.epilog = _EPILOG if shows_all(ctx) else _BRIEF
        super().format_epilog(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list without importing what it lists."""
        room = formatter.width - 6 - max(map(len, COMMANDS))
        rows = [(name, _shortened(text, room)) for name, (_, text) in COMMANDS.items() if text]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _similar_models(name: str) -> list[str]:
    """Models of the atlas that are called nearly so."""
    from whichgpu.tui.desk.bundled import bundled_atlas

    return bundled_atlas().similar(name)


def _shortened(sentence: str, room: int) -> str:
    """The sentence, or what of it stands before the last pause that there is room for."""
    if len(sentence) <= room:
        return sentence
    pauses = [[m.start() for m in re.finditer(mark, sentence) if m.start() < room] for mark in ("[;:] ", ", ")]
    place = next((places[-1] for places in pauses if places), None)
    return f"{sentence[:place]}." if place else click.Command("", help=sentence).get_short_help_str(room)


def _names_model(word: str) -> bool:
    return "/" in word or word.endswith((".gguf", ".safetensors")) or os.path.isdir(word)


def _is_short_name(word: str) -> bool:
    """True for a name without its owner that some model of the atlas has."""
    from whichgpu.tui.desk.names import named_alike

    return bool(named_alike(word))


@click.group(
    cls=_Tree,
    invoke_without_command=True,
    subcommand_metavar="[MODEL | COMMAND [ARGS]...]",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@question_options
@engine_options
@output_options
@source_options
@click.pass_context
def cli(context: click.Context, /, **options: Any) -> int | None:
    """Which GPU does a model need, how many, and at what price? Alone: the app."""
    if options["version"]:
        from importlib.metadata import version

        click.echo(f"whichgpu {version('whichgpu')}")
        return ExitCode.OK
    if config_path().exists():
        from whichgpu.tui.desk.settings import load, use_endpoint
        from whichgpu.tui.words.units import show_as

        settings = load()
        use_endpoint(settings)
        show_as(settings)
    if context.invoked_subcommand is not None:
        return None
    shell: Shell = context.obj or Shell(no_app)
    option_sources = [context.get_parameter_source(name) for name in options]
    if (
        options["model"] is None
        and ParameterSource.COMMANDLINE not in option_sources
        and sys.stdin.isatty()
        and sys.stdout.isatty()
    ):
        from whichgpu.tui.desk.desk import open_desk

        return shell.open_app(open_desk(), offline=False, model=None)
    if options["model"] is None:
        click.echo(context.get_help())
        click.echo("\nName a model to begin:  whichgpu --model Qwen/Qwen3-32B", err=True)
        return ExitCode.USAGE if ParameterSource.COMMANDLINE in option_sources else ExitCode.OK
    from whichgpu.tui.cli.answer import answer_once

    return answer_once(options, shell)


def no_app(*_: Any, **__: Any) -> int:
    """Stand in for the app where the command line runs alone."""
    raise click.UsageError("The app is not at hand here; whichgpu --model X answers without one.")


def run(arguments: Sequence[str], open_app: Callable[..., int] = no_app) -> int:
    """Run the command line and return the exit code; expected failures become one sentence on stderr."""
    try:
        result = cli.main(args=list(arguments), prog_name="whichgpu", standalone_mode=False, obj=Shell(open_app))
        return int(result) if result is not None else ExitCode.OK
    except click.exceptions.Abort:
        raise KeyboardInterrupt("click has ended the line") from None
    except SystemExit:
        # What click makes of a reader that went away, whatever standalone_mode says.
        raise BrokenPipeError from None
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx is not None else "")
        return ExitCode.OK
    except click.ClickException as error:
        hint = "Try whichgpu --help."
        return complain(" ".join(error.format_message().split()), hint, ExitCode.USAGE)
    except Exception as error:  # noqa: BLE001 - the outermost frame
        return _report_error(error)


def _report_error(error: Exception) -> int:
    """Say a failure in one sentence; ``WHICHGPU_DEBUG=1`` shows the traceback instead."""

    if isinstance(error, BrokenPipeError) or os.environ.get("WHICHGPU_DEBUG") == "1":
        raise error
    if isinstance(error, WhichgpuError):
        return complain(error.message, error.hint, code_of(error))
    if isinstance(error, OSError):
        return complain(f"The system refused: {error.strerror or error}.", "", ExitCode.SYSTEM)
    hint = "That is a defect: run it again with WHICHGPU_DEBUG=1, and report what it prints."
    return complain(f"whichgpu did not expect this: {type(error).__name__}: {error}.", hint, ExitCode.BUG)


def complain(message: str, hint: str, code: ExitCode) -> int:
    """Print one line on stderr, after whatever is still due on stdout."""
    from whichgpu.tui.words.terminal import Terminal

    with contextlib.suppress(OSError):
        sys.stdout.flush()
    text = " ".join(part.strip() for part in (message, hint) if part)
    terminal = Terminal.detect()
    click.echo(terminal.text(terminal.folded(f"whichgpu: error: {clean(text, 1000)}")), err=True)
    return code
