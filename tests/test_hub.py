"""The Hub, end to end on loopback: what is asked, how often, and what is answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Result
from tests.hub import HubStandIn, Repo, Sparse, safetensors_file, shapes

Ask = Callable[..., Result]
Start = Callable[..., HubStandIn]

TOKEN = "hf_secret_of_the_test"


def inspection(result: Result) -> Any:
    assert result.code in (0, 1), result.err
    return json.loads(result.out)["inspection"]


def test_deepseek_v3_in_three_requests(start_hub: Start, ask: Ask) -> None:
    """163 shards, 91,991 tensors: 684.5 B parameters, 671.0 B without MTP, 641.28 GiB (deepseek-ai/DeepSeek-V3)."""
    hub = start_hub({"ds/V3": shapes.deepseek()})
    found = inspection(ask("--model", "ds/V3", "--json"))
    assert len(hub.seen) == 3
    assert found["source"]["requests"] == 3
    assert found["grade"] == "tensor headers"
    assert found["parameters"]["total"]["value"] == 684_489_845_504
    assert found["parameters"]["without_mtp"]["value"] == 671_026_419_200
    assert round(found["weights"]["total"]["value"] / 2**30, 2) == 641.29
    assert sum(t["count"] for t in found["tensors"]) == 91_991
    assert found["classes"] == ["moe"]


def test_a_mirror_is_read_by_ranges(start_hub: Start, ask: Ask) -> None:
    hub = start_hub({"meta/L8": shapes.llama_8b(offers_metadata=False)})
    found = inspection(ask("--model", "meta/L8", "--json"))
    assert found["parameters"]["total"]["value"] == 8_030_261_248
    assert found["source"]["requests"] == 3 + 4, "listing, config, the endpoint that is not there, one per shard"
    paths = [s.path for s in hub.requests("hub")]
    assert len(paths) == len(set(paths)), "nothing is asked twice"
    assert all(s.range == "bytes=0-99999" for s in hub.requests("cdn"))


def test_a_pinned_revision_never_asks_the_endpoint_of_main(start_hub: Start, ask: Ask) -> None:
    hub = start_hub({"meta/L8": shapes.llama_8b(revisions=("main", "v1"))})
    found = inspection(ask("--model", "meta/L8@v1", "--json"))
    assert found["source"]["revision"] == "v1"
    assert found["source"]["requests"] == 2 + 4
    assert not any("safetensors-metadata" in s.path for s in hub.seen)


def test_a_single_file_takes_three_requests(start_hub: Start, ask: Ask) -> None:
    start_hub({"q/s": shapes.qwen3_06b()})
    found = inspection(ask("--model", "q/s", "--json"))
    assert found["source"]["requests"] == 3
    assert found["parameters"]["total"]["value"] == 596_049_920
    assert found["architecture"]["tied_embeddings"] is True


def test_a_long_header_takes_one_more_request(start_hub: Start, ask: Ask) -> None:
    many = {f"model.layers.0.mlp.experts.{i}.up_proj.weight": ("BF16", (8, 8)) for i in range(3000)}
    config = json.dumps({"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 8}).encode()
    hub = start_hub({"a/b": Repo({"config.json": config, "model.safetensors": safetensors_file(many)})})
    found = inspection(ask("--model", "a/b", "--json"))
    assert found["source"]["requests"] == 4
    assert sum(t["count"] for t in found["tensors"]) == 3000
    assert next(s.range for s in hub.requests("cdn")) == "bytes=0-99999"


def test_the_token_stays_with_the_hub(start_hub: Start, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub = start_hub({"p/m": shapes.qwen3_06b(private=True)}, token=TOKEN)
    result = ask("--model", "p/m", "--json")
    assert inspection(result)["source"]["private"] is True
    assert {s.authorization for s in hub.requests("hub")} == {f"Bearer {TOKEN}"}
    assert {s.authorization for s in hub.requests("cdn")} == {None}
    assert TOKEN not in result.out + result.err


def test_a_renamed_repository_says_its_new_name(start_hub: Start, ask: Ask) -> None:
    start_hub({"old/name": Repo({}, renamed_to="new/name"), "new/name": shapes.qwen3_06b()})
    result = ask("--model", "old/name", "--json")
    assert inspection(result)["source"]["name"] == "new/name"
    assert "now called new/name" in result.err


def test_the_letter_case_of_an_id_does_not_matter(start_hub: Start, ask: Ask) -> None:
    start_hub({"Org/Name": shapes.qwen3_06b()})
    assert inspection(ask("--model", "org/name", "--json"))["source"]["name"] == "Org/Name"


def test_copies_are_not_counted_twice(start_hub: Start, ask: Ask) -> None:
    repo = shapes.llama_8b()
    one = repo.files["model-00001-of-00004.safetensors"]
    assert isinstance(one, Sparse)
    repo.files |= {
        "consolidated.safetensors": one,
        "original/model.safetensors": one,
        "pytorch_model.bin": Sparse(b"", 16_000_000_000),
        "model.fp16.safetensors": one,
        "adapter_model.safetensors": one,
        "training_args.bin": Sparse(b"", 5000),
    }
    start_hub({"meta/L8": repo})
    found = inspection(ask("--model", "meta/L8", "--json"))
    assert found["parameters"]["total"]["value"] == 8_030_261_248
    assert found["selection"]["counted"] == ["model-*.safetensors (4)"]
    assert dict(found["selection"]["ignored"]) == {
        "adapter_model.safetensors": "adapter (LoRA)",
        "consolidated.safetensors": "the same weights in the publisher's format",
        "model.fp16.safetensors": "another precision of the same weights",
        "original/model.safetensors": "the publisher's original format",
        "pytorch_model.bin": "pickle copy of the safetensors",
    }


def test_a_repository_of_pickles_is_graded_by_its_sizes(start_hub: Start, ask: Ask) -> None:
    hub = start_hub(
        {
            "a/b": Repo(
                {"config.json": json.dumps(shapes.LLAMA_8B).encode(), "pytorch_model.bin": Sparse(b"", 16_060_556_376)}
            )
        }
    )
    found = inspection(ask("--model", "a/b", "--json"))
    assert found["grade"] == "file sizes"
    assert found["parameters"]["total"] == {
        "value": 8_030_261_248,
        "unit": "parameters",
        "origin": "computed",
        "source": "config: architecture",
    }
    assert hub.requests("cdn") == [], "a pickle is never opened"


def test_fp32_files_under_a_bf16_config_are_noticed(start_hub: Start, ask: Ask) -> None:
    start_hub(
        {
            "a/b": Repo(
                {"config.json": json.dumps(shapes.LLAMA_8B).encode(), "pytorch_model.bin": Sparse(b"", 32_121_044_992)}
            )
        }
    )
    result = ask("--model", "a/b", "--json")
    found = inspection(result)
    assert found["parameters"]["total"]["value"] == 8_030_261_248
    assert "4 bytes per parameter" in result.err


def test_a_repository_with_a_config_alone(start_hub: Start, ask: Ask) -> None:
    start_hub({"a/b": Repo({"config.json": json.dumps(shapes.LLAMA_8B).encode()})})
    found = inspection(ask("--model", "a/b", "--json"))
    assert (found["grade"], found["parameters"]["total"]["value"]) == ("config", 8_030_261_248)


def test_quick_leaves_headers_alone(start_hub: Start, ask: Ask) -> None:
    hub = start_hub({"meta/L8": shapes.llama_8b()})
    found = inspection(ask("--model", "meta/L8", "--json", "--quick"))
    assert found["grade"] == "file sizes"
    assert found["parameters"]["total"]["value"] == 8_030_261_248
    assert hub.requests("cdn") == []


def test_a_missing_shard_is_said_and_lowers_the_grade(start_hub: Start, ask: Ask) -> None:
    repo = shapes.llama_8b()
    del repo.files["model-00003-of-00004.safetensors"]
    start_hub({"meta/L8": repo})
    found = inspection(ask("--model", "meta/L8", "--json"))
    assert found["grade"] == "config"
    assert found["unread"] == ["1 of 4 shards are missing."]
    assert found["parameters"]["total"]["value"] == 8_030_261_248


def test_an_index_that_climbs_out_is_not_followed(start_hub: Start, ask: Ask) -> None:
    index = {"metadata": {"total_size": 16_060_522_496}, "weight_map": {"lm_head.weight": "../../etc/passwd"}}
    files: dict[str, bytes | Sparse] = {
        "config.json": json.dumps(shapes.LLAMA_8B).encode(),
        "model.safetensors.index.json": json.dumps(index).encode(),
    }
    hub = start_hub({"a/b": Repo(files)})
    result = ask("--model", "a/b", "--json")
    assert inspection(result)["grade"] == "file sizes"
    assert "outside the repository" in result.err
    assert not any("passwd" in s.path for s in hub.seen)


@pytest.mark.parametrize("names", [("part-a.safetensors", "part-b.safetensors"), ("model-1-of-2.safetensors",) * 2])
def test_the_index_says_which_files_are_the_model(start_hub: Start, ask: Ask, names: tuple[str, str]) -> None:
    first, second = names[0], names[1].replace("-1-", "-2-")
    half: dict[str, tuple[str, tuple[int, ...]]] = {"model.layers.0.mlp.up_proj.weight": ("BF16", (8, 8))}
    other: dict[str, tuple[str, tuple[int, ...]]] = {"model.layers.1.mlp.up_proj.weight": ("BF16", (8, 8))}
    where = dict.fromkeys(half, first) | dict.fromkeys(other, second)
    files: dict[str, bytes | Sparse] = {
        "config.json": json.dumps(shapes.LLAMA_8B).encode(),
        "model.safetensors.index.json": json.dumps({"metadata": {"total_size": 256}, "weight_map": where}).encode(),
        first: safetensors_file(half),
        second: safetensors_file(other),
        "old-weights.safetensors": safetensors_file({"x.weight": ("F32", (64, 64))}),
    }
    start_hub({"a/b": Repo(files)})
    found = inspection(ask("--model", "a/b", "--json"))
    assert found["parameters"]["total"]["value"] == 128
    assert "old-weights.safetensors" in dict(found["selection"]["ignored"])


def test_an_nf4_component_counts_what_is_packed(start_hub: Start, ask: Ask) -> None:
    state = "proj.weight.quant_state.bitsandbytes__nf4"
    packed: dict[str, tuple[str, tuple[int, ...]]] = {
        "proj.weight": ("U8", (5000, 1)),
        "proj.weight.absmax": ("U8", (157,)),
        state: ("U8", (200,)),
        "norm.weight": ("BF16", (100,)),
    }
    pipeline = {"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}
    files: dict[str, bytes | Sparse] = {
        "model_index.json": json.dumps(pipeline).encode(),
        "transformer/diffusion_pytorch_model.safetensors": safetensors_file(packed),
    }
    start_hub({"a/nf4": Repo(files)})
    assert inspection(ask("--model", "a/nf4", "--json"))["parameters"]["total"]["value"] == 10_100


def test_unknown_model_type_is_answered_with_a_warning(start_hub: Start, ask: Ask) -> None:
    config = shapes.LLAMA_8B | {"model_type": "brandnew\x1b[31m", "architectures": ["BrandNewForCausalLM"]}
    start_hub({"a/b": Repo({"config.json": json.dumps(config).encode()})})
    result = ask("--model", "a/b", "--json")
    assert inspection(result)["parameters"]["total"]["value"] == 8_030_261_248
    assert "is not in our table" in result.err
    assert "\x1b" not in result.err + result.out


def test_diffusers_components_are_counted_once(start_hub: Start, ask: Ask) -> None:
    def part(width: int) -> Sparse:
        return safetensors_file({"blocks.0.weight": ("BF16", (width, 1000))})

    pipeline = {
        "_class_name": "FluxPipeline",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None],
    }
    files: dict[str, bytes | Sparse] = {
        "model_index.json": json.dumps(pipeline).encode(),
        "flux1-dev.safetensors": part(9999),
        "text_encoder/model.safetensors": part(100),
        "text_encoder/model.fp16.safetensors": part(100),
        "text_encoder/pytorch_model.bin": Sparse(b"", 1000),
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors": part(1000),
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors": part(500),
        "vae/diffusion_pytorch_model.safetensors": part(30),
    }
    hub = start_hub({"bfl/flux": Repo(files)})
    found = inspection(ask("--model", "bfl/flux", "--json"))
    assert found["classes"] == ["diffusion"]
    assert {c["name"]: c["parameters"]["value"] for c in found["components"]} == {
        "text_encoder": 100_000,
        "transformer": 1_500_000,
        "vae": 30_000,
    }
    assert found["parameters"]["total"]["value"] == 1_630_000
    assert found["source"]["requests"] <= 3 + 4
    assert "single-file copy of the pipeline" in dict(found["selection"]["ignored"]).values()
    assert not any(s.path.endswith(".bin") for s in hub.seen)


def test_config_and_tensors_that_disagree_are_both_heard(start_hub: Start, ask: Ask) -> None:
    tensors = {
        "model.embed_tokens.weight": ("BF16", (8, 8)),
        "model.layers.0.mlp.experts.0.up_proj.weight": ("BF16", (8, 8)),
        "model.layers.0.self_attn.q_proj.weight": ("BF16", (8, 8)),
    }
    config = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 8}
    config |= {"vision_config": {"hidden_size": 8, "num_hidden_layers": 2, "patch_size": 14}}  # type: ignore[dict-item]
    start_hub(
        {"a/b": Repo({"config.json": json.dumps(config).encode(), "model.safetensors": safetensors_file(tensors)})}
    )
    result = ask("--model", "a/b", "--json")
    assert inspection(result)["classes"] == ["multimodal", "moe"]
    assert "Tensors show experts, but the config does not name it." in result.err
    assert "The config names a vision encoder, but no tensor does." in result.err


def test_terms_are_read_with_the_listing_and_shown(start_hub: Start, ask: Ask) -> None:
    info = {"tags": ["pytorch", "license:apache-2.0"], "lastModified": "2026-03-01T10:00:00.000Z", "gated": "auto"}
    start_hub({"a/b": shapes.qwen3_06b(extra_info=info), "a/c": shapes.qwen3_06b(extra_info={"tags": 5, "gated": 7})})
    said = ask("-m", "a/b", "--explain").out
    assert ", gated" in said.splitlines()[0]
    assert "offered      licence apache-2.0, gated, changed 2026-03-01" in said
    source = json.loads(ask("-m", "a/c", "--json").out)["inspection"]["source"]
    assert (source["licence"], source["gated"], source["modified"]) == (None, None, None)
