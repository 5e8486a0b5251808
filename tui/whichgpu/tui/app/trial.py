"""Trial: prove a plan with a short real vLLM run: what will run, its stages, what it does now, predicted beside measured."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import click
from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Label, Static
from textual.worker import WorkerCancelled, get_current_worker

from whichgpu.catalog.errors import CatalogError
from whichgpu.inspect.errors import UsageError, WhichgpuError
from whichgpu.inspect.text import clean
from whichgpu.plan.records import Plan
from whichgpu.trial.errors import NoGpuError
from whichgpu.trial.launch import launcher_of
from whichgpu.trial.process import new_name
from whichgpu.trial.records import Load, Trial
from whichgpu.trial.run import Step, measure_server, run_trial
from whichgpu.tui.app.page import Export, Page
from whichgpu.tui.app.widgets import FormLine, KeyScroll
from whichgpu.tui.asking.question import terms_words
from whichgpu.tui.asking.trial_options import trial_options
from whichgpu.tui.desk.answering import Question, Reply
from whichgpu.tui.desk.facts import Own
from whichgpu.tui.desk.replanning import Terms, reference_of, spelled
from whichgpu.tui.desk.trials import Prepared, TrialOptions, keep_record, prepare, trials_folder
from whichgpu.tui.words.trial_report import report, step_line
from whichgpu.tui.words.trial_words import before

_FIELDS = (
    ("where", "gpu", "gpu (this machine's), cpu (vLLM's CPU build), or a server's URL"),
    ("vllm", "", "vLLM's environment or a docker command; empty looks for it"),
    ("loads", "", "sequences at once, one after the other: 1,4,16; 16@7168:1024 with tokens in and out"),
    ("budget", "300", "seconds that all of it may take"),
    ("weights", "dummy", "dummy (no download; memory and speed are real) or real"),
    ("cache", "256", "MiB of KV cache on a CPU"),
)


@click.command("trial", add_help_option=False)
@trial_options
def _trial(**options: object) -> None:
    """Only its parser is used."""


@dataclass(frozen=True, slots=True)
class _Form:
    """What the form says."""

    options: TrialOptions
    vllm: str | None


def read_form(value: Mapping[str, str]) -> _Form:
    """Read the form's fields, to the command line's own rules.

    Raises:
        UsageError: a field has a value that is none.
    """
    where, weights = value["where"], value["weights"].lower()
    if where.lower() not in ("gpu", "cpu") and not where.startswith(("http://", "https://")):
        raise UsageError(f"“{clean(where, 60)}” is no place for a trial.", "Write gpu, cpu, or a URL with http://.")
    if weights not in ("dummy", "real"):
        raise UsageError(f"“{clean(weights, 60)}” are no weights.", "Write dummy or real.")
    words = [*(("--sweep", value["loads"]) if value["loads"] else ())]
    words += ["--budget", value["budget"] or "300", "--kv-memory", value["cache"] or "256"]
    try:
        shlex.split(value["vllm"])
        params = _trial.make_context("trial", ["--model", "x", *words]).params
    except ValueError as error:
        raise UsageError("A quote is open in where vLLM is.", "Close it.") from error
    except click.ClickException as error:
        raise UsageError(error.format_message()) from error
    options = TrialOptions(
        loads=tuple(Load(concurrency=n, prompt=prompt, output=output) for n, prompt, output in params["sweep"]),
        budget=params["budget"],
        real_weights=weights == "real",
        cpu=where.lower() == "cpu",
        kv_memory=params["kv_memory"],
        server=where if "://" in where else None,
        anyway=True,
    )
    return _Form(options, value["vllm"] or None)


class TrialScreen(Page):
    """Form, run, record."""

    HELP = (
        "What will run, and what it costs. e edits the form (Enter takes it), s starts, escape stops it and vLLM with it. "
        "The record is kept in the catalog, and later predictions for this model and card use it."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "start", "Start", id="trial.start"),
        Binding("e", "edit", "Edit", id="trial.edit"),
    ]

    class Ready(Message):
        """It is known what would run, or why nothing does."""

        def __init__(self, form: _Form, prepared: Prepared | None, text: str) -> None:
            super().__init__()
            self.form, self.prepared, self.text = form, prepared, text

    class Went(Message):
        """The trial came a step further."""

        def __init__(self, step: Step) -> None:
            super().__init__()
            self.step = step

    class Ended(Message):
        """The trial ended, one way or the other."""

        def __init__(self, trial: Trial | None, text: str) -> None:
            super().__init__()
            self.trial, self.text = trial, text

    def __init__(self, reply: Reply, terms: Terms, chosen: Plan | None) -> None:
        super().__init__()
        self._reply, self._terms, self._chosen = reply, terms, chosen
        self._prepared: tuple[_Form, Prepared] | None = None
        self._trial: Trial | None = None
        self._stages: dict[str, str] = {}
        self._runs = False

    def body(self) -> Iterable[Widget]:
        with Vertical(id="trial-form"):
            for name, value, meaning in _FIELDS:
                initial_text = str(self._terms.workload.concurrency) if name == "loads" else value
                with Horizontal(classes="field"):
                    yield Label(f"{name:<10}", markup=False)
                    yield FormLine(initial_text, placeholder=meaning, id=f"t-{name}", compact=True)
        with KeyScroll(id="trial-pane"):
            yield Static("", id="trial-text", markup=False)

    def on_mount(self) -> None:
        self.set_focus(self.query_one("#trial-pane"))
        self._prepare()

    def action_edit(self) -> None:
        """Change what runs."""
        self.set_focus(self.query_one("#t-where", Input))

    def on_input_submitted(self) -> None:
        self.set_focus(self.query_one("#trial-pane"))
        self._prepare()

    def on_input_blurred(self) -> None:
        """A field that was left is taken as it stands."""
        if not self._runs and self._trial is None:
            self._prepare()

    def _form(self) -> _Form:
        """Read the form.

        Raises:
            UsageError: a field has a value that is none.
        """
        value = {name: self.query_one(f"#t-{name}", Input).value.strip() for name, *_ in _FIELDS}
        return read_form(value)

    def _question(self, options: TrialOptions) -> Question:
        return Question(
            reference_of(self._reply),
            self._terms.workload,
            own=self._own_facts(options),
            offline=self.own_app.offline,
            max_age=600.0,
            variant=self._terms.variant,
            catalog=self.own_app.desk.catalog,
        )

    def _own_facts(self, options: TrialOptions) -> Own:
        """A server that runs already is on the card that was chosen."""
        if options.server is None or self._chosen is None:
            return self._terms.own if options.server is not None else replace(self._terms.own, accelerators=())
        return replace(self._terms.own, accelerators=(spelled(self._reply, self._terms.own, self._chosen.accelerator),))

    def _prepare(self) -> None:
        self._prepared = None
        try:
            self._work_out(self._form())
        except UsageError as error:
            self._text(f"✗ {error.message} {error.hint}".strip())

    @work(thread=True, exclusive=True, group="prepare")
    def _work_out(self, form: _Form) -> None:
        try:
            prepared = prepare(self._question(form.options), form.options)
            lines = before(prepared, form.options)
            command = " ".join(["vllm", *prepared.request.serve])
            self.report(self.Ready(form, prepared, "\n".join([*lines, "", command])))
        except NoGpuError as error:
            where = "Write cpu at “where” for vLLM's CPU build, or the URL of a server that runs."
            self.report(self.Ready(form, None, f"✗ {error.message} {where}"))
        except WhichgpuError as error:
            self.report(self.Ready(form, None, f"✗ {error.message} {error.hint}".strip()))

    def on_trial_screen_ready(self, message: Ready) -> None:
        if self._runs:
            return
        self._prepared = (message.form, message.prepared) if message.prepared is not None else None
        self.say("Trial", self._reply.inspection.source.name, "s starts" if self._prepared else "")
        self._text(message.text)
        self.refresh_bindings()

    def action_start(self) -> None:
        """Run what is shown."""
        if self._prepared is None or self._runs:
            return
        self._runs, self._stages, self._trial = True, {}, None
        self.refresh_bindings()
        self._try(*self._prepared)

    @work(thread=True, exclusive=True, group="trial")
    def _try(self, form: _Form, prepared: Prepared) -> None:
        worker = get_current_worker()

        def tell(step: Step) -> None:
            if worker.is_cancelled:
                raise WorkerCancelled
            self.post_message(self.Went(step))

        try:
            launcher, root = launcher_of(form.vllm), trials_folder(None)
            if form.options.server is not None:
                trial = measure_server(prepared.request, form.options.server, launcher, root / new_name(), tell)
            else:
                trial, _ = run_trial(prepared.request, launcher, root, tell)
            self.post_message(self.Ended(trial, f"{report(trial)}\n\n{self._keep_trial(prepared, trial)}"))
        except WorkerCancelled:
            gone = "the server is as it was" if form.options.server is not None else "vLLM is gone"
            self.post_message(self.Ended(None, f"Stopped; {gone}, and nothing was kept."))
        except WhichgpuError as error:
            self.post_message(self.Ended(None, f"✗ {error.message} {error.hint}".strip()))

    def _keep_trial(self, prepared: Prepared, trial: Trial) -> str:
        try:
            keep_record(prepared, trial)
        except CatalogError as error:
            return f"Not kept: {error.message}"
        return f"Kept in the catalog; its log is in {trials_folder(None) / trial.identity}."

    def on_trial_screen_went(self, message: Went) -> None:
        """At most a few times a second; the line is written when its second or stage changes."""
        step = message.step
        line = step_line(step)
        if self._stages.get(step.what, "").split(" s ")[0] == line.split(" s ")[0]:
            return
        self._stages[step.what] = line
        self.say("Trial", f"{step.seconds:.0f} s {step.what}", "escape stops it")
        self._text("\n".join(self._stages.values()))

    def on_trial_screen_ended(self, message: Ended) -> None:
        self._runs, self._trial = False, message.trial
        outcome = message.trial.outcome.value if message.trial is not None else "ended"
        self.say("Trial", self._reply.inspection.source.name, outcome)
        self._text(message.text)
        self.refresh_bindings()

    def _text(self, text: str) -> None:
        self.query_one("#trial-text", Static).update(text)

    def action_back(self) -> None:
        """Escape leaves the form, then stops what runs, then leaves."""
        if isinstance(self.focused, Input):
            self.on_input_submitted()
        elif self._runs:
            self.say("Trial", "stopping vLLM…")
            self.workers.cancel_group(self, "trial")
        else:
            super().action_back()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is known to run is started, and one at a time."""
        if action == "start":
            return self._prepared is not None and not self._runs
        return not self._runs if action == "edit" else super().check_action(action, parameters)

    def one_shot(self) -> str | None:
        """The command that runs the same, as the form stands."""
        try:
            form = self._form()
        except UsageError:
            return None
        options = form.options
        own_facts = self._own_facts(options)
        words = [
            "whichgpu",
            "trial",
            "--model",
            reference_of(self._reply),
            *terms_words(replace(self._terms, own=own_facts)),
        ]
        words += ["--anyway"]
        words += ["--vllm-at", form.vllm] if form.vllm else []
        words += ["--server", options.server] if options.server else []
        words += ["--sweep", ",".join(load.words for load in options.loads)] if options.loads else []
        words += ["--budget", f"{options.budget:g}"]
        words += ["--real-weights"] if options.real_weights else []
        words += ["--cpu", "--kv-memory", f"{options.kv_memory:g}"] if options.cpu else []
        return shlex.join(words)

    def export(self) -> Export | None:
        trial = self._trial
        if trial is None:
            return None
        return Export(f"trial-{trial.identity}.json", lambda: trial.model_dump_json(indent=2))
