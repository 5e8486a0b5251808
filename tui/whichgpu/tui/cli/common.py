"""What several commands share: the desk that they are handed, and options that mean the same everywhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

_Command = Callable[..., Any]

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")


@dataclass(frozen=True, slots=True)
class Shell:
    """What the process offers to commands beside the desk."""

    open_app: Callable[..., int]
    """Opens the terminal app and returns its exit code: ``open_app(desk, offline, model, local, answered)``."""


pass_shell = click.make_pass_decorator(Shell)
"""Hands a command the shell."""


def with_desk(command: _Command) -> _Command:
    """Give a command ``--catalog``, and hand it the desk that follows from it as ``desk``."""

    @click.option("--catalog", metavar="PATH", help="Catalog file (default: as for answers).")
    @functools.wraps(command)
    def at_the_desk(*arguments: Any, catalog: str | None, **options: Any) -> Any:
        from whichgpu.tui.desk.desk import open_desk  # records and SQLite: --help needs neither

        return command(*arguments, desk=open_desk(catalog), **options)

    return at_the_desk
