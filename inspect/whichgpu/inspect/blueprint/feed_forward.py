"""Tensors of feed-forward blocks: dense, routed experts, shared experts, router."""

from __future__ import annotations

from whichgpu.inspect.blueprint.table import Row, matrix, vector
from whichgpu.inspect.design import Design, FfnSpec
from whichgpu.inspect.records import Part


def ffn_bias(design: Design) -> bool:
    stated = design.view.flag(*design.family.ffn_bias_keys)
    return design.family.ffn_bias if stated is None else stated


def dense(design: Design, width: int | None, gated: bool, part: Part = Part.DENSE_FFN, name: str = "mlp") -> list[Row]:
    """Two or three matrices between the hidden size and ``width``."""
    h, bias = design.hidden, ffn_bias(design)
    rows = matrix(f"{name}.gate_proj", part, width, h, bias) if gated else []
    return rows + matrix(f"{name}.up_proj", part, width, h, bias) + matrix(f"{name}.down_proj", part, h, width, bias)


def mixture(design: Design, spec: FfnSpec) -> list[Row]:
    """Router, routed experts, shared experts and whatever stands beside them."""
    h, experts, width = design.hidden, spec.experts or 0, spec.intermediate
    inner = spec.latent or h
    rows = matrix("mlp.gate", Part.ROUTER, experts, h)
    rows += vector("mlp.gate.e_score_correction_bias", Part.ROUTER, experts if spec.router_bias else None)
    # beside a dense block (Gemma 4) "mlp" is that block, and what a quantisation leaves alone by that name is it alone
    each = "experts.*" if spec.parallel_dense else "mlp.experts.*"
    for name, out, into in _expert_matrices(spec, inner, width):
        rows += matrix(f"{each}.{name}", Part.ROUTED_EXPERTS, out, into, count=experts)
    if spec.expert_bias and width:
        rows += vector(f"{each}.gate_up_proj_bias", Part.ROUTED_EXPERTS, 2 * width, experts)
        rows += vector(f"{each}.down_proj_bias", Part.ROUTED_EXPERTS, h, experts)
    if spec.latent:
        rows += matrix("mlp.latent_down", Part.ROUTER, spec.latent, h)
        rows += matrix("mlp.latent_up", Part.ROUTER, h, spec.latent)
    if spec.shared_intermediate:
        rows += dense(design, spec.shared_intermediate, spec.gated, Part.SHARED_EXPERTS, "mlp.shared_experts")
    if spec.image_intermediate:
        rows += matrix("mlp.vision_moe.gate", Part.VISION, experts, h)
        for name, out, into in _expert_matrices(spec, h, spec.image_intermediate):
            rows += matrix(f"mlp.vision_moe.experts.*.{name}", Part.VISION, out, into, count=experts)
    if spec.shared_gate:
        rows += matrix("mlp.shared_expert_gate", Part.SHARED_EXPERTS, 1, h)
    if spec.parallel_dense:
        rows += vector("mlp.router.scale", Part.ROUTER, h) + vector("mlp.router.per_expert_scale", Part.ROUTER, experts)
        rows += dense(design, spec.parallel_dense, spec.gated)
    return rows


def _expert_matrices(spec: FfnSpec, inner: int, width: int | None) -> list[tuple[str, int | None, int | None]]:
    both = [("up_proj", width, inner), ("down_proj", inner, width)]
    return [("gate_proj", width, inner), *both] if spec.gated else both


def block(design: Design, spec: FfnSpec) -> list[Row]:
    """The feed-forward rows of one layer."""
    if spec.kind == "moe":
        return mixture(design, spec)
    return dense(design, spec.intermediate, spec.gated) if spec.kind == "dense" else []
