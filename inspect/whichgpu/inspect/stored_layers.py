"""What the headers hold of each layer: matrices with their logical shapes, read from names and shapes in one pass.

A checkpoint names its layers by a number after a common beginning (``model.layers.3.``, ``transformer.h.3.``, ``backbone.layers.3.``).
Of several such stacks that of the language model is the one with the most bytes that is no encoder's.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

from whichgpu.inspect.config_view import MOST_LAYERS
from whichgpu.inspect.headers import Tensor
from whichgpu.inspect.names import is_buffer, is_scale, part_of
from whichgpu.inspect.packing import Shape, unpacked_shape
from whichgpu.inspect.quantisation import Published
from whichgpu.inspect.records import Part

_NUMBERED = re.compile(r"((?:[^.]+\.)*?)(\d{1,5})\.(.+)")
_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
_STACK = re.compile(r"(^|\.)(layers?|h|blocks?|blk)\.$")
_BESIDE = re.compile(
    r"vision|visual|vit\.|vpm|image|audio|speech|(?<!transformer\.)encoder|talker|predictor|code2wav|mtp|draft|cross_attn|eagle|medusa|dit\b"
)
"""Words of stacks that are not the language model's: encoders, speech output, drafters."""
_BODY = re.compile(r"\.(weight|qweight|weight_packed|W_q)$|_blocks$")
_HEAD = re.compile(
    r"((^|\.)(lm_head|embed_out|output_layer)|^(model\.)?(transformer\.)?(output|head|ff_out))\.(base_layer\.|linear\.)?(q?weight|weight_packed|W_q)$"
)
_FIRST_NORM = re.compile(r"input_layernorm|attention_norm|attn_norm|ln_1|operator_norm|norm1")
"""What is before a layer's mixer, as transformers and Mistral call it."""
_DRAFTS = re.compile(r"^(eh_proj|enorm|hnorm|shared_head|embed_tokens|nextn)\b")


_Key = tuple[tuple[str, str, Shape], ...]
"""What tells two layers apart: names, dtypes and shapes."""


class Matrix(NamedTuple):
    """One module of a layer: its logical shape, and how many of it there are (experts that are stored one by one)."""

    shape: Shape
    times: int


@dataclass(slots=True)
class StoredLayer:
    """One layer's modules, by their names within it with ``*`` for numbers: ``mlp.experts.*.down_proj``."""

    modules: dict[str, Matrix] = field(default_factory=dict)

    def parts(self) -> dict[str, Part]:
        """Return the part that every module belongs to."""
        return {name: part_of(f"layers.*.{name}.weight") for name in self.modules}


@dataclass(slots=True)
class Stored:
    """What headers say of a language model."""

    prefix: str
    """How its layers' names begin: ``model.layers.``."""
    layers: list[StoredLayer]
    hidden: int | None
    """Width of what goes from layer to layer, where the first norm of all layers has one length."""
    drafts: int
    """Next-token layers, which lie in the same stack after the others."""
    has_head: bool | None
    """``None`` where there is no embedding either: then something else is stored than a whole model."""
    has_drafts: bool
    """True where any tensor is a next-token layer's, in this stack or beside it."""


def stored_layers(tensors: Iterable[Tensor], published: Published | None) -> Stored | None:
    """Return what the headers hold of the language model's layers, or ``None`` where names tell no stack of layers, or one of
    more than any model has."""
    stacks: dict[str, dict[int, list[tuple[str, Tensor]]]] = defaultdict(lambda: defaultdict(list))
    sizes: dict[str, int] = defaultdict(int)
    ends: list[Tensor] = []
    for tensor in tensors:
        match = _NUMBERED.match(tensor.name)
        if match is None:
            ends.append(tensor)
            continue
        prefix, number, rest = match.groups()
        stacks[prefix][int(number)].append((rest, tensor))
        sizes[prefix] += tensor.bytes
    candidates = [p for p in stacks if _STACK.search(p) and _BESIDE.search(p) is None]
    if not candidates:
        return None
    prefix = max(candidates, key=lambda p: sizes[p])
    stack = stacks[prefix]
    drafts = {i for i, entries in stack.items() if any(_DRAFTS.match(rest) for rest, _ in entries)}
    has_drafts = bool(drafts) or any(part_of(name) is Part.MTP for name in (*stacks, *(t.name for t in ends)))
    count = max((i + 1 for i in stack if i not in drafts), default=0)
    if count > MOST_LAYERS:
        return None
    layers_by_key: dict[_Key, StoredLayer] = {}
    layers = [_layer(stack.get(i, []), published, layers_by_key) for i in range(count)]
    return Stored(prefix, layers, _hidden(layers), len(drafts), _has_head(ends), has_drafts)


def _hidden(layers: list[StoredLayer]) -> int | None:
    norms = (m.shape for layer in layers for name, m in layer.modules.items() if _FIRST_NORM.fullmatch(name))
    lengths = {shape[0] if len(shape) == 1 else None for shape in norms}
    return lengths.pop() if len(lengths) == 1 else None


def _has_head(ends: list[Tensor]) -> bool | None:
    """True where a tensor outside the layers is called a head, or has as many rows as the embedding beside it."""
    beside = [t for t in ends if _BESIDE.search(t.name) is None and len(t.shape) <= 2]
    embeddings = [t for t in beside if part_of(t.name) is Part.EMBEDDING]
    rows = {t.shape[0] for t in embeddings if len(t.shape) == 2}
    others = (t for t in beside if t not in embeddings)
    if any(_HEAD.search(t.name) or (len(t.shape) == 2 and t.shape[0] in rows) for t in others):
        return True
    return False if embeddings else None


def _layer(
    entries: list[tuple[str, Tensor]], published: Published | None, layers: dict[_Key, StoredLayer]
) -> StoredLayer:
    """One layer from its tensors; layers that are alike are one."""
    key = tuple((rest, tensor.dtype, tensor.shape) for rest, tensor in entries)
    if key not in layers:
        layers[key] = _read_layer(entries, published)
    return layers[key]


def _read_layer(entries: list[tuple[str, Tensor]], published: Published | None) -> StoredLayer:
    counts: dict[str, int] = defaultdict(int)
    kinds: dict[str, tuple[str, Shape]] = {}
    for rest, tensor in entries:
        pattern = _NUMBER.sub("*", rest)
        counts[pattern] += 1
        kinds.setdefault(pattern, (tensor.dtype, tensor.shape))
    siblings = {pattern: shape for pattern, (_, shape) in kinds.items()}
    layer = StoredLayer()
    for pattern, (dtype, shape) in kinds.items():
        is_bias = pattern.endswith("bias") and not pattern.endswith("dt_bias")
        if is_buffer(pattern) or is_scale(pattern) or is_bias or 0 in shape:
            continue
        logical = unpacked_shape(pattern, dtype, shape, siblings, published) or shape
        layer.modules.setdefault(_BODY.sub("", pattern), Matrix(logical, counts[pattern]))
    return layer


def width(matrix: Matrix | None, other: int | None) -> int | None:
    """The side of a matrix across from one of ``other`` elements, whichever comes first; ``None`` where it has no such side.

    Packed weights of some formats are flat, so that the product counts where there is one side alone.
    """
    if matrix is None or not other or len(matrix.shape) > 3:
        return None
    sides = matrix.shape[-2:] if len(matrix.shape) >= 2 and 1 not in matrix.shape[-2:] else (prod(matrix.shape),)
    if len(sides) == 2 and other not in sides:
        return None
    return prod(sides) // other if prod(sides) % other == 0 else None
