"""Follow a release of vLLM: take its wheel, write the registry that plans look at, and print what a person has to read.

    python -m benchmarks.follow 0.33.0 [--before 0.32.0] [--write]        # or the paths of two wheels, or of unpacked folders
    python -m benchmarks.follow 0.33.0 --write --python VLLM_PYTHON --models FOLDERS

The wheel's Python is parsed, and does not run. ``--write`` puts the registry into ``assets/whichgpu/assets/vllm_architectures.json``; what changed for
memory is read in the printed functions and written as a change of ``vllm_versions.json`` by hand, with its source. With
``--python`` the release is asked itself, in the environment of vLLM's CPU build: its selectors about every kind of layer (the
asset ``vllm_kernels.json``), its classes about the bytes of the recorded models; what differs from the last release is printed.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Container, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks import follow_judged
from benchmarks.starts import write_asset
from benchmarks.transformers_facts import Transformers, composite_classes

ASSET = Path(__file__).parent.parent / "assets" / "whichgpu" / "assets" / "vllm_architectures.json"
_GENERATING = ("_TEXT_GENERATION_MODELS", "_MULTIMODAL_MODELS")
_POOLING = (
    "_EMBEDDING_MODELS", "_LATE_INTERACTION_MODELS", "_REWARD_MODELS", "_TOKEN_CLASSIFICATION_MODELS", "_SEQUENCE_CLASSIFICATION_MODELS",
)  # fmt: skip
_SERVED = (*_GENERATING, *_POOLING, "_TRANSFORMERS_SUPPORTED_MODELS", "_TRANSFORMERS_BACKEND_MODELS")
_LOADED_ELSEWHERE = ("auto-round", "gguf")
"""Methods that a checkpoint names and another loader takes: INC, the GGUF plugin."""

_VENDORS = {"nvidia": "nvidia", "amd": "amd", "xpu": "intel"}
WATCHED = {
    "v1/worker/gpu/model_runner.py": ("_dummy_sampler_run", "profile_run"),
    "v1/worker/gpu_worker.py": ("determine_available_memory", "init_device"),
    "engine/arg_utils.py": ("get_batch_defaults", "_set_default_max_num_seqs_and_batched_tokens_args"),
    "v1/core/kv_cache_utils.py": ("get_kv_cache_groups", "get_kv_cache_config_from_groups", "max_memory_usage_bytes"),
    "v1/kv_cache_interface.py": ("max_memory_usage_bytes", "page_size_bytes", "real_page_size_bytes"),
    "config/compilation.py": ("resolve_cudagraph_mode_and_sizes",),
    "distributed/utils.py": ("get_pp_indices",),
    "model_executor/models/config.py": (),
}
"""Functions whose change may change a plan; of a file without names, all of it."""


class Release:
    """The Python of one release, parsed and never run."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._trees: dict[Path, ast.Module | None] = {}

    @property
    def folder(self) -> Path:
        """Where Python finds it."""
        return self._root.parent

    @cached_property
    def version(self) -> str:
        """As the wheel's metadata has it; ``unknown`` where it has none."""
        for metadata in self._root.parent.glob("vllm-*.dist-info/METADATA"):
            for line in metadata.read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith("Version: "):
                    return line.removeprefix("Version: ").strip()
        return "unknown"

    def text(self, path: str) -> str:
        """Return a file's text; empty where it is not there."""
        file = self._root / path
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""

    def function(self, path: str, name: str) -> str:
        """Return the source of every function of that name in a file; where it moved away, in the folder above."""
        source = _functions(self.text(path), name)
        if not source:
            files = sorted((self._root / path).parent.rglob("*.py"))
            source = "\n".join(filter(None, (_functions(f.read_text(encoding="utf-8"), name) for f in files)))
        return source

    @cached_property
    def tables(self) -> dict[str, dict[str, Any]]:
        """The registry's tables: (module, class) or a word by the name of an architecture."""
        tables: dict[str, dict[str, Any]] = {}
        for node in ast.parse(self.text("model_executor/models/registry.py")).body:
            target = (
                node.targets[0]
                if isinstance(node, ast.Assign)
                else node.target
                if isinstance(node, ast.AnnAssign)
                else None
            )
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            if isinstance(target, ast.Name) and isinstance(value, ast.Dict):
                pairs = zip(value.keys, value.values, strict=True)
                tables[target.id] = {str(k.value): _literal(v) for k, v in pairs if isinstance(k, ast.Constant)}
        return tables

    @cached_property
    def quantisations(self) -> list[str]:
        """Names of the checkpoint formats that have a loader."""
        tree = ast.parse(self.text("model_executor/layers/quantization/__init__.py"))
        keys = [
            k.value for n in ast.walk(tree) if isinstance(n, ast.Dict) for k in n.keys if isinstance(k, ast.Constant)
        ]
        return sorted({*(k for k in keys if isinstance(k, str)), *_LOADED_ELSEWHERE})

    @cached_property
    def deprecated_quantisations(self) -> list[str]:
        """Formats whose loader has to be asked for."""
        formats = self._assigned("model_executor/layers/quantization/__init__.py", "DEPRECATED_QUANTIZATION_METHODS")
        return sorted(_literal(formats) or ()) if formats is not None else []

    @cached_property
    def config_types(self) -> list[str]:
        """Every ``model_type`` that vLLM has a config class of its own for."""
        table = self._assigned("transformers_utils/config.py", "_CONFIG_REGISTRY")
        return sorted(k.arg for k in table.keywords if k.arg is not None) if isinstance(table, ast.Call) else []

    @cached_property
    def composite_types(self) -> list[str]:
        """Those of them whose config holds the language model's."""
        table = self._assigned("transformers_utils/config.py", "_CONFIG_REGISTRY")
        pairs = {k.arg: _literal(k.value) for k in table.keywords if k.arg} if isinstance(table, ast.Call) else {}
        files = sorted((self._root / "transformers_utils" / "configs").rglob("*.py"))
        composite = {name for f in files for name in composite_classes(f.read_text(encoding="utf-8"))}
        return sorted(key for key, name in pairs.items() if name in composite)

    @cached_property
    def typed_by_class(self) -> list[str]:
        """Classes whose config may lack its ``model_type``."""
        table = self._assigned("transformers_utils/config.py", "_ARCHITECTURE_TO_MODEL_TYPE")
        return sorted(_literal(table) or ()) if table is not None else []

    @cached_property
    def transformers_range(self) -> str:
        """Which releases of transformers it may be installed with."""
        for metadata in self._root.parent.glob("vllm-*.dist-info/METADATA"):
            requirement = re.search(
                r"^Requires-Dist: transformers ?\(?([^;)\n]+)", metadata.read_text(encoding="utf-8"), re.MULTILINE
            )
            return requirement[1].strip() if requirement else ""
        return ""

    def _assigned(self, path: str, name: str) -> ast.expr | None:
        """What a module gives a name."""
        for node in ast.parse(self.text(path)).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and target.id == name:
                return node.value
        return None

    def registry(self, transformers: Transformers | None = None) -> dict[str, Any]:
        """Return what plans look at; with what a release of transformers reads beside it."""
        tables = self.tables
        classes = sorted(set().union(*(tables[name] for name in _SERVED)))
        pooling = set().union(*(tables[name] for name in _POOLING))
        generating = set().union(*(tables[name] for name in _GENERATING))
        places = {
            n: v
            for t in (*_GENERATING, "_TRANSFORMERS_SUPPORTED_MODELS")
            for n, v in tables[t].items()
            if isinstance(v, tuple)
        }
        return {
            "schema_version": 1,
            "vllm": ".".join(self.version.split("+")[0].split(".")[:2]),
            "date": datetime.now(UTC).date().isoformat(),
            "source": f"vLLM {self.version} model_executor/models/registry.py, models/*/__init__.py, layers/quantization/__init__.py",
            "supported": classes,
            "pooling": sorted(pooling),
            "generating_too": sorted(pooling & generating),
            "without_pipeline_parallel": sorted(
                n for n, (m, c) in places.items() if self._has_pipelines(m, c) is False
            ),
            "takes_video": [n for n, (m, c) in sorted(places.items()) if self._takes_video(m, c)],
            "lora": self._lora(places),
            "removed": dict(sorted(tables["_PREVIOUSLY_SUPPORTED_MODELS"].items())),
            "plugins": dict(sorted(tables["_OOT_SUPPORTED_MODELS"].items())),
            "transformers_backend": sorted(tables["_TRANSFORMERS_SUPPORTED_MODELS"]),
            "quantisations": self.quantisations,
            "deprecated_quantisations": self.deprecated_quantisations,
            **(self._with(transformers, classes) if transformers is not None else {}),
            "vendors": {n: v for n, (m, c) in sorted(places.items()) if (v := self._vendors(m, c)) is not None},
        }

    def _with(self, transformers: Transformers, served: Container[str]) -> dict[str, Any]:
        """What is read by another library than vLLM: types of configs and classes."""
        generating = ("ForCausalLM", "ForConditionalGeneration")
        return {
            "transformers": transformers.version,
            "config_types": sorted({*transformers.config_types, *self.config_types}),
            "composite_types": sorted({*transformers.composite_types, *self.composite_types}),
            "typed_by_class": self.typed_by_class,
            "backend": [name for name in transformers.backend_classes(served) if name.endswith(generating)],
        }

    def _file(self, module: str) -> Path:
        """A model's module: of the registry's own folder, or named whole."""
        parts = (
            module.removeprefix("vllm.").split(".")
            if module.startswith("vllm.")
            else ["model_executor", "models", *module.split(".")]
        )
        base = self._root.joinpath(*parts)
        return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")

    def _tree(self, path: Path) -> ast.Module | None:
        if path not in self._trees:
            self._trees[path] = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else None
        return self._trees[path]

    def _lora(self, places: Mapping[str, tuple[str, str]]) -> dict[str, list[str]]:
        """Which classes take no adapters, take them for embedding and head, or hold experts' gate and up as one."""
        lines = {n: self._lineage(m, c) for n, (m, c) in sorted(places.items())}
        return {
            "without": [n for n, (m, c) in sorted(places.items()) if self._is_a("SupportsLoRA", m, c) is False],
            "embeddings": [n for n, c in lines.items() if _first_assigned(c, "embedding_modules") not in ("", "{}")],
            "heads": [n for n, c in lines.items() if re.search("lm_head|[.]", _first_assigned(c, "embedding_modules"))],
            "fused_experts": [n for n, c in lines.items() if _first_assigned(c, "is_3d_moe_weight") == "True"],
        }

    def _takes_video(self, module: str, name: str) -> bool:
        """True where the encoder of images is marked as one of videos too."""
        texts = (ast.unparse(node) for node in self._lineage(module, name))
        return any(re.search(r"_mark_tower_model\([^)]*'video'", text) for text in texts)

    def _lineage(self, module: str, name: str, depth: int = 0) -> list[ast.ClassDef]:
        """Return a class and its bases, nearest first, as far as they are written in models' modules."""
        tree = self._tree(self._file(module)) if depth <= 12 else None
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.ClassDef) and node.name == name:
                bases = [ast.unparse(b).split("[")[0].split(".")[-1] for b in node.bases]
                return [node, *(c for base in bases for c in self._lineage(module, base, depth + 1))]
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return self._lineage(_absolute(self._file(module), node, self._root), alias.name, depth + 1)
        return []

    def _has_pipelines(self, module: str, name: str) -> bool | None:
        return self._is_a("SupportsPP", module, name)

    def _is_a(self, mixin: str, module: str, name: str, depth: int = 0) -> bool | None:
        """True where a class or one of its bases is so named; ``None`` where that is decided when it runs."""
        if name == mixin:
            return True
        tree = self._tree(self._file(module))
        if tree is None or depth > 12:
            return None if module.startswith("vllm.") else False
        nodes = list(ast.walk(tree))
        answers: list[bool | None] = []
        for node in nodes:
            if isinstance(node, ast.ClassDef) and node.name == name:
                bases = [ast.unparse(b).split("[")[0].split(".")[-1] for b in node.bases]
                answers += [self._is_a(mixin, module, base, depth + 1) for base in bases]
        if not answers:
            for node in nodes:
                if isinstance(node, ast.ImportFrom):
                    names = [alias.name for alias in node.names if (alias.asname or alias.name) == name]
                    answers += [
                        self._is_a(mixin, _absolute(self._file(module), node, self._root), n, depth + 1) for n in names
                    ]
        return True if True in answers else None if None in answers else False

    def _vendors(self, module: str, name: str) -> list[str] | None:
        """Return whose cards a class is written for, where its package has folders by vendor; ``None`` is anybody's."""
        tree = self._tree(self._file(module)) if module.startswith("vllm.models.") else None
        if tree is None:
            return None
        folders = {
            (node.module or "").split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            and node.level == 1
            and any((a.asname or a.name) == name for a in node.names)
        }
        vendors = sorted({_VENDORS[f] for f in folders if f in _VENDORS})
        return vendors if vendors and folders <= {*_VENDORS, "cpu"} else None


def _first_assigned(classes: list[ast.ClassDef], name: str) -> str:
    """Return what the nearest class that gives a name a value gives it, as written; empty where none does."""
    for node in classes:
        for line in node.body:
            target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
            if isinstance(line, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and target.id == name:
                return ast.unparse(line.value) if line.value is not None else ""
    return ""


def _functions(text: str, name: str) -> str:
    if f"def {name}(" not in text:
        return ""
    nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef) and n.name == name]
    return "\n".join(ast.get_source_segment(text, n) or "" for n in nodes)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _absolute(file: Path, node: ast.ImportFrom, root: Path) -> str:
    """Return an import's module from the package's own root."""
    if node.level == 0:
        return node.module or ""
    package = file.parent
    for _ in range(node.level - 1):
        package = package.parent
    parts = ["vllm", *package.relative_to(root).parts, *(node.module.split(".") if node.module else ())]
    return ".".join(parts)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield what two registries have that the other has not."""
    for key in after:
        if key in ("date", "source", "schema_version", "since"):
            continue
        old, new = before.get(key), after[key]
        if isinstance(new, str):
            yield from [f"{key}: {old} → {new}"] if old != new else []
            continue
        less, more = sorted(set(old or ()) - set(new)), sorted(set(new) - set(old or ()))
        yield from (f"{key}: + {name}" for name in more)
        yield from (f"{key}: - {name}" for name in less)


def came_with(earlier: Mapping[str, Any], registry: Mapping[str, Any]) -> dict[str, str]:
    """Return the version that each class came with, as far back as releases were followed: what is new came with this one."""
    since = {name: version for name, version in earlier.get("since", {}).items() if name in registry["supported"]}
    new = set(registry["supported"]) - set(earlier["supported"])
    return dict(sorted((since | dict.fromkeys(new, registry["vllm"])).items()))


def no_longer_read(earlier: Mapping[str, Any], registry: Mapping[str, Any]) -> dict[str, str]:
    """Return the last version that read each format of checkpoints, as far back as releases were followed."""
    formats = set(earlier["quantisations"]) - set(registry["quantisations"])
    return dict(sorted((dict.fromkeys(formats, earlier["vllm"]) | earlier.get("removed_quantisations", {})).items()))


def changed_functions(before: Release, after: Release) -> Iterator[str]:
    """Yield the differences of the functions that decide memory and starts, for a person to read."""
    for path, names in WATCHED.items():
        for name in names or ("",):
            old, new = (r.function(path, name) if name else r.text(path) for r in (before, after))
            if old != new:
                label = f"{path} {name}".strip()
                yield "\n".join(
                    difflib.unified_diff(
                        old.splitlines(),
                        new.splitlines(),
                        f"{label} ({before.version})",
                        f"{label} ({after.version})",
                        lineterm="",
                        n=1,
                    )
                )


def unpacked(what: str, folder: Path) -> Release:
    """Return a release by its version (its wheel is downloaded), the path of a wheel, or of an unpacked one."""
    path = Path(what)
    if path.is_dir():
        return Release(path / "vllm" if (path / "vllm").is_dir() else path)
    wheel = path if path.is_file() else downloaded(f"vllm=={what}", folder)
    return Release(_python_of(wheel, folder) / "vllm")


def transformers_for(release: Release, folder: Path) -> Transformers:
    """Return the newest transformers that a release may be installed with."""
    return Transformers(
        _python_of(downloaded(f"transformers{release.transformers_range}", folder), folder) / "transformers"
    )


def downloaded(requirement: str, folder: Path) -> Path:
    """Download the newest wheel that meets a requirement."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-q", "--no-deps", "--only-binary", ":all:", "-d", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, requirement], check=True)
    return next(folder.glob("*.whl"))


def _python_of(wheel: Path, folder: Path) -> Path:
    """Unpack a wheel's Python and its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [n for n in archive.namelist() if n.endswith((".py", "/METADATA"))])
    return folder


def main() -> None:
    """Print what differs, and write the registry where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("release")
    parser.add_argument("--before", help="the release that was followed last, to compare functions with")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--python", help="of vLLM's CPU build: ask the release itself, as far as it goes without a GPU")
    parser.add_argument("--models", type=Path, help="with --python: folders of metadata")
    options = parser.parse_args()
    if (options.python is None) != (options.models is None):
        parser.error("--python and --models go together")
    with tempfile.TemporaryDirectory() as name:
        after = unpacked(options.release, Path(name) / "after")
        transformers = transformers_for(after, Path(name) / "transformers")
        registry, earlier = after.registry(transformers), json.loads(ASSET.read_text(encoding="utf-8"))
        before = unpacked(options.before, Path(name) / "before") if options.before else None
        print("\n".join(differences(before.registry() if before else earlier, registry)))
        if before:
            print("\n\n".join(changed_functions(before, after)))
        if options.write:
            registry |= {
                "since": came_with(earlier, registry),
                "removed_quantisations": no_longer_read(earlier, registry),
            }
            ASSET.write_text(json.dumps(registry, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        if options.python:
            places = [after.folder, Path(name) / "transformers", follow_judged.flashinfer_in(Path(name) / "site")]
            lines = follow_judged.follow(options.models, options.python, places, registry["vllm"], options.write)
            for line in lines:
                print(line, flush=True)
    if options.python and options.write:
        write_asset()


if __name__ == "__main__":
    main()
