"""Findings from hostile hands: what they say is printed by others, priced by others, and ends in others' commands."""

from __future__ import annotations

import gzip
import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Result
from tests.findings import at
from tests.planning import ask as answer_of
from tests.test_catalog_sharing import inspected
from whichgpu.catalog import bundles
from whichgpu.catalog.bundles import Policy
from whichgpu.catalog.intake import Refusal, checked
from whichgpu.catalog.records import (
    Finding,
    answer_finding,
    canonical,
    identity_of,
    note_finding,
    price_finding,
    tag_finding,
)
from whichgpu.catalog.sharing import pull, push
from whichgpu.catalog.store import Catalog
from whichgpu.catalog.stores import FileStore
from whichgpu.plan.records import PriceOffer

Ask = Callable[..., Result]

OFFER = PriceOffer(
    accelerator="h100_sxm", usd_per_hour=2.0, provider="cloud", kind="on-demand", date="2026-11-01", source="a list"
)
ESCAPES = ["\x1b[2J", "\x07", "\u202e", "\x9b31m", "\u200b", "a\nb", "\u2028"]


def forged(finding: Finding, **content: Any) -> Finding:
    """The same finding with another content, its identity made anew: anyone can do so."""
    body = canonical({**json.loads(finding.body), **content})
    return finding.model_copy(
        update={"body": body, "identity": identity_of(finding.kind, finding.about, finding.tool_version, body)}
    )


def refiled(finding: Finding, **envelope: Any) -> Finding:
    moved = finding.model_copy(update=envelope)
    return moved.model_copy(update={"identity": identity_of(moved.kind, moved.about, moved.tool_version, moved.body)})


def refusal(finding: Finding) -> str:
    result = checked(finding)
    assert isinstance(result, Refusal), "it was taken"
    return result.why


def price(**changes: Any) -> Finding:
    return forged(price_finding(OFFER, False, at(0)), **changes)


def test_what_we_make_is_taken() -> None:
    inspection = inspected("Qwen/Qwen3-8B")
    ours = [
        inspection,
        answer_finding(inspection, answer_of("Qwen/Qwen3-8B", "h100_sxm"), at(1)),
        price_finding(OFFER, False, at(2)),
        note_finding("Qwen/Qwen3-8B", "gut für uns: 12 €/h\n\tund “schnell”", at(3)),
        tag_finding("Qwen/Qwen3-8B", "served", True, at(4)),
    ]
    assert [type(checked(finding)) for finding in ours] == [tuple] * len(ours)


OLDER_NAMES = {"kv_cache": "KV cache", "prefills": "others' prefills"}
"""Of a step's times, as whichgpu 0.1 wrote them."""


def renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): renamed(part, names) for key, part in value.items()}
    return [renamed(part, names) for part in value] if isinstance(value, list) else value


def test_so_is_an_answer_in_the_words_of_an_older_version() -> None:
    inspection = inspected("Qwen/Qwen3-8B")
    answer = answer_finding(inspection, answer_of("Qwen/Qwen3-8B", "h100_sxm"), at(1))
    plans = json.loads(answer.body)["plans"]
    older = renamed(plans, OLDER_NAMES)
    assert older != plans
    assert isinstance(checked(forged(answer, plans=older)), tuple)
    nobodys = renamed(plans, {"prefills": "some prefills"})
    assert refusal(forged(answer, plans=nobodys)) == "its content is malformed"
    assert refusal(forged(answer, plans=[{**older[0], "count": str(older[0]["count"])}])) == "its content is malformed"


class TestText:
    @pytest.mark.parametrize("escape", ESCAPES)
    @pytest.mark.parametrize("field", ["model", "made_by", "tool_version", "origin"])
    def test_an_envelope_that_a_terminal_obeys_is_refused(self, field: str, escape: str) -> None:
        assert "none" in refusal(refiled(inspected(), **{field: f"x{escape}y"})) or field == "model"

    @pytest.mark.parametrize("escape", ESCAPES)
    @pytest.mark.parametrize("key", ["provider", "source", "region", "instance", "kind"])
    def test_so_is_a_content(self, key: str, escape: str) -> None:
        assert refusal(price(**{key: f"x{escape}y"})) == "its text holds control characters"

    @pytest.mark.parametrize("escape", ESCAPES)
    def test_deep_inside_and_in_keys_too(self, escape: str) -> None:
        inspection = inspected()
        architecture = json.loads(inspection.body)["architecture"]
        named = {**architecture, "names": [f"Qwen3{escape}"]}
        keyed = {**architecture, "sources": {f"layers{escape}": "x"}}
        for content in (named, keyed):
            assert refusal(forged(inspection, architecture=content)) == "its text holds control characters"

    def test_half_a_character_is_refused(self) -> None:
        assert "none" in refusal(inspected().model_copy(update={"made_by": "a\ud800"}))


class TestSubstitution:
    """A finding that is filed under a trusted name and holds another model would end in its command."""

    def test_a_body_of_another_repository_is_refused(self) -> None:
        evil = inspected("Qwen/Qwen3-8B", called="evil/Qwen3-8B")
        assert refusal(refiled(evil, model="Qwen/Qwen3-8B")) == "it is filed under another name than it holds"

    @pytest.mark.parametrize("changes", [{"commit": "dead"}, {"origin": "cache"}, {"private": True}])
    def test_so_is_one_of_another_commit_or_place(self, changes: dict[str, Any]) -> None:
        assert "another name" in refusal(refiled(inspected(), **changes))

    def test_words_are_their_writers(self) -> None:
        assert "another name" in refusal(refiled(note_finding("a/b", "x", at(0)), made_by="eve"))
        assert "another name" in refusal(refiled(tag_finding("a/b", "x", True, at(0)), model="c/d"))
        assert "another name" in refusal(refiled(price(), model="b200"))

    def test_without_a_network_own_readings_and_the_atlas_come_first(self, ask: Ask, tmp_path: Path) -> None:
        """Whoever shares a catalog may have read anything; the bundled atlas is ours."""
        store = Catalog(tmp_path / "catalog.db")
        store.add(inspected("openai/gpt-oss-20b", called="Qwen/Qwen3-32B"))
        answer = json.loads(ask("-m", "Qwen/Qwen3-32B", "--offline", "--json").out)
        assert answer["origin"] == "atlas"
        store.add(inspected("openai/gpt-oss-20b", called="someone/theirs"))
        theirs = ask("-m", "someone/theirs", "--offline")
        assert "read by someone else (ada)" in " ".join(theirs.err.split())


class TestNumbers:
    @pytest.mark.parametrize("usd", [-5, 0, 1e9, 10**30, "2", None, True])
    def test_a_price_that_is_none_never_wins(self, usd: Any) -> None:
        refusal(price(usd_per_hour=usd))

    @pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999"])
    def test_numbers_that_are_none(self, number: str) -> None:
        made = price()
        body = made.body.replace('"usd_per_hour":2.0', f'"usd_per_hour":{number}')
        assert body != made.body
        assert "numbers that are none" in refusal(refiled(made, body=body))

    @pytest.mark.parametrize("day", ["2026-99-99", "9999-01-01", "0001-01-01", "٢٠٢٦-١١-٠١", "yesterday", ""])
    def test_a_date_that_is_none(self, day: str) -> None:
        refusal(price(date=day))
        refusal(price(at=f"{day}T00:00:00+00:00"))

    @pytest.mark.parametrize(
        "moment",
        ["2026-99-99T00:00:00+00:00", "2026-11-01", "٢٠٢٦-١١-٠١T00:00:00+00:00", "2026-11-01T00:00:00+05:00", "T"],
    )
    def test_a_time_that_is_none(self, moment: str) -> None:
        assert refusal(refiled(inspected(), made_at=moment)) == "its time is none"

    def test_an_answer_is_validated_whole(self) -> None:
        inspection = inspected()
        good = answer_finding(inspection, answer_of("Qwen/Qwen3-8B", "h100_sxm"), at(1))
        plans = json.loads(good.body)["plans"]
        for broken in ({**plans[0], "count": "many"}, {**plans[0], "usd_per_hour": -1}, {**plans[0], "more": 1}):
            refusal(forged(good, plans=[broken]))
        assert refusal(refiled(good, about=None)) == "it rests on nothing"

    def test_nesting_is_bounded(self) -> None:
        deep: Any = "x"
        for _ in range(200):
            deep = [deep]
        assert "too deeply" in refusal(forged(inspected(), unread=deep))


class TestARowOfASharedFile:
    """Whoever may write a shared file may write anything into its tables: a row that is none costs itself alone."""

    def test_the_list_and_the_prices_go_on(self, ask: Ask, tmp_path: Path) -> None:
        path = tmp_path / "catalog.db"
        offers = [OFFER.model_copy(update={"provider": name}) for name in ("one", "two", "three")]
        Catalog(path).add(
            inspected("Qwen/Qwen3-8B"),
            inspected("openai/gpt-oss-20b"),
            *(price_finding(o, False, at(0)) for o in offers),
        )
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE inspections SET parameters = 'many' WHERE model = 'Qwen/Qwen3-8B'")
            connection.execute("UPDATE prices SET usd_per_hour = 'free' WHERE provider = 'one'")
            connection.execute("UPDATE prices SET usd_per_hour = -5 WHERE provider = 'two'")
            connection.commit()
        listed = ask("catalog", "list")
        assert (listed.code, "openai/gpt-oss-20b" in listed.out) == (0, True)
        assert [o.provider for o in Catalog(path).prices()] == ["three"]


def bundle(*lines: bytes) -> tuple[str, bytes]:
    data = gzip.compress(b"\n".join([b'{"bundle":1}', *lines]) + b"\n", mtime=0)
    return f"{hashlib.sha256(data).hexdigest()}.jsonl.gz", data


def line_of(finding: Finding) -> bytes:
    return json.dumps(
        {**finding.model_dump(mode="json", exclude={"local_path"}), "body": json.loads(finding.body)}
    ).encode()


def damaged() -> dict[str, bytes]:
    """Bundles that are wrong in ways that their hash doesn't tell."""
    good = gzip.compress(b'{"bundle":1}\n' + b"x" * 5000, mtime=0)
    corrupt = good[:20] + bytes([good[20] ^ 0xFF]) + good[21:]
    heads = [b"[" * 100_000, b'{"bundle":' + b"9" * 5000 + b"}", b"\xff\xfe", b'{"bundle":1,"people":{"a":1}}']
    made = [corrupt, *(gzip.compress(head + b"\n", mtime=0) for head in heads), b"no gzip at all", gzip.compress(b"")]
    lines = [
        b'{"body":' + b"[" * 100_000,
        b'"\\ud800"',
        b'{"body":{"a":"\\ud800"},"identity":"\\ud800"}',
        b"null",
        b"{}",
    ]
    made += [bundle(line)[1] for line in lines]
    return {f"{hashlib.sha256(data).hexdigest()}.jsonl.gz": data for data in made}


class TestBundles:
    def test_a_bad_one_costs_itself_alone(self, tmp_path: Path) -> None:
        """The rest is taken and ours is pushed, whatever lies between."""
        store, mine = FileStore(str(tmp_path / "team")), Catalog(tmp_path / "mine.db")
        store.add(damaged())
        store.add(bundles.packed([inspected("openai/gpt-oss-20b")], at(0)))
        mine.add(inspected("Qwen/Qwen3-8B"))
        pulled = pull(mine, store, "team")
        assert pulled.new == 1
        assert push(mine, store, "team", Policy(), at(1)).findings == 1
        assert {f.model for f in mine.find("1")} == {"openai/gpt-oss-20b", "Qwen/Qwen3-8B"}

    def test_what_is_refused_for_its_time_or_kind_is_read_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, mine = FileStore(str(tmp_path / "team")), Catalog(tmp_path / "mine.db")
        early = refiled(inspected(), made_at="2999-01-01T00:00:00+00:00")
        store.add(dict([bundle(line_of(early))]))
        assert pull(mine, store, "team").new == 0
        monkeypatch.setattr("whichgpu.catalog.validation._time", lambda text, now: None)  # the day has come
        assert pull(mine, store, "team").new == 1
        assert pull(mine, store, "team").bundles == 0, "and is not read a third time"

    def test_a_bomb_takes_no_more_than_a_line(self, tmp_path: Path) -> None:
        name, data = bundle(b"[" + b"0," * (20 * 2**20) + b"0]")
        assert len(data) < 2**20
        store, mine = FileStore(str(tmp_path / "team")), Catalog(tmp_path / "mine.db")
        store.add({name: data})
        (refused,) = pull(mine, store, "team").refused
        assert "unpacks to too much" in refused.why


def everything(catalog: Catalog) -> dict[str, list[tuple[Any, ...]]]:
    tables = ("findings", "inspections", "plans", "prices", "notes", "tags", "models")
    with catalog.reading() as connection:
        return {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in tables}


_INSPECTION = inspected("Qwen/Qwen3-8B")
_ANSWER = answer_finding(_INSPECTION, answer_of("Qwen/Qwen3-8B", "h100_sxm"), at(5))
_HONEST = (
    _INSPECTION,
    _ANSWER,
    price_finding(OFFER, False, at(2)),
    note_finding("Qwen/Qwen3-8B", "a word", at(3)),
    tag_finding("Qwen/Qwen3-8B", "served", True, at(4)),
)
_ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["Qwen/Qwen3-32B", "evil/model"]),
        "commit": st.sampled_from([None, "c0ffee", "badc0de"]),
        "origin": st.sampled_from(["hub", "atlas", "contract", "person"]),
        "private": st.booleans(),
        "made_at": st.sampled_from(["2026-10-01T10:00:00+00:00", "2026-11-02T10:00:00+00:00"]),
        "made_by": st.sampled_from(["eve", "ada"]),
        "facts_date": st.sampled_from([None, "2020-01-01"]),
    },
)
_FORGERIES = st.builds(lambda f, changes: f.model_copy(update=changes), st.sampled_from(_HONEST), _ENVELOPES)


class TestEnvelopes:
    """What is outside a finding's identity can be written anew by anyone, without a new identity."""

    @settings(max_examples=30)
    @given(st.lists(_FORGERIES, max_size=6), st.permutations(range(8)))
    def test_forged_or_not_catalogs_converge(
        self, tmp_path_factory: pytest.TempPathFactory, forgeries: list[Finding], order: list[int]
    ) -> None:
        """One finding a bundle, so that an answer comes before its inspection half of the time."""
        folder = tmp_path_factory.mktemp("e")
        made = [bundle(line_of(finding)) for finding in (*_HONEST, *forgeries)]
        catalogs = [Catalog(folder / name) for name in ("one", "two")]
        for catalog, turn in zip(catalogs, (range(len(made)), [n for n in order if n < len(made)]), strict=True):
            store = FileStore(str(folder / f"{catalog.path.name}.team"))
            for number in turn:
                store.add(dict([made[number]]))
                pull(catalog, store, "team")
            store.add(dict(made))
            pull(catalog, store, "team")
            pull(catalog, store, "team")
        assert everything(catalogs[0]) == everything(catalogs[1])
        stored = {f.identity: f for f in catalogs[0].find("1")}
        assert set(stored) == {f.identity for f in _HONEST}
        for finding in _HONEST:
            of_its_content = {"made_at": finding.made_at, "made_by": finding.made_by}
            assert stored[finding.identity].model_copy(update=of_its_content) == finding

    def test_an_answer_is_filed_under_what_it_rests_on(self, tmp_path: Path) -> None:
        mine = Catalog(tmp_path / "mine.db")
        mine.add(_INSPECTION)
        store = FileStore(str(tmp_path / "team"))
        store.add(dict([bundle(line_of(_ANSWER.model_copy(update={"model": "Qwen/Qwen3-32B"})))]))
        (intake,) = pull(mine, store, "team").intakes
        assert [r.why for r in intake.refused] == ["it is filed under another name than it holds"]

    def test_an_answer_to_nothing_waits_for_its_inspection(self, tmp_path: Path) -> None:
        mine, store = Catalog(tmp_path / "mine.db"), FileStore(str(tmp_path / "team"))
        store.add(dict([bundle(line_of(_ANSWER))]))
        assert pull(mine, store, "team").new == 0
        store.add(dict([bundle(line_of(_INSPECTION))]))
        assert pull(mine, store, "team").new == 2
        assert pull(mine, store, "team").bundles == 0
