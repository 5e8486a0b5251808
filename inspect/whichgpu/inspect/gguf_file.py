"""GGUF headers through the ``gguf`` package: metadata and tensor table from the start of a file."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from whichgpu.inspect import gguf_bounds
from whichgpu.inspect.errors import UnreadableError
from whichgpu.inspect.headers import Tensor
from whichgpu.inspect.records import Part
from whichgpu.inspect.text import clean

FIRST_BYTES = 8 * 2**20
"""Enough for the vocabulary of most models, which makes up nearly all of a GGUF header."""

_AGAIN = "Download or convert it again."

_PARTS: tuple[tuple[Part, str], ...] = (
    (Part.MTP, r"^mtp\.|nextn"),
    (Part.ROUTED_EXPERTS, r"_exps\b"),
    (Part.SHARED_EXPERTS, r"_shexp"),
    (Part.ROUTER, r"ffn_gate_inp|exp_probs"),
    (Part.VISION, r"^v\.|^mm\."),
    (Part.SSM, r"ssm_"),
    (Part.NORM, r"norm"),
    (Part.EMBEDDING, r"^token_embd|^per_layer_token_embd|position_embd"),
    (Part.HEAD, r"^output\.|^cls"),
    (Part.ATTENTION, r"attn|sinks"),
    (Part.DENSE_FFN, r"ffn_"),
)


def part_of_gguf(name: str) -> Part:
    """Return the part of a llama.cpp tensor name such as ``blk.*.ffn_up_exps.weight``."""
    return next((part for part, pattern in _PARTS if re.search(pattern, name)), Part.OTHER)


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the header of one file says."""

    fields: dict[str, Any]
    """Metadata by key; long arrays (the vocabulary) are left empty."""
    tensors: list[Tensor]
    """The tensors as stored."""
    elements: dict[str, int]
    """Logical elements per tensor."""


def read_gguf(start: Callable[[int], bytes], name: str, size: int | None) -> GgufHeader:
    """Read a GGUF header.

    Args:
        start: returns the first n bytes of the file.
        name: the file, for messages.
        size: its size, when known.

    Raises:
        UnreadableError: no GGUF, damaged, or a header that never ends.
    """
    prefix_size = FIRST_BYTES
    while True:
        data = start(prefix_size)
        if data[:4] != b"GGUF":
            raise UnreadableError(f"{clean(name)} is not a GGUF file.")
        try:
            gguf_bounds.check(data, size)
            return _parse(data)
        except gguf_bounds.ImpossibleError as error:
            raise UnreadableError(f"{clean(name)} has a damaged GGUF header: {error}.", _AGAIN) from error
        except (ValueError, KeyError, IndexError, TypeError, OverflowError, MemoryError) as error:
            whole = len(data) < prefix_size or (size is not None and len(data) >= size)
            if whole or prefix_size >= gguf_bounds.MOST_BYTES:
                raise UnreadableError(f"{clean(name)} has a damaged GGUF header.", _AGAIN) from error
        prefix_size *= 4


def file_type(header: GgufHeader) -> str:
    """Name the quantisation: what the file declares, else the dtype that most of its bytes have."""
    from gguf.constants import LlamaFileType

    declared = header.fields.get("general.file_type")
    if type(declared) is int and declared in LlamaFileType._value2member_map_ and declared != LlamaFileType.GUESSED:
        return LlamaFileType(declared).name.removeprefix("MOSTLY_").removeprefix("ALL_").lower()
    sizes: Counter[str] = Counter()
    for tensor in header.tensors:
        sizes[tensor.dtype] += tensor.bytes
    return sizes.most_common(1)[0][0].lower() if sizes else "unknown"


def _parse(data: bytes) -> GgufHeader:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.gguf_reader import GGUFReader, ReaderField

    class HeaderReader(GGUFReader):
        """Stops before the tensor data, so that the start of a file is enough."""

        infos: list[ReaderField]

        def _build_tensors(self, start_offs: int, fields: list[ReaderField]) -> None:
            self.infos = fields

    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(data)
        file.flush()
        reader = HeaderReader(file.name)
        fields = {key: _value(field) for key, field in reader.fields.items()}
        tensors: list[Tensor] = []
        elements: dict[str, int] = {}
        for info in reader.infos:
            shape = tuple(int(n) for n in reversed(info.parts[3].tolist()))
            kind = GGMLQuantizationType(int(info.parts[4][0]))
            block, width = GGML_QUANT_SIZES[kind]
            count = 1
            for n in shape:
                count *= n
            tensors.append(Tensor(clean(info.name), kind.name, shape, count * width // block))
            elements[clean(info.name)] = count
    return GgufHeader(fields, tensors, elements)


def _value(field: Any) -> Any:
    """A field's value; long arrays (the vocabulary) become their length."""
    if len(field.types) > 1:
        return [] if len(field.data) > 4096 else field.contents()
    return field.contents()
