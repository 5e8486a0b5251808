"""The process: exit codes, interrupts, broken pipes. Everything else is imported once this is in place."""

from __future__ import annotations

import gc
import os
import sys

from whichgpu.tui.exit_codes import ExitCode


def main() -> None:
    """Entry point of the ``whichgpu`` command."""
    # One short process: collecting cycles costs it a tenth of its time and frees nothing that it needs.
    gc.disable()
    try:
        from whichgpu.tui.command import run

        code = run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        _leave("whichgpu: interrupted\n" if interrupt.args else "\nwhichgpu: interrupted\n")
    except BrokenPipeError:
        # The reader (head, less) went away: nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.OK
    sys.exit(code)


def _leave(message: str) -> None:
    """Say one line and end at once, without waiting for threads that still read from the network."""
    try:
        sys.stderr.write(message)
        sys.stderr.flush()
    finally:
        os._exit(ExitCode.INTERRUPTED)
