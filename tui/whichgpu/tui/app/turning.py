"""Turning: a question that keys change step by step, planned when they rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from textual import work
from textual.binding import Binding, BindingType
from textual.timer import Timer

from whichgpu.plan.choices import DEFAULT_CONCURRENCY, DEFAULT_CONTEXT, KvDtype, Objective, Precision
from whichgpu.plan.records import Workload
from whichgpu.plan.speed import lengths
from whichgpu.tui.app.page import Page
from whichgpu.tui.app.reading import plan
from whichgpu.tui.app.state import LOAD
from whichgpu.tui.asking.question import terms_words
from whichgpu.tui.desk.answering import Reply
from whichgpu.tui.desk.facts import Own
from whichgpu.tui.desk.replanning import CONCURRENCIES, Terms, within_context
from whichgpu.tui.words.answer_lines import generates, has_tokens

SETTLE = 0.08
"""Seconds after the last key before the work starts: holding a key plans once."""
_CONTEXTS = (1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144, 1_048_576)
_LENGTHS = (16, 64, 128, 256, 512, *_CONTEXTS)
USUAL = Terms(Workload(context=DEFAULT_CONTEXT, concurrency=DEFAULT_CONCURRENCY))
"""What is asked of a model when nobody said anything."""

KEYS: tuple[BindingType, ...] = (
    Binding("c", "context(1)", "Context", show=False, id="plan.context"),
    Binding("C", "context(-1)", "Less context", show=False, id="plan.context_less"),
    Binding("n", "concurrency(1)", "More at once", show=False, id="plan.concurrency"),
    Binding("N", "concurrency(-1)", "Fewer at once", show=False, id="plan.concurrency_less"),
    Binding("i", "length('prompt', 1)", "Longer input", show=False, id="plan.input"),
    Binding("I", "length('prompt', -1)", "Shorter input", show=False, id="plan.input_less"),
    Binding("r", "length('output', 1)", "Longer reply", show=False, id="plan.reply"),
    Binding("L", "length('output', -1)", "Shorter reply", show=False, id="plan.reply_less"),
    Binding("p", "cycle('precision')", "Precision", show=False, id="plan.precision"),
    Binding("v", "cycle('kv_dtype')", "KV cache", show=False, id="plan.kv"),
    Binding("o", "cycle('objective')", "Objective", show=False, id="plan.objective"),
    Binding("s", "spot", "Spot", show=False, id="plan.spot"),
    Binding("w", "workload", "Workload", id="plan.workload"),
    Binding("R", "reset", "Defaults", show=False, id="plan.reset"),
    Binding("a", "every_card", "All cards", show=False, id="plan.every_card"),
)


class Turning(Page):
    """A screen whose answer follows its question."""

    def __init__(self, reply: Reply, terms: Terms) -> None:
        super().__init__()
        self.reply = reply
        self.terms = self._settled = terms
        self._settling: Timer | None = None
        self._turned: dict[str, object] = {}
        """What the keys and the form have changed of the load: remembered for other models once it is planned."""

    @property
    def workload(self) -> Workload:
        """What is asked now."""
        return self.terms.workload

    def show_asked(self) -> None:
        """Show what is asked; the answer is still that of before."""

    def ask(self, terms: Terms) -> None:
        """Ask something else, and plan it when the keys rest."""
        self.terms = terms
        self.show_asked()
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLE, self._plan)

    def _turn(self, **changes: object) -> None:
        """Ask for a workload that differs so, and remember what of it is the load."""
        self._turned |= {field: value for field, value in changes.items() if field in LOAD}
        self._change(changes)

    def _change(self, changes: Mapping[str, object]) -> None:
        named = {"context_auto": False} if "context" in changes else {}
        workload = within_context(Workload.model_validate(self.workload.model_dump() | dict(changes) | named))
        self.ask(replace(self.terms, workload=workload))

    @work(thread=True, exclusive=True, group="plan")
    def _plan(self) -> None:
        self.report(plan(self.own_app.desk, self.reply, self.terms, self._settled))

    @property
    def _limit(self) -> int | None:
        """Tokens of context that the model allows."""
        return self.reply.inspection.architecture.context if self.reply.inspection.architecture else None

    @property
    def within_limit(self) -> Workload:
        """The workload as this model can have it: no longer than its context."""
        asked = self.workload.context
        return self.workload.model_copy(update={"context": min(asked, self._limit or asked)})

    @property
    def turned_by_keys(self) -> frozenset[str]:
        """What keys can change of this model's question: images and videos have no context, what only reads no reply."""
        every = {"context", "concurrency", "length", "precision", "kv_dtype", "objective", "spot", "workload"}
        inspection = self.reply.inspection
        out = set() if generates(inspection) else {"length", "kv_dtype"}
        return frozenset(every - out - (set() if has_tokens(inspection) else {"context"}))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A key that changes nothing of this model isn't there."""
        turned = str(parameters[0]) if action == "cycle" else action
        if turned in ("context", "length", "kv_dtype"):
            return turned in self.turned_by_keys
        return super().check_action(action, parameters)

    @property
    def unusual(self) -> tuple[str, ...]:
        """What is asked that nobody asks unless told to, as options of the command line."""
        usual, values = set(_pairs(terms_words(USUAL))), dict[str, list[str]]()
        for option, value in _pairs(terms_words(self.terms)):
            if (option, value) not in usual:
                values.setdefault(option, []).append(value)
        words = (f"{o} × {len(v)}" if len(v) > 1 else f"{o} {v[0]}" for o, v in values.items())
        return tuple(word.strip().removeprefix("--") for word in words)

    def action_reset(self) -> None:
        """Ask what is asked when nobody said anything, of this and the next models."""
        self._turned = {field: getattr(USUAL.workload, field) for field in LOAD}
        own = self.terms.own
        files = Own(price_file=own.price_file, card_file=own.card_file)  # whatever the whole app was started with
        self.ask(replace(USUAL, own=files, variant=self.terms.variant))

    def action_every_card(self) -> None:
        """Ask all cards that are known, or those that somebody rents alone."""
        every = tuple(a.key for a in self.reply.facts.accelerators)
        own = self.terms.own
        self.ask(replace(self.terms, own=replace(own, accelerators=() if own.accelerators == every else every)))

    def action_context(self, step: int) -> None:
        """A longer or shorter context, up to what the model allows."""
        choices = [c for c in _CONTEXTS if self._limit is None or c <= self._limit] or [self.workload.context]
        self._turn(context=stepped(choices, self.within_limit.context, step))

    def action_concurrency(self, step: int) -> None:
        """More or fewer sequences at once."""
        self._turn(concurrency=stepped(CONCURRENCIES, self.workload.concurrency, step))

    def action_length(self, field: str, step: int) -> None:
        """A longer or shorter input or reply, within the context."""
        prompt, output = lengths(self.workload)
        other, at = (output, prompt) if field == "prompt" else (self.workload.prompt or 1, output)
        choices = [c for c in _LENGTHS if c + other <= self.workload.context]
        self._turn(**{field: stepped(choices, at, step)})

    def action_cycle(self, name: str) -> None:
        """The next of a few choices."""
        every: dict[str, list[Any]] = {
            "precision": [Precision.PUBLISHED, Precision.BF16, Precision.FP8, Precision.INT4, Precision.NVFP4],
            "kv_dtype": list(KvDtype),
            "objective": list(Objective),
        }
        choices, at = every[name], getattr(self.workload, name)
        following = choices[(choices.index(at) + 1) % len(choices)] if at in choices else choices[0]
        self._turn(**{name: following})

    def action_spot(self) -> None:
        """The other kind of price."""
        self._turn(price_kind="on-demand" if self.workload.price_kind == "spot" else "spot")

    def action_workload(self) -> None:
        """Everything that can be asked, as a form."""
        from whichgpu.tui.app.workload_form import WorkloadForm

        def take(terms: Terms | None) -> None:
            if terms is not None:
                before, now = self.workload, terms.workload
                self._turned |= {f: getattr(now, f) for f in LOAD if getattr(now, f) != getattr(before, f)}
                self.ask(terms)

        self.app.push_screen(WorkloadForm(self.terms), take)


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options with their values; a flag has none."""
    for word, following in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            yield word, "" if following.startswith("--") else following


def stepped(choices: list[int] | tuple[int, ...], at: int, step: int) -> int:
    """The next larger or smaller choice, or the same at the ends."""
    beyond = [c for c in choices if (c > at if step > 0 else c < at)]
    return (min(beyond) if step > 0 else max(beyond)) if beyond else at
