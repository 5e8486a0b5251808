"""The command tree. Importing it costs click alone; records, the Hub and SQLite come when they are used."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from whichgpu.plan.choices import TARGETS
from whichgpu.tui.command_catalog import CATALOG as _CATALOG
from whichgpu.tui.command_catalog import catalog as catalog_group
from whichgpu.tui.command_trial import trial as trial_group
from whichgpu.tui.command_trial import trials as trials_group
from whichgpu.tui.config_path import config_path
from whichgpu.tui.exit_codes import MEANINGS, ExitCode
from whichgpu.tui.options import (
    Finite,
    engine_options,
    output_options,
    question_options,
    source_options,
    workload_options,
)

_CODES = "\n".join(f"  {int(code):>3}  {text}" for code, text in MEANINGS.items())
_EPILOG = f"""\b
Exit codes:
{_CODES}

\b
Examples:
  whichgpu --model Qwen/Qwen3-32B
  whichgpu --model openai/gpt-oss-120b --context 32768 --gpu H100
  whichgpu --model ./my-finetune --precision fp8 --json
  whichgpu --model Qwen/Qwen3-32B --gpu H100 --concurrency 64 --explain
"""


_POSITIVE = Finite(0, min_open=True)
_AMOUNT = Finite(0)


@click.group(invoke_without_command=True, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@question_options
@engine_options
@output_options
@source_options
@click.pass_context
def cli(context: click.Context, /, **options: Any) -> int | None:
    """Which GPU does a model need, how many, and at what price?

    Reads a model's config and tensor headers (never its weights, never its code) and says what it is, what
    vLLM needs for it at each precision, and where it runs.
    """
    if options["version"]:
        from importlib.metadata import version

        click.echo(f"whichgpu {version('whichgpu')}")
        return ExitCode.OK
    if config_path().exists():
        from whichgpu.tui.settings import apply

        apply()
    if context.invoked_subcommand is not None:
        return None
    option_sources = [context.get_parameter_source(name) for name in options]
    if (
        options["model"] is None
        and ParameterSource.COMMANDLINE not in option_sources
        and sys.stdin.isatty()
        and sys.stdout.isatty()
    ):
        from whichgpu.tui.app.application import run as run_app

        return run_app(offline=False, model=None)
    if options["model"] is None:
        click.echo(context.get_help())
        click.echo("\nName a model to begin:  whichgpu --model Qwen/Qwen3-32B", err=True)
        return ExitCode.USAGE if ParameterSource.COMMANDLINE in option_sources else ExitCode.OK
    from whichgpu.tui.one_shot import answer_once

    return answer_once(options)


@cli.command("command")
@question_options
@engine_options
@source_options
@click.option(
    "--target", type=click.Choice(TARGETS), default="vllm", show_default=True, help="What to write the plan for."
)
def command_for(target: str, **options: Any) -> int:
    """Print the recommended plan as a command or file: vLLM, docker, SGLang, TensorRT-LLM, Kubernetes, SkyPilot."""
    if options["model"] is None:
        raise click.UsageError("Name a model with --model.")
    from whichgpu.tui.one_shot import print_target

    return print_target(options, target)


@cli.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL MODEL…")
@workload_options
@engine_options
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def compare(models: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Set models side by side on one workload; ≠ marks what differs."""
    from whichgpu.tui.compare_command import compare as compared

    return compared(models, options, as_json)


@cli.command()
@click.option("--ours", type=_POSITIVE, help="Dollars per million tokens here; without it predicted for --model.")
@click.option("--theirs", type=_POSITIVE, required=True, help="Dollars per million tokens as claimed there.")
@click.option("--tokens", type=_POSITIVE, required=True, help="Tokens a month, for example 5e9.")
@click.option("--weeks", type=_AMOUNT, default=4, show_default=True, help="Weeks of migration.")
@click.option("--people", type=_AMOUNT, default=2, show_default=True, help="People who do it.")
@click.option("--weekly", type=_AMOUNT, default=5000, show_default=True, help="Dollars a person costs a week.")
@click.option("--reserve", type=_AMOUNT, default=0, show_default=True, help="Dollars kept for going back.")
@click.option("--months", type=click.IntRange(1, 120), default=12, show_default=True, help="Months to pay within.")
@click.option(
    "--situation",
    type=click.Choice(["owner", "gpu-cloud", "cloud-chip", "decode-service", "startup"]),
    default="gpu-cloud",
    show_default=True,
    help="Where you stand towards custom chips.",
)
@question_options
@engine_options
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def breakeven(**options: Any) -> int:
    """Say when moving to another chip pays, and which price per million tokens it has to beat."""
    from whichgpu.tui.breakeven_command import compute

    return compute(options)


@cli.command()
@click.argument("name", required=False)
@click.option("--vendor", type=click.Choice(["nvidia", "amd", "intel"]), help="Only this vendor's.")
@click.option("--min-memory", type=Finite(0), metavar="GIB", help="Only with at least so much usable memory.")
@click.option(
    "--sort",
    type=click.Choice(["name", "memory", "bandwidth", "flops", "price", "price-per-gib"]),
    default="price",
    show_default=True,
    help="Order of the list.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def gpus(name: str | None, vendor: str | None, min_memory: float | None, sort: str, as_json: bool) -> int:
    """List accelerators: memory, rates, price; with NAME one in full, with its sources."""
    from whichgpu.tui.gpu_commands import list_gpus

    return list_gpus(name, vendor, min_memory, sort, as_json)


@cli.command()
@click.argument("chip", required=False)
@click.option("-m", "--model", help="Say what this model can expect of each chip.")
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def silicon(chip: str | None, model: str | None, as_json: bool, **options: Any) -> int:
    """List custom chips (TPU, Trainium, Groq, …): who can use them, and what a model can expect."""
    from whichgpu.tui.silicon_command import show

    return show(chip, model, options, as_json)


@cli.command()
@click.argument("source", metavar="FILE|-")
@workload_options
@engine_options
@source_options
@click.option(
    "--fresh",
    type=Finite(0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Take what the catalog read within so many hours; a second run goes on where the first ended.",
)
@click.option("--solver", type=_POSITIVE, metavar="SECONDS", help="Pack with OR-tools for so long (extra: fleet).")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def fleet(source: str, fresh: float, solver: float | None, as_json: bool, **options: Any) -> int:
    """Size a list of served models and pack them on the cheapest machines.

    FILE has ids one a line, a CSV with a model column, or YAML; settings of a model: context, concurrency, input,
    output, rate, precision, kv_dtype, replicas.
    """
    from whichgpu.tui.fleet_command import fleet as plan_all

    return plan_all(source, options, fresh, solver, as_json)


cli.add_command(catalog_group)
cli.add_command(trial_group)
cli.add_command(trials_group)


@cli.command("app")
@click.argument("model", required=False)
@click.option("--offline", is_flag=True, help="Use no network: catalog, Hugging Face cache, bundled atlas.")
@click.option("--served", is_flag=True, hidden=True, help="As whichgpu serve runs it.")
def open_app(model: str | None, offline: bool, served: bool) -> int:
    """Open the terminal app, perhaps at a model; whichgpu without arguments opens it too."""
    if not served and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("The app needs a terminal; whichgpu --model X answers without one.")
    from whichgpu.tui.app.application import run as run_app

    return run_app(offline, model, local=not served)


@cli.command("serve")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="On 127.0.0.1.")
@click.option("--offline", is_flag=True, help="Use no network: catalog, Hugging Face cache, bundled atlas.")
def serve_app(port: int, offline: bool) -> int:
    """Serve the app to a browser on this machine (extra: serve); it reads no folders or files there."""
    from whichgpu.tui.serve_command import serve

    return serve(port, offline)


@cli.command("read-log")
@click.argument("source", metavar="FILE|-")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def read_log(source: str, as_json: bool) -> int:
    """Say what a vLLM log holds, of any version from 0.5: memory, stages, and why it failed."""
    from whichgpu.tui.trial_upkeep import show_log

    return show_log(source, as_json)


@cli.group()
def prices() -> None:
    """What card-hours cost: list, refresh, and the team's contracts."""


@prices.command("list")
@click.argument("gpu", required=False)
@click.option("--provider", "providers", multiple=True, help="Only this provider's; may be repeated.")
@click.option("--spot", is_flag=True, help="Only spot prices.")
@_CATALOG
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def prices_list(gpu: str | None, providers: tuple[str, ...], spot: bool, catalog: str | None, as_json: bool) -> int:
    """List the offers that answers use."""
    from whichgpu.tui.price_commands import list_prices

    return list_prices(gpu, providers, spot, catalog, as_json)


@prices.command("refresh")
@click.option("--from", "source", default="gpuhunt", show_default=True, metavar="gpuhunt|FILE", help="Where to read.")
@click.option("--provider", "providers", multiple=True, help="Only this provider; or whose file it is.")
@click.option("--date", metavar="YYYY-MM-DD", help="When a file was read (default: its own date).")
@_CATALOG
def prices_refresh(source: str, providers: tuple[str, ...], date: str | None, catalog: str | None) -> int:
    """Read prices anew: live through gpuhunt, or from a SkyPilot catalog CSV or a CSV of your own."""
    from whichgpu.tui.price_commands import refresh

    return refresh(source, providers, date, catalog)


@prices.command("set")
@click.argument("specs", nargs=-1, required=True, metavar="NAME=USD…")
@click.option("--provider", default="contract", show_default=True, help="Who sells it.")
@_CATALOG
def prices_set(specs: tuple[str, ...], provider: str, catalog: str | None) -> int:
    """Keep contract prices in the catalog; they go before every list."""
    from whichgpu.tui.price_commands import contract

    return contract(specs, provider, catalog, withdrawn=False)


@prices.command("unset")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.option("--provider", default="contract", show_default=True, help="Whose contract.")
@_CATALOG
def prices_unset(names: tuple[str, ...], provider: str, catalog: str | None) -> int:
    """Take contract prices back."""
    from whichgpu.tui.price_commands import contract

    return contract(names, provider, catalog, withdrawn=True)


@cli.group()
def atlas() -> None:
    """The bundled atlas of well-known models."""


@atlas.command("list")
def atlas_list() -> int:
    """List the models in the bundled atlas."""
    from whichgpu.tui.atlas_commands import list_models

    return list_models()


@atlas.command("build")
@click.option("--out", required=True, type=click.Path(dir_okay=False, writable=True), help="Archive to write.")
@click.option("--ids", required=True, type=click.File(), help="Text file with one Hub id per line.")
def atlas_build(out: str, ids: Any) -> int:
    """Inspect every model in a list and write an atlas (see CONTRIBUTING.md)."""
    from whichgpu.tui.atlas_commands import build

    return build(out, [line.strip() for line in ids if line.strip()])


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code; expected failures become one sentence on stderr."""
    try:
        result = cli.main(args=list(arguments), prog_name="whichgpu", standalone_mode=False)
        return int(result) if result is not None else ExitCode.OK
    except click.exceptions.Abort:
        raise KeyboardInterrupt("click has ended the line") from None
    except SystemExit:
        # What click makes of a reader that went away, whatever standalone_mode says.
        raise BrokenPipeError from None
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        hint = "Try whichgpu --help."
        return complain(error.format_message(), hint, ExitCode.USAGE)
    except Exception as error:  # noqa: BLE001 - the outermost frame
        return _report_error(error)


def _report_error(error: Exception) -> int:
    """Say a failure in one sentence; ``WHICHGPU_DEBUG=1`` shows the traceback instead."""
    from whichgpu.inspect.errors import WhichgpuError
    from whichgpu.tui.exit_codes import code_of

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
    from whichgpu.inspect.text import clean
    from whichgpu.tui.terminal import Terminal

    with contextlib.suppress(OSError):
        sys.stdout.flush()
    text = " ".join(part.strip() for part in (message, hint) if part)
    terminal = Terminal.detect()
    click.echo(terminal.text(terminal.folded(f"whichgpu: error: {clean(text, 1000)}")), err=True)
    return code
