"""What vLLM can read at all: types of configs, classes, formats of checkpoints, and the repository's own code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.follow import no_longer_read
from benchmarks.transformers_facts import Transformers

from tests.conftest import Result
from tests.planning import ask as answer_of
from tests.planning import plan_for
from whichgpu.tui.words.exit_codes import ExitCode

Ask = Callable[..., Result]

QWEN3 = json.loads((Path(__file__).parent / "families" / "Qwen__Qwen3-0.6B.json").read_text())["config"]


class TestLoading:
    """How vLLM gets at a config and a class: what it can't read is refused, and what only the repository's code reads is said."""

    @pytest.fixture
    def said(self, ask: Ask, tmp_path: Path) -> Callable[..., tuple[Result, str]]:
        """Ask about Qwen3-0.6B's config with changes, and files beside it."""

        def about(
            changes: dict[str, object], *options: str, gpu: str = "L40S", files: tuple[str, ...] = ()
        ) -> tuple[Result, str]:
            config = {key: value for key, value in (QWEN3 | changes).items() if value is not None}
            (tmp_path / "config.json").write_text(json.dumps(config))
            for name in files:
                (tmp_path / name).write_text("raise SystemExit('it ran')")
            result = ask("-m", str(tmp_path), "--gpu", gpu, *options)
            return result, " ".join(result.out.split())

        return about

    REFUSED: tuple[tuple[dict[str, object], str], ...] = (
        ({"model_type": "nobodys"}, "reads configs of the type nobodys"),
        ({"model_type": None}, "refuses a config without model_type"),
        ({"architectures": []}, "refuses a config that names no architecture"),
        (
            {"architectures": ["NobodysForCausalLM"]},
            "has NobodysForCausalLM, and the repository brings no class of its own",
        ),
        ({"architectures": ["MptForCausalLM"]}, "the last version with it is 0.28.0: --vllm 0.28.0 plans for it"),
        ({"architectures": ["RWForCausalLM"], "auto_map": {"AutoModel": "m.M"}}, "no longer has RWForCausalLM"),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
            "the last version with one is 0.27",
        ),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 3, "group_size": 128}},
            "GPTQ of 4 and 8 bits, not of 3",
        ),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4, "sym": False}}, "GPTQ with symmetric codes alone"),
    )

    @pytest.mark.parametrize(("changes", "words"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
    def test_what_vllm_can_not_read_is_refused(
        self, changes: dict[str, object], words: str, said: Callable[..., tuple[Result, str]]
    ) -> None:
        result, out = said(changes)
        assert result.code == ExitCode.NOTHING_FITS
        assert words in out
        assert "vllm serve" not in out

    @pytest.mark.parametrize(
        "changes",
        [
            {"architectures": ["MptForCausalLM"]},
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        ],
        ids=["class", "format"],
    )
    def test_an_older_version_that_had_it_is_planned_for(
        self, changes: dict[str, object], said: Callable[..., tuple[Result, str]]
    ) -> None:
        assert "vllm serve" in said(changes, "--vllm", "0.27")[1]

    def test_code_of_the_repository_is_named_and_never_a_silent_yes(
        self, said: Callable[..., tuple[Result, str]]
    ) -> None:
        result, out = said({"model_type": "nobodys", "auto_map": {"AutoConfig": "configuration_x.X"}})
        assert result.code == ExitCode.OK
        assert "--trust-remote-code runs the repository's own Python for its config" in out
        assert "not checked" in out
        assert "--trust-remote-code --max-model-len" in out

    def test_a_tokenizer_in_python_needs_it_where_nothing_else_is_there(
        self, said: Callable[..., tuple[Result, str]]
    ) -> None:
        assert "own Python for its tokenizer" in said({}, files=("tokenization_x.py",))[1]
        assert "--trust-remote-code" not in said({}, files=("tokenization_x.py", "tokenizer.json"))[1]

    def test_what_is_in_the_library_needs_none(self, said: Callable[..., tuple[Result, str]]) -> None:
        assert "--trust-remote-code" not in said({"auto_map": {"AutoConfig": "configuration_qwen.X"}})[1]

    def test_mistral_s_own_format_is_read_instead(self, said: Callable[..., tuple[Result, str]]) -> None:
        assert "vllm serve" in said({"model_type": "nobodys"}, files=("params.json",))[1]

    def test_a_deprecated_format_is_asked_for(self, said: Callable[..., tuple[Result, str]]) -> None:
        assert "--allow-deprecated-quantization" in said({"quantization_config": {"quant_method": "fbgemm_fp8"}})[1]

    def test_a_loader_may_ask_for_more_than_its_precision(self, said: Callable[..., tuple[Result, str]]) -> None:
        """vLLM 0.33 quantization/fbgemm_fp8.py get_min_capability."""
        changes = {"quantization_config": {"quant_method": "fbgemm_fp8"}}
        assert "fp8 needs compute capability 8.0, T4 has 7.5" in said(changes, gpu="T4")[1]

    def test_falcon_s_context_is_its_class_s(self) -> None:
        """transformers FalconConfig: 2,048 where the config is silent; vLLM refuses more."""
        result = answer_of("tiiuae/falcon-7b-instruct", "l40s")
        assert result.workload.context == 2048

    def test_classifiers_that_vllm_makes_of_a_language_model_are_served_pooling(
        self, said: Callable[..., tuple[Result, str]]
    ) -> None:
        assert "--runner pooling" in said({"architectures": ["Qwen3ForSequenceClassification"]})[1]

    def test_the_transformers_backend_takes_attention_alone(self) -> None:
        plan = plan_for(answer_of("google/recurrentgemma-2b", "h100_sxm"), "h100_sxm")
        assert "its Transformers backend takes models of attention layers" in plan.reasons[0]

    def test_a_config_that_was_saved_again_gets_its_old_names_back(
        self, said: Callable[..., tuple[Result, str]]
    ) -> None:
        """vLLM 0.33 models/hy_v3.py ends a start without first_k_dense_replace, which transformers 5.24 no longer writes."""
        experts = {"num_experts": 16, "num_experts_per_tok": 2, "moe_intermediate_size": 768, "num_shared_experts": 1}
        layers = {"mlp_layer_types": ["dense"] + ["sparse"] * (QWEN3["num_hidden_layers"] - 1)}
        changes = {"architectures": ["HYV3ForCausalLM"], "model_type": "hy_v3", **experts, **layers}
        overrides = '{"first_k_dense_replace": 1, "expert_hidden_dim": 768, "route_norm": true}'
        assert f"--hf-overrides '{overrides}'" in said(changes)[1]
        assert "--hf-overrides" not in said(changes | {"moe_intermediate_size": None, "expert_hidden_dim": 768})[1]


class TestTransformersFacts:
    def test_types_and_classes_are_read_from_python_that_never_runs(self, tmp_path: Path) -> None:
        models = tmp_path / "transformers" / "models"
        for folder in ("auto", "a", "b", "c"):
            (models / folder).mkdir(parents=True)
        (tmp_path / "transformers-5.20.2.dist-info").mkdir()
        (models / "auto" / "auto_mappings.py").write_text(
            "raise SystemExit('it ran')\nCONFIG_MAPPING_NAMES = OrderedDict([('a', 'AConfig'), ('b', 'BConfig')])\n"
        )
        (models / "auto" / "configuration_auto.py").write_text("CONFIG_MAPPING_NAMES.update({'c': 'CConfig'})\n")
        (models / "auto" / "modeling_auto.py").write_text(
            "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES = OrderedDict([('a', 'AForCausalLM'), ('b', ('BForCausalLM', 'CForCausalLM'))])\n"
        )
        own = "class {0}Attention(nn.Module):\n    {1}\nclass {0}ForCausalLM(X):\n    pass\n"
        (models / "a" / "modeling_a.py").write_text(own.format("A", "f = ALL_ATTENTION_FUNCTIONS.get_interface()"))
        (models / "b" / "modeling_b.py").write_text(own.format("B", "pass"))
        (models / "c" / "modeling_c.py").write_text("class CForCausalLM(BForCausalLM):\n    pass\n")
        found = Transformers(tmp_path / "transformers")
        assert (found.version, found.config_types) == ("5.20.2", ["a", "b", "c"])
        assert found.backend_classes({"AForCausalLM"}) == ["CForCausalLM"]
        assert found.backend_classes(set()) == ["AForCausalLM", "CForCausalLM"]

    def test_a_format_that_is_gone_keeps_its_last_version(self) -> None:
        known = {"quantisations": ["fp8", "old"], "removed_quantisations": {"older": "0.27"}, "vllm": "0.33"}
        assert no_longer_read(known, {"quantisations": ["fp8"]}) == {"old": "0.33", "older": "0.27"}
