"""Let vLLM itself say which layers it has kernels for, card by card, without weights and without a GPU.

    PYTHONPATH=WHEEL VLLM_PYTHON benchmarks/starts_worker.py < requests.jsonl > answers.jsonl

Runs in the environment of ``vllm_worker.py``, with the Python of any release before the installed one (an unpacked CUDA
wheel). Each request names a folder with a config.json. Its model is built on the meta device on one card that takes it;
every layer of a kind not seen before is then made once on each pretended card, with an unquantised and with an FP8 cache:
the constructors run vLLM's own selectors (attention backends, expert kernels, linear kernels) and raise its own reasons.

FlashInfer counts as there from SM90 on, where vLLM itself warns if its kernels are missing; below, as after a bare
installation without a CUDA toolkit, it does not.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import math
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import vllm.distributed.utils
import vllm_worker  # imports what its environment holds, in an order that works
from vllm.config import get_current_vllm_config, set_current_vllm_config
from vllm.distributed import destroy_model_parallel, init_distributed_environment, initialize_model_parallel
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.layers import linear, rotary_embedding
from vllm.model_executor.layers.attention import attention as attention_layers
from vllm.model_executor.layers.attention import mla_attention
from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.usage.usage_lib import UsageContext
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.utils.torch_utils import set_default_torch_dtype
from vllm.v1.worker import workspace
from vllm_worker import DeviceCapability, torch

CARDS = {
    7.5: ("Tesla T4", 14.56),
    8.0: ("NVIDIA A100-SXM4-80GB", 79.25),
    8.6: ("NVIDIA GeForce RTX 3090", 23.56),
    8.9: ("NVIDIA L40S", 44.39),
    9.0: ("NVIDIA H100 80GB HBM3", 79.19),
    10.0: ("NVIDIA B200", 178.35),
    10.3: ("NVIDIA B300", 267.69),
    12.0: ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 94.97),
    12.1: ("NVIDIA GB10", 119.7),
}
"""One card of each compute capability: its name and GiB."""
_BASES = (9.0, 10.0, 12.0, 8.9)
_CACHES = ("auto", "fp8")
_GIB = 2**30
_DEEPEST = 16
"""Layers built of each model: every kind of layer is among its first ones."""
_WIDEST = 256
"""Widths matter by the power of two that they are multiples of, up to this one."""


class Pretended:
    """The card that vLLM is told of."""

    def __init__(self) -> None:
        self.capability = 9.0
        self._named, self._gib, self.count = CARDS[9.0][0], CARDS[9.0][1], 8
        self._caches: list[Any] = []
        self._modules = 0

    def become(self, capability: float, name: str | None = None, gib: float | None = None, count: int = 8) -> None:
        """Be another card from here on: what vLLM remembers of the last one is forgotten."""
        self.capability, self.count = capability, count
        usual_name, usual_gib = CARDS.get(capability, CARDS[9.0])
        self._named, self._gib = name or usual_name, gib or usual_gib
        os.environ["VLLM_HAS_FLASHINFER_CUBIN"] = "1" if capability >= 9.0 else "0"
        for cached in self._remembered():
            cached.cache_clear()

    def _remembered(self) -> list[Any]:
        modules = [m for name, m in list(sys.modules.items()) if name.startswith(("vllm.", "flashinfer."))]
        if len(modules) != self._modules:
            self._modules = len(modules)
            holders = [vars(m) for m in modules]
            holders += [vars(c) for h in holders for c in list(h.values()) if isinstance(c, type)]
            bare = [v.__func__ if type(v) in (classmethod, staticmethod) else v for h in holders for v in h.values()]
            self._caches = [v for v in bare if type(v) is functools._lru_cache_wrapper]
        return self._caches

    def pair(self) -> tuple[int, int]:
        return int(self.capability), round(self.capability * 10) % 10

    def name(self) -> str:
        return self._named

    def memory(self) -> int:
        return int(self._gib * _GIB)

    def properties(self) -> types.SimpleNamespace:
        major, minor = self.pair()
        return types.SimpleNamespace(
            name=self.name(),
            major=major,
            minor=minor,
            total_memory=self.memory(),
            multi_processor_count=132,
            warp_size=32,
            L2_cache_size=50 << 20,
            max_threads_per_multi_processor=2048,
            shared_memory_per_block_optin=99 << 10 if major in (7, 8, 12) else 227 << 10,
        )


CARD = Pretended()


def pretend() -> None:
    """Make the platform answer for ``CARD``, whatever it is at the moment."""
    vllm_worker.pretend_h100()
    platform = type(vllm_worker.vllm.platforms.current_platform)
    platform.get_device_capability = classmethod(lambda cls, *a, **k: DeviceCapability(*CARD.pair()))
    platform.get_device_name = classmethod(lambda cls, *a, **k: CARD.name())
    platform.get_device_total_memory = classmethod(lambda cls, *a, **k: CARD.memory())
    torch.cuda.get_device_capability = lambda *a, **k: CARD.pair()
    torch.cuda.device_count = lambda: CARD.count
    torch.accelerator.empty_cache = lambda: None
    torch.cuda.get_device_properties = lambda *a, **k: CARD.properties()
    vllm.distributed.utils.get_pp_indices = lambda layers, rank, stages: (0, min(layers, _DEEPEST))
    from vllm.vllm_flash_attn import flash_attn_interface

    def is_built_for(version: int, *arguments: Any, **named: Any) -> bool:
        major = CARD.pair()[0]
        return {2: major >= 8, 3: major == 9, 4: major in (9, 10)}[version]

    from vllm.v1.attention.backends import flashinfer

    check = flashinfer.FlashInferBackend.validate_configuration.__func__

    def checked(cls: Any, *arguments: Any, **named: Any) -> list[str]:
        return check(cls, *arguments, **named) if CARD.capability >= 9.0 else ["FlashInfer's kernels are not installed"]

    flashinfer.FlashInferBackend.validate_configuration = classmethod(checked)
    flash_attn_interface.is_fa_version_supported = is_built_for
    flash_attn_interface.fa_version_unsupported_reason = lambda *a, **k: None


class Asking:
    """Makes every new kind of layer once on each card, and keeps what vLLM said."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, str]] = {}
        self._busy = False
        self._watched: set[type] = set()
        self.kinds: set[str] = set()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Make layers without asking about them."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def watch_all(self, layers: Iterable[Any]) -> bool:
        """Ask about every class of layers that keep a cache from here on; true where one was not watched before."""
        owners = {type(layer) for layer in layers if isinstance(layer, AttentionLayerBase)}
        makers = {next(c for c in owner.__mro__ if "__init__" in vars(c)) for owner in owners} - self._watched
        for owner in makers:
            self.watch(owner, _attention_kind)
        return bool(makers)

    def watch(self, owner: type, kind_of: Callable[[Any, dict[str, Any]], dict[str, Any]]) -> None:
        """Ask about what a class makes, whenever it makes one."""
        make = owner.__init__
        self._watched.add(owner)

        @functools.wraps(make)
        def made(layer: Any, *arguments: Any, **named: Any) -> None:
            if self._busy or type(layer).__init__ is not made:
                return make(layer, *arguments, **named)
            self._busy = True
            try:
                make(layer, *arguments, **named)
                self._ask(layer, make, kind_of(layer, named), arguments, named)
            finally:
                self._busy = False

        owner.__init__ = made

    def _ask(self, layer: Any, make: Any, kind: dict[str, Any], arguments: Any, named: Any) -> None:
        label = json.dumps(kind, sort_keys=True)
        self.kinds.add(label)
        if label in self.answers:
            return
        self.answers[label] = {}
        base = CARD.capability
        for capability in CARDS:
            for cache in _CACHES if kind["part"] == "attention" else ("auto",):
                CARD.become(capability)
                with _changed(cache):
                    self.answers[label][f"{capability:g}/{cache}"] = _outcome(type(layer), make, arguments, named)
        CARD.become(base)


@contextlib.contextmanager
def _changed(cache: str) -> Iterator[None]:
    """Give the configuration another cache, and forget the layers that register themselves."""
    config = get_current_vllm_config()
    layers = dict(config.compilation_config.static_forward_context)
    kept = config.cache_config.cache_dtype
    dtype = torch.get_default_dtype()
    config.compilation_config.static_forward_context.clear()
    if cache != "auto":
        config.cache_config.cache_dtype = cache
    if CARD.capability < 8 and dtype is torch.bfloat16:
        torch.set_default_dtype(torch.float16)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        config.cache_config.cache_dtype = kept
        config.compilation_config.static_forward_context.clear()
        config.compilation_config.static_forward_context.update(layers)


def _outcome(owner: type, make: Any, arguments: Any, named: Any) -> str:
    layer = owner.__new__(owner)
    try:
        make(layer, *arguments, **named)
    except Exception as error:
        return "!" + " ".join(f"{error}".split())[:700]
    return _served_by(layer)


def _served_by(layer: Any) -> str:
    """What serves a layer on the card at hand."""
    if isinstance(layer, AttentionLayerBase):
        backend = layer.get_attn_backend()
        if not backend.supports_compute_capability(DeviceCapability(*CARD.pair())):
            return f"!{backend.__name__} does not support compute capability {CARD.capability:g}"
        return backend.__name__
    method = layer.quant_method
    for name in ("experts_cls", "fp8_backend", "nvfp4_backend", "mxfp4_backend", "unquantized_backend", "kernel"):
        if getattr(method, name, None) is not None:
            found = getattr(method, name)
            return getattr(found, "__name__", None) or getattr(found, "value", None) or type(found).__name__
    return type(method).__name__


def _attention_kind(layer: Any, named: dict[str, Any]) -> dict[str, Any]:
    return {
        "part": "attention",
        "class": type(layer).__name__,
        "head": getattr(layer, "head_size", None),
        "sparse": bool(getattr(layer, "use_sparse", False)),
        "sinks": bool(getattr(layer, "has_sink", False)),
        "prefix": bool(getattr(layer, "use_mm_prefix", False)),
        "window": getattr(layer, "sliding_window", None) is not None,
        "alibi": named.get("alibi_slopes") is not None,
        "cap": bool(named.get("logits_soft_cap")),
        "cache": str(getattr(layer, "kv_cache_dtype", "")),
        "head_v": getattr(layer, "head_size_v", None),
    }


def _scheme(layer: Any) -> list[str]:
    method = getattr(layer, "quant_method", None)
    scheme = getattr(layer, "scheme", None) or getattr(method, "scheme", None)
    return [type(method).__name__, *([type(scheme).__name__] if scheme is not None else [])]


def _linear_kind(layer: Any, named: dict[str, Any]) -> dict[str, Any]:
    scheme = _scheme(layer)
    if scheme[0].startswith("Unquantized"):
        return {"part": "weights", "scheme": scheme}
    inner = getattr(layer, "input_size_per_partition", layer.input_size)
    outer = getattr(layer, "output_size_per_partition", layer.output_size)
    return {"part": "weights", "scheme": scheme, "in": math.gcd(inner, _WIDEST), "out": math.gcd(outer, _WIDEST)}


def _experts_kind(layer: Any, named: dict[str, Any]) -> dict[str, Any]:
    config = getattr(layer, "moe_config", None)
    activation = getattr(config, "activation", None)
    return {
        "part": "experts",
        "scheme": _scheme(layer),
        "activation": getattr(activation, "value", str(activation)),
        "bias": bool(getattr(config, "has_bias", False)),
        "width": math.gcd(getattr(config, "intermediate_size_per_partition", 0), _WIDEST),
        "hidden": math.gcd(getattr(config, "hidden_dim", 0), _WIDEST),
    }


ASKING = Asking()


def build(request: dict[str, Any]) -> dict[str, Any]:
    """Build a model on the first card that takes it; what its layers are, or why none did."""
    failures = {}
    folder, tp = request["folder"], request["tp"]
    settings = {"quantization": request["quantization"], "hf_overrides": request["overrides"]}
    for capability in _BASES:
        CARD.become(capability)
        ASKING.kinds = set()
        try:
            config = _config(folder, tp, **settings)
            _make(config, tp)
            if ASKING.watch_all(config.compilation_config.static_forward_context.values()):
                config = _config(folder, tp, **settings)
                _make(config, tp)
        except Exception as error:
            if os.environ.get("WORKER_DEBUG"):
                raise
            failures[f"{capability:g}"] = f"{type(error).__name__}: {error}".replace("\n", " ")[:300]
            continue
        quantised = config.quant_config
        least = {config.model_config.quantization: quantised.get_min_capability()} if quantised is not None else {}
        return {
            "base": capability,
            "dtype": f"{config.model_config.dtype}",
            "kinds": sorted(ASKING.kinds),
            "least": least,
        }
    return {"failures": failures}


def cells(folder: str, tp: int) -> dict[str, str]:
    """Build a whole model on every card, and on old ones in half precision too; what vLLM said."""
    asked = [(c, cache, "auto") for c in CARDS for cache in _CACHES] + [(7.5, cache, "half") for cache in _CACHES]
    return {f"{c:g}/{cache}/{dtype}": _cell(folder, tp, c, cache, dtype) for c, cache, dtype in asked}


def _cell(folder: str, tp: int, capability: float, cache: str, dtype: str) -> str:
    CARD.become(capability)
    try:
        config = _config(folder, tp, cache, dtype)
        with ASKING.paused():
            _make(config, tp)
    except Exception as error:
        return "!" + " ".join(f"{error}".split())[:700]
    layers = config.compilation_config.static_forward_context.values()
    served = {_served_by(layer) for layer in layers if isinstance(layer, AttentionLayerBase)}
    refusals = sorted(word for word in served if word.startswith("!"))
    return refusals[0] if refusals else "+".join(sorted(served)) or "starts"


def _config(folder: str, tp: int, cache: str = "auto", dtype: str = "auto", **settings: Any) -> Any:
    return EngineArgs(
        model=folder,
        kv_cache_dtype=cache,
        dtype=dtype,
        load_format="dummy",
        skip_tokenizer_init=True,
        enforce_eager=True,
        tensor_parallel_size=tp,
        distributed_executor_backend="mp",
        **settings,
    ).create_engine_config()


def _serve_parser() -> Any:
    """The parser of ``vllm serve``, wherever the release keeps it."""
    for place in ("common", "launchers", "openai"):
        with contextlib.suppress(ModuleNotFoundError):
            module = importlib.import_module(f"vllm.entrypoints.{place}.cli_args")
            return module.make_arg_parser(FlexibleArgumentParser())
    raise RuntimeError("this release keeps the parser of vllm serve somewhere else")


def parsed(request: dict[str, Any]) -> dict[str, Any]:
    """Give the arguments of ``vllm serve`` to vLLM's own parser and configuration, on the card that they are for."""
    CARD.become(request["capability"], request["name"], request["gib"], request["count"])
    parser = _serve_parser()
    try:
        arguments = parser.parse_args(request["words"])
        EngineArgs.from_cli_args(arguments).create_engine_config(usage_context=UsageContext.OPENAI_API_SERVER)
    except SystemExit:
        return {"refused": "the parser takes no such arguments"}
    except Exception as error:
        return {"refused": " ".join(f"{error}".split())[:700]}
    return {}


def _make(config: Any, tp: int) -> Any:
    with set_current_vllm_config(config):
        if not torch.distributed.is_initialized():
            init_distributed_environment(1, 0, "tcp://127.0.0.1:0", 0, backend="gloo")
        destroy_model_parallel()
        initialize_model_parallel(1, 1)
        workspace.init_workspace_manager(torch.device("meta"))
        vllm_worker.pretend_groups({"tp": tp, "pp": 1, "dp": 1, "rank": 0})
        rotary_embedding._ROPE_DICT.clear()
        with (
            set_default_torch_dtype(config.model_config.dtype),
            torch.device("meta"),
            vllm_worker._OnMeta(),
        ):
            return initialize_model(vllm_config=config)


def _sort(result: dict[str, Any]) -> str:
    """What two models have in common if whole models need not be built of both."""
    kinds = [json.loads(kind) for kind in result.get("kinds", ())]
    facts = {json.dumps({k: v for k, v in kind.items() if type(v) is not int or k == "head"}) for kind in kinds}
    return json.dumps([sorted(facts), result.get("least"), result.get("dtype")])


def main() -> None:
    """Answer one request per line, and say at the end what each kind of layer got on each card."""
    out, sys.stdout = sys.stdout, sys.stderr
    pretend()
    from vllm.model_executor.layers.fused_moe.routed_experts import RoutedExperts

    ASKING.watch(attention_layers.Attention, _attention_kind)
    ASKING.watch(mla_attention.MLAAttention, _attention_kind)
    ASKING.watch(RoutedExperts, _experts_kind)
    for name in (
        "ReplicatedLinear",
        "ColumnParallelLinear",
        "MergedColumnParallelLinear",
        "QKVParallelLinear",
        "RowParallelLinear",
    ):
        ASKING.watch(getattr(linear, name), _linear_kind)
    said: set[str] = set()
    sorts: set[tuple[str, ...]] = set()
    for line in sys.stdin:
        if "words" in (asked := json.loads(line)):
            print(json.dumps({k: v for k, v in asked.items() if k != "words"} | parsed(asked)), file=out, flush=True)
            continue
        request = {"tp": 1, "quantization": None, "overrides": {}} | asked
        result = build(request)
        sort = _sort(result)
        whole = request["tp"] == 1 and request["quantization"] is None and not request["overrides"]
        if "kinds" in result and whole and sort not in sorts:
            sorts.add(sort)
            result["cells"] = cells(request["folder"], request["tp"])
        print(json.dumps(request | result), file=out, flush=True)
        for label in ASKING.answers.keys() - said:
            said.add(label)
            print(json.dumps({"kind": json.loads(label), "answers": ASKING.answers[label]}), file=out, flush=True)


if __name__ == "__main__":
    main()
