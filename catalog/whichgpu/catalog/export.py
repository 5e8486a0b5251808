"""The catalog for other tools: tables as files, another database, bundles, and Datasette's settings.

Each format is a kept library's: csv and JSON, pyarrow (Parquet), duckdb, SQLAlchemy (PostgreSQL and the like), Datasette.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whichgpu.catalog import bundles
from whichgpu.catalog.bundles import Policy
from whichgpu.catalog.errors import CatalogError, MissingLibraryError
from whichgpu.catalog.records import Stamp
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.text import clean

TABLES = ("inspections", "plans", "trials", "prices", "notes", "tags")
_FORMATS = "Write .csv, .json, .parquet or .duckdb, a folder for bundles, or a database URL."

Rows = tuple[list[str], list[tuple[Any, ...]]]


def export(catalog: Catalog, target: str, policy: Policy, stamp: Stamp) -> str:
    """Write the catalog to a target and return a sentence about it; public findings, unless the policy says more.

    Raises:
        CatalogError: the format is none of the known, its library is missing, or the target cannot be written.
    """
    if "://" in target:
        return _database(catalog, target, policy)
    path = Path(target).expanduser()
    writers = {".csv": _csv, ".json": _json, ".parquet": _parquet, ".duckdb": _duckdb}
    try:
        if path.suffix in writers:
            return writers[path.suffix](catalog, path, policy)
        if path.suffix:
            raise CatalogError(f"{clean(path.name)} is no known format.", _FORMATS)
        findings = [f for f in catalog.find("1") if policy.allows(f)]
        bundle_files = bundles.packed(findings, stamp)
        path.mkdir(parents=True, exist_ok=True)
        for name, data in bundle_files.items():
            (path / name).write_bytes(data)
        return f"{len(findings):,} findings in {len(bundle_files):,} bundles in {clean(path)}."
    except OSError as error:
        raise CatalogError(f"{clean(path)} cannot be written: {clean(error.strerror or error)}.", "") from error


def tables(catalog: Catalog, policy: Policy) -> Iterator[tuple[str, Rows]]:
    """Yield the derived tables with their columns and rows, of findings that may leave."""
    allowed = ["1"]
    allowed += [] if policy.private else ["f.private = 0"]
    allowed += [] if policy.local else ["f.origin NOT IN ('folder', 'file')"]
    condition = " AND ".join(allowed)
    with catalog.reading() as connection:
        for name in TABLES:
            cursor = connection.execute(
                f"SELECT t.*, f.made_at, f.made_by, f.tool_version FROM {name} AS t"
                f" JOIN findings AS f USING (identity) WHERE {condition} ORDER BY f.made_at, identity"
            )
            yield name, ([d[0] for d in cursor.description], cursor.fetchall())


def _csv(catalog: Catalog, path: Path, policy: Policy) -> str:
    """One file per table: ``NAME-inspections.csv`` and so on."""
    total = 0
    for name, (columns, rows) in tables(catalog, policy):
        with path.with_name(f"{path.stem}-{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(rows)
        total += len(rows)
    return f"{total:,} rows in {len(TABLES)} files {clean(path.stem)}-*.csv."


def _json(catalog: Catalog, path: Path, policy: Policy) -> str:
    content = {name: [dict(zip(c, row, strict=True)) for row in rows] for name, (c, rows) in tables(catalog, policy)}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return f"{sum(map(len, content.values())):,} rows in {clean(path.name)}."


def _optional_module(module: str) -> Any:
    try:
        return __import__(module)
    except ImportError as error:
        raise MissingLibraryError(module, "export") from error


def _arrow(rows: Rows) -> Any:
    pyarrow = _optional_module("pyarrow")
    columns, values = rows
    return pyarrow.table({c: pyarrow.array([row[i] for row in values]) for i, c in enumerate(columns)})


def _parquet(catalog: Catalog, path: Path, policy: Policy) -> str:
    """One file per table: ``NAME-plans.parquet`` and so on."""
    _optional_module("pyarrow")
    from pyarrow import parquet

    total = 0
    for name, rows in tables(catalog, policy):
        parquet.write_table(_arrow(rows), path.with_name(f"{path.stem}-{name}.parquet"))
        total += len(rows[1])
    return f"{total:,} rows in {len(TABLES)} files {clean(path.stem)}-*.parquet."


def _duckdb(catalog: Catalog, path: Path, policy: Policy) -> str:
    duckdb, total = _optional_module("duckdb"), 0
    with duckdb.connect(str(path)) as connection:
        for name, rows in tables(catalog, policy):
            connection.register("rows_of", _arrow(rows))
            connection.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM rows_of")
            connection.unregister("rows_of")
            total += len(rows[1])
    return f"{total:,} rows in {clean(path.name)}."


def _database(catalog: Catalog, url: str, policy: Policy) -> str:
    """Into any database that SQLAlchemy reaches; its tables of these names are replaced."""
    sqlalchemy, total = _optional_module("sqlalchemy"), 0
    try:
        engine = sqlalchemy.create_engine(url)
        with engine.begin() as connection:
            for name, (columns, rows) in tables(catalog, policy):
                total += _table_into(sqlalchemy, connection, f"whichgpu_{name}", columns, rows)
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        reason = clean(str(error).splitlines()[0], 120)
        raise CatalogError(f"The database cannot be written: {reason}.", "Check the URL, and its driver.") from error
    return f"{total:,} rows in {len(TABLES)} tables whichgpu_*."


def _table_into(sqlalchemy: Any, connection: Any, name: str, columns: list[str], rows: list[tuple[Any, ...]]) -> int:
    kinds = {int: sqlalchemy.BigInteger, float: sqlalchemy.Double}
    table_columns = [
        sqlalchemy.Column(c, kinds.get(_kind([r[i] for r in rows]), sqlalchemy.Text)) for i, c in enumerate(columns)
    ]
    table = sqlalchemy.Table(name, sqlalchemy.MetaData(), *table_columns)
    table.drop(connection, checkfirst=True)
    table.create(connection)
    if rows:
        connection.execute(table.insert(), [dict(zip(columns, row, strict=True)) for row in rows])
    return len(rows)


def _kind(values: list[Any]) -> type:
    kinds = {type(v) for v in values if v is not None}
    if kinds == {int, float}:
        return float
    return next(iter(kinds)) if len(kinds) == 1 else str
