"""This room's branch of the error tree.

WhichgpuError
  PlanError
    UnknownAcceleratorError   no accelerator of that name (exit 2)
    UnknownVersionError       no vLLM version of that name (exit 2)
    TargetError               no deployment of that kind for this plan (exit 2)
    FactsError                the hardware facts, or the user's own, cannot be read (exit 6)
    FleetError                a list of models cannot be read (exit 2)
"""

from __future__ import annotations

from whichgpu.inspect.errors import WhichgpuError


class PlanError(WhichgpuError):
    """The plan could not be made."""


class UnknownAcceleratorError(PlanError):
    """No accelerator of that name is known."""


class CardsError(UnknownAcceleratorError):
    """Cards or their prices are spelled or combined in a way that says nothing (exit 2)."""


class UnknownChipError(PlanError):
    """No custom chip has this name."""


class UnknownVersionError(PlanError):
    """No such version of vLLM is known."""


class TargetError(PlanError):
    """A plan cannot be written for this target."""


class FleetError(PlanError):
    """A list of models is empty or in no known form."""


class FactsError(PlanError):
    """The hardware facts are damaged."""
