"""The messages in which vLLM says why it does not serve, each with its sentence, the flag that mends it, and the versions that print it.

Found in the sources of 39 releases from 0.5.5 to 0.33.0 by reading every string of their workers, configs, executors and KV cache managers; a
range such as "0.9–0.33" is that of the releases that have the words. Groups of a rule that are called ``asked``, ``would_do``, ``needed``,
``free`` and ``total`` are its figures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from whichgpu.trial.records import FailureKind as Kind
from whichgpu.trial.records import StartStage

_NEAR = 2000
"""Characters that a message may have between its parts."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One message."""

    kind: Kind
    rule: re.Pattern[str]
    sentence: str
    """With the rule's groups in braces."""
    hint: str | None
    """``None`` where it depends on the stage."""
    stage: StartStage | None = None
    is_vllms: bool = True
    """False where other programs print it as well."""


def _cause(kind: Kind, rule: str, sentence: str, hint: str | None, stage: StartStage | None = None) -> Cause:
    # a log of nothing but beginnings would be searched to its end for each
    return Cause(kind, re.compile(rule.replace(".*?", f".{{0,{_NEAR}}}?"), re.DOTALL), sentence, hint, stage)


def _anyones(kind: Kind, rule: str, sentence: str, hint: str | None) -> Cause:
    own = _cause(kind, rule, sentence, hint)
    return Cause(own.kind, own.rule, own.sentence, own.hint, own.stage, is_vllms=False)


_MORE_CACHE = "a larger --gpu-memory-utilization, or more cards."


def _gib(name: str) -> str:
    return rf"(?P<{name}>-?[\d.]+) ?Gi?B"


_CACHE = (
    # 0.8.5–0.20 "models's", 0.22–0.33 "model's" (v1/core/kv_cache_utils, from 0.30 kv_cache_planning), where a shorter length would do
    _cause(
        Kind.CACHE_TOO_SMALL,
        rf"models?'s max seq len \((?P<asked>\d+)\)(?:, \({_gib('needed')} KV cache is needed)?"
        rf"(?:.{{0,200}}?available KV cache memory \({_gib('free')}\))?.*?estimated maximum model length is (?P<would_do>\d+)",
        "The KV cache holds {would_do} tokens at most, and {asked} were asked for.",
        f"--max-model-len {{would_do}}, {_MORE_CACHE}",
    ),
    # 0.7–0.33: no estimate up to 0.8.0 (figures in "GB" then), and none later where not even one token fits
    _cause(
        Kind.CACHE_TOO_SMALL,
        rf"models?'s max seq len \((?P<asked>\d+)\), \({_gib('needed')} KV cache is needed.*?larger than the available KV cache memory \({_gib('free')}\)",
        "The KV cache can't hold one sequence of {asked} tokens: it takes {needed} GiB, and {free} GiB are there.",
        f"A shorter --max-model-len, {_MORE_CACHE}",
    ),
    # the same, broken by whoever passed it on
    _cause(
        Kind.CACHE_TOO_SMALL,
        r"models?'s max seq len \((?P<asked>\d+)\).*?larger than the available KV cache memory",
        "The KV cache can't hold one sequence of {asked} tokens.",
        f"A shorter --max-model-len, {_MORE_CACHE}",
    ),
    # V0, 0.5–0.10 (worker.raise_if_cache_size_invalid; the CPU's and OpenVINO's name other options)
    _cause(
        Kind.CACHE_TOO_SMALL,
        r"max seq len \((?P<asked>\d+)\) is larger than the maximum number of tokens that can be stored in KV cache \((?P<would_do>\d+)\)",
        "The KV cache holds {would_do} tokens at most, and {asked} were asked for.",
        f"--max-model-len {{would_do}}, {_MORE_CACHE}",
    ),
    # every version: the pool is zero or negative
    _cause(
        Kind.CACHE_TOO_SMALL,
        r"No available memory for the cache blocks",
        "Nothing is left for the KV cache.",
        "A larger --gpu-memory-utilization, a smaller --max-num-batched-tokens, or more cards.",
    ),
    # 0.14–0.33, with --max-model-len auto
    _cause(
        Kind.CACHE_TOO_SMALL,
        r"Cannot auto-fit max_model_len: not enough GPU memory",
        "The KV cache can't hold a single token.",
        "A larger --gpu-memory-utilization, a smaller --max-num-batched-tokens, or more cards.",
    ),
    # 0.25–0.33: video decoded on the card
    _cause(
        Kind.CACHE_TOO_SMALL,
        rf"multimodal GPU decoding reserves {_gib('needed')}.*?but only {_gib('free')} is available for the KV cache",
        "Decoding videos on the card takes {needed} GiB, and the KV cache has {free} GiB.",
        "A smaller --mm-ipc-gpu-memory-gb, or a larger --gpu-memory-utilization.",
    ),
)  # fmt: skip

_MEMORY = (
    # CPU, 0.20–0.33
    _cause(Kind.MEMORY, rf"kv cache allocation is less than requested memory for kv \({_gib('needed')}\)",
           "This machine has less than the {needed} GiB that were asked for the cache.", "A smaller --kv-cache-memory-bytes."),
    _cause(Kind.MEMORY, r"kv cache allocation is less than requested memory for kv \((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\)",
           "This machine has less than the {free} GiB that the cache was to have.", "Free some of its memory, or a smaller --kv-cache-memory-bytes."),
    # CPU, 0.33
    _cause(Kind.MEMORY, rf"worker already uses {_gib('needed')}.*?more than the {_gib('free')} of CPU memory reserved",
           "The weights take {needed} GiB of this machine's memory, and {free} GiB were reserved.",
           "A larger --gpu-memory-utilization, or --kv-cache-memory-bytes."),
    # CPU, 0.20–0.32
    _cause(Kind.MEMORY, r"Available memory on node \d+ \((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less than desired",
           "Only {free} of {total} GiB of this machine's memory are free.", "End what uses it, or a smaller --gpu-memory-utilization."),
    # 0.9.1–0.13 without the card's name (v1/worker/gpu_worker), 0.14–0.33 with it (v1/worker/utils); from 0.32 also of a budget beside another's weights
    _cause(Kind.BUSY, r"Free memory on device (?:\S{1,40} )?\((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less than (?:desired|the engine)",
           "Only {free} of {total} GiB are free: something else uses the card.", "End it, or a smaller --gpu-memory-utilization."),
    # every version: an assertion of both engines
    _cause(Kind.BUSY, r"Error in memory profiling\. Initial (?:free|used) memory",
           "Another process gave back or took memory on the card while vLLM measured it.", "Start again when nothing else starts or ends on the card."),
    # 0.20–0.33 (config/compilation); 0.18 and 0.19 capped the graphs instead and went on
    _cause(Kind.TOO_MANY_SEQUENCES, r"max_num_seqs \((?P<asked>\d+)\) exceeds available Mamba cache blocks \((?P<would_do>\d+)\)",
           "The pool holds {would_do} blocks of recurrent state, and {asked} sequences were allowed.",
           "--max-num-seqs {would_do}, or a larger --gpu-memory-utilization."),
    # 0.8–0.33 (v1/worker/gpu_model_runner); the words say CUDA on ROCm as well
    _cause(Kind.OUT_OF_MEMORY, r"out of memory occurred when warming up sampler with (?P<asked>\d+) dummy requests",
           "The card ran out of memory warming up the sampler for {asked} sequences.",
           "--max-num-seqs below {asked}, or a smaller --gpu-memory-utilization.", StartStage.WARM_UP),
    # 0.9.2–0.33, with "(task=…)" from 0.10
    _cause(Kind.OUT_OF_MEMORY, r"out of memory occurred when warming up pooler (?:\(task=\S{1,40}\) )?with (?P<asked>\d+) dummy requests",
           "The card ran out of memory warming up the pooler for {asked} sequences.",
           "--max-num-seqs below {asked}, or a smaller --gpu-memory-utilization.", StartStage.WARM_UP),
    # 0.13–0.33 (v1/worker/gpu_model_runner); TPU 0.10–0.13
    _cause(Kind.OUT_OF_MEMORY, r"Failed to load model - not enough GPU memory|model is too large for the current device's HBM memory",
           "The weights do not fit on the card.", "More cards (--tensor-parallel-size), or a smaller precision.", StartStage.LOAD),
    # torch on CUDA, ROCm ("HIP") and XPU; the card's number is left out by some
    _anyones(Kind.OUT_OF_MEMORY,
             r"out of memory\. Tried to allocate (?P<size>[\d.]+ \w+)\. GPU \S{0,8}\s?has a total capac\w+ of (?P<capacity>[\d.]+ \w+) of which (?P<left>[\d.]+ \w+) is free",
             "The card ran out of memory: {size} were asked for, and {left} were free.", None),
    _anyones(Kind.OUT_OF_MEMORY, r"(?:CUDA|HIP|XPU) out of memory\. Tried to allocate (?P<size>[\d.]+ \w+)",
             "The card ran out of memory when {size} more were asked for.", None),
    _anyones(Kind.OUT_OF_MEMORY, r"OutOfMemoryError|(?:CUDA|HIP|XPU) out of memory|(?:CUDA|HIP) error: out of memory|hipErrorOutOfMemory|CUBLAS_STATUS_ALLOC_FAILED"
             r"|Cuda failure 'out of memory'", "The card ran out of memory.", None),
)  # fmt: skip

_ENCODER = (
    # 0.16–0.19 "item with length", 0.20–0.33 "item with N embedding tokens" (v1/engine/input_processor): a request is refused, the server goes on
    _cause(Kind.ENCODER, r"contains a\(n\) (?P<modality>\w+) item with (?:length )?(?P<asked>\d+)(?: embedding tokens)?, which exceeds the pre-allocated encoder cache size (?P<would_do>\d+)",
           "One {modality} takes {asked} tokens, and the encoder's cache holds {would_do}.",
           "Smaller inputs, or a --limit-mm-per-prompt or --max-num-batched-tokens that covers them."),
    # 0.8–0.33 (v1/core/encoder_cache_manager)
    _cause(Kind.ENCODER, r"Chunked MM input disabled but max_tokens_per_mm_item \((?P<asked>\d+)\) is larger than max_num_batched_tokens \((?P<would_do>\d+)\)",
           "One image or video takes {asked} tokens, and a step has {would_do}.", "--max-num-batched-tokens {asked}, or --limit-mm-per-prompt."),
)  # fmt: skip

_OPTIONS = (
    # every version (config); pydantic's "Value error, " before it from 0.9
    _cause(Kind.LAYOUT, r"[Tt]otal number of attention heads \((?P<asked>\d+)\) must be divisible by (?:the )?tensor parallel size \((?P<cards>\d+)\)",
           "{asked} attention heads do not divide by {cards} cards.", "Another --tensor-parallel-size."),
    # every version (quantization/fp8, marlin_utils; from 0.25 also distributed/utils)
    _cause(Kind.LAYOUT, r"is not divisible by\s{1,2}(?:weight quantization block_\w|min_thread_\w|group_size)\s?=\s?\d+|not aligned with the quantized weight shape",
           "The groups of the quantised weights do not divide over so many cards.",
           "A smaller --tensor-parallel-size, or --pipeline-parallel-size instead."),
    # every version (distributed/utils.ensure_divisibility)
    _cause(Kind.LAYOUT, r"AssertionError: (?P<asked>\d+) is not divisible by (?P<cards>\d+)",
           "A width of {asked} does not divide by {cards} cards.", "Another --tensor-parallel-size."),
    # 0.5–0.10 (executor); 0.11.1–0.23, 0.11.1–0.12 and 0.13–0.33 (gpu_worker, config/parallel)
    _cause(Kind.LAYOUT, r"(?:world_size|tensor_parallel_size) \((?P<asked>\d+)\) (?:is|to) less than (?:than )?max local gpu count \((?P<would_do>\d+)\)",
           "{asked} cards were asked for, and vLLM sees {would_do}.", "--tensor-parallel-size {would_do}, or check CUDA_VISIBLE_DEVICES."),
    _cause(Kind.LAYOUT, r"(?:local_world_size|Tensor parallel size|World size) \((?P<asked>\d+)\) (?:must be less than or equal to the number of visible devices"
           r"|cannot be larger than the number of available GPUs|is larger than the number of available GPUs) \((?P<would_do>\d+)\)",
           "{asked} cards were asked for, and vLLM sees {would_do}.", "--tensor-parallel-size {would_do}, or check CUDA_VISIBLE_DEVICES."),
    # Ray, every version
    _cause(Kind.LAYOUT, r"number of required \w{1,8}s exceeds the total number of available \w{1,8}s in the placement group",
           "More cards were asked for than Ray has.", "ray status shows them; fewer, or another machine."),
    # every version (config): without chunked prefill
    _cause(Kind.OPTIONS, r"max_num_batched_tokens \((?P<would_do>\d+)\) is smaller than max_model_len \((?P<asked>\d+)\)",
           "A step of {would_do} tokens is less than a context of {asked}, and prefill is not chunked.",
           "--max-num-batched-tokens {asked}, or --enable-chunked-prefill."),
    _cause(Kind.OPTIONS, r"max_num_batched_tokens \((?P<would_do>\d+)\) must be greater than or equal to max_num_seqs \((?P<asked>\d+)\)",
           "A step of {would_do} tokens is less than {asked} sequences.", "--max-num-seqs {would_do}, or a larger --max-num-batched-tokens."),
    # 0.17–0.25: hybrid models with prefix caching
    _cause(Kind.OPTIONS, r"Mamba cache align mode, block_size \((?P<asked>\d+)\) must be <= max_num_batched_tokens \((?P<would_do>\d+)",
           "A block of this hybrid model has {asked} tokens, and a step has {would_do}.", "--max-num-batched-tokens {asked}."),
    # 0.29–0.33
    _cause(Kind.OPTIONS, r"max_num_seqs \((?P<would_do>\d+)\) is below tensor_parallel_size \((?P<asked>\d+)\)",
           "{would_do} sequences are fewer than the {asked} cards they are split over.", "--max-num-seqs {asked}."),
    _cause(Kind.TOO_LONG, r"User-specified max_model_len \((?P<asked>\d+)\) is greater than the derived max_model_len \(\w+=(?P<most>[\d.]+)",
           "The model takes {most} tokens at most, and {asked} were asked for.", "A shorter --context."),
    _anyones(Kind.FLAG, r"unrecognized arguments: (?P<flags>[^\n]+)", "This vLLM does not know {flags}.", "Another --vllm version."),
)  # fmt: skip

_MODEL = (
    _cause(Kind.ARCHITECTURE, r"Model architectures \['(?P<name>[^']+)'\] are not supported", "vLLM does not know {name}.",
           "A newer vLLM, or a plugin; whichgpu --model says what is known."),
    _anyones(Kind.ARCHITECTURE, r"model type `(?P<name>[^`]+)` but Transformers does not recognize", "Neither vLLM nor Transformers knows {name}.",
             "A newer vLLM and transformers."),
    _cause(Kind.ARCHITECTURE, r"Model architecture (?P<name>\S+) was supported in vLLM until (?P<version>v[\d.]+)",
           "vLLM dropped {name} after {version}.", "--vllm with that version."),
    _anyones(Kind.LIBRARY, r"ModuleNotFoundError: No module named '(?P<name>[\w.]+)'", "vLLM's environment lacks {name}, which this model needs.",
             "Install it there, in the build that goes with its torch."),
    _anyones(Kind.OPERATOR, r"'_OpNamespace' '\w+' object has no attribute '(?P<name>\w+)'", "This build of vLLM has no {name}.",
             "A build for this hardware; the CPU build lacks some kernels."),
    _cause(Kind.OPERATOR, r"is_act_and_mul=False is supported only for (?P<names>[\w, ]+?)(?: for now|[.\n])",
           "This build of vLLM has no kernel for experts without a gate; {names} have.",
           "A build for that hardware; the CPU build lacks some kernels."),
    _anyones(Kind.GATED, r"GatedRepoError|Access to model \S+ is restricted|401 Client Error",
             "The model is gated, and the token may not read it.", "Ask for access on its page, and set HF_TOKEN."),
    _anyones(Kind.NOT_FOUND, r"LocalEntryNotFoundError|RepositoryNotFoundError|is not a local folder and is not a valid model",
             "vLLM does not find the model.", "Check its name, the network and HF_HUB_OFFLINE."),
)  # fmt: skip

_MACHINE = (
    _anyones(Kind.NO_GPU, r"No CUDA GPUs are available|Failed to infer device type|Found no NVIDIA driver",
             "vLLM sees no GPU here.", "Check nvidia-smi, CUDA_VISIBLE_DEVICES, and the container's --gpus."),
    _anyones(Kind.DRIVER, r"driver on your system is too old|CUDA driver version is insufficient|forward compatibility was attempted",
             "The driver is too old for this build of vLLM.", "A newer driver, or a vLLM built for an older CUDA."),
    _anyones(Kind.CARD, r"no kernel image is available for execution",
             "This build of vLLM has no kernels for the card.", "A build for its compute capability."),
    # every version, for cards before Ampere
    _cause(Kind.CARD, r"Bfloat16 is only supported on GPUs with compute capability of at least (?P<least>[\d.]+\d)",
           "The card has no BF16: that takes compute capability {least}.", "--dtype half."),
    _anyones(Kind.DEVICE_FAULT, r"(?:CUDA|HIP) error: (?P<what>an illegal memory access was encountered|an illegal instruction was encountered|misaligned address"
             r"|device-side assert triggered|unspecified launch failure|uncorrectable ECC error encountered)",
             "A kernel failed on the card: {what}.", "Another version of vLLM or of the driver; --enforce-eager or another --attention-backend narrow it down."),
    _anyones(Kind.PORT, r"Address already in use|address already in use", "The port was taken by something else.", "Run it again: another is chosen."),
    _anyones(Kind.DISK, r"No space left on device", "The disk is full.", "Make room, or another --folder."),
    _anyones(Kind.MACHINES_APART, r"Gloo connectFullMesh failed.*?remote=\[(?P<address>[^\]]+)\]",
             "The machines do not find each other: one looked for another at {address}.",
             "VLLM_HOST_IP and GLOO_SOCKET_IFNAME, set on each to its address and interface on their common network."),
    _anyones(Kind.MACHINE_LOST, r"gloo/transport/tcp/\S+ .*?(?:Connection reset|closed by peer)|ncclRemoteError",
             "Another of the machines was lost while vLLM served.", "What whichgpu trial says there; then start all again."),
    _cause(Kind.ENGINE_DIED, r"EngineDeadError|EngineCore encountered an issue", "vLLM's engine died while it served.",
           "The log's first error says why."),
)  # fmt: skip

CAUSES = (*_CACHE, *_MEMORY, *_ENCODER, *_OPTIONS, *_MODEL, *_MACHINE)
"""What is decisive first: the first that matches anywhere in a log is its cause."""
