"""The way through this room: a reference in, an ``Inspection`` out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from whichgpu.inspect.architecture import read_design
from whichgpu.inspect.assembly import assemble
from whichgpu.inspect.config_view import MAX_CONFIG_BYTES, config_root, parse_json
from whichgpu.inspect.errors import NetworkError, UnreadableError
from whichgpu.inspect.normal_form import outermost
from whichgpu.inspect.pipelines import component_folders, component_names
from whichgpu.inspect.reading import Reading
from whichgpu.inspect.records import Inspection
from whichgpu.inspect.reference import Reference, parse_reference
from whichgpu.inspect.selection import FileSet, choose
from whichgpu.inspect.sources.base import Known, Listing, Progress, Repository, nothing_known, silent
from whichgpu.inspect.text import clean

_CONFIGS = ("config.json", "params.json")
_EXTRAS = ("hf_quant_config.json", "quantize_config.json")
_INDEXES = (
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.safetensors.index.json",
    "model.safetensors.index.fp16.json",
)
_MAX_INDEX_BYTES = 64 * 2**20


def inspect_model(
    reference: str | Reference,
    *,
    quick: bool = False,
    variant: str | None = None,
    progress: Progress = silent,
    known: Known = nothing_known,
) -> Inspection:
    """Inspect a model without reading its weights and without running any of its code.

    Args:
        reference: see ``parse_reference``.
        quick: leave the tensor headers alone; sizes and config only.
        variant: part of a GGUF file's name that picks one quantisation.
        progress: called with (step, done, total).
        known: asked once the commit is known; an inspection that it has of it is taken instead of reading anew.

    Raises:
        WhichgpuError: one of the branches drawn in ``errors.py``.
    """
    parsed = parse_reference(reference) if isinstance(reference, str) else reference
    repository = open_repository(parsed)
    progress("listing files", 0, 1)
    listing = repository.listing()
    stored_inspection = known(listing.source) if listing.source.commit is not None else None
    if stored_inspection is not None:
        return stored_inspection.model_copy(update={"source": listing.source})
    reading = _read_configs(repository, listing, variant)
    _settle_by_index(reading)
    _read_weights(reading, quick, progress)
    return assemble(reading)


def open_repository(reference: Reference) -> Repository:
    """Return the source that a reference points at; network code is imported only for the Hub."""
    if reference.kind == "hub":
        return _hub_or_cache(reference)
    from whichgpu.inspect.sources.local import FileRepository, FolderRepository, cache_entry

    path = reference.path or Path(reference.name)
    if reference.kind == "folder":
        return cache_entry(path) or FolderRepository(path)
    return FileRepository(path)


def _hub_or_cache(reference: Reference) -> Repository:
    """The Hub, or its local cache when huggingface_hub is told to stay offline."""
    from huggingface_hub import constants

    from whichgpu.inspect.sources.hub import HubRepository

    if constants.is_offline_mode():
        from whichgpu.inspect.sources.local import cache_snapshot

        cached = cache_snapshot(Path(constants.HF_HUB_CACHE), reference.name, reference.revision)
        if cached is not None:
            return cached
    return HubRepository(reference.name, reference.revision)


def _read_configs(repository: Repository, listing: Listing, variant: str | None) -> Reading:
    paths = {f.path for f in listing.files}
    pipeline = None
    if "model_index.json" in paths:
        pipeline = parse_json(repository.read("model_index.json", MAX_CONFIG_BYTES), "model_index.json")
    components = component_names(pipeline) if pipeline is not None else None
    reading = Reading(repository, listing, choose(listing.files, components, variant), pipeline=pipeline)
    reading.warnings += listing.warnings
    config = next((name for name in _CONFIGS if name in paths), None)
    if config is not None and not reading.choice.pipeline:
        reading.root = config_root(outermost(parse_json(repository.read(config, MAX_CONFIG_BYTES), config)), config)
        reading.design = read_design(reading.root)
    if reading.choice.adapter_only:
        reading.adapter_of = _base_of_adapter(reading)
    for name in _EXTRAS:
        if name in paths and reading.root is not None and "quantization_config" not in reading.root:
            reading.extras[name] = parse_json(repository.read(name, MAX_CONFIG_BYTES), name)
    return reading


def _base_of_adapter(reading: Reading) -> str:
    if not reading.has("adapter_config.json"):
        return "(not named)"
    config = parse_json(reading.repository.read("adapter_config.json", MAX_CONFIG_BYTES), "adapter_config.json")
    base = config.get("base_model_name_or_path")
    return clean(base) if isinstance(base, str) and base else "(not named)"


def _settle_by_index(reading: Reading) -> None:
    """Let the index say which files are the model, where their names alone do not.

    Standard names (``model-00001-of-00004``, all there) need no index: that saves a request.
    """
    file_set = reading.choice.counted.get("")
    if (
        file_set is None
        or reading.choice.pipeline
        or file_set.is_standard
        or not file_set.suffix.endswith(".safetensors")
    ):
        return
    index = next((n for n in _INDEXES if n.endswith(".safetensors.index.json") and reading.has(n)), None)
    if index is None:
        return
    _read_index(reading, "", index)
    listed = sorted(set(reading.index_files))
    entries = {f.path: f for f in reading.listing.files}
    present = tuple(entries[name] for name in listed if name in entries)
    if present:
        settled = FileSet("(index)", file_set.suffix, "", present, len(listed))
        reading.choice.settle(settled)


def _read_weights(reading: Reading, quick: bool, progress: Progress) -> None:
    choice = reading.choice
    if not choice.counted:
        _read_indexes(reading)
        if reading.root is None and not choice.pipeline:
            raise UnreadableError("There are no weights and no config in it.", "Check that this is a model repository.")
        return
    for file_set in choice.counted.values():
        if file_set.suffix == ".gguf":
            _read_gguf(reading, file_set, quick)
    safetensors = {n: s for n, s in choice.counted.items() if s.suffix.endswith(".safetensors")}
    if quick or not safetensors:
        _read_indexes(reading)
        return
    files = [f for file_set in safetensors.values() for f in file_set.files]
    headers = reading.repository.headers(files, progress)
    if reading.root is None and not choice.pipeline and not any(headers.values()):
        raise UnreadableError("Its files hold no tensors, and no config is beside them.", "Check what was downloaded.")
    for name, file_set in safetensors.items():
        reading.tensors[name] = [t for f in file_set.files for t in headers[f.path]]
        if file_set.missing:
            reading.unread.append(f"{file_set.missing} of {file_set.expected} shards are missing.")


def _read_gguf(reading: Reading, chosen: FileSet, quick: bool) -> None:
    """Read the first file's header of a GGUF set; a Hub answer without it falls back to the Hub's own summary."""
    if quick:
        reading.unread.append("GGUF headers were not read (quick).")
        return
    from whichgpu.inspect.gguf_config import config_of
    from whichgpu.inspect.gguf_file import file_type, read_gguf

    repository, name = reading.repository, clean(chosen.files[0].path)
    headers = [read_gguf(partial(repository.start_of, entry), entry.path, entry.size) for entry in chosen.files]
    reading.tensors[""] = [tensor for header in headers for tensor in header.tensors]
    reading.gguf_elements = {n: count for header in headers for n, count in header.elements.items()}
    reading.gguf_type = file_type(headers[0])
    config = config_of(headers[0].fields, reading.tensors[""])
    if config is None:
        raise UnreadableError(f"{name} names no architecture in its GGUF header.", "Download or convert it again.")
    reading.root = config_root(config, name)
    reading.design = read_design(reading.root)


def _read_indexes(reading: Reading) -> None:
    """Read the weight indexes that are there: names, and the size they state."""
    folders = [""] if not reading.choice.pipeline else component_folders(reading)
    for folder in folders:
        for name in _INDEXES:
            path = f"{folder}/{name}" if folder else name
            if reading.has(path):
                _read_index(reading, folder, path)
                break
        config = f"{folder}/config.json"
        if folder and reading.has(config):
            data = reading.repository.read(config, MAX_CONFIG_BYTES)
            reading.component_configs[folder] = config_root(parse_json(data, config), config)


def _read_index(reading: Reading, folder: str, path: str) -> None:
    try:
        index = parse_json(reading.repository.read(path, _MAX_INDEX_BYTES), path, _MAX_INDEX_BYTES)
    except NetworkError:
        raise
    except UnreadableError as error:
        reading.unread.append(error.message)
        return
    names = index.get("weight_map")
    metadata = index.get("metadata")
    size = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(size, int | float) and 0 < size < 2**60 and size == int(size):
        reading.index_bytes[folder] = int(size)
    if isinstance(names, dict) and not folder:
        reading.index_names = [n for n in names if isinstance(n, str)]
        reading.index_files = [v for v in names.values() if isinstance(v, str)]
        climbing = [v for v in names.values() if isinstance(v, str) and (v.startswith("/") or ".." in v.split("/"))]
        if climbing:
            reading.warnings.append("The index names files outside the repository; they were not opened.")
