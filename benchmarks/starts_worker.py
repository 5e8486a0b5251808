"""Let vLLM itself say which layers it has kernels for, card by card, without weights and without a GPU.

    PYTHONPATH=WHEEL VLLM_PYTHON benchmarks/starts_worker.py < requests.jsonl > answers.jsonl

Runs in the environment of ``vllm_worker.py``, with the Python of any release before the installed one (an unpacked CUDA
wheel). Each request names a folder with a config.json (``whole``: build all of it on every card, however much it is like another). Its model is built on the meta device on one card that takes it;
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
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import vllm_worker  # imports what its environment holds, in an order that works
from pretended_card import CARD, CARDS, pretend
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
from vllm_worker import DeviceCapability, in_one_line, torch

_BASES = (9.0, 10.0, 12.0, 8.9)
_CACHES = ("auto", "fp8")
_WIDEST = 256
"""Widths matter by the power of two that they are multiples of, up to this one."""


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
    cache_dtype = config.cache_config.cache_dtype
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
        config.cache_config.cache_dtype = cache_dtype
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
            server = getattr(method, name)
            return getattr(server, "__name__", None) or getattr(server, "value", None) or type(server).__name__
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
            failures[f"{capability:g}"] = f"{type(error).__name__}: {in_one_line(error, folder, 300)}"
            continue
        quantisation = config.quant_config
        least = (
            {config.model_config.quantization: quantisation.get_min_capability()} if quantisation is not None else {}
        )
        return {
            "base": capability,
            "class": next(iter(config.model_config.architectures or ()), None),
            "dtype": f"{config.model_config.dtype}",
            "kinds": sorted(ASKING.kinds),
            "least": least,
        }
    return {"failures": failures}


def cells(request: dict[str, Any]) -> dict[str, str]:
    """Build a whole model on every card, and on old ones in half precision too; what vLLM said."""
    places = [(c, cache, "auto") for c in CARDS for cache in _CACHES] + [(7.5, cache, "half") for cache in _CACHES]
    return {f"{c:g}/{cache}/{dtype}": _cell(request, c, cache, dtype) for c, cache, dtype in places}


def _cell(request: dict[str, Any], capability: float, cache: str, dtype: str) -> str:
    CARD.become(capability)
    try:
        config = _config(request["folder"], request["tp"], cache, dtype, hf_overrides=request["overrides"])
        with ASKING.paused():
            _make(config, request["tp"])
    except Exception as error:
        return "!" + in_one_line(error, request["folder"])
    layers = config.compilation_config.static_forward_context.values()
    backends = {_served_by(layer) for layer in layers if isinstance(layer, AttentionLayerBase)}
    refusals = sorted(word for word in backends if word.startswith("!"))
    return refusals[0] if refusals else "+".join(sorted(backends)) or "starts"


def _config(folder: str, tp: int, cache: str = "auto", dtype: str = "auto", **settings: Any) -> Any:
    return EngineArgs(
        model=folder,
        kv_cache_dtype=cache,
        dtype=dtype,
        load_format="dummy",
        skip_tokenizer_init=True,
        enforce_eager=True,
        allow_deprecated_quantization=True,
        tensor_parallel_size=tp,
        distributed_executor_backend="mp",
        **settings,
    ).create_engine_config()


@functools.cache
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
        return {"refused": in_one_line(error, request["words"][1])}
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
    printed_labels: set[str] = set()
    sorts: set[tuple[str, ...]] = set()
    for line in sys.stdin:
        if "words" in (order := json.loads(line)):
            print(json.dumps({k: v for k, v in order.items() if k != "words"} | parsed(order)), file=out, flush=True)
            continue
        request = {"tp": 1, "quantization": None, "overrides": {}} | order
        result = build(request)
        sort = _sort(result)
        plain = request["tp"] == 1 and request["quantization"] is None and not request["overrides"]
        if "kinds" in result and (request.get("whole") or (plain and sort not in sorts)):
            sorts.add(sort)
            result["cells"] = cells(request)
        print(json.dumps(request | result), file=out, flush=True)
        for label in ASKING.answers.keys() - printed_labels:
            printed_labels.add(label)
            print(json.dumps({"kind": json.loads(label), "answers": ASKING.answers[label]}), file=out, flush=True)


if __name__ == "__main__":
    main()
