"""Fleets: lists in three forms, packing against a brute force and a solver, the command on the atlas and on a Hub."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Result
from tests.hub import HubStandIn, Repo
from tests.hub.shapes import qwen3_06b
from tests.planning import ATLAS
from whichgpu.inspect.records import Inspection
from whichgpu.plan.errors import FleetError
from whichgpu.plan.fleet import Member, Packing, Way, pack
from whichgpu.plan.fleet_list import FleetEntry, read_fleet
from whichgpu.plan.fleet_solver import solved
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Answer
from whichgpu.tui.words.exit_codes import ExitCode

Run = Callable[..., Result]


class TestLists:
    @pytest.mark.parametrize(
        "text",
        [
            "# ours\na/b\n\nc/d # the second\n",
            "model,replicas\na/b,\nc/d,1\n",
            "- a/b\n- model: c/d\n",
            "models:\n  - a/b\n  - c/d\n",
            "a/b:\nc/d: {replicas: 1}\n",
            '["a/b", {"model": "c/d"}]',
        ],
    )
    def test_every_form_names_the_same_models(self, text: str) -> None:
        assert read_fleet(text) == (FleetEntry(model="a/b"), FleetEntry(model="c/d"))

    def test_settings_go_over_the_fleets(self) -> None:
        entry = read_fleet("model,context,concurrency,input,output,precision\na/b,4096,2,3000,500,fp8\n")[0]
        from whichgpu.plan.records import Precision, Workload

        own = entry.workload(Workload(context=8192, concurrency=16, rate=2.0))
        assert (own.context, own.concurrency, own.prompt, own.output) == (4096, 2, 3000, 500)
        assert (own.precision, own.rate) == (Precision.FP8, 2.0)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "is empty"),
            ("# nothing\n", "is empty"),
            ("- {model: a, foo: 2}", "Entry 1 of the list: foo"),
            ("model,replicas\na,x\n", "replicas"),
            ("model\n\na\n,\n", "model"),
            ("- [1, 2]", "no model"),
            ("- a: [", "no YAML"),
            ("models: 3", "no model"),
            ("- {model: a, replicas: 0}", "greater than or equal to 1"),
        ],
    )
    def test_what_is_no_list_is_said_with_its_place(self, text: str, said: str) -> None:
        with pytest.raises(FleetError, match=said):
            read_fleet(text)

    @given(st.text(max_size=200))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        with contextlib.suppress(FleetError):
            assert read_fleet(text)


def way(card: str, share: float = 1.0, cards: int = 1, price: float | None = None) -> Way:
    usd = price if price is not None else {"small": 1.0, "large": 3.0}[card]
    return Way(accelerator=card, cards=cards, share=share, usd_per_card_hour=usd, layout="TP1")


def least_by_brute_force(members: list[Member]) -> float:
    """Cost of the best packing, trying every choice of ways and every partition onto cards."""
    best = float("inf")
    for chosen in itertools.product(*(m.ways for m in members)):
        cost = sum(w.usd_per_card_hour * w.cards for w in chosen if w.share >= 1)
        for accelerator in {w.accelerator for w in chosen if w.share < 1}:
            shares = [w.share for w in chosen if w.accelerator == accelerator and w.share < 1]
            price = next(w.usd_per_card_hour for w in chosen if w.accelerator == accelerator)
            cost += price * min_cards(shares)
        best = min(best, cost)
    return best


def min_cards(shares: list[float]) -> int:
    for count in range(1, len(shares) + 1):
        for placed in itertools.product(range(count), repeat=len(shares)):
            held = [sum(s for s, p in zip(shares, placed, strict=True) if p == c) for c in range(count)]
            if max(held) <= 0.95 + 1e-9:
                return count
    return 0


def check(members: list[Member], found: Packing) -> None:
    """Every member is placed once, no card is overfull, and the sums are right."""
    names = sorted(p.model for m in found.machines for p in m.models)
    assert names == sorted(m.model for m in members if m.ways)
    assert all(0 < m.filled <= 1.0 for m in found.machines)
    assert found.usd_per_hour == pytest.approx(sum(m.usd_per_hour for m in found.machines))
    assert found.bound <= found.usd_per_hour + 1e-3
    assert found.unplaced == tuple(m.model for m in members if not m.ways)


shares = st.floats(0.05, 0.89).map(lambda s: round(s, 2))
member_ways = st.one_of(
    shares.map(lambda s: (way("large", s),)),
    shares.map(lambda s: (way("small", s), way("large", round(s / 2.5, 3)))),
    st.just((way("large", cards=2),)),
)


class TestPacking:
    @settings(max_examples=60)
    @given(st.lists(member_ways, min_size=1, max_size=4))
    def test_the_solver_finds_the_best_and_the_heuristic_is_near(self, ways: list[tuple[Way, ...]]) -> None:
        members = [Member(model=f"m{i}", ways=w) for i, w in enumerate(ways)]
        best = least_by_brute_force(members)
        quick, exact = pack(members, {}), solved(members, {}, 10)
        check(members, quick)
        check(members, exact)
        assert exact.usd_per_hour == pytest.approx(best, abs=1e-3)
        assert best <= quick.usd_per_hour + 1e-3
        assert quick.bound <= best + 1e-3

    @settings(max_examples=30)
    @given(st.lists(member_ways, min_size=1, max_size=40))
    def test_large_fleets_are_placed_whole(self, ways: list[tuple[Way, ...]]) -> None:
        members = [Member(model=f"m{i}", ways=w) for i, w in enumerate(ways)]
        check(members, pack(members, {"large": (1, 8), "small": None}))

    def test_shares_that_sum_to_the_limit_share_a_card_whatever_floats_say(self) -> None:
        members = [Member(model=n, ways=(way("large", s),)) for n, s in (("a", 0.65), ("b", 0.25), ("c", 0.05))]
        assert pack(members, {}).usd_per_hour == solved(members, {}, 10).usd_per_hour == 3.0

    def test_two_models_share_a_card(self) -> None:
        members = [Member(model=n, ways=(way("large", 0.4),)) for n in "ab"]
        found = pack(members, {})
        assert [(m.accelerator, m.cards) for m in found.machines] == [("large", 1)]
        assert [p.share for p in found.machines[0].models] == [0.4, 0.4]

    def test_machines_come_in_the_counts_that_are_rented(self) -> None:
        members = [Member(model=f"m{i}", ways=(way("large", cards=2),)) for i in range(3)]
        assert [m.cards for m in pack(members, {"large": (8,)}).machines] == [8]
        assert sorted(m.cards for m in pack(members, {"large": (1, 4)}).machines) == [4, 4]
        assert [m.cards for m in pack(members, {}).machines] == [2, 2, 2]

    def test_what_fits_nowhere_is_named(self) -> None:
        assert pack([Member(model="big", ways=())], {}).unplaced == ("big",)


class TestCommand:
    def test_hundreds_of_different_questions_of_the_atlas(self, ask: Run, tmp_path: Path) -> None:
        names = ATLAS.names()
        listed = [f"{n},{c}" for c in (1, 8) for n in names][:500]
        path = tmp_path / "fleet.csv"
        path.write_text("model,concurrency\n" + "\n".join(listed) + "\n")
        result = ask("fleet", str(path), "--offline", "--json")
        found = json.loads(result.out)
        assert result.code in (ExitCode.OK, ExitCode.NOTHING_FITS), result.err[-300:]
        assert len(found["models"]) == 500
        assert not found["failed"]
        totals = found["totals"]
        assert totals["classes"]["moe"] > 50
        assert totals["bound_usd_per_hour"] <= totals["usd_per_hour"] <= 1.1 * totals["bound_usd_per_hour"]
        assert 0.5 < totals["transformer_only_chip"] < 1

    def test_a_second_run_plans_what_changed(self, ask: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "list.txt"
        path.write_text("Qwen/Qwen3-8B\nopenai/gpt-oss-20b\nQwen/Qwen3-8B\n")
        planned: list[str] = []

        def counted(inspection: Inspection, *rest: Any, **more: Any) -> Answer:
            planned.append(inspection.source.name)
            return answer(inspection, *rest, **more)

        monkeypatch.setattr("whichgpu.tui.desk.fleet.answer", counted)
        first = ask("fleet", str(path), "--offline", "--json").out
        assert planned == ["Qwen/Qwen3-8B", "openai/gpt-oss-20b"]
        assert ask("fleet", str(path), "--offline", "--json").out == first
        path.write_text("Qwen/Qwen3-8B\nQwen/Qwen3-0.6B\n")
        ask("fleet", str(path), "--offline")
        assert planned[2:] == ["Qwen/Qwen3-0.6B"]
        ask("fleet", str(path), "--offline", "--context", "4096")
        ask("prices", "set", "H100=0.5")
        ask("fleet", str(path), "--offline")
        assert len(planned) == 7, "another workload and another price are other questions"
        with sqlite3.connect(tmp_path / "catalog.db") as connection:
            connection.execute("UPDATE remembered SET body = x'00'")
        connection.close()
        assert ask("fleet", str(path), "--offline").code == 0, "what is damaged is planned again"
        assert len(planned) == 9

    def test_failures_are_listed_and_stop_nothing(self, ask: Run, tmp_path: Path) -> None:
        path = tmp_path / "list"
        path.write_text("Qwen/Qwen3-8B\nnobody/nothing\n")
        result = ask("fleet", str(path), "--offline")
        assert result.code == ExitCode.NETWORK
        assert "1 of 2 models answered: 1 dense" in result.out
        assert "nobody/nothing" in result.err
        assert max(map(len, result.out.splitlines())) <= 80

    def test_a_second_run_goes_on_where_the_first_ended(
        self, ask: Run, start_hub: Callable[..., HubStandIn], tmp_path: Path
    ) -> None:
        repos: dict[str, Repo] = {f"org/m{i}": qwen3_06b() for i in range(4)}
        hub = start_hub(repos)
        path = tmp_path / "list.yaml"
        path.write_text("".join(f"- org/m{i}\n" for i in range(3)))
        assert ask("fleet", str(path)).code == ExitCode.OK
        asked = len(hub.requests())
        path.write_text("".join(f"- org/m{i}\n" for i in range(4)))
        assert ask("fleet", str(path)).code == ExitCode.OK
        later = hub.requests()[asked:]
        assert later
        assert all("org/m3" in str(r) for r in later), "what the catalog has is not asked again"
        asked = len(hub.requests())
        assert ask("fleet", str(path), "--fresh", "0").code == ExitCode.OK
        assert any("org/m0" in str(r) for r in hub.requests()[asked:])
