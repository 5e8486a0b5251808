"""Drafting with another model: its weights and cache by card, the command, and what is refused."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.planning import GIB, ask, footprint, model, plan_for, served, tensors_per_card
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.reference import Reference
from whichgpu.plan.drafting import DRAFT, looked_at
from whichgpu.plan.records import Draft, Layout, Verdict
from whichgpu.tui.asking.json_options import Drafting, own_tokens
from whichgpu.tui.cli.tree import cli

_TARGET, _SMALL = "Qwen/Qwen3-32B", "Qwen/Qwen3-0.6B"
_LAYERS, _HEADS, _WIDTH = 28, 8, 128


def _draft(name: str = _SMALL, tokens: int = 4, method: str | None = None) -> Draft:
    return looked_at(Draft(model=name, tokens=tokens, method=method), served(model(name)))


@pytest.mark.parametrize("cards", [1, 2, 4])
def test_its_weights_are_its_own_on_so_many_cards(cards: int) -> None:
    layout = Layout(tensor_parallel=cards)
    terms = footprint(model(_TARGET), "h100_sxm", layout, draft=_draft()).terms
    found = next(t for t in terms if t.name == DRAFT)
    assert found.bytes == pytest.approx(tensors_per_card(model(_SMALL), layout), rel=0.005)
    assert found.flag == "--speculative-config"
    assert _SMALL in found.because


@pytest.mark.parametrize("cards", [1, 2])
def test_its_layers_share_the_pool(cards: int) -> None:
    layout = Layout(tensor_parallel=cards)
    alone, drafting = (footprint(model(_TARGET), "h200_sxm", layout, draft=draft) for draft in (None, _draft()))
    assert drafting.kv_per_token - alone.kv_per_token == _LAYERS * 2 * _HEADS // cards * _WIDTH * 2
    assert drafting.weights - alone.weights == pytest.approx(1.1 * GIB / cards, rel=0.05)


def test_the_command_names_it() -> None:
    plan = plan_for(ask(_TARGET, "h200_sxm", draft=_draft(tokens=3)), "h200_sxm")
    assert plan.command is not None
    words = shlex.split(plan.command)
    assert json.loads(words[words.index("--speculative-config") + 1]) == {"model": _SMALL, "num_speculative_tokens": 3}


def test_another_vocabulary_is_refused_with_both() -> None:
    plan = plan_for(ask(_TARGET, "h200_sxm", draft=_draft("meta-llama/Llama-3.2-1B-Instruct")), "h200_sxm")
    assert plan.verdict is Verdict.NO
    assert "151,936" in plan.reasons[0]
    assert "128,256" in plan.reasons[0]


def test_a_draft_that_nobody_looked_at_leaves_the_cache_unknown() -> None:
    plan = plan_for(ask(_TARGET, "h200_sxm", draft=Draft(model=_SMALL, tokens=4)), "h200_sxm")
    assert plan.verdict is Verdict.UNKNOWN
    answer = ask(_TARGET, "h200_sxm", draft=Draft(model=_SMALL, tokens=4))
    assert any(_SMALL in note and "not known" in note for note in answer.notes)


def test_looking_the_prompt_through_takes_no_weights() -> None:
    draft = Drafting().convert('{"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 3}', None, None)
    foot = footprint(model(_TARGET), "h200_sxm", draft=draft)
    assert foot.weights == footprint(model(_TARGET), "h200_sxm").weights
    assert foot.verdict is Verdict.FITS


def test_the_models_own_layers_are_asked_for_in_either_way() -> None:
    given = Drafting().convert('{"method": "deepseek_mtp", "num_speculative_tokens": 2}', None, None)
    assert own_tokens(given) == 2
    assert own_tokens(Draft(model=_SMALL, tokens=2)) == 0


def _run(*words: str) -> Any:
    return CliRunner().invoke(cli, ["--offline", "--model", _TARGET, "--gpu", "H200", *words])


def test_both_spellings_are_one() -> None:
    config = json.dumps({"model": _SMALL, "num_speculative_tokens": 4})
    first, second = _run("--draft", _SMALL, "--speculative", "4"), _run("--speculative-config", config)
    assert first.exit_code == second.exit_code == 0
    assert first.stdout == second.stdout
    assert "--speculative-config" in first.stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--draft", _SMALL), ("--draft", "--speculative")),
        (("--speculative", "2", "--speculative-config", '{"method": "mtp", "num_speculative_tokens": 2}'),
         ("--speculative", "--speculative-config")),
        (("--speculative-config", "{"), ("JSON",)),
        (("--speculative-config", '{"num_speculative_tokens": 2}'), ("model", "method")),
        (("--speculative-config", '{"method": "eagle3", "num_speculative_tokens": 2}'), ("eagle3", "model")),
        (("--speculative-config", '{"model": "a/b", "num_speculative_tokens": 0}'), ("num_speculative_tokens",)),
        (("--speculative-config", '{"model": "a/b", "heads": 2}'), ("heads", "num_speculative_tokens")),
    ],
)  # fmt: skip
def test_what_contradicts_or_lacks_something_is_refused_by_name(words: tuple[str, ...], named: tuple[str, ...]) -> None:
    done = _run(*words)
    assert done.exit_code == 2
    assert all(name in done.output for name in named)


def test_a_head_known_by_its_config_may_share_embedding_and_head(tmp_path: Path) -> None:
    config = {
        "architectures": ["LlamaForCausalLMEagle3"], "model_type": "llama", "hidden_size": 5120, "intermediate_size": 25600,
        "num_hidden_layers": 1, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
        "torch_dtype": "bfloat16", "max_position_embeddings": 40960, "tie_word_embeddings": False,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    inspection = inspect_model(Reference("folder", str(tmp_path), path=tmp_path))
    draft = looked_at(Draft(model="eagle", tokens=4, method="eagle3"), served(inspection))
    assert draft.perhaps_shared == 2 * 151_936 * 5_120 * 2
    found = next(t for t in footprint(model(_TARGET), "h200_sxm", draft=draft).terms if t.name == DRAFT)
    layer = (2 * 8_192 + 2 * 1_024 + 3 * 25_600) * 5_120 * 2
    assert found.low < 1.02 * layer < found.bytes < found.high
    assert found.high > layer + draft.perhaps_shared
    assert draft.vocabulary is None
