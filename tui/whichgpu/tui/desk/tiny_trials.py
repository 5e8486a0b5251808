"""A trial of a model made tiny, before it runs and when it is kept: the model's own config read again, and cut."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whichgpu.catalog.records import trial_finding
from whichgpu.inspect.errors import OfflineError
from whichgpu.inspect.published import read_published
from whichgpu.inspect.records import Inspection
from whichgpu.inspect.reference import Reference, parse_reference
from whichgpu.inspect.sources.base import Progress, silent
from whichgpu.plan.support import is_pooling
from whichgpu.trial.errors import TrialError
from whichgpu.trial.records import Trial
from whichgpu.trial.tiny import TinyRequest
from whichgpu.trial.tiny_config import tiny_config
from whichgpu.tui.desk.answering import Question, Reply, keep_trial, reply_to
from whichgpu.tui.desk.trials import TrialOptions


@dataclass(frozen=True, slots=True)
class PreparedTiny:
    """A request with what it rests on."""

    request: TinyRequest
    question: Question
    reply: Reply


def prepare_tiny(question: Question, options: TrialOptions, progress: Progress = silent) -> PreparedTiny:
    """Work out the tiny model; no card is recommended or looked for.

    Raises:
        TrialError: vLLM generates nothing with it.
        WhichgpuError: the model or its config can't be read.
    """
    reply = reply_to(question, progress)
    inspection = reply.inspection
    if is_pooling(inspection, reply.facts.architectures):
        raise TrialError("This model generates nothing, and a tiny trial asks for a completion.", "Leave --tiny out.")
    architecture = inspection.architecture
    has_encoders = architecture is not None and bool(architecture.towers)
    published = read_published(_reference(question, inspection), has_encoders, progress)
    request = TinyRequest(
        name=inspection.source.name,
        commit=inspection.source.commit,
        published=published,
        shrunk=tiny_config(published.config),
        precision=reply.answer.workload.precision,
        context=architecture.context if architecture is not None else None,
        has_encoders=has_encoders,
        is_recurrent=architecture is not None and any(m.state_size for m in architecture.mixers),
        budget=float(options.budget),
        cpu=options.cpu,
        kv_memory=options.kv_memory,
        vllm_words=options.vllm_words,
        cards=reply.facts.accelerators,
    )
    return PreparedTiny(request, question, reply)


def _reference(question: Question, inspection: Inspection) -> Reference:
    """Where the config of exactly this inspection is.

    Raises:
        OfflineError: on the network alone, which is switched off.
    """
    source = inspection.source
    if source.path is not None and source.kind in ("folder", "cache"):
        return Reference("folder", source.name, path=Path(source.path))
    asked = parse_reference(question.model)
    if asked.kind != "hub":
        return asked
    if question.offline:
        raise OfflineError(
            "--tiny reads the model's config anew, which neither the catalog nor the atlas keeps.",
            "Leave --offline out, or name a folder with its config.json.",
        )
    return Reference("hub", asked.name, source.commit or asked.revision)


def keep_tiny(prepared: PreparedTiny, trial: Trial) -> None:
    """Store what was proved.

    Raises:
        CatalogError: the catalog cannot be written.
    """
    record = trial.model_dump(mode="json")
    keep_trial(prepared.question, prepared.reply, lambda found, now: trial_finding(found, record, now))
