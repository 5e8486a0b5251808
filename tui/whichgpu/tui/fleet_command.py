"""``whichgpu fleet``: a list of served models, each classified and sized, and the machines for all of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from whichgpu.inspect.text import clean
from whichgpu.plan.errors import FleetError
from whichgpu.plan.fleet_list import read_fleet
from whichgpu.tui.exit_codes import ExitCode, code_of
from whichgpu.tui.fleet import plan_fleet
from whichgpu.tui.fleet_report import fleet_record, fleet_report
from whichgpu.tui.one_shot import question_of
from whichgpu.tui.terminal import Terminal


def fleet(source: str, options: Mapping[str, Any], fresh_hours: float, solver: float | None, as_json: bool) -> int:
    """Print what every model needs, the machines that hold all, and the totals; failures go to stderr."""
    terminal = Terminal.detect()
    entries = read_fleet(list_text(source))
    question = replace(question_of({**options, "model": entries[0].model, "variant": None}), max_age=fresh_hours * 3600)
    try:
        planned_fleet = plan_fleet(entries, question, terminal.progress, solver)
    finally:
        terminal.clear_progress()
    click.echo(
        json.dumps(fleet_record(planned_fleet), indent=2)
        if as_json
        else terminal.text(fleet_report(planned_fleet, entries))
    )
    sys.stdout.flush()
    for note in planned_fleet.notes:
        click.echo(terminal.text(terminal.folded(f"whichgpu: note: {note}")), err=True)
    for name, sentence, _ in planned_fleet.failed:
        click.echo(terminal.text(terminal.folded(f"whichgpu: error: {clean(name)}: {sentence}")), err=True)
    if planned_fleet.failed:
        return code_of(planned_fleet.failed[0][2])
    return ExitCode.NOTHING_FITS if planned_fleet.packing.unplaced else ExitCode.OK


def list_text(source: str) -> str:
    """Return the text of a list.

    Raises:
        FleetError: it can't be read.
    """
    if source == "-":
        return sys.stdin.read()
    try:
        return Path(source).expanduser().read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FleetError(f"{clean(source)} is no text file.", "Give ids one a line, CSV or YAML.") from error
    except OSError as error:
        raise FleetError(f"{clean(source)} cannot be read: {clean(error.strerror or error)}.", "") from error
