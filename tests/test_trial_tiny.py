"""Models made tiny: the rules on published configs, the command on a stand-in for vLLM, each kind of model on a real one."""

from __future__ import annotations

import copy
import json
import re
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result
from tests.hub import HubStandIn, Repo
from tests.hub.content import Content
from tests.trying import VLLM, left_over, needs_vllm, words_of
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.architecture import read_design
from whichgpu.inspect.config_view import ConfigView
from whichgpu.inspect.design import Design
from whichgpu.inspect.errors import UnreadableError
from whichgpu.inspect.published import read_published
from whichgpu.inspect.reference import parse_reference
from whichgpu.trial.errors import TrialError
from whichgpu.trial.failures import explain
from whichgpu.trial.launch import Launcher, python_of
from whichgpu.trial.records import Trial
from whichgpu.trial.tiny import _unquantised
from whichgpu.trial.tiny_config import tiny_config
from whichgpu.trial.tiny_fp8 import fp8_order
from whichgpu.trial.tiny_writer import _is_kept
from whichgpu.tui.words.exit_codes import ExitCode
from whichgpu.tui.words.trial_report import report

Run = Callable[..., Result]
HERE = Path(__file__).parent
FAMILIES = sorted(path.stem for path in (HERE / "families").glob("*.json"))
FP8 = "Qwen__Qwen3-30B-A3B-FP8"
VISION = "ibm-granite__granite-docling-258M"


def published(name: str) -> dict[str, Any]:
    """A config.json as it is published."""
    for folder in ("judged", "tiny"):
        path = HERE / folder / name / "config.json"
        if path.is_file():
            return dict(json.loads(path.read_text()))
    return dict(json.loads((HERE / "families" / f"{name}.json").read_text())["config"])


def design_of(config: dict[str, Any]) -> Design:
    design = read_design(ConfigView(config, "config.json"))
    assert design is not None
    return design


def kinds(design: Design) -> set[tuple[object, ...]]:
    pairs = zip(design.mixers, design.ffns, strict=True)
    return {(m.kind, m.beside.kind if m.beside else None, m.compress_ratio, f.kind) for m, f in pairs}


class TestRules:
    @pytest.mark.parametrize("name", [*FAMILIES, FP8, VISION])
    def test_every_kind_of_layer_stays_and_everything_divides(self, name: str) -> None:
        config = published(name)
        before = copy.deepcopy(config)
        shrunk = tiny_config(config)
        assert config == before, "pure"
        large, small = design_of(config), design_of(shrunk.config)
        assert kinds(small) == kinds(large)
        assert 2 <= small.layers == shrunk.layers <= large.layers
        assert small.vocabulary == large.vocabulary
        assert small.hidden == shrunk.hidden <= large.hidden
        assert small.hidden % 64 == 0 or small.hidden == large.hidden
        for mixer, of_large in ((m, n) for m in small.mixers for n in large.mixers if m.kind is n.kind):
            assert mixer.head_dim == of_large.head_dim
            assert (mixer.kv_lora_rank, mixer.rope_head_dim) == (of_large.kv_lora_rank, of_large.rope_head_dim)
            assert (mixer.state_dim, mixer.conv_kernel) == (of_large.state_dim, of_large.conv_kernel)
            assert not mixer.heads or not mixer.kv_heads or mixer.heads % mixer.kv_heads == 0
        for ffn in small.ffns:
            assert (
                not ffn.experts or ffn.experts >= 2 * (ffn.top_k or 1) or ffn.experts in {f.experts for f in large.ffns}
            )
        assert len(json.dumps(shrunk.config)) <= len(json.dumps(config)) + 100

    @pytest.mark.parametrize("name", [*FAMILIES, FP8])
    def test_what_is_tiny_stays_so(self, name: str) -> None:
        once = tiny_config(published(name)).config
        again = tiny_config(once).config
        assert design_of(again).layers == design_of(once).layers
        assert design_of(again).hidden == design_of(once).hidden

    def test_patterns_lists_and_numbers_of_layers(self) -> None:
        nemotron = tiny_config(published("nvidia__NVIDIA-Nemotron-3-Nano-30B-A3B-BF16")).config
        assert (nemotron["hybrid_override_pattern"], nemotron["num_hidden_layers"]) == ("MEMEM*", 6)
        kimi = tiny_config(published("moonshotai__Kimi-Linear-48B-A3B-Instruct")).config
        numbers = kimi["linear_attn_config"]
        assert (numbers["kda_layers"], numbers["full_attn_layers"]) == ([1, 2, 3], [4]), "counted from one"
        gpt_oss = tiny_config(published("openai__gpt-oss-20b")).config
        assert gpt_oss["layer_types"] == ["sliding_attention", "full_attention"]
        image = tiny_config(published("Qwen__Qwen2.5-VL-7B-Instruct")).config["vision_config"]
        assert (image["depth"], image["fullatt_block_indexes"]) == (2, [1]), "one with full attention"
        deepseek = tiny_config(published("deepseek-ai__DeepSeek-V3")).config
        assert (deepseek["num_hidden_layers"], deepseek["first_k_dense_replace"]) == (4, 3)

    def test_experts_divide_by_their_groups(self) -> None:
        config = tiny_config(published("deepseek-ai__DeepSeek-V3")).config
        experts, groups, chosen = config["n_routed_experts"], config["n_group"], config["topk_group"]
        assert (experts, config["num_experts_per_tok"]) == (16, 8)
        assert experts % groups == 0
        assert experts // groups >= 2
        assert chosen * experts // groups >= 8

    def test_widths_are_multiples_of_what_is_scaled_together(self) -> None:
        config = tiny_config(published(FP8)).config
        assert all(config[key] % 128 == 0 for key in ("hidden_size", "moe_intermediate_size", "intermediate_size"))
        assert config["quantization_config"] == published(FP8)["quantization_config"], "the writer decides on it"

    def test_an_encoder_gives_what_the_language_model_takes(self) -> None:
        config = tiny_config(published("Qwen__Qwen2.5-VL-7B-Instruct")).config
        assert config["vision_config"]["out_hidden_size"] == config["hidden_size"] == 896
        assert config["vision_config"]["hidden_size"] == 1280, "its own width stays"

    def test_class_defaults_that_follow_are_said(self) -> None:
        """Gemma 3 of four billion leaves its heads to the class."""
        text = tiny_config(published("google__gemma-3-4b-it")).config["text_config"]
        assert (text["hidden_size"], text["num_attention_heads"], text["num_key_value_heads"]) == (640, 2, 1)

    def test_layers_that_share_a_cache_keep_some_to_share_with(self) -> None:
        types = (["sliding_attention"] * 4 + ["full_attention"]) * 7
        config = {"model_type": "gemma4_text", "hidden_size": 1536, "num_hidden_layers": 35, "num_kv_shared_layers": 20,
                  "num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 256, "intermediate_size": 6144,
                  "vocab_size": 262144, "layer_types": types, "sliding_window": 512}  # fmt: skip
        shrunk = tiny_config(config)
        assert (shrunk.layers, shrunk.config["num_kv_shared_layers"]) == (10, 5)
        assert shrunk.config["layer_types"] == types[:10]

    def test_no_language_model(self) -> None:
        with pytest.raises(TrialError, match="describes no language model"):
            tiny_config({"model_type": "vae"})

    def test_a_quantisation_that_stands_further_in_counts(self) -> None:
        """Kimi K2.5 has it in the language model's own config."""
        config = {"model_type": "any", "text_config": published(FP8)}
        assert tiny_config(config).config["text_config"]["moe_intermediate_size"] == 128
        left, found = _unquantised({**config, "auto_map": {"AutoConfig": "own.Config"}})
        assert found == published(FP8)["quantization_config"]
        assert "quantization_config" not in left["text_config"]
        assert "auto_map" not in left


class TestFp8Orders:
    def test_each_way_of_saying_it(self) -> None:
        block = fp8_order(published(FP8)["quantization_config"])
        assert block is not None
        assert (block["block"], block["static"], "lm_head" in block["kept"]) == ([128, 128], False, True)
        group = {"targets": ["Linear"], "weights": {"type": "float", "num_bits": 8, "strategy": "channel"},
                 "input_activations": {"dynamic": True}}  # fmt: skip
        compressed = fp8_order(
            {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, "ignore": ["x"]}
        )
        assert compressed is not None
        assert (compressed["per_channel"], compressed["static"], compressed["kept"]) == (True, False, ["x"])
        modelopt = fp8_order(
            {"quant_method": "modelopt", "quantization": {"quant_algo": "FP8", "exclude_modules": ["h"]}}
        )
        assert modelopt is not None
        assert (modelopt["static"], modelopt["kept"]) == (True, ["h"])

    @pytest.mark.parametrize(
        "quantisation",
        [
            {"quant_method": "gptq"},
            {"quant_method": "fp8", "weight_block_size": [0, 128]},
            {"quant_method": "fp8", "weight_block_size": "128"},
            {"quant_method": "compressed-tensors", "config_groups": {"group_0": 3}},
            {"quant_method": "compressed-tensors", "config_groups": []},
            {"quant_method": "modelopt", "quant_algo": "NVFP4"},
            {},
        ],
    )
    def test_others_are_none(self, quantisation: dict[str, Any]) -> None:
        assert fp8_order(quantisation) is None

    def test_what_stays_in_sixteen_bits(self) -> None:
        assert _is_kept("model.embed_tokens.weight", [])
        assert _is_kept("model.layers.0.mlp.gate.weight", [])
        assert not _is_kept("model.layers.0.mlp.gate_proj.weight", [])
        assert _is_kept("model.layers.0.self_attn.q_proj.weight", ["model.layers.0.self_attn"])
        assert _is_kept("model.layers.0.self_attn.q_proj.weight", ["re:.*q_proj$"])
        assert _is_kept("model.layers.0.self_attn.q_proj.weight", ["model.layers.0.self_attn*"])
        assert not _is_kept("model.layers.10.mlp.up_proj.weight", ["model.layers.1"])


class TestReading:
    def test_modelopts_own_file_counts(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
        (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "FP8"}}))
        (tmp_path / "tokenizer.json").write_text("{}")
        (tmp_path / "modeling.py").write_text("raise SystemExit")
        found = read_published(parse_reference(str(tmp_path)), with_processor=True)
        assert found.config["quantization_config"]["quant_method"] == "modelopt"
        assert list(found.processor) == ["tokenizer.json"]
        assert read_published(parse_reference(str(tmp_path))).processor == {}

    def test_from_the_hub_at_the_commit_that_was_inspected(
        self, ask: Run, start_hub: Callable[..., HubStandIn]
    ) -> None:
        config = json.dumps(published(VISION)).encode()
        files: dict[str, Content] = {
            "config.json": config,
            "preprocessor_config.json": b"{}",
            "modeling_own.py": b"raise SystemExit",
        }
        commit = "0123456789abcdef0123456789abcdef01234567"
        hub = start_hub({"org/vision": Repo(files, revisions=("main", commit))})
        result = ask("trial", "-m", "org/vision", "--tiny", "--dry-run")
        assert result.code == ExitCode.OK, result.err
        assert "2 of 30 layers" in " ".join(result.err.split())
        paths = [seen.path for seen in hub.requests()]
        asked = [path for path in paths if commit in path]
        assert any(path.endswith("preprocessor_config.json") for path in asked)
        assert not any(path.endswith(".py") for path in paths)

    def test_no_config(self, tmp_path: Path) -> None:
        (tmp_path / "model.gguf").write_bytes(b"GGUF")
        with pytest.raises(UnreadableError, match=r"no config\.json"):
            read_published(parse_reference(str(tmp_path)))


_WRITER = """#!{python}
import json, os, pathlib, sys
isolated, script, folder = sys.argv[1:]
folder = pathlib.Path(folder)
assert isolated == "-I" and script.endswith("tiny_writer.py") and "PYTHONPATH" not in os.environ or True
assert "auto_map" not in json.loads((folder / "config.json").read_text())
answer = json.loads({answer!r})
if answer is None:
    sys.exit("ImportError: no torch here")
(folder / "written.json").write_text(json.dumps(answer))
"""
_WRITTEN = {"model_class": "LlamaForCausalLM", "bytes": 2**20, "fp8": False, "processor": None, "why": None, "cpu": True,
            "versions": {"torch": "2.13.0", "transformers": "5.19.0", "vllm": None}}  # fmt: skip


@pytest.fixture
def writer(tmp_path: Path) -> Callable[..., None]:
    """Put a Python beside the stand-in for vLLM that only says what it wrote."""

    def answer(written: dict[str, Any] | None) -> None:
        path = tmp_path / "python"
        path.write_text(_WRITER.format(python=sys.executable, answer=json.dumps(written)))
        path.chmod(0o755)

    return answer


class TestOnAStandIn:
    def test_what_it_proves_is_kept_and_its_figures_are_not(
        self, ask: Run, fake: Callable[[str], str], writer: Callable[..., None], tiny: str, tmp_path: Path
    ) -> None:
        writer(_WRITTEN)
        result = ask(*words_of(tiny, fake("ok"), tmp_path, "--tiny", "--json"))
        assert result.code == ExitCode.OK, result.err
        trial = json.loads(result.out)
        assert (trial["outcome"], trial["points"], trial["dummy_weights"]) == ("measured", [], False)
        assert (trial["tiny"]["weights"], trial["tiny"]["weights_bytes"]) == ("written", 2**20)
        assert trial["versions"]["transformers"] == "5.19.0"
        assert len(trial["tiny"]["proves"]) == 3
        assert "--skip-tokenizer-init" in trial["command"]
        assert "--load-format" not in trial["command"]
        assert not trial["summary"]["succeeded"]
        assert trial["summary"]["weights_bytes"] is None
        catalog = Catalog(tmp_path / "catalog.db")
        assert len(catalog.find("kind = 'trial'")) == 1
        assert catalog.trial_facts() == []
        with sqlite3.connect(tmp_path / "catalog.db") as connection:
            assert connection.execute("SELECT count(*) FROM trials").fetchone() == (0,)
        connection.close()
        assert "No trial has been kept yet" in ask("trial", "report").out
        assert ask("catalog", "verify").code == ExitCode.OK
        assert not list((tmp_path / "runs").glob("*-tiny")), "the model's folder is gone"
        assert not left_over(tmp_path)

    def test_in_words(
        self, ask: Run, fake: Callable[[str], str], writer: Callable[..., None], tiny: str, tmp_path: Path
    ) -> None:
        writer(_WRITTEN)
        out = ask(*words_of(tiny, fake("ok"), tmp_path, "--tiny")).out
        assert "tiny made tiny, 1.0 MiB of weights, on this machine's CPU, vLLM 9.9.9" in out
        assert out.index("  proved") < out.index("  not proved")
        assert "Memory, speed and quality of the model" in out
        assert "predicted" not in out
        assert max(map(len, out.splitlines())) <= 80

    def test_without_a_class_vllm_fills_its_own(
        self, ask: Run, fake: Callable[[str], str], writer: Callable[..., None], tiny: str, tmp_path: Path
    ) -> None:
        writer({**_WRITTEN, "model_class": None, "bytes": None, "why": "LookupError: transformers has no class"})
        trial = json.loads(ask(*words_of(tiny, fake("ok"), tmp_path, "--tiny", "--json")).out)
        assert (trial["tiny"]["weights"], trial["tiny"]["weights_bytes"]) == ("dummy", None)
        assert "--load-format dummy" in trial["command"]
        assert any(s.startswith("The loader of weights") for s in trial["tiny"]["not_proved"])
        assert not any("loader" in s for s in trial["tiny"]["proves"])

    def test_a_made_processor_that_vllm_does_not_take_costs_the_encoders_alone(
        self, ask: Run, fake: Callable[[str], str], writer: Callable[..., None], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        model = tmp_path / "vision"
        model.mkdir()
        (model / "config.json").write_text(json.dumps(published(VISION)))
        monkeypatch.setenv("FAKE_LOG", "KeyError: 'no such token'")
        for processor, starts in (("made", 2), ("published", 1)):
            writer({**_WRITTEN, "processor": processor})
            at = fake("die")
            trial = json.loads(ask(*words_of(str(model), at, tmp_path / processor, "--tiny", "--json")).out)
            assert trial["outcome"] == "failed"
            assert ("--language-model-only" in trial["command"]) == (processor == "made")
            assert len(list((tmp_path / processor / "runs").iterdir())) == starts

    def test_what_fails_proves_nothing(
        self, ask: Run, fake: Callable[[str], str], writer: Callable[..., None], tiny: str, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        writer(_WRITTEN)
        monkeypatch.setenv(
            "FAKE_LOG", "Value error, Model architectures ['LlamaForCausalLM'] are not supported for now."
        )
        result = ask(*words_of(tiny, fake("die"), tmp_path, "--tiny", "--json"))
        assert result.code == ExitCode.SYSTEM
        trial = json.loads(result.out)
        assert (trial["outcome"], trial["tiny"]["proves"]) == ("failed", [])
        text = report(Trial.model_validate(trial))
        assert "vLLM does not know LlamaForCausalLM" in text
        assert "\n  proved" not in text
        assert not list((tmp_path / "runs").glob("*-tiny"))

    @pytest.mark.parametrize(
        ("written", "words"),
        [
            ({**_WRITTEN, "bytes": 3 * 2**30, "too_large": True}, "Even tiny it has 3.0 GiB of weights"),
            (None, "could not write the tiny model: ImportError: no torch here"),
            ([], "its writer left no answer"),
        ],
    )
    def test_what_keeps_it_from_starting_is_one_sentence(
        self, ask: Run, fake: Callable[[str], str], writer: Callable[..., None], tiny: str, tmp_path: Path,
        written: Any, words: str,
    ) -> None:  # fmt: skip
        writer(written)
        result = ask(*words_of(tiny, fake("ok"), tmp_path, "--tiny"))
        assert result.code == ExitCode.SYSTEM
        assert words in " ".join(result.err.split())
        assert "Traceback" not in result.err
        assert not list((tmp_path / "runs").glob("*-tiny"))

    @pytest.mark.parametrize(
        "more",
        [("--on", "ssh:gpu1"), ("--server", "http://x"), ("--node", "0@h"), ("--sweep", "1"), ("--real-weights",),
         ("--cards", "2"), ("--tp", "2")],
    )  # fmt: skip
    def test_what_makes_no_sense_is_refused(self, ask: Run, tiny: str, more: tuple[str, ...]) -> None:
        result = ask("trial", "-m", tiny, "--tiny", *more)
        assert result.code == ExitCode.USAGE
        assert "leave --" in result.err

    def test_a_dry_run_says_what_is_cut(self, ask: Run, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text(json.dumps(published("Qwen__Qwen3-30B-A3B")))
        result = ask("trial", "-m", str(tmp_path), "--tiny", "--dry-run")
        assert result.code == ExitCode.OK
        assert "2 of 48 layers" in " ".join(result.err.split())

    def test_embedders_generate_nothing(self, ask: Run, tmp_path: Path) -> None:
        config = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 384, "num_hidden_layers": 12,
                  "num_attention_heads": 12, "intermediate_size": 1536, "vocab_size": 30522}  # fmt: skip
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert "generates nothing" in ask("trial", "-m", str(tmp_path), "--tiny").err

    def test_without_a_network_only_what_lies_here(self, ask: Run) -> None:
        result = ask("trial", "-m", "Qwen/Qwen3-8B", "--tiny", "--offline")
        assert result.code == ExitCode.NETWORK
        assert "reads the model's config anew" in result.err


class TestPythons:
    def test_where_vllms_python_is(self, tmp_path: Path) -> None:
        command = tmp_path / "vllm"
        command.write_text("#!/opt/env/bin/python3\n")
        assert python_of(Launcher((str(command),))) == "/opt/env/bin/python3"
        (tmp_path / "python3").write_text("")
        assert python_of(Launcher((str(command),))) == str(tmp_path / "python3")
        assert python_of(Launcher(("/env/bin/python3.12", "-m", "vllm"))) == "/env/bin/python3.12"

    def test_none_can_be_asked(self, tmp_path: Path) -> None:
        (tmp_path / "vllm").write_text("#!/bin/sh\n")
        with pytest.raises(TrialError, match="No Python is beside"):
            python_of(Launcher((str(tmp_path / "vllm"),)))
        with pytest.raises(TrialError, match="container keeps its Python"):
            python_of(Launcher(("docker", "run", "image"), container=True))

    def test_what_the_cpu_build_lacks_is_named(self) -> None:
        """vLLM 0.32's CPU build, of Qwen2.5-VL and of Nemotron 3 Nano."""
        log = "(APIServer pid=1) ERROR 11-27 [registry.py:1120] ModuleNotFoundError: No module named 'torchvision'\n"
        assert explain(log).sentence == "vLLM's environment lacks torchvision, which this model needs."
        log = "NotImplementedError: is_act_and_mul=False is supported only for CUDA, XPU and ROCm for now\n"
        assert explain(log).sentence.endswith("no kernel for experts without a gate; CUDA, XPU and ROCm have.")


@needs_vllm
class TestTinyOnARealVllm:
    """vLLM's CPU build loads what was written under the published names, and answers."""

    @pytest.mark.parametrize(
        "name",
        [
            "Qwen__Qwen3-0.6B",
            "Qwen__Qwen3-30B-A3B",
            "deepseek-ai__DeepSeek-V2-Lite",
            "mistralai__Mamba-Codestral-7B-v0.1",
            "Qwen__Qwen3-Next-80B-A3B-Instruct",
            VISION,
        ],
        ids=["dense", "moe", "mla", "mamba2", "hybrid", "vision"],
    )
    def test_each_kind_of_model_starts(self, ask: Run, tmp_path: Path, name: str) -> None:
        said = self.proves(ask, tmp_path, published(name))
        assert re.search(r"under the names of transformers' \w+, in sixteen bits", said)
        assert ("encoders of images" in said) == (name == VISION)

    def test_in_fp8(self, ask: Run, tmp_path: Path) -> None:
        """The form that the CPU build has a kernel for on every processor: a scale for each row, inputs scaled as they come."""
        group = {
            "targets": ["Linear"],
            "weights": {"type": "float", "num_bits": 8, "strategy": "channel", "dynamic": False, "symmetric": True},
            "input_activations": {
                "type": "float",
                "num_bits": 8,
                "strategy": "token",
                "dynamic": True,
                "symmetric": True,
            },
        }
        quantisation = {"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"group_0": group},
                        "ignore": ["lm_head"], "quantization_status": "compressed"}  # fmt: skip
        said = self.proves(ask, tmp_path, {**published("Qwen__Qwen3-0.6B"), "quantization_config": quantisation})
        assert "in FP8 with its scales (compressed-tensors)" in said

    def proves(self, ask: Run, tmp_path: Path, config: dict[str, Any]) -> str:
        """Try a model of this config; return what that proved."""
        model = tmp_path / "model"
        model.mkdir()
        (model / "config.json").write_text(json.dumps(config))
        at = str(Path(VLLM or "").parent.parent)
        words = ("trial", "-m", str(model), "--tiny", "--vllm-at", at, "--folder", str(tmp_path / "runs"))
        trial = json.loads(ask(*words, "--budget", "400", "--json").out)
        assert trial["outcome"] == "measured", trial["failure"]
        assert trial["tiny"]["weights"] == "written", trial["tiny"]
        assert not list((tmp_path / "runs").glob("*-tiny"))
        assert not left_over(tmp_path)
        return " ".join(trial["tiny"]["proves"])
