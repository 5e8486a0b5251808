"""Screens that can be opened from everywhere, by name; each is imported when it is opened."""

from __future__ import annotations

from whichgpu.tui.app.page import Page


def place(name: str, local: bool) -> Page:
    """Return a new screen: catalog, fleet, silicon or settings."""
    if name == "catalog":
        from whichgpu.tui.app.catalog import CatalogScreen

        return CatalogScreen()
    if name == "fleet":
        from whichgpu.tui.app.fleet import FleetScreen

        return FleetScreen()
    if name == "silicon":
        from whichgpu.tui.app.silicon import SiliconScreen

        return SiliconScreen()
    from whichgpu.tui.app.settings import SettingsScreen

    return SettingsScreen(local)
