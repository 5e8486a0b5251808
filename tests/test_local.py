"""Models on this machine: folders, single files, GGUF, the Hugging Face cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from safetensors.numpy import save_file

from tests.conftest import Result
from tests.hub import HubStandIn, Repo, Sparse, shapes

Ask = Callable[..., Result]
Start = Callable[..., HubStandIn]


def inspection(result: Result) -> Any:
    assert result.code in (0, 1), result.err
    return json.loads(result.out)["inspection"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny Llama on disk, as transformers saves it."""
    config = shapes.LLAMA_8B | {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 320,
    }
    root = tmp_path / "tiny"
    root.mkdir()
    (root / "config.json").write_text(json.dumps(config))
    arrays: dict[str, np.ndarray[Any, Any]] = {n: np.zeros(s, np.float16) for n, (_, s) in shapes.dense(config)}
    save_file(arrays, root / "model.safetensors")
    return root


def write_gguf(path: Path, architecture: str = "llama", layers: int = 2) -> int:
    """Write a small GGUF file with the gguf package and return its parameters."""
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(layers)
    writer.add_context_length(4096)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_token_list([f"t{i}" for i in range(320)])
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "token_embd.weight": np.zeros((320, 64), np.float16),
        "output_norm.weight": np.zeros(64, np.float32),
    }
    for i in range(layers):
        arrays[f"blk.{i}.attn_q.weight"] = np.zeros((64, 64), np.float16)
        arrays[f"blk.{i}.ffn_up.weight"] = np.zeros((128, 64), np.float16)
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sum(a.size for a in arrays.values())


def test_a_folder(folder: Path, ask: Ask) -> None:
    found = inspection(ask("--model", str(folder), "--json"))
    assert (found["source"]["kind"], found["source"]["name"]) == ("folder", "tiny")
    assert found["grade"] == "tensor headers"
    assert found["weights"]["by_dtype"] == {"F16": found["weights"]["total"]["value"]}


def test_a_single_safetensors_file_uses_the_config_beside_it(folder: Path, ask: Ask) -> None:
    found = inspection(ask("--model", str(folder / "model.safetensors"), "--json"))
    assert found["source"]["kind"] == "file"
    assert found["architecture"]["layers"] == 2


def test_a_single_safetensors_file_alone(tmp_path: Path, ask: Ask) -> None:
    save_file({"blk.weight": np.zeros((4, 4), np.float16)}, tmp_path / "lonely.safetensors")
    found = inspection(ask("--model", str(tmp_path / "lonely.safetensors"), "--json"))
    assert found["parameters"]["total"]["value"] == 16
    assert found["architecture"] is None


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3"])
def test_a_gguf_file(tmp_path: Path, ask: Ask, architecture: str) -> None:
    count = write_gguf(tmp_path / "tiny-Q4_K_M.gguf", architecture)
    found = inspection(ask("--model", str(tmp_path / "tiny-Q4_K_M.gguf"), "--json"))
    assert found["parameters"]["total"] == {
        "value": count,
        "unit": "parameters",
        "origin": "read",
        "source": "GGUF header",
    }
    assert (found["architecture"]["layers"], found["architecture"]["vocabulary"]) == (2, 320)
    assert found["quantisation"]["method"] == "gguf"
    assert found["architecture"]["kv_heads"] == 2


@pytest.mark.parametrize("data", [b"", b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 64, b"no gguf at all" * 10])
def test_a_damaged_gguf_file(tmp_path: Path, ask: Ask, data: bytes) -> None:
    (tmp_path / "bad.gguf").write_bytes(data)
    result = ask("--model", str(tmp_path / "bad.gguf"))
    assert result.code == 6
    assert "Traceback" not in result.err


def test_gguf_variants_are_listed_and_split_files_grouped(start_hub: Start, ask: Ask, tmp_path: Path) -> None:
    count = write_gguf(tmp_path / "x.gguf")
    data = (tmp_path / "x.gguf").read_bytes()
    rest = tmp_path / "y.gguf"
    other = write_gguf(rest, layers=1)
    files: dict[str, bytes | Sparse] = {
        "m-Q8_0.gguf": Sparse(data, len(data)),
        "m-Q4_K_M-00001-of-00002.gguf": Sparse(data, len(data)),
        "m-Q4_K_M-00002-of-00002.gguf": Sparse(rest.read_bytes(), rest.stat().st_size),
        "mmproj-m-F16.gguf": Sparse(data, len(data)),
    }
    start_hub({"a/m-GGUF": Repo(files)})
    found = inspection(ask("--model", "a/m-GGUF", "--json"))
    assert [(v["name"], len(v["files"])) for v in found["variants"]] == [("m-Q4_K_M", 2), ("m-Q8_0", 1)]
    assert found["parameters"]["total"]["value"] == count + other
    picked = inspection(ask("--model", "a/m-GGUF", "--json", "--variant", "q8_0"))
    assert picked["selection"]["counted"] == ["m-Q8_0.gguf"]
    assert picked["parameters"]["total"]["value"] == count


def test_a_cache_entry_in_all_its_spellings(
    folder: Path, tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    entry = tmp_path / "hub" / "models--org--tiny"
    commit = "abcdef0123456789abcdef0123456789abcdef01"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text(commit)
    (entry / "snapshots").mkdir()
    folder.rename(entry / "snapshots" / commit)
    for reference in (entry, entry / "snapshots" / commit):
        found = inspection(ask("--model", str(reference), "--json"))
        assert (found["source"]["kind"], found["source"]["name"], found["source"]["commit"]) == (
            "cache",
            "org/tiny",
            commit,
        )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert (
        json.loads(ask("--model", "org/tiny", "--offline", "--json", "--catalog", str(tmp_path / "new.db")).out)[
            "origin"
        ]
        == "cache"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert inspection(ask("--model", "org/tiny", "--json"))["grade"] == "tensor headers"


def test_hub_offline_without_a_cache_uses_the_atlas(ask_fresh: Ask) -> None:
    result = ask_fresh("--model", "openai/gpt-oss-20b", "--json", HF_HUB_OFFLINE="1")
    assert json.loads(result.out)["origin"] == "atlas"
    assert "HF_HUB_OFFLINE" in result.err


@pytest.mark.parametrize("name", ["empty-folder", "missing", "no-model.safetensors"])
def test_nothing_there(tmp_path: Path, ask: Ask, name: str) -> None:
    path = tmp_path / name
    if name == "empty-folder":
        path.mkdir()
    result = ask("--model", str(path))
    assert result.code == (6 if name == "empty-folder" else 4)
    assert result.out == ""


def test_a_folder_without_permission(folder: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    def refuse(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)  # the tests may run as root, whom no mode keeps out
    result = ask("--model", str(folder))
    assert result.code == 5
    assert "No permission" in result.err


def test_an_adapter_says_what_it_is(tmp_path: Path, ask: Ask) -> None:
    save_file({"base.lora_A.weight": np.zeros((8, 64), np.float16)}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "org/base"}')
    result = ask("--model", str(tmp_path), "--json")
    assert result.code == 1, "an adapter alone runs nowhere"
    assert "adapter" in result.err
    assert inspection(result)["parameters"]["total"]["value"] == 512
    assert inspection(result)["adapter_of"] == "org/base"
    assert "ask for org/base" in ask("--model", str(tmp_path)).out


def test_a_folder_that_looks_like_an_id_is_pointed_at(folder: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "org").mkdir()
    folder.rename(folder.parent / "org" / "tiny")
    monkeypatch.chdir(folder.parent)
    assert "write ./org/tiny" in ask("--model", "org/tiny", "--offline").err
    assert ask("--model", "./org/tiny", "--offline").code == 0


def test_one_shard_stands_for_all_of_them(tmp_path: Path, ask: Ask) -> None:
    for index in (1, 2):
        name = f"model-0000{index}-of-00002.safetensors"
        save_file({f"layer{index}.weight": np.zeros((4, 4), np.float16)}, tmp_path / name)
    save_file({"other.weight": np.zeros((9, 9), np.float16)}, tmp_path / "other.safetensors")
    found = inspection(ask("--model", str(tmp_path / "model-00001-of-00002.safetensors"), "--json"))
    assert found["parameters"]["total"]["value"] == 32


def test_a_subfolder_without_permission_is_left_out_and_said(
    folder: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    (folder / "private").mkdir()
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "private":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # the tests may run as root, whom no mode keeps out
    result = ask("--model", str(folder), "--json")
    assert inspection(result)["grade"] == "tensor headers"
    assert "private is left out: no permission" in result.err


def test_a_missing_variant_names_those_that_are_there(tmp_path: Path, ask: Ask) -> None:
    write_gguf(tmp_path / "m-Q4_K_M.GGUF")
    assert inspection(ask("--model", str(tmp_path), "--json"))["quantisation"]["method"] == "gguf"
    result = ask("--model", str(tmp_path), "--variant", "nosuch")
    assert result.code == 4
    assert "There are: m-Q4_K_M." in result.err
