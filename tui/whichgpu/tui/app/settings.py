"""Settings: what is chosen, what it means, and where it is kept; each change is written at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, Static

from whichgpu.inspect.errors import UsageError
from whichgpu.inspect.text import clean
from whichgpu.tui.app.page import Page
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.app.widgets import Line
from whichgpu.tui.desk.desk import open_desk
from whichgpu.tui.desk.paths import config_path, state_path
from whichgpu.tui.desk.settings import MEANINGS, THEMES, Settings, load, save

_CHOICES: dict[str, tuple[Any, ...]] = {
    "theme": THEMES,
    "ascii": (False, True),
    "press_o": (False, True),
    "memory_unit": ("GiB", "GB"),
}


class SettingsScreen(Page):
    """One row a setting."""

    HELP = "Enter turns the setting under the cursor, or asks for its value; it is written into the file at once."
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "change", "Change", id="settings.change")]

    def __init__(self, local: bool) -> None:
        super().__init__()
        self._local = local
        self._settings = Settings()
        self._asking: str | None = None

    def body(self) -> Iterable[Widget]:
        yield KeyTable(("setting", "is"), id="settings")
        yield Static("", id="meaning", markup=False)
        yield Line(id="value")
        yield Static(_elsewhere(self._local, self.own_app.desk.catalog), id="places", markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).display = False
        self.set_focus(self.query_one(KeyTable))
        self._show()

    def _show(self) -> None:
        try:
            self._settings = load()
        except UsageError as error:
            trouble = f"✗ {error.message} {error.hint}" if self._local else "✗ they can't be read"
            self.say("Settings", trouble)
            return
        self.say("Settings", str(config_path()) if self._local else "of this machine")
        values = self._settings.model_dump()
        self.query_one(KeyTable).show_rows([(name, (name, _value_text(name, value))) for name, value in values.items()])
        self._explain()

    def on_data_table_row_highlighted(self) -> None:
        self._explain()

    def _explain(self) -> None:
        name = self.query_one(KeyTable).current
        self.query_one("#meaning", Static).update(MEANINGS.get(name or "", ""))

    def on_data_table_row_selected(self) -> None:
        self.action_change()

    def action_change(self) -> None:
        """Turn the setting to its next choice, or ask for its value."""
        name = self.query_one(KeyTable).current
        if name is None or name == "keys" or not self._local:
            return
        if name in _CHOICES:
            choices, at = _CHOICES[name], getattr(self._settings, name)
            self._write(name, choices[(choices.index(at) + 1) % len(choices)])
            return
        field = self.query_one(Input)
        self._asking = name
        field.value, field.placeholder, field.display = str(getattr(self._settings, name)), MEANINGS[name], True
        self.set_focus(field)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if self._asking is not None:
            self._write(self._asking, event.value.strip())
        self._end_asking()

    def _end_asking(self) -> None:
        self._asking = None
        self.query_one(Input).display = False
        self.set_focus(self.query_one(KeyTable))

    def _write(self, name: str, value: Any) -> None:
        try:
            save({name: value})
            self.own_app.take(open_desk())
        except UsageError as error:
            self.notify(f"{error.message} {error.hint}", severity="error", markup=False)
            return
        for screen in self.app.screen_stack:
            if isinstance(screen, Page):
                screen.show_anew()
        self._show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A browser changes nothing of this machine."""
        return self._local if action == "change" else super().check_action(action, parameters)

    def action_back(self) -> None:
        """Escape leaves the line first, then the screen."""
        if self._asking is not None:
            self._end_asking()
        else:
            super().action_back()


def _value_text(name: str, value: Any) -> str:
    if name == "keys":
        return f"{len(value)} changed" if value else "as they come"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return clean(value) if value != "" else "as it comes"


def _elsewhere(local: bool, catalog: Path) -> str:
    """What is not set here: the token, and where things are."""
    from huggingface_hub import constants, get_token

    token = "there (from HF_TOKEN or hf auth login)" if get_token() else "none: gated models need one (hf auth login)"
    lines = [f"Hub token   {token}", f"Hub         {clean(constants.ENDPOINT)}"]
    lines += [f"catalog     {catalog}", f"state       {state_path()}"] if local else []
    return "\n".join(lines)
