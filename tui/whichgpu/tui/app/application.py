"""The app: which screen is shown, what is remembered, and how it looks."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.screen import Screen
from textual.theme import Theme

from whichgpu import assets
from whichgpu.tui.app.browse import Browse
from whichgpu.tui.desk.desk import Desk
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.units import show_as

if TYPE_CHECKING:
    from whichgpu.tui.app.state import State
    from whichgpu.tui.desk.answering import Question, Reply
    from whichgpu.tui.desk.replanning import Terms

_LEAST_WIDTH = 60
_PATIENCE = 3.0
"""Seconds within which a second ``q`` quits."""

_THEMES = (
    Theme("whichgpu-contrast", primary="#ffffff", success="#00ff00", warning="#ffff00", error="#ff5f5f", foreground="#ffffff",
          background="#000000", surface="#000000", panel="#303030", dark=True),
    Theme("whichgpu-colour-blind", primary="#4c9be8", success="#4c9be8", warning="#f0c419", error="#d81b7a", dark=True),
)  # fmt: skip


class WhichgpuApp(App[None]):
    """Screens over the same functions as the command line."""

    TITLE = "whichgpu"
    CSS = assets.read("app.tcss").decode()
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (_LEAST_WIDTH, "-narrow"), (120, "-wide")]  # noqa: RUF012 - as App has it
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (18, "-short"), (32, "-tall")]  # noqa: RUF012 - as App has it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True, id="app.interrupt"),
        Binding("ctrl+z", "suspend_process", "To the shell", show=False, id="app.suspend"),
        Binding("f2", "next_theme", "Theme", show=False, id="app.theme"),
    ]

    def __init__(
        self,
        desk: Desk,
        offline: bool = False,
        model: str | None = None,
        local: bool = True,
        answered: tuple[Reply, Question] | None = None,
    ) -> None:
        self.desk = desk
        self._state: State | None = None
        self._state_read = threading.Lock()
        self._ascii: LineFilter | None = None
        self.keys: Mapping[str, str] = {}
        self._quit_asked = False
        self.restored = False
        """Whether the browser has taken up filter and order of the last run."""
        self.offline, self.local, self._first, self._answered = offline, local, model, answered
        # Textual chooses how it takes colours out while it is made, by what its theme is until then, and takes NO_COLOR from
        # the environment: with the terminal's own colours asked for, the terminal's own foreground and background stay.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self.animation_level = "none"
        for theme in _THEMES:
            self.register_theme(theme)
        self.draw_ascii(False)
        self.take(desk)
        if self.no_color:
            self.theme = "ansi-dark"

    def take(self, desk: Desk) -> None:
        """Let a desk and its settings hold: the catalog, theme, keys, characters, units."""
        self.desk, settings = desk, desk.settings
        if settings is None:
            return

        show_as(settings)
        if not self.no_color:
            self.theme = settings.theme
        self.keys = settings.keys
        self.set_keymap(settings.keys)
        self.draw_ascii(settings.ascii)

    def draw_ascii(self, always: bool) -> None:
        """Draw with ASCII alone where it is asked for, or the locale has no more."""
        from whichgpu.tui.app import plain

        self._ascii = plain.AsciiAlone() if always or plain.needed() else None

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, and ours where everything is drawn in ASCII."""
        return [*super().get_line_filters(), *([self._ascii] if self._ascii is not None else [])]

    def get_default_screen(self) -> Screen[None]:
        """The browser is home."""
        return Browse()

    def on_mount(self) -> None:
        if self._answered is not None:
            from whichgpu.tui.desk.replanning import Terms

            reply, question = self._answered
            self.plan(reply, Terms(question.workload, question.own, question.variant))
        elif self._first is not None:
            self.open_model(self._first)

    @property
    def state(self) -> State:
        """What is remembered; read when it is first asked for, off the UI's thread."""
        with self._state_read:  # a worker that reads it must not write over what a key has changed meanwhile
            if self._state is None:
                from whichgpu.tui.app import state

                self._state = state.load()
            return self._state

    @property
    def order(self) -> str:
        """What the browser is sorted by; empty is its own order."""
        return self._state.sort if self._state is not None else ""

    @order.setter
    def order(self, name: str) -> None:
        self.keep_state(self.state.model_copy(update={"sort": name}))

    def keep_state(self, state: State) -> None:
        """Remember for this run and the next."""
        from whichgpu.tui.app.state import save

        self._state = state
        save(state)

    def open_model(self, name: str) -> None:
        """Show a model: what it is, then its plan."""
        from whichgpu.tui.app.model import ModelScreen

        self.push_screen(ModelScreen(name))

    def opened(self, reply: Reply) -> None:
        """Remember a model that was read."""
        from whichgpu.tui.desk.replanning import reference_of

        self.keep_state(self.state.opened(reference_of(reply)))

    def plan(self, reply: Reply, terms: Terms) -> None:
        """Show a model's plan for what was asked."""
        from whichgpu.tui.app.plan import PlanScreen

        self.push_screen(PlanScreen(reply, terms))

    def remember(self, load: Mapping[str, object]) -> None:
        """Keep fields of ``LOAD`` for the next model and the next run: limits, cards and fixes are of one model's session."""
        if load:
            workload = self.state.workload.model_copy(update=dict(load))
            self.keep_state(self.state.model_copy(update={"workload": workload}))

    def deliver(self, name: str, text: str) -> None:
        """Write a file into the working folder, never over another; a browser downloads it."""
        from whichgpu.tui.app.delivery import deliver

        deliver(self, name, text)

    def action_leave(self) -> None:
        """Leave a screen; the home screen stays."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def action_ask_quit(self) -> None:
        """Quit by the second press: one key alone never does."""
        if self._quit_asked:
            self.exit()
            return
        self._quit_asked = True
        self.notify("q again quits", timeout=_PATIENCE, markup=False)
        self.set_timer(_PATIENCE, self._forget_quit)

    def _forget_quit(self) -> None:
        self._quit_asked = False

    def action_help(self) -> None:
        """What this screen is for, and its keys, from the screen itself."""
        from whichgpu.tui.app.help import help_of
        from whichgpu.tui.app.words import Words

        self.push_screen(Words("Help", help_of(self.screen)))

    def action_jump(self) -> None:
        """Letters on the panes."""
        from whichgpu.tui.app.jump import Jump, targets

        def go(place: object) -> None:
            from textual.widget import Widget
            from textual.widgets import Tab, Tabs

            if isinstance(place, Tab) and place.id is not None:
                tabs = next(a for a in place.ancestors if isinstance(a, Tabs))
                tabs.active = place.id
            elif isinstance(place, Widget):
                place.focus()

        self.push_screen(Jump(targets(self.screen)), go)

    def action_open(self, name: str) -> None:
        """Open a screen by its name: catalog, silicon, fleet, settings."""
        from whichgpu.tui.app.places import place

        self.push_screen(place(name, self.local))

    def action_command_palette(self) -> None:
        """All actions; the cursor in its line doesn't blink, as nowhere in the app."""
        super().action_command_palette()
        self.call_after_refresh(self._still)

    def _still(self) -> None:
        from textual.widgets import Input

        for line in self.screen.query(Input):
            line.cursor_blink = False

    def action_settings(self) -> None:
        """The settings screen."""
        self.action_open("settings")

    def action_next_theme(self) -> None:
        """Turn to the next theme; NO_COLOR keeps the ANSI one."""
        if self.no_color:
            return
        from whichgpu.tui.desk.settings import THEMES

        at = THEMES.index(self.theme) if self.theme in THEMES else -1
        self.theme = THEMES[(at + 1) % len(THEMES)]

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Everything that the screen's keys do, every place, every theme."""
        from whichgpu.tui.app.help import commands_of

        return commands_of(self, screen)

    def _fatal_error(self) -> None:
        """A defect ends in one sentence that says where the log is; ``WHICHGPU_DEBUG=1`` shows the traceback too."""
        from whichgpu.tui.app.delivery import crash_sentence

        if os.environ.get("WHICHGPU_DEBUG") == "1":
            super()._fatal_error()
            return
        self.panic(crash_sentence(self._exception))


def run(
    desk: Desk, offline: bool, model: str | None, local: bool = True, answered: tuple[Reply, Question] | None = None
) -> int:
    """Run the app, perhaps at a model or at an answer that is there, and return its exit code."""
    gc.enable()  # the one-shot switches it off for its short life; the app stays
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    app = WhichgpuApp(desk, offline, model, local, answered)
    asyncio.run(_until_left(app))
    return ExitCode.BUG if app.return_code else ExitCode.OK


async def _until_left(app: WhichgpuApp) -> None:
    """Run the app, and end with it: the loop would wait for threads that read from a Hub which doesn't answer. A trial's
    supervisor stops its vLLM, and the catalog's writes are whole or not at all."""
    await app.run_async()
    if not app.return_code:
        sys.stdout.flush()
        os._exit(ExitCode.OK)
