"""Puts what was read of a model together into one ``Inspection``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whichgpu.inspect import counting
from whichgpu.inspect.classify import Findings, classify, disagreements
from whichgpu.inspect.companions import second_stacks, uncounted, uncounted_bases
from whichgpu.inspect.config_view import HIDDEN_KEYS, ConfigView, as_integer
from whichgpu.inspect.encoder_kinds import encoder_kind, encoder_level
from whichgpu.inspect.errors import UnreadableError
from whichgpu.inspect.facts import architecture_record
from whichgpu.inspect.names import pattern_of
from whichgpu.inspect.overruling import overruled
from whichgpu.inspect.packing import detected_method
from whichgpu.inspect.pipelines import component_records, pipeline_components, pipeline_groups
from whichgpu.inspect.precisions import safetensors_dtype
from whichgpu.inspect.quantisation import Published, read_quantisation
from whichgpu.inspect.reading import Reading
from whichgpu.inspect.records import (
    Figure,
    Grade,
    Inspection,
    ModelClass,
    Origin,
    Parameters,
    Quantisation,
    Selection,
    TensorGroup,
    Variant,
    Weights,
)
from whichgpu.inspect.stored_layers import stored_layers
from whichgpu.inspect.tensors import group_tensors
from whichgpu.inspect.text import clean
from whichgpu.inspect.weight_formats import WeightFormat

_MOST_PARAMETERS = 10**14
"""Fifty times the largest model that anybody has published."""

if TYPE_CHECKING:
    from whichgpu.inspect.blueprint.table import Row


def assemble(reading: Reading) -> Inspection:
    """Return the record; the reading's warnings grow on the way."""
    published = _find_quantisation(reading)
    encoder = encoder_kind(reading.root) if reading.root is not None else None
    if encoder is None and _overrule(reading, published):
        published = _find_quantisation(reading)  # which layers are kept is counted from the last
    tensors = _tensors(reading, published)
    if tensors is not None:
        return _from_tensors(reading, published, encoder, tensors)
    return _from_sizes_or_config(reading, published, encoder)


def _overrule(reading: Reading, published: Published | None) -> bool:
    """Let safetensors headers correct what the config says of the layers; True where they did. A GGUF's config is made of its tensors."""
    tensors = reading.tensors.get("")
    is_whole = tensors and not any(s.missing for s in reading.choice.counted.values())
    if not tensors or not is_whole or reading.root is None or reading.design is None:
        return False
    if reading.gguf_elements is not None or reading.choice.pipeline or reading.choice.adapter_only:
        return False
    stored = stored_layers(tensors, published)
    if stored is None:
        return False
    reading.design, texts = overruled(reading.root, reading.design, stored)
    reading.warnings += texts
    return bool(texts)


def _find_quantisation(reading: Reading) -> Published | None:
    if reading.root is None:
        return None
    text = reading.design.view if reading.design is not None else None
    if reading.gguf_elements is not None:
        record = Quantisation(
            method="gguf",
            label=f"gguf {reading.gguf_type}",
            format=None,
            experts_format=None,
            bits=None,
            source="GGUF header",
        )
        return Published(record, None)
    return read_quantisation(reading.root, text, reading.extras, reading.design.layers if reading.design else None)


def _tensors(reading: Reading, published: Published | None) -> tuple[TensorGroup, ...] | None:
    """Grouped tensors when every shard's header was read; ``None`` otherwise."""
    if not reading.tensors or any(s.missing for s in reading.choice.counted.values()):
        return None
    layers = reading.design.layers if reading.design is not None else None
    if reading.gguf_elements is not None:
        return _gguf_groups(reading, layers)
    if reading.choice.pipeline:
        return pipeline_groups(reading.tensors)
    groups: list[TensorGroup] = []
    for name, tensors in reading.tensors.items():
        for group in group_tensors(tensors, layers, published):
            groups.append(group.model_copy(update={"component": clean(name)}) if name else group)
    return tuple(groups)


def _gguf_groups(reading: Reading, layers: int | None) -> tuple[TensorGroup, ...]:
    from whichgpu.inspect.gguf_file import part_of_gguf

    elements = reading.gguf_elements or {}
    groups = group_tensors(reading.tensors[""], layers, None)
    sizes: dict[str, int] = {}
    for tensor in reading.tensors[""]:
        key = f"{pattern_of(tensor.name, layers)}|{tensor.dtype}|{tensor.shape}"
        sizes[key] = sizes.get(key, 0) + elements.get(tensor.name, 0)
    return tuple(
        g.model_copy(
            update={
                "part": part_of_gguf(g.name),
                "parameters": sizes.get(f"{g.name}|{g.dtype}|{g.shape}", g.parameters),
            }
        )
        for g in groups
    )


def _from_tensors(
    reading: Reading, published: Published | None, encoder: str | None, tensors: tuple[TensorGroup, ...]
) -> Inspection:
    source = "GGUF header" if reading.gguf_elements is not None else "safetensors headers"
    stored = sum(g.bytes or 0 for g in tensors)
    summed = sum(g.parameters for g in tensors)
    total = Figure(value=summed, unit="parameters", origin=Origin.READ, source=source)
    published = published or _detect_quantisation(tensors)
    findings = _findings(reading, encoder, tensors)
    if encoder is None and not reading.choice.pipeline:
        reading.warnings += disagreements(reading.root, reading.design, tensors)
    return _inspection(
        reading,
        findings,
        published,
        grade=Grade.HEADERS,
        note=f"every tensor's shape and dtype from {source}",
        groups=tensors,
        parameters=counting.parameters(tensors, total, reading.design, Origin.READ, source),
        weights=counting.weights(tensors, stored, Origin.READ, source),
    )


def _detect_quantisation(tensors: tuple[TensorGroup, ...]) -> Published | None:
    """The quantisation that names prove although no config tells it."""
    method = detected_method({t.name for t in tensors})
    if method is None:
        return None
    dense, experts = _detected_formats(method, tensors)
    record = Quantisation(
        method=method, label=method, format=dense, experts_format=experts, bits=None, source="tensor names"
    )
    return Published(record, None)


def _detected_formats(method: str, tensors: tuple[TensorGroup, ...]) -> tuple[WeightFormat | None, WeightFormat | None]:
    """Formats of the linear weights and of routed experts, where names and stored bytes leave no other."""
    if method == "mxfp4":
        return None, WeightFormat.MXFP4
    packed = [t for t in tensors if t.quantised and t.parameters and t.bytes]
    if method != "gptq or awq" or not packed:
        return None, None
    bits = 8 * sum(t.bytes or 0 for t in packed) / sum(t.parameters for t in packed)
    weight_format = WeightFormat.INT4 if bits < 6 else WeightFormat.INT8_PACKED
    return weight_format, weight_format


def _rows(reading: Reading, encoder: str | None) -> list[Row]:
    # The blueprint is imported only here: an answer from headers never needs it.
    from whichgpu.inspect.blueprint.decoder import language_model
    from whichgpu.inspect.blueprint.encoders import encoder_rows
    from whichgpu.inspect.blueprint.second_stacks import byte_groups, second_stack

    root, design = reading.root, reading.design
    if root is None or root.string("_class_name") is not None:
        return []
    if encoder is not None:
        level = encoder_level(root)
        beside = _tower_rows(reading, root, as_integer(level.value(*HIDDEN_KEYS))) if level is not root else []
        return encoder_rows(encoder, root) + beside
    rows = language_model(design) if design is not None else []
    rows += [row for name, view in second_stacks(root) for row in second_stack(name, view)] + byte_groups(root)
    rows += _tower_rows(reading, root, design.hidden if design else None)
    return counting.fit_to_names(rows, reading.index_names, design)


def _tower_rows(reading: Reading, root: ConfigView, hidden: int | None) -> list[Row]:
    from whichgpu.inspect.blueprint.towers import tower_rows, towers

    rows: list[Row] = []
    for modality, view in towers(root):
        tower = tower_rows(modality, view, hidden, root)
        if not tower:
            reading.unread.append(f"The {modality} encoder's sizes are not in the config.")
        rows += tower
    return rows


def _from_sizes_or_config(reading: Reading, published: Published | None, encoder: str | None) -> Inspection:
    if reading.choice.pipeline or (reading.pipeline is not None and not reading.choice.counted):
        return _pipeline_from_sizes(reading)
    rows = _rows(reading, encoder)
    dtype = _declared_dtype(reading)
    stored, source = _stored_bytes(reading)
    findings = _findings(reading, encoder, ())
    if stored is None:
        groups = counting.groups_from_rows(rows, dtype, published)
        note = "parameters computed from the architecture" if groups else "nothing but names to go by"
        params = counting.parameters(groups, None, reading.design, Origin.COMPUTED, "config: architecture")
        if not groups:
            params = _named_parameters(reading, params.model_copy())
        grade = Grade.CONFIG if groups else Grade.NOTHING
        weights = counting.weights(groups, None, Origin.COMPUTED, "config: architecture and dtype")
        return _inspection(reading, findings, published, grade, note, groups, params, weights)
    fitted = counting.fit_to_bytes(rows, dtype, published, stored, source)
    if fitted.note:
        reading.warnings.append(fitted.note)
    total = fitted.total if fitted.total.value is not None else None
    params = counting.parameters(fitted.groups, total, reading.design, Origin.COMPUTED, source)
    if params.total.value is None:
        params = _named_parameters(reading, params)
    note = f"bytes exact from {source}, structure from the config" if rows else f"bytes exact from {source}"
    weights = counting.weights(fitted.groups, stored, Origin.READ, source)
    return _inspection(reading, findings, published, Grade.SIZES, note, fitted.groups, params, weights)


def _named_parameters(reading: Reading, params: Parameters) -> Parameters:
    """Fall back to the Hub's own count, then to what the name announces."""
    for key in ("gguf", "safetensors"):
        facts = reading.listing.hub_facts.get(key)
        total = facts.get("total") if isinstance(facts, dict) else None
        if type(total) is int and 0 < total < 2**56:
            figure = Figure(value=total, unit="parameters", origin=Origin.READ, source=f"Hub API: {key}.total")
            return params.model_copy(update={"total": figure})
    from whichgpu.inspect.name_hints import parameters_from_name

    guess = parameters_from_name(reading.repository.source().name)
    if guess is None:
        return params
    reading.warnings.append("The parameter count is only what the repository's name announces.")
    figure = Figure(value=guess, unit="parameters", origin=Origin.ASSUMED, source="repository name")
    return params.model_copy(update={"total": figure})


def _declared_dtype(reading: Reading) -> str | None:
    for view in (reading.root, reading.design.view if reading.design else None):
        if view is not None:
            dtype = safetensors_dtype(view.value("torch_dtype", "dtype"))
            if dtype is not None:
                return dtype
    return None


def _stored_bytes(reading: Reading) -> tuple[int | None, str]:
    """Bytes of the counted files, else what the index states."""
    file_set = reading.choice.counted.get("")
    if file_set is not None and not file_set.missing and file_set.bytes is not None:
        return file_set.bytes, "file sizes"
    if "" in reading.index_bytes:
        return reading.index_bytes[""], "the index's total_size"
    return None, ""


def _findings(reading: Reading, encoder: str | None, tensors: tuple[TensorGroup, ...]) -> Findings:
    pipeline = reading.pipeline if reading.pipeline is not None else ({} if reading.choice.pipeline else None)
    names = [f.path for f in reading.listing.files]
    task = reading.listing.hub_facts.get("pipeline_tag")
    findings = classify(reading.root, reading.design, encoder, tensors, pipeline, names, task)
    if not findings.evidence:
        from whichgpu.inspect.name_hints import classes_from_name

        name = reading.repository.source().name
        for model_class, mark in classes_from_name(name).items():
            findings.add(model_class, f"assumed from “{clean(mark)}” in the name", "repository name")
            if model_class is ModelClass.MULTIMODAL:
                findings.modalities.add("image in")
        reading.warnings.append("Neither config nor headers say what this is; the class is assumed from its name.")
    return findings


def _pipeline_from_sizes(reading: Reading) -> Inspection:
    findings = _findings(reading, None, ())
    groups, complete = pipeline_components(reading)
    stored = sum(g.bytes or 0 for g in groups) if groups else None
    grade = Grade.SIZES if groups else Grade.CONFIG
    params = counting.parameters(groups, None, None, Origin.COMPUTED, "file sizes / dtype")
    source = "file sizes" if complete else "the sizes that are known; some components are missing"
    weights = counting.weights(groups, stored, Origin.READ if stored else None, source)
    return _inspection(reading, findings, None, grade, f"bytes from {source}", groups, params, weights)


def _inspection(
    reading: Reading,
    findings: Findings,
    published: Published | None,
    grade: Grade,
    note: str,
    groups: tuple[TensorGroup, ...],
    parameters: Parameters,
    weights: Weights,
) -> Inspection:
    _note_doubts(reading, grade, parameters)
    counted = tuple(clean(s.label) for s in reading.choice.counted.values())
    quantisation = published.record_of(groups) if published is not None else None
    files = () if reading.gguf_elements is not None else tuple(f.path for f in reading.listing.files)
    return Inspection(
        source=reading.repository.source(),
        grade=grade,
        grade_note=note,
        classes=findings.classes,
        modalities=tuple(sorted(findings.modalities)),
        evidence=tuple(
            e.model_copy(update={"because": clean(e.because), "where": clean(e.where)}) for e in findings.evidence
        ),
        architecture=architecture_record(
            reading.root, reading.design, _declared_dtype(reading), findings.classes, files
        ),
        parameters=parameters,
        weights=weights,
        quantisation=quantisation,
        tensors=groups,
        components=component_records(groups, reading.pipeline),
        variants=tuple(
            Variant(name=clean(v.stem), files=tuple(clean(f.path) for f in v.files), bytes=v.bytes)
            for v in reading.choice.variants
        ),
        adapter_of=reading.adapter_of,
        selection=Selection(
            counted=counted, ignored=tuple((clean(n), clean(r)) for n, r in sorted(set(reading.choice.ignored)))
        ),
        warnings=tuple(dict.fromkeys(reading.warnings)),
        unread=tuple(dict.fromkeys(reading.unread)),
    )


def _note_doubts(reading: Reading, grade: Grade, parameters: Parameters) -> None:
    """What a person should doubt, written into the reading's warnings and unread values.

    UnreadableError: the sizes are those of no model.
    """
    if (parameters.total.value or 0) > _MOST_PARAMETERS:
        raise UnreadableError(
            f"The config's sizes make {parameters.total.value:,} parameters; no model has more than {_MOST_PARAMETERS:,}.",
            "Look into the config.",
        )
    if reading.design is not None and not reading.design.known and not _has_own_blueprint(reading):
        name = clean(reading.design.model_type or "(none)")
        reading.warnings.append(f"model_type {name} is not in our table; everything follows from its config keys.")
    if grade is not Grade.HEADERS and reading.root is not None and reading.root.string("_class_name") is None:
        reading.warnings += _unknown_towers(reading)
        reading.warnings += [] if _has_own_blueprint(reading) else _uncounted(reading.root)
    if reading.root is not None:
        reading.warnings += uncounted_bases(reading.root, parameters.by_part)
    if reading.adapter_of is not None:
        reading.warnings.append(f"This is an adapter (LoRA) of {reading.adapter_of}; ask for that model instead.")
    for view in (reading.root, reading.design.view if reading.design else None):
        reading.unread += [f"{text} is no usable value." for text in view.rejected] if view is not None else []


def _unknown_towers(reading: Reading) -> list[str]:
    """Encoders whose design nobody told us: what they hold is a guess from their sizes."""
    from whichgpu.inspect.blueprint.towers import is_known_tower, towers

    root = reading.root
    unknown = [(m, v) for m, v in towers(root) if not is_known_tower(m, v, root)] if root is not None else []
    return [
        f"The {modality} encoder {clean(view.string('model_type') or '(unnamed)')} is not in our table;"
        " it is counted as a plain transformer, and its projector as two layers."
        for modality, view in unknown
    ]


def _uncounted(root: ConfigView) -> list[str]:
    """What a config describes beside all that is counted: mostly a model that speaks, which no server of text loads."""
    return [
        f"The config describes a model of its own under {clean(name, 60)}; it is not counted."
        for name in uncounted(root)
    ]


def _has_own_blueprint(reading: Reading) -> bool:
    """Encoders and encoder-decoders are counted from their own designs, whatever their model_type."""
    return reading.root is not None and encoder_kind(reading.root) is not None
