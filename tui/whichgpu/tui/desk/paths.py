"""Where settings and state are; apart from them, so that looking for a file that isn't there costs no records."""

from __future__ import annotations

import os
from pathlib import Path


def config_path() -> Path:
    """Return the settings' file: ``WHICHGPU_CONFIG``, else ``config.toml`` in the user's configuration folder."""
    if stated := os.environ.get("WHICHGPU_CONFIG"):
        return Path(stated).expanduser()
    from platformdirs import user_config_path

    return user_config_path("whichgpu", appauthor=False) / "config.toml"


def state_path() -> Path:
    """Return where the app keeps its state: ``WHICHGPU_STATE``, else the user's state folder."""
    if stated := os.environ.get("WHICHGPU_STATE"):
        return Path(stated).expanduser()
    from platformdirs import user_state_path

    return user_state_path("whichgpu", appauthor=False) / "app.json"


def data_path() -> Path:
    """Return the user's data folder."""
    from platformdirs import user_data_path

    return user_data_path("whichgpu", appauthor=False)
