"""The workload as a form: every option of the command line's question, kept to the command line's own rules."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import ClassVar

import click
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from whichgpu.tui.app.widgets import FormLine, KeyScroll
from whichgpu.tui.asking.options import engine_options, question_options, source_options
from whichgpu.tui.asking.question import terms_of, terms_words
from whichgpu.tui.desk.replanning import Terms

_LEFT_OUT = {"model", "variant", "offline", "refresh", "max_age", "quick", "catalog", "price_file", "gpu_file"}


@click.command(add_help_option=False)
@question_options
@engine_options
@source_options
def _question(**options: object) -> None:
    """What the command line asks; only its parser is used."""


_FIELDS = [p for p in _question.params if isinstance(p, click.Option) and p.name not in _LEFT_OUT]


def parsed(words: list[str]) -> Terms:
    """Return what options of the command line ask.

    Raises:
        click.ClickException: an option or value that is none.
    """
    context = _question.make_context("whichgpu", ["--model", "x", *words])
    return replace(terms_of(context.params), variant=None)


class _Field(FormLine):
    """A line whose hint is marked where it is cut."""

    def __init__(self, value: str, hint: str, name: str) -> None:
        super().__init__(value, id=name, compact=True)
        self._hint = hint

    def on_resize(self) -> None:
        room = max(2, self.content_size.width - 1)  # the cursor has one
        self.placeholder = self._hint if len(self._hint) <= room else f"{self._hint[: room - 1]}…"


class WorkloadForm(ModalScreen[Terms | None]):
    """Gives what is asked, or nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back", id="form.back"),
    ]

    def __init__(self, terms: Terms) -> None:
        super().__init__()
        self._terms = terms
        self._values = _values(terms_words(Terms(terms.workload, terms.own)))

    def compose(self) -> ComposeResult:
        with Vertical(id="form"):
            yield Static("Workload  (Enter asks it, up and down move, escape leaves it)", id="form-title", markup=False)
            with KeyScroll(can_focus=False):
                for field in _FIELDS:
                    option = field.opts[0]
                    with Horizontal(classes="field"):
                        yield Label(f"{option:<26}", markup=False)
                        initial_text = self._values.get(option, "")
                        yield _Field(initial_text, _hint(field), f"o{option.strip('-')}")
            yield Static("", id="form-trouble", markup=False)

    def on_input_submitted(self) -> None:
        try:
            question = parsed(self._words())
        except (click.ClickException, ValueError) as error:
            trouble = error.format_message() if isinstance(error, click.ClickException) else f"{error}: close the quote"
            self.query_one("#form-trouble", Static).update(f"✗ {trouble}")
            return
        previous_facts = self._terms.own
        own_facts = replace(
            question.own, price_file=previous_facts.price_file, card_file=previous_facts.card_file
        )  # not in the form
        self.dismiss(replace(question, own=own_facts, variant=self._terms.variant))

    def _words(self) -> list[str]:
        words: list[str] = []
        for field in _FIELDS:
            option = field.opts[0]
            text = self.query_one(f"#o{option.strip('-')}", Input).value.strip()
            if field.is_flag:
                words += [option] if text.lower() in ("yes", "y", "true", "1") else []
            elif text:
                for part in shlex.split(text) if field.multiple else [text]:
                    words += [option, part]
        return words


def _values(words: list[str]) -> dict[str, str]:
    """Option by option, what stands in its line."""
    flags = {f.opts[0] for f in _FIELDS if f.is_flag}
    many = {f.opts[0] for f in _FIELDS if f.multiple}
    value_by_option: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        value = "yes" if word in flags else next(rest)
        value = shlex.quote(value) if word in many else value
        value_by_option[word] = f"{value_by_option[word]} {value}" if word in value_by_option else value
    return value_by_option


def _hint(field: click.Option) -> str:
    if field.is_flag:
        return f"yes or nothing; {field.help or ''}"
    choices = f"{', '.join(field.type.choices)}; " if isinstance(field.type, click.Choice) else ""
    return f"{choices}{field.help or ''}"
