"""Commands that start: what vLLM refuses is refused or set, with the reason."""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from benchmarks.follow import Release, came_with, differences
from benchmarks.starts import asked
from benchmarks.starts_compared import HELD_OUT, Outcome, command_requests, compared, rows_of
from benchmarks.starts_table import is_hole

from tests.conftest import Result
from tests.planning import ATLAS, FACTS, card, plan_for, served
from tests.planning import ask as answer_of
from tests.planning import model as model_of
from whichgpu.plan.errors import UnknownAcceleratorError
from whichgpu.plan.mixed import mixed_card, mixing_notes
from whichgpu.plan.own_settings import as_planned
from whichgpu.plan.records import KvDtype, Layout, Precision, StartCheck, Verdict, Workload
from whichgpu.plan.refusals import model_refusal
from whichgpu.plan.runtime import batch_of
from whichgpu.plan.sizing import Sizer
from whichgpu.trial.failures import explain
from whichgpu.trial.logs import read_log
from whichgpu.tui.words.exit_codes import ExitCode

Ask = Callable[..., Result]

HYBRID = "Qwen/Qwen3.5-27B"
VLLM_PYTHON = os.environ.get("WHICHGPU_VLLM_PYTHON")
"""Of vLLM's CPU build, where it is at hand."""


def words_of(command: str | None) -> list[str]:
    return shlex.split(command or "")


def limit_of(command: str | None) -> int | None:
    words = words_of(command)
    return int(words[words.index("--max-num-seqs") + 1]) if "--max-num-seqs" in words else None


class TestStateSlots:
    """vLLM 0.19 and later: max_num_seqs above the blocks of recurrent state ends a start (vllm issues 34094, 49064)."""

    @pytest.mark.parametrize(
        ("precision", "gpu", "vllm", "context", "share", "blocks"),
        [
            (Precision.INT4, "h100_sxm", "0.28.0", 132_000, 0.90, 969),
            (Precision.BF16, "rtx_pro_6000_ws", "0.27.0", 262_144, 0.95, 556),
        ],
        ids=["issue 49064", "recipe 831"],
    )
    def test_starts_that_were_refused_have_a_limit_now(
        self, precision: Precision, gpu: str, vllm: str, context: int, share: float, blocks: int
    ) -> None:
        load = {"precision": precision, "vllm": vllm, "context": context, "concurrency": 1, "cards": 1}
        result = answer_of(HYBRID, gpu, utilisation=share, utilisation_asked=True, **load)
        limit = plan_for(result, gpu, precision).sets["max_sequences"]
        assert 1 <= limit <= blocks, "what the real pool held"

    def test_the_command_and_the_reason_say_it(self) -> None:
        plan = plan_for(answer_of(HYBRID, "h100_sxm"), "h100_sxm")
        limit = limit_of(plan.command)
        assert plan.verdict is Verdict.FITS
        assert limit is not None
        assert limit >= 16, "what was asked is served"
        assert plan.footprint is not None
        assert plan.footprint.blocks is not None
        assert limit <= 0.95 * plan.footprint.blocks
        (reason,) = [r for r in plan.reasons if r.startswith(f"--max-num-seqs {limit}")]
        assert "refuses to start" in reason

    def test_it_is_planned_with_what_it_sets(self) -> None:
        plan = plan_for(answer_of(HYBRID, "h100_sxm"), "h100_sxm")
        again = plan_for(answer_of(HYBRID, "h100_sxm", max_sequences=int(plan.sets["max_sequences"])), "h100_sxm")
        assert again.footprint == plan.footprint
        assert again.sets == {}, "asked now"

    @pytest.mark.parametrize(
        ("model", "options"),
        [("Qwen/Qwen3-32B", {}), (HYBRID, {"eager": True}), (HYBRID, {"vllm": "0.18"})],
        ids=["no states", "no graphs", "an older vLLM"],
    )
    def test_where_vllm_does_not_look_nothing_is_set(self, model: str, options: dict[str, object]) -> None:
        plan = plan_for(answer_of(model, "h100_sxm", **options), "h100_sxm")
        assert limit_of(plan.command) is None
        assert plan.sets == {}

    def test_more_than_there_are_is_no_plan_of_so_few_cards(self, ask: Ask) -> None:
        words = ("-m", HYBRID, "--offline", "--gpu", "H100", "--cards", "1", "--json")
        free = json.loads(ask(*words).out)["answer"]["plans"][0]
        too_many = str(2 * free["footprint"]["blocks"])
        result = ask(*words, "--max-num-seqs", too_many)
        assert result.code == ExitCode.NOTHING_FITS
        assert all(p["command"] is None for p in json.loads(result.out)["answer"]["plans"] if p["verdict"] == "no")

    @pytest.mark.parametrize("target", ["vllm", "docker", "k8s", "sky"])
    def test_every_target_sets_it(self, ask: Ask, target: str) -> None:
        out = ask("command", "-m", HYBRID, "--offline", "--gpu", "H100", "--target", target).out
        assert "--max-num-seqs" in " ".join(out.split())

    def test_a_trial_starts_with_it(self, ask: Ask, fake: Callable[[str], str]) -> None:
        words = ("trial", "-m", HYBRID, "--offline", "--gpu", "H100", "--vllm-at", fake("ok"), "--dry-run")
        assert limit_of(ask(*words).out) is not None

    def test_a_plan_s_workload_is_what_its_command_has(self) -> None:
        result = answer_of(HYBRID, "h100_sxm")
        plan = plan_for(result, "h100_sxm")
        assert as_planned(result.workload, plan).max_sequences == limit_of(plan.command)


class TestNoLoader:
    @pytest.mark.parametrize("method", ["mlx", "exl3", "nobodys"])
    def test_what_vllm_can_not_read_has_no_command(self, method: str, ask: Ask, tmp_path: Path) -> None:
        config = json.loads((Path(__file__).parent / "families" / "Qwen__Qwen3-0.6B.json").read_text())
        config = config.get("config", config)
        quantisation = {"quant_method": method, "bits": 4, "group_size": 64}
        (tmp_path / "config.json").write_text(json.dumps(config | {"quantization_config": quantisation}))
        result = ask("-m", str(tmp_path), "--gpu", "L4")
        assert result.code == ExitCode.NOTHING_FITS
        assert f"no loader for {method} checkpoints" in " ".join(result.out.split())
        assert "vllm serve" not in result.out


class TestKernels:
    """vLLM 0.33 models/deepseek_v4/sparse_mla.py, v1/attention/backends/mla/*sparse*.py: compute capability 9, 10 or 12."""

    @pytest.mark.parametrize("model", ["deepseek-ai/DeepSeek-V4-Flash", "deepseek-ai/DeepSeek-V3.2"])
    @pytest.mark.parametrize("gpu", ["a100_80_sxm", "l4", "l40s", "rtx_3090"])
    def test_sparse_latent_attention_below_hopper(self, model: str, gpu: str) -> None:
        plan = plan_for(answer_of(model, gpu), gpu)
        assert (plan.verdict, plan.command) == (Verdict.NO, None)
        assert plan.reasons[0].startswith("vLLM 0.33: ")
        assert "served from compute capability 9 on" in plan.reasons[0]

    def test_an_older_release_that_was_not_asked_keeps_the_rule(self) -> None:
        plan = plan_for(answer_of("deepseek-ai/DeepSeek-V3.2", "l40s", vllm="0.20"), "l40s")
        assert "no kernel for sparse latent attention below compute capability 9" in plan.reasons[0]

    def test_on_hopper_and_without_an_indexer_it_is_there(self) -> None:
        assert plan_for(answer_of("deepseek-ai/DeepSeek-V3.2", "h200_sxm"), "h200_sxm").verdict is Verdict.FITS
        assert plan_for(answer_of("deepseek-ai/DeepSeek-V3", "a100_80_sxm"), "a100_80_sxm").layout is not None


class TestSelectors:
    """What vLLM's own selectors answered (``vllm_kernels.json``), as plans."""

    @pytest.mark.parametrize("gpu", ["t4", "a100_80_sxm", "rtx_3090"])
    @pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "deepseek-ai/DeepSeek-V3"])
    def test_no_kernel_reads_an_fp8_cache_below_ada(self, name: str, gpu: str) -> None:
        plan = plan_for(answer_of(name, gpu, kv_dtype="fp8"), gpu)
        assert (plan.verdict, plan.command) == (Verdict.NO, None)
        assert "FP8 KV cache is not supported" in plan.reasons[0]
        assert "--kv-cache-dtype auto starts" in plan.reasons[0]
        assert not [r for r in plan_for(answer_of(name, gpu), gpu).reasons if "cache" in r and "not supported" in r]

    @pytest.mark.parametrize("gpu", ["l40s", "h100_sxm", "b200", "rtx_5090"])
    def test_from_ada_on_it_is_read(self, gpu: str) -> None:
        plan = plan_for(answer_of("Qwen/Qwen3-8B", gpu, kv_dtype="fp8"), gpu)
        assert plan.verdict is Verdict.FITS
        assert plan.start is StartCheck.CHECKED

    def test_block_fp8_experts_are_not_cut_below_a_block_where_marlin_multiplies_them(self) -> None:
        """Qwen3-30B-A3B-FP8 on four T4: 768 / 4 = 192 columns."""
        plan = plan_for(answer_of("Qwen/Qwen3-30B-A3B-FP8", "t4"), "t4")
        assert plan.layout is not None
        assert plan.layout.expert_parallel or 768 // plan.layout.tensor_parallel % 128 == 0
        asked = answer_of("Qwen/Qwen3-30B-A3B-FP8", "t4", tensor_parallel=4)
        assert "No FP8 MoE backend" in plan_for(asked, "t4").reasons[0]
        assert plan_for(answer_of("Qwen/Qwen3-30B-A3B-FP8", "l40s", tensor_parallel=4), "l40s").verdict is Verdict.FITS

    def test_bf16_is_computed_as_fp16_where_a_card_has_none_but_for_models_that_overflow(self) -> None:
        assert plan_for(answer_of("Qwen/Qwen3-8B", "t4"), "t4").verdict is Verdict.FITS
        refused = plan_for(answer_of("google/gemma-3-12b-it", "t4"), "t4")
        assert refused.verdict is Verdict.NO
        assert "T4 has no BF16, and gemma3_text overflows" in refused.reasons[0]

    def test_cards_that_nobody_asked_about_say_so(self) -> None:
        plan = plan_for(answer_of("Qwen/Qwen3-8B", "mi300x"), "mi300x")
        assert plan.start is StartCheck.NOT_CHECKED
        assert any(reason.startswith("not checked:") for reason in plan.reasons)

    def test_indexed_latents_are_cached_in_fp8_on_data_centre_blackwell(self) -> None:
        """vLLM 0.32 models/config.py GlmMoeDsaForCausalLM: fp8_e4m3 on SM10x."""
        sizer = Sizer(served(model_of("zai-org/GLM-5")))
        assert sizer.kv_dtype(KvDtype.AUTO, card("b200").generation) == "fp8"
        assert sizer.kv_dtype(KvDtype.AUTO, card("h200_sxm").generation) == "bf16"
        assert sizer.kv_dtype(KvDtype.BF16, card("b200").generation) == "bf16"
        before = Sizer(served(model_of("zai-org/GLM-5"), "0.31"))
        assert before.kv_dtype(KvDtype.AUTO, card("b200").generation) == "bf16"


class TestCards:
    def test_shared_memory_leaves_the_host_its_own(self) -> None:
        plan = plan_for(answer_of("Qwen/Qwen3-8B", "gb10"), "gb10")
        assert words_of(plan.command)[-2:] == ["--gpu-memory-utilization", "0.84"]
        assert plan.sets == {"utilisation": 0.84}
        asked = plan_for(answer_of("Qwen/Qwen3-8B", "gb10", utilisation=0.7, utilisation_asked=True), "gb10")
        assert words_of(asked.command)[-1] == "0.7", "the user's goes before"

    def test_amd_names_its_image(self, ask: Ask) -> None:
        plan = plan_for(answer_of("Qwen/Qwen3-8B", "mi300x"), "mi300x")
        assert any("vllm/vllm-openai-rocm:v0.33.0" in r for r in plan.reasons)
        task = yaml.safe_load(
            ask("command", "-m", "Qwen/Qwen3-8B", "--offline", "--gpu", "MI300X", "--target", "sky").out
        )
        assert task["resources"]["image_id"] == "docker:vllm/vllm-openai-rocm:v0.33.0"
        assert "setup" not in task, "PyPI's wheel is CUDA's"


class TestOptionsWithoutAnObject:
    def test_drafts_and_encoders_that_a_model_has_not(self) -> None:
        plan = plan_for(answer_of("Qwen/Qwen3-8B", "h100_sxm", speculative_tokens=2, text_only=True), "h100_sxm")
        assert not {"--speculative-config", "--language-model-only"} & set(words_of(plan.command))
        both = plan_for(answer_of(HYBRID, "h100_sxm", speculative_tokens=2, text_only=True), "h100_sxm")
        assert {"--speculative-config", "--language-model-only"} <= set(words_of(both.command))


class TestLayouts:
    def test_counts_that_people_run(self) -> None:
        """local-inference-lab/rtx6kpro#7: six cards as TP2 x PP3, in use for months."""
        load = {
            "precision": Precision.FP8,
            "context": 98_304,
            "cards": 6,
            "utilisation": 0.87,
            "utilisation_asked": True,
        }
        gpu = "rtx_pro_6000_ws"
        result = answer_of(
            "Qwen/Qwen3.5-397B-A17B", gpu, kv_dtype="fp8", batched_tokens=32_768, max_sequences=128, **load
        )
        plan = plan_for(result, gpu, Precision.FP8)
        assert plan.layout is not None
        assert (plan.verdict, plan.layout.label) == (Verdict.FITS, "TP2 PP3")

    @pytest.mark.parametrize("cards", [3, 5, 6, 7, 10, 12])
    def test_any_count_has_a_layout_that_vllm_takes(self, cards: int) -> None:
        plan = plan_for(answer_of("Qwen/Qwen3-32B", "h100_sxm", cards=cards), "h100_sxm")
        assert plan.layout is not None
        assert plan.layout.cards == cards
        assert 64 % plan.layout.tensor_parallel == 0, "its heads"

    @pytest.mark.parametrize(
        ("words", "label"),
        [
            (("--layout", "TP2xPP3"), "TP2 PP3"),
            (("--layout", "dp8+ep"), "DP8 EP"),
            (("--layout", "tp4"), "TP4"),
            (("--layout", "TP2xPP3", "--pp", "2"), "TP2 PP2"),
            (("--tp", "4", "--pp", "2"), "TP4 PP2"),
            (("--tensor-parallel-size", "8", "--enable-expert-parallel"), "TP8 EP"),
            (("--data-parallel-size", "4", "--ep"), "DP4 EP"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
    )
    def test_a_layout_that_is_named_is_the_one_that_is_planned(
        self, words: tuple[str, ...], label: str, ask: Ask
    ) -> None:
        result = ask("-m", "Qwen/Qwen3-235B-A22B", "--offline", "--gpu", "B200", "--context", "4096", "--json", *words)
        plan = json.loads(result.out)["answer"]["plans"][0]
        layout = Layout.model_validate(plan["layout"] or plan["footprint"]["layout"])
        assert layout.label == label

    def test_deepseek_v4_pro_as_people_ask_for_it(self, ask: Ask) -> None:
        """vllm-project/recipes#381: DP8 + EP8 on 8 x H200, TP4, PP4."""
        words = (
            "-m",
            "deepseek-ai/DeepSeek-V4-Pro",
            "--offline",
            "--gpu",
            "H200",
            "--context",
            "800000",
            "--concurrency",
            "1",
        )
        for layout in ("DP8xEP", "TP4", "PP4"):
            result = ask(*words, "--kv-cache-dtype", "fp8", "--layout", layout)
            assert result.code in (ExitCode.OK, ExitCode.NOTHING_FITS)
            assert "H200" in result.out

    @pytest.mark.parametrize("text", ["", "TP", "TPx", "TP2xTP3", "2", "TP0", "TP99999", "XP4", "\x1b[2J"])
    def test_what_is_no_layout(self, text: str, ask: Ask) -> None:
        result = ask("-m", "Qwen/Qwen3-8B", "--offline", "--layout", text)
        assert (result.code, "\x1b" in result.err) == (ExitCode.USAGE, False)

    def test_what_vllm_refuses_says_why(self, ask: Ask) -> None:
        result = ask("-m", "Qwen/Qwen3-8B", "--offline", "--gpu", "H100", "--tp", "3")
        assert result.code == ExitCode.NOTHING_FITS
        assert "32 attention heads do not divide by 3" in result.out

    def test_vllm_s_own_names_are_taken_everywhere(self, ask: Ask) -> None:
        ours = ("--context", "4096", "--kv-dtype", "fp8", "--tp", "2")
        theirs = ("--max-model-len", "4096", "--kv-cache-dtype", "fp8", "--tensor-parallel-size", "2")
        base = ("command", "-m", "Qwen/Qwen3-8B", "--offline", "--gpu", "H100")
        assert ask(*base, *ours).out == ask(*base, *theirs).out != ""


_STARTED = "(EngineCore pid=1) INFO 05-11 10:01:20 [gpu_model_runner.py:4820] Model loading took 57.11 GiB memory and 61.2 seconds\n"


class TestRefusalsInLogs:
    """What vLLM prints when it refuses to start, by version."""

    @pytest.mark.parametrize(
        ("message", "kind", "words"),
        [
            (
                (
                    "ValueError: To serve at least one request with the models's max seq len (131072), (4.54 GiB KV cache is needed, which is"
                    " larger than the available KV cache memory (1.71 GiB). Based on the available memory, the estimated maximum model length"
                    " is 49264."
                ),
                "cache too small",
                ("49264", "131072"),
            ),
            (
                "ValueError: Free memory on device (67.24/79.25 GiB) on startup is less than desired GPU memory utilization (0.9, 71.33 GiB).",
                "busy",
                ("67.24", "79.25"),
            ),
            (
                "ValueError: Free memory on device cuda:0 (67.24/79.25 GiB) on startup is less than desired GPU memory utilization (0.9).",
                "busy",
                ("67.24", "79.25"),
            ),
            (
                (
                    "ValueError: max_num_seqs (1024) exceeds available Mamba cache blocks (524). Each decode sequence requires one Mamba cache"
                    " block, so CUDA graph capture cannot proceed."
                ),
                "too many sequences for the state",
                ("--max-num-seqs 524",),
            ),
            (
                (
                    "RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy requests. Please try lowering"
                    " `max_num_seqs` or `gpu_memory_utilization` when initializing the engine."
                ),
                "out of memory",
                ("--max-num-seqs below 1024",),
            ),
            (
                (
                    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 594.00 MiB. GPU 0 has a total capacity of 44.40 GiB of which"
                    " 402.31 MiB is free."
                ),
                "out of memory",
                ("594.00 MiB were asked for", "402.31 MiB were free"),
            ),
            (
                "ValueError: Total number of attention heads (32) must be divisible by tensor parallel size (3).",
                "layout",
                ("32 attention heads do not divide by 3",),
            ),
        ],
        ids=["0.11: models's", "0.9: busy", "busy", "state", "sampler", "free", "heads"],
    )
    def test_each_is_a_cause(self, message: str, kind: str, words: tuple[str, ...], ask: Ask, tmp_path: Path) -> None:
        path = tmp_path / "vllm.log"
        path.write_text(f"{_STARTED}(EngineCore pid=1) ERROR 05-11 10:01:52 [core.py:1] {message}\n")
        said = " ".join(ask("read-log", str(path)).out.split())
        assert all(word in said for word in words), said
        assert explain(path.read_text()).kind == kind

    def test_the_record_has_the_reason(self, ask: Ask, tmp_path: Path) -> None:
        path = tmp_path / "vllm.log"
        path.write_text(
            f"{_STARTED}ERROR 05-11 10:01:52 [core.py:1] ValueError: max_num_seqs (1024) exceeds available Mamba cache blocks (524)\n"
        )
        record = json.loads(ask("read-log", str(path), "--json").out)
        assert record["failure"]["kind"] == "too many sequences for the state"
        path.write_text(_STARTED)
        assert json.loads(ask("read-log", str(path), "--json").out)["failure"] is None

    @pytest.mark.parametrize(
        ("text", "field", "value"),
        [
            ("INFO worker.py:232] Memory profiling results: non_torch_memory=0.35GiB kv_cache_size=2.89GiB gpu_memory_utilization=0.90",
             "pool_bytes", round(2.89 * 2**30)),
            ("INFO executor_base.py:110] # CUDA blocks: 5096, # CPU blocks: 2730", "tokens", 81_536),
            ("INFO gpu_executor.py:113] # GPU blocks: 1478, # CPU blocks: 2048", "tokens", 23_648),
        ],
        ids=["0.6.4", "0.7.2", "0.6"],
    )  # fmt: skip
    def test_figures_of_older_versions(self, text: str, field: str, value: int) -> None:
        assert getattr(read_log(text).memory, field) == value

    def test_engines_are_summed(self, ask: Ask, tmp_path: Path) -> None:
        """Eight data-parallel engines of 19.61 sequences (vllm issue 51454)."""
        path = tmp_path / "vllm.log"
        line = "(EngineCore_DP{0} pid=50{0}) INFO 08-07 21:34:41 [kv_cache_utils.py:1734] Maximum concurrency for 1,048,576 tokens per request: 19.61x\n"
        path.write_text("".join(line.format(n) for n in range(8)))
        record = json.loads(ask("read-log", str(path), "--json").out)
        assert (record["engines"], record["memory"]["concurrency"], record["concurrency_all"]) == (8, 19.61, 156.88)
        assert "8, each as above; 156.88 × 1,048,576 in all" in ask("read-log", str(path)).out

    def test_a_log_that_only_stops_has_not_ended(self, ask: Ask, tmp_path: Path) -> None:
        path = tmp_path / "vllm.log"
        path.write_text(_STARTED)
        result = ask("read-log", str(path))
        assert result.code == ExitCode.OK
        assert "ended" not in result.out

    @pytest.mark.parametrize("text", ["", "hello\n", "Jan 1 sshd[1]: Accepted publickey\n"])
    def test_what_is_no_log_of_vllm_is_said(self, text: str, ask: Ask, tmp_path: Path) -> None:
        path = tmp_path / "x.log"
        path.write_text(text)
        result = ask("read-log", str(path))
        assert (result.code, "holds nothing that vLLM prints" in result.err) == (ExitCode.UNREADABLE, True)


class TestTheFreeFix:
    """Before another card is rented, vLLM keeps no memory for sequences that nobody asked for."""

    def test_a_smaller_limit_goes_before_a_second_card(self) -> None:
        plan = plan_for(answer_of("openai/gpt-oss-120b", "h100_sxm"), "h100_sxm")
        assert (plan.verdict, plan.count) == (Verdict.FITS, 1)
        assert plan.sets == {"max_sequences": 64}
        assert limit_of(plan.command) == 64
        assert any("the 16 asked are served" in r for r in plan.reasons)

    def test_it_leaves_twice_the_asked_load(self) -> None:
        plan = plan_for(answer_of("openai/gpt-oss-120b", "h100_sxm", concurrency=100, context=2048), "h100_sxm")
        assert plan.sets.get("max_sequences", 256) >= 200

    def test_what_the_user_set_stays(self) -> None:
        plan = plan_for(answer_of("openai/gpt-oss-120b", "h100_sxm", max_sequences=1024), "h100_sxm")
        assert plan.sets == {}
        assert plan.count != 1 or plan.verdict is not Verdict.FITS

    def test_where_all_fits_nothing_is_set(self) -> None:
        assert plan_for(answer_of("Qwen/Qwen3-8B", "h100_sxm"), "h100_sxm").sets == {}


class TestVllm033:
    """What 0.33 changed: pools of one H100 with its second sampler pass, batch tiers, states, classes."""

    @pytest.mark.parametrize(
        ("model", "vllm", "gib"),
        [("Qwen/Qwen3-8B", "0.32", 54.99), ("Qwen/Qwen3-8B", "0.33", 53.67),
         ("openai/gpt-oss-120b", "0.32", 4.34), ("openai/gpt-oss-120b", "0.33", 2.57)],
    )  # fmt: skip
    def test_the_sampler(self, model: str, vllm: str, gib: float) -> None:
        result = answer_of(model, "h100_sxm", vllm=vllm, max_sequences=1024, cards=1)
        foot = plan_for(result, "h100_sxm").footprint
        assert foot is not None
        assert foot.pool / 2**30 == pytest.approx(gib, abs=0.01)

    def test_gb10_is_on_the_small_tier(self) -> None:
        load = Workload(context=8192, concurrency=16)
        tiers = [batch_of(card("gb10"), FACTS.engines.of(vllm), load) for vllm in ("0.32", "0.33")]
        assert [tuple(tier) for tier in tiers] == [(8192, 1024), (2048, 256)]

    def test_delta_nets_keep_a_block_more_where_flashinfer_prefills(self) -> None:
        def states(vllm: str, gpu: str) -> int:
            foot = plan_for(answer_of("Qwen/Qwen3-Next-80B-A3B-Instruct", gpu, vllm=vllm, cards=8), gpu).footprint
            assert foot is not None
            return foot.kv_needed or 0

        assert states("0.33", "h100_sxm") > states("0.32", "h100_sxm")
        assert states("0.33", "a100_80_sxm") == states("0.32", "a100_80_sxm")

    @pytest.mark.parametrize("name", ["Step5ForCausalLM", "BeamForCausalLM", "Dots3NoteForCausalLM"])
    def test_classes_for_one_vendor_are_refused_on_another(self, name: str, ask: Ask, tmp_path: Path) -> None:
        config = json.loads((Path(__file__).parent / "families" / "Qwen__Qwen3-0.6B.json").read_text())["config"]
        (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": [name]}))
        out = " ".join(ask("-m", str(tmp_path), "--gpu", "MI300X").out.split())
        assert f"has {name} for NVIDIA cards alone" in out
        assert "for NVIDIA cards alone" not in " ".join(ask("-m", str(tmp_path), "--gpu", "H100").out.split())


class TestFollowing:
    def test_a_registry_is_read_from_python_that_never_runs(self, tmp_path: Path) -> None:
        models = tmp_path / "vllm" / "model_executor" / "models"
        (models.parent / "layers" / "quantization").mkdir(parents=True)
        models.mkdir(parents=True)
        own = tmp_path / "vllm" / "models" / "ours"
        own.mkdir(parents=True)
        tables = {
            "_TEXT_GENERATION_MODELS": {"A": ("a", "A"), "B": ("vllm.models.ours", "B")},
            **{
                name: {}
                for name in ("_EMBEDDING_MODELS", "_LATE_INTERACTION_MODELS", "_REWARD_MODELS", "_MULTIMODAL_MODELS")
            },
            **{
                name: {}
                for name in ("_TOKEN_CLASSIFICATION_MODELS", "_TRANSFORMERS_SUPPORTED_MODELS", "_OOT_SUPPORTED_MODELS")
            },
            "_SEQUENCE_CLASSIFICATION_MODELS": {"A": ("a", "A")},
            "_TRANSFORMERS_BACKEND_MODELS": {},
            "_PREVIOUSLY_SUPPORTED_MODELS": {"Old": "0.9"},
        }
        text = "raise SystemExit('it ran')\n" + "".join(f"{name} = {value!r}\n" for name, value in tables.items())
        (models / "registry.py").write_text(text)
        (models / "a.py").write_text("class Base(SupportsPP): pass\nclass A(Base): pass\n")
        (own / "__init__.py").write_text("from .nvidia.model import B\n")
        (models.parent / "layers" / "quantization" / "__init__.py").write_text('X = {"fp8": 1}\n')
        registry = Release(tmp_path / "vllm").registry()
        assert registry["supported"] == ["A", "B"]
        assert (registry["pooling"], registry["generating_too"]) == (["A"], ["A"])
        assert registry["vendors"] == {"B": ["nvidia"]}
        assert registry["removed"] == {"Old": "0.9"}
        assert "fp8" in registry["quantisations"]
        assert "A" not in registry["without_pipeline_parallel"]
        assert list(differences({**registry, "supported": ["A", "C"]}, registry)) == [
            "supported: + B",
            "supported: - C",
        ]


class TestCures:
    """What would make it fit is never against what was asked."""

    def test_no_more_cards_than_were_asked_for(self) -> None:
        load = {"vllm": "0.20", "context": 16_384, "concurrency": 1, "utilisation": 0.95, "utilisation_asked": True}
        result = answer_of("Qwen/Qwen3-30B-A3B-FP8", "rtx_5090", cards=1, **load)
        cures = plan_for(result, "rtx_5090").remedies
        assert cures[0].flag.startswith("a 4-bit checkpoint")
        assert cures[0].verdict is Verdict.FITS
        assert not [c for c in cures if "parallel" in c.flag]

    def test_no_other_layout_than_the_one_that_was_named(self) -> None:
        result = answer_of("Qwen/Qwen3-32B", "rtx_5090", tensor_parallel=2)
        assert not [c for c in plan_for(result, "rtx_5090").remedies if "parallel" in c.flag]

    def test_the_fewest_cards_come_first(self) -> None:
        result = answer_of("meta-llama/Llama-3.1-70B-Instruct", "l40s", precision=Precision.BF16, cards=None)
        fitting = [c.flag for c in plan_for(result, "l40s", Precision.BF16).remedies if c.verdict is Verdict.FITS]
        sizes = [
            int(words[words.index("--tensor-parallel-size") + 1])
            for f in fitting
            if "--tensor-parallel-size" in (words := f.split())
        ]
        assert sizes == sorted(sizes)

    def test_four_bits_are_no_cure_for_four_bits(self) -> None:
        result = answer_of("openai/gpt-oss-120b", "l4", cards=1)
        assert not [c for c in plan_for(result, "l4").remedies if "4-bit" in c.flag]

    @pytest.mark.parametrize("gpu", ["rtx_3090", "a100_80_sxm", "t4", "l40s"])
    def test_none_is_what_vllm_refuses(self, gpu: str) -> None:
        """An FP8 cache is no cure below SM89."""
        result = answer_of("Qwen/Qwen3-8B", gpu, cards=1, context=32_768, concurrency=64, precision=Precision.FP8)
        flags = [c.flag for c in plan_for(result, gpu, Precision.FP8).remedies]
        assert flags
        assert ("--kv-cache-dtype fp8" in flags) == (gpu == "l40s")


class TestMixedCards:
    """Different cards in one machine do what the weakest can."""

    def test_every_card_counts_as_the_smallest_the_slowest_and_the_oldest(self) -> None:
        cards = [card(name) for name in ("rtx_3090", "rtx_5090", "l4")]
        mixed = mixed_card(cards)
        assert mixed.usable_gib == min(c.usable_gib for c in cards)
        assert mixed.bandwidth_gbs == card("l4").bandwidth_gbs
        assert mixed.compute_capability == 8.6
        assert mixed.node_counts == (3,)
        assert any("RTX 5090" in note for note in mixing_notes(cards))

    def test_other_vendors_and_lone_cards_are_refused(self) -> None:
        for names in (("rtx_3090", "mi300x"), ("rtx_3090",)):
            with pytest.raises(UnknownAcceleratorError):
                mixed_card([card(name) for name in names])

    def test_the_command_line_plans_for_all_of_them_at_the_price_of_all(self, ask: Ask) -> None:
        words = ("--offline", "--gpu", "3090:$0.2", "--gpu", "4090:$0.4", "--mixed", "--json")
        answer = json.loads(ask("--model", "Qwen/Qwen3-8B", *words).out)
        plan = answer["answer"]["recommended"]
        assert (plan["count"], plan["usd_per_hour"]) == (2, 0.6)
        assert "--tensor-parallel-size 2" in plan["command"]
        assert any("Mixed cards" in warning for warning in answer["warnings"])


class TestClassesByVersion:
    """A class is there from the release that brought it on."""

    def test_an_older_version_than_the_class_is_refused_with_the_version_that_has_it(self) -> None:
        name, since = next((n, v) for n, v in FACTS.architectures["since"].items() if v == "0.33")
        found = model_of("Qwen/Qwen3-8B")
        renamed = found.model_copy(
            update={"architecture": found.architecture.model_copy(update={"names": (name,)})}  # type: ignore[union-attr]
        )
        for version, refused in (("0.32", True), (since, False)):
            reason = model_refusal(served(renamed, version), card("h100_sxm"))
            assert (reason is not None) is refused
            assert not refused or f"came with {since}" in (reason or "")

    def test_following_a_release_dates_what_is_new(self) -> None:
        known = {"supported": ["A", "B"], "since": {"B": "0.30", "Gone": "0.29"}}
        registry = {"supported": ["A", "B", "C"], "vllm": "0.34"}
        assert came_with(known, registry) == {"B": "0.30", "C": "0.34"}


class TestBesideVllm:
    """Kept answers of vLLM itself, about whole models (``docs/starts.md``)."""

    def test_no_false_start_and_few_false_refusals(self) -> None:
        cells = list(compared(rows_of(HELD_OUT), ATLAS.find))
        counts = Counter(cell.outcome for cell in cells)
        assert len(cells) >= 1000
        assert not [cell for cell in cells if cell.outcome is Outcome.FALSE_START]
        assert counts[Outcome.FALSE_REFUSAL] <= 0.01 * len(cells)
        assert counts[Outcome.NOT_CHECKED] <= 0.06 * len(cells)

    def test_vllm_says_the_same_of_our_commands(self) -> None:
        """Its own parser and configuration take every command for nine kinds of models on twelve cards."""
        if not VLLM_PYTHON:
            pytest.skip("WHICHGPU_VLLM_PYTHON is not set")
        folders = [folder.resolve() for folder in sorted((Path(__file__).parent / "judged").iterdir())]
        requests = [row for row in command_requests(folders, "0.32") if row["checked"]]
        told = list(asked(requests, VLLM_PYTHON))
        assert len(told) == len(requests) >= 90
        assert [row for row in told if "refused" in row and not is_hole(f"!{row['refused']}")] == []
