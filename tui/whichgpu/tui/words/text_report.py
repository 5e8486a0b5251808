"""The answer as text for 80 columns: what it is, what it needs, where it runs, what to type."""

from __future__ import annotations

from whichgpu.inspect.records import Grade, Inspection, ModelClass
from whichgpu.plan.records import Answer
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.words.answer_lines import answer_lines
from whichgpu.tui.words.plans import plan_in_words
from whichgpu.tui.words.report_explain import explanation
from whichgpu.tui.words.report_model import what_it_is
from whichgpu.tui.words.report_plans import needs, recommended, where_it_runs
from whichgpu.tui.words.terminal import Terminal
from whichgpu.tui.words.units import parameters, tokens, wrapped

_GRADE_WORDS = {
    Grade.HEADERS: "exact, from tensor headers",
    Grade.SIZES: "bytes from file sizes, structure from the config",
    Grade.CONFIG: "computed from the config alone",
    Grade.NOTHING: "from names alone",
}


def report(reply: Reply, terminal: Terminal, explained: bool = False) -> str:
    """Return the whole report; ``explained`` adds the breakdown of one card."""
    short = answer_lines(reply, terminal)
    if not explained:
        return short
    inspection, answer = reply.inspection, reply.answer
    blocks = [
        short,
        _head(reply, terminal),
        what_it_is(inspection, terminal),
        needs(answer, terminal),
        where_it_runs(answer, terminal),
        recommended(answer, terminal),
        explanation(answer, terminal),
        _notes(inspection, answer, terminal),
    ]
    return "\n\n".join(block for block in blocks if block)


def one_line(reply: Reply) -> str:
    """Return the recommendation in one line, for scripts and prompts."""
    return plan_in_words(reply.answer.recommended)


def _head(reply: Reply, terminal: Terminal) -> str:
    inspection = reply.inspection
    commit = f" @ {inspection.source.commit[:7]}" if inspection.source.commit else ""
    words = [inspection.label, f"{parameters(inspection.parameters.total.value)} parameters"]
    if ModelClass.MOE in inspection.classes:
        words.append(f"{parameters(inspection.parameters.active.value)} active")
    context = inspection.architecture.context if inspection.architecture else None
    if context:
        words.append(f"{tokens(context)} tokens of context")
    if inspection.modalities:
        words.append(", ".join(inspection.modalities))
    grade = f"{_GRADE_WORDS[inspection.grade]}; {reply.origin}"
    return "\n".join(
        [terminal.bold(f"{inspection.source.name}{commit}"), *wrapped(" · ".join(words)), terminal.dim(grade)]
    )


def _notes(inspection: Inspection, answer: Answer, terminal: Terminal) -> str:
    notes = [*answer.notes, *(f"Not read: {text}" for text in inspection.unread)]
    notes.append(f"Predicted for vLLM {answer.vllm}; hardware facts of {answer.facts_date}.")
    return terminal.dim("\n".join(line for note in notes for line in wrapped(f"- {note}", hang=2)))
