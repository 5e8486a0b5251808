"""A second opinion on speed: a small stand-in for aiconfigurator-core at the seam, its absence, and what is rejected."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Result
from tests.planning import model
from whichgpu.inspect.errors import install_line
from whichgpu.plan import second_opinion as seam
from whichgpu.plan.second_opinion import rejection

Run = Callable[..., Result]

_SDK = """
class EngineHandle:
    def __init__(self, args):
        self.args = args

    @classmethod
    def compile(cls, *args, **kwargs):
        if kwargs["tp_size"] == 8:
            raise ValueError("no such layout")
        return cls((args, kwargs))

    def decode_step_latency(self, running, prompt, output):
        return STEP

    def predict_prefill_latency(self, sequences, prompt):
        return 100.0
"""


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """Install a package of that name whose step takes so many milliseconds; it ships one model."""

    def install(step: float) -> None:
        package = tmp_path / "aiconfigurator_core"
        (package / "model_configs").mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "sdk.py").write_text(_SDK.replace("STEP", str(step)))
        shape = {"model_type": "qwen3", "hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32}
        shape |= {"num_key_value_heads": 8, "vocab_size": 151936}
        (package / "model_configs" / "Qwen--Qwen3-8B_config.json").write_text(json.dumps(shape))
        info = tmp_path / "aiconfigurator_core-9.9.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aiconfigurator-core\nVersion: 9.9\n")
        for name in [m for m in sys.modules if m.split(".")[0] == "aiconfigurator_core"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path)

    seam._configs.cache_clear()
    seam._compiled.cache_clear()
    yield install
    for name in [m for m in sys.modules if m.split(".")[0] == "aiconfigurator_core"]:
        del sys.modules[name]
    seam._configs.cache_clear()
    seam._compiled.cache_clear()


def opinion(ask: Run, *more: str) -> dict[str, object]:
    result = ask("--offline", "--json", "--second-opinion", *more)
    found: dict[str, object] = json.loads(result.out)["answer"]["recommended"]["second_opinion"]
    return found


def test_it_stands_beside_ours(ask: Run, other: Callable[[float], None]) -> None:
    other(10.0)
    found = opinion(ask, "-m", "Qwen/Qwen3-8B", "--gpu", "H100")
    assert found["source"] == "aiconfigurator-core 9.9"
    assert found["tpot_ms"] == pytest.approx(10.0 + 16 * 100.0 / 1024)
    assert found["output_tokens_per_second"] == pytest.approx(16e3 / (10.0 + 16 * 100.0 / 1024))
    assert found["note"] is None
    text = ask("--offline", "--second-opinion", "-m", "Qwen/Qwen3-8B", "--gpu", "H100").out
    assert "aiconfigurator-core 9.9 says 1,3" in " ".join(text.split())


@pytest.mark.parametrize(("step", "word"), [(90.0, "slower than ours"), (0.01, "faster than the card's rates")])
def test_what_physics_speaks_against_is_rejected(
    ask: Run, other: Callable[[float], None], step: float, word: str
) -> None:
    other(step)
    note = opinion(ask, "-m", "Qwen/Qwen3-8B", "--gpu", "H100", "--input", "100")["note"]
    assert isinstance(note, str)
    assert note.startswith("rejected: ")
    assert word in note


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("-m", "Qwen/Qwen3-8B", "--gpu", "MI300X"), "no vLLM tables of Instinct MI300X"),
        (("-m", "Qwen/Qwen3-32B", "--gpu", "H200"), "does not know this model"),
        (("-m", "Qwen/Qwen3-8B", "--gpu", "H100", "--precision", "fp8"), "as published"),
        (("-m", "BAAI/bge-m3", "--gpu", "L40S"), "no speed"),
    ],
)
def test_where_it_has_none_it_says_why(
    ask: Run, other: Callable[[float], None], options: tuple[str, ...], word: str
) -> None:
    other(10.0)
    if options[1] == "BAAI/bge-m3":
        options = ("-m", "sentence-transformers/all-MiniLM-L6-v2", *options[2:])
    found = opinion(ask, *options)
    assert word in str(found["note"])
    assert found["tpot_ms"] is None


def test_a_model_of_the_very_same_shape_is_known(other: Callable[[float], None]) -> None:
    other(10.0)
    assert seam._known_as(model("Qwen/Qwen3-8B")) == "Qwen/Qwen3-8B"
    base = model("Qwen/Qwen3-8B")
    source = base.source.model_copy(update={"name": "me/my-finetune"})
    assert seam._known_as(base.model_copy(update={"source": source})) == "Qwen/Qwen3-8B"
    assert seam._known_as(model("Qwen/Qwen3-14B")) is None


def test_without_the_package_the_next_step_is_said(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiconfigurator_core.sdk", None)
    monkeypatch.setitem(sys.modules, "aiconfigurator_core", None)
    result = ask("--offline", "--second-opinion", "-m", "Qwen/Qwen3-8B")
    assert install_line("second-opinion") in result.err


def test_both_bounds() -> None:
    assert rejection(20.0, 10.0, 5.0) is None
    assert rejection(20.1, 10.0, 5.0) == "rejected: 2.0 × slower than ours"
    assert rejection(4.2, 10.0, 5.0) is None
    assert rejection(4.1, 10.0, 5.0) == "rejected: 1.2 × faster than the card's rates allow"
