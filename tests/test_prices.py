"""Prices: lists of several formats, refreshed into the catalog, contracts, providers, and counts that nobody rents."""

from __future__ import annotations

import gc
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import Result
from tests.planning import FACTS, card, plan_for
from tests.planning import ask as plans_of
from whichgpu.catalog.records import Stamp, price_finding
from whichgpu.catalog.store import Catalog
from whichgpu.plan.errors import FactsError
from whichgpu.plan.price_book import PriceBook
from whichgpu.plan.prices import Listing, card_key, combined, own_price, read_prices
from whichgpu.plan.records import PriceOffer
from whichgpu.tui.words.exit_codes import ExitCode

Run = Callable[..., Result]

GPUHUNT = """instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,gpu_vendor,flags,cpu_arch,provider_data
p5.48xlarge,us-east-1,55.04,192,2048,8,H100,80,False,,nvidia,,x86,
p5.48xlarge,us-west-2,50.04,192,2048,8,H100,80,False,,nvidia,,x86,
p5.48xlarge,us-east-1,22.0,192,2048,8,H100,80,True,,nvidia,,x86,
p4d.24xlarge,us-east-1,21.96,96,1152,8,A100,40,False,,nvidia,,x86,
odd,us-east-1,1,1,1,1,XYZ,40,False,,nvidia,,x86,
"""
SKYPILOT = """InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Price,SpotPrice,Region,AvailabilityZone
8xH100,128,1600,H100,8.0,"{'x'}",23.6,10.0,eu-north1,a
8xH100,128,1600,H100,8.0,"{'x'}",23.6,10.0,eu-north1,b
1xA100,16,100,A100-80GB,1.0,,1.29,,FIN-01,
cpu,16,100,,,,0.5,,FIN-01,
"""


def offer(provider: str, usd: float, date: str | None = "2026-11-01", **more: object) -> PriceOffer:
    fields = {"accelerator": "h100_sxm", "usd_per_hour": usd, "provider": provider, "kind": "on-demand"}
    return PriceOffer.model_validate({**fields, "date": date, "source": "test", **more})


@pytest.mark.parametrize(
    ("name", "memory", "key"),
    [
        ("H100", 80, "h100_sxm"),
        ("H100", 94, "h100_nvl"),
        ("H100NVL", 94, "h100_nvl"),
        ("A100", 40, "a100_40_sxm"),
        ("A100", 80, "a100_80_sxm"),
        ("A100", None, "a100_40_sxm"),
        ("A100-80GB", None, "a100_80_sxm"),
        ("V100", 16, "v100_16"),
        ("RTXPRO6000", 96, "rtx_pro_6000_server"),
        ("RTX6000-Ada", None, "rtx_6000_ada"),
        ("MI300X", 192, "mi300x"),
        ("XYZ", 80, None),
        ("", None, None),
    ],
)
def test_cards_are_known_as_price_lists_spell_them(name: str, memory: float | None, key: str | None) -> None:
    assert card_key(name, memory, FACTS.accelerators) == key


def test_a_skypilot_list_gives_card_hours_once_per_region() -> None:
    found = read_prices(SKYPILOT, Listing("nebius", "2026-11-20", "vms.csv"), FACTS.accelerators)
    assert [(o.accelerator, o.usd_per_hour, o.kind, o.count) for o in found] == [
        ("h100_sxm", 2.95, "on-demand", 8),
        ("h100_sxm", 1.25, "spot", 8),
        ("a100_80_sxm", 1.29, "on-demand", 1),
    ]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "accelerator,usd_per_hour\nXYZ,2\n", '{"offers": [{"x": 1}]}', "{"])
def test_what_is_no_price_list_is_refused(text: str) -> None:
    with pytest.raises(FactsError):
        read_prices(text, Listing("x", "2026-11-20", "f"), FACTS.accelerators)


def test_a_price_is_the_median_of_each_providers_newest_and_cheapest() -> None:
    offers = [
        offer("a", 9.0, "2026-01-01"),
        offer("a", 2.0),
        offer("a", 3.0),
        offer("b", 4.0),
        offer("c", 8.0),
        offer("undated", 1.0, None),
    ]
    price = PriceBook(offers).listed(card("h100"))
    assert price is not None
    assert (price.usd_per_hour, price.low, price.high, price.offers) == (4.0, 2.0, 8.0, 3)
    assert price.providers == ("a", "b", "c")


def test_contracts_go_before_lists_of_either_kind() -> None:
    listed = [offer("a", 5.0), offer("a", 2.0, kind="spot"), offer("b", 1.0, accelerator="l4")]
    mine = own_price("h100_sxm", 1.5, "on-demand", "2026-11-24")
    found = combined(listed, [mine])
    assert [(o.accelerator, o.usd_per_hour) for o in found] == [("l4", 1.0), ("h100_sxm", 1.5)]


def test_a_count_that_nobody_rents_is_marked() -> None:
    eights = [offer("aws", 6.0, count=8)]
    assert PriceBook(eights).counts(card("h100")) == (8,)
    assert PriceBook([*eights, offer("listed", 5.0)]).counts(card("h100")) == (8,), "a list price is of no machine"
    assert PriceBook([]).counts(card("h100")) is None
    plan = plan_for(plans_of("Qwen/Qwen3-32B", "h20"), "h20")
    assert not any("no known offer rents" in r for r in plan.reasons)  # nobody's price is known
    marked = plan_for(plans_of("Qwen/Qwen3-32B", "mi355x"), "mi355x")
    assert marked.count == 1
    assert "no known offer rents 1 of these in one machine; the next larger is 8" in marked.reasons


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return tmp_path / "team.db"


def answer(ask: Run, catalog: Path, *more: str) -> dict[str, object]:
    result = ask("--offline", "-m", "Qwen/Qwen3-32B", "--gpu", "H100", "--catalog", str(catalog), "--json", *more)
    assert result.code == ExitCode.OK, result.err
    price: dict[str, object] = json.loads(result.out)["answer"]["recommended"]["price"]
    return price


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gpuhunt leaves its file open
def test_gpuhunt_refreshes_from_a_folder(
    ask: Run, catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aws.csv").write_text(GPUHUNT)
    monkeypatch.setenv("GPUHUNT_CATALOG_DIR", str(tmp_path))
    result = ask("prices", "refresh", "--catalog", str(catalog), "--date", "2026-11-24")
    gc.collect()
    assert result.out == "3 prices of 2 cards from 1 providers, as of 2026-11-24.\n"
    price = answer(ask, catalog)
    assert (price["usd_per_hour"], price["providers"], price["newest"]) == (25.02, ["aws"], "2026-11-24"), (
        "eight for two"
    )
    assert answer(ask, catalog, "--spot")["usd_per_hour"] == 11.0
    assert "us-west-2" in ask("prices", "list", "h100", "--catalog", str(catalog)).out


def packed(provider: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(f"{provider}.csv", GPUHUNT if provider == "aws" else GPUHUNT.splitlines()[0] + "\n")
    return data.getvalue()


@pytest.fixture
def price_server() -> Iterator[str]:
    """What gpuhunt's publisher serves: each provider's version and archive, empty but for one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, provider, rest = self.path.split("/", 2)
            body = b"20261124" if rest == "version" else packed(provider)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_gpuhunt_refreshes_live(ask: Run, catalog: Path, price_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPUHUNT_CATALOG_DIR", raising=False)
    monkeypatch.setenv("GPUHUNT_CATALOG_URL", price_server)
    result = ask("prices", "refresh", "--provider", "aws", "--catalog", str(catalog))
    assert result.code == ExitCode.OK, result.err
    assert result.out.startswith("3 prices of 2 cards")
    assert "Traceback" not in result.err


def test_without_a_network_the_catalog_stays_as_it_is(ask: Run, catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPUHUNT_CATALOG_DIR", raising=False)
    monkeypatch.setenv("GPUHUNT_CATALOG_URL", "http://127.0.0.1:9")
    result = ask("prices", "refresh", "--catalog", str(catalog))
    assert result.code != ExitCode.OK
    assert result.err.splitlines()[-1].startswith("whichgpu: error: gpuhunt could not read its prices")
    assert "Traceback" not in result.err
    assert not catalog.exists()


def test_a_contract_is_kept_for_all_and_taken_back(ask: Run, catalog: Path) -> None:
    ask("prices", "set", "H100=1.99", "--provider", "CoreWeave", "--catalog", str(catalog))
    price = answer(ask, catalog)
    assert (price["usd_per_hour"], price["yours"], price["providers"]) == (1.99, True, ["CoreWeave"])
    assert answer(ask, catalog, "--price", "H100=1.50")["usd_per_hour"] == 1.5
    assert answer(ask, catalog, "--provider", "aws")["usd_per_hour"] == 1.99, "a contract is nobody's list"
    ask("prices", "set", "H100=2.05", "--provider", "CoreWeave", "--catalog", str(catalog))
    assert answer(ask, catalog)["usd_per_hour"] == 2.05
    ask("prices", "unset", "H100", "--provider", "CoreWeave", "--catalog", str(catalog))
    assert not answer(ask, catalog)["yours"]
    again = ask("prices", "unset", "H100", "--provider", "CoreWeave", "--catalog", str(catalog))
    assert again.code != ExitCode.OK


def test_a_price_file_and_a_provider_choose_prices(ask: Run, catalog: Path, tmp_path: Path) -> None:
    mine = tmp_path / "acme.csv"
    mine.write_text("accelerator,usd_per_hour,kind\nH100,1.75,on-demand\n")
    price = answer(ask, catalog, "--price-file", str(mine))
    assert (price["usd_per_hour"], price["providers"]) == (1.75, ["acme"])
    assert answer(ask, catalog, "--provider", "AWS")["providers"] == ["aws"]
    wrong = ask("--offline", "-m", "Qwen/Qwen3-32B", "--catalog", str(catalog), "--provider", "nobody")
    assert "Known providers: akash, aws, azure" in wrong.err
    missing = ask("--offline", "-m", "Qwen/Qwen3-32B", "--price-file", str(tmp_path / "no.csv"))
    assert "cannot be read: No such file" in missing.err


def test_the_newest_refresh_of_a_provider_counts(tmp_path: Path) -> None:
    store = Catalog(tmp_path / "c.db")

    def refresh(at: str, *offers: PriceOffer) -> int:
        stamp = Stamp(made_at=at, made_by="x", tool_version="0")
        return store.add(*(price_finding(o, False, stamp) for o in offers))

    refresh("2026-11-01T00:00:00", offer("a", 3.0), offer("a", 1.0, accelerator="l4"))
    refresh("2026-11-02T00:00:00", offer("b", 4.0))
    refresh("2026-11-03T00:00:00", offer("a", 2.5))
    assert [(o.provider, o.usd_per_hour) for o in store.prices()] == [("a", 2.5), ("b", 4.0)]
    assert refresh("2026-11-02T00:00:00", offer("b", 4.0)) == 0, "the same twice is one row"


def test_a_card_file_adds_a_card(ask: Run, tmp_path: Path) -> None:
    known = card("h100").model_dump(mode="json")
    mine = {**known, "key": "h100_odd", "name": "H100 of ours", "aliases": [], "usable_gib": 150.0}
    path = tmp_path / "cards.json"
    path.write_text(json.dumps({"accelerators": [mine]}))
    result = ask("--offline", "-m", "Qwen/Qwen3-32B", "--gpu-file", str(path), "--json")
    assert json.loads(result.out)["answer"]["recommended"]["accelerator"] == "h100_odd"
    path.write_text(ask("gpus", "h100_sxm", "--json").out.replace('"h100_sxm"', '"mine"').replace("H100 SXM5", "Mine"))
    result = ask("--offline", "-m", "Qwen/Qwen3-32B", "--gpu-file", str(path), "--gpu", "mine", "-q")
    assert "Mine" in result.out, "what is printed is what is read"
    for text, word in (
        ("[1]", "damaged"),
        (json.dumps([known | {"listed_as": ["h100:much"]}]), "damaged"),
        ("[{}]", "damaged"),
        ("[]", "no accelerator"),
    ):
        path.write_text(text)
        assert word in ask("--offline", "-m", "Qwen/Qwen3-32B", "--gpu-file", str(path)).err
