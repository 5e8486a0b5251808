"""This room's branch of the error tree.

WhichgpuError
  TrialError       a trial cannot start, or failed
    NoGpuError     the machine has no GPU that can be read
      NoReaderError  nor the library that would read it (exit 2)
    NoVllmError    vLLM is not installed (exit 2)
    NothingToTryError  no card holds what was asked
"""

from __future__ import annotations

from whichgpu.inspect.errors import MissingExtraError, WhichgpuError


class TrialError(WhichgpuError):
    """A trial cannot start, or failed."""


class NoGpuError(TrialError):
    """No GPU of this machine can be read."""


class NoReaderError(MissingExtraError, NoGpuError):
    """The library that reads NVIDIA's GPUs is not installed (exit 2)."""


class NoVllmError(MissingExtraError, TrialError):
    """vLLM is not installed (exit 2)."""


class NothingToTryError(TrialError):
    """No card holds what was asked."""
