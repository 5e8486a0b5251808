"""Why vLLM did not serve: the messages that it really prints, each as a sentence and the flag that mends it.

Sources: logs of vLLM 0.32 on CPU for what is marked so in the tests; for CUDA the texts in v1/worker and config.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from whichgpu.inspect.text import clean
from whichgpu.trial.records import Failure

_SHOWN = 6
_NEAR = 2000
"""Characters that a message may have between its parts."""

_MOST_LINE, _MOST_LINES = 4000, 4000
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_PROCESS = re.compile(r"^\((?:[\w-]+ )*(?:pid=)?\d+\)\s*")
_LEVEL = re.compile(r"^(ERROR|CRITICAL|WARNING|INFO|DEBUG)\s+\d\d-\d\d [\d:]+ \[[^\]]*\]\s*")
_HARMLESS = ("WARNING", "INFO", "DEBUG")
_NOISE = re.compile(r"Errno 24|See root cause above|Traceback|^\s*File |^\s*\^|DeprecationWarning|FutureWarning")
_ERROR = re.compile(r"\b\w*(?:Error|Exception)\b: |Value error, |error: |CUDA out of memory|Killed|Segmentation fault")


@dataclass(frozen=True, slots=True)
class _Known:
    kind: str
    rule: re.Pattern[str]
    sentence: Callable[[re.Match[str]], str]
    hint: Callable[[re.Match[str]], str]


def _cause(kind: str, rule: str, sentence: str, hint: str) -> _Known:
    def filled(text: str) -> Callable[[re.Match[str]], str]:
        return lambda found: text.format(*[clean(g or "", 80) for g in found.groups()])

    near = rule.replace(
        ".*?", f".{{0,{_NEAR}}}?"
    )  # a log of nothing but beginnings would be searched to its end for each
    return _Known(kind, re.compile(near, re.DOTALL), filled(sentence), filled(hint))


_KNOWN = (
    _cause(
        "cache too small",
        r"models?'s max seq len \((\d+)\).*?estimated maximum model length is (\d+)",
        "The KV cache holds {1} tokens at most, and {0} were asked for.",
        "--max-model-len {1}, a larger --gpu-memory-utilization, or more cards.",
    ),
    _cause(
        "cache too small",
        r"max seq len \((\d+)\) is larger than the maximum number of tokens that can be stored in KV cache \((\d+)\)",
        "The KV cache holds {1} tokens at most, and {0} were asked for.",
        "--max-model-len {1}, a larger --gpu-memory-utilization, or more cards.",
    ),
    _cause(
        "cache too small",
        r"models?'s max seq len \((\d+)\).*?larger than the available KV cache memory",
        "The KV cache can't hold one sequence of {0} tokens.",
        "A shorter --max-model-len, a larger --gpu-memory-utilization, or more cards.",
    ),
    _cause("cache too small", r"No available memory for the cache blocks", "Nothing is left for the KV cache.",
           "A larger --gpu-memory-utilization, a smaller --max-num-batched-tokens, or more cards."),
    _cause("memory", r"kv cache allocation is less than requested memory for kv \(([\d.]+) GiB\)",
           "This machine has less than the {0} GiB that were asked for the cache.", "A smaller --kv-cache-memory-bytes."),
    _cause("busy", r"Free memory on device (?:\S+ )?\(([\d.]+)/([\d.]+) GiB\) on startup is less than desired",
           "Only {0} of {1} GiB are free: something else uses the card.", "End it, or a smaller --gpu-memory-utilization."),
    _cause("too many sequences for the state", r"max_num_seqs \((\d+)\) exceeds available Mamba cache blocks \((\d+)\)",
           "The pool holds {1} blocks of recurrent state, and {0} sequences were allowed.",
           "--max-num-seqs {1}, or a larger --gpu-memory-utilization."),
    _cause("layout", r"[Tt]otal number of attention heads \((\d+)\) must be divisible by (?:the )?tensor parallel size \((\d+)\)",
           "{0} attention heads do not divide by {1} cards.", "Another --tensor-parallel-size."),
    _cause("out of memory", r"out of memory occurred when warming up sampler with (\d+) dummy requests",
           "The card ran out of memory warming up the sampler for {0} sequences.",
           "--max-num-seqs below {0}, or a smaller --gpu-memory-utilization."),
    _cause("out of memory", r"Failed to load model - not enough GPU memory", "The weights do not fit on the card.",
           "More cards (--tensor-parallel-size), or a smaller precision."),
    _cause("out of memory", r"(?:CUDA|HIP) out of memory\. Tried to allocate ([\d.]+ \w+).{0,200}?of which ([\d.]+ \w+) is free",
           "The card ran out of memory: {0} were asked for, and {1} were free.",
           "A smaller --gpu-memory-utilization, --max-num-seqs or --max-num-batched-tokens."),
    _cause("out of memory", r"(?:CUDA|HIP) out of memory\. Tried to allocate ([\d.]+ \w+)",
           "The card ran out of memory when {0} more were asked for.", "A smaller --gpu-memory-utilization or --max-num-batched-tokens."),
    _cause("out of memory", r"OutOfMemoryError|CUDA out of memory|CUDA error: out of memory",
           "The card ran out of memory.", "A smaller --gpu-memory-utilization or --max-num-batched-tokens."),
    _cause("too long", r"User-specified max_model_len \((\d+)\) is greater than the derived max_model_len \(\w+=([\d.]+)",
           "The model takes {1} tokens at most, and {0} were asked for.", "A shorter --context."),
    _cause("architecture", r"Model architectures \['([^']+)'\] are not supported", "vLLM does not know {0}.",
           "A newer vLLM, or a plugin; whichgpu --model says what is known."),
    _cause("architecture", r"model type `([^`]+)` but Transformers does not recognize", "Neither vLLM nor Transformers knows {0}.",
           "A newer vLLM and transformers."),
    _cause("architecture", r"Model architecture (\S+) was supported in vLLM until (v[\d.]+)",
           "vLLM dropped {0} after {1}.", "--vllm with that version."),
    _cause("library", r"ModuleNotFoundError: No module named '([\w.]+)'", "vLLM's environment lacks {0}, which this model needs.",
           "Install it there, in the build that goes with its torch."),
    _cause("operator", r"'_OpNamespace' '\w+' object has no attribute '(\w+)'", "This build of vLLM has no {0}.",
           "A build for this hardware; the CPU build lacks some kernels."),
    _cause("operator", r"is_act_and_mul=False is supported only for ([\w, ]+?)(?: for now|[.\n])",
           "This build of vLLM has no kernel for experts without a gate; {0} have.",
           "A build for that hardware; the CPU build lacks some kernels."),
    _cause("gated", r"GatedRepoError|Access to model \S+ is restricted|401 Client Error",
           "The model is gated, and the token may not read it.", "Ask for access on its page, and set HF_TOKEN."),
    _cause("not found", r"LocalEntryNotFoundError|RepositoryNotFoundError|is not a local folder and is not a valid model",
           "vLLM does not find the model.", "Check its name, the network and HF_HUB_OFFLINE."),
    _cause("no gpu", r"No CUDA GPUs are available|Failed to infer device type|Found no NVIDIA driver",
           "vLLM sees no GPU here.", "Check nvidia-smi, CUDA_VISIBLE_DEVICES, and the container's --gpus."),
    _cause("driver", r"driver on your system is too old|CUDA driver version is insufficient|forward compatibility was attempted",
           "The driver is too old for this build of vLLM.", "A newer driver, or a vLLM built for an older CUDA."),
    _cause("architecture of the card", r"no kernel image is available for execution",
           "This build of vLLM has no kernels for the card.", "A build for its compute capability."),
    _cause("port", r"Address already in use", "The port was taken by something else.", "Run it again: another is chosen."),
    _cause("flag", r"unrecognized arguments: (.+)", "This vLLM does not know {0}.", "Another --vllm version."),
    _cause("disk", r"No space left on device", "The disk is full.", "Make room, or another --folder."),
    _cause("machines apart", r"Gloo connectFullMesh failed.*?remote=\[([^\]]+)\]",
           "The machines do not find each other: one looked for another at {0}.",
           "VLLM_HOST_IP and GLOO_SOCKET_IFNAME, set on each to its address and interface on their common network."),
    _cause("machine lost", r"gloo/transport/tcp/\S+ .*?(?:Connection reset|closed by peer)|ncclRemoteError",
           "Another of the machines was lost while vLLM served.", "What whichgpu trial says there; then start all again."),
    _cause("engine died", r"EngineDeadError|EngineCore encountered an issue", "vLLM's engine died while it served.",
           "The log's first error says why."),
)  # fmt: skip


def explain(log: str, return_code: int | None = None) -> Failure:
    """Say why a start or a run failed, from its log; what is unknown shows the log's decisive lines."""
    lines = list(_messages(log))
    lines = lines if len(lines) <= 2 * _MOST_LINES else [*lines[:_MOST_LINES], *lines[-_MOST_LINES:]]
    excerpt = tuple(clean(line, 300) for line in _decisive(lines))
    text = "\n".join(line for line in lines if "Errno 24" not in line)
    for cause in _KNOWN:
        match = cause.rule.search(text)
        if match:
            return Failure(
                kind=cause.kind, sentence=cause.sentence(match), hint=cause.hint(match), lines=excerpt[:_SHOWN]
            )
    ended = f" with code {return_code}" if return_code is not None else ""
    if return_code in (-9, 137):
        return Failure(kind="killed", sentence="vLLM was killed, most likely for its host memory.",
                       hint="Check dmesg; more host memory, or smaller weights.", lines=excerpt[:_SHOWN])  # fmt: skip
    return Failure(kind="unknown", sentence=f"vLLM ended{ended} for a reason that is not known here.",
                   hint="The lines below, and the whole log, say more.", lines=excerpt[:_SHOWN])  # fmt: skip


def shows_an_end(log: str) -> bool:
    """True for a log with an error in it: one that only stops may be of a server that still runs."""
    return any(_ERROR.search(line) and not _NOISE.search(line) for line in _messages(log))


def _messages(log: str) -> Iterator[str]:
    """What processes said, without who and when; what they call harmless is left out."""
    for raw in log.splitlines():
        line = _PROCESS.sub("", _ANSI.sub("", raw[:_MOST_LINE]))
        level = _LEVEL.match(line)
        if level is None or level[1] not in _HARMLESS:
            yield _LEVEL.sub("", line).rstrip()


def _decisive(lines: list[str]) -> list[str]:
    """The first errors: what comes later follows from them. Without any, the end."""
    errors = [line for line in lines if _ERROR.search(line) and not _NOISE.search(line)]
    return list(dict.fromkeys(errors)) or [line for line in lines if line.strip()][-_SHOWN:]
