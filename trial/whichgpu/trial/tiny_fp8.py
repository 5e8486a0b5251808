"""How a checkpoint in FP8 says that it is, as an order for whoever writes a tiny one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def fp8_order(quantisation: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how matrices become FP8 and what their scales are; ``None`` for every other quantisation.

    Known are DeepSeek's blocks and single scales (``fp8``), compressed-tensors with one group, and ModelOpt's FP8. The order
    has ``block`` (rows and columns, or null), ``per_channel``, ``static`` (a scale for the inputs too), ``powers`` (scales are
    powers of two) and ``kept`` (modules that stay as they are: names, with ``*``, or ``re:`` and a pattern).
    """
    method = quantisation.get("quant_method")
    if method == "fp8":
        return _from_fp8(quantisation)
    if method == "compressed-tensors":
        return _from_compressed(quantisation)
    if method == "modelopt":
        return _from_modelopt(quantisation)
    return None


def _order(kept: object, **changes: Any) -> dict[str, Any]:
    names = [name for name in kept if isinstance(name, str)] if isinstance(kept, list) else []
    return {"block": None, "per_channel": False, "static": False, "powers": False, "kept": names} | changes


def _from_fp8(quantisation: Mapping[str, Any]) -> dict[str, Any] | None:
    block = quantisation.get("weight_block_size")
    if block is not None and not (isinstance(block, list) and len(block) == 2 and all(_is_size(n) for n in block)):
        return None
    return _order(
        quantisation.get("modules_to_not_convert") or quantisation.get("ignored_layers"),
        block=block,
        static=quantisation.get("activation_scheme") == "static",
        powers=quantisation.get("scale_fmt") == "ue8m0",
    )


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 4096


def _from_compressed(quantisation: Mapping[str, Any]) -> dict[str, Any] | None:
    groups = quantisation.get("config_groups")
    group = next(iter(groups.values())) if isinstance(groups, dict) and len(groups) == 1 else None
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(group, dict) or not isinstance(weights, dict):
        return None
    inputs = group.get("input_activations")
    is_fp8 = (weights.get("type"), weights.get("num_bits")) == ("float", 8) and group.get("targets") == ["Linear"]
    if not is_fp8 or weights.get("strategy") not in ("tensor", "channel") or not isinstance(inputs, dict):
        return None
    per_channel = weights["strategy"] == "channel"
    return _order(quantisation.get("ignore"), per_channel=per_channel, static=inputs.get("dynamic") is False)


def _from_modelopt(quantisation: Mapping[str, Any]) -> dict[str, Any] | None:
    inner = quantisation.get("quantization")
    stated = inner if isinstance(inner, dict) else quantisation
    if stated.get("quant_algo") != "FP8":
        return None
    return _order(stated.get("exclude_modules") or stated.get("ignore"), static=True)
