"""Folders: pick a model folder or weight file of this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from rich.text import Text, TextType
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import DirectoryTree

from whichgpu.inspect.text import clean
from whichgpu.tui.app.page import Page

_FILES = (".safetensors", ".gguf")


class ModelTree(DirectoryTree):
    """Folders, and the files that hold weights; names are plain text."""

    ICON_NODE, ICON_NODE_EXPANDED, ICON_FILE = "▸ ", "▾ ", "  "
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False, id="tree.down"),
        Binding("k", "cursor_up", "Up", show=False, id="tree.up"),
        Binding("g,home", "scroll_home", "First", show=False, id="tree.first"),
        Binding("G,end", "scroll_end", "Last", show=False, id="tree.last"),
    ]

    def process_label(self, label: TextType) -> Text:
        """File names are text from outside."""
        return Text(clean(super().process_label(label).plain))

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        return [p for p in paths if not p.name.startswith(".") and (p.suffix in _FILES or p.is_dir())]


class FolderScreen(Page):
    """The working folder and what lies below; backspace goes up."""

    HELP = (
        "Enter folds a folder out, o opens it as a model; Enter opens a .safetensors or .gguf file. backspace goes up."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "open", "Open as model", id="folders.open"),
        Binding("backspace", "up", "Up", id="folders.up"),
    ]

    def body(self) -> Iterable[Widget]:
        yield ModelTree(Path.cwd(), id="folders")

    def on_mount(self) -> None:
        self._say_title()
        self.set_focus(self.query_one(ModelTree))

    def _say_title(self) -> None:
        self.say("Folders", clean(self.query_one(ModelTree).path))

    def action_up(self) -> None:
        tree = self.query_one(ModelTree)
        tree.path = Path(tree.path).resolve().parent
        self._say_title()

    def action_open(self) -> None:
        node = self.query_one(ModelTree).cursor_node
        if node is not None and node.data is not None:
            self._open(node.data.path)

    def on_directory_tree_file_selected(self, event: DirectoryTree.FileSelected) -> None:
        self._open(event.path)

    def _open(self, path: Path) -> None:
        self.own_app.action_leave()
        self.own_app.open_model(str(path))
