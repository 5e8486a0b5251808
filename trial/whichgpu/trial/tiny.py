"""A start without the hardware: the model made tiny, written with real random weights, loaded and served by the vLLM at hand.

Two layers of every kind prove the config's reader, the architecture and the loader of weights in a minute, on any machine. They
prove nothing of memory and speed, and the record says so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichgpu.inspect.bounded import json_of
from whichgpu.inspect.published import Published
from whichgpu.inspect.text import clean
from whichgpu.plan.records import Accelerator, Layout, Precision
from whichgpu.trial import bound, tiny_writer
from whichgpu.trial.errors import NoGpuError, TrialError
from whichgpu.trial.gpus import as_accelerators, gpus_here
from whichgpu.trial.launch import Launcher, environment_of, isolated, python_of
from whichgpu.trial.process import new_name
from whichgpu.trial.records import Outcome, Predicted, Tiny, TinyWeights, Trial
from whichgpu.trial.run import Progress, Step, TrialRequest, run_trial
from whichgpu.trial.server import wait
from whichgpu.trial.tiny_config import TinyConfig
from whichgpu.trial.tiny_fp8 import fp8_order
from whichgpu.trial.tiny_proofs import MADE, Written, not_proved, proves

MOST_BYTES = 2 * 2**30
"""Of a tiny model's weights."""
_CONTEXT, _SEQUENCES = 1024, 4
_SHARE = 0.2
"""Of a card's memory: others may use the rest."""
_QUANTISATIONS = ("quantization_config", "compression_config")
_NO_FIGURES = Predicted(
    weights_bytes=None, pool_bytes=None, tokens=None, tokens_per_second=None, tpot_ms=None, usd_per_hour=None
)


@dataclass(frozen=True, slots=True)
class TinyRequest:
    """What is made tiny, and how it is served."""

    name: str
    """As the catalog knows it."""
    commit: str | None
    published: Published
    shrunk: TinyConfig
    precision: Precision
    context: int | None
    """Tokens that the model takes at most."""
    has_encoders: bool
    """For images or sound."""
    is_recurrent: bool
    budget: float
    """Seconds that the whole may take."""
    cpu: bool = False
    """True where a build for CPUs was asked for; any other is told by itself."""
    kv_memory: float = 256
    """MiB of cache."""
    vllm_words: tuple[str, ...] = ()
    cards: Sequence[Accelerator] = ()
    """Known ones, among which this machine's is looked up."""


def try_tiny(request: TinyRequest, launcher: Launcher, root: Path, progress: Progress) -> tuple[Trial, Path]:
    """Write the tiny model, have vLLM serve it, ask for one completion; return the record and the run's folder.

    The model's own folder is gone when this returns.

    Raises:
        TrialError: the folder or the weights cannot be written, or even the tiny model is too large.
    """
    began = time.monotonic()
    python = python_of(launcher)
    with _folder(root) as folder:
        written = _write(request, launcher, python, folder, progress)
        encoders = request.has_encoders and written.processor is not None and not written.is_dummy
        left = request.budget - (time.monotonic() - began)
        trial, run_folder = run_trial(_request(request, written, folder, left, encoders), launcher, root, progress)
        left = request.budget - (time.monotonic() - began)
        if trial.outcome is Outcome.FAILED and encoders and written.processor == MADE and left > 0:
            # a processor of ours proves nothing against the model: once more without what needs one
            trial, run_folder = run_trial(_request(request, written, folder, left, False), launcher, root, progress)
    versions = {k: v for k, v in written.versions.items() if k != "vllm"}
    changes = {"versions": {**versions, **trial.versions}, "seconds": round(time.monotonic() - began, 2)}
    return trial.model_copy(update=changes), run_folder


@contextmanager
def _folder(root: Path) -> Iterator[Path]:
    """A folder for the model beside the runs: should we be killed, ``trial clean`` finds it."""
    folder = root / f"{new_name()}-tiny"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise TrialError(
            f"{clean(folder)} cannot be written: {clean(error.strerror or error)}.", "See --folder."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(request: TinyRequest, launcher: Launcher, python: str, folder: Path, progress: Progress) -> Written:
    """Have vLLM's own Python write the weights, and put the config beside them that vLLM reads.

    Raises:
        TrialError: it could not, or they are too large.
    """
    config, quantisation = _unquantised(request.shrunk.config)
    order = {
        "most_bytes": MOST_BYTES,
        "fp8": fp8_order(quantisation) if quantisation else None,
        "processor": request.has_encoders,
    }
    try:
        for name, data in request.published.processor.items():
            (folder / name).write_bytes(data)
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (folder / "order.json").write_text(json.dumps(order), encoding="utf-8")
        _run_writer(request, launcher, python, folder, progress)
        answer = json_of((folder / "written.json").read_bytes())
        written = Written.of(answer, quantisation)
        if written.fp8:
            quantised = config | {"quantization_config": quantisation}
            (folder / "config.json").write_text(json.dumps(quantised), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise TrialError(
            f"The tiny model could not be written: {clean(error, 200)}.", "Is there room in --folder?"
        ) from error
    if answer.get("too_large") is True:
        raise TrialError(
            f"Even tiny it has {(written.bytes or 0) / 2**30:.1f} GiB of weights, more than {MOST_BYTES // 2**30}.",
            "Leave --tiny out, on a machine that holds it.",
        )
    return written


def _unquantised(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A config without its quantisation, wherever it stands, and without the names of its own code; and the former."""
    found = next((value for key in _QUANTISATIONS if isinstance(value := config.get(key), dict)), None)
    left: dict[str, Any] = {}
    for key, value in config.items():
        if key in (*_QUANTISATIONS, "auto_map"):
            continue
        left[key] = value
        if isinstance(value, dict):
            left[key], inner = _unquantised(value)
            found = found or inner
    return left, found


def _run_writer(request: TinyRequest, launcher: Launcher, python: str, folder: Path, progress: Progress) -> None:
    """Run the writer within the budget; it ends with us.

    Raises:
        TrialError: it left no answer.
    """
    began, log = time.monotonic(), folder / "writer.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            isolated(bound, python, "-I", str(tiny_writer.__file__), str(folder)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment_of(launcher, folder, cpu=False),
        )
        try:
            while child.poll() is None and (spent := time.monotonic() - began) < request.budget:
                progress(Step("writing a tiny model", spent))
                wait(0.1)
        finally:
            has_ended = child.poll() is not None
            if not has_ended:
                child.kill()
            child.wait()
    if not has_ended:
        raise TrialError("The tiny model was not written within the budget.", "A larger --budget.")
    if not (folder / "written.json").is_file():
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        last = clean(lines[-1], 200) if lines else f"it ended with code {child.returncode}"
        raise TrialError(
            f"vLLM's Python could not write the tiny model: {last}.",
            "--vllm-at names an environment with vLLM, torch and transformers.",
        )


def _request(request: TinyRequest, written: Written, folder: Path, budget: float, encoders: bool) -> TrialRequest:
    """The trial of what was written; ``encoders`` says whether they are served too."""
    cpu = request.cpu or written.cpu
    context = min(_CONTEXT, request.context or _CONTEXT)
    tiny = Tiny(
        weights=TinyWeights.DUMMY if written.is_dummy else TinyWeights.WRITTEN,
        weights_bytes=None if written.is_dummy else written.bytes,
        layers=request.shrunk.layers,
        hidden=request.shrunk.hidden,
        model_class=written.model_class,
        cuts=request.shrunk.cuts,
        proves=proves(written, _architectures(request.published.config), encoders),
        not_proved=not_proved(written, request.has_encoders, encoders, cpu),
    )
    return TrialRequest(
        model=str(folder),
        name=request.name,
        commit=request.commit,
        accelerator="cpu" if cpu else _card_here(request.cards),
        layout=Layout(tensor_parallel=1),
        precision=request.precision,
        context=context,
        serve=(*_words(request, folder, context, cpu, encoders), *request.vllm_words),
        loads=(),
        prompt=6,
        output=8,
        budget=max(1.0, budget),
        predicted=_NO_FIGURES,
        dummy=written.is_dummy,
        cpu=cpu,
        tiny=tiny,
    )


def _words(request: TinyRequest, folder: Path, context: int, cpu: bool, encoders: bool) -> list[str]:
    """What vLLM is started with: short, on one device, with a small cache, and a tokenizer only where encoders need one."""
    words = ["serve", str(folder), "--max-model-len", str(context), "--max-num-seqs", str(_SEQUENCES)]
    words += ["--enforce-eager", "--kv-cache-memory-bytes", str(int(request.kv_memory * 2**20))]
    words += ["--dtype", "bfloat16"] if cpu else ["--gpu-memory-utilization", str(_SHARE)]
    words += ["--mamba-ssm-cache-dtype", "float32"] if cpu and request.is_recurrent else []
    words += [] if encoders else ["--skip-tokenizer-init"]
    return [*words, *(["--language-model-only"] if request.has_encoders and not encoders else [])]


def _architectures(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    return clean(", ".join(str(n) for n in names), 120) if isinstance(names, list) and names else "its architecture"


def _card_here(cards: Sequence[Accelerator]) -> str:
    """The key of this machine's first card; what it is named where it is no known one."""
    try:
        return as_accelerators(gpus_here()[:1], cards)[0][0].key.removesuffix("_here")
    except NoGpuError:
        return "gpu"
