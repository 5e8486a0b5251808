"""How a checkpoint was quantised, from the places where publishers say so.

Order as in vLLM 0.32: ``quantization_config``, ``compression_config``, the same inside the text config, then
``hf_quant_config.json`` (ModelOpt), then the old ``quantize_config.json`` (AutoGPTQ), then MLX's ``quantization``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.families import family_of
from whichgpu.inspect.kept_modules import KeptModules, mixer_alias, plain_module, read_kept, star_digits
from whichgpu.inspect.precisions import (
    FP8_BLOCK,
    FP8_CHANNEL,
    FP8_TENSOR,
    INT4_G128,
    INT8,
    MXFP4,
    MXFP8,
    NF4,
    NVFP4,
    Scheme,
)
from whichgpu.inspect.records import Part, Quantisation, TensorGroup
from whichgpu.inspect.text import clean
from whichgpu.inspect.weight_formats import WeightFormat

_V4_KEEP = ("compressor.wkv", "compressor.wgate", "indexer.weights_proj")
"""Built without a quantisation in vLLM 0.32's DeepSeek-V4 classes."""

_MAX_PATTERNS = 64
"""Unquantised module patterns kept in the record; real lists repeat per layer and shrink to a few."""


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint's quantisation: the record, the storage scheme and the modules it leaves alone."""

    record: Quantisation
    scheme: Scheme | None
    keep: KeptModules = field(default_factory=KeptModules)
    experts: Scheme | None = None
    """Scheme of routed experts where it differs from the rest."""
    by_module: Mapping[str, Scheme] = field(default_factory=dict)
    """Scheme per module pattern, where a checkpoint names one for each (ModelOpt's mixed precision)."""

    def scheme_for(self, name: str, part: Part) -> Scheme | None:
        """Return the scheme of a linear weight, ``None`` when it stays in high precision whatever the list of kept modules."""
        if self.by_module:
            high_precision = part in (Part.ROUTER, Part.NORM, Part.OTHER) or ".gate." in name
            module = plain_module(name)
            named = self._scheme_by_module(module) or self._scheme_by_module(mixer_alias(module))
            return None if high_precision else named
        if part in (Part.EMBEDDING, Part.HEAD, Part.ROUTER, Part.NORM, Part.OTHER):
            return None
        if _is_routed(name, part) and self.experts is not None:
            return self.experts
        if self.scheme is None or (self.scheme.experts_only and part is not Part.ROUTED_EXPERTS):
            return None
        if part in (Part.VISION, Part.AUDIO, Part.PROJECTOR) and not self._covers_towers():
            return None
        return self.scheme

    def tensors_kept(self, name: str, part: Part, count: int, each: int = 1) -> int:
        """Return how many of a linear weight's ``count`` tensors, ``each`` in a layer, stay in high precision."""
        if self.by_module or (self.experts is not None and _is_routed(name, part)):
            return 0
        return self.keep.tensors(name, part, count, each)

    def record_of(self, groups: Iterable[TensorGroup]) -> Quantisation:
        """Return the record with its formats: those that most of its quantised weights have."""
        if self.scheme is None and not self.by_module:
            return self.record
        counts: dict[bool, Counter[WeightFormat]] = {False: Counter(), True: Counter()}
        for group in groups:
            scheme = self.scheme_for(group.name, group.part) if group.quantised else None
            if scheme is not None:
                counts[_is_routed(group.name, group.part)][scheme.format] += group.parameters
        dense, experts = (next((f for f, _ in counts[routed].most_common(1)), None) for routed in (False, True))
        if dense is experts is None and self.scheme is not None:  # no tensors to go by: what the config says
            dense = None if self.scheme.experts_only else self.scheme.format
            experts = (self.experts or self.scheme).format
        return self.record.model_copy(update={"format": dense, "experts_format": experts})

    def _scheme_by_module(self, module: str) -> Scheme | None:
        """The scheme of exactly this module or of one that holds it, else of a sibling (projections are fused and split)."""
        parent = module.rpartition(".")[0]
        holders = (module, parent, parent.rpartition(".")[0])
        exact = next((s for h in holders if (s := self.by_module.get(h)) is not None), None)
        name = module.rpartition(".")[2]
        siblings = (
            s
            for p, s in self.by_module.items()
            if parent
            and p.rpartition(".")[0] == parent
            and (parent.endswith(".experts.*") or _is_fused_pair(p.rpartition(".")[2], name))
        )
        return exact or next(siblings, None)

    def _covers_towers(self) -> bool:
        return self.record.method in ("bitsandbytes", "gguf")


def _is_routed(name: str, part: Part) -> bool:
    return part is Part.ROUTED_EXPERTS or (part is Part.MTP and ".experts." in name)


def _is_fused_pair(listed: str, module: str) -> bool:
    """True for projections that one side writes fused: ``in_proj_qkv`` beside ``in_proj_qkvz``."""
    return module.startswith(listed) or listed.startswith(module)


def read_quantisation(
    root: ConfigView, text: ConfigView | None, extra: Mapping[str, Mapping[str, Any]], layers: int | None
) -> Published | None:
    """Return what the config and its companions say, or ``None`` for an unquantised checkpoint.

    ``extra`` holds ``hf_quant_config.json`` and ``quantize_config.json`` where the repository has them.
    """
    for view in filter(None, (root, text)):
        for key in ("quantization_config", "compression_config"):
            inner = view.sub(key)
            if inner is not None:
                return _with_experts(_from_config(inner, f"{view.where}: {key}", layers), root, text)
    if "hf_quant_config.json" in extra:
        return _modelopt(extra["hf_quant_config.json"], "hf_quant_config.json", layers)
    if "quantize_config.json" in extra:
        view = ConfigView(extra["quantize_config.json"], "quantize_config.json")
        if as_integer(view.value("bits")):  # without bits it is about an ONNX export beside the weights
            return _grouped_integers(view, "gptq", "quantize_config.json", layers)
    mlx = root.sub("quantization")
    if mlx is not None and as_integer(mlx.value("bits")):
        return _grouped_integers(mlx, "mlx", "config.json: quantization", layers)
    return None


def _integers(bits: int) -> WeightFormat:
    return WeightFormat.INT4 if bits <= 4 else WeightFormat.INT8_PACKED


def _with_experts(published: Published | None, root: ConfigView, text: ConfigView | None) -> Published | None:
    """DeepSeek-V4 publishes FP8 with FP4 experts (``expert_dtype``); its compressors and index weights stay BF16."""
    dtype = root.string("expert_dtype") or (text.string("expert_dtype") if text else None)
    dtype = dtype or family_of(root.string("model_type")).defaults.get("expert_dtype")
    if published is None or dtype != "fp4" or published.record.method != "fp8":
        return published
    experts = NVFP4 if _named_group(root) == 16 else MXFP4
    label = f"{published.record.label} + {experts.name} experts"
    record = published.record.model_copy(update={"label": label})
    return replace(published, experts=experts, keep=published.keep.and_also(*_V4_KEEP), record=record)


def _named_group(root: ConfigView) -> int | None:
    """Group size of the first entry of config_groups, where FP8 checkpoints describe their experts."""
    named = root.sub("quantization_config")
    groups = named.sub("config_groups") if named is not None else None
    first = next((g for name in groups.raw if groups and (g := groups.sub(name))), None) if groups else None
    weights = first.sub("weights") if first is not None else None
    return as_integer(weights.value("group_size")) if weights is not None else None


def _from_config(view: ConfigView, source: str, layers: int | None) -> Published | None:
    method = (view.string("quant_method", "quant_algo") or "").lower()
    if method in ("fp8", "fbgemm_fp8"):
        return _fp8(view, method, source, layers)
    if method in ("gptq", "awq", "auto-round", "intel/auto-round", "inc", "awq_marlin", "gptq_marlin"):
        return _grouped_integers(view, method.removeprefix("intel/"), source, layers)
    if method in ("mxfp4", "gpt_oss_mxfp4"):
        keep = read_kept(view.value("modules_to_not_convert"), layers)
        scheme = replace(MXFP4, experts_only=True)
        return Published(_record("mxfp4", "mxfp4 experts", 4, source, keep, group=32), scheme, keep)
    if method == "bitsandbytes":
        return _bitsandbytes(view, source, layers)
    if method.startswith("modelopt") or view.value("quant_algo", "quantization") is not None:
        return _modelopt(view.raw, source, layers)
    if method == "compressed-tensors" or view.sub("config_groups") is not None:
        return _compressed_tensors(view, source, layers)
    bits = as_integer(view.value("bits", "w_bit", "weights_bits"))
    label = f"{clean(method or 'unknown', 40)}" + (f" {bits}-bit" if bits else "")
    return Published(_record(clean(method or "unknown", 40), label, bits, source, ()), None)


def _record(
    method: str,
    label: str,
    bits: float | None,
    source: str,
    keep: Iterable[str],
    group: int | None = None,
    block: tuple[int, ...] | None = None,
    kv_cache: str | None = None,
    symmetric: bool | None = None,
) -> Quantisation:
    patterns = tuple(keep)
    return Quantisation(
        method=method,
        label=label,
        format=None,  # of the tensors that have it, in record_of
        experts_format=None,
        bits=bits,
        group=group,
        block=block,
        symmetric=symmetric,
        kv_cache=kv_cache,
        unquantised=patterns[:_MAX_PATTERNS],
        source=source,
    )


def _fp8(view: ConfigView, method: str, source: str, layers: int | None) -> Published:
    block = view.numbers("weight_block_size")
    keep = read_kept(view.value("modules_to_not_convert", "ignored_layers"), layers)
    if method == "fbgemm_fp8" and "self_attn" in str(view.value("modules_to_not_convert")):
        keep = keep.and_also("self_attn")  # Llama 3's recipe (paper, 6.2) leaves attention out everywhere
    if block and len(block) == 2 and all(block):
        shape = (block[0], block[1])
        record = _record(method, f"fp8 {shape[0]}x{shape[1]}", 8, source, keep, block=shape)
        return Published(record, replace(FP8_BLOCK, block=shape), keep)
    return Published(_record(method, "fp8", 8, source, keep), FP8_TENSOR, keep)


def _grouped_integers(view: ConfigView, method: str, source: str, layers: int | None) -> Published:
    """GPTQ, AWQ, AutoRound and MLX: integers with a scale per group of inputs."""
    bits = as_integer(view.value("bits", "w_bit")) or 4
    group = as_integer(view.value("group_size", "q_group_size"))
    symmetric = bool(view.flag("sym")) or method == "auto-round"
    keep = read_kept(view.value("modules_to_not_convert"), layers)
    label = f"{method} int{bits}" + (f" g{group}" if group else "")
    zero = 16 if method == "mlx" else 0 if symmetric and method != "gptq" else bits
    scheme = replace(INT4_G128, name=f"int{bits}", format=_integers(bits), bits=bits, group=group, zero_bits=zero)
    record = _record(method, label, bits, source, keep, group=group, symmetric=view.flag("sym"))
    return Published(record, scheme, keep)


def _bitsandbytes(view: ConfigView, source: str, layers: int | None) -> Published:
    keep = read_kept(view.value("llm_int8_skip_modules"), layers)
    if view.flag("load_in_8bit", "_load_in_8bit"):
        return Published(_record("bitsandbytes", "bitsandbytes int8", 8, source, keep), INT8, keep)
    kind = view.string("bnb_4bit_quant_type") or "4-bit"
    return Published(_record("bitsandbytes", f"bitsandbytes {kind}", 4, source, keep, group=64), NF4, keep)


def _compressed_tensors(view: ConfigView, source: str, layers: int | None) -> Published:
    groups = view.sub("config_groups")
    first = next((g for name in groups or {} if groups and (g := groups.sub(name))), None)
    weights = first.sub("weights") if first else None
    keep = read_kept(view.value("ignore"), layers)
    if weights is None:
        return Published(_record("compressed-tensors", "compressed-tensors", None, source, keep), None, keep)
    bits = as_integer(weights.value("num_bits")) or 8
    group, kind = as_integer(weights.value("group_size")), weights.string("type") or "int"
    fmt = (first.string("format") if first else None) or view.string("format") or ""
    label, scheme = _compressed_scheme(fmt, kind, bits, group, weights)
    kv = view.sub("kv_cache_scheme")
    record = _record(
        "compressed-tensors", label, bits, source, keep, group=group, block=scheme.block, kv_cache="fp8" if kv else None
    )
    return Published(record, scheme, keep)


def _compressed_scheme(fmt: str, kind: str, bits: int, group: int | None, weights: ConfigView) -> tuple[str, Scheme]:
    if "nvfp4" in fmt:
        return "nvfp4", NVFP4
    if "mxfp4" in fmt:
        return "mxfp4", MXFP4
    block = weights.numbers("block_structure")
    if kind == "float" and bits == 8:
        if block and len(block) == 2 and all(block):
            return f"fp8 {block[0]}x{block[1]}", replace(FP8_BLOCK, block=(block[0], block[1]))
        if group == 32:
            return "mxfp8", MXFP8
        return "fp8", FP8_CHANNEL if weights.string("strategy") == "channel" else FP8_TENSOR
    if bits == 8:
        return "int8", replace(INT8, format=WeightFormat.INT8_PACKED) if "pack" in fmt else INT8
    label = f"int{bits}" + (f" g{group}" if group else "")
    zero = 0 if weights.flag("symmetric") is not False else bits
    return label, replace(INT4_G128, name=f"int{bits}", format=_integers(bits), bits=bits, group=group, zero_bits=zero)


def _modelopt(raw: Mapping[str, Any], source: str, layers: int | None) -> Published | None:
    view = ConfigView(raw, source)
    inner = view.sub("quantization") or view
    algorithm = (inner.string("quant_algo") or "").upper()
    if not algorithm:
        return None
    keep = read_kept(inner.value("exclude_modules", "ignore"), layers)
    kv = (inner.string("kv_cache_quant_algo") or "").lower() or ("fp8" if inner.sub("kv_cache_scheme") else None)
    label, scheme = algorithm.lower(), _modelopt_scheme(algorithm)
    by_module: dict[str, Scheme] = {}
    if algorithm == "MIXED_PRECISION":
        label, by_module = _mixed_schemes(inner.value("quantized_layers"))
    record = _record(
        "modelopt",
        f"modelopt {label}",
        scheme.bits if scheme else None,
        source,
        keep,
        group=as_integer(inner.value("group_size")),
        kv_cache=kv,
    )
    return Published(record, scheme, keep, by_module=by_module)


def _mixed_schemes(listed: object) -> tuple[str, dict[str, Scheme]]:
    """ModelOpt's mixed precision names a format per module; digits become ``*`` and equal entries one."""
    by_module: dict[str, Scheme] = {}
    for name, entry in listed.items() if isinstance(listed, dict) else ():
        algorithm = entry.get("quant_algo") if isinstance(entry, dict) else None
        scheme = _modelopt_scheme(algorithm) if isinstance(algorithm, str) else None
        if scheme is not None and isinstance(name, str):
            by_module[plain_module(star_digits(clean(name)))] = scheme
    names = dict.fromkeys(s.name for s in by_module.values())
    return " + ".join(names) or "mixed precision", by_module


def _modelopt_scheme(algorithm: str) -> Scheme | None:
    for mark, scheme in (("NVFP4", NVFP4), ("MXFP4", MXFP4), ("MXFP8", MXFP8), ("FP8", FP8_TENSOR), ("W4A", INT4_G128)):
        if mark in algorithm.upper():
            return scheme
    return None
