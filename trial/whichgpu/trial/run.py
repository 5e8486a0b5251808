"""A trial from start to end: vLLM up, one real completion, loads, everything read back, vLLM gone."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from whichgpu.inspect.text import clean
from whichgpu.plan.records import Layout, Precision
from whichgpu.trial import bound
from whichgpu.trial.bench import bench_words, read_result
from whichgpu.trial.errors import TrialError
from whichgpu.trial.failures import explain
from whichgpu.trial.launch import Launcher, environment_of, free_port, isolated
from whichgpu.trial.logs import read_log
from whichgpu.trial.process import EXTENSION, VllmProcess, new_name
from whichgpu.trial.records import (
    Failure,
    FailureKind,
    Load,
    LoadPoint,
    Memory,
    Outcome,
    Predicted,
    Stage,
    Summary,
    Tiny,
    Trial,
)
from whichgpu.trial.sampling import Live, Sampler
from whichgpu.trial.server import Server, wait


@dataclass(frozen=True, slots=True)
class Step:
    """What goes on."""

    what: str
    seconds: float
    """Since the start."""
    live: Live | None = None
    """While a load runs."""


_Told = TypeVar("_Told")

Progress = Callable[[Step], None]
"""Called a few times a second; what it raises ends the trial, and vLLM is stopped."""

_TAIL = 12
_NEARLY_FULL = 2**16
"""Bytes free, below which a log that says nothing was not written."""
_LEAST_FOR_LOAD = 20.0
"""Seconds of the budget that a load needs to be worth starting: the benchmark's own imports take most of them."""


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """What is to be tried."""

    model: str
    """As vLLM takes it: a repository id or a folder."""
    name: str
    """As the catalog knows it."""
    commit: str | None
    accelerator: str
    layout: Layout
    precision: Precision
    context: int
    serve: tuple[str, ...]
    """Arguments after ``vllm``: serve, the model, the plan's flags."""
    loads: tuple[Load, ...]
    prompt: int
    output: int
    """Tokens of a request, where a load doesn't name its own."""
    budget: float
    """Seconds that the whole may take."""
    predicted: Predicted
    dummy: bool = True
    cpu: bool = False
    cards: tuple[int, ...] = ()
    """Indices of the machine's GPUs, for their sensors; none where other machines' cards would be left out."""
    nodes: int = 1
    """Machines that serve it together."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables for vLLM beside ours."""
    tiny: Tiny | None = None
    """Where it is the model made tiny."""


@dataclass(slots=True)
class _Run:
    """A trial under way."""

    request: TrialRequest
    progress: Progress
    began: float = field(default_factory=time.monotonic)
    stages: list[Stage] = field(default_factory=list)
    points: list[LoadPoint] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    version: str | None = None
    outcome: Outcome = Outcome.MEASURED
    failure: Failure | None = None

    @property
    def spent(self) -> float:
        return time.monotonic() - self.began

    @property
    def left(self) -> float:
        return self.request.budget - self.spent

    def tell(self, what: str, live: Live | None = None) -> None:
        self.progress(Step(what, self.spent, live))

    def staged(self, name: str, since: float) -> None:
        self.stages.append(Stage(name=name, seconds=round(time.monotonic() - since, 2)))


def arguments_of(request: TrialRequest, launcher: Launcher) -> list[str]:
    """Return what vLLM is started with, on every machine of a trial."""
    arguments = [*request.serve, *(("--load-format", "dummy") if request.dummy else ())]
    return [*arguments, *(() if launcher.container else ("--worker-extension-cls", f"{EXTENSION}.WhichgpuFacts"))]


def run_trial(request: TrialRequest, launcher: Launcher, root: Path, progress: Progress) -> tuple[Trial, Path]:
    """Run a trial and return its record and its folder; vLLM is gone when this returns, whatever happened.

    Raises:
        TrialError: the run's folder cannot be written.
        KeyboardInterrupt: after vLLM was stopped.
    """
    run, started = _Run(request, progress), datetime.now(UTC).isoformat(timespec="microseconds")
    name, port = new_name(), free_port()
    process = VllmProcess.in_folder(root, name)
    server = Server(f"http://127.0.0.1:{port}")
    served_name = f"{request.model}:{name}"  # by which our server is told from whoever else may have taken the port
    arguments = [*arguments_of(request, launcher), "--host", "127.0.0.1", "--port", str(port)]
    arguments += ["--served-model-name", served_name]
    with process:
        process.start(launcher, arguments, request.cpu, request.environment)
        if _became_ready(run, process, server, served_name):
            _measure(run, process, server, launcher)
        since = time.monotonic()
        process.stop()
        run.staged("stop", since)
    command = " ".join(launcher.command(*arguments))
    return _record(run, name, started, command, process.text()), process.folder


def measure_server(request: TrialRequest, url: str, launcher: Launcher, folder: Path, progress: Progress) -> Trial:
    """Measure a server that runs already: nothing is started or stopped.

    Raises:
        TrialError: it does not answer.
    """
    run, started = _Run(request, progress), datetime.now(UTC).isoformat(timespec="microseconds")
    server = Server(url)
    if not server.is_healthy():
        raise TrialError(f"No vLLM server answers at {clean(url)}.", "Check the URL, with http:// and the port.")
    folder.mkdir(parents=True, exist_ok=True)
    process = VllmProcess(folder)
    _measure(run, process, server, launcher)
    return _record(run, folder.name, started, f"(a server at {url})", process.text())


def _became_ready(run: _Run, process: VllmProcess, server: Server, own: str) -> bool:
    """Wait until our server is healthy; a start that ends or takes longer than the budget is explained."""
    since, stage_name = time.monotonic(), ""
    while run.left > 0:
        if server.is_healthy() and server.serves(own):
            for name, seconds in read_log(process.text()).stages.items():
                run.stages.append(Stage(name=name, seconds=seconds))
            run.staged("start to ready", since)
            return True
        if process.has_ended:
            run.outcome = Outcome.FAILED
            run.failure = _explain_failure(process)
            return False
        stage_name = _stage_now(process.text()) or stage_name
        run.tell(stage_name or "starting vLLM")
        wait(0.25)
    run.outcome = Outcome.OUT_OF_TIME
    run.failure = Failure(
        kind=FailureKind.HANG,
        sentence=f"vLLM was not ready within {run.request.budget:.0f} seconds.",
        hint="A larger --budget, or the log, which ends as below."
        if run.request.nodes == 1
        else f"Start it on all {run.request.nodes} machines at about the same time; the log ends as below.",
        lines=tuple(clean(line, 300) for line in process.text().splitlines()[-6:]),
    )
    return False


def _explain_failure(process: VllmProcess) -> Failure:
    """What the log says; a disk that is full took the words away."""
    failure = explain(process.text(), process.state.get("code"))
    if failure.kind is FailureKind.UNKNOWN and shutil.disk_usage(process.folder).free < _NEARLY_FULL:
        return Failure(
            kind=FailureKind.DISK,
            sentence="The disk is full.",
            hint="Make room, or another --folder.",
            lines=failure.lines,
        )
    return failure


_STAGES = (
    ("Capturing CUDA graph", "capturing graphs"),
    ("torch.compile", "compiling"),
    ("Available KV cache memory", "making the KV cache"),
    ("Loading weights", "loading weights"),
    ("Starting to load model", "loading the model"),
    ("Downloading", "downloading"),
)


def _stage_now(text: str) -> str | None:
    tail = text[-6_000:]
    stage_marks = [(tail.rfind(mark), name) for mark, name in _STAGES if mark in tail]
    return max(stage_marks)[1] if stage_marks else None


def _measure(run: _Run, process: VllmProcess, server: Server, launcher: Launcher) -> None:
    """One real completion, what the server knows of itself, then each load."""
    request, since = run.request, time.monotonic()
    try:
        served, length = server.models()
        _patiently(run, "first completion", lambda: server.complete(served, max(5.0, run.left)))
        run.staged("first completion", since)
        run.version = server.version()
        run.memory = _patiently(run, "asking for its memory", lambda: _memory(server, process.text(), length))
        for load in request.loads:
            if run.left < _LEAST_FOR_LOAD and run.points:
                run.outcome = Outcome.OUT_OF_TIME
                return
            run.points.append(_load(run, process, server, launcher, served, load))
            if run.points[-1].failed:
                raise TrialError(f"{run.points[-1].failed} requests failed.", "The log says why.")
    except TrialError as error:
        wait(0.5)  # an engine that died writes its last words a moment later
        run.outcome = Outcome.OUT_OF_TIME if run.left <= 0 else Outcome.FAILED
        failure = _explain_failure(process)
        has_cause = failure.kind is not FailureKind.UNKNOWN
        sentence = failure.sentence if has_cause else error.message
        hint = failure.hint if has_cause else error.hint
        run.failure = failure.model_copy(update={"sentence": sentence, "hint": hint})


def _patiently(run: _Run, what: str, request: Callable[[], _Told]) -> _Told:
    """Make a request that may take long, and go on telling meanwhile: whoever listens may end the trial."""
    done: Future[_Told] = Future()

    def make() -> None:
        try:
            done.set_result(request())
        except BaseException as error:  # noqa: BLE001 - raised again below
            done.set_exception(error)

    threading.Thread(target=make, daemon=True).start()
    while True:
        run.tell(what)
        try:
            return done.result(0.25)
        except TimeoutError:
            if done.done():
                raise


def _memory(server: Server, log: str, length: int | None) -> Memory:
    """What is offered in structure goes before what the log says."""
    logged, server_memory, ranks = read_log(log).memory, server.memory(), server.facts()

    def rank(*names: str, choose: Callable[[Sequence[int]], int] = max) -> int | None:
        for name in names:
            values = [r[name] for r in ranks if isinstance(r.get(name), int) and 0 <= r[name] < 2**60]
            if values:
                return choose(values)
        return None

    return Memory(
        weights_bytes=rank("model_memory_usage", "parameter_bytes") or logged.weights_bytes,
        pool_bytes=rank("available_kv_cache_memory_bytes", choose=min) or logged.pool_bytes or server_memory.pool_bytes,
        activation_bytes=rank("peak_activation_memory") or logged.activation_bytes,
        beside_torch_bytes=rank("non_torch_memory"),
        graph_bytes=logged.graph_bytes,
        graph_estimate_bytes=rank("cudagraph_memory_estimate") or logged.graph_estimate_bytes,
        total_bytes=rank("total_memory", choose=min),
        utilisation=server_memory.utilisation,
        tokens=server_memory.tokens or logged.tokens,
        concurrency=server_memory.concurrency or logged.concurrency,
        blocks=server_memory.blocks or logged.blocks,
        block_size=server_memory.block_size,
        max_model_len=length or logged.max_model_len,
    )


def _load(run: _Run, process: VllmProcess, server: Server, launcher: Launcher, served: str, load: Load) -> LoadPoint:
    """One load by vLLM's benchmark, within what is left of the budget."""
    request, since = run.request, time.monotonic()
    prompt, output = load.prompt or request.prompt, load.output or request.output
    loads = len(request.loads) - len(run.points)
    prediction = request.predicted.of(load.concurrency, prompt, output)
    prompts = _prompts(load.concurrency, output, prediction.tpot_ms if prediction else None, run.left / max(1, loads))
    result = process.folder / f"bench-{len(run.points)}.json"
    words = bench_words(server.url, served, request.model, load.concurrency, prompt, output, prompts, result)
    what = f"{load.concurrency} at once, {prompts} requests"
    run.tell(what)
    with Sampler(server, request.cards) as sampler, process.log.open("ab") as log:
        bench = subprocess.Popen(
            isolated(bound, *launcher.command(*words)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=process.folder,
            env=environment_of(launcher, process.folder, request.cpu),
        )
        try:
            while bench.poll() is None:
                if run.left <= 0:
                    raise TrialError("The budget ended during a load.", "A larger --budget, or fewer loads.")
                run.tell(what, sampler.live)
                wait(0.25)
        finally:
            if bench.poll() is None:
                bench.kill()
            bench.wait()
    if not result.is_file():
        raise TrialError("vLLM's benchmark left no result.", "Its output is in the log.")
    point = read_result(result.read_text(encoding="utf-8"), load.concurrency, prompt, output, sampler)
    run.staged(f"load {load.words}", since)
    return point


def _prompts(concurrency: int, output: int, tpot_ms: float | None, seconds: float) -> int:
    """Requests that fill about half of a load's share of the budget, by the predicted time per token; two rounds at least."""
    rounds = int(max(0.0, seconds - 15) / 2 / max(0.05, (tpot_ms or 50.0) / 1e3 * output))
    return concurrency * min(8, max(2, rounds))


def _record(run: _Run, name: str, started: str, command: str, log: str) -> Trial:
    from importlib.metadata import version

    logged = read_log(log)
    vllm = run.version or logged.version
    return Trial(
        identity=name,
        model=run.request.name,
        commit=run.request.commit,
        accelerator=run.request.accelerator,
        cards=run.request.layout.cards,
        nodes=run.request.nodes,
        layout=run.request.layout,
        precision=run.request.precision,
        context=run.request.context,
        dummy_weights=run.request.dummy,
        command=command,
        vllm=vllm,
        versions={"whichgpu": version("whichgpu"), **({"vllm": vllm} if vllm else {})},
        outcome=run.outcome,
        failure=run.failure,
        stages=tuple(run.stages),
        memory=run.memory if run.memory != Memory() else logged.memory,
        points=tuple(run.points),
        predicted=run.request.predicted,
        log_tail=tuple(clean(line, 300) for line in log.splitlines()[-_TAIL:]),
        started_at=started,
        seconds=round(run.spent, 2),
        summary=_summary(run, vllm),
        tiny=_tiny(run),
    )


def _tiny(run: _Run) -> Tiny | None:
    """What fails proves nothing."""
    tiny = run.request.tiny
    return tiny if tiny is None or run.outcome is Outcome.MEASURED else tiny.model_copy(update={"proves": ()})


def _summary(run: _Run, vllm: str | None) -> Summary:
    """The busiest load beside what had been predicted of that load, in the catalog's columns."""
    request, predicted = run.request, run.request.predicted
    best = max(run.points, key=lambda p: p.output_tokens_per_second, default=None)
    prediction = predicted.of(best.concurrency, best.input_tokens, best.output_tokens) if best is not None else None
    cost = None
    if best is not None and predicted.usd_per_hour is not None and best.output_tokens_per_second:
        cost = predicted.usd_per_hour / (best.output_tokens_per_second * 3600 / 1e6)
    return Summary(
        accelerator=request.accelerator,
        cards=request.layout.cards,
        vllm=vllm,
        layout=request.layout.label,
        precision=request.precision.value,
        context=request.context,
        concurrency=best.concurrency if best else None,
        input_tokens=best.input_tokens if best else request.prompt,
        output_tokens=best.output_tokens if best else request.output,
        succeeded=run.outcome is Outcome.MEASURED and best is not None and request.tiny is None,
        weights_bytes=run.memory.weights_bytes if request.tiny is None else None,
        predicted_weights_bytes=predicted.weights_bytes,
        pool_bytes=run.memory.pool_bytes if request.tiny is None else None,
        predicted_pool_bytes=predicted.pool_bytes,
        tokens_per_second=best.output_tokens_per_second if best else None,
        predicted_tokens_per_second=prediction.tokens_per_second if prediction else None,
        tpot_ms=best.tpot_ms.mean if best else None,
        predicted_tpot_ms=prediction.tpot_ms if prediction else None,
        ttft_ms=best.ttft_ms.p50 if best else None,
        usd_per_million_output=cost,
        tokens_per_joule=best.output_tokens_per_joule if best else None,
    )
