"""Diffusers pipelines and other repositories of several models: one row of figures per component."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from whichgpu.inspect.headers import Tensor
from whichgpu.inspect.precisions import DTYPE_BITS, safetensors_dtype
from whichgpu.inspect.reading import Reading
from whichgpu.inspect.records import Component, Figure, Origin, Part, TensorGroup
from whichgpu.inspect.selection import model_components
from whichgpu.inspect.tensors import group_tensors
from whichgpu.inspect.text import clean


def component_names(pipeline: dict[str, Any]) -> list[str]:
    """Components of model_index.json that are models: a pair of library and class, not null."""
    names: list[str] = []
    for name, value in pipeline.items():
        plain = not name.startswith("_") and "/" not in name and name not in (".", "..")
        if plain and isinstance(value, list) and len(value) >= 2 and isinstance(value[1], str):
            names.append(name)
    return names


def component_folders(reading: Reading) -> list[str]:
    """Component folders of a pipeline that have a config."""
    named = component_names(reading.pipeline) if reading.pipeline is not None else []
    present = {
        f.path.split("/")[0] for f in reading.listing.files if f.path.count("/") == 1 and f.path.endswith("config.json")
    }
    return model_components([n for n in named if n in present] if named else sorted(present))


def part_of_component(name: str) -> Part:
    """Return what a component of a pipeline does, from its conventional name in diffusers."""
    if name.startswith(("transformer", "unet", "prior", "decoder", "denoiser")):
        return Part.DENOISER
    if name.startswith(("text_encoder", "prompt", "mllm", "language")):
        return Part.TEXT_ENCODER
    if "vae" in name or "vqgan" in name or "vqvae" in name:
        return Part.AUTOENCODER
    if name.startswith(("safety", "image_encoder", "controlnet")):
        return Part.VISION
    if "projection" in name or "connector" in name:
        return Part.PROJECTOR
    if name[:1].isdigit():
        return Part.HEAD
    return Part.OTHER


def pipeline_groups(tensors: dict[str, list[Tensor]]) -> tuple[TensorGroup, ...]:
    """Group the tensors of every component; the part is the component's, not the tensor's."""
    groups: list[TensorGroup] = []
    for name, component_tensors in tensors.items():
        part = part_of_component(name)
        for group in group_tensors(component_tensors, None, None):
            groups.append(group.model_copy(update={"component": clean(name), "part": part}))
    return tuple(groups)


def pipeline_components(reading: Reading) -> tuple[tuple[TensorGroup, ...], bool]:
    """Return one group per component from file sizes, and whether every component's size is known."""
    groups: list[TensorGroup] = []
    complete = True
    for name in component_folders(reading):
        file_set = reading.choice.counted.get(name)
        stored = file_set.bytes if file_set is not None and not file_set.missing else None
        stored = stored if stored is not None else reading.index_bytes.get(name)
        if stored is None:
            complete = False
            reading.unread.append(f"The size of {clean(name)} is not known.")
            continue
        groups.append(_sized_group(reading, name, stored))
    return tuple(groups), complete


def _sized_group(reading: Reading, name: str, stored: int) -> TensorGroup:
    """A component known by its bytes alone; its dtype is the config's, else assumed to be BF16."""
    view = reading.component_configs.get(name)
    dtype = safetensors_dtype(view.value("torch_dtype", "dtype")) if view is not None else None
    if dtype is None:
        reading.warnings.append(f"{clean(name)}: no dtype in its config; 2 bytes per parameter assumed.")
    count = stored * 8 // DTYPE_BITS[dtype or "BF16"]
    return TensorGroup(
        name="*",
        part=part_of_component(name),
        shape=(count,),
        count=1,
        dtype=dtype or "BF16",
        parameters=count,
        bytes=stored,
        component=clean(name),
    )


def _class_of(name: str, pipeline: Mapping[str, Any] | None) -> str | None:
    entry = pipeline.get(name) if pipeline is not None else None
    named = isinstance(entry, list) and len(entry) > 1 and isinstance(entry[1], str)
    return clean(entry[1], 60) if named and entry is not None else None


def component_records(groups: tuple[TensorGroup, ...], pipeline: Mapping[str, Any] | None) -> tuple[Component, ...]:
    """Sum groups by component; empty when there is only the model itself.

    ``pipeline`` is model_index.json, which names the class of each component.
    """
    named = defaultdict(list)
    for group in groups:
        if group.component:
            named[group.component].append(group)
    records = []
    for name, component_groups in named.items():
        exact = component_groups[0].name != "*"
        records.append(
            Component(
                name=name,
                kind=_class_of(name, pipeline) or component_groups[0].part.value,
                part=component_groups[0].part,
                parameters=Figure(
                    value=sum(g.parameters for g in component_groups),
                    unit="parameters",
                    origin=Origin.READ if exact else Origin.COMPUTED,
                    source="safetensors headers" if exact else "file size / dtype",
                ),
                bytes=Figure(
                    value=sum(g.bytes or 0 for g in component_groups),
                    unit="bytes",
                    origin=Origin.READ,
                    source="safetensors headers" if exact else "file sizes",
                ),
            )
        )
    return tuple(records)
