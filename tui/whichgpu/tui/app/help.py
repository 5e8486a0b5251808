"""Help and the list of all actions, both from the screens' and widgets' own keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from textual.app import SystemCommand
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen

from whichgpu.tui.desk.settings import THEMES

if TYPE_CHECKING:
    from whichgpu.tui.app.application import WhichgpuApp

PLACES = {
    "catalog": "What was found before: search, notes, tags, history",
    "fleet": "A list of served models, packed on machines",
    "silicon": "Custom chips: who can use them, what serves there",
    "settings": "Theme, units, currency, catalog, Hub",
}


def help_of(screen: Screen[object]) -> str:
    """Return what a screen is for, its keys with their ids, and which can't work now."""
    nodes: list[DOMNode] = [*([screen.focused] if screen.focused is not None else []), screen]
    lines: list[str] = [getattr(screen, "HELP", "")]
    listed_ids: set[str] = set()
    for node in nodes:
        bindings = [b for b in _own_bindings(node) if b.id and b.id not in listed_ids]
        listed_ids |= {b.id for b in bindings if b.id}
        lines += ["", *(_line(screen, node, b) for b in bindings)] if bindings else []
    lines += ["", "  F2 next theme · Ctrl-C quits · keys change by their ids in the settings (,)"]
    return "\n".join(lines)


def _own_bindings(node: DOMNode) -> Iterator[Binding]:
    """Bindings of a node's classes of ours, the most special first."""
    for kind in type(node).__mro__:
        if kind.__module__.startswith("whichgpu"):
            yield from (b for b in kind.__dict__.get("BINDINGS", ()) if isinstance(b, Binding))


def _line(screen: Screen[object], node: DOMNode, binding: Binding) -> str:
    bound_key = getattr(screen.app, "keys", {}).get(binding.id or "", binding.key)
    keys = binding.key_display if binding.key_display and bound_key == binding.key else bound_key
    works = any(a.binding.action == binding.action for a in screen.active_bindings.values())
    return f"  {keys:<16} {binding.description:<22} {binding.id}{'' if works else '   (not now)'}"


def commands_of(app: WhichgpuApp, screen: Screen[object]) -> Iterable[SystemCommand]:
    """Yield every action that works now, every place and every theme."""
    listed_actions: set[str] = set()
    for active in screen.active_bindings.values():
        binding, node = active.binding, active.node
        if (
            not active.enabled
            or not binding.id
            or binding.action in listed_actions
            or binding.action.endswith("command_palette")
        ):
            continue
        listed_actions.add(binding.action)
        area = binding.id.split(".")[0]
        about = f"key {binding.key_display or binding.key}"
        run = partial(app.run_action, binding.action, node)
        yield SystemCommand(f"{area}: {binding.description}", about, run)
    for name, about in PLACES.items():
        yield SystemCommand(f"go: {name}", about, partial(app.action_open, name))
    for theme in THEMES:
        yield SystemCommand(
            f"theme: {theme}", "for this run; the settings keep it", partial(setattr, app, "theme", theme)
        )
