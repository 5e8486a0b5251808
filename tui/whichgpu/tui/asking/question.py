"""What is asked, from the options of the command line, and back."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from whichgpu.plan.records import Draft, Workload
from whichgpu.tui.asking.json_options import own_tokens
from whichgpu.tui.asking.table import AUTO, ENGINE, SOURCE, WORKLOAD, Owner, fields_of, words_of
from whichgpu.tui.desk.answering import Question, Reply
from whichgpu.tui.desk.desk import Desk
from whichgpu.tui.desk.facts import Own
from whichgpu.tui.desk.replanning import Terms, reference_of, spelled

_ROWS = (*WORKLOAD, *ENGINE, *SOURCE)


def terms_of(options: Mapping[str, Any]) -> Terms:
    """Return what options of the command line ask of a model, whichever it is.

    Raises:
        UsageError: a request longer than the context.
    """
    request = (options["prompt"] or 1) + (options["output"] or 1)
    is_auto = options["context"] == AUTO
    if not is_auto and request > max(options["context"], 2):
        raise click.UsageError(
            f"Input and output are {request:,} tokens, more than the context of {options['context']:,}: raise --context."
        )
    _check_together(options)
    share = options["gpu_memory_utilization"]
    workload = Workload(
        **fields_of(Owner.WORKLOAD, _ROWS, options), utilisation_asked=share is not None, context_auto=is_auto
    )
    workload = _with_drafting(workload, options)
    own = Own(**fields_of(Owner.OWN, _ROWS, options))
    if own.mixed and workload.cards is None:
        workload = workload.model_copy(update={"cards": len(own.accelerators)})
    return Terms(workload, own, options["variant"])


def _with_drafting(workload: Workload, options: Mapping[str, Any]) -> Workload:
    """Raises UsageError: two options that draft."""
    draft = workload.draft
    if draft is not None and workload.speculative_tokens:
        raise click.UsageError("--speculative-config and --speculative both say what drafts: drop one.")
    named = options.get("draft_model")
    if named and draft is not None:
        raise click.UsageError("--draft and --speculative-config both say what drafts: drop one.")
    if named and not workload.speculative_tokens:
        raise click.UsageError("--draft needs --speculative TOKENS: how many it drafts at once.")
    if named:
        drafted = Draft(model=named, tokens=workload.speculative_tokens)
        return workload.model_copy(update={"draft": drafted, "speculative_tokens": 0})
    own = own_tokens(draft)
    return workload.model_copy(update={"draft": None, "speculative_tokens": own}) if own else workload


def _check_together(options: Mapping[str, Any]) -> None:
    """Raises UsageError: an option that another contradicts."""
    for option in ("--max-loras", "--max-lora-rank", "--fully-sharded-loras"):
        if options.get(option.lstrip("-").replace("-", "_")) and not options.get("enable_lora"):
            raise click.UsageError(f"{option} is about adapters, which vLLM serves with --enable-lora alone: add it.")
    media = [limit.medium.value for limit in options.get("limit_mm_per_prompt") or () if limit.count]
    if options.get("text_only") and media:
        raise click.UsageError(
            f"--text-only leaves all encoders out, and --limit-mm-per-prompt lets a prompt have {' and '.join(media)}: drop one."
        )


def question_of(options: Mapping[str, Any], desk: Desk) -> Question:
    """Return the question that the command line asks.

    Raises:
        UsageError: a request longer than the context.
    """
    request = terms_of(options)
    return Question(
        model=options["model"],
        workload=request.workload,
        own=request.own,
        second_opinion=options.get("second_opinion", False),
        catalog=desk.catalog,
        **fields_of(Owner.QUESTION, _ROWS, options),
    )


def workload_words(workload: Workload) -> list[str]:
    """Return the options that ask for a workload; accelerators are asked for apart."""
    stated = workload if workload.utilisation_asked else workload.model_copy(update={"utilisation": None})
    words = words_of(Owner.WORKLOAD, stated)
    if workload.context_auto:
        words[words.index("--context") + 1] = AUTO
    return words


def terms_words(terms: Terms) -> list[str]:
    """Return what the plan screen asks as options of the command line."""
    picked = ["--variant", terms.variant] if terms.variant is not None else []
    return [*workload_words(terms.workload), *words_of(Owner.OWN, terms.own), *picked]


def as_command(reply: Reply, terms: Terms, gpu: str | None = None) -> str:
    """Return the one-shot that gives the same record; ``gpu`` narrows it to one accelerator."""
    words = ["whichgpu", "--model", reference_of(reply)]
    cards_and_prices = (
        replace(terms.own, accelerators=(spelled(reply, terms.own, gpu),)) if gpu and not terms.own.mixed else terms.own
    )
    return shlex.join([*words, *terms_words(replace(terms, own=cards_and_prices))])
