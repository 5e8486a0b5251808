"""Whether vLLM knows an architecture, from a dated copy of its registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from whichgpu.inspect.records import Inspection, ModelClass
from whichgpu.plan.case import ServedModel
from whichgpu.plan.engine import version_numbers
from whichgpu.plan.loading import is_converted_to_pool, listed_class, loading_refusal


def newer_class(model: ServedModel) -> tuple[str, str] | None:
    """Return a model's class and the version that it came with, where the one that is asked for has none of its classes."""
    names, registry = model.architecture.names if model.architecture else (), model.registry
    since, version = registry.get("since", {}), version_numbers(model.engine.version)
    listed = [n for n in names if n in registry.get("supported", ())]
    later = [(n, since[n]) for n in listed if n in since and version_numbers(since[n]) > version]
    return later[0] if later and len(later) == len(listed) else None


def support_notes(model: ServedModel) -> Iterator[str]:
    """Yield what a user must know before renting hardware for vLLM."""
    inspection, registry = model.inspection, model.registry
    version = registry.get("vllm", "?")
    if ModelClass.DIFFUSION in inspection.classes:
        yield "vLLM serves no diffusion pipelines; the memory is that of the weights and a small allowance."
        return
    if inspection.quantisation is not None and inspection.quantisation.method == "gguf":
        yield f"vLLM {version} reads GGUF only through the vllm-gguf-plugin."
        return
    names = inspection.architecture.names if inspection.architecture else ()
    if not names or any(listed_class(n, registry) for n in names) or loading_refusal(model) is not None:
        return
    for name in names:
        removed, plugins = registry.get("removed", {}), registry.get("plugins", {})
        if name in removed and version_numbers(model.engine.version) <= version_numbers(removed[name]):
            return
        if name in plugins:
            yield f"vLLM serves {name} only with a plugin: {plugins[name]}"
        else:
            yield f"vLLM {version} does not list {name}; it may run through the Transformers backend."


def is_pooling(inspection: Inspection, registry: Mapping[str, Any]) -> bool:
    """True for embedding and classification models, which ``vllm serve`` runs with a pooling runner.

    A class that stands in both of vLLM's tables is served generating, as ``--runner auto`` does, unless the repository says
    that it embeds (vLLM 0.32 model_executor/models/registry.py).
    """
    if ModelClass.ENCODER in inspection.classes:
        return True
    names = set(inspection.architecture.names) if inspection.architecture else set[str]()
    pooling = names.intersection(registry.get("pooling", ())) - set(registry.get("generating_too", ()))
    return bool(pooling) or any(is_converted_to_pool(name, registry) for name in names)
