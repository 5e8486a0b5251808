"""The app: which screen is shown, what is remembered, and how it looks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.theme import Theme

from whichgpu import assets
from whichgpu.inspect.text import clean
from whichgpu.tui.app.browse import Browse
from whichgpu.tui.app.words import Words

if TYPE_CHECKING:
    from whichgpu.plan.records import Workload
    from whichgpu.tui.answering import Reply
    from whichgpu.tui.app.state import State

_LEAST_WIDTH = 60

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
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True, id="app.interrupt"),
        Binding("t", "next_theme", "Theme", show=False, id="app.theme"),
    ]
    THEMES = ("textual-dark", "textual-light", "whichgpu-contrast", "whichgpu-colour-blind", "ansi-dark")

    def __init__(self, offline: bool = False, model: str | None = None, local: bool = True) -> None:
        self._state: State | None = None
        self.offline, self.local, self._first = offline, local, model
        super().__init__()
        self.animation_level = "none"
        for theme in _THEMES:
            self.register_theme(theme)
        if os.environ.get("NO_COLOR"):
            self.theme = "ansi-dark"

    def on_mount(self) -> None:
        self.push_screen(Browse())
        if self._first is not None:
            self.open_model(self._first)

    @property
    def state(self) -> State:
        """What is remembered; read when it is first asked for, off the UI's thread."""
        if self._state is None:
            from whichgpu.tui.app import state

            self._state = state.load()
        return self._state

    def _remember(self, state: State) -> None:
        from whichgpu.tui.app.state import save

        self._state = state
        save(state)

    def open_model(self, name: str) -> None:
        """Show a model: what it is, then its plan."""
        from whichgpu.tui.app.model import ModelScreen

        self.push_screen(ModelScreen(name))

    def opened(self, reply: Reply) -> None:
        """Remember a model that was read."""
        self._remember(self.state.opened(reply.inspection.source.name))

    def plan(self, reply: Reply) -> None:
        """Show a model's plan."""
        from whichgpu.tui.app.plan import PlanScreen

        self.push_screen(PlanScreen(reply))

    def remember(self, workload: Workload) -> None:
        """Keep a workload for the next model and the next run."""
        own = {"utilisation": None} if not workload.utilisation_asked else {}
        self._remember(self.state.model_copy(update={"workload": workload.model_copy(update=own)}))

    def action_leave(self) -> None:
        """Leave a screen; the home screen stays."""
        if len(self.screen_stack) > 2:
            self.pop_screen()

    def action_help(self) -> None:
        """What this screen is for, and its keys, from the screen itself."""
        screen = self.screen
        keys = [
            f"  {b.key_display or b.key.replace('question_mark', '?').replace('slash', '/'):<18} {b.description}"
            for b in (x for x in screen.BINDINGS if isinstance(x, Binding))
        ]
        self.push_screen(Words("Help", "\n".join([str(getattr(screen, "HELP", "")), "", *keys, "", *_EVERYWHERE])))

    def action_silicon(self) -> None:
        """The table of custom chips."""
        from whichgpu.plan.silicon import parse_silicon

        chips = parse_silicon(assets.read("silicon.json"))
        lines = [f"{c.name:<24} {c.access.value:<9} {c.vllm_state:<9} {clean(c.who, 60)}" for c in chips]
        self.push_screen(Words(f"Custom chips, as of {chips[0].as_of}", "\n".join(lines)))

    def action_catalog(self) -> None:
        """What was found before."""
        from whichgpu.tui.app.catalog import CatalogScreen

        self.push_screen(CatalogScreen())

    def action_next_theme(self) -> None:
        """Turn to the next theme."""
        at = self.THEMES.index(self.theme) if self.theme in self.THEMES else -1
        self.theme = self.THEMES[(at + 1) % len(self.THEMES)]


_EVERYWHERE = (
    "  j k g G            move in a list, like arrows, home and end",
    "  t                  next theme",
    "  q, Ctrl-C          quit",
)


def run(offline: bool, model: str | None, local: bool = True) -> None:
    """Run the app; ``NO_COLOR`` takes the ANSI theme, which must be chosen before Textual builds its filters."""
    if os.environ.get("NO_COLOR"):
        os.environ.setdefault("TEXTUAL_THEME", "ansi-dark")
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    app: App[Any] = WhichgpuApp(offline, model, local)
    app.run()
