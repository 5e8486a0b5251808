"""A trial before it runs, and what is kept after: the request with what it rests on. Both faces use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from whichgpu.catalog.records import trial_finding
from whichgpu.inspect.records import Inspection
from whichgpu.inspect.sources.base import Progress as ReadProgress
from whichgpu.inspect.sources.base import silent
from whichgpu.plan.case import Case, ServedModel
from whichgpu.plan.commands import serve_words
from whichgpu.plan.own_settings import as_planned
from whichgpu.plan.records import Accelerator, Generation, Layout, Plan, Support, Workload
from whichgpu.plan.sizing import Sizer
from whichgpu.plan.speed import lengths, speed_as_run
from whichgpu.plan.weight_table import ROUNDING
from whichgpu.trial.errors import NothingToTryError, TrialError
from whichgpu.trial.nodes import Place
from whichgpu.trial.records import Load, Predicted, PredictedPoint, Trial
from whichgpu.trial.run import TrialRequest
from whichgpu.tui.desk.answering import Question, Reply, keep_trial, reply_to
from whichgpu.tui.desk.facts import HERE

CPU = Accelerator(
    key="cpu",
    name="CPU",
    vendor="cpu",
    usable_gib=1.0,
    marketed_gb=1,
    bandwidth_gbs=50.0,
    bf16_tflops=None,
    fp8_tflops=None,
    board_watts=None,
    capability="cpu",
    generation=Generation(
        name="vLLM's CPU build", nvfp4=Support.NONE, block=128, indexed_latent_block=16, source="seen in its 0.32"
    ),
    node_counts=(1,),
    confidence="low",
    sources={"memory": "this machine's; vLLM's CPU build is told how much of it the cache may take"},
)


@dataclass(frozen=True, slots=True)
class TrialOptions:
    """How a trial is run; what it tries is the question's."""

    loads: tuple[Load, ...] = ()
    """One after the other; empty is the question's own."""
    vllm_words: tuple[str, ...] = ()
    """More arguments for vLLM, as they are."""
    budget: float = 300
    """Seconds."""
    real_weights: bool = False
    cpu: bool = False
    kv_memory: float = 256
    """MiB of cache on a CPU."""
    server: str | None = None
    """URL of a server that runs already."""
    place: Place | None = None
    """Which of several machines this is."""
    elsewhere: bool = False
    """It runs on another machine, so this one's cards don't matter."""
    machines: int | None = None
    """Of a trial on CPUs elsewhere, where they were named; else each has one of the plan's."""
    anyway: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request with what it rests on."""

    request: TrialRequest
    question: Question
    reply: Reply
    plan: Plan | None
    """``None`` on a CPU."""


def trials_folder(folder: str | None) -> Path:
    """Return where runs are kept: the option, else the user's state folder."""
    if folder is not None:
        return Path(folder).expanduser().absolute()
    from platformdirs import user_state_path

    return user_state_path("whichgpu", appauthor=False) / "trials"


def prepare(question: Question, options: TrialOptions, progress: ReadProgress = silent) -> Prepared:
    """Work out what to run.

    Raises:
        NothingToTryError: no card holds it.
        TrialError: it needs other machines than were named.
        WhichgpuError: the model can't be read, or this machine has no GPU.
    """
    trial_question = question
    if not (options.cpu or question.own.accelerators or options.server or options.elsewhere):
        trial_question = replace(question, own=replace(question.own, accelerators=(HERE,)))
    reply = reply_to(trial_question, progress)
    loads = options.loads or (Load(concurrency=reply.answer.workload.concurrency),)
    _check_loads(loads, reply.answer.workload)
    if options.cpu:
        return Prepared(_on_machines(_on_cpu(reply, options, loads), CPU, options), question, reply, None)
    plan = reply.answer.recommended
    if plan is None and options.anyway:
        at = [p for p in reply.answer.plans if p.precision is reply.answer.workload.precision and p.footprint]
        plan = at[0] if at else None
    if plan is None or plan.footprint is None:
        why = next((p.reasons[0] for p in reply.answer.plans if p.reasons), "no card is known")
        raise NothingToTryError(f"Nothing fits: {why}.", "--anyway tries it all the same.")
    card = next(a for a in reply.facts.accelerators if a.key == plan.accelerator)
    return Prepared(_on_machines(_on_gpus(reply, plan, options, loads), card, options), question, reply, plan)


def _on_machines(request: TrialRequest, card: Accelerator, options: TrialOptions) -> TrialRequest:
    """Say how many machines it takes, and which of them this one is.

    Raises:
        TrialError: it needs several and this one's place wasn't named, or the other way round.
    """
    place, cards, node = options.place, request.layout.cards, card.per_machine
    count = card.machines(cards)
    if options.cpu and place is None:
        count = (options.machines or count) if options.elsewhere else 1
    if place is None and options.anyway and not (options.server or options.elsewhere):
        count = 1  # it is started here alone, and vLLM says what it makes of that
    if place is None:
        if count > 1 and not (options.server or options.elsewhere):
            raise TrialError(
                f"This plan needs {cards} cards, and a machine has {node}.",
                f"On each of {count} machines: --node RANK@HOST, HOST being number 0; or --on sky, slurm, ssh:HOST,HOST.",
            )
        return replace(request, nodes=count, cards=() if count > 1 else request.cards)
    if count == 1:
        raise TrialError(
            f"One machine has the cards of this plan ({cards} of {node}).", "Leave --node out, or ask for more --cards."
        )
    if place.rank >= count:
        raise TrialError(f"This plan takes {count} machines, numbered from 0; there is no {place.rank}.", "See --node.")
    return replace(
        request, nodes=count, cards=(), serve=(*request.serve, *place.words(count)), environment=place.environment()
    )


def keep_record(prepared: Prepared, trial: Trial) -> None:
    """Store what was measured.

    Raises:
        CatalogError: the catalog cannot be written.
    """
    record = trial.model_dump(mode="json")
    keep_trial(prepared.question, prepared.reply, lambda found, now: trial_finding(found, record, now))


def _check_loads(loads: Sequence[Load], workload: Workload) -> None:
    """Refuse a load whose requests are longer than what vLLM is started with.

    Raises:
        TrialError: one is.
    """
    for load in loads:
        if load.prompt is not None and load.output is not None and load.prompt + load.output > workload.context:
            raise TrialError(
                f"Requests of {load.prompt:,} + {load.output:,} tokens are longer than {workload.context:,}.",
                f"--context {load.prompt + load.output}",
            )


def _predicted_points(reply: Reply, plan: Plan, loads: Sequence[Load]) -> tuple[PredictedPoint, ...]:
    """What these cards in this layout would serve of each load."""
    base_workload, facts = reply.answer.workload, reply.facts
    card = next(a for a in facts.accelerators if a.key == plan.accelerator)
    sizer = Sizer(_served(reply))
    points = list[PredictedPoint]()
    for load in loads:
        lengths_of_load = {"prompt": load.prompt or base_workload.prompt, "output": load.output or base_workload.output}
        workload = base_workload.model_copy(update={"concurrency": load.concurrency, **lengths_of_load})
        speed = (
            speed_as_run(sizer, Case(workload, base_workload.precision, card, plan.layout), facts.calibration)
            if plan.layout is not None
            else None
        )
        prompt, output = lengths(workload)
        points.append(
            PredictedPoint(
                concurrency=load.concurrency,
                input_tokens=prompt,
                output_tokens=output,
                tpot_ms=speed.tpot_ms.expected if speed else None,
                ttft_ms=speed.ttft_ms.expected if speed else None,
                tokens_per_second=speed.output_tokens_per_second.expected if speed else None,
            )
        )
    return tuple(points)


def _on_gpus(reply: Reply, plan: Plan, options: TrialOptions, loads: Sequence[Load]) -> TrialRequest:
    foot, speed = plan.footprint, plan.speed
    assert foot is not None
    card = next(a for a in reply.facts.accelerators if a.key == plan.accelerator)
    cards = tuple(range(foot.layout.cards)) if card.key.endswith("_here") else ()
    predicted = Predicted(
        weights_bytes=foot.weights,
        pool_bytes=foot.pool,
        tokens=foot.printed_tokens,
        tokens_per_second=speed.output_tokens_per_second.expected if speed else None,
        tpot_ms=speed.tpot_ms.expected / speed.learned_factor if speed else None,
        usd_per_hour=plan.usd_per_hour,
        points=_predicted_points(reply, plan, loads),
    )
    return _request(reply, card.key.removesuffix("_here"), foot.layout, predicted, options, loads, cards, ())


def _on_cpu(reply: Reply, options: TrialOptions, loads: Sequence[Load]) -> TrialRequest:
    """On vLLM's CPU build: weights and tokens are predicted, speed is not.

    Processors with BF16 instructions keep recurrent states in float32 whatever the model asks (vLLM 0.32 platforms/cpu.py),
    so all are asked to.
    """
    inspection, is_recurrent = _with_float32_states(reply.inspection)
    sizer = Sizer(replace(_served(reply), inspection=inspection))
    workload, size = reply.answer.workload, int(options.kv_memory * 2**20)
    layout = Layout(tensor_parallel=workload.cards or 1)
    parts = sizer.table(workload.precision, workload).stages(layout)
    cache = sizer.cache(workload, layout, CPU)
    blocks = cache.blocks([size]) if sizer.knows_cache(workload) else None
    predicted = Predicted(
        weights_bytes=sum(stage_sizes[0] for name, stage_sizes in parts.items() if name != ROUNDING),
        pool_bytes=size,
        tokens=cache.printed(blocks, workload.context, sizer.engine.unified_count) if blocks else None,
        tokens_per_second=None,
        tpot_ms=None,
        usd_per_hour=None,
    )
    states = ("--mamba-ssm-cache-dtype", "float32") if is_recurrent else ()
    extra = ("--dtype", "bfloat16", "--enforce-eager", "--kv-cache-memory-bytes", str(size), *states)
    return _request(reply, "cpu", layout, predicted, options, loads, (), extra)


def _with_float32_states(inspection: Inspection) -> tuple[Inspection, bool]:
    """The model with recurrent states of four bytes, and whether it has any."""
    architecture = inspection.architecture
    if architecture is None or not any(m.state_size for m in architecture.mixers):
        return inspection, False
    mixers = tuple(m.model_copy(update={"state_dtype": "float32"}) if m.state_size else m for m in architecture.mixers)
    widened = architecture.model_copy(update={"mixers": mixers})
    return inspection.model_copy(update={"architecture": widened}), True


def _served(reply: Reply) -> ServedModel:
    engine = reply.facts.engines.of(reply.answer.workload.vllm)
    return ServedModel(reply.inspection, engine, reply.facts.architectures)


def _request(
    reply: Reply,
    accelerator: str,
    layout: Layout,
    predicted: Predicted,
    options: TrialOptions,
    loads: Sequence[Load],
    cards: tuple[int, ...],
    extra: Sequence[str],
) -> TrialRequest:
    plan = next(
        (p for p in reply.answer.plans if p.accelerator.removesuffix("_here") == accelerator and p.layout == layout),
        None,
    )
    asked, inspection = reply.answer.workload, reply.inspection
    workload = as_planned(asked, plan) if plan is not None else asked
    words = serve_words(_served(reply), workload, workload.precision, layout)
    prompt, output = lengths(workload)
    return TrialRequest(
        model=_absolute(words[2]),
        name=inspection.source.name,
        commit=inspection.source.commit,
        accelerator=accelerator,
        layout=layout,
        precision=workload.precision,
        context=workload.context,
        serve=("serve", _absolute(words[2]), *words[3:], *extra, *options.vllm_words),
        loads=tuple(loads),
        prompt=prompt,
        output=output,
        budget=float(options.budget),
        predicted=predicted,
        dummy=not options.real_weights,
        cpu=options.cpu,
        cards=cards,
    )


def _absolute(model: str) -> str:
    """A folder as vLLM finds it from anywhere."""
    return str(Path(model).resolve()) if Path(model).is_dir() else model
