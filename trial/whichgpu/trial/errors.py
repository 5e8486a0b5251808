"""This room's branch of the error tree.

WhichgpuError
  TrialError       a trial cannot start, or failed
    NoGpuError     the machine has no GPU that can be read
    NothingToTryError  no card holds what was asked
"""

from __future__ import annotations

from whichgpu.inspect.errors import WhichgpuError


class TrialError(WhichgpuError):
    """A trial cannot start, or failed."""


class NoGpuError(TrialError):
    """No GPU of this machine can be read."""


class NothingToTryError(TrialError):
    """No card holds what was asked."""
