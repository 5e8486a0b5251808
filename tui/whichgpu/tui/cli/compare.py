"""``whichgpu compare``: models side by side on one workload."""

from __future__ import annotations

import json
from typing import Any

import click

from whichgpu.inspect.errors import WhichgpuError
from whichgpu.inspect.text import clean
from whichgpu.tui.asking.completing import complete_models
from whichgpu.tui.asking.helping import Topical
from whichgpu.tui.asking.options import engine_options, source_options, workload_options
from whichgpu.tui.asking.question import question_of
from whichgpu.tui.desk.answering import Reply, reply_to
from whichgpu.tui.desk.desk import open_desk
from whichgpu.tui.words.comparison import compared_record, side_by_side
from whichgpu.tui.words.exit_codes import ExitCode, code_of
from whichgpu.tui.words.terminal import Terminal


@click.command(cls=Topical)
@click.argument("models", nargs=-1, required=True, metavar="MODEL MODEL…", shell_complete=complete_models)
@workload_options
@engine_options
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def compare(models: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Set models side by side on one workload; ≠ marks what differs."""
    if len(models) == 1:
        raise click.UsageError(f"Name two models or more to compare; whichgpu {clean(models[0])} answers for one.")
    desk = open_desk(options["catalog"])
    terminal = Terminal.detect()
    replies: list[Reply] = []
    worst = ExitCode.OK
    for name in models:
        try:
            replies.append(reply_to(question_of({**options, "model": name}, desk), terminal.progress))
        except WhichgpuError as error:
            worst = code_of(error)
            click.echo(terminal.text(f"whichgpu: error: {clean(name)}: {error.message} {error.hint}".strip()), err=True)
        finally:
            terminal.clear_progress()
    if as_json:
        click.echo(json.dumps([compared_record(r) for r in replies], indent=2))
    elif replies:
        click.echo(terminal.text(side_by_side(replies)))
    return worst
