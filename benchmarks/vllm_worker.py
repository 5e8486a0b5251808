"""Let vLLM itself say what it would load and cache, without weights and without a GPU.

    VLLM_PYTHON benchmarks/vllm_worker.py < requests.jsonl > answers.jsonl

Runs in an environment that has vLLM's CPU build (see CONTRIBUTING.md) and knows nothing of whichgpu. Each request names
a folder with a config.json and a layout; vLLM's real model class is built on torch's meta device as one rank of that
layout on a pretended H100, its parameters and buffers are listed, and vLLM's own functions make the KV cache groups.
Post-load steps (repacking, absorbed MLA copies) do not run. vLLM's internals are used: the version is pinned.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import sys
import types
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}

import torch
from torch.overrides import TorchFunctionMode
import vllm.platforms
from vllm import triton_utils
from vllm.config import get_layers_from_vllm_config, set_current_vllm_config
from vllm.distributed import (
    destroy_model_parallel,
    init_distributed_environment,
    initialize_model_parallel,
    parallel_state,
)
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.layers import rotary_embedding
from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.model_executor.models import registry
from vllm.platforms.interface import DeviceCapability
from vllm.utils.math_utils import cdiv
from vllm.utils.torch_utils import set_default_torch_dtype
from vllm.v1.attention.backends import fa_utils
from vllm.v1.core import kv_cache_utils

try:
    from vllm.v1.core import kv_cache_planning as kv_cache_plans
except ImportError:  # before 0.33
    kv_cache_plans = kv_cache_utils

_ABSENT = ("vllm._C_stable_libtorch", "vllm._C", "vllm._moe_C", "vllm._moe_C_stable_libtorch", "vllm.vllm_flash_attn")
"""Compiled CUDA code: only its presence is asked for while a model is built."""

_LEFT_OUT = ("torchvision", "deep_gemm")
"""Not installed with the CPU build; imported or asked for, and not needed to build a class."""

_MEMORY = 80 * 2**30


class _Part:
    """Stands for any class, function or value of a module that is absent: calls and parts of it are it again."""

    def __init__(self, *arguments: Any, **named: Any) -> None: ...

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


class _Kernel(_Part):
    """Stands for a compiled kernel: nobody runs it, and asked whether it supports something, it says yes."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return True


class _Anything(types.ModuleType):
    """A module that has every part."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Part()


class _OnMeta(TorchFunctionMode):
    """Tensors that ask for a card are made on the meta device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("device") is not None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


class _AbsentFinder:
    """Finds an empty module for everything below a name."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.split(".")[0] in _LEFT_OUT or name in _ABSENT or name.startswith("vllm.vllm_flash_attn."):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        return _Anything(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


class _TritonConfig:
    """What tuning tables are made of, where Triton itself is absent."""

    def __init__(self, kwargs: dict[str, Any], num_warps: int = 4, num_stages: int = 2, **rest: Any) -> None:
        self.kwargs, self.num_warps, self.num_stages = kwargs, num_warps, num_stages


def pretend_h100() -> None:
    """Turn the platform object that every module of vLLM has already taken into one of an H100."""
    sys.meta_path.insert(0, _AbsentFinder())
    fa_utils.__getattr__ = lambda name: _Part()
    triton_utils.triton.Config = _TritonConfig
    registry._run_in_subprocess = lambda task: task()
    registry._LazyRegisteredModel._load_modelinfo_from_cache = lambda *a: None
    registry._LazyRegisteredModel._save_modelinfo_to_cache = lambda *a: None
    from vllm.platforms.cuda import CudaPlatformBase

    answers = {
        "get_device_capability": DeviceCapability(9, 0),
        "get_device_name": "NVIDIA H100 80GB HBM3",
        "get_device_uuid": "GPU-0",
        "get_device_total_memory": _MEMORY,
        "is_fully_connected": True,
        "log_warnings": None,
        "num_compute_units": 132,
    }
    methods = {name: classmethod(lambda cls, *a, _v=value, **k: _v) for name, value in answers.items()}
    vllm.platforms.current_platform.__class__ = type("PretendedH100", (CudaPlatformBase,), methods)
    torch.cuda.device_count = lambda: 8
    torch.cuda.is_available = lambda: True
    torch.cuda.get_device_capability = lambda *a: (9, 0)
    torch.cuda.current_device = lambda: 0
    torch.cuda.Stream = torch.cuda.Event = torch.Event = torch.Stream = _Part
    torch.cuda.current_stream = torch.accelerator.current_stream = lambda *a, **k: _Part()
    torch.accelerator.current_device_index = lambda *a: 0
    _answer_missing_kernels()


def _answer_missing_kernels() -> None:
    """Kernels that the CPU build lacks are there and never run; asked whether they support something, they say yes."""
    namespace = type(torch.ops._C)
    original = namespace.__getattr__

    def answer(self: Any, name: str) -> Any:
        try:
            return original(self, name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return _Kernel()

    namespace.__getattr__ = answer


def pretend_groups(request: dict[str, Any]) -> None:
    """Give the process groups of one process the sizes and the rank of the layout."""
    tp, pp, stage = request["tp"], request["pp"], request["rank"]
    dp = request["dp"]
    sizes = {"_TP": (tp, 0), "_PP": (pp, stage), "_DP": (dp, 0), "_EP": (tp * dp, 0), "_ETP": (tp, 0)}
    for name, (size, rank) in sizes.items():
        group = getattr(parallel_state, name, None)
        if group is not None:
            group.world_size, group.rank_in_group, group.rank = size, rank, rank
            group.ranks = list(range(size))


def config_of(request: dict[str, Any]) -> Any:
    """Return vLLM's whole configuration for a request."""
    return EngineArgs(
        model=request["folder"],
        load_format="dummy",
        skip_tokenizer_init=True,
        enforce_eager=True,
        tensor_parallel_size=request["tp"],
        pipeline_parallel_size=request["pp"],
        enable_expert_parallel=request["ep"],
        distributed_executor_backend="mp",
        kv_cache_dtype=request["kv_dtype"],
        max_model_len=request["max_model_len"],
        max_num_batched_tokens=request["max_num_batched_tokens"],
        max_num_seqs=request["max_num_seqs"],
        hf_overrides=request["overrides"],
    ).create_engine_config()


def tensors_of(model: Any) -> tuple[list[dict[str, Any]], int]:
    """Return parameters and buffers, each storage once however many names or views it has, and their bytes."""
    tensors, storages, total = [], set(), 0
    for kind, named in (("parameter", model.named_parameters()), ("buffer", model.named_buffers())):
        for name, tensor in named:
            storage = tensor.untyped_storage()._cdata
            if storage in storages:
                continue
            storages.add(storage)
            size = tensor.numel() * tensor.element_size()
            total += size
            tensors.append({"name": name, "kind": kind, "shape": list(tensor.shape), "bytes": size})
    return tensors, total


def cache_of(config: Any, pool: int) -> dict[str, Any]:
    """Let vLLM make groups and count blocks for a pool of so many bytes."""
    vllm.platforms.current_platform.update_block_size_for_backend(config)
    if getattr(config.cache_config, "kv_cache_layout", "") is None:
        config.cache_config.kv_cache_layout = "LBHNC"
    layers = get_layers_from_vllm_config(config, AttentionLayerBase)
    cache_layers = {n: layer for n, layer in layers.items() if not getattr(layer, "kv_sharing_target_layer_name", None)}
    specs = {
        name: spec for name, layer in cache_layers.items() if (spec := layer.get_kv_cache_spec(config)) is not None
    }
    if not specs:
        return {"groups": [], "bytes_per_block": 0, "tokens": 0, "concurrency": 0.0}
    if len({s.page_size_bytes for s in specs.values()}) > 1 and any(
        hasattr(s, "model_version") for s in specs.values()
    ):
        config.cache_config.kv_cache_layout = "BLHNC"
    grouped: tuple[Any, ...] = ()
    if hasattr(kv_cache_plans, "get_global_kv_cache_groups"):  # from 0.33 on
        grouped = (kv_cache_plans.get_global_kv_cache_groups(config, [dict(specs)]),)
    cache_configs = kv_cache_plans.get_kv_cache_configs(config, [dict(specs)], [pool], *grouped)
    tokens, concurrency = kv_cache_utils.get_kv_cache_capacity(
        config, kv_cache_utils.generate_scheduler_kv_cache_config(cache_configs)
    )
    groups = [
        {
            "type": type(g.kv_cache_spec).__name__,
            "layers": len(g.layer_names),
            "block_size": g.kv_cache_spec.block_size,
            "blocks_per_request": cdiv(g.kv_cache_spec.max_memory_usage_bytes(config), g.kv_cache_spec.page_size_bytes),
        }
        for g in cache_configs[0].kv_cache_groups
    ]
    per_block = kv_cache_plans._pool_bytes_per_block(config, cache_configs[0].kv_cache_groups)
    return {"groups": groups, "bytes_per_block": per_block, "tokens": tokens, "concurrency": concurrency}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Build one model as one rank and describe it."""
    config = config_of(request)
    with set_current_vllm_config(config):
        if not torch.distributed.is_initialized():
            init_distributed_environment(1, 0, "tcp://127.0.0.1:0", 0, backend="gloo")
        destroy_model_parallel()
        initialize_model_parallel(1, 1)
        pretend_groups(request)
        rotary_embedding._ROPE_DICT.clear()
        dtype = config.model_config.dtype
        with set_default_torch_dtype(dtype), torch.device("meta"), _OnMeta():
            model = initialize_model(vllm_config=config)
        tensors, total = tensors_of(model)
        cache: dict[str, Any]
        try:
            cache = cache_of(config, request["pool"])
        except Exception as error:
            cache = {"cache_error": f"{type(error).__name__}: {in_one_line(error, request['folder'], 300)}"}
    return {
        "ok": True,
        "model_class": type(model).__name__,
        "dtype": str(dtype),
        "tensors": tensors,
        "weights_bytes": total,
        "max_model_len": config.model_config.max_model_len,
        "block_size": config.cache_config.block_size,
        **cache,
    }


def in_one_line(error: Exception, folder: str, limit: int = 700) -> str:
    """vLLM's sentence on one line, the model by its name and not by where its files lie here."""
    return " ".join(f"{error}".replace(folder, named(folder)).split())[:limit]


def named(folder: str) -> str:
    """ORG/NAME of a folder ORG__NAME."""
    return os.path.basename(folder).replace("__", "/", 1)


_DEFAULTS = {
    "tp": 1,
    "pp": 1,
    "dp": 1,
    "rank": 0,
    "ep": False,
    "kv_dtype": "auto",
    "max_model_len": None,
    "max_num_batched_tokens": 8192,
    "max_num_seqs": 1024,
    "pool": 400 * 2**30,
    "overrides": {},
}


def main() -> None:
    """Answer one request per line; a model that fails is an answer too."""
    out, sys.stdout = sys.stdout, sys.stderr
    pretend_h100()
    for line in sys.stdin:
        request = _DEFAULTS | json.loads(line)
        try:
            result = answer(request)
        except Exception as error:
            if os.environ.get("WORKER_DEBUG"):
                raise
            result = {"ok": False, "error": f"{type(error).__name__}: {in_one_line(error, request['folder'], 400)}"}
        print(json.dumps(request | result), file=out, flush=True)


if __name__ == "__main__":
    main()
