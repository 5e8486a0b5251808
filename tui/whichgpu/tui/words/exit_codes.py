"""Exit codes, as ``--help`` prints them. Numbers never change their meaning."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells a script."""

    OK = 0
    NOTHING_FITS = 1
    USAGE = 2
    NETWORK = 3
    NOT_FOUND = 4
    NO_ACCESS = 5
    UNREADABLE = 6
    SYSTEM = 7
    BUG = 70
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "answered",
    ExitCode.NOTHING_FITS: "answered, and it is a no: nothing fits, pays or matches",
    ExitCode.USAGE: "wrong usage, or an extra that is not installed",
    ExitCode.NETWORK: "network or Hub failure",
    ExitCode.NOT_FOUND: "no such model, revision, file, card, chip or version",
    ExitCode.NO_ACCESS: "gated, private or unauthorised",
    ExitCode.UNREADABLE: "not a model, or unreadable",
    ExitCode.SYSTEM: "the system refused: disk full, output closed",
    ExitCode.BUG: "a defect in whichgpu",
    ExitCode.INTERRUPTED: "interrupted",
}


def code_of(error: Exception) -> ExitCode:
    """Map a failure to its exit code, most specific class first."""
    from whichgpu.catalog.errors import CatalogError, NothingKeptError, QueryError
    from whichgpu.inspect import errors
    from whichgpu.plan.errors import (
        CardsError,
        FleetError,
        TargetError,
        UnknownAcceleratorError,
        UnknownChipError,
        UnknownVersionError,
    )
    from whichgpu.trial.errors import NoGpuError, NothingToTryError, TrialError

    mapping: tuple[tuple[type[Exception], ExitCode], ...] = (
        (errors.UsageError, ExitCode.USAGE),
        (CardsError, ExitCode.USAGE),
        (UnknownAcceleratorError, ExitCode.NOT_FOUND),
        (UnknownChipError, ExitCode.NOT_FOUND),
        (UnknownVersionError, ExitCode.NOT_FOUND),
        (TargetError, ExitCode.USAGE),
        (FleetError, ExitCode.USAGE),
        (NoGpuError, ExitCode.SYSTEM),
        (NothingToTryError, ExitCode.NOTHING_FITS),
        (TrialError, ExitCode.SYSTEM),
        (QueryError, ExitCode.USAGE),
        (NothingKeptError, ExitCode.NOT_FOUND),
        (CatalogError, ExitCode.SYSTEM),
        (errors.NetworkError, ExitCode.NETWORK),
        (errors.NotFoundError, ExitCode.NOT_FOUND),
        (errors.AccessError, ExitCode.NO_ACCESS),
        (errors.UnreadableError, ExitCode.UNREADABLE),
    )
    return next((code for kind, code in mapping if isinstance(error, kind)), ExitCode.UNREADABLE)
