"""The catalog in use: the cache by commit, many writers, kill -9, migration, search, and what it says of itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from tests.conftest import Result
from tests.findings import at
from tests.hub import HubStandIn, shapes
from tests.planning import FACTS
from tests.planning import ask as plans_of
from tests.planning import model as atlas_model
from tests.test_catalog_sharing import STAMP, inspected
from whichgpu.catalog import files
from whichgpu.catalog.errors import CatalogError, QueryError
from whichgpu.catalog.query import compiled, search
from whichgpu.catalog.records import Finding, answer_finding, inspection_finding, note_finding, tag_finding
from whichgpu.catalog.schema import migrations
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.records import Inspection
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Answer
from whichgpu.tui.desk.answering import stamp
from whichgpu.tui.words.exit_codes import ExitCode

Run = Callable[..., Result]
Start = Callable[..., HubStandIn]
ROOT = Path(__file__).parent.parent


class TestCache:
    def asked(self, hub: HubStandIn, ask: Run, *options: str) -> list[str]:
        before = len(hub.requests())
        result = ask("-m", "a/b", "--json", *options)
        assert result.code == ExitCode.OK, result.err
        return [r.path for r in hub.requests()[before:]]

    def test_a_second_look_costs_one_request_or_none(self, start_hub: Start, ask: Run) -> None:
        hub = start_hub({"a/b": shapes.qwen3_06b()})
        first = self.asked(hub, ask)
        assert len(first) > 1
        assert self.asked(hub, ask) == [], "the branch was confirmed a moment ago"
        confirmed = self.asked(hub, ask, "--max-age", "0")
        assert len(confirmed) == 1
        assert confirmed[0].startswith("/api/models/a/b")
        assert self.asked(hub, ask, "--refresh") == first
        assert self.asked(hub, ask, "--offline") == []

    def test_answers_are_the_same(self, start_hub: Start, ask: Run) -> None:
        start_hub({"a/b": shapes.qwen3_06b()})
        replies = [json.loads(ask("-m", "a/b", "--json", *more).out) for more in ((), ("--max-age", "0"), ())]
        assert replies[0]["answer"] == replies[1]["answer"] == replies[2]["answer"]
        kept = [{**r["inspection"], "source": None} for r in replies]
        assert kept[0] == kept[1] == kept[2]

    def test_a_new_commit_is_read(self, start_hub: Start, ask: Run) -> None:
        repo = shapes.qwen3_06b()
        hub = start_hub({"a/b": repo})
        first = self.asked(hub, ask)
        repo.commit = "f" * 40
        assert len(self.asked(hub, ask, "--max-age", "0")) == len(first)
        assert len(self.asked(hub, ask, "--max-age", "0")) == 1

    def test_another_question_is_another_reading(self, start_hub: Start, ask: Run) -> None:
        hub = start_hub({"a/b": shapes.qwen3_06b()})
        self.asked(hub, ask, "--quick")
        assert len(self.asked(hub, ask)) > 1, "a quick look does not stand for a whole one"
        assert self.asked(hub, ask, "--quick") == []

    def test_another_version_reads_anew(self, start_hub: Start, ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        hub = start_hub({"a/b": shapes.qwen3_06b()})
        first = self.asked(hub, ask)
        monkeypatch.setattr("whichgpu.tui.desk.answering.release", lambda: "9.9.9")
        assert self.asked(hub, ask) == first

    def test_a_large_inspection_is_small(self) -> None:
        """DeepSeek-V3 has 91,991 tensors in its files."""
        found = inspected("deepseek-ai/DeepSeek-V3")
        assert len(zlib.compress(found.body.encode(), 6)) < 50_000


class TestManyAtOnce:
    CODE = """
import sys
from pathlib import Path
from tests.findings import at
from whichgpu.catalog.records import note_finding
from whichgpu.catalog.store import Catalog
store, who, count = Catalog(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
for number in range(count):
    store.add(note_finding(f"a/{number}", f"{who} {number}", at(number % 60, who)))
    print(number, flush=True)
"""

    def start(self, path: Path, who: str, count: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", self.CODE, str(path), who, str(count)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def test_eight_writers_lose_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "c.db"
        writers = [self.start(path, f"w{n}", 60) for n in range(8)]
        errors = [w.communicate(timeout=120)[1] for w in writers]
        assert errors == [b""] * 8
        assert Catalog(path).count() == 480

    def test_killed_at_any_moment_every_acknowledged_row_is_there(self, tmp_path: Path) -> None:
        path, acknowledged = tmp_path / "c.db", 0
        for round_number in range(4):
            writer = self.start(path, f"w{round_number}", 10_000)
            assert writer.stdout is not None
            for _ in range(5 + 13 * round_number):
                writer.stdout.readline()
            os.kill(writer.pid, signal.SIGKILL)
            rest = writer.stdout.read()  # communicate() would miss what readline has buffered
            writer.communicate()
            acknowledged += 5 + 13 * round_number + len(rest.splitlines())
            with Catalog(path).reading() as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert acknowledged <= Catalog(path).count() <= acknowledged + round_number + 1

    def test_threads_share_one_catalog(self, tmp_path: Path) -> None:
        store, failures = Catalog(tmp_path / "c.db"), list[Exception]()

        def write(who: str) -> None:
            try:
                for number in range(30):
                    store.add(note_finding(f"a/{number}", who, at(number, who)))
                    store.find("model = ?", (f"a/{number}",))
            except CatalogError as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=(f"t{n}",)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert store.count() == 180

    def test_a_reader_is_not_kept_waiting_by_a_writer(self, tmp_path: Path) -> None:
        store = Catalog(tmp_path / "c.db")
        store.add(inspected())
        with store.writing() as connection:
            connection.execute("UPDATE findings SET made_by = 'x'")
            assert store.find("1")[0].made_by == "ada"


def with_terms(model: str, **terms: str | bool | None) -> Finding:
    """The finding of an inspection whose licence, gate and date are these."""
    inspection = atlas_model(model)
    source = inspection.source.model_copy(update=terms)
    return inspection_finding(inspection.model_copy(update={"source": source}), STAMP)


def step_back(database: Database, first: str) -> None:
    """Make a file one from before a migration, as far as those after it made tables; and close it."""
    for table in ("marks", "unchanged", "remembered"):
        database.execute(f"DROP TABLE {table}")
    database["_sqlite_migrations"].delete_where("name >= ?", [first])  # type: ignore[union-attr]
    database.conn.commit()
    database.close()


class TestTheFile:
    def test_a_file_from_before_the_terms_gains_them_empty(self, tmp_path: Path) -> None:
        path = tmp_path / "c.db"
        store = Catalog(path)
        store.add(with_terms("Qwen/Qwen3-8B", licence=None, gated=None, modified=None))
        database = Database(path)
        for name in ("licence", "gated", "modified"):
            database.execute(f"ALTER TABLE inspections DROP COLUMN {name}")
        step_back(database, "m003_terms")
        store = Catalog(path)
        store.add(inspected("openai/gpt-oss-20b"))
        assert [(r.model, r.licence, r.gated) for r in search(store, "qwen")] == [("Qwen/Qwen3-8B", None, None)]
        assert (tmp_path / "c.db.v2.bak").exists()

    def test_what_an_older_version_derived_is_derived_anew(self, tmp_path: Path, ask: Run) -> None:
        """A file of the third step lists one copy of a plan; all 46 are what it costs."""
        path = tmp_path / "catalog.db"
        ask("-m", "openai/gpt-oss-120b", "--offline", "--gpu", "H100", "--rate", "60", "--catalog", str(path))
        database = Database(path)
        (copies,) = database.execute("SELECT cards FROM plans").fetchone()
        assert copies > 1
        database.execute("UPDATE plans SET cards = 1, usd_per_hour = 2.09")
        step_back(database, "m004_renewed")
        store = Catalog(path)
        store.add(inspected("Qwen/Qwen3-8B"))
        with store.reading() as connection:
            assert connection.execute("SELECT cards FROM plans").fetchone() == (copies,)
        assert {r.model for r in search(store, "")} == {"openai/gpt-oss-120b", "Qwen/Qwen3-8B"}
        assert [r.model for r in search(store, "gpt-oss")] == ["openai/gpt-oss-120b"], "its words are there again"

    def test_terms_of_the_hub_are_searched(self, tmp_path: Path) -> None:
        store = Catalog(tmp_path / "c.db")
        store.add(with_terms("Qwen/Qwen3-8B", licence="apache-2.0", gated=True, modified="2026-03-01"))
        store.add(with_terms("openai/gpt-oss-20b", licence=None, gated=None, modified=None))
        for query in ("licence:apache", "license:apache-2.0", "gated:yes", "modified:2026-02"):
            assert [r.model for r in search(store, query)] == ["Qwen/Qwen3-8B"], query
        for query in ("gated:no", "modified:2026-04", "licence:mit"):
            assert search(store, query) == [], "what is unknown is in no answer"
        with pytest.raises(QueryError, match="neither yes nor no"):
            search(store, "gated:maybe")

    def test_an_older_file_is_migrated_after_a_backup(self, tmp_path: Path) -> None:
        path = tmp_path / "c.db"
        database = Database(path)
        migrations.apply(database, stop_before="m002_team")
        found = atlas_model("Qwen/Qwen3-8B")
        answer = plans_of("Qwen/Qwen3-8B", "h100_sxm")
        for kind, identity, body in (("inspection", "i", found), ("answer", "a", answer), ("inspection", "odd", None)):
            text = body.model_dump_json() if body is not None else "{}"
            row = {"identity": identity, "kind": kind, "origin": "hub", "model": "Qwen/Qwen3-8B", "commit_sha": "c0"}
            row |= {"made_at": STAMP.made_at, "tool_version": "0.0.9", "inspection_identity": "i"}
            database["findings"].insert({**row, "body": zlib.compress(text.encode())})  # type: ignore[union-attr]
        database.close()
        before = path.read_bytes()
        store = Catalog(path)
        assert store.latest_inspection("Qwen/Qwen3-8B") is None, "a look does not migrate"
        store.add(inspected("openai/gpt-oss-20b"))
        assert (tmp_path / "c.db.v1.bak").exists()
        old = sqlite3.connect(tmp_path / "c.db.v1.bak")
        assert old.execute("SELECT count(*) FROM findings").fetchone() == (3,)
        old.close()
        assert before
        kept = store.find("model = 'Qwen/Qwen3-8B'")
        assert {f.kind for f in kept} == {"inspection", "answer"}, "what no one can read is in the backup alone"
        assert all(f.is_intact for f in kept)
        (inspection,) = [f for f in kept if f.kind == "inspection"]
        assert inspection.inspection().parameters == found.parameters
        assert len(store.answers_to(inspection.identity)) == 1

    def test_a_newer_file_is_read_with_a_word(self, ask: Run, tmp_path: Path) -> None:
        path = tmp_path / "catalog.db"
        Catalog(path).add(inspected("Qwen/Qwen3-8B", stamp()))
        connection = sqlite3.connect(path)
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('whichgpu', 'm9', '')"
        )
        connection.commit()
        connection.close()
        result = ask("-m", "Qwen/Qwen3-8B", "--offline", "--json")
        assert json.loads(result.out)["origin"] == "catalog"
        assert "written by a newer whichgpu; it is only read" in result.err
        assert "Qwen/Qwen3-8B" in ask("catalog", "list").out
        assert Catalog(path).count() == 1

    @pytest.mark.parametrize(
        ("line", "kind"),
        [
            ("server:/home /net nfs4 rw 0 0", "nfs4"),
            ("//nas/x /net cifs rw 0 0", "cifs"),
            ("u@h: /net fuse.sshfs rw 0 0", "fuse.sshfs"),
            ("/dev/sda1 /net ext4 rw 0 0", None),
        ],
    )
    def test_network_file_systems_are_found(self, tmp_path: Path, line: str, kind: str | None) -> None:
        mounts = tmp_path / "mounts"
        mounts.write_text(f"/dev/root / ext4 rw 0 0\n{line}\n")
        assert files.on_network(Path("/net/team/c.db"), mounts) == kind
        assert files.on_network(Path("/network/c.db"), mounts) is None
        assert files.on_network(Path("/net/c.db"), tmp_path / "none") is None

    def test_on_a_network_file_system_there_is_no_write_ahead_log(
        self, ask: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "on_network", lambda *_: "nfs4")
        Catalog(tmp_path / "catalog.db").add(inspected())
        out = ask("catalog", "status").out
        assert "journal delete" in out
        assert "on nfs4: without a write-ahead log" in out

    def test_a_full_disk_is_one_sentence_and_the_answer_is_given(self, ask: Run, tmp_path: Path) -> None:
        path = tmp_path / "catalog.db"
        Catalog(path).add(inspected())

        def full(self: object, *_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        before = Catalog(path).count()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("whichgpu.catalog.derive.insert", full)
            result = ask("-m", "openai/gpt-oss-20b", "--offline")
        assert "RENT" in result.out
        assert "Not kept: The catalog" in result.err
        assert "disk is full" in result.err
        assert Catalog(path).count() == before

    @pytest.mark.skipif(os.geteuid() == 0, reason="root writes read-only files")
    def test_a_read_only_file(self, ask: Run, tmp_path: Path) -> None:
        path = tmp_path / "catalog.db"
        Catalog(path).add(inspected())
        path.chmod(0o444)
        tmp_path.chmod(0o555)
        result = ask("-m", "openai/gpt-oss-20b", "--offline")
        tmp_path.chmod(0o755)
        assert "RENT" in result.out
        assert "Not kept" in result.err

    def test_a_corrupt_page_is_said_and_made_no_worse(self, ask: Run, tmp_path: Path) -> None:
        path = tmp_path / "catalog.db"
        Catalog(path).add(*(inspected(n) for n in ("Qwen/Qwen3-8B", "Qwen/Qwen3-14B", "openai/gpt-oss-20b")))
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        data = bytearray(path.read_bytes())
        for page in range(2, len(data) // 4096):
            data[page * 4096 : page * 4096 + 200] = b"\xee" * 200
        path.write_bytes(data)
        result = ask("-m", "Qwen/Qwen3-8B", "--offline", "--catalog", str(path))
        assert result.code == ExitCode.OK
        assert "RENT" in result.out
        assert "Traceback" not in result.err
        assert path.read_bytes() == bytes(data)
        assert ask("catalog", "verify").code != ExitCode.OK


class TestSearch:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Catalog:
        store = Catalog(tmp_path / "catalog.db")
        for second, name in enumerate(("Qwen/Qwen3-8B", "openai/gpt-oss-120b", "deepseek-ai/DeepSeek-V3")):
            found = inspected(name, at(second))
            store.add(found, answer_finding(found, plans_of(name, "h200_sxm", "mi300x"), at(second)))
        store.add(tag_finding("Qwen/Qwen3-8B", "served", True, STAMP))
        store.add(note_finding("openai/gpt-oss-120b", "the quick 100% choice", STAMP))
        return store

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("", ["DeepSeek-V3", "gpt-oss-120b", "Qwen3-8B"]),
            ("qwen", ["Qwen3-8B"]),
            ("gpt-os", ["gpt-oss-120b"]),
            ("quick choice", ["gpt-oss-120b"]),
            ("served", ["Qwen3-8B"]),
            ("class:moe", ["DeepSeek-V3", "gpt-oss-120b"]),
            ("class:mo", []),
            ("class:moe params:>200B", ["DeepSeek-V3"]),
            ("params:<=8.2b", ["Qwen3-8B"]),
            ("tag:served", ["Qwen3-8B"]),
            ("gpu:H200 price:<6", ["gpt-oss-120b", "Qwen3-8B"]),
            ("gpu:h200-sxm cards:8", ["DeepSeek-V3"]),
            ("cpm:<0.6", ["Qwen3-8B"]),
            ("published:fp8", ["DeepSeek-V3"]),
            ("model:deepseek", ["DeepSeek-V3"]),
            ("by:ada since:2026-11-01", ["DeepSeek-V3", "gpt-oss-120b", "Qwen3-8B"]),
            ("by:nobody", []),
            ("since:2027", []),
            ("100%", ["gpt-oss-120b"]),
            ("weights:>100GiB", ["DeepSeek-V3"]),
        ],
    )
    def test_words_and_fields(self, store: Catalog, text: str, names: list[str]) -> None:
        assert [r.model.split("/")[1] for r in search(store, text)] == names

    @pytest.mark.parametrize("text", ["foo:bar", "params:many", "params:", "cpm:<x", '"open', "params:>3parsecs"])
    def test_slips_are_said(self, ask: Run, store: Catalog, text: str) -> None:
        result = ask("catalog", "search", text)
        assert result.code == ExitCode.USAGE
        assert result.err.startswith("whichgpu: error: ")

    @given(st.text(max_size=60))
    def test_any_text_is_a_search_or_a_slip(self, text: str) -> None:
        try:
            sql, values = compiled(text)
        except QueryError:
            return
        assert sql.count("?") == len(values)

    @pytest.mark.parametrize(
        "text", ["'; DROP TABLE findings; --", 'model:"%\' OR 1=1"', "* NEAR (", "AND OR NOT", "^x"]
    )
    def test_injection_finds_nothing(self, store: Catalog, text: str) -> None:
        with suppress(QueryError):
            assert search(store, text) == []
        assert store.count() == 8

    def test_sorts_pages_and_formats(self, ask: Run, store: Catalog) -> None:
        by_size = ask("catalog", "list", "--sort", "params", "--format", "csv").out.splitlines()
        assert [line.split(",")[0] for line in by_size[1:]] == [
            "deepseek-ai/DeepSeek-V3",
            "openai/gpt-oss-120b",
            "Qwen/Qwen3-8B",
        ]
        page = json.loads(ask("catalog", "list", "--limit", "2", "--page", "2", "--format", "json").out)
        assert [r["model"] for r in page] == ["Qwen/Qwen3-8B"]
        assert ask("catalog", "list", "--format", "md").out.startswith("| model")
        assert max(map(len, ask("catalog", "list").out.splitlines())) <= 80

    def test_views_answer_the_usual_questions(self, store: Catalog) -> None:
        with store.reading() as connection:
            cheapest = connection.execute("SELECT model, accelerator FROM cheapest_plans ORDER BY model").fetchall()
            assert cheapest[0] == ("Qwen/Qwen3-8B", "mi300x")
            assert connection.execute("SELECT model FROM fleet").fetchall() == [("Qwen/Qwen3-8B",)]
            assert len(connection.execute("SELECT * FROM latest_findings").fetchall()) == 3
            assert connection.execute("SELECT * FROM measured_vs_predicted").fetchall() == []


class TestWhatItSaysOfItself:
    def test_show_history_and_diff(self, ask: Run, tmp_path: Path) -> None:
        store = Catalog(tmp_path / "catalog.db")
        older, newer = inspected(stamp=at(1)), inspected(stamp=at(2), commit="beef")
        changed = newer.inspection().model_copy(update={"grade_note": "changed"})
        from whichgpu.catalog.records import inspection_finding

        store.add(older, inspection_finding(changed, at(2)))
        out = ask("catalog", "show", "qwen/qwen3-8b").out
        assert "commit beef, read 2026-11-01T10:00 by ada" in out
        assert len(ask("catalog", "history", "Qwen/Qwen3-8B").out.splitlines()) == 3
        out = ask("catalog", "diff", "Qwen/Qwen3-8B").out
        assert "grade_note" in out
        assert "changed" in out
        assert "are the same" in ask("catalog", "diff", "Qwen/Qwen3-8B@c0", "Qwen/Qwen3-8B@c0").out
        assert "nothing of nobody" in ask("catalog", "show", "nobody").err
        shown = json.loads(ask("catalog", "show", "Qwen/Qwen3-8B", "--json").out)
        assert shown["finding"]["commit"] == "beef"

    def test_hostile_text_is_data(self, ask: Run, tmp_path: Path) -> None:
        Catalog(tmp_path / "catalog.db").add(
            inspected(called="evil/\x1b[31mred"), note_finding("evil/\x1b[31mred", "\x1b]0;x\x07", STAMP)
        )
        for words in (("catalog", "list"), ("catalog", "show", "evil/\x1b[31mred")):
            assert "\x1b" not in ask(*words).out

    def test_verify_says_what_todays_facts_would_change(self, ask: Run, tmp_path: Path) -> None:
        store = Catalog(tmp_path / "catalog.db")
        found = inspected()
        answer = plans_of("Qwen/Qwen3-8B")
        best = answer.recommended
        assert best is not None
        dear = answer.model_copy(update={"recommended": best.model_copy(update={"usd_per_hour": 99.0})})
        store.add(found, answer_finding(found, dear, STAMP))
        out = ask("catalog", "verify").out
        assert "Qwen/Qwen3-8B, 16 × 8,192: $99.00/h before" in out
        assert "2 of 2 findings checked, 0 wrong; 1 answers would change" in " ".join(out.split())

    def test_verify_asks_with_the_prices_of_the_question(self, ask: Run, tmp_path: Path) -> None:
        """A price that was typed is in the plans: it is no change that the list knows another."""
        ask(
            "-m",
            "Qwen/Qwen3-8B",
            "--offline",
            "--gpu",
            "H100",
            "--price",
            "h100=1.25",
            "--catalog",
            str(tmp_path / "catalog.db"),
        )
        assert "0 answers would change" in " ".join(ask("catalog", "verify").out.split())

    @pytest.mark.parametrize(
        ("before", "said"),
        [
            ({"accelerator": "h100_sxm", "accelerator_name": "H100 SXM5", "usd_per_hour": 1.0}, "the price changed"),
            ({"accelerator": "t4", "accelerator_name": "T4", "count": 1}, "it takes"),
            ({"accelerator": "p40", "accelerator_name": "Tesla P40"}, "it no longer fits"),
            ({"accelerator": "gone", "accelerator_name": "Gone"}, "is not asked any more"),
        ],
    )
    def test_verify_tells_why_another_plan_is_recommended(
        self, ask: Run, tmp_path: Path, before: dict[str, object], said: str
    ) -> None:
        store = Catalog(tmp_path / "catalog.db")
        found = inspected()
        cards = ("a100_80_sxm", "h100_sxm", "t4", "p40")
        answer = plans_of("Qwen/Qwen3-8B", *cards)
        best = answer.recommended
        assert best is not None
        other = answer.model_copy(update={"recommended": best.model_copy(update=before)})
        store.add(found, answer_finding(found, other, STAMP))
        assert said in " ".join(ask("catalog", "verify").out.split())

    def test_verify_finds_what_was_altered(self, ask: Run, tmp_path: Path) -> None:
        path = tmp_path / "catalog.db"
        Catalog(path).add(inspected(), inspected("openai/gpt-oss-20b"))
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE findings SET tool_version = 'x' WHERE model = 'openai/gpt-oss-20b'")
            connection.execute("UPDATE findings SET body = x'00' WHERE model = 'Qwen/Qwen3-8B'")
        connection.close()
        result = ask("catalog", "verify")
        assert result.code == ExitCode.UNREADABLE
        assert ": altered" in result.err
        assert ": damaged" in result.err

    def test_verify_does_nothing_twice(self, ask: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = Catalog(tmp_path / "catalog.db")
        ask("-m", "Qwen/Qwen3-8B", "--offline", "--gpu", "H100")
        planned: list[str] = []

        def counted(inspection: Inspection, *rest: Any) -> Answer:
            planned.append(inspection.source.name)
            return answer(inspection, *rest)

        monkeypatch.setattr("whichgpu.tui.desk.watching.answer", counted)
        assert "2 of 2 findings checked" in ask("catalog", "verify").out
        assert "0 of 2 findings checked" in ask("catalog", "verify").out
        assert planned == ["Qwen/Qwen3-8B"], "once"
        store.add(note_finding("Qwen/Qwen3-8B", "new", STAMP))
        assert "1 of 3 findings checked" in ask("catalog", "verify").out
        assert "3 of 3 findings checked" in ask("catalog", "verify", "--all").out
        assert len(planned) == 2, "everything is asked again"
        ask("prices", "set", "H100=0.5")
        out = " ".join(ask("catalog", "verify").out.split())
        assert "1 of 4 findings checked, 0 wrong; 1 answers would change" in out, "a price is another fact"
        with sqlite3.connect(tmp_path / "catalog.db") as connection:
            connection.execute("UPDATE findings SET tool_version = 'x' WHERE kind = 'note'")
        connection.close()
        assert ask("catalog", "verify").code == ExitCode.OK, "what was whole is not looked at"
        assert ask("catalog", "verify", "--all").code == ExitCode.UNREADABLE

    def test_check_sees_new_commits_and_old_prices(self, start_hub: Start, ask: Run, tmp_path: Path) -> None:
        repo = shapes.qwen3_06b()
        start_hub({"a/b": repo})
        ask("-m", "a/b")
        assert "Nothing has changed" in ask("catalog", "check").out
        repo.commit = "f" * 40
        assert "a/b: at ffffffffff now, read at 0123456789" in ask("catalog", "check").out
        (tmp_path / "aws.csv").write_text("accelerator,usd_per_hour\nH100,5\n")
        ask("prices", "refresh", "--from", str(tmp_path / "aws.csv"), "--date", "2026-01-01")
        assert "Prices of aws are of 2026-01-01" in ask("catalog", "check").out

    def test_prune_drops_what_was_replaced(self, ask: Run, tmp_path: Path) -> None:
        store = Catalog(tmp_path / "catalog.db")
        found, answer = inspected(), plans_of("Qwen/Qwen3-8B", "h100_sxm")
        other = answer.model_copy(update={"facts_date": "2026-01-01"})
        store.add(found, answer_finding(found, other, at(1)), answer_finding(found, answer, at(2)))
        assert "1 replaced answers older than 0 days would be dropped" in ask("catalog", "prune", "--days", "0").out
        assert store.count() == 3
        assert "1 replaced answers older than 0 days dropped" in ask("catalog", "prune", "--days", "0", "--yes").out
        assert store.count() == 2

    def test_path_and_status(self, ask: Run, tmp_path: Path) -> None:
        assert ask("catalog", "path").out == f"{tmp_path / 'catalog.db'}\n"
        assert "not there yet" in ask("catalog", "status").out
        Catalog(tmp_path / "catalog.db").add(inspected())
        found = json.loads(ask("catalog", "status", "--json").out)
        assert (found["models"], found["kinds"], found["journal"]) == (1, {"inspection": 1}, "wal")

    def test_tags_are_one_word(self, ask: Run, tmp_path: Path) -> None:
        model = "Qwen/Qwen3-8B"
        assert ask("catalog", "tag", model, "two words").code == ExitCode.USAGE
        assert f"{model}: prod test." in ask("catalog", "tag", model, "test", "prod").out
        assert f"{model}: prod." in ask("catalog", "tag", model, "test", "--off").out


def test_datasette_serves_it_read_only(tmp_path: Path) -> None:
    """A real Datasette on loopback, started as ``catalog serve`` starts it."""
    from urllib.error import HTTPError, URLError
    from urllib.parse import urlencode
    from urllib.request import Request, urlopen

    path = tmp_path / "team.db"
    found = inspected().model_copy(update={"local_path": "/home/ada/models"})
    Catalog(path).add(found, answer_finding(found, plans_of("Qwen/Qwen3-8B", "h100_sxm"), STAMP))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO people VALUES ('ada', 'Ada L.', 'her machine')")
        connection.execute("INSERT INTO shared VALUES ('/home/ada/team', 'x')")
        connection.commit()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    code = "from whichgpu.tui.main import main; main()"
    command = [sys.executable, "-c", code, "catalog", "serve", "--port", str(port), "--catalog", str(path)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        rows = None
        for _ in range(150):
            with suppress(URLError, ConnectionError), urlopen(f"http://127.0.0.1:{port}/team/cheapest.json") as answer:
                rows = json.loads(answer.read())["rows"]
                break
            time.sleep(0.1)
        assert rows is not None
        assert rows[0][0] == "Qwen/Qwen3-8B"
        for sql in (
            "SELECT count(*) FROM people",
            "SELECT count(*) FROM shared",
            "SELECT count(local_path) FROM findings",
        ):
            with urlopen(f"http://127.0.0.1:{port}/team.json?{urlencode({'sql': sql})}") as answer:
                assert json.loads(answer.read())["rows"] == [[0]], "names and paths stay in the file"
        for header in ({"Host": f"evil.example:{port}"}, {"Origin": "https://evil.example"}):
            with pytest.raises(HTTPError) as refused:
                urlopen(Request(f"http://127.0.0.1:{port}/team.json", headers=header))
            assert refused.value.code == 403
            refused.value.close()
    finally:
        server.terminate()
        server.communicate(timeout=20)


def test_facts_know_every_catalogued_card() -> None:
    keys = {a.key for a in FACTS.accelerators}
    assert {o.accelerator for o in FACTS.offers} <= keys


def test_errors_of_the_catalog_leave_no_traceback(ask: Run, tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text("no database " * 500)
    for words in (
        ("list",),
        ("status",),
        ("verify",),
        ("search", "x"),
        ("push", str(tmp_path / "t")),
        ("history", "x"),
    ):
        result = ask("catalog", *words)
        assert result.code == ExitCode.SYSTEM, words
        assert result.err.startswith("whichgpu: error: The catalog"), words
    with pytest.raises(CatalogError):
        Catalog(tmp_path / "catalog.db").find("1")
