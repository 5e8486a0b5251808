"""Pools, verdicts and versions, against figures from outside."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning import ATLAS, FACTS, GIB, ONE, ask, card, footprint, model, plan_for, served
from whichgpu.inspect.records import Origin
from whichgpu.plan.case import Case
from whichgpu.plan.engine import Engines
from whichgpu.plan.errors import FactsError, UnknownVersionError
from whichgpu.plan.records import KvDtype, Layout, Precision, Verdict, Workload
from whichgpu.plan.runtime import batch_of, capture_sizes
from whichgpu.plan.sizing import Sizer

# llm-d-planner's accuracy campaign (commits a95e9f6, 6417620): vLLM 0.19.0 on H100 80GB, 0.95 of it, 8,192 tokens.
# (model, TP, KV cache, activations, KV pool in GiB, tokens as printed)
CAMPAIGN = [
    ("codellama/CodeLlama-7b-hf", 1, "auto", 0.77, 61.66, 126_256),
    ("google/gemma-2-27b-it", 1, "auto", 3.66, 20.59, 58_672),
    ("google/gemma-2-2b-it", 1, "auto", 3.62, 66.47, 670_160),
    ("google/gemma-3-4b-it", 1, "auto", 3.89, 62.51, 468_144),
    ("ibm-granite/granite-3.3-8b-instruct", 1, "auto", 0.85, 58.66, 384_432),
    ("meta-llama/Llama-3.1-8B-Instruct", 1, "fp8", 1.89, 58.11, 952_032),
    ("meta-llama/Llama-3.1-8B-Instruct", 1, "auto", 1.89, 58.11, 476_000),
    ("meta-llama/Llama-3.1-8B-Instruct", 2, "auto", 1.89, 63.76, 1_044_688),
    ("meta-llama/Llama-3.1-8B-Instruct", 4, "auto", 1.89, 67.44, 2_209_792),
    ("mistralai/Mistral-Small-3.1-24B-Instruct-2503", 1, "auto", 2.03, 28.19, 184_752),
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", 2, "auto", 1.21, 28.44, 465_936),
    ("openai/gpt-oss-20b", 1, "auto", 2.87, 58.47, 1_277_184),
    ("openai/gpt-oss-20b", 2, "auto", 2.87, 63.28, 2_764_768),
    ("Qwen/Qwen2.5-7B-Instruct", 1, "fp8", 2.21, 58.53, 2_192_000),
    ("Qwen/Qwen2.5-7B-Instruct", 1, "auto", 2.21, 58.53, 1_096_000),
    ("Qwen/Qwen2.5-7B-Instruct", 2, "auto", 2.21, 63.84, 2_390_592),
    ("Qwen/Qwen2.5-7B-Instruct", 4, "auto", 2.21, 67.34, 5_043_280),
    ("Qwen/Qwen3-30B-A3B", 1, "auto", 2.68, 15.41, 168_288),
]


@pytest.mark.parametrize(("name", "tp", "kv", "activations", "pool", "tokens"), CAMPAIGN)
def test_a_controlled_campaign(name: str, tp: int, kv: str, activations: float, pool: float, tokens: int) -> None:
    found = footprint(
        model(name), "h100", Layout(tensor_parallel=tp), utilisation=0.95, vllm="0.19.0", kv_dtype=KvDtype(kv)
    )
    assert found.pool / GIB == pytest.approx(pool, abs=0.25)
    assert found.pool_low / GIB <= pool <= found.pool_high / GIB
    assert found.printed_tokens == pytest.approx(tokens, rel=0.016)
    if name.startswith(("mistralai/Mixtral", "Qwen/Qwen3-30B")):
        activations -= sum(t.bytes for t in found.terms if t.name == "expert workspace") / GIB
    assert found.activations / GIB == pytest.approx(activations, abs=0.15)


# Single public logs: (model, card, TP, version, settings, pool in GiB).
LOGS = [
    ("meta-llama/Llama-3.1-8B-Instruct", "h100", 1, "0.11.0", {"utilisation": 0.9}, 51.38),
    ("Qwen/Qwen3-0.6B", "h100", 1, "0.11.0", {"utilisation": 0.9}, 64.45),
    ("openai/gpt-oss-20b", "h100", 1, "0.11.0", {"utilisation": 0.9}, 50.28),
    ("openai/gpt-oss-20b", "a100_80_sxm", 1, "0.19.0", {"utilisation": 0.65}, 36.56),
    ("google/gemma-4-26B-A4B", "a100_80_sxm", 1, "0.19.0", {"utilisation": 0.9, "eager": True}, 21.5),
    ("Qwen/Qwen3-VL-30B-A3B-Instruct", "h100_nvl", 1, "0.13.0", {"utilisation": 0.9}, 19.4),
    ("Qwen/Qwen3-235B-A22B-FP8", "rtx_pro_6000_server", 4, "0.27", {"utilisation": 0.9, "max_sequences": 32}, 27.85),
    ("Qwen/Qwen2.5-7B-Instruct", "a10g", 1, "0.22.0", {"max_sequences": 128}, 4.76),
    ("meta-llama/Llama-3.1-8B-Instruct", "rtx_3090", 1, "0.6.3", {"context": 20_000}, 3.81),
]


@pytest.mark.parametrize(("name", "key", "tp", "version", "settings", "pool"), LOGS)
def test_public_logs(name: str, key: str, tp: int, version: str, settings: dict[str, Any], pool: float) -> None:
    found = footprint(model(name), key, Layout(tensor_parallel=tp), vllm=version, **settings)
    assert found.pool_low / GIB <= pool <= found.pool_high / GIB
    assert found.pool / GIB == pytest.approx(pool, abs=0.35)


class TestEngines:
    def test_versions_fold_up_to_the_one_asked(self) -> None:
        old, new = FACTS.engines.of("0.19.1"), FACTS.engines.of(None)
        assert (old.utilisation, new.utilisation) == (0.9, 0.92)
        assert (old.graphs_charged, new.graphs_charged) == (False, True)
        assert (old.in_flight_steps, new.in_flight_steps) == (1, 2)
        assert new.version == FACTS.engines.newest
        assert len(new.sources) > len(old.sources)

    @pytest.mark.parametrize("text", ["v0.26.1rc1.dev608+g99a1", "~0.26.0-0.28 (latest)"])
    def test_versions_are_read_from_what_logs_say(self, text: str) -> None:
        assert FACTS.engines.of(text).in_flight_steps == 2

    def test_a_newer_version_says_so(self) -> None:
        assert FACTS.engines.of("0.99").newer_than_known
        notes = " ".join(ask("Qwen/Qwen3-8B", "h100_sxm", vllm="0.99").notes)
        assert "newer than the newest" in notes

    @pytest.mark.parametrize("text", ["latest", "0.1.0"])
    def test_what_is_no_known_version_is_refused(self, text: str) -> None:
        with pytest.raises(UnknownVersionError):
            FACTS.engines.of(text)

    @pytest.mark.parametrize("data", [b"", b"{}", b'{"newest": "0.32", "changes": [{"since": "0.5", "set": {}}]}'])
    def test_damaged_facts_are_one_error(self, data: bytes) -> None:
        with pytest.raises(FactsError):
            Engines(data)


class TestBatches:
    @pytest.mark.parametrize(
        ("key", "tokens", "sequences"),
        [("h100", 8192, 1024), ("b200", 16384, 1024), ("a100", 2048, 256), ("l4", 2048, 256), ("mi300x", 16384, 1024)],
    )
    def test_defaults_by_card(self, key: str, tokens: int, sequences: int) -> None:
        found = batch_of(card(key), FACTS.engines.of(None), Workload(context=8192, concurrency=1))
        assert (found.tokens, found.sequences) == (tokens, sequences)

    def test_what_the_user_sets_counts(self) -> None:
        workload = Workload(context=8192, concurrency=1, max_sequences=4096, batched_tokens=512)
        found = batch_of(card("h100"), FACTS.engines.of(None), workload)
        assert (found.tokens, found.sequences) == (512, 512)

    def test_capture_sizes(self) -> None:
        """51 sizes up to 512 (vLLM's log), 35 of them up to 256."""
        sizes = capture_sizes(512)
        assert (len(sizes), sizes[:5], sizes[-2:]) == (51, [1, 2, 4, 8, 16], [496, 512])
        assert sum(s <= 256 for s in sizes) == 35


class TestHonesty:
    def test_every_byte_of_the_card_is_accounted_for(self) -> None:
        for name in ("Qwen/Qwen3-8B", "deepseek-ai/DeepSeek-V3", "Qwen/Qwen2.5-VL-7B-Instruct"):
            found = footprint(model(name), "h200", Layout(tensor_parallel=8))
            assert sum(t.bytes for t in found.terms) == pytest.approx(found.budget - found.pool, abs=20)
            assert found.weights + found.activations + found.runtime + found.pool == found.budget
            assert all(t.low <= t.bytes <= t.high and t.because for t in found.terms)

    def test_what_nobody_measured_here_is_called_assumed(self) -> None:
        found = footprint(model("Qwen/Qwen3-8B"), "h100", Layout(tensor_parallel=2))
        origins = {t.name: t.origin for t in found.terms}
        assert origins["kernels"] is origins["links between cards"] is Origin.ASSUMED
        assert origins["attention"] is Origin.COMPUTED

    @pytest.mark.parametrize(("concurrency", "verdict"), [(1, Verdict.FITS), (400, Verdict.NO)])
    def test_far_from_the_edge_the_verdict_is_plain(self, concurrency: int, verdict: Verdict) -> None:
        assert footprint(model("Qwen/Qwen3-8B"), "h100", concurrency=concurrency).verdict is verdict

    def test_inside_the_error_it_is_tight_and_never_called_fitting(self) -> None:
        found = footprint(model("Qwen/Qwen3-8B"), "h100")
        assert found.max_sequences is not None
        at_the_edge = footprint(model("Qwen/Qwen3-8B"), "h100", concurrency=found.max_sequences + 1)
        assert at_the_edge.verdict is Verdict.TIGHT

    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(["Qwen/Qwen3-8B", "openai/gpt-oss-20b", "Qwen/Qwen3.5-27B", "deepseek-ai/DeepSeek-V2-Lite"]),
        st.sampled_from(["h100", "a100", "l40s", "b200", "mi300x"]),
        st.integers(1, 2000),
        st.integers(16, 40_000),
    )
    def test_asking_for_more_never_makes_it_fit(self, name: str, key: str, concurrency: int, context: int) -> None:
        order = [Verdict.FITS, Verdict.TIGHT, Verdict.NO]
        sizer = Sizer(served(model(name)))
        verdicts = [
            sizer.size(Case(Workload(context=c, concurrency=n), Precision.PUBLISHED, card(key), ONE)).verdict
            for c, n in ((context, concurrency), (context + 16, concurrency), (context, concurrency + 1))
        ]
        assert order.index(verdicts[1]) >= order.index(verdicts[0])
        assert order.index(verdicts[2]) >= order.index(verdicts[0])

    def test_starts_that_failed_for_memory_are_not_called_fitting(self) -> None:
        """Llama-3.1-8B on an RTX 3090 (0.6.3): 29,000 tokens did not fit; DeepSeek-R1 on one H100 (0.11) ran out."""
        small = footprint(model("meta-llama/Llama-3.1-8B-Instruct"), "rtx_3090", context=29_000, vllm="0.6.3")
        assert small.verdict is not Verdict.FITS
        assert footprint(model("deepseek-ai/DeepSeek-V3"), "h100", vllm="0.11.0").verdict is Verdict.NO


class TestRemedies:
    def test_each_is_recomputed_and_the_best_comes_first(self) -> None:
        found = plan_for(ask("meta-llama/Llama-3.1-8B-Instruct", "rtx_4090", context=32_768), "rtx_4090")
        assert found.fits  # on several cards; so ask for what no count holds
        cramped = ask("meta-llama/Llama-3.1-70B-Instruct", "gh200_96", concurrency=2)
        plan = plan_for(cramped, "gh200_96")
        assert plan.verdict is Verdict.NO
        flags = [r.flag for r in plan.remedies]
        assert flags[0] == "--quantization fp8"
        assert plan.remedies[0].verdict is Verdict.FITS
        order = [Verdict.FITS, Verdict.TIGHT, Verdict.UNKNOWN, Verdict.NO]
        assert [order.index(r.verdict) for r in plan.remedies] == sorted(order.index(r.verdict) for r in plan.remedies)

    def test_an_fp8_cache_holds_twice_the_tokens(self) -> None:
        plan = plan_for(ask("Qwen/Qwen3-32B", "gh200_96", concurrency=24), "gh200_96")
        cure = next(r for r in plan.remedies if r.flag == "--kv-cache-dtype fp8")
        assert "2.0 × tokens" in cure.effect

    def test_smaller_questions_come_last_among_what_fits(self) -> None:
        plan = plan_for(ask("Qwen/Qwen3-32B", "gh200_96", concurrency=16), "gh200_96")
        fitting = [r.effect == "asks for less" for r in plan.remedies if r.verdict is Verdict.FITS]
        assert any(fitting)
        assert fitting == sorted(fitting)

    def test_taking_the_advice_gives_what_was_promised(self) -> None:
        plan = plan_for(ask("Qwen/Qwen3-32B", "gh200_96", concurrency=16), "gh200_96")
        cure = next(r for r in plan.remedies if r.flag.startswith("--max-model-len"))
        after = plan_for(
            ask("Qwen/Qwen3-32B", "gh200_96", concurrency=16, context=int(cure.flag.split()[1])), "gh200_96"
        )
        assert after.verdict is cure.verdict is Verdict.FITS

    def test_plans_that_fit_need_none(self) -> None:
        assert plan_for(ask("Qwen/Qwen3-8B", "h100_sxm"), "h100_sxm").remedies == ()


def test_all_models_are_sized_on_all_cards() -> None:
    """No model of the atlas breaks the arithmetic on any card or layout."""
    every = tuple(a.key for a in FACTS.accelerators)
    for name in ATLAS.names()[::25]:
        assert ask(name, *every).plans
