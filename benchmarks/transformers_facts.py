"""What the transformers release that a vLLM may install can read: types of configs, and classes that its backend serves.

Its Python is parsed and never run (``follow.py``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

_TABLES = (
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "MODEL_MAPPING_NAMES",
)
"""Tables of classes that vLLM's transformers backend may be given."""
_PARTS = {"sub_configs", "text_config", "thinker_config", "llm_config", "language_config"}
"""Names by which a config class takes another."""
_OWN_ATTENTION = re.compile(r"^class \w*Attention\w*\(nn\.Module\):", re.MULTILINE)
_INTERFACE = "ALL_ATTENTION_FUNCTIONS.get_interface("


class Transformers:
    """One unpacked release."""

    def __init__(self, root: Path) -> None:
        self._models = root / "models"
        metadata = next(root.parent.glob("transformers-*.dist-info"), None)
        self.version = metadata.name.split("-")[1].removesuffix(".dist") if metadata is not None else "unknown"

    @cached_property
    def config_types(self) -> list[str]:
        """Every ``model_type`` that ``AutoConfig`` finds a class for."""
        files = ("auto_mappings.py", "configuration_auto.py")
        tables = [table for name in files for table in self._tables(name, "CONFIG_MAPPING_NAMES")]
        return sorted({key for table in tables for key in table})

    @cached_property
    def composite_types(self) -> list[str]:
        """Types whose config holds others: the language model's and its encoders'."""
        files = ("auto_mappings.py", "configuration_auto.py")
        classes = {
            k: v for name in files for table in self._tables(name, "CONFIG_MAPPING_NAMES") for k, v in table.items()
        }
        texts = [f.read_text(encoding="utf-8") for f in sorted(self._models.glob("*/configuration_*.py"))]
        composite = {name for text in texts for name in composite_classes(text)}
        return sorted(key for key, name in classes.items() if name in composite)

    def backend_classes(self, listed: Container[str]) -> list[str]:
        """Return the classes, beside those that are listed, that vLLM's backend takes: their attention can be exchanged
        (vLLM model_executor/models/registry.py _try_resolve_transformers)."""
        named: set[str] = set()
        for table in (t for name in _TABLES for t in self._tables("modeling_auto.py", name)):
            for value in table.values():
                named.update([value] if isinstance(value, str) else value)
        return sorted(name for name in named if name not in listed and self._exchanges_attention(name))

    def _tables(self, file: str, name: str) -> Iterator[dict[str, Any]]:
        """Every literal table that a name is given or updated with."""
        for node in ast.walk(ast.parse((self._models / "auto" / file).read_text(encoding="utf-8"))):
            is_named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
            is_updated = isinstance(node, ast.Call) and ast.unparse(node.func) == f"{name}.update"
            for inner in ast.walk(node) if is_named or is_updated else ():
                if isinstance(inner, ast.Dict | ast.List):
                    yield _literal_pairs(inner)

    @cached_property
    def _places(self) -> dict[str, str]:
        """The source of the module that defines each class."""
        places: dict[str, str] = {}
        for file in sorted(self._models.glob("*/modeling_*.py")):
            text = file.read_text(encoding="utf-8")
            places |= dict.fromkeys(re.findall(r"^class (\w+)\(", text, re.MULTILINE), text)
        return places

    def _exchanges_attention(self, name: str) -> bool:
        text = self._places.get(name)
        if text is None or "_supports_attention_backend = True" in text:
            return text is not None
        return _INTERFACE in text if _OWN_ATTENTION.search(text) else True


def composite_classes(text: str) -> Iterator[str]:
    """Yield the config classes of a module that take a language model's config of its own."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and _PARTS & {*_assigned_names(node), *_argument_names(node)}:
            yield node.name


def _assigned_names(node: ast.ClassDef) -> Iterator[str]:
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def _argument_names(node: ast.ClassDef) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.arg):
            yield inner.arg


def _literal_pairs(node: ast.Dict | ast.List) -> dict[str, Any]:
    try:
        return dict(ast.literal_eval(node))
    except (ValueError, TypeError):
        return {}
