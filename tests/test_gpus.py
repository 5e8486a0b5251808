"""Accelerators: the list, one in full, the user's own cards and prices."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Result
from tests.planning import FACTS, card
from tests.planning import ask as plans_of
from whichgpu.plan.errors import UnknownAcceleratorError
from whichgpu.plan.hardware import read_card
from whichgpu.plan.price_book import PriceBook
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.units import is_stale

Run = Callable[..., Result]
CARDS = FACTS.accelerators


def test_every_card_has_sources_and_plausible_figures() -> None:
    for each in CARDS:
        assert each.sources["memory"], each.key
        assert each.sources["rates"], each.key
        assert 0.85 < each.usable_gib * 2**30 / (each.marketed_gb * 1e9) < 1.09, each.key
        assert each.fp8_tflops is None or each.bf16_tflops is None or each.fp8_tflops >= each.bf16_tflops, each.key
        assert each.confidence in ("high", "medium", "low")


def test_all_known_vendors_are_there() -> None:
    keys = {c.key for c in CARDS}
    assert {"t4", "v100_32", "h100_sxm", "vr200", "mi210", "mi355x", "gaudi3", "b60", "gb10", "rx7900xtx"} <= keys
    assert len(keys) == len(CARDS) >= 48


def test_the_list_sorts_and_filters(ask: Run) -> None:
    result = ask("gpus", "--vendor", "amd", "--sort", "memory", "--json")
    found = json.loads(result.out)
    assert {c["vendor"] for c in found} == {"amd"}
    assert [c["usable_gib"] for c in found] == sorted((c["usable_gib"] for c in found), reverse=True)
    large = json.loads(ask("gpus", "--min-memory", "200", "--json").out)
    assert large
    assert all(c["usable_gib"] >= 200 for c in large)
    cheap = [c["price"]["usd_per_hour"] for c in json.loads(ask("gpus", "--json").out) if c["price"]]
    assert cheap == sorted(cheap)


def test_the_table_fits_a_terminal(ask: Run) -> None:
    assert max(map(len, ask("gpus").out.splitlines())) <= 80


def test_one_card_shows_its_sources_and_offers(ask: Run) -> None:
    out = ask("gpus", "H100").out
    assert out.startswith("H100 SXM5 (h100_sxm")
    assert "79.18 GiB usable of 80 GB" in out
    assert "spot" in out
    assert "memory: torch total" in out


def test_no_match_is_one_sentence(ask: Run) -> None:
    result = ask("gpus", "no-such-card")
    assert result.code == ExitCode.USAGE
    assert "No accelerator matches" in result.err


@pytest.mark.parametrize(
    ("spec", "usable", "price"),
    [("H100", 79.18, None), ("h100-sxm:80GB:$1.85", 79.18, 1.85), ("H100:$2", 79.18, 2.0), ("h100:96GB", 95.02, None)],
)
def test_own_cards(spec: str, usable: float, price: float | None) -> None:
    found, dollars = read_card(spec, CARDS)
    assert found.usable_gib == pytest.approx(usable, abs=0.01)
    assert dollars == price


@given(st.text(max_size=20))
def test_any_other_text_is_refused_with_a_sentence(text: str) -> None:
    try:
        found, price = read_card(f"h100:{text}", CARDS)
    except UnknownAcceleratorError:
        return
    assert found.usable_gib > 0
    assert price is None or price > 0


def test_prices_of_one_s_own_and_spot(ask: Run) -> None:
    model = ("--model", "Qwen/Qwen3-32B", "--offline", "--json")
    answer = json.loads(ask(*model, "--gpu", "H200", "--price", "h200=1.5").out)["answer"]
    assert answer["recommended"]["usd_per_hour"] == 1.5
    assert answer["recommended"]["price"]["yours"]
    eight = ("--gpu", "H100", "--cards", "8")
    spot = json.loads(ask(*model, *eight, "--spot").out)["answer"]["recommended"]["price"]
    usual = json.loads(ask(*model, *eight).out)["answer"]["recommended"]["price"]
    assert spot["kind"] == "spot"
    assert spot["usd_per_hour"] < usual["usd_per_hour"]


def test_a_card_can_be_left_out(ask: Run) -> None:
    out = json.loads(ask("--model", "Qwen/Qwen3-32B", "--offline", "--json", "--exclude", "mi300x").out)
    assert {"mi300x"}.isdisjoint(p["accelerator"] for p in out["answer"]["plans"])


@pytest.mark.parametrize("arguments", [("--price", "h100"), ("--price", "h100=x"), ("--gpu", "H100:zz")])
def test_bad_prices_are_refused(ask: Run, arguments: tuple[str, str]) -> None:
    result = ask("--model", "Qwen/Qwen3-32B", "--offline", *arguments)
    assert result.code == ExitCode.USAGE
    assert "Traceback" not in result.err


def test_prices_of_other_kinds_are_apart() -> None:
    h100 = card("h100_sxm")
    assert PriceBook(FACTS.offers).listed(h100, "spot") != PriceBook(FACTS.offers).listed(h100)
    assert PriceBook(FACTS.offers).listed(h100, "no such kind") is None


def test_prices_age() -> None:
    assert is_stale("2026-09-06", date(2026, 11, 24))
    assert not is_stale("2026-09-25", date(2026, 11, 24))


def test_fp8_is_refused_before_cdna_3() -> None:
    plan = next(p for p in plans_of("Qwen/Qwen3-8B", "mi210", precision="fp8").plans if p.precision == "fp8")
    assert "CDNA 3" in plan.reasons[0]
