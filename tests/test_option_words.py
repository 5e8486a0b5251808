"""What is asked with vLLM's own options is asked again by the words that the app and the catalog spell."""

from __future__ import annotations

import click
import pytest

from whichgpu.plan.records import Workload
from whichgpu.tui.asking.options import engine_options, question_options
from whichgpu.tui.asking.question import terms_of, workload_words


@click.command()
@question_options
@engine_options
def _command(**_: object) -> None:
    """Takes the options of a question."""


def _workload(words: list[str]) -> Workload:
    return terms_of(_command.make_context("asked", list(words)).params).workload


@pytest.mark.parametrize(
    "words",
    [
        ["--enable-lora", "--max-loras", "4", "--max-lora-rank", "64", "--fully-sharded-loras"],
        ["--limit-mm-per-prompt", '{"image": {"count": 1, "width": 512, "height": 256}, "video": 0}'],
        ["--cpu-offload-gb", "2.5", "--kv-offloading-size", "64"],
        ["--context", "auto", "--input", "30000"],
        ["--max-model-len", "-1"],
        ["--draft", "a/b", "--speculative", "3"],
        ["--speculative-config", '{"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 2}'],
        ["--speculative-config", '{"method": "mtp", "num_speculative_tokens": 3}'],
    ],
)
def test_words_ask_the_same_again(words: list[str]) -> None:
    asked = _workload(words)
    assert asked != _workload([])
    assert _workload(workload_words(asked)) == asked
