"""Tensors of a language model that stands beside the first one."""

from __future__ import annotations

from dataclasses import replace

from whichgpu.inspect.architecture import read_design
from whichgpu.inspect.blueprint.decoder import language_model
from whichgpu.inspect.blueprint.table import Row, matrix
from whichgpu.inspect.config_view import ConfigView, as_integer
from whichgpu.inspect.records import Part

_ENDS = (Part.EMBEDDING, Part.HEAD)
_SHARING = ("encoder", "encoder_config")
"""Stacks that have no head, and hardly an embedding, of their own."""


def second_stack(name: str, view: ConfigView) -> list[Row]:
    """Return the layers of an encoder, which shares the decoder's embedding, or of a stack that has an embedding of its own."""
    design = read_design(view)
    rows = language_model(design) if design is not None else []
    return [replace(row, name=f"{name}.{row.name}") for row in rows if name not in _SHARING or row.part not in _ENDS]


def byte_groups(root: ConfigView) -> list[Row]:
    """BLT: tables for groups of bytes, and attention between its stacks of bytes and of patches (transformers BltModel)."""
    groups, entries = (
        root.numbers("encoder_hash_byte_group_size") or [],
        as_integer(root.value("encoder_hash_byte_group_vocab")),
    )
    encoder, decoder = root.sub("encoder_config"), root.sub("decoder_config")
    if not entries or not groups or encoder is None or decoder is None:
        return []
    width = as_integer(encoder.value("hidden_size")) or 0
    functions = as_integer(root.value("encoder_hash_byte_group_nb_functions")) or 1
    rows = [Row("hash_embeddings", Part.LOOKUP, (len(groups) * functions * entries, width))]
    for name, stack in (("encoder", encoder), ("decoder", decoder)):
        h, patch = as_integer(stack.value("hidden_size")) or 0, as_integer(stack.value("hidden_size_global"))
        count = (as_integer(stack.value("num_hidden_layers")) or 0) if stack.flag("cross_attn_all_layers") else 1
        rows += [r for letter in "qkvo" for r in matrix(f"{name}.cross.{letter}", Part.ATTENTION, h, h, count=count)]
        rows += matrix(f"{name}.patch_projection", Part.ATTENTION, patch, h * (2 if name == "decoder" else 1))
    return rows
