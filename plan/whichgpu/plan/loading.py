"""How vLLM gets at a model's config and class: by its own registry, by transformers, or by the repository's own code.

Sources: vLLM 0.33 transformers_utils/config.py HFConfigParser, model_executor/models/registry.py, config/model.py
_verify_quantization; the transformers release that it may install (``benchmarks/transformers_facts.py``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from whichgpu.inspect.mixer_kinds import traits
from whichgpu.inspect.records import Architecture, ModelClass, OwnCode, Quantisation
from whichgpu.plan.case import ServedModel
from whichgpu.plan.engine import version_numbers

_GENERATING = ("ForCausalLM", "ForConditionalGeneration", "ChatModel", "LMHeadModel")
_POOLING = (
    "ForTextEncoding", "EmbeddingModel", "ForSequenceClassification", "ForTokenClassification", "ForAudioClassification",
    "ForImageClassification", "ForVideoClassification", "ClassificationModel", "ForRewardModeling", "RewardModel", "Model",
)  # fmt: skip
"""Endings by which vLLM finds the class that another one is made of (config/model.py _SUFFIX_TO_DEFAULTS)."""

_UNNAMED = {"deepseek_vl_v2": "DeepseekVLV2ForCausalLM"}
"""Classes of types whose published configs name none (vLLM's list of supported models)."""
_HUNYUAN, _OLD_WIDTH = "HYV3ForCausalLM", "expert_hidden_dim"
"""Ends a start where its config was saved again by transformers, which renames three keys that it reads (vLLM 0.33 models/hy_v3.py)."""
_FALCON_H1 = "falcon_h1"
"""Its class takes ``mamba_expand`` × the hidden width where the config does not say, and refuses heads that do not divide it."""
_EXPANSION = 2
_XLM_ROBERTA = "xlm-roberta"
_AS_PUBLISHED = ("nomic_bert", "muse_spark")
"""Types whose classes read keys that today's transformers no longer writes (vLLM 0.33 models/config.py, models/muse_spark)."""
_RENAMING = 5
"""Major version of transformers."""

_GPTQ_BITS = (4, 8)
"""And symmetric codes alone (vLLM 0.26–0.33 quantization/auto_gptq.py TYPE_MAP)."""
_GPTQ = ("gptq", "gptq_marlin")


def listed_class(name: str, registry: Mapping[str, Any]) -> str | None:
    """Return the class of vLLM's that serves an architecture: its own, or the one that it is converted from."""
    supported = registry.get("supported", ())
    if name in supported:
        return name
    ending = next((e for e in (*_GENERATING, *_POOLING) if name.endswith(e)), None)
    if ending is None:
        return None
    base = name.removesuffix(ending)
    return next((base + other for other in (*_GENERATING, *_POOLING) if base + other in supported), None)


def is_converted_to_pool(name: str, registry: Mapping[str, Any]) -> bool:
    """True where vLLM makes a pooling model of a class that generates, by the name alone."""
    return name not in registry.get("supported", ()) and name.endswith(_POOLING) and bool(listed_class(name, registry))


def needed_code(model: ServedModel) -> tuple[OwnCode, ...]:
    """Return what only the repository's own Python can read: vLLM runs it with ``--trust-remote-code`` alone."""
    architecture, registry = model.architecture, model.registry
    if architecture is None or architecture.config_type is None or "config_types" not in registry:
        return ()
    needed = {
        OwnCode.CONFIG: not _is_known_type(architecture, registry),
        OwnCode.MODEL: not _is_served_class(model, architecture),
        OwnCode.TOKENIZER: OwnCode.TOKENIZER in architecture.own_code,
    }
    return tuple(part for part, is_needed in needed.items() if is_needed)


def is_read_elsewhere(model: ServedModel) -> bool:
    """True where the config or the class is none of vLLM's: of the repository, or of transformers alone."""
    architecture, registry = model.architecture, model.registry
    if architecture is None or architecture.config_type is None or "config_types" not in registry:
        return False
    is_listed = any(listed_class(name, registry) for name in architecture.names)
    return not is_listed or OwnCode.CONFIG in needed_code(model)


def loading_refusal(model: ServedModel) -> str | None:
    """Return why vLLM can't load a model on any card, with the nearest that works; ``None`` where nothing is known against it."""
    if ModelClass.DIFFUSION in model.inspection.classes:
        return None
    return next(_refusals(model), None)


def _refusals(model: ServedModel) -> Iterator[str]:
    registry, architecture = model.registry, model.architecture
    quantisation, vllm = model.inspection.quantisation, f"vLLM {registry.get('vllm', model.engine.version)}"
    if quantisation is not None:
        yield from _quantisation_refusals(model, quantisation, vllm)
    if architecture is None:
        return
    missing = [part for part in needed_code(model) if part not in architecture.own_code]
    if OwnCode.CONFIG in missing:
        yield _unknown_type(architecture, registry, vllm)
    if architecture.config_type in _AS_PUBLISHED and _is_saved_again(architecture):
        yield f"{vllm} reads {architecture.config_type} as its publisher wrote it, not as transformers {architecture.saved_by} saves it; take the published config.json"
    if architecture.config_type == _FALCON_H1 and "mamba_width" not in architecture.sources:
        width, hidden = _mamba_width(architecture), architecture.hidden or 0
        if width is not None and width != _EXPANSION * hidden:
            yield f"transformers refuses a {_FALCON_H1} config whose heads of Mamba 2 don't make up its width; mamba_d_ssm is missing in it: {width}"
    if architecture.nested and _is_plain_type(architecture, registry):
        yield (
            f"{vllm} reads {architecture.config_type} as the config of a language model alone, and this one nests its own in text_config;"
            " the model_type of the whole model is another"
        )
    is_unnamed = not architecture.names and architecture.config_type not in _UNNAMED
    if architecture.config_type is not None and "config_types" in registry and is_unnamed:
        yield f"{vllm} refuses a config that names no architecture; --hf-overrides can name one"
    gone = [name for name in architecture.names if name in registry.get("removed", {})]
    if OwnCode.MODEL in needed_code(model) and gone:
        last = registry["removed"][gone[0]]
        yield f"{vllm} no longer has {gone[0]}; the last version with it is {last}: --vllm {last} plans for it"
    if _is_backend_refused(model, architecture):
        yield f"{vllm} has no {architecture.names[0]}, and its Transformers backend takes models of attention layers and one decoder alone"
    if OwnCode.MODEL in missing and architecture.names:
        plugin = next((registry["plugins"][n] for n in architecture.names if n in registry.get("plugins", {})), None)
        if plugin is None:
            yield f"neither {vllm} nor the transformers that it installs has {architecture.names[0]}, and the repository brings no class of its own"


def _quantisation_refusals(model: ServedModel, quantisation: Quantisation, vllm: str) -> Iterator[str]:
    known, cure = (
        model.registry.get("quantisations"),
        "ask for the model that it was made from, or for one quantised in a format of",
    )
    last = model.registry.get("removed_quantisations", {}).get(quantisation.method)
    had = last is not None and version_numbers(model.engine.version) <= version_numbers(last)
    if known and quantisation.method not in known and not had:
        until = f"; the last version with one is {last}" if last is not None else ""
        formats = "FP8, AWQ, GPTQ, compressed-tensors"
        yield f"{vllm} has no loader for {quantisation.method} checkpoints{until}; {cure} vLLM's ({formats})"
    if quantisation.method in _GPTQ:
        if quantisation.bits is not None and quantisation.bits not in _GPTQ_BITS:
            yield f"{vllm} reads GPTQ of 4 and 8 bits, not of {quantisation.bits:g}; {cure} vLLM's"
        if quantisation.symmetric is False:
            yield f"{vllm} reads GPTQ with symmetric codes alone; {cure} vLLM's"


def _is_backend_refused(model: ServedModel, architecture: Architecture) -> bool:
    """True for what transformers alone has, with layers that are no attention or with an encoder (model_executor/models/transformers)."""
    registry, names = model.registry, architecture.names
    if not names or any(listed_class(n, registry) for n in names) or names[0] not in registry.get("backend", ()):
        return False
    if any(_is_served_by_old(model, name) for name in names):
        return False
    is_recurrent = any(traits(m.kind).recurrent for m in architecture.mixers)
    return is_recurrent or ModelClass.ENCODER_DECODER in model.inspection.classes


def _is_served_by_old(model: ServedModel, name: str) -> bool:
    last = model.registry.get("removed", {}).get(name)
    return last is not None and version_numbers(model.engine.version) <= version_numbers(last)


def _is_known_type(architecture: Architecture, registry: Mapping[str, Any]) -> bool:
    typed_by_class = registry.get("typed_by_class", ())
    return architecture.config_type in registry["config_types"] or (
        not architecture.config_type and any(name in typed_by_class for name in architecture.names[:1])
    )


def _is_plain_type(architecture: Architecture, registry: Mapping[str, Any]) -> bool:
    known, composite = registry.get("config_types", ()), registry.get("composite_types", ())
    return architecture.config_type in known and architecture.config_type not in composite


def _is_served_class(model: ServedModel, architecture: Architecture) -> bool:
    registry, names = model.registry, architecture.names
    if not names or any(listed_class(name, registry) for name in names):
        return True
    if any(_is_served_by_old(model, name) for name in names):
        return True
    return names[0] in registry.get("backend", ())


def _unknown_type(architecture: Architecture, registry: Mapping[str, Any], vllm: str) -> str:
    library = f"transformers {registry['transformers']}"
    if not architecture.config_type:
        return f"{vllm} refuses a config without model_type"
    return (
        f"neither {vllm} nor {library} reads configs of the type {architecture.config_type}, and the repository brings no code that does;"
        " a newer transformers may"
    )


def loading_words(model: ServedModel) -> list[str]:
    """Return the options of ``vllm serve`` without which it would not load the model."""
    quantisation, deprecated = model.inspection.quantisation, model.registry.get("deprecated_quantisations", ())
    words = ["--trust-remote-code"] if needed_code(model) else []
    overridden = config_overrides(model)
    words += ["--hf-overrides", json.dumps(overridden)] if overridden else []
    return [*words, "--allow-deprecated-quantization"] if quantisation and quantisation.method in deprecated else words


def config_overrides(model: ServedModel) -> dict[str, Any]:
    """Return what vLLM's class looks for in a config that it does not find there: names of old where today's transformers wrote
    others, and the class of a language model that was cut out of a larger one."""
    architecture = model.architecture
    if architecture is None or architecture.config_type is None:
        return {}
    if not architecture.names:
        unnamed = _UNNAMED.get(architecture.config_type)
        return {"architectures": [unnamed]} if unnamed is not None else {}
    return {**_old_names(architecture), **_own_class(architecture, model.registry)}


def _old_names(architecture: Architecture) -> dict[str, Any]:
    if _HUNYUAN in architecture.names:
        experts = [
            i for i, f in enumerate(architecture.feed_forward_layout) if architecture.feed_forwards[f].kind == "moe"
        ]
        width = next((f.intermediate for f in architecture.feed_forwards if f.kind == "moe"), None)
        has_old_names = any(source.endswith(_OLD_WIDTH) for source in architecture.sources.values())
        if experts and width is not None and not has_old_names:
            return {"first_k_dense_replace": experts[0], _OLD_WIDTH: width, "route_norm": True}
    if architecture.config_type == _XLM_ROBERTA and _is_saved_again(architecture):
        return {"position_embedding_type": "absolute"}
    return {}


def _mamba_width(architecture: Architecture) -> int | None:
    """Width of the Mamba 2 layers that stand beside attention: what is left of their convolution (``facts.state_sizes``)."""
    for mixer in architecture.mixers:
        if mixer.conv_size and mixer.group_conv_size and mixer.conv_kernel and mixer.groups:
            return (mixer.conv_size - mixer.groups * mixer.group_conv_size) // (mixer.conv_kernel - 1)
    return None


def _own_class(architecture: Architecture, registry: Mapping[str, Any]) -> dict[str, Any]:
    """The class that generates text alone, where a config of that kind names one with encoders."""
    name, ending = architecture.names[0], "ForConditionalGeneration"
    alone = name.removesuffix(ending) + "ForCausalLM"
    is_text = (architecture.config_type or "").endswith("_text") and name.endswith(ending)
    return {"architectures": [alone]} if is_text and alone in registry.get("supported", ()) else {}


def _is_saved_again(architecture: Architecture) -> bool:
    """True where a transformers wrote the config that leaves out what it no longer reads."""
    major = (architecture.saved_by or "").partition(".")[0]
    return major.isascii() and major.isdigit() and int(major[:9]) >= _RENAMING


def loading_reasons(model: ServedModel) -> Iterator[str]:
    """Yield what such an option means."""
    needed = needed_code(model)
    if needed:
        parts = " and ".join(part.value for part in needed)
        yield f"--trust-remote-code runs the repository's own Python for its {parts}: look into it first"
