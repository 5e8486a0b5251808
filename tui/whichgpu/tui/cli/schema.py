"""``whichgpu schema``: the JSON Schema of what a command prints with ``--json``."""

from __future__ import annotations

import json

import click

from whichgpu.tui.words.contract import CONTRACTS, schema_of
from whichgpu.tui.words.exit_codes import ExitCode


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1)
def schema(command: tuple[str, ...]) -> int:
    """Print the JSON Schema of what COMMAND prints with --json; without COMMAND the names that have one.

    \b
    whichgpu schema answer          whichgpu MODEL --json
    whichgpu schema catalog list    whichgpu catalog list --format json
    """
    name = " ".join(command)
    if not name:
        click.echo("\n".join(CONTRACTS))
        return ExitCode.OK
    if name not in CONTRACTS:
        raise click.UsageError(f"“{name}” prints no JSON. There are: {', '.join(CONTRACTS)}.")
    click.echo(json.dumps(schema_of(name), indent=2))
    return ExitCode.OK
