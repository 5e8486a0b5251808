"""What is read of others, each with honest inputs to turn and the command that reads it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants

from tests.attack.answering import answering
from tests.attack.mutation import Mutation, turned_bytes, turned_json, turned_lines
from tests.fake_vllm import METRICS

Words = Sequence[str]
_FAMILIES = Path(__file__).parent.parent / "families"
_QUICK = ("--offline", "-q", "--gpu", "H100", "--gpu", "MI300X")


@dataclass(frozen=True, slots=True)
class Reader:
    """How an input reaches whichgpu."""

    seeds: Callable[[], Sequence[bytes]]
    turn: Mutation
    place: Callable[[Path, bytes], Sequence[Words]]
    """Writes an input into an empty folder; returns the words to run."""


def _file(name: str, *words: str, **beside: bytes) -> Callable[[Path, bytes], Sequence[Words]]:
    """Put the input into a file; FILE and FOLDER in ``words`` are where."""

    def place(folder: Path, data: bytes) -> Sequence[Words]:
        (folder / name).write_bytes(data)
        for other, content in beside.items():
            (folder / other.replace("__", ".")).write_bytes(content)
        at = {"FILE": str(folder / name), "FOLDER": str(folder), "CATALOG": str(folder / "catalog.db")}
        return [[at.get(word, word) for word in words]]

    return place


def _configs() -> list[bytes]:
    return [json.dumps(json.loads(path.read_text())).encode() for path in sorted(_FAMILIES.glob("*.json"))]


def _safetensors() -> list[bytes]:
    from tests.hub import shapes

    repo = shapes.qwen3_06b()
    whole = next(content for path, content in repo.files.items() if path.endswith(".safetensors"))
    start = whole if isinstance(whole, bytes) else whole.start
    return [start[8 : 8 + int.from_bytes(start[:8], "little")]]


def _header(folder: Path, data: bytes) -> Sequence[Words]:
    path = folder / "model.safetensors"
    with path.open("wb") as file:
        file.write(len(data).to_bytes(8, "little") + data)
        file.truncate(8 + len(data) + 2 * 2**30)
    if hashlib.sha256(data).digest()[0] % 2:
        (folder / "config.json").write_bytes(next(c for c in _configs() if b'"qwen3"' in c))
    return [["-m", str(folder), *_QUICK]]


def _gguf() -> list[bytes]:
    import tempfile

    import numpy as np
    from gguf import GGUFWriter

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.gguf"
        writer = GGUFWriter(path, "llama")
        writer.add_block_count(2)
        writer.add_context_length(4096)
        writer.add_embedding_length(64)
        writer.add_head_count(4)
        writer.add_head_count_kv([2, 1])
        writer.add_vocab_size(100)
        for tensor in (
            "token_embd",
            *(f"blk.{i}.{n}" for i in range(2) for n in ("attn_q", "attn_k", "ffn_up", "attn_norm")),
        ):
            writer.add_tensor(f"{tensor}.weight", np.zeros((64, 64), np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        return [path.read_bytes()]


def _gguf_file(folder: Path, data: bytes) -> Sequence[Words]:
    path = folder / "x.gguf"
    with path.open("wb") as file:
        file.write(data)
        file.truncate(len(data) + 2**20)
    return [["-m", str(path), *_QUICK]]


def _index() -> list[bytes]:
    names = [
        f"model.layers.{i}.{n}.weight"
        for i in range(28)
        for n in ("self_attn.q_proj", "mlp.up_proj", "input_layernorm")
    ]
    shards = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    return [json.dumps({"metadata": {"total_size": 1_192_135_680}, "weight_map": shards}).encode()]


def _logs() -> list[bytes]:
    lines = [
        "INFO 11-22 11:00:00 [__init__.py:1] vLLM API server version 0.32.0",
        "(EngineCore pid=4) INFO Model loading took 14.2488 GiB memory and 12.345 seconds",
        "(EngineCore pid=4) INFO Available KV cache memory: 50.33 GiB",
        "(EngineCore pid=4) INFO GPU KV cache size: 412,345 tokens, Maximum concurrency for 8,192 tokens per request: 50.33x",
        "INFO Graph capturing finished in 21 secs, took 0.54 GiB",
        "INFO torch.compile takes 25.12 s in total",
        "ValueError: the model's max seq len (4096), the estimated maximum model length is 896.",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.2 GiB is free.",
    ]
    return ["\n".join(lines).encode(), "\n".join(lines[::-1] * 20).encode()]


def _findings() -> list[bytes]:
    from tests.findings import at
    from tests.planning import ask as answer_of
    from tests.test_catalog_sharing import inspected
    from whichgpu.catalog.bundles import packed
    from whichgpu.catalog.records import answer_finding, note_finding, price_finding, tag_finding
    from whichgpu.plan.records import PriceOffer

    inspection = inspected("Qwen/Qwen3-8B")
    offer = PriceOffer(
        accelerator="h100_sxm", usd_per_hour=2.0, provider="c", kind="on-demand", date="2026-11-01", source="a"
    )
    findings = [
        inspection,
        answer_finding(inspection, answer_of("Qwen/Qwen3-8B", "h100_sxm"), at(1)),
        price_finding(offer, False, at(2)),
        note_finding("Qwen/Qwen3-8B", "words", at(3)),
        tag_finding("Qwen/Qwen3-8B", "served", True, at(4)),
    ]
    return [gzip.decompress(data) for data in packed(findings, at(5), [("ada", "Ada", "here")]).values()]


def _bundle(folder: Path, data: bytes) -> Sequence[Words]:
    """As whoever writes bundles would: identities made anew where a body is there, so that forms are reached behind them."""
    from whichgpu.catalog.records import canonical, identity_of

    lines = []
    for line in data.split(b"\n"):
        try:
            content = json.loads(line)
            body = canonical(content["body"])
            content["identity"] = identity_of(content["kind"], content["about"], content["tool_version"], body)
            lines.append(json.dumps(content).encode())
        except (ValueError, KeyError, TypeError, RecursionError):
            lines.append(line)
    packed = gzip.compress(b"\n".join(lines), mtime=0, compresslevel=1)
    path = folder / f"{hashlib.sha256(packed).hexdigest()}.jsonl.gz"
    path.write_bytes(packed)
    at = ("--catalog", str(folder / "catalog.db"))
    model = ["-m", "Qwen/Qwen3-8B", *_QUICK]
    return [["catalog", "import", str(path), *at], ["catalog", "list", *at], ["prices", "list", *at], [*model, *at]]


def _catalogs() -> list[bytes]:
    import tempfile

    from tests.findings import at
    from tests.test_catalog_sharing import inspected
    from whichgpu.catalog.records import note_finding
    from whichgpu.catalog.store import Catalog

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "catalog.db"
        Catalog(path).add(inspected("Qwen/Qwen3-8B"), note_finding("Qwen/Qwen3-8B", "words", at(3)))
        return [path.read_bytes()]


def _catalog(folder: Path, data: bytes) -> Sequence[Words]:
    path = folder / "other.db"
    path.write_bytes(data)
    at = ("--catalog", str(path))
    mine = ("--catalog", str(folder / "mine.db"))
    return [["catalog", "list", *at], ["catalog", "show", "Qwen/Qwen3-8B", *at], ["catalog", "merge", str(path), *mine]]


_PRICES = [
    b"accelerator,usd_per_hour,kind\nH100,1.75,on-demand\nMI300X,2.5,spot\n",
    (
        b"InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Price,SpotPrice,Region,AvailabilityZone\n"
        b"8xH100,128,1600,H100,8.0,\"{'x'}\",23.6,10.0,eu-north1,a\n1xA100,16,100,A100-80GB,1.0,,1.29,,FIN-01,\n"
    ),
]
_FLEETS = [
    b"Qwen/Qwen3-8B\nopenai/gpt-oss-20b\n",
    b"model,concurrency,replicas,context\nQwen/Qwen3-8B,4,2,8192\nopenai/gpt-oss-20b,16,1,4096\n",
    b'[{"model": "Qwen/Qwen3-8B", "concurrency": 8, "precision": "fp8", "rate": 2.5}, "openai/gpt-oss-20b"]',
    b"- model: Qwen/Qwen3-8B\n  context: 4096\n  kv_dtype: fp8\n- openai/gpt-oss-20b\n",
]
_SETTINGS = [
    b'theme = "textual-dark"\nmemory_unit = "GB"\ncurrency = "EUR"\nper_usd = 0.9\n[keys]\n"plan.copy" = "Y"\n'
]
_PIPELINES = [
    (
        b'{"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"], "vae": ["diffusers", "AutoencoderKL"],'
        b' "text_encoder": ["transformers", "CLIPTextModel"]}'
    )
]


def _gpus() -> list[bytes]:
    from whichgpu.tui.desk.facts import load_facts

    cards = [card.model_dump(mode="json") | {"key": f"own_{n}"} for n, card in enumerate(load_facts().accelerators[:2])]
    return [json.dumps({"accelerators": cards}).encode()]


def _records() -> list[bytes]:
    path = Path(__file__).parent / "seeds" / "trial.json"
    return [path.read_bytes()]


def _pipeline(folder: Path, data: bytes) -> Sequence[Words]:
    (folder / "model_index.json").write_bytes(data)
    for name in ("transformer", "vae", "text_encoder"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text('{"_class_name": "X", "num_layers": 2, "in_channels": 4}')
    return [["-m", str(folder), *_QUICK]]


def _words(folder: Path, data: bytes) -> Sequence[Words]:
    """The input as a name, as a query and as values of options."""
    text = os.fsdecode(data.replace(b"\0", b"")[:300])
    model = ["-m", "Qwen/Qwen3-8B", *_QUICK]
    at = ("--catalog", str(folder / "catalog.db"))
    options = ("--context", "--gpu", "--price", "--vllm", "--kv-dtype", "--rate", "--precision", "--max-ttft")
    option = options[len(data) % len(options)]
    return [["-m", text, "--offline", *at], ["catalog", "search", "--", text, *at], [*model, f"{option}={text}", *at]]


_TYPED = [
    b"Qwen/Qwen3-8B@main", b"https://huggingface.co/Qwen/Qwen3-8B/tree/main", b"class:moe gpu:h100 size:<10B licence:apache", b"H100:80GB:$2.5",
    b"0.32", b"32k", b"4x", b"fp8", b"h100=1.5", b"tag:served context:>8192 \"a b\" -not",
]  # fmt: skip


def _hub_answers() -> list[bytes]:
    config = json.loads(next(c for c in _configs() if b'"qwen3"' in c))
    header = json.loads(_safetensors()[0])
    commit = "0123456789abcdef0123456789abcdef01234567"
    names = ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    files = [{"rfilename": name, "size": 2**31, "lfs": {"size": 2**31}} for name in names]
    info = {"id": "a/b", "sha": commit, "private": False, "gated": False, "tags": ["license:mit"], "siblings": files}
    info |= {"pipeline_tag": "text-generation", "lastModified": "2026-01-02T03:04:05.000Z", "safetensors": {"total": 5}}
    keys = list(header)
    halves = {name: {k: header[k] for k in keys[n::2]} for n, name in enumerate(names[1:])}
    answers = {
        "/api/models/a/b": info,
        "/api/models/a/b/safetensors-metadata": {"index": {"metadata": {}}, "headers": halves},
        f"/a/b/resolve/{commit}/config.json": config,
    }
    return [json.dumps(answers).encode()]


def _hub(folder: Path, data: bytes) -> Sequence[Words]:
    constants.ENDPOINT, constants.HF_HUB_OFFLINE = answering(data), False
    return [["-m", "a/b", "-q", "--gpu", "H100", "--catalog", str(folder / "catalog.db"), "--max-age", "0"]]


def _server_answers() -> list[bytes]:
    facts = {"model_memory_usage": 3 * 2**30, "available_kv_cache_memory_bytes": 2**28, "peak_activation_memory": 2**20}
    answers = {
        "/health": "",
        "/version": {"version": "0.32"},
        "/v1/models": {"data": [{"id": "m", "max_model_len": 4096}]},
        "/metrics": METRICS,
        "/v1/completions": {"choices": [{"text": "x"}], "usage": {"completion_tokens": 8}},
        "/collective_rpc": {"results": [facts]},
    }
    return [json.dumps(answers).encode()]


def _server(folder: Path, data: bytes) -> Sequence[Words]:
    (folder / "config.json").write_bytes(next(c for c in _configs() if b'"qwen3"' in c))
    vllm = folder / "vllm"
    vllm.write_text("#!/bin/sh\nexit 1\n")
    vllm.chmod(0o755)
    words = ("--vllm-at", str(vllm), "--folder", str(folder / "runs"), "--context", "1024", "--budget", "20")
    return [
        ["trial", "-m", str(folder), "--cpu", "--server", answering(data), *words, "--catalog", str(folder / "c.db")]
    ]


READERS: dict[str, Reader] = {
    "config": Reader(_configs, turned_json, _file("config.json", "-m", "FOLDER", *_QUICK)),
    "header": Reader(_safetensors, turned_json, _header),
    "header-bytes": Reader(_safetensors, turned_bytes, _header),
    "index": Reader(
        _index, turned_json, _file("model.safetensors.index.json", "-m", "FOLDER", *_QUICK, config__json=b'{"model_type": "qwen3", "hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3072, "vocab_size": 151936, "tie_word_embeddings": true}')
    ),
    "gguf": Reader(_gguf, turned_bytes, _gguf_file),
    "pipeline": Reader(lambda: _PIPELINES, turned_json, _pipeline),
    "log": Reader(_logs, turned_bytes, _file("vllm.log", "read-log", "FILE")),
    "record": Reader(_records, turned_json, _file("r.json", "trial", "import", "FILE", "--catalog", "CATALOG")),
    "bundle": Reader(_findings, turned_lines, _bundle),
    "catalog": Reader(_catalogs, turned_bytes, _catalog),
    "price": Reader(lambda: _PRICES, turned_bytes, _file("p.csv", "-m", "Qwen/Qwen3-8B", *_QUICK, "--price-file", "FILE")),
    "price-list": Reader(
        lambda: _PRICES, turned_bytes, _file("p.csv", "prices", "refresh", "--from", "FILE", "--catalog", "CATALOG")
    ),
    "gpu": Reader(_gpus, turned_json, _file("g.json", "-m", "Qwen/Qwen3-8B", "--offline", "-q", "--gpu-file", "FILE", "--gpu", "own_0")),
    "fleet": Reader(lambda: _FLEETS, turned_bytes, _file("fleet.txt", "fleet", "FILE", "--offline", "--catalog", "CATALOG")),
    "settings": Reader(lambda: _SETTINGS, turned_bytes, _file("config.toml", "-m", "Qwen/Qwen3-8B", *_QUICK)),
    "hub": Reader(_hub_answers, turned_json, _hub),
    "server": Reader(_server_answers, turned_json, _server),
    "words": Reader(lambda: _TYPED, turned_bytes, _words),
}  # fmt: skip
