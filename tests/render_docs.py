"""Render docs/json.md, cli.md, app.md, catalog.md, claims.md and the catalog's schema.sql from the code: ``python -m tests.render_docs``; a test keeps them equal."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner
from pydantic import BaseModel

from whichgpu.inspect.records import SCHEMA_VERSION

DOCS = Path(__file__).parent.parent / "docs"
SCHEMA = DOCS.parent / "catalog" / "whichgpu" / "catalog" / "schema.sql"


def json_page() -> str:
    """Describe the JSON answer: the envelope, then every record with its fields."""
    from whichgpu.inspect import records as inspected
    from whichgpu.plan import records as planned

    names: tuple[str, ...] = (
        "Inspection",
        "ModelSource",
        "Evidence",
        "Architecture",
        "Mixer",
        "FeedForward",
        "RotaryTable",
        "Tower",
        "Parameters",
    )
    names += ("Weights", "Figure", "Quantisation", "TensorGroup", "Component", "Variant", "Selection")
    lines = [
        "# The JSON answer",
        "",
        "<!-- Written by `python -m tests.render_docs`. -->",
        "",
        "`whichgpu --model X --json` prints one object. Sizes are bytes, counts are integers, prices are US dollars;",
        "`null` means unknown, never 0. `whichgpu schema answer` prints its JSON Schema, `whichgpu schema` the commands that have one.",
        "`schema_version` rises when a field changes its meaning or disappears;",
        "new fields may appear within a version.",
        "",
        "| key | what |",
        "|---|---|",
        f"| `schema_version` | {SCHEMA_VERSION} |",
        "| `whichgpu` | version that answered |",
        "| `origin` | `hub`, `folder`, `file`, `cache`, `catalog` or `atlas` |",
        "| `origin_note` | a sentence when the answer is not fresh |",
        "| `warnings` | what the answer rests on that may surprise |",
        "| `inspection` | an `Inspection` |",
        "| `answer` | an `Answer` |",
    ]
    for name in names:
        lines += record(getattr(inspected, name))
    for name in (
        "Answer",
        "Workload",
        "Need",
        "Plan",
        "Layout",
        "Footprint",
        "Term",
        "Speed",
        "StepTime",
        "Range",
        "Remedy",
        "Price",
    ):
        lines += record(getattr(planned, name))
    for enum in (inspected.Origin, inspected.Grade, inspected.ModelClass, inspected.Part, planned.Verdict):
        lines += ["", f"## {enum.__name__}", "", ", ".join(f"`{member.value}`" for member in enum)]
    return "\n".join(lines) + "\n"


def record(model: type[BaseModel]) -> list[str]:
    """One record as a table of fields, types and the strings under them."""
    summary = (model.__doc__ or "").strip().splitlines()[0]
    lines = ["", f"## {model.__name__}", "", summary, "", "| field | type | |", "|---|---|---|"]
    notes = attribute_docs(model)
    for name, field in model.model_fields.items():
        meaning = f"{members(field.annotation)} {notes.get(name, '')}".strip()
        lines.append(f"| `{name}` | {plain(field.annotation)} | {meaning} |")
    return lines


def members(annotation: Any) -> str:
    """The values that a field can have, where they are listed by a type."""
    kind = annotation if isinstance(annotation, type) and not hasattr(annotation, "__args__") else None
    return f"{', '.join(kind)}." if kind is not None and issubclass(kind, StrEnum) else ""


def plain(annotation: Any) -> str:
    text = (
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    )
    text = re.sub(r"\b(?:[a-z_]+\.)+([A-Z])", r"\1", text).replace("NoneType", "null").replace("None", "null")
    return text.replace("|", "or").replace("tuple[", "list[").replace(", ...]", "]")


def attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """The string literals that stand under fields in the source."""
    import ast
    import inspect

    found: dict[str, str] = {}
    body = ast.parse(inspect.getsource(model)).body[0]
    assert isinstance(body, ast.ClassDef)
    for before, after in zip(body.body, body.body[1:], strict=False):
        named = isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name)
        if named and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            assert isinstance(before, ast.AnnAssign)
            assert isinstance(before.target, ast.Name)
            found[before.target.id] = " ".join(str(after.value.value).split()).replace("|", "or")
    return found


def cli_page() -> str:
    """The help of every command; what several take is explained once, with the first."""
    from whichgpu.tui.cli.tree import cli

    lines = ["# The command line", "", "<!-- Written by `python -m tests.render_docs`. -->"]
    for arguments in commands_of(cli):
        name = " ".join(["whichgpu", *arguments])
        text = (
            CliRunner()
            .invoke(cli, [*arguments, "--help" if arguments else "--help-all"], prog_name="whichgpu", terminal_width=80)
            .output
        )
        lines += ["", f"## {name}", "", "```text", text.rstrip(), "```"]
    lines += ["", "## Environment", "", "| variable | what |", "|---|---|"]
    lines += [f"| `{name}` | {what} |" for name, what in ENVIRONMENT.items()]
    return "\n".join(lines) + "\n"


def commands_of(command: click.Command, path: tuple[str, ...] = ()) -> list[list[str]]:
    """Every command, parents first, in the order of their names."""
    found = [list(path)]
    if not isinstance(command, click.Group):
        return found
    context = click.Context(command)
    for name in sorted(command.list_commands(context)):
        subcommand = command.get_command(context, name)
        if subcommand is not None and not subcommand.hidden and name != "stats":  # another name of status
            found += commands_of(subcommand, (*path, name))
    return found


def catalog_page() -> str:
    """The catalog's tables and views, read from a new database."""
    import tempfile

    from whichgpu.catalog.schema import MEANING
    from whichgpu.catalog.store import Catalog

    lines = ["# The catalog", "", "<!-- Written by `python -m tests.render_docs`. -->", "", *_CATALOG.splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        store = Catalog(Path(folder) / "c.db")
        store.add()
        with store.reading() as connection:
            connection.text_factory = str  # the schema has lines
            rows = connection.execute(
                "SELECT type, name, sql FROM sqlite_master WHERE type IN ('table', 'view')"
            ).fetchall()
            tables = {n: connection.execute(f"PRAGMA table_info({n})").fetchall() for _, n, _ in rows}
    names = {n for kind, n, _ in rows if kind == "table" and not n.startswith(("sqlite_", "_sqlite", "models_fts"))}
    assert names == set(MEANING), names ^ set(MEANING)
    for name, meaning in MEANING.items():
        lines += ["", f"## {name}", "", meaning, "", "| column | type | |", "|---|---|---|"]
        lines += [f"| `{c[1]}` | {c[2]} | {'key' if c[5] else 'never NULL' if c[3] else ''} |" for c in tables[name]]
    lines += ["", "## Views", ""]
    for kind, name, sql in rows:
        if kind == "view":
            lines += [f"`{name}`", "", "```sql", sql.split(" AS\n", 1)[-1].strip(), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


_APP = """`whichgpu` alone opens the app, `whichgpu app MODEL` at a model, `whichgpu --model X --open` at an answer with its workload,
cards and prices. It needs 60 columns, is made for 80×24 without mouse or colour, and shows more from 120 on.
Every number is the command line's: `m` shows the command that gives the same. `:` lists all actions, `'` puts letters
on the panes, `x` writes what is shown as a file (JSON, in the working folder, never over another), `?` says what a screen
is for. `whichgpu serve` gives it to a browser on this machine; there it opens Hub ids alone, runs no trials, and neither
reads nor tells of files. `NO_COLOR` takes the ANSI theme, a locale without UTF-8 draws in ASCII. After a defect the app
says in one sentence where its log is.

A workload of the plan screen, the filter and order of the list, pinned and recent models are kept for the next run
(`WHICHGPU_STATE`, else your state folder)."""


def schema_script() -> str:
    """What the catalog's migrations come to, as statements that need no library."""
    import sqlite3

    from sqlite_utils import Database

    from whichgpu.catalog.schema import migrations

    connection = sqlite3.connect(":memory:")
    migrations.apply(Database(connection))
    shadow = re.compile(r"models_fts_\w+|sqlite_.*")
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
    statements = [sql for name, sql in rows if not shadow.fullmatch(name)]
    for migration_set, name in connection.execute("SELECT migration_set, name FROM _sqlite_migrations ORDER BY rowid"):
        values = f"'{migration_set}', '{name}', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now')"
        statements.append(f"INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ({values})")
    return ";\n\n".join(statements) + "\n"


def app_page() -> str:
    """The app's screens with their keys, and the settings, read from their classes."""
    from importlib import import_module

    from textual.binding import Binding

    from whichgpu.tui.app.page import Page
    from whichgpu.tui.app.table import KeyTable
    from whichgpu.tui.desk.settings import MEANINGS, Settings

    lines = ["# The app", "", "<!-- Written by `python -m tests.render_docs`. -->", "", *_APP.splitlines()]
    for module, name, title in _SCREENS:
        kind = {"page": Page, "table": KeyTable}.get(module) or getattr(
            import_module(f"whichgpu.tui.app.{module}"), name
        )
        said = getattr(kind, "HELP", "") if kind is not Page else "Keys of every screen."
        lines += ["", f"## {title}", "", *([said, ""] if said else []), "| key | what | id |", "|---|---|---|"]
        for binding in kind.__dict__["BINDINGS"]:
            assert isinstance(binding, Binding)
            keys = (binding.key_display or binding.key).replace("question_mark", "?")
            lines.append(f"| `{keys}` | {binding.description} | `{binding.id}` |")
    lines += ["", "## Settings", "", *_SETTINGS.splitlines(), "", "| setting | default | what |", "|---|---|---|"]
    for name, value in Settings().model_dump().items():
        shown = (
            (str(value).lower() if isinstance(value, bool) else f"`{value}`") if not isinstance(value, dict) else "none"
        )
        lines.append(f"| `{name}` | {shown if value != '' else 'none'} | {MEANINGS[name]} |")
    return "\n".join(lines) + "\n"


_SCREENS = (
    ("page", "Page", "Everywhere"),
    ("table", "KeyTable", "In every list"),
    ("browse", "Browse", "Browse"),
    ("model", "ModelScreen", "Model"),
    ("plan", "PlanScreen", "Plan"),
    ("counts", "CountsScreen", "Counts"),
    ("curve", "CurveScreen", "Curve"),
    ("trial", "TrialScreen", "Trial"),
    ("compare", "CompareScreen", "Compare"),
    ("catalog", "CatalogScreen", "Catalog"),
    ("fleet", "FleetScreen", "Fleet"),
    ("silicon", "SiliconScreen", "Silicon"),
    ("folders", "FolderScreen", "Folders"),
    ("settings", "SettingsScreen", "Settings screen"),
)
_SETTINGS = """`,` in the app opens them; the file is TOML (`WHICHGPU_CONFIG`, else `config.toml` in your configuration folder), and comments
that you write into it stay. Keys are changed by their ids, under `[keys]`: `"plan.copy" = "Y"`. Records and JSON stay in
bytes and US dollars, as do sentences that the planner gives as reasons."""


_CATALOG = """A plain SQLite file (`whichgpu catalog path`); any tool may read it, `whichgpu` alone should write it. Sizes are bytes, times
UTC, prices US dollars. `findings` is the truth; the other shared tables say in columns what its bodies hold. How teams
share it: [sharing](sharing.md). How it stands load and kill -9: [reliability](reliability.md)."""
ENVIRONMENT = {
    "HF_ENDPOINT": "the Hub or a mirror, http or https (huggingface_hub)",
    "HF_TOKEN": "token for gated and private repositories; never stored, never sent to another host",
    "HF_HOME": "where huggingface_hub keeps its token and cache",
    "HF_HUB_OFFLINE": "1: ask nothing; the Hugging Face cache, the catalog and the atlas answer",
    "HTTPS_PROXY, SSL_CERT_FILE": "proxies and certificates, as huggingface_hub's client reads them",
    "WHICHGPU_CATALOG": "the catalog file",
    "GPUHUNT_CATALOG_DIR": "a folder of gpuhunt's CSVs, for prices refresh without a network (gpuhunt)",
    "WHICHGPU_DEBUG": "1: show the traceback of expected failures too",
    "NO_COLOR": "no colour",
}


def main() -> None:
    (DOCS / "json.md").write_text(json_page())
    (DOCS / "cli.md").write_text(cli_page())
    SCHEMA.write_text(schema_script())  # what the next page is made with
    (DOCS / "catalog.md").write_text(catalog_page())
    (DOCS / "app.md").write_text(app_page())
    from benchmarks.claims import page

    (DOCS / "claims.md").write_text(page())


if __name__ == "__main__":
    main()
