"""Settings of both faces: one TOML file that people may edit, read when something is asked, written with its comments kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from whichgpu.inspect.bounded import read_bounded
from whichgpu.inspect.errors import UsageError
from whichgpu.inspect.records import Record
from whichgpu.inspect.text import clean
from whichgpu.tui.desk.paths import config_path

THEMES = ("textual-dark", "textual-light", "whichgpu-contrast", "whichgpu-colour-blind", "ansi-dark")

MEANINGS = {
    "theme": f"one of {', '.join(THEMES)}; NO_COLOR takes ansi-dark",
    "ascii": "true draws with ASCII alone; a locale without UTF-8 does so by itself",
    "memory_unit": "GiB (2^30 bytes) or GB (10^9)",
    "currency": "how prices are shown: USD, or another, once per_usd is set",
    "per_usd": "what one US dollar costs in that currency; yours, since whichgpu asks no exchange",
    "catalog": "the catalog's file; WHICHGPU_CATALOG goes before it, and “” is your data folder",
    "endpoint": "a mirror of the Hub; HF_ENDPOINT goes before it; from the next start; “” is huggingface.co",
    "press_o": "true ends an answer on a terminal with “press o to open in the app”",
    "keys": "keys of the app by the ids that ? shows, for example “plan.copy” = “Y”",
}
"""What stands behind each setting in the file."""


class Settings(Record):
    """What the user chose; the command line takes everything but the looks and keys of the app."""

    theme: str = "textual-dark"
    ascii: bool = False
    memory_unit: str = Field(default="GiB", pattern="^(GiB|GB)$")
    currency: str = Field(default="USD", pattern="^[A-Z]{3}$")
    per_usd: float = Field(default=1.0, gt=0, lt=1e9)
    catalog: str = ""
    endpoint: str = Field(default="", pattern="^(https?://.*)?$")
    press_o: bool = False
    keys: dict[str, str] = Field(default_factory=dict)


_MOST_BYTES = 2**20


def load() -> Settings:
    """Return the settings, or the defaults where there is no file.

    Raises:
        UsageError: the file is no TOML, or a setting is none or has a wrong value; it says which.
    """
    import tomllib

    at = config_path()
    try:
        toml_values = tomllib.loads(read_bounded(at, _MOST_BYTES).decode())
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError) as error:
        raise UsageError(f"{clean(at)} cannot be read: {clean(error)}.", "Mend or remove it.") from error
    return _valid(toml_values)


def _valid(table: Mapping[str, Any]) -> Settings:
    try:
        settings = Settings.model_validate(table)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        raise UsageError(f"Setting {clean(where)}: {clean(wrong['msg'])}.", f"It stands in {config_path()}.") from error
    if settings.currency != "USD" and settings.per_usd == 1.0:
        raise UsageError(f"What one US dollar costs in {settings.currency} is not known.", "Set per_usd first.")
    if settings.theme not in THEMES:
        raise UsageError(f"No theme “{clean(settings.theme)}”.", f"Choose of {', '.join(THEMES)}.")
    return settings


def save(changes: Mapping[str, Any]) -> Path:
    """Write changed settings, whole or not at all, and leave comments and all else as they are.

    Raises:
        UsageError: the file that is there cannot be read, or the new one cannot be written.
    """
    import tomlkit

    before = load()  # a file that is broken is not written over
    checked = {name: getattr(_valid(before.model_dump() | dict(changes)), name) for name in changes}
    at = config_path()
    try:
        document = tomlkit.parse(read_bounded(at, _MOST_BYTES).decode()) if at.exists() else _fresh()
        for name, value in checked.items():
            document[name] = value
        at.parent.mkdir(parents=True, exist_ok=True)
        at = at.resolve()  # a link stays one
        part = at.with_suffix(".part")
        part.write_text(tomlkit.dumps(document), encoding="utf-8")
        part.replace(at)
    except OSError as error:
        raise UsageError(f"{clean(at)} cannot be written: {clean(error.strerror or error)}.") from error
    return at


def _fresh() -> Any:
    """The file with every setting, its default and what it means."""
    import tomlkit

    document = tomlkit.document()
    document.add(tomlkit.comment("Settings of whichgpu; the app's settings screen (comma) writes them too."))
    for name, value in Settings().model_dump().items():
        document.add(tomlkit.nl())
        document.add(tomlkit.comment(MEANINGS[name]))
        document.add(name, tomlkit.table() if value == {} else value)
    return document


def use_endpoint(settings: Settings) -> None:
    """Let the mirror of the settings hold for this process, before the Hub's library reads it; the environment's goes first."""
    if settings.endpoint:
        os.environ.setdefault("HF_ENDPOINT", settings.endpoint)
