"""Which weight files are the model, and which are copies, other formats or something else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from whichgpu.inspect.errors import NotFoundError
from whichgpu.inspect.sources.base import FileEntry
from whichgpu.inspect.text import clean

SHARD = re.compile(
    r"^(?P<stem>.+)[-_](?P<index>\d{1,6})-of-(?P<total>\d{1,6})(?P<rest>(?:\.[A-Za-z0-9]+)*\.(?:safetensors|bin|gguf))$",
    re.IGNORECASE,
)
_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5", ".onnx")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_OTHER_FORMATS = {
    "original": "the publisher's original format",
    "metal": "Metal format",
    "onnx": "ONNX format",
    "openvino": "OpenVINO format",
    "coreml": "Core ML format",
    "tensorrt": "TensorRT format",
    "flax": "Flax format",
    "mlx": "MLX format",
    "gguf": "GGUF format",
    "checkpoints": "training checkpoints",
}
_NOT_COMPONENTS = ("scheduler", "tokenizer", "feature_extractor", "image_processor", "processor")
_MAIN_STEMS = ("model", "pytorch_model", "diffusion_pytorch_model")
_SIDE_FILES = ("training_args.bin", "optimizer", "scheduler.pt", "rng_state", "scaler.pt")


@dataclass(frozen=True, slots=True)
class FileSet:
    """Files that belong together: one file, or the shards of one model."""

    stem: str
    suffix: str
    folder: str
    files: tuple[FileEntry, ...]
    expected: int
    """Shards that the names announce; 1 for a single file."""

    @property
    def bytes(self) -> int | None:
        sizes = [f.size for f in self.files]
        return sum(s for s in sizes if s is not None) if None not in sizes else None

    @property
    def label(self) -> str:
        if len(self.files) == 1:
            return self.files[0].path
        if self.stem == "(index)":
            return f"{len(self.files)} files of the index"
        base = f"{self.folder}/{self.stem}" if self.folder else self.stem
        return f"{base}-*{self.suffix} ({len(self.files)})"

    @property
    def is_standard(self) -> bool:
        """True when the names alone say that this is the whole model: all shards of a usual name."""
        return self.stem in _MAIN_STEMS and self.expected > 1 and not self.missing

    @property
    def missing(self) -> int:
        return max(0, self.expected - len(self.files))


@dataclass(slots=True)
class Choice:
    """The sets that count, by component (empty name: the model itself), and what does not count with its reason."""

    counted: dict[str, FileSet] = field(default_factory=dict)
    ignored: list[tuple[str, str]] = field(default_factory=list)
    variants: list[FileSet] = field(default_factory=list)
    """Alternative precisions (GGUF quantisations); the counted one is among them."""
    pipeline: bool = False
    adapter_only: bool = False

    def settle(self, settled: FileSet) -> None:
        """Count exactly these files as the model."""
        names = {f.path for f in settled.files}
        former = self.counted.get("")
        self.counted[""] = settled
        self.ignored = [(label, reason) for label, reason in self.ignored if label not in names]
        if former is not None and not names.intersection(f.path for f in former.files):
            self.ignored.append((former.label, "not in the index"))


def model_components(names: Sequence[str]) -> list[str]:
    """Leave out schedulers, tokenizers and processors."""
    return [name for name in names if not name.startswith(_NOT_COMPONENTS)]


def file_sets(files: Iterable[FileEntry]) -> list[FileSet]:
    """Group weight files into sets, shards together, in a stable order."""
    grouped: dict[tuple[str, str, str], list[FileEntry]] = {}
    totals: dict[tuple[str, str, str], int] = {}
    for entry in files:
        path = PurePosixPath(entry.path)
        if path.suffix.lower() not in _WEIGHTS or path.name.startswith(_SIDE_FILES):
            continue
        folder = "" if str(path.parent) == "." else str(path.parent)
        match = SHARD.match(path.name)
        key = (folder, match["stem"], match["rest"].lower()) if match else (folder, path.stem, path.suffix.lower())
        grouped.setdefault(key, []).append(entry)
        totals[key] = int(match["total"]) if match else 1
    return [
        FileSet(stem, suffix, folder, tuple(sorted(entries, key=lambda e: e.path)), totals[folder, stem, suffix])
        for (folder, stem, suffix), entries in sorted(grouped.items())
    ]


def choose(files: Sequence[FileEntry], pipeline: Sequence[str] | None, variant: str | None = None) -> Choice:
    """Decide what counts.

    Args:
        files: everything in the repository.
        pipeline: component folders that ``model_index.json`` names; ``None`` when there is no pipeline index.
        variant: part of a GGUF file name that picks one quantisation.
    """
    sets = file_sets(files)
    components = _pipeline_folders(sets, files, pipeline)
    if components:
        return _choose_pipeline(sets, components)
    return _choose_model(sets, variant)


def _pipeline_folders(sets: list[FileSet], files: Sequence[FileEntry], pipeline: Sequence[str] | None) -> list[str]:
    if pipeline is not None:
        return model_components(pipeline)
    configs = {str(PurePosixPath(f.path).parent) for f in files if PurePosixPath(f.path).name == "config.json"}
    schedulers = any(PurePosixPath(f.path).name == "scheduler_config.json" for f in files)
    folders = sorted({c for c in configs if "/" not in c and c not in (".", "") and c not in _OTHER_FORMATS})
    return model_components(folders) if schedulers and "." not in configs else []


def _choose_pipeline(sets: list[FileSet], components: list[str]) -> Choice:
    choice = Choice(pipeline=True)
    for name in components:
        component_sets = [s for s in sets if s.folder == name]
        best = _best(component_sets)
        if best is not None:
            choice.counted[name] = best
            choice.ignored += [(s.label, _why_not(s, best)) for s in component_sets if s is not best]
    for other in sets:
        if other.folder not in choice.counted:
            reason = "single-file copy of the pipeline" if not other.folder else "not a component of the pipeline"
            choice.ignored.append((other.label, reason))
    return choice


def _choose_model(sets: list[FileSet], variant: str | None) -> Choice:
    choice = Choice()
    main: list[FileSet] = []
    for candidate in sets:
        reason = _exclusion_reason(candidate)
        if reason:
            choice.ignored.append((candidate.label, reason))
        else:
            main.append(candidate)
    ggufs = [s for s in main if s.suffix == ".gguf" and not _is_projector(s)]
    others = [s for s in main if s.suffix != ".gguf"]
    best = _best([s for s in others if not s.folder])
    if ggufs and (best is None or variant is not None):
        choice.ignored += [
            (s.label, "copy beside GGUF files, of which one was asked for") for s in others if not s.folder
        ]
        choice.variants = ggufs
        best = _pick_gguf(ggufs, variant)
        choice.ignored += [(s.label, "another quantisation") for s in ggufs if s is not best]
        choice.ignored += [(s.label, "vision projector of a GGUF model") for s in main if _is_projector(s)]
    elif best is not None:
        choice.ignored += [(s.label, "GGUF copy") for s in main if s.suffix == ".gguf"]
    if best is None and others and not _adapters(sets):
        best = _best(others)
    choice.adapter_only = best is None and bool(_adapters(sets))
    if best is None and choice.adapter_only:
        best = _adapters(sets)[0]
        choice.ignored = [i for i in choice.ignored if i[0] != best.label]
    if best is not None:
        choice.counted[""] = best
        choice.counted.update({s.folder: s for s in others if _is_dense_head(s)})
        counted_sets = list(choice.counted.values())
        choice.ignored += [(s.label, _why_not(s, best)) for s in others if s not in counted_sets]
    return choice


def _adapters(sets: list[FileSet]) -> list[FileSet]:
    return [s for s in sets if s.stem.startswith("adapter_model") and not s.folder]


def _is_projector(candidate: FileSet) -> bool:
    return "mmproj" in candidate.stem.lower()


def _is_dense_head(candidate: FileSet) -> bool:
    """Sentence-transformers keeps its dense layers in numbered folders."""
    return re.fullmatch(r"\d+_Dense", candidate.folder) is not None and candidate.suffix == ".safetensors"


def _exclusion_reason(candidate: FileSet) -> str | None:
    top = candidate.folder.split("/")[0].lower()
    if top in _OTHER_FORMATS:
        return _OTHER_FORMATS[top]
    if candidate.stem.startswith("adapter_model"):
        return "adapter (LoRA)"
    if candidate.suffix in (".msgpack", ".h5", ".onnx"):
        return "another framework's format"
    if re.match(r"checkpoint-\d+", top):
        return "training checkpoint"
    return None


def _best(candidates: list[FileSet]) -> FileSet | None:
    """Prefer safetensors, the usual name, full precision, most bytes."""
    usable = [c for c in candidates if c.suffix != ".gguf"]
    if not usable:
        return None

    def rank(candidate: FileSet) -> tuple[int, int, int, int]:
        pickle = int(candidate.suffix.endswith(_PICKLES))
        usual = int(candidate.stem not in _MAIN_STEMS)
        variant = int("." in candidate.stem or candidate.suffix.count(".") > 1 or "non_ema" in candidate.stem)
        return pickle, usual, variant, -(candidate.bytes or 0)

    return min(usable, key=rank)


def _why_not(candidate: FileSet, best: FileSet) -> str:
    if candidate.suffix.endswith(_PICKLES) and best.suffix.endswith(".safetensors"):
        return "pickle copy of the safetensors"
    if candidate.stem.startswith("consolidated"):
        return "the same weights in the publisher's format"
    if "." in candidate.stem or candidate.suffix.count(".") > 1:
        return "another precision of the same weights"
    return "not part of the model's own files"


def _pick_gguf(variants: list[FileSet], variant: str | None) -> FileSet:
    """The asked quantisation, else Q4_K_M (what most people run), else the largest.

    Raises:
        NotFoundError: no file has the asked text in its name.
    """
    for mark in filter(None, (variant, "q4_k_m")):
        for candidate in variants:
            if mark.lower() in candidate.stem.lower():
                return candidate
        if mark == variant:
            names = ", ".join(clean(v.stem) for v in variants[:8])
            raise NotFoundError(f"No GGUF file matches “{clean(variant)}”.", f"There are: {names}.")
    return max(variants, key=lambda v: v.bytes or 0)
