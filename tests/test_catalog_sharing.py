"""Between catalogs: merging, bundles, stores, and what hostile ones try."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Result
from tests.findings import at
from tests.planning import ask as plans_of
from tests.planning import model as atlas_model
from whichgpu.catalog import bundles, sharing, upkeep
from whichgpu.catalog.bundles import Policy
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.intake import Refusal, checked, merge
from whichgpu.catalog.records import (
    Finding,
    Stamp,
    answer_finding,
    identity_of,
    inspection_finding,
    note_finding,
    tag_finding,
)
from whichgpu.catalog.store import Catalog
from whichgpu.catalog.stores import FileStore, store_at
from whichgpu.tui.words.exit_codes import ExitCode

Run = Callable[..., Result]
STAMP = at(0)


def inspected(
    name: str = "Qwen/Qwen3-8B", stamp: Stamp = STAMP, called: str | None = None, **source: object
) -> Finding:
    found = atlas_model(name)
    origin = {"kind": "hub", "commit": "c0ffee", "name": called or name, **source}
    return inspection_finding(found.model_copy(update={"source": found.source.model_copy(update=origin)}), stamp)


def everything(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """The whole of a catalog that is shared, in an order of its own."""
    tables = ("findings", "inspections", "plans", "prices", "notes", "tags", "models")
    with Catalog(path).reading() as connection:
        columns = {t: [r[1] for r in connection.execute(f"PRAGMA table_info({t})")] for t in tables}
        return {
            t: connection.execute(f"SELECT {', '.join(c)} FROM {t} ORDER BY 1, 2").fetchall()
            for t, c in columns.items()
        }


seconds = st.integers(0, 59)
writers = st.sampled_from(["ada", "bob", "cyd"])
events = st.one_of(
    st.builds(lambda s, w, t: note_finding("a/b", t, at(s, w)), seconds, writers, st.sampled_from(["", "x", "y"])),
    st.builds(
        lambda s, w, t, on: tag_finding("a/b", t, on, at(s, w)), seconds, writers, st.sampled_from("pq"), st.booleans()
    ),
    st.builds(lambda s, w: inspected("openai/gpt-oss-20b", at(s, w)), seconds, writers),
)
some = st.lists(events, max_size=6)


class TestMerge:
    @settings(max_examples=25)
    @given(some, some, some)
    def test_in_any_order_and_as_often_as_you_like(
        self, tmp_path_factory: pytest.TempPathFactory, a: list[Finding], b: list[Finding], c: list[Finding]
    ) -> None:
        folder = tmp_path_factory.mktemp("m")
        Catalog(folder / "empty").add()

        def file(name: str, findings: Iterable[Finding] = ()) -> Path:
            shutil.copy(folder / "empty", folder / name)
            Catalog(folder / name).add(*findings)
            return folder / name

        one, two, three = file("a", a), file("b", b), file("c", c)
        left, right, twice = file("ab_c"), file("c_ba"), file("aabbcc")
        for other in (one, two, three):
            merge(Catalog(left), other)
        for other in (three, two, one):
            merge(Catalog(right), other)
        for other in (one, one, two, left, three, right, two):
            merge(Catalog(twice), other)
        assert everything(left) == everything(right) == everything(twice)

    def test_a_dry_run_changes_nothing(self, ask: Run, tmp_path: Path) -> None:
        mine, theirs = Catalog(tmp_path / "mine.db"), Catalog(tmp_path / "theirs.db")
        mine.add(inspected())
        theirs.add(inspected(), inspected("openai/gpt-oss-20b"), note_finding("Qwen/Qwen3-8B", "hi", STAMP))
        before = everything(mine.path)
        result = ask("catalog", "merge", str(theirs.path), "--dry-run", "--catalog", str(mine.path))
        assert "2 of 3 findings would be new (1 inspection, 1 note), 1 known" in result.out
        assert everything(mine.path) == before
        ask("catalog", "merge", str(theirs.path), "--catalog", str(mine.path))
        assert everything(mine.path) == everything(theirs.path)

    def test_notes_and_tags_are_the_last_writers_with_their_history(self, tmp_path: Path) -> None:
        ada, bob = Catalog(tmp_path / "ada.db"), Catalog(tmp_path / "bob.db")
        ada.add(
            inspected(),
            note_finding("Qwen/Qwen3-8B", "first", at(1)),
            tag_finding("Qwen/Qwen3-8B", "prod", True, at(2)),
        )
        bob.add(
            note_finding("Qwen/Qwen3-8B", "second", at(5)),
            note_finding("Qwen/Qwen3-8B", "bob's", at(3, "bob")),
            tag_finding("Qwen/Qwen3-8B", "prod", False, at(9, "bob")),
        )
        merge(ada, bob.path)
        assert [n["text"] for n in upkeep.notes(ada, "Qwen/Qwen3-8B")] == ["bob's", "second"]
        assert upkeep.tags(ada, "Qwen/Qwen3-8B") == []
        assert len(ada.find("kind = 'note'")) == 3

    def test_conflicting_readings_stay_both(self, tmp_path: Path) -> None:
        ada, bob = Catalog(tmp_path / "ada.db"), Catalog(tmp_path / "bob.db")
        ada.add(inspected())
        found = atlas_model("Qwen/Qwen3-8B")
        other = found.model_copy(update={"grade_note": "read otherwise"})
        bob.add(inspection_finding(other, at(1, "bob")))
        merge(ada, bob.path)
        assert {f.made_by for f in ada.find("kind = 'inspection'")} == {"ada", "bob"}


class TestHostileFiles:
    def test_triggers_and_views_are_never_run(self, tmp_path: Path) -> None:
        mine, theirs = Catalog(tmp_path / "mine.db"), Catalog(tmp_path / "theirs.db")
        theirs.add(inspected())
        connection = sqlite3.connect(theirs.path)
        connection.execute("CREATE TRIGGER evil AFTER INSERT ON findings BEGIN DELETE FROM findings; END")
        connection.execute("CREATE VIEW evil_view AS SELECT load_extension('x')")
        connection.commit()
        connection.close()
        assert merge(mine, theirs.path).new == 1
        fake = sqlite3.connect(tmp_path / "fake.db")
        fake.execute(
            "CREATE VIEW findings AS WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i FROM r) SELECT * FROM r"
        )
        fake.commit()
        fake.close()
        with pytest.raises(CatalogError, match="no findings of this version"):
            merge(mine, tmp_path / "fake.db")

    def test_each_bad_record_is_refused_alone(self, ask: Run, tmp_path: Path) -> None:
        mine, theirs = Catalog(tmp_path / "mine.db"), Catalog(tmp_path / "theirs.db")
        good = [inspected("Qwen/Qwen3-8B"), inspected("openai/gpt-oss-20b")]
        theirs.add(*good, inspected("openai/gpt-oss-120b"), inspected("Qwen/Qwen3-32B"), inspected("Qwen/Qwen3-14B"))
        connection = sqlite3.connect(theirs.path)
        body = zlib.compress(b'{"classes": 3}')
        connection.execute("UPDATE findings SET body = ? WHERE model = 'openai/gpt-oss-120b'", (body,))
        connection.execute("UPDATE findings SET body = x'00ff' WHERE model = 'Qwen/Qwen3-32B'")
        bomb = zlib.compress(b" " * (40 * 2**20))
        connection.execute("UPDATE findings SET body = ? WHERE model = 'Qwen/Qwen3-14B'", (bomb,))
        connection.commit()
        connection.close()
        result = ask("catalog", "merge", str(theirs.path), "--catalog", str(mine.path))
        assert result.code == ExitCode.UNREADABLE
        assert "2 of 5 findings new (2 inspection), 0 known, 3 refused" in result.out
        assert "its content is not what its identity says" in result.err
        assert {f.identity for f in mine.find("1")} == {f.identity for f in good}

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"kind": "virus"}, "unknown kind"),
            ({"model": ""}, "no proper name"),
            ({"model": "x" * 301}, "no proper name"),
            ({"made_at": "yesterday"}, "its time is none"),
            ({"made_at": "2999-01-01T00:00:00+00:00"}, "from the future"),
            ({"body": '{"classes": 3}'}, "malformed"),
            ({"body": "[1]"}, "malformed"),
            ({"body": "{"}, "malformed"),
        ],
    )
    def test_what_is_refused(self, changes: dict[str, str], why: str) -> None:
        made = inspected().model_copy(update=changes)
        rehashed = made.model_copy(
            update={"identity": identity_of(made.kind, made.about, made.tool_version, made.body)}
        )
        found = checked(rehashed)
        assert isinstance(found, Refusal)
        assert why in found.why

    def test_a_local_path_of_another_machine_is_dropped(self) -> None:
        found = checked(inspected(path="/home/bob/models"))
        assert not isinstance(found, Refusal)
        assert found[0].local_path is None


class TestBundles:
    def test_they_are_the_same_bytes_for_the_same_findings(self) -> None:
        found = [inspected(), note_finding("a/b", "ü", STAMP)]
        one, two = bundles.packed(found, STAMP), bundles.packed(found[::-1], STAMP)
        assert one == two
        (name, data), *_ = one.items()
        back = [f for f in bundles.unpacked(name, data) if isinstance(f, Finding)]
        assert sorted(back, key=lambda f: f.identity) == sorted(
            (f.model_copy(update={"local_path": None}) for f in found), key=lambda f: f.identity
        )
        assert all(f.is_intact for f in back)

    def refused(self, name: str, data: bytes) -> str:
        with pytest.raises(CatalogError) as caught:
            list(bundles.unpacked(name, data))
        return caught.value.message

    def test_names_hashes_and_bombs(self) -> None:
        data = next(iter(bundles.packed([inspected()], STAMP).values()))
        digest = hashlib.sha256(data).hexdigest()
        assert "no bundle's name" in self.refused(f"../{digest}.jsonl.gz", data)
        assert "no bundle's name" in self.refused("/etc/passwd", data)
        assert "not what its name says" in self.refused(f"{'0' * 64}.jsonl.gz", data)
        assert "not what its name says" in self.refused(f"{digest}.jsonl.gz", data[:-10])

        def named(content: bytes) -> tuple[str, bytes]:
            return f"{hashlib.sha256(content).hexdigest()}.jsonl.gz", content

        assert "damaged" in self.refused(*named(b"no gzip at all"))
        assert "damaged" in self.refused(*named(gzip.compress(b'{"bundle": 1}\n' + b"x" * 10**6)[:-20]))
        assert "another format" in self.refused(*named(gzip.compress(b'{"bundle": 99}\n')))
        assert "no head" in self.refused(*named(gzip.compress(b"\xff\n")))

    def test_a_bomb_ends_early(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bundles, "MOST_UNPACKED", 10**6)
        data = gzip.compress(b'{"bundle": 1}\n' + b" " * 10**8)
        assert "unpacks to too much" in self.refused(f"{hashlib.sha256(data).hexdigest()}.jsonl.gz", data)

    @given(st.binary(max_size=300))
    def test_any_line_is_a_finding_or_a_refusal(self, line: bytes) -> None:
        data = gzip.compress(b'{"bundle": 1}\n' + line.replace(b"\n", b" ") + b"\n")
        found = list(bundles.unpacked(f"{hashlib.sha256(data).hexdigest()}.jsonl.gz", data))
        assert all(isinstance(f, Refusal) for f in found)


class TestPushAndPull:
    def test_two_people_and_a_folder(self, ask: Run, tmp_path: Path) -> None:
        folder = str(tmp_path / "share")
        ada, bob = tmp_path / "ada.db", tmp_path / "bob.db"
        Catalog(ada).add(inspected("Qwen/Qwen3-8B", at(1)))
        Catalog(bob).add(inspected("openai/gpt-oss-20b", at(2, "bob")))
        for person in (ada, bob, ada):
            assert ask("catalog", "sync", folder, "--catalog", str(person)).code == ExitCode.OK
        assert everything(ada) == everything(bob)
        assert "0 findings in 0 bundles" in ask("catalog", "push", folder, "--catalog", str(ada)).out
        assert len(list((tmp_path / "share" / "bundles").iterdir())) == 2

    def test_both_win_who_push_at_once(self, tmp_path: Path) -> None:
        store = FileStore(str(tmp_path / "share"))
        people = [Catalog(tmp_path / f"{n}.db") for n in ("ada", "bob")]
        for number, person in enumerate(people):
            person.add(note_finding("a/b", f"note {number}", at(number, f"p{number}")))
        for person in people:  # neither has seen the other's
            sharing.push(person, store, "t", Policy(), STAMP)
        for person in people:
            assert sharing.pull(person, store, "t").new == 1
        assert everything(people[0].path) == everything(people[1].path)

    def test_interrupted_the_next_time_completes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store, ada = FileStore(str(tmp_path / "share")), Catalog(tmp_path / "ada.db")
        ada.add(inspected(), note_finding("a/b", "x", STAMP))

        def cut(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(sharing, "_mark_shared", cut)  # sent, and not yet remembered
            with pytest.raises(KeyboardInterrupt):
                sharing.push(ada, store, "t", Policy(), STAMP)
        assert sharing.push(ada, store, "t", Policy(), STAMP).findings == 2
        assert len(store.names()) == 1, "the same findings are the same bundle"
        bob = Catalog(tmp_path / "bob.db")
        with monkeypatch.context() as patched:
            patched.setattr(sharing, "_mark_read", cut)
            with pytest.raises(KeyboardInterrupt):
                sharing.pull(bob, store, "t")
        assert sharing.pull(bob, store, "t").new == 0, "taken already, and now remembered"
        assert everything(ada.path) == everything(bob.path)

    def test_a_half_written_bundle_is_left_for_later(self, ask: Run, tmp_path: Path) -> None:
        store, ada, bob = FileStore(str(tmp_path / "share")), Catalog(tmp_path / "ada.db"), tmp_path / "bob.db"
        ada.add(inspected())
        sharing.push(ada, store, "t", Policy(), STAMP)
        (path,) = (tmp_path / "share" / "bundles").iterdir()
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        result = ask("catalog", "pull", str(tmp_path / "share"), "--catalog", str(bob))
        assert result.code == ExitCode.UNREADABLE
        assert "not what its name says" in result.err
        path.write_bytes(whole)
        assert (
            "1 new findings from 1 new bundles"
            in ask("catalog", "pull", str(tmp_path / "share"), "--catalog", str(bob)).out
        )

    def test_any_fsspec_place_will_do(self, tmp_path: Path) -> None:
        ada, bob = Catalog(tmp_path / "ada.db"), Catalog(tmp_path / "bob.db")
        ada.add(inspected())
        store = store_at("memory://team/catalog")
        assert store.names() == set()
        sharing.push(ada, store, "m", Policy(), STAMP)
        assert sharing.pull(bob, store_at("memory://team/catalog"), "m").new == 1
        with pytest.raises(CatalogError, match="cannot be used: Protocol not known"):
            store_at("nosuch://place")

    def test_private_and_local_findings_stay_unless_allowed(self, ask: Run, tmp_path: Path) -> None:
        ada = Catalog(tmp_path / "ada.db")
        public = inspected()
        secret = inspected("openai/gpt-oss-20b", private=True, called="acme/secret")
        folder = inspected("Qwen/Qwen3-14B", kind="folder", called="my-finetune", path="/home/ada/my-finetune")
        answered = answer_finding(secret, plans_of("openai/gpt-oss-20b", "h100_sxm"), STAMP)
        ada.add(public, secret, folder, answered)
        result = ask("catalog", "push", str(tmp_path / "share"), "--catalog", str(ada.path))
        assert "1 findings in 1 bundles" in result.out
        assert "3 private or local ones stay here" in result.out
        sent = b"".join(gzip.decompress(p.read_bytes()) for p in (tmp_path / "share" / "bundles").iterdir())
        assert b"secret" not in sent
        assert b"my-finetune" not in sent
        ask("catalog", "push", str(tmp_path / "all"), "--private", "--local", "--catalog", str(ada.path))
        sent = b"".join(gzip.decompress(p.read_bytes()) for p in (tmp_path / "all" / "bundles").iterdir())
        assert b"acme/secret" in sent
        assert b"my-finetune" in sent
        assert b"/home/ada" not in sent, "paths never leave"

    def test_names_of_people_and_machines_stay_unless_allowed(self, ask: Run, tmp_path: Path) -> None:
        ada = tmp_path / "ada.db"
        Catalog(ada).add(inspected())
        ask("catalog", "note", "Qwen/Qwen3-8B", "hello", "--catalog", str(ada))
        with Catalog(ada).reading() as connection:
            person, name, host = connection.execute("SELECT id, name, host FROM people").fetchone()
        ask("catalog", "push", str(tmp_path / "share"), "--catalog", str(ada))
        sent = b"".join(gzip.decompress(p.read_bytes()) for p in (tmp_path / "share" / "bundles").iterdir())
        assert person.encode() in sent
        assert f'"{host}"'.encode() not in sent
        assert f'"{name}"'.encode() not in sent
        ask("catalog", "push", str(tmp_path / "named"), "--names", "--catalog", str(ada))
        ask("catalog", "pull", str(tmp_path / "named"), "--catalog", str(tmp_path / "bob.db"))
        with Catalog(tmp_path / "bob.db").reading() as connection:
            assert connection.execute("SELECT id, name, host FROM people").fetchall() == [(person, name, host)]

    def test_bundles_travel_by_hand_too(self, ask: Run, tmp_path: Path) -> None:
        ada = tmp_path / "ada.db"
        Catalog(ada).add(inspected())
        assert "1 findings in 1 bundles" in ask("catalog", "export", str(tmp_path / "out"), "--catalog", str(ada)).out
        (path,) = (tmp_path / "out").iterdir()
        result = ask("catalog", "import", str(path), "--catalog", str(tmp_path / "bob.db"))
        assert "1 of 1 findings new" in result.out
        renamed = path.rename(path.with_name("mail.gz"))
        assert "no bundle's name" in ask("catalog", "import", str(renamed), "--catalog", str(ada)).err


def test_bundles_hold_no_token(ask: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_never_share_me")
    Catalog(tmp_path / "catalog.db").add(inspected())
    ask("catalog", "push", str(tmp_path / "share"))
    for path in (tmp_path / "share").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"hf_never" not in (gzip.decompress(data) if path.suffix == ".gz" else data)


class TestOtherTools:
    @pytest.fixture
    def filled(self, tmp_path: Path) -> Path:
        store = Catalog(tmp_path / "c.db")
        found = inspected()
        store.add(found, answer_finding(found, plans_of("Qwen/Qwen3-8B", "h100_sxm", "l4"), STAMP))
        store.add(inspected("openai/gpt-oss-20b", private=True))
        return store.path

    def test_csv_and_json(self, ask: Run, filled: Path, tmp_path: Path) -> None:
        ask("catalog", "export", str(tmp_path / "all.json"), "--catalog", str(filled))
        content = json.loads((tmp_path / "all.json").read_text())
        assert [r["model"] for r in content["inspections"]] == ["Qwen/Qwen3-8B"], "private ones stay"
        assert {r["accelerator"] for r in content["plans"]} == {"h100_sxm", "l4"}
        ask("catalog", "export", str(tmp_path / "all.csv"), "--private", "--catalog", str(filled))
        assert len((tmp_path / "all-inspections.csv").read_text().splitlines()) == 3

    def test_parquet_duckdb_and_sqlalchemy(self, ask: Run, filled: Path, tmp_path: Path) -> None:
        import duckdb

        ask("catalog", "export", str(tmp_path / "all.parquet"), "--catalog", str(filled))
        ask("catalog", "export", str(tmp_path / "all.duckdb"), "--catalog", str(filled))
        ask("catalog", "export", f"sqlite:///{tmp_path / 'out.sqlite'}", "--catalog", str(filled))
        question = "SELECT model, max(usd_per_hour) FROM {} GROUP BY model"
        with duckdb.connect(str(tmp_path / "all.duckdb")) as connection:
            one = connection.execute(question.format("plans")).fetchall()
            two = connection.execute(question.format(f"'{tmp_path / 'all-plans.parquet'}'")).fetchall()
        database = sqlite3.connect(tmp_path / "out.sqlite")
        three = database.execute(question.format("whichgpu_plans")).fetchall()
        database.close()
        assert one == two == three
        assert one[0][0] == "Qwen/Qwen3-8B"

    def test_what_is_no_format_is_said(self, ask: Run, filled: Path) -> None:
        assert "no known format" in ask("catalog", "export", "x.xyz", "--catalog", str(filled)).err
        assert "database cannot be written" in ask("catalog", "export", "nosuch://x", "--catalog", str(filled)).err
