"""``read-log``: what vLLM 0.5 to 0.33 print, one line for each message and each figure, in the form of the versions that print it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result
from whichgpu.trial import logs
from whichgpu.trial.causes import CAUSES
from whichgpu.trial.failures import explain, shows_an_end
from whichgpu.trial.logs import read_log
from whichgpu.trial.pasted import decoded, read_pasted, starts_in
from whichgpu.trial.records import FailureKind as Kind
from whichgpu.trial.records import StartStage as Stage
from whichgpu.tui.words.exit_codes import ExitCode

Run = Callable[..., Result]
GIB = 2**30


def _v1(message: str, level: str = "ERROR", process: str = "EngineCore pid=41") -> str:
    return f"({process}) {level} 06-02 09:14:07 [core.py:77] {message}\n"


def _v0(message: str, level: str = "ERROR") -> str:
    return f"{level} 01-20 18:40:11 worker.py:251] {message}\n"


_OOM = (
    "torch.OutOfMemoryError: {0} out of memory. Tried to allocate 1.25 GiB. GPU 1 has a total capacity of 39.50 GiB of which 700.00 MiB is free."
    " Including non-PyTorch memory, this process has {1} GiB memory in use."
)

MESSAGES: dict[str, tuple[str, Kind, dict[str, object]]] = {
    "0.11: the typo, an estimate": (
        _v1("ValueError: To serve at least one request with the models's max seq len (65536), (8.00 GiB KV cache is needed, which is larger than the"
            " available KV cache memory (3.25 GiB). Based on the available memory,  the estimated maximum model length is 26624. Try increasing"),
        Kind.CACHE_TOO_SMALL, {"asked": 65536, "would_do": 26624, "needed_bytes": 8 * GIB, "free_bytes": round(3.25 * GIB)}),
    "0.32: without the typo": (
        _v1("ValueError: To serve at least one request with the model's max seq len (262144), (16.0 GiB KV cache is needed, which is larger than the"
            " available KV cache memory (9.5 GiB). Based on the available memory, the estimated maximum model length is 155648. Try increasing"),
        Kind.CACHE_TOO_SMALL, {"asked": 262144, "would_do": 155648}),
    "0.7.3: GB, no estimate": (
        _v1("ValueError: To serve at least one request with the models's max seq len (32768), (4.5 GB KV cache is needed, which is larger than the"
            " available KV cache memory (2.125 GB). Try increasing `gpu_memory_utilization`"),
        Kind.CACHE_TOO_SMALL, {"asked": 32768, "would_do": None, "free_bytes": round(2.125 * GIB)}),
    "0.7-0.33: broken in two": (
        ("ValueError: To serve at least one request with the model's max seq len (32768), (4.5\nGiB KV cache is needed, which is larger than the available KV"
         " cache memory\n(2.125 GiB).\n"),
        Kind.CACHE_TOO_SMALL, {"asked": 32768, "free_bytes": None}),
    "an estimate without the rest": (
        "ValueError: the model's max seq len (4096), ... the estimated maximum model length is 896.\n", Kind.CACHE_TOO_SMALL,
        {"asked": 4096, "would_do": 896, "needed_bytes": None}),
    "V0, 0.5-0.10": (
        _v0("ValueError: The model's max seq len (16384) is larger than the maximum number of tokens that can be stored in KV cache (9008). Try"),
        Kind.CACHE_TOO_SMALL, {"asked": 16384, "would_do": 9008}),
    "V0 to V1: nothing left": (
        _v0("ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine."),
        Kind.CACHE_TOO_SMALL, {"would_do": None}),
    "0.14-0.33: auto length": (
        _v1("ValueError: Cannot auto-fit max_model_len: not enough GPU memory available to serve even a single token."), Kind.CACHE_TOO_SMALL, {}),
    "0.25-0.33: videos on the card": (
        _v1("ValueError: frontend multimodal GPU decoding reserves 6.0 GiB (4.0 GiB raw-frame budget, 2.0 GiB decoder cache budget), but only 5.5 GiB is"
            " available for the KV cache. Reduce mm_ipc_gpu_memory_gb"),
        Kind.CACHE_TOO_SMALL, {"needed_bytes": 6 * GIB, "free_bytes": round(5.5 * GIB)}),
    "CPU, 0.20-0.33: asked": (
        _v1("ValueError: Available memory on node 0 (7.5/31.0 GiB) on kv cache allocation is less than requested memory for kv (24.0 GiB). Decrease"),
        Kind.MEMORY, {"needed_bytes": 24 * GIB}),
    "CPU, 0.20-0.33: by share": (
        _v1("ValueError: Available memory on node 1 (7.5/31.0 GiB) on kv cache allocation is less than requested memory for kv (12.0/20.0 GiB). Reduce"),
        Kind.MEMORY, {}),
    "CPU, 0.33: weights": (
        _v1("ValueError: The worker already uses 20.5 GiB (model weights and runtime), more than the 15.5 GiB of CPU memory reserved for it on node 0,"),
        Kind.MEMORY, {"needed_bytes": round(20.5 * GIB), "free_bytes": round(15.5 * GIB)}),
    "CPU, 0.20-0.32: start": (
        _v1("ValueError: Available memory on node 0 (3.0/31.0 GiB) on startup is less than desired CPU memory utilization (0.9, 27.9 GiB). On the CPU"),
        Kind.MEMORY, {"free_bytes": 3 * GIB, "total_bytes": 31 * GIB}),
    "0.9.1-0.13: busy, no name": (
        _v1("ValueError: Free memory on device (11.5/47.5 GiB) on startup is less than desired GPU memory utilization (0.9, 42.75 GiB). Decrease"),
        Kind.BUSY, {"free_bytes": round(11.5 * GIB), "total_bytes": round(47.5 * GIB)}),
    "0.14-0.33: busy, named": (
        _v1("ValueError: Free memory on device cuda:3 (11.5/47.5 GiB) on startup is less than desired GPU memory utilization (0.92, 43.7 GiB)."),
        Kind.BUSY, {"free_bytes": round(11.5 * GIB)}),
    "0.32: busy beside another's weights": (
        _v1("ValueError: Free memory on device cuda:0 (11.5/47.5 GiB) on startup is less than the engine's budget after excluding external process's"
            " weights (0.9, 42.75 GiB)."),
        Kind.BUSY, {"total_bytes": round(47.5 * GIB)}),
    "0.5-0.33: memory came back": (
        _v1("AssertionError: Error in memory profiling. Initial free memory 20.1 GiB, current free memory 33.4 GiB. This happens when other processes"),
        Kind.BUSY, {}),
    "0.20-0.33: blocks of state": (
        _v1("ValueError: max_num_seqs (768) exceeds available Mamba cache blocks (301). Each decode sequence requires one Mamba cache block, so CUDA"),
        Kind.TOO_MANY_SEQUENCES, {"asked": 768, "would_do": 301}),
    "0.8-0.33: sampler": (
        _v1("RuntimeError: CUDA out of memory occurred when warming up sampler with 512 dummy requests. Please try lowering `max_num_seqs`"),
        Kind.OUT_OF_MEMORY, {"asked": 512, "stage": Stage.WARM_UP}),
    "0.9.2-0.33: pooler": (
        _v1("RuntimeError: CUDA out of memory occurred when warming up pooler (task=embed) with 256 dummy requests. Please try lowering"),
        Kind.OUT_OF_MEMORY, {"asked": 256, "stage": Stage.WARM_UP}),
    "0.13-0.33: weights": (
        _v1("Failed to load model - not enough GPU memory. Try lowering --gpu-memory-utilization (original error: HIP out of memory. Tried to allocate"),
        Kind.OUT_OF_MEMORY, {"stage": Stage.LOAD}),
    "TPU, 0.10-0.13: weights": (
        _v1("RuntimeError: Unable to load model, a likely reason is the model is too large for the current device's HBM memory. Consider"),
        Kind.OUT_OF_MEMORY, {"stage": Stage.LOAD}),
    "torch: with what is free": (
        _v1(_OOM.format("CUDA", "38.50")), Kind.OUT_OF_MEMORY,
        {"needed_bytes": round(1.25 * GIB), "free_bytes": 700 * 2**20, "total_bytes": round(39.5 * GIB)}),
    "torch on ROCm": (_v1(_OOM.format("HIP", "38.50")), Kind.OUT_OF_MEMORY, {"free_bytes": 700 * 2**20}),
    "torch: no more than the size": (
        _v1("torch.OutOfMemoryError: HIP out of memory. Tried to allocate 96.00 MiB."), Kind.OUT_OF_MEMORY, {"needed_bytes": 96 * 2**20, "free_bytes": None}),
    "CUDA itself": (_v1("RuntimeError: CUDA error: out of memory"), Kind.OUT_OF_MEMORY, {"needed_bytes": None}),
    "0.16-0.19: encoder cache": (
        _v1("ValueError: The decoder prompt contains a(n) image item with length 9800, which exceeds the pre-allocated encoder cache size 8192. Please"),
        Kind.ENCODER, {"asked": 9800, "would_do": 8192}),
    "0.20-0.33: encoder cache": (
        _v1("VLLMValidationError: The decoder prompt contains a(n) video item with 21000 embedding tokens, which exceeds the pre-allocated encoder cache"
            " size 16384. Please reduce"),
        Kind.ENCODER, {"asked": 21000, "would_do": 16384}),
    "0.8-0.33: one item, one step": (
        _v1("ValueError: Chunked MM input disabled but max_tokens_per_mm_item (5120) is larger than max_num_batched_tokens (2048). Please increase"),
        Kind.ENCODER, {"asked": 5120, "would_do": 2048}),
    "0.5-0.33: heads": (
        "  Value error, Total number of attention heads (28) must be divisible by tensor parallel size (8). [type=value_error]\n", Kind.LAYOUT, {"asked": 28}),
    "0.5-0.33: groups of quantised weights": (
        _v1("ValueError: The output_size of gate's and up's weight = 2880 is not divisible by weight quantization block_n = 128."), Kind.LAYOUT, {}),
    "0.5-0.31: widths": (_v1("AssertionError: 151936 is not divisible by 6"), Kind.LAYOUT, {"asked": 151936}),
    "0.5-0.10: cards": (
        _v0("AssertionError: please set tensor_parallel_size (4) to less than max local gpu count (2)"), Kind.LAYOUT, {"asked": 4, "would_do": 2}),
    "0.13-0.33: cards": (
        "  Value error, World size (8) is larger than the number of available GPUs (4) in this node. If this is intentional\n",
        Kind.LAYOUT, {"asked": 8, "would_do": 4}),
    "Ray": ("ValueError: The number of required GPUs exceeds the total number of available GPUs in the placement group.\n", Kind.LAYOUT, {}),
    "0.5-0.33: step and context": (
        _v0("ValueError: max_num_batched_tokens (2048) is smaller than max_model_len (8192). This effectively limits"),
        Kind.OPTIONS, {"asked": 8192, "would_do": 2048}),
    "0.5-0.33: step and sequences": (
        _v1("ValueError: max_num_batched_tokens (128) must be greater than or equal to max_num_seqs (256)."), Kind.OPTIONS, {"would_do": 128}),
    "0.17-0.25: block and step": (
        _v1("AssertionError: In Mamba cache align mode, block_size (4176) must be <= max_num_batched_tokens (2048)."), Kind.OPTIONS, {"asked": 4176}),
    "0.29-0.33: sequences and cards": (_v1("ValueError: max_num_seqs (4) is below tensor_parallel_size (8)"), Kind.OPTIONS, {"asked": 8}),
    "0.5-0.33: too long": (
        _v1("ValueError: User-specified max_model_len (65536) is greater than the derived max_model_len (max_position_embeddings=40960 or"),
        Kind.TOO_LONG, {"asked": 65536}),
    "argparse": ("vllm: error: unrecognized arguments: --kv-cache-memory\n", Kind.FLAG, {}),
    "architecture": (_v1("ValueError: Model architectures ['NovelForCausalLM'] are not supported for now."), Kind.ARCHITECTURE, {}),
    "transformers": ("ValueError: The checkpoint has model type `novel` but Transformers does not recognize this architecture.\n", Kind.ARCHITECTURE, {}),
    "dropped": (_v1("ValueError: Model architecture OldForCausalLM was supported in vLLM until v0.21.0, and is not"), Kind.ARCHITECTURE, {}),
    "library": ("ModuleNotFoundError: No module named 'mamba_ssm'\n", Kind.LIBRARY, {}),
    "operator": ("AttributeError: '_OpNamespace' '_C' object has no attribute 'rms_norm'\n", Kind.OPERATOR, {}),
    "experts": (_v1("NotImplementedError: is_act_and_mul=False is supported only for CUDA and ROCm for now"), Kind.OPERATOR, {}),
    "gated": ("huggingface_hub.errors.GatedRepoError: 403 Client Error.\n", Kind.GATED, {}),
    "missing": ("OSError: x/y is not a local folder and is not a valid model identifier\n", Kind.NOT_FOUND, {}),
    "no card": ("RuntimeError: No CUDA GPUs are available\n", Kind.NO_GPU, {}),
    "driver": ("RuntimeError: The NVIDIA driver on your system is too old (found version 11040).\n", Kind.DRIVER, {}),
    "kernels": ("RuntimeError: CUDA error: no kernel image is available for execution on the device\n", Kind.CARD, {}),
    "0.5-0.33: before Ampere": (
        _v1("ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has compute capability 7.5."),
        Kind.CARD, {}),
    "a kernel that failed": (
        _v1("torch.AcceleratorError: CUDA error: an illegal memory access was encountered", process="Worker_PP1 pid=9"), Kind.DEVICE_FAULT, {}),
    "port": ("OSError: [Errno 98] Address already in use\n", Kind.PORT, {}),
    "disk": ("OSError: [Errno 28] No space left on device\n", Kind.DISK, {}),
    "apart": ("RuntimeError: Gloo connectFullMesh failed with [pair.cc:1] timed out connecting, remote=[10.0.0.2]:41349\n", Kind.MACHINES_APART, {}),
    "lost": ("RuntimeError: [/x/gloo/transport/tcp/pair.cc:5] Read error [10.0.0.2]:57: Connection reset by peer\n", Kind.MACHINE_LOST, {}),
    "engine": (_v1("EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause."), Kind.ENGINE_DIED, {}),
}  # fmt: skip
"""By version: a line as it is printed, its kind, and its figures."""


class TestMessages:
    @pytest.mark.parametrize("name", MESSAGES)
    def test_each_has_its_kind_and_its_figures(self, name: str) -> None:
        line, kind, figures = MESSAGES[name]
        found = explain(line)
        assert found.kind is kind
        assert {field: getattr(found, field) for field in figures} == figures
        assert found.sentence.endswith(".")
        assert "{" not in found.sentence + found.hint
        assert shows_an_end(line) or kind is Kind.OUT_OF_MEMORY

    def test_every_message_that_is_known_has_a_line(self) -> None:
        first = {next(c for c in CAUSES if c.rule.search(line)).rule.pattern for line, *_ in MESSAGES.values()}
        assert [c.rule.pattern for c in CAUSES if c.rule.pattern not in first] == []
        assert len(CAUSES) >= 52

    @pytest.mark.parametrize(
        "before",
        [
            "",
            "May 08 09:31:10 gpu1 serve.sh[3]: ",
            "vllm-1  | ",
            "2026-05-08T09:31:10.1Z stderr F ",
            '{"log":"',
            "\x1b[1;36m",
        ],
        ids=["plain", "journald", "compose", "kubernetes", "docker", "colour"],
    )
    def test_whoever_wrote_the_log(self, before: str) -> None:
        """What a process calls harmless is none's cause, whatever stands before it."""
        harmless = _v1("RuntimeError: CUDA error: out of memory", "WARNING", "VllmWorker rank=0 pid=7")
        assert explain(before + harmless).kind is Kind.UNKNOWN
        line = MESSAGES["0.20-0.33: blocks of state"][0]
        assert explain(before + harmless + before + line).kind is Kind.TOO_MANY_SEQUENCES

    def test_what_others_hold_is_said(self) -> None:
        assert "Something else holds 8.8 GiB" in explain(_v1(_OOM.format("CUDA", "30.00"))).sentence
        assert "Something else" not in explain(_v1(_OOM.format("CUDA", "38.50"))).sentence


_BEGUN = _v1(
    "Initializing a V1 LLM engine (v0.9.1) with config: model='m', max_seq_len=8192, enforce_eager=False", "INFO"
)
_LOADED = _v1("Model loading took 14.25 GiB and 6.1 seconds", "INFO")
_POOLED = _v1("GPU KV cache size: 61,440 tokens", "INFO")
_CAPTURED = _v1("Graph capturing finished in 21 secs, took 0.75 GiB", "INFO")
_SERVES = "INFO:     Application startup complete.\n"


class TestStages:
    """What was going on when a card ran out of memory: gpu_worker and gpu_model_runner of 0.8 to 0.33, worker of V0."""

    @pytest.mark.parametrize(
        ("said", "stage"),
        [
            ("", None),
            (_BEGUN, Stage.LOAD),
            (_BEGUN + _LOADED, Stage.PROFILE),
            (_BEGUN + _LOADED + _POOLED, Stage.GRAPHS),
            (_BEGUN.replace("False", "True") + _LOADED + _POOLED, Stage.WARM_UP),
            (_BEGUN + _LOADED + _POOLED + _CAPTURED, Stage.WARM_UP),
            (_BEGUN + _LOADED + _POOLED + _CAPTURED + _SERVES, Stage.SERVING),
        ],
    )  # fmt: skip
    def test_from_what_the_log_had_said(self, said: str, stage: Stage | None) -> None:
        assert explain(said + _v1(_OOM.format("CUDA", "38.50"))).stage is stage

    @pytest.mark.parametrize(
        ("functions", "stage"),
        [
            (("__init__", "load_model", "create_weights"), Stage.LOAD),
            (("determine_available_memory", "profile_run", "_dummy_run"), Stage.PROFILE),
            (("determine_num_available_blocks", "profile_run", "execute_model"), Stage.PROFILE),
            (("initialize_cache", "warm_up_model", "capture_model"), Stage.GRAPHS),
            (("initialize_from_config", "initialize_kv_cache"), Stage.CACHE),
            (("compile_or_warm_up_model", "_dummy_sampler_run"), Stage.WARM_UP),
            (("run_busy_loop", "step", "execute_model"), Stage.SERVING),
        ],
    )
    def test_the_traceback_goes_before_it(self, functions: tuple[str, ...], stage: Stage) -> None:
        frames = "".join(_v1(f'  File "/x/vllm/v1/worker/gpu_worker.py", line 9, in {name}') for name in functions)
        log = _BEGUN + _v1("Traceback (most recent call last):") + frames + _v1(_OOM.format("CUDA", "38.50"))
        assert explain(log).stage is stage

    def test_adapters_take_memory_beside_the_pool(self) -> None:
        """Since 0.6: vllm issue 17822."""
        adapters = _v1("non-default args: {'enable_lora': True, 'max_loras': 8}", "INFO")
        assert "--max-loras" in explain(adapters + _LOADED + _POOLED + _v1(_OOM.format("CUDA", "38.50"))).hint
        assert "--max-loras" not in explain(_LOADED + _POOLED + _v1(_OOM.format("CUDA", "38.50"))).hint

    def test_an_encoder_that_is_profiled_is_the_first_to_look_at(self) -> None:
        """0.7-0.33 (gpu_model_runner); vllm issues 34209, 41239."""
        encoder = _v1(
            "Encoder cache will be initialized with a budget of 12288 tokens, and profiled with 2 video items of the maximum feature size.",
            "INFO",
        )
        found = explain(_LOADED + encoder + _v1(_OOM.format("CUDA", "38.50")))
        assert found.stage is Stage.PROFILE
        assert found.hint.startswith(
            "A smaller --limit-mm-per-prompt: the encoder was profiled with 2 video items, 12288 tokens."
        )
        assert read_log(encoder).encoder_tokens == 12_288
        assert read_log(_LOADED).encoder_tokens is None


FIGURES = (
    ("0.8.0", "Model loading took 14.25 GB and 4.5 seconds", "weights_bytes", 14.25),
    ("0.11-0.33", "Model loading took 14.25 GiB memory and 4.5 seconds", "weights_bytes", 14.25),
    ("V0", "Loading model weights took 14.2500 GB", "weights_bytes", 14.25),
    ("V0, 0.6.6-0.10", "model weights take 14.25GiB; non_torch_memory takes 0.50GiB", "weights_bytes", 14.25),
    ("0.9.1-0.26", "non-torch forward increase memory: 0.50GiB; weights memory: 14.25GiB.", "weights_bytes", 14.25),
    ("0.10.2-0.26", "Actual usage is 14.25 GiB for weight, 1.5 GiB for peak activation", "weights_bytes", 14.25),
    ("0.9.1-0.33", "Available KV cache memory: 21.5 GiB", "pool_bytes", 21.5),
    ("0.14-0.33, negative", "Available KV cache memory: -3.5 GiB", "pool_bytes", -3.5),
    ("V0, negative", "the rest of the memory reserved for KV Cache is -1.25GiB.", "pool_bytes", -1.25),
    ("CPU", "Explicitly set (12.0/31.0) GiB for KV cache on node 0.", "pool_bytes", 12),
    ("CPU", "Auto set (12.5/31.0) GiB for KV cache on node 0, with 20.0 GiB", "pool_bytes", 12.5),
    ("0.6.4", "non_torch_memory=0.25GiB kv_cache_size=4.50GiB gpu_memory_utilization=0.90", "pool_bytes", 4.5),
    ("0.10.2-0.33", "reserved 6.5 GiB memory for KV Cache as specified by kv_cache_memory_bytes", "pool_bytes", 6.5),
    ("0.11-0.33", "Current kv cache memory in use is 6.5 GiB.", "pool_bytes", 6.5),
    ("0.7-0.9.0", "larger than the available KV cache memory (2.125 GB). Try", "pool_bytes", 2.125),
    ("V0", "PyTorch activation peak memory takes 1.25GiB;", "activation_bytes", 1.25),
    ("0.10.2-0.33", "1.25 GiB for peak activation, 0.5 GiB for non-torch memory,", "activation_bytes", 1.25),
    ("0.9.1-0.33", "torch peak memory increase: 1.25GiB;", "activation_bytes", 1.25),
    ("V0", "non_torch_memory takes 0.25GiB;", "beside_torch_bytes", 0.25),
    ("0.10.2-0.26", "0.5 GiB for non-torch memory, and", "beside_torch_bytes", 0.5),
    ("0.9.1-0.26", "non-torch forward increase memory: 0.50GiB;", "beside_torch_bytes", 0.5),
    ("V0", "can use total_gpu_memory (39.50GiB) x gpu_memory_utilization (0.85) = 33.57GiB", "total_bytes", 39.5),
    ("0.14-0.33", "Free memory on device cuda:0 (39.0/39.5 GiB) on startup.", "total_bytes", 39.5),
    ("0.18-0.33", "CUDA graph pool memory: 0.75 GiB (actual), 1.0 GiB (estimated),", "graph_bytes", 0.75),
    ("0.6.4-0.33", "Graph capturing finished in 21 secs, took 0.75 GiB", "graph_bytes", 0.75),
    ("0.10.2-0.33", "and 0.75 GiB for CUDAGraph memory.", "graph_bytes", 0.75),
    ("0.18-0.33", "Estimated CUDA graph memory: 1.00 GiB total", "graph_estimate_bytes", 1),
)
COUNTS = (
    ("0.8-0.29", "GPU KV cache size: 1,234,560 tokens", "tokens", 1_234_560),
    (
        "0.30-0.33",
        "XPU KV cache size: 4,096 tokens, Maximum concurrency for 2,048 tokens per request: 2.00x",
        "tokens",
        4096,
    ),
    (
        "0.33",
        "GPU + host KV cache size: 8,192 tokens, Maximum concurrency for 2,048 tokens per request: 4.00x",
        "concurrency",
        4.0,
    ),
    ("V0's refusal", "tokens that can be stored in KV cache (9008). Try", "tokens", 9008),
    ("0.5-0.6", "# GPU blocks: 700, # CPU blocks: 512", "tokens", 11_200),
    ("0.7-0.10", "# CUDA blocks: 700, # CPU blocks: 512", "tokens", 11_200),
    ("0.7-0.10", "# rocm blocks: 700, # CPU blocks: 512", "tokens", 11_200),
    ("0.6.4", "Maximum concurrency for 29000 tokens per request: 0.82x", "max_model_len", 29_000),
    ("0.5-0.33", "config: model='m', max_seq_len=32768, download_dir=None", "max_model_len", 32_768),
    (
        "0.14-0.33",
        "Auto-fit max_model_len: reduced from 262144 to 90112 to fit in available GPU memory",
        "max_model_len",
        90_112,
    ),
    ("V0", "x gpu_memory_utilization (0.85) = 33.57GiB", "utilisation", 0.85),
    ("0.9.1-0.33", "Desired GPU memory utilization is (0.85, 40.27 GiB).", "utilisation", 0.85),
)


class TestFigures:
    """Workers, executors and KV cache managers of 0.5 to 0.33; everything that a log lacks is unknown."""

    @pytest.mark.parametrize(("version", "message", "field", "gib"), FIGURES)
    def test_bytes(self, version: str, message: str, field: str, gib: float) -> None:
        for line in (_v0(message, "INFO"), _v1(message, "INFO")):
            assert getattr(read_log(line).memory, field) == round(gib * GIB), version

    @pytest.mark.parametrize(("version", "message", "field", "count"), COUNTS)
    def test_counts(self, version: str, message: str, field: str, count: float) -> None:
        assert getattr(read_log(_v0(message, "INFO")).memory, field) == count, version

    def test_every_figure_that_is_known_has_a_line(self) -> None:
        lines = [message for _, message, *_ in (*FIGURES, *COUNTS)]
        rules = [
            *(logs._WEIGHTS + logs._POOL + logs._PEAK + logs._BESIDE_TORCH + logs._TOTAL + logs._SHARE),
            *(logs._GRAPHS + logs._GRAPH_ESTIMATES + logs._TOKENS),
        ]
        assert [rule.pattern for rule in rules if not any(rule.search(line) for line in lines)] == []

    def test_a_peak_with_the_weights_in_it(self) -> None:
        """0.6.4 prints torch's whole peak."""
        log = _v0("Loading model weights took 14.2500 GB", "INFO") + _v0("peak_torch_memory=16.75GiB", "INFO")
        assert read_log(log).memory.activation_bytes == round(2.5 * GIB)
        assert read_log(_v0("peak_torch_memory=16.75GiB", "INFO")).memory.activation_bytes is None

    def test_blocks_of_another_size(self) -> None:
        log = _v0("args: Namespace(model='m', block_size=32, swap_space=4)", "INFO") + _v0("# CUDA blocks: 700", "INFO")
        assert read_log(log).memory.tokens == 22_400

    def test_the_rank_with_the_least_room_counts(self) -> None:
        """V1 of 0.8 prints a size for each rank."""
        sizes = "".join(_v1(f"GPU KV cache size: {n} tokens", "INFO") for n in ("90,112", "81,920", "90,112"))
        assert read_log(sizes).memory.tokens == 81_920

    def test_a_negative_pool_is_shown_as_one(self, ask: Run, tmp_path: Path) -> None:
        path = tmp_path / "vllm.log"
        path.write_text(_v1("Available KV cache memory: -3.5 GiB", "INFO") + MESSAGES["V0 to V1: nothing left"][0])
        out = ask("read-log", str(path)).out
        assert "pool         -3.5 GiB" in out
        assert "Nothing is left for the KV cache." in out
        assert "tokens       unknown" in out

    @pytest.mark.parametrize("name", ["EngineCore_{0}", "EngineCore_DP{0}", "DPEngineCoreActor_DP{0}"])
    def test_engines_of_any_version_are_summed(self, name: str) -> None:
        """0.9-0.10.1, 0.10.2-0.33, and under Ray."""
        said = "".join(
            _v1("GPU KV cache size: 40,960 tokens", "INFO", f"{name.format(n)} pid={n}")
            + _v1(f"Maximum concurrency for 8,192 tokens per request: {5 + n / 10:.2f}x", "INFO", f"{name.format(n)} pid={n}")
            for n in range(4)
        )  # fmt: skip
        found = read_log(said)
        assert (found.engines, found.concurrency_all, found.tokens_all) == (4, 20.6, 163_840)
        assert (found.memory.concurrency, found.memory.tokens) == (5.0, 40_960), "the smallest"


class TestEnds:
    def test_a_request_that_was_refused_ends_nothing(self) -> None:
        log = (
            _LOADED
            + _v1("Error in preprocessing: ValueError: no such image")
            + _v1("Avg prompt throughput: 9.1 tokens/s", "INFO")
        )
        assert not shows_an_end(log)
        assert read_pasted(log.encode(), "x").failure is None
        assert shows_an_end(log + _v1("ValueError: no such kernel"))

    @pytest.mark.parametrize(
        "line",
        [
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n",
            "RuntimeError: Engine core initialization failed. See root cause above.\n",
            _v1("EngineCoreProc failed to start."),
            _v1("EngineCore encountered a fatal error."),
            "RuntimeError: Engine process failed to start. See stack trace for the root cause.\n",
            _v0("Worker VllmWorkerProcess pid 1786 died, exit code: -15"),
        ],
        ids=["0.9-0.33", "0.8", "0.6", "0.8-0.33", "V0", "V0's worker"],
    )
    def test_what_processes_say_at_their_end(self, line: str) -> None:
        failure = read_pasted((_LOADED + line + _v1("Shutting down", "INFO")).encode(), "x").failure
        assert failure is not None
        assert failure.kind is Kind.UNKNOWN

    def test_the_last_start_counts(self, ask: Run, tmp_path: Path) -> None:
        path = tmp_path / "vllm.log"
        died = _v1("EngineCore failed to start.") + "RuntimeError: Engine core initialization failed.\n"
        first = _BEGUN + _POOLED + MESSAGES["0.20-0.33: blocks of state"][0] + died
        second = _BEGUN + _LOADED + _POOLED.replace("61,440", "90,112") + _SERVES
        path.write_text(first + second)
        record = json.loads(ask("read-log", str(path), "--json").out)
        assert (record["starts"], record["memory"]["tokens"], record["failure"]) == (2, 90_112, None)
        path.write_text(first + _BEGUN)
        record = json.loads(ask("read-log", str(path), "--json").out)
        assert record["failure"]["would_do"] == 301, "the last has said nothing yet"
        assert "2 in this log" in ask("read-log", str(path)).out
        assert "".join(starts_in(first + second)) == first + second


class TestAnyFile:
    """Logs of any size, encoding or origin end in a sentence."""

    @pytest.mark.parametrize(
        "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"]
    )
    def test_encodings(self, encoding: str, ask: Run, tmp_path: Path) -> None:
        path = tmp_path / "vllm.log"
        path.write_bytes((_BEGUN + _POOLED + "é\n" + MESSAGES["0.20-0.33: blocks of state"][0]).encode(encoding))
        record = json.loads(ask("read-log", str(path), "--json").out)
        assert (record["memory"]["tokens"], record["failure"]["would_do"]) == (61_440, 301)

    def test_utf_16_that_was_cut_in_the_middle_of_a_character(self) -> None:
        data = _POOLED.encode("utf-16")
        assert "GPU KV cache size: 61,440 tokens" in decoded(data[:11] + b"\n" + data[12:])

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"", "it is empty"),
            (b"  \n\n\x00\x00", "it is empty"),
            (gzip.compress(_POOLED.encode()), "is compressed (gzip)"),
            (b"PK\x03\x04rest", "is compressed (zip)"),
            (bytes(range(256)) * 40, "no vLLM log"),
            (b"nginx version: nginx/1.24.0\n[emerg] bind() failed: Address already in use\n", "no vLLM log"),
            (b"INFO:     Application startup complete.\nPython version: 3.11.4\n", "no vLLM log"),
            (b"ValueError: no such file\nOSError: [Errno 28] No space left on device\n", "no vLLM log"),
            (b"[2026-05-08 09:31:10 TP0] Load weight begin. avail mem=78.61 GB\ntorch.OutOfMemoryError: CUDA out of memory.\n", "no vLLM log"),
        ],
    )  # fmt: skip
    def test_what_is_none_is_said(self, data: bytes, words: str, ask: Run, tmp_path: Path) -> None:
        path = tmp_path / "x.log"
        path.write_bytes(data)
        result = ask("read-log", str(path))
        assert (result.code, result.out) == (ExitCode.UNREADABLE, "")
        assert words in " ".join(result.err.split())

    @pytest.mark.parametrize(
        "text",
        [
            "ValueError: No available memory for the cache blocks. Try increasing\n",
            "usage: vllm serve [model_tag] [options]\nvllm: error: unrecognized arguments: --kv-cache\n",
            '  File "/x/site-packages/vllm/v1/worker/gpu_worker.py", line 9, in load_model\ntorch.OutOfMemoryError: CUDA out of memory.\n',
        ],
        ids=["message", "command line", "traceback"],
    )
    def test_one_line_of_vllm_s_own_is_enough(self, text: str, ask: Run, tmp_path: Path) -> None:
        path = tmp_path / "x.log"
        path.write_text(text)
        result = ask("read-log", str(path))
        assert result.code == ExitCode.OK
        assert "version      unknown" in result.out

    @pytest.mark.parametrize(
        "message",
        [
            "Maximum concurrency for 99999999999999999999999 tokens per request: 9.9.9x",
            "GPU KV cache size: ,,, tokens",
            "Available KV cache memory: -. GiB",
            "# CUDA blocks: 99999999999999999999",
            "max_num_seqs (9999999999999999999999999) exceeds available Mamba cache blocks (1)",
            "Model loading took ...... GiB",
        ],
    )
    def test_nonsense_is_unknown(self, message: str, ask: Run, tmp_path: Path) -> None:
        path = tmp_path / "x.log"
        path.write_text("".join(_v1(message, process=f"EngineCore_DP{n} pid=1") for n in (0, 1)))
        for words in ((), ("--json",)):
            result = ask("read-log", str(path), *words)
            assert result.code == ExitCode.OK
            assert "Traceback" not in result.err
