"""The catalog: created, migrated, shared by processes, and never in the way of an answer."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from tests.conftest import Result
from tests.findings import finding
from tests.hub import HubStandIn, shapes
from tests.render_docs import SCHEMA, schema_script
from whichgpu import assets
from whichgpu.catalog import derive
from whichgpu.catalog.atlas import Atlas, write_atlas
from whichgpu.catalog.atlas_index import FILE_NAME
from whichgpu.catalog.errors import CatalogError, NewerCatalogError
from whichgpu.catalog.files import SCHEMA_STEPS
from whichgpu.catalog.records import Stamp, inspection_finding
from whichgpu.catalog.schema import migrations
from whichgpu.catalog.store import Catalog
from whichgpu.trial.records import Summary

Ask = Callable[..., Result]
Start = Callable[..., HubStandIn]


STAMP = Stamp(made_at="2026-01-01T00:00:00+00:00", made_by="someone", tool_version="0")


def test_created_on_first_use_and_the_same_content_is_one_row(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "deep" / "er" / "c.db")
    assert catalog.latest_inspection("org/name") is None
    assert catalog.add(finding(), finding("b")) == 2
    assert catalog.add(finding()) == 0
    assert catalog.count() == 2
    assert catalog.latest_inspection("ORG/name") is not None
    assert catalog.latest_inspection("org/name", "c0f") is not None
    assert catalog.latest_inspection("org/name", "dead") is None
    assert catalog.latest_inspection("org/name", "c_ffee") is None


def test_a_folder_of_the_same_name_is_another_model(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "c.db")
    catalog.add(finding(origin="folder"))
    assert catalog.latest_inspection("org/name") is None


def test_the_newest_inspection_wins_and_comes_back_whole(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "c.db")
    newer = finding("b", made_at="2026-02-01T00:00:00+00:00")
    catalog.add(finding(), newer, finding("z", kind="answer", made_at="2027-01-01T00:00:00+00:00"))
    assert catalog.latest_inspection("org/name") == newer


def test_fast_path_and_schema_count_the_same_steps(tmp_path: Path) -> None:
    database = Database(tmp_path / "c.db")
    migrations.apply(database)
    assert len(migrations.applied(database)) == SCHEMA_STEPS
    database.close()


def test_it_is_a_plain_sqlite_file(tmp_path: Path) -> None:
    Catalog(tmp_path / "c.db").add(finding())
    with sqlite3.connect(tmp_path / "c.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT model, commit_sha FROM findings").fetchall() == [("org/name", "c0ffee")]
    connection.close()


@pytest.mark.parametrize("kind", ["text", "folder", "unwritable-parent", "foreign-bytes"])
def test_an_unusable_file_is_one_error_and_stays_as_it_was(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "c.db"
    if kind == "folder":
        path.mkdir()
    elif kind == "unwritable-parent":
        (tmp_path / "file").write_text("x")
        path = tmp_path / "file" / "c.db"
    else:
        path.write_bytes(
            b"just some text, no database\n" * 100 if kind == "text" else b"SQLite format 3\0" + b"\xff" * 5000
        )
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(CatalogError) as caught:
        Catalog(path).add(finding())
    assert "--catalog" in caught.value.hint
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_newer_catalog_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    Catalog(path).add(finding())
    connection = sqlite3.connect(path)
    connection.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('whichgpu', 'm999', '')"
    )
    connection.commit()
    connection.close()
    with pytest.raises(NewerCatalogError, match="newer whichgpu"):
        Catalog(path).add(finding("b"))
    assert Catalog(path).count() == 1


def test_another_tools_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    theirs = Database(path)
    theirs["theirs"].insert({"a": 1})  # type: ignore[union-attr]
    theirs.close()
    before = path.read_bytes()
    with pytest.raises(CatalogError, match="a database of something else"):
        Catalog(path).add(finding())
    assert path.read_bytes() == before


def test_another_tools_tables_in_ours_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    Catalog(path).add(finding())
    theirs = Database(path)
    theirs["theirs"].insert({"a": 1})  # type: ignore[union-attr]
    theirs.close()
    Catalog(path).add(finding("b"))
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT a FROM theirs").fetchall() == [(1,)]
    connection.close()


def test_first_runs_of_several_processes_do_not_collide(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from whichgpu.catalog.store import Catalog;"
        "from tests.findings import finding;"
        "c = Catalog(Path(sys.argv[1])); [c.add(finding(f'{sys.argv[2]}-{i}')) for i in range(20)]"
    )
    path = tmp_path / "c.db"
    command = [sys.executable, "-c", code, str(path)]
    running = [
        subprocess.Popen([*command, str(n)], cwd=Path(__file__).parent.parent, stderr=subprocess.PIPE) for n in range(4)
    ]
    errors = [p.communicate(timeout=60)[1].decode() for p in running]
    assert errors == [""] * 4
    assert Catalog(path).count() == 80


def test_identity_ignores_when_and_where_it_was_read() -> None:
    found = Atlas(assets.read(FILE_NAME)).find("Qwen/Qwen3-32B")
    assert found is not None
    moved = found.model_copy(
        update={"source": found.source.model_copy(update={"read_on": "1999-01-01", "requests": 99})}
    )
    other = found.model_copy(update={"grade_note": "something else"})
    kept, again, third = (inspection_finding(i, STAMP) for i in (found, moved, other))
    assert kept.identity == again.identity != third.identity
    assert kept.is_intact
    assert not kept.model_copy(update={"body": third.body}).is_intact
    assert kept.inspection().source.read_on == "2026-01-01"


def test_an_atlas_is_the_same_bytes_for_the_same_models(tmp_path: Path) -> None:
    bundled = Atlas(assets.read(FILE_NAME))
    some = [found for name in bundled.names()[:5] if (found := bundled.find(name)) is not None]
    assert write_atlas(some, tmp_path / "a.zip") == write_atlas(some, tmp_path / "b.zip") == 5
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert Atlas((tmp_path / "a.zip").read_bytes()).find(some[0].source.name) == some[0]
    with pytest.raises(CatalogError):
        Atlas(b"no archive")


class TestThroughTheCommandLine:
    def test_findings_are_kept(self, start_hub: Start, ask: Ask, tmp_path: Path) -> None:
        start_hub({"a/b": shapes.qwen3_06b()})
        for _ in range(2):
            assert ask("--model", "a/b").code == 0
        connection = sqlite3.connect(tmp_path / "catalog.db")
        rows = connection.execute("SELECT kind, model, commit_sha FROM findings ORDER BY kind").fetchall()
        connection.close()
        commit = "0123456789abcdef0123456789abcdef01234567"
        assert rows == [("answer", "a/b", commit), ("inspection", "a/b", commit)]

    def test_no_token_is_ever_stored(
        self, start_hub: Start, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_never_store_me")
        start_hub({"a/b": shapes.qwen3_06b()}, token="hf_never_store_me")
        assert ask("--model", "a/b").code == 0
        assert b"hf_never_store_me" not in (tmp_path / "catalog.db").read_bytes()

    def test_offline_the_catalog_answers_before_the_atlas(self, start_hub: Start, ask: Ask) -> None:
        start_hub({"Qwen/Qwen3-32B": shapes.qwen3_06b()})
        assert ask("--model", "Qwen/Qwen3-32B").code == 0
        result = ask("--model", "Qwen/Qwen3-32B", "--offline", "--json")
        reply = json.loads(result.out)
        assert reply["origin"] == "catalog"
        assert reply["inspection"]["parameters"]["total"]["value"] == 596_049_920
        assert "from the catalog, read on" in result.err

    def test_a_record_of_another_version_falls_through_to_the_atlas(self, ask: Ask, tmp_path: Path) -> None:
        Catalog(tmp_path / "catalog.db").add(finding(model="openai/gpt-oss-20b", body="{}"))
        result = ask("--model", "openai/gpt-oss-20b", "--offline", "--json")
        assert json.loads(result.out)["origin"] == "atlas"

    @pytest.mark.parametrize("kind", ["folder", "text"])
    def test_a_broken_catalog_never_stops_an_answer(
        self, start_hub: Start, ask: Ask, tmp_path: Path, kind: str
    ) -> None:
        path = tmp_path / "broken"
        path.mkdir() if kind == "folder" else path.write_text("hello " * 1000)
        start_hub({"a/b": shapes.qwen3_06b()})
        result = ask("--model", "a/b", "--catalog", str(path))
        assert result.code == 0
        assert "RENT" in result.out
        assert "note: Not kept: The catalog" in result.err

    def test_option_wins_over_environment(self, start_hub: Start, ask: Ask, tmp_path: Path) -> None:
        start_hub({"a/b": shapes.qwen3_06b()})
        ask("--model", "a/b", "--catalog", str(tmp_path / "mine.db"))
        assert (tmp_path / "mine.db").exists()
        assert not (tmp_path / "catalog.db").exists()


def test_a_trial_s_columns_are_its_summary() -> None:
    assert set(derive._TRIAL) == set(Summary.model_fields)


def test_a_new_file_is_what_the_migrations_come_to(tmp_path: Path) -> None:
    """An empty file gets the schema as statements; what is migrated from the first version gets it step by step."""
    assert SCHEMA.read_text() == schema_script()
    Catalog(tmp_path / "new.db").add()
    database = Database(tmp_path / "migrated.db")
    migrations.apply(database)
    database.close()

    def schema_of(name: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            tables = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
            applied = connection.execute("SELECT migration_set, name FROM _sqlite_migrations ORDER BY id").fetchall()
        return tables, applied

    assert schema_of("new.db") == schema_of("migrated.db")
