"""Page: what every screen of the app shares: a line of title, a body, the footer, and the keys that work everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, NamedTuple, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import get_current_worker

from whichgpu.tui.app.keys import Keys

if TYPE_CHECKING:
    from whichgpu.tui.app.application import WhichgpuApp

TOO_SMALL = "whichgpu needs 60 columns; this terminal has fewer. Make it wider; q quits."
"""Shown in place of everything else."""


def is_hub_id(name: str) -> bool:
    """True for ``ORG/NAME``: what may be told and opened wherever the app is used from."""
    from whichgpu.inspect.reference import is_repository_id

    return "/" in name and is_repository_id(name)


class Export(NamedTuple):
    """What ``x`` writes."""

    name: str
    """Of the file, without folder."""
    text: Callable[[], str]
    """Its content, which is made when it is written: whether there is one is asked at every key."""


class Page(Screen[None]):
    """One screen. ``HELP`` says what it is for; ``one_shot`` and ``export`` what leads out of it."""

    HELP: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="page.back"),
        Binding("question_mark,f1", "app.help", "Help", id="page.help", key_display="?"),
        Binding("m", "one_shot", "As command", show=False, id="page.command"),
        Binding("x", "export", "Export", show=False, id="page.export"),
        Binding("colon", "app.command_palette", "All actions", show=False, id="page.palette", key_display=":"),
        Binding("apostrophe", "app.jump", "Jump to a pane", show=False, id="page.jump", key_display="'"),
        Binding("comma", "app.settings", "Settings", show=False, id="page.settings", key_display=","),
        Binding("q", "app.ask_quit", "Quit", show=False, id="page.quit"),
    ]

    def compose(self) -> ComposeResult:
        self.add_class(*self._breakpoints())
        yield Static(self.heading(), id="title", markup=False)
        yield from self.body()
        yield Static(TOO_SMALL, id="small", markup=False)
        yield Keys()

    def body(self) -> Iterable[Widget]:
        """Yield the widgets between title and footer."""
        return ()

    @property
    def own_app(self) -> WhichgpuApp:
        """The app, as ours."""
        return cast("WhichgpuApp", self.app)

    def show_anew(self) -> None:
        """Show what is shown again: units or currency have changed."""

    def _breakpoints(self) -> Iterable[str]:
        """Yield the classes of this size before Textual's first resize does, which would style and draw it all again."""
        size, app = self.app.size, self.own_app
        for across, steps in ((size.width, app.HORIZONTAL_BREAKPOINTS), (size.height, app.VERTICAL_BREAKPOINTS)):
            yield max((least, name) for least, name in steps or () if least <= across)[1]

    def heading(self) -> str:
        """Return the title that the screen starts with: what is known before anything was read."""
        return ""

    def say(self, *words: str) -> None:
        """Show the title: what isn't empty, one after the other."""
        self.query_one("#title", Static).update("  ·  ".join(w for w in words if w))

    def report(self, message: Message) -> None:
        """Post what a worker found, unless a newer one has taken its place."""
        if not get_current_worker().is_cancelled:
            self.post_message(message)

    def one_shot(self) -> str | None:
        """Return the command line that gives the same record, where there is one now."""
        return None

    def export(self) -> Export | None:
        """Return what ``x`` writes, where there is something now."""
        return None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys are there when they can work."""
        if not self.is_mounted:
            return True
        if action == "one_shot":
            return self.one_shot() is not None
        return self.export() is not None if action == "export" else True

    def action_back(self) -> None:
        """Escape always leaves."""
        self.own_app.action_leave()

    def action_one_shot(self) -> None:
        """Show the command that gives the same."""
        from whichgpu.tui.app.words import Words

        command = self.one_shot()
        if command is not None:
            self.app.push_screen(Words("The same on the command line", command, command))

    def action_export(self) -> None:
        """Write what is shown as a file, or download it in a browser."""
        export = self.export()
        if export is not None:
            self.own_app.deliver(export.name, export.text())
