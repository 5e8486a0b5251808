"""Recommendations, commands and hardware facts; the article's claims."""

from __future__ import annotations

import pytest

from tests.planning import FACTS, ONE, ask, footprint, model, plan_for, served
from whichgpu.inspect.mixer_kinds import MixerKind
from whichgpu.inspect.records import Mixer
from whichgpu.plan.commands import serve_command
from whichgpu.plan.errors import FactsError, UnknownAcceleratorError
from whichgpu.plan.hardware import find, parse_accelerators
from whichgpu.plan.price_book import PriceBook
from whichgpu.plan.prices import parse_prices
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import KvDtype, Layout, Precision, Verdict, Workload
from whichgpu.plan.sureness import handicap


class TestTheArticle:
    """Claims of a popular article, checked (facts: hardware and models as published)."""

    def test_v4_flash_does_not_fit_one_h100(self) -> None:
        assert plan_for(ask("deepseek-ai/DeepSeek-V4-Flash", "h100_sxm"), "h100_sxm").count >= 4
        assert plan_for(ask("deepseek-ai/DeepSeek-V4-Flash", "h100_sxm"), "h100_sxm", Precision.FP8).count >= 4

    def test_gpt_oss_20b_fits_one_card_of_24_gb(self) -> None:
        assert plan_for(ask("openai/gpt-oss-20b", "rtx_4090", context=4096, concurrency=1), "rtx_4090").count == 1

    def test_gpt_oss_120b_fits_one_h100_not_four(self) -> None:
        assert plan_for(ask("openai/gpt-oss-120b", "h100_sxm", concurrency=4), "h100_sxm").count == 1

    def test_qwen3_32b_fits_one_h100_with_a_small_cache(self) -> None:
        found = plan_for(ask("Qwen/Qwen3-32B", "h100_sxm", concurrency=1), "h100_sxm")
        assert found.count == 1
        assert found.footprint is not None
        assert found.footprint.capacity_tokens is not None
        assert 20_000 < found.footprint.capacity_tokens < 45_000

    def test_v4_sizes_are_not_v3s(self) -> None:
        assert model("deepseek-ai/DeepSeek-V4-Pro").parameters.total.value == pytest.approx(1.6e12, rel=0.01)
        assert model("deepseek-ai/DeepSeek-V3").parameters.without_mtp.value == pytest.approx(671e9, rel=0.001)


class TestRecommendation:
    def test_cheapest_fitting_plan_comes_first(self) -> None:
        result = ask("Qwen/Qwen3-32B")
        fitting = [p for p in result.plans if p.fits and p.precision is Precision.PUBLISHED]
        assert result.recommended == fitting[0]
        prices = [p.usd_per_hour * handicap(p) for p in fitting if p.usd_per_hour is not None]
        assert prices == sorted(prices), "of two prices the surer one may be higher, by a factor that is said"
        assert {p.vendor for p in result.alternatives}.isdisjoint({fitting[0].vendor})

    def test_counts_are_the_smallest_that_fit(self) -> None:
        found = plan_for(ask("meta-llama/Llama-3.1-70B-Instruct", "h100_sxm"), "h100_sxm")
        assert found.count == 4
        smaller = footprint(
            model("meta-llama/Llama-3.1-70B-Instruct"), "h100", Layout(tensor_parallel=2), concurrency=16
        )
        assert smaller.verdict is Verdict.NO

    def test_exactly_so_many_cards(self) -> None:
        usual = ask("Qwen/Qwen3-32B", "h100_sxm", "l4")
        for cards in (1, 2, 4, 8, 16):
            result = ask("Qwen/Qwen3-32B", "h100_sxm", "l4", cards=cards)
            assert {p.footprint.layout.cards for p in result.plans if p.footprint} == {cards}
            assert all(p.verdict is Verdict.NO for p in result.plans if cards == 1 and p.accelerator == "l4")
            if cards == plan_for(usual, "h100_sxm").count:
                assert plan_for(result, "h100_sxm") == plan_for(usual, "h100_sxm")

    def test_a_number_of_cards_that_the_asked_layout_has_not_is_said(self) -> None:
        found = plan_for(ask("Qwen/Qwen3-32B", "h100_sxm", cards=3, tensor_parallel=2), "h100_sxm")
        assert (found.verdict, found.count) == (Verdict.NO, 0)
        assert found.reasons == ("the layout TP2 has 2 cards, and 3 were asked for",)

    def test_nothing_fits_says_by_how_much(self) -> None:
        result = ask("moonshotai/Kimi-K3", "l4")
        assert result.recommended is None
        assert "short per card" in plan_for(result, "l4").reasons[0]

    def test_command(self) -> None:
        found = plan_for(
            ask("meta-llama/Llama-3.1-70B-Instruct", "h100_sxm", kv_dtype=KvDtype.FP8), "h100_sxm", Precision.FP8
        )
        assert found.command == (
            "vllm serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 2 --max-model-len 8192 --quantization fp8 --kv-cache-dtype fp8"
        )
        assert "--dtype fp8" not in (found.command or "")

    def test_fp8_of_an_fp8_checkpoint_is_itself_in_size(self) -> None:
        needs = {n.precision: n.weights_bytes for n in ask("deepseek-ai/DeepSeek-V3").needs}
        assert needs[Precision.FP8] == pytest.approx(needs[Precision.PUBLISHED], rel=0.01)
        assert needs[Precision.BF16] == pytest.approx(2 * 671.03e9, rel=0.001)

    def test_unknown_sizes_stay_unknown(self) -> None:
        base = model("Qwen/Qwen3-32B")
        unknown = base.model_copy(update={"tensors": (), "architecture": None})
        result = answer(unknown, Workload(context=8192, concurrency=1), FACTS)
        assert result.recommended is None
        assert {(n.weights_bytes, n.kv_bytes) for n in result.needs} == {(None, None)}

    def test_more_context_than_the_model_has_is_cut_and_said(self) -> None:
        result = ask("meta-llama/Llama-3.1-8B-Instruct", context=1_000_000)
        assert result.workload.context == 131_072
        assert result.notes[0].startswith("Asked for 1,000,000 tokens; the model allows 131,072")
        assert "--max-model-len 131072" in (plan_for(result, "h200_sxm").command or "")

    def test_an_unknown_cache_is_never_called_free(self) -> None:
        base = model("Qwen/Qwen3-32B")
        assert base.architecture is not None
        odd = Mixer(kind=MixerKind.FULL, layers=64)  # of no known heads
        changed = base.model_copy(update={"architecture": base.architecture.model_copy(update={"mixers": (odd,)})})
        result = answer(changed, Workload(context=8192, concurrency=1), FACTS)
        assert {n.kv_bytes for n in result.needs} == {None}
        assert result.recommended is not None
        found = result.recommended.footprint
        assert found is not None
        assert (found.kv_needed, found.capacity_tokens, found.max_sequences) == (None, None, None)
        assert any("Not all of its cache is known" in n for n in result.notes)

    def test_an_adapter_is_sent_to_its_base(self) -> None:
        adapter = model("Qwen/Qwen3-32B").model_copy(update={"adapter_of": "org/base"})
        result = answer(adapter, Workload(context=8192, concurrency=1), FACTS)
        assert result.recommended is None
        assert {p.reasons for p in result.plans} == {("an adapter runs on its base model; ask for org/base",)}

    @pytest.mark.parametrize(
        ("name", "changes", "precision", "word"),
        [
            ("black-forest-labs/FLUX.1-dev", {}, Precision.PUBLISHED, "diffusion"),
            ("Qwen/Qwen3-32B", {"kind": "file", "path": "/m/x.safetensors"}, Precision.PUBLISHED, "lone file"),
            ("Qwen/Qwen3-32B", {"kind": "folder", "path": "/m/x\n--trust"}, Precision.PUBLISHED, "control characters"),
            ("Qwen/Qwen3-32B", {}, Precision.INT4, "INT4"),
            ("deepseek-ai/DeepSeek-V3", {}, Precision.BF16, "BF16"),
        ],
    )
    def test_no_command_comes_with_its_reason(
        self, name: str, changes: dict[str, str], precision: Precision, word: str
    ) -> None:
        base = model(name)
        changed = base.model_copy(update={"source": base.source.model_copy(update=changes)})
        made = serve_command(served(changed), Workload(context=8192, concurrency=1), precision, ONE)
        assert made.text is None
        assert word in made.reasons[0]

    def test_a_folder_with_spaces_is_quoted(self) -> None:
        base = model("Qwen/Qwen3-32B")
        source = base.source.model_copy(update={"kind": "folder", "path": "/m/my model; rm"})
        made = serve_command(
            served(base.model_copy(update={"source": source})),
            Workload(context=8192, concurrency=1),
            Precision.PUBLISHED,
            ONE,
        )
        assert made.text == "vllm serve '/m/my model; rm' --max-model-len 8192"

    def test_architectures_that_vllm_lacks_are_named(self) -> None:
        assert "0.23.0" in ask("Qwen/Qwen-72B").plans[0].reasons[0]


class TestHardware:
    @pytest.mark.parametrize(
        ("name", "gib"),
        # torch totals in public logs (nvidia-smi: 81559, 143771, 183359 MiB; rocm-smi 206141652992 B)
        [
            ("H100", 79.18),
            ("h200", 139.8),
            ("B200", 178.35),
            ("a100-80gb", 79.25),
            ("L40S", 44.39),
            ("l4", 22.03),
            ("MI300X", 191.98),
        ],
    )
    def test_usable_memory_is_not_the_marketed_figure(self, name: str, gib: float) -> None:
        found = find(name, FACTS.accelerators)
        assert found.usable_gib == gib
        assert found.usable_gib * 2**30 / 1e9 != found.marketed_gb
        assert found.sources["memory"]

    def test_the_default_list(self) -> None:
        assert {a.key for a in FACTS.accelerators if a.default} == {
            "h100_sxm",
            "h200_sxm",
            "b200",
            "a100_80_sxm",
            "l40s",
            "l4",
            "mi300x",
        }

    def test_unknown_cards_are_refused_with_the_known_ones(self) -> None:
        with pytest.raises(UnknownAcceleratorError, match="H1000") as caught:
            find("H1000", FACTS.accelerators)
        assert "h100_sxm" in caught.value.hint

    def test_prices_are_medians_of_dated_offers(self) -> None:
        price = PriceBook(FACTS.offers).listed(find("h100", FACTS.accelerators))
        assert price is not None
        assert price.low <= price.usd_per_hour <= price.high
        assert price.oldest >= "2026-01-01"
        assert all(o.source and o.provider for o in FACTS.offers)

    @pytest.mark.parametrize("data", [b"", b"[]", b'{"accelerators": [{}]}', b'{"accelerators": 3}'])
    def test_damaged_facts_are_one_error(self, data: bytes) -> None:
        with pytest.raises(FactsError):
            parse_accelerators(data)
        with pytest.raises(FactsError):
            parse_prices(data)


@pytest.mark.parametrize("asked", [Precision.PUBLISHED, Precision.BF16])
def test_a_checkpoint_in_bf16_has_one_plan_under_two_names(asked: Precision) -> None:
    found = ask("Qwen/Qwen3-8B", "h100_sxm", "t4", precision=asked)
    published, bf16 = (plan_for(found, "h100_sxm", p) for p in (Precision.PUBLISHED, Precision.BF16))
    assert published.footprint is not None
    assert bf16.footprint is not None
    detailed = published.footprint if asked is Precision.PUBLISHED else bf16.footprint
    other = bf16.footprint if asked is Precision.PUBLISHED else published.footprint
    assert detailed.terms
    assert not other.terms
    assert other == detailed.model_copy(update={"terms": ()})
    assert (published.command, published.speed) == (bf16.command, bf16.speed)
    halved = plan_for(found, "t4", Precision.BF16)
    assert halved.verdict is Verdict.FITS
    assert "computed in FP16: the card has no BF16" in halved.reasons


def test_an_fp8_checkpoint_has_a_plan_of_its_own_at_bf16() -> None:
    found = ask("deepseek-ai/DeepSeek-V3", "h200_sxm")
    assert plan_for(found, "h200_sxm", Precision.BF16).count > plan_for(found, "h200_sxm").count
