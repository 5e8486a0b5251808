"""This room's branch of the error tree.

WhichgpuError
  TrialError       a trial cannot start, or failed
    NoGpuError     the machine has no GPU that can be read
"""

from __future__ import annotations

from whichgpu.inspect.errors import WhichgpuError


class TrialError(WhichgpuError):
    """A trial cannot start, or failed."""


class NoGpuError(TrialError):
    """No GPU of this machine can be read."""
