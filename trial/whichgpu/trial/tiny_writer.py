"""Writes a tiny model's weights. Runs in vLLM's own Python, by its file and with ``-I``; imports nothing of ours.

    python -I tiny_writer.py FOLDER

FOLDER holds the tiny ``config.json`` and ``order.json``: ``most_bytes``, ``fp8`` (how to quantise, or null) and ``processor``
(whether the model takes images or sound, for which vLLM needs a processor). transformers' own class of that architecture is
filled with random numbers in the config's dtype and saved, which writes the names that checkpoints have. ``written.json`` says
what came of it; no code of a model's repository runs, and nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import re
import string
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

_FP8_MOST = 448.0
"""Largest number of float8_e4m3fn."""
_PLAIN = re.compile(r"embed|lm_head|norm|router|(^|\.)(gate|shared_expert_gate|output|classifier|score)\.weight$")
"""Matrices that checkpoints in FP8 keep in sixteen bits."""
_DTYPES = ("float32", "float16", "bfloat16")
_TEXT = ("\n", "\n\n", "\n\n\n", "\n\n\n\n", *string.printable[:95])
"""What processors look up in a vocabulary beside special tokens."""


def main() -> None:
    """Write what the order says."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    folder = Path(sys.argv[1])
    order = json.loads((folder / "order.json").read_text())
    report = {"model_class": None, "bytes": None, "fp8": False, "processor": None, "why": None, **_engine()}
    config_text = (folder / "config.json").read_text()
    try:
        config, model_class = _classes(folder, json.loads(config_text))
        report |= _written(folder, config, model_class, order, report["cpu"])
        if order["processor"]:
            report["processor"] = _processor(folder, config, json.loads(config_text))
    except Exception as error:  # noqa: BLE001 - whatever the class makes of a config: the reason is said, and vLLM fills it
        report["why"] = f"{type(error).__name__}: {error}"[:300]
    (folder / "config.json").write_text(config_text)
    (folder / "written.json").write_text(json.dumps(report))


def _engine() -> dict[str, Any]:
    """What stands beside us: versions, and whether this build is for CPUs."""
    import torch

    versions = {name: _version(name) for name in ("vllm", "torch", "transformers")}
    is_cpu = torch.version.cuda is None and torch.version.hip is None and not hasattr(torch, "tpu")
    xpu = getattr(torch, "xpu", None)
    return {"cpu": is_cpu and not (xpu is not None and xpu.is_available()), "versions": versions}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _classes(folder: Path, raw: dict[str, Any]) -> tuple[Any, Any]:
    """The config as transformers reads it, and its class of that architecture."""
    import transformers
    from transformers.models.auto import modeling_auto

    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    for name in raw.get("architectures") or ():
        model_class = getattr(transformers, name, None)
        if isinstance(model_class, type) and issubclass(model_class, transformers.PreTrainedModel):
            return config, model_class
    for mapping in (modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING):
        if type(config) in mapping:
            return config, mapping[type(config)]
    raise LookupError(f"transformers has no class for {type(config).__name__}")


def _written(folder: Path, config: Any, model_class: Any, order: dict[str, Any], cpu: bool) -> dict[str, Any]:
    import torch

    with torch.device("meta"):
        parameters = sum(p.numel() for p in model_class(config).parameters())
    dtype = _dtype(config)
    size = parameters * dtype.itemsize
    if size > order["most_bytes"]:
        return {"model_class": model_class.__name__, "bytes": size, "too_large": True}
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    model = model_class(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if not torch.isfinite(parameter).all():
                parameter.normal_(0, 0.02)  # what a class leaves to its checkpoint
    _widen(model)
    model.save_pretrained(folder, max_shard_size="100GB")
    fp8 = order["fp8"]
    is_fp8 = fp8 is not None and _has_kernel(fp8, model, cpu) and _quantise(folder, fp8)
    file_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return {"model_class": model_class.__name__, "bytes": file_bytes, "fp8": is_fp8}


def _has_kernel(fp8: dict[str, Any], model: Any, cpu: bool) -> bool:
    """On processors only those with AMX have kernels for blocks and for inputs of one scale, and for experts in blocks alone.

    Sources: vLLM 0.32 model_executor/kernels/linear/scaled_mm/cpu.py, and what its CPU build refused.
    """
    import torch

    if not cpu:
        return True
    has_tiles = bool(torch.cpu._is_amx_tile_supported())
    if fp8["block"]:
        return has_tiles
    has_experts = any("expert" in name for name, _ in model.named_parameters())
    return not has_experts and (has_tiles or not fp8["static"])


def _dtype(config: Any) -> Any:
    import torch

    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    dtype = getattr(config, "dtype", None) or getattr(text, "dtype", None) or "bfloat16"
    name = str(dtype).removeprefix("torch.")
    return getattr(torch, name if name in _DTYPES else "bfloat16")


def _widen(model: Any) -> None:
    """What the class keeps in FP32 is published so."""
    import torch

    fp32_modules = [*(getattr(model, "_keep_in_fp32_modules_strict", None) or ())]
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if any(word in name.split(".") for word in fp32_modules):
            tensor.data = tensor.data.to(torch.float32)


def _quantise(folder: Path, fp8: dict[str, Any]) -> bool:
    """Turn the matrices of linear layers to FP8 with their scales; False where experts lie in tensors of three dimensions."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    if any(tensor.dim() == 3 and "expert" in name for name, tensor in tensors.items()):
        return False
    checkpoint: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if tensor.dim() != 2 or not name.endswith(".weight") or _is_kept(name, fp8["kept"]):
            checkpoint[name] = tensor
            continue
        checkpoint |= _scaled(name.removesuffix(".weight"), tensor.float(), fp8)
    save_file(checkpoint, path, metadata={"format": "pt"})
    return True


def _is_kept(name: str, kept: list[str]) -> bool:
    """True for what the published quantisation leaves in sixteen bits."""
    module = name.removesuffix(".weight")
    if _PLAIN.search(name):
        return True
    for word in kept:
        if word.startswith("re:"):
            if re.match(word[3:], module):
                return True
        elif (
            word == module
            or module.startswith(f"{word}.")
            or re.fullmatch(word.replace(".", r"\.").replace("*", ".*"), module)
        ):
            return True
    return False


def _scaled(module: str, weight: Any, fp8: dict[str, Any]) -> dict[str, Any]:
    """One matrix in FP8, and the tensors that scale it back."""
    import torch

    if fp8["block"]:
        codes, scale = _blocks(weight, fp8["block"], fp8["powers"])
        return {f"{module}.weight": codes, f"{module}.weight_scale_inv": scale}
    most = weight.abs().amax(1, keepdim=True) if fp8["per_channel"] else weight.abs().max()
    scale = (most / _FP8_MOST).clamp_min(1e-12)
    tensors = {f"{module}.weight": (weight / scale).to(torch.float8_e4m3fn), f"{module}.weight_scale": scale.clone()}
    if fp8["static"]:
        tensors[f"{module}.input_scale"] = torch.ones((), dtype=torch.float32)
    return tensors


def _blocks(weight: Any, block: tuple[int, int], powers: bool) -> tuple[Any, Any]:
    """A matrix in blocks of FP8, and one scale for each; those at the end may be smaller."""
    import torch

    (rows, columns), (high, wide) = block, weight.shape
    whole_blocks = torch.nn.functional.pad(weight, (0, -wide % columns, 0, -high % rows))
    blocks = whole_blocks.view(whole_blocks.shape[0] // rows, rows, whole_blocks.shape[1] // columns, columns)
    scale = (blocks.abs().amax((1, 3)) / _FP8_MOST).clamp_min(1e-12)
    scale = torch.exp2(torch.ceil(torch.log2(scale))) if powers else scale
    codes = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn).reshape(whole_blocks.shape)
    return codes[:high, :wide].contiguous(), scale.contiguous()


def _processor(folder: Path, config: Any, raw: dict[str, Any]) -> str | None:
    """Say where vLLM gets its processor of images or sound from: the published files, the class's defaults, or nowhere."""
    import transformers

    with suppress(Exception):  # not there, not whole, or of a library that is not installed
        processor = transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        if isinstance(processor, transformers.ProcessorMixin):  # else it is a tokenizer alone
            return "published"
    with suppress(Exception):  # a class without defaults: the model is served without its encoders
        _make_processor(folder, config, raw)
        return "made"
    return None


def _make_processor(folder: Path, config: Any, raw: dict[str, Any]) -> None:
    """Make a processor of the class's defaults, with a tokenizer that knows every special token of the config by its id."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.models.auto import image_processing_auto, processing_auto, video_processing_auto

    processor_class = processing_auto.PROCESSOR_MAPPING[type(config)]
    size = config.get_text_config().vocab_size
    token_ids = {k.removesuffix("_id").removesuffix("_index"): v for k, v in raw.items() if _is_token(k, v, size)}
    words = {value: f"<|{name}|>" for name, value in token_ids.items()}
    free = [i for i in range(4, size) if i not in words][: len(_TEXT)]
    words |= dict(zip(free, _TEXT, strict=True))
    vocabulary = {words.get(i, f"t{i}"): i for i in range(size)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="t3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {name: words[value] for name, value in token_ids.items() if not name.startswith(("bos", "eos", "pad"))}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, extra_special_tokens=special, pad_token="t0", eos_token="t1",
                                   bos_token="t2", unk_token="t3")  # fmt: skip
    parts = {"tokenizer": fast}
    images = image_processing_auto.IMAGE_PROCESSOR_MAPPING[type(config)]
    parts["image_processor"] = _first_of(images)()
    videos = getattr(video_processing_auto, "VIDEO_PROCESSOR_MAPPING", {})
    if type(config) in videos:
        parts["video_processor"] = _first_of(videos[type(config)])()
    processor_class(**parts).save_pretrained(folder)


def _first_of(classes: Any) -> Any:
    """Of one class for each library, the first that is installed."""
    several = classes.values() if isinstance(classes, dict) else classes if isinstance(classes, tuple) else (classes,)
    return next(each for each in several if each is not None)


def _is_token(key: str, value: object, size: int) -> bool:
    ends = key.endswith(("_token_id", "_token_index"))
    return ends and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < size


if __name__ == "__main__":
    main()
