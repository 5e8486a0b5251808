"""The catalog in a browser through Datasette: a copy without what is this machine's and these people's alone."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from whichgpu.catalog import files, own_host
from whichgpu.catalog.errors import MissingLibraryError

_QUESTIONS = {
    "cheapest": ("Cheapest plans that fit", "SELECT * FROM cheapest_plans ORDER BY usd_per_hour"),
    "measured": ("Measured beside predicted", "SELECT * FROM measured_vs_predicted"),
    "fleet": ("What is tagged served", "SELECT * FROM fleet"),
    "search": (
        "Models by words",
        """SELECT m.model, i.label, i.parameters, m.made_at FROM models AS m JOIN inspections AS i USING (identity)
        WHERE m.rowid IN (SELECT rowid FROM models_fts WHERE models_fts MATCH :words)""",
    ),
}

_LOCAL = ("people", "heads", "lookups", "shared", "bundles", "marks", "unchanged", "remembered")
"""Tables of names, targets and mirrors: whoever can open the page could read them with a line of SQL."""


@contextmanager
def served(path: Path, port: int) -> Iterator[list[str]]:
    """Give the command that serves a catalog on loopback, as it is now; what it needs goes with the context.

    Raises:
        CatalogError: Datasette is not installed, or the file cannot be copied.
    """
    if importlib.util.find_spec("datasette") is None:
        raise MissingLibraryError("Datasette", "serve")
    with tempfile.TemporaryDirectory(prefix="whichgpu-") as name:
        folder = Path(name)
        copy = _copied(path, folder / f"{path.stem}.db")
        (folder / "metadata.json").write_text(json.dumps(_metadata(path.stem)), encoding="utf-8")
        (folder / "plugins").mkdir()
        shutil.copy(own_host.__file__, folder / "plugins" / "own_host.py")
        options = ["--host", "127.0.0.1", "--port", str(port), "--metadata", str(folder / "metadata.json")]
        options += ["--plugins-dir", str(folder / "plugins"), "--immutable", str(copy)]
        yield [sys.executable, "-P", "-m", "datasette", "serve", *options]


def _copied(path: Path, copy: Path) -> Path:
    """Copy a catalog less what is local to this machine; nothing of that stays in free pages."""
    with files.translated(path):
        with closing(files.for_reading(path)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        with closing(sqlite3.connect(copy)) as connection:
            present = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table in present.intersection(_LOCAL):
                connection.execute(f"DELETE FROM {table}")
            connection.execute("UPDATE findings SET local_path = NULL")
            connection.commit()
            connection.execute("VACUUM")
    return copy


def _metadata(name: str) -> dict[str, object]:
    hidden = {table: {"hidden": True} for table in ("findings", *_LOCAL)}
    visible_tables = {
        "inspections": {"facets": ["classes", "grade", "published"], "sort_desc": "parameters"},
        "plans": {"facets": ["accelerator", "precision", "verdict"], "sort": "usd_per_hour"},
        "prices": {"facets": ["accelerator", "provider", "kind"], "sort": "usd_per_hour"},
    }
    questions = {key: {"title": title, "sql": sql} for key, (title, sql) in _QUESTIONS.items()}
    return {
        "title": "whichgpu catalog",
        "databases": {name: {"tables": {**hidden, **visible_tables}, "queries": questions}},
    }
