"""What a quantised checkpoint says it left in high precision, by module and, where the list is by layer, in how many layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from whichgpu.inspect.records import Part
from whichgpu.inspect.text import clean

_BLOCKS_OF_EXPERTS = frozenset({Part.ROUTED_EXPERTS, Part.SHARED_EXPERTS})

_IN_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)(?:\.|$|\*)")


@dataclass(frozen=True, slots=True)
class KeptModules:
    """Module patterns (digits replaced by ``*``, or ``re:`` regular expressions) kept in high precision."""

    patterns: tuple[str, ...] = ()
    layers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """In which layers a pattern is listed; absent where it speaks of all."""
    depth: int | None = None
    """The model's layers."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.patterns)

    def and_also(self, *patterns: str) -> KeptModules:
        """These and ``patterns`` in every layer."""
        return replace(self, patterns=(*self.patterns, *patterns))

    def tensors(self, name: str, part: Part, count: int, each: int = 1) -> int:
        """Return how many of ``count`` tensors of this name are kept, where one layer has ``each``.

        A next-token layer goes with the others where a quarter of them or more is listed.
        """
        module = name.removesuffix(".weight")
        module_layers: frozenset[str] = frozenset()
        whole_layers: frozenset[str] = frozenset()
        for pattern in self.patterns:
            if not _matches(pattern, module):
                continue
            pattern_layers = self.layers.get(pattern)
            if pattern_layers is None:
                return count
            module_layers, whole_layers = (
                (module_layers, whole_layers | pattern_layers)
                if _is_layer(pattern)
                else (module_layers | pattern_layers, whole_layers)
            )
        if module.startswith("mtp."):
            return count if len(module_layers) >= max(2, (self.depth or 2) // 4) else 0
        return min(
            (len(module_layers) + self._among(len(whole_layers - module_layers), count // each, part)) * each, count
        )

    def _among(self, listed: int, layers: int, part: Part) -> int:
        """Of ``listed`` whole layers, those likely among the ``layers`` with such a module: dense blocks come first."""
        others = max(0, (self.depth or layers) - layers)
        if part in _BLOCKS_OF_EXPERTS:
            return max(0, listed - others)
        return listed if part is Part.DENSE_FFN else round(listed * layers / (layers + others))


def read_kept(listed: object, depth: int | None) -> KeptModules:
    """Shorten a list of module names: digits become ``*``, and it is counted in how many of ``depth`` layers one is."""
    if not isinstance(listed, list):
        return KeptModules(depth=depth)
    layers: dict[str, set[str]] = {}
    everywhere: set[str] = set()
    for item in listed:
        if not isinstance(item, str) or not item:
            continue
        text = clean(item)
        pattern = text if text.startswith("re:") else star_digits(text)
        if pattern == text:
            everywhere.add(pattern)
        layer = _IN_LAYER.search(text)
        beyond = layer is not None and depth is not None and int(layer[1]) >= depth  # next-token layers
        layers.setdefault(pattern, set()).update(() if beyond else (layer[1] if layer else text,))
    return KeptModules(
        tuple(sorted(p for p in layers if layers[p])),
        {p: frozenset(indices) for p, indices in layers.items() if p not in everywhere},
        depth,
    )


def star_digits(name: str) -> str:
    """Replace every index in a module's path."""
    path = re.sub(r"(?<=\.)\d+(?=\.|\*|$)", "*", name).replace("**", "*")
    return re.sub(r"(\.\*){2,}$", ".*", path)


def plain_module(name: str) -> str:
    """Drop the wrappers that publishers put before a module's own path."""
    plain = re.sub(r"^(model\.|language_model\.|transformer\.|backbone\.)+", "", name).removesuffix(".weight")
    return re.sub(r"\.shared_expert\b", ".shared_experts", plain).replace(".block_sparse_moe.", ".mlp.")


def mixer_alias(module: str) -> str:
    """Nemotron-H has one name for attention and feed-forward blocks."""
    return re.sub(r"\.(mlp|self_attn)\.", ".mixer.", module, count=1)


def _is_layer(pattern: str) -> bool:
    return plain_module(pattern).strip("*.") == "layers"


def _matches(pattern: str, module: str) -> bool:
    if pattern.startswith("re:"):
        try:
            return re.match(pattern[3:], f"model.{module}") is not None
        except re.error:
            return False
    plain = plain_module(pattern).strip("*.")
    if ".mixer." in f".{plain}.":
        module = mixer_alias(module)
    return bool(plain) and (module == plain or f".{module}.".find(f".{plain}.") >= 0)
