"""A trial's record as rows of truth: the start's memory (controlled), and one row for each load (serving). Units in names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_GIB = 2**30
_STATED = {"published": None, "bf16": "bf16", "fp8": "fp8", "int4": "int4", "nvfp4": "fp4"}


def controlled_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the start's row: GiB per card as vLLM's workers counted them, ``None`` for what they did not say."""
    memory, more = record["memory"], record["on_gpu"]
    words = record["command"].split()
    defaults = more["as_started"] == "defaults"
    return {
        **_about(record),
        "outcome": _outcome(record),
        "tp": record["layout"]["tensor_parallel"],
        "pp": record["layout"]["pipeline_parallel"],
        "dp": record["layout"]["data_parallel"],
        "max_model_len": memory["max_model_len"] or record["context"],
        "dtype": "torch.bfloat16",
        "quantization": "fp8" if record["precision"] == "fp8" else None,
        "kv_dtype": _after(words, "--kv-cache-dtype") or "auto",
        "gpu_mem_util": memory["utilisation"],
        "total_gib": _gib(memory["total_bytes"]),
        "weights_gib": _gib(memory["weights_bytes"]),
        "act_gib": _gib(memory["activation_bytes"]),
        "nontorch_gib": _gib(memory["beside_torch_bytes"]),
        "graph_est_gib": _gib(memory["graph_estimate_bytes"]),
        "graph_gib": _gib(memory["graph_bytes"]),
        "kv_gib": _gib(memory["pool_bytes"]),
        "kv_tokens": memory["tokens"],
        "max_concurrency": memory["concurrency"],
        "spec": "mtp1" if "--speculative-config" in words else None,
        "lora": True if "--enable-lora" in words else None,
        "note": None if defaults else f"other knobs: {more['as_started']}",
        "predicted_weights_gib": _gib(record["predicted"]["weights_bytes"]),
        "predicted_kv_gib": _gib(record["predicted"]["pool_bytes"]),
        "predicted_kv_tokens": record["predicted"]["tokens"],
        "seconds": {stage["name"]: stage["seconds"] for stage in record["stages"]},
    }


def serving_rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each load that was measured."""
    layout = record["layout"]
    rows = []
    for point in record["points"]:
        power = point["power"] or {}
        lengths = (point["concurrency"], point["input_tokens"], point["output_tokens"])
        predicted: Mapping[str, Any] = next(
            (
                p
                for p in record["predicted"]["points"]
                if (p["concurrency"], p["input_tokens"], p["output_tokens"]) == lengths
            ),
            {},
        )
        rows.append(
            {
                **_about(record),
                "engine": f"vLLM {record['vllm']}",
                "precision": _STATED.get(record["precision"]) or _published_precision(record),
                "input_len": point["input_tokens"],
                "output_len": point["output_tokens"],
                "concurrency": point["concurrency"],
                "tp": layout["tensor_parallel"],
                "pp": layout["pipeline_parallel"],
                "tpot_ms": point["tpot_ms"]["p50"],
                "ttft_ms": point["ttft_ms"]["p50"],
                "output_tok_s": point["output_tokens_per_second"],
                "requests": point["completed"],
                "watts": power.get("watts"),
                "clock_mhz": power.get("clock_mhz"),
                "throttled": list(power.get("throttled") or ()),
                "output_tokens_per_joule": point["output_tokens_per_joule"],
                "spec": "mtp1" if "--speculative-config" in record["command"].split() else None,
                "predicted_tpot_ms": predicted.get("tpot_ms"),
                "predicted_ttft_ms": predicted.get("ttft_ms"),
            }
        )
    return rows


def _about(record: Mapping[str, Any]) -> dict[str, Any]:
    """What both kinds of row say of where they come from."""
    more = record["on_gpu"]
    facts, cards = more["facts"], more["facts"].get("cards") or [{}]
    return {
        "model": more["asked_model"],
        "gpu": record["accelerator"],
        "card": cards[0].get("name"),
        "power_limit_w": cards[0].get("power_limit_watts"),
        "driver": facts.get("driver"),
        "vllm": record["vllm"],
        "versions": facts.get("versions", {}),
        "date": record["started_at"][:10],
        "start": more["as_started"],
        "set": more["set"],
        "trial": record["identity"],
        "source": "our own run: python -m benchmarks.on_gpu",
    }


def _outcome(record: Mapping[str, Any]) -> str:
    if record["outcome"] == "measured" or record["memory"]["pool_bytes"]:
        return "ok"
    kind = (record["failure"] or {}).get("kind")
    return {"cache too small": "kv_too_small", "out of memory": "oom"}.get(str(kind), "crash")


def _published_precision(record: Mapping[str, Any]) -> str:
    """The precision of a checkpoint as its repository publishes it, by its own name where it is not BF16."""
    name = record["on_gpu"]["asked_model"].lower()
    return "fp8" if "fp8" in name else "fp4" if "gpt-oss" in name or "fp4" in name else "bf16"


def _after(words: list[str], option: str) -> str | None:
    return words[words.index(option) + 1] if option in words else None


def _gib(value: int | None) -> float | None:
    return round(value / _GIB, 3) if value is not None else None
