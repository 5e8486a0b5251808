"""What the weights are stored as once a precision is chosen."""

from __future__ import annotations

from whichgpu.inspect.records import Inspection
from whichgpu.inspect.weight_formats import WeightFormat
from whichgpu.plan.choices import Precision

CONVERTED: dict[Precision, WeightFormat] = {
    Precision.FP8: WeightFormat.FP8,
    Precision.INT8: WeightFormat.INT8,
    Precision.INT4: WeightFormat.INT4,
    Precision.NVFP4: WeightFormat.NVFP4,
    Precision.MXFP4: WeightFormat.MXFP4,
}
"""The format that a precision converts to; BF16 and what is published are no conversion."""


def dense_format(inspection: Inspection, precision: Precision) -> WeightFormat | None:
    """Return the format of linear weights that are no routed experts; ``None`` for high precision or unknown."""
    quantisation = inspection.quantisation
    if precision is Precision.PUBLISHED:
        return quantisation.format if quantisation is not None else None
    return CONVERTED.get(precision)


def experts_format(inspection: Inspection, precision: Precision) -> WeightFormat | None:
    """Return the format of routed experts; ``None`` for high precision or unknown."""
    quantisation = inspection.quantisation
    if precision is Precision.PUBLISHED:
        return quantisation.experts_format if quantisation is not None else None
    return CONVERTED.get(precision)
