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
        least = 0.75 if each.unified else 0.85
        assert least < each.usable_gib * 2**30 / (each.marketed_gb * 1e9) < 1.09, each.key
        assert each.fp8_tflops is None or each.bf16_tflops is None or each.fp8_tflops >= each.bf16_tflops, each.key
        assert each.confidence in ("high", "medium", "low")


def test_all_known_vendors_are_there() -> None:
    keys = {c.key for c in CARDS}
    assert {"t4", "v100_32", "h100_sxm", "vr200", "mi210", "mi355x", "gaudi3", "b60", "gb10", "rx7900xtx"} <= keys
    assert len(keys) == len(CARDS) >= 70


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
    assert result.code == ExitCode.NOT_FOUND
    assert "No accelerator is called “no-such-card”" in result.err
    result = ask("gpus", "--min-memory", "9000")
    assert result.code == ExitCode.NOT_FOUND
    assert "No accelerator matches" in result.err


@pytest.mark.parametrize(
    ("spec", "usable", "price"),
    [("H100", 79.18, None), ("h100-sxm:80GB:$1.85", 79.18, 1.85), ("H100:$2", 79.18, 2.0), ("h100:96GB", 95.02, None)],
)
def test_own_cards(spec: str, usable: float, price: float | None) -> None:
    found, dollars = read_card(spec, CARDS)
    assert found.usable_gib == pytest.approx(usable, abs=0.01)
    assert dollars == price


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("NVIDIA H100 80GB HBM3", "h100_sxm"),
        ("NVIDIA H100 NVL", "h100_nvl"),
        ("NVIDIA H200", "h200_sxm"),
        ("NVIDIA A100-SXM4-80GB", "a100_80_sxm"),
        ("NVIDIA A100-PCIE-40GB", "a100_40_pcie"),
        ("Tesla T4", "t4"),
        ("Tesla P40", "p40"),
        ("NVIDIA GeForce RTX 3090", "rtx_3090"),
        ("GeForce RTX 4090", "rtx_4090"),
        ("NVIDIA GeForce RTX 2080 Ti", "rtx_2080_ti"),
        ("NVIDIA GeForce RTX 4060 Ti", "rtx_4060_ti_16"),
        ("NVIDIA RTX A5000", "rtx_a5000"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "rtx_pro_6000_ws"),
        ("NVIDIA GB10", "gb10"),
        ("NVIDIA Thor", "jetson_thor"),
        ("Orin", "jetson_orin"),
        ("AMD Instinct MI300X", "mi300x"),
        ("AMD Radeon RX 7900 XTX", "rx7900xtx"),
        ("Intel(R) Arc(TM) Pro B60 Graphics", "b60"),
        ("strix halo", "strix_halo"),
    ],
)
def test_cards_as_the_tools_print_them(name: str, key: str) -> None:
    assert read_card(name, CARDS)[0].key == key


@pytest.mark.parametrize("spec", ["H100:1g.10gb", "h100 MIG 1g.10gb", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"])
def test_a_mig_slice_has_its_share(spec: str) -> None:
    whole, found = card("h100_sxm"), read_card(spec, CARDS)[0]
    assert found.usable_gib == pytest.approx(9.9, abs=0.01)
    assert found.bf16_tflops == pytest.approx((whole.bf16_tflops or 0) / 7)
    assert found.bandwidth_gbs == pytest.approx(whole.bandwidth_gbs / 8)
    assert found.node_counts == (1,), "instances have no links: vLLM runs on one"
    assert not found.listed_as, "no price list offers it by the whole card's name"
    assert not FACTS.calibration.kernels.has_tables_of(found), "its kernels were not measured"


@pytest.mark.parametrize("spec", ["H100:3g.96gb", "rtx 3090:1g.10gb", "MI300X:1g.10gb", "h100:9g.10gb"])
def test_a_slice_that_no_card_has_is_refused(spec: str) -> None:
    with pytest.raises(UnknownAcceleratorError):
        read_card(spec, CARDS)


def test_another_memory_is_the_same_card_and_another_letter_is_not() -> None:
    kernels = FACTS.calibration.kernels
    assert kernels.has_tables_of(read_card("h100:96GB", CARDS)[0])
    assert not kernels.has_tables_of(card("h800_sxm")), "timed like an H100"


def test_every_card_has_kernel_times() -> None:
    for each in CARDS:
        assert FACTS.calibration.kernels.of(each).matrices, each.key


@pytest.mark.parametrize(
    ("name", "nearest"), [("H1000", "h100_sxm"), ("RTX 3080", "rtx_5080"), ("mi300", "mi300x"), ("gb1", "gb10")]
)
def test_an_unknown_card_has_neighbours(name: str, nearest: str) -> None:
    with pytest.raises(UnknownAcceleratorError) as caught:
        read_card(name, CARDS)
    assert caught.value.hint.startswith(f"Did you mean {nearest}")


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
