"""The process: exit codes, interrupts, broken pipes, and the one place that knows both faces. All else is imported later."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

from whichgpu.tui.words.exit_codes import ExitCode


def main() -> None:
    """Entry point of the ``whichgpu`` command."""
    # One short process: collecting cycles costs it a tenth of its time and frees nothing that it needs; looking through every
    # installed package for plugins of pydantic, which could change what our records accept, costs it a thirtieth.
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    _replace_closed_streams()
    try:
        from whichgpu.tui.cli.tree import run

        code = run(sys.argv[1:], _open_app)
    except KeyboardInterrupt as interrupt:
        _leave("whichgpu: interrupted\n" if interrupt.args else "\nwhichgpu: interrupted\n")
    except BrokenPipeError:
        # The reader (head, less) went away: nothing to say, and nobody to say it to.
        code = ExitCode.OK
    _end(_flush_output(code))


def _open_app(*arguments: Any, **options: Any) -> int:
    """Open the app; Textual is imported when it is."""
    from whichgpu.tui.app.application import run as run_app

    return run_app(*arguments, **options)


def _replace_closed_streams() -> None:
    """Give a closed stdout or stderr a place to go, before a catalog file takes its descriptor."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open until the end


def _flush_output(code: int) -> int:
    """Flush stdout; where that fails, drop what is left, so that the interpreter does not try again at its end."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code if isinstance(error, BrokenPipeError) else ExitCode.SYSTEM
    return code


def _end(code: int) -> NoReturn:
    """End the process: all is written and closed, and taking an interpreter apart costs a short answer a tenth of its time."""
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


def _leave(message: str) -> None:
    """Say one line and end at once, without waiting for threads that still read from the network."""
    try:
        sys.stderr.write(message)
        sys.stderr.flush()
    finally:
        os._exit(ExitCode.INTERRUPTED)
