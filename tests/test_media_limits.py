"""``--limit-mm-per-prompt``: which encoders are loaded, what is profiled, the command, and what is refused."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from click.testing import CliRunner

from tests.planning import ask, card, footprint, model, plan_for, served
from whichgpu.inspect.records import Part
from whichgpu.plan.choices import MemoryGroup
from whichgpu.plan.media import ENCODERS, encoded_patches, unloaded_parts
from whichgpu.plan.records import Footprint, Layout, MediaLimit, Medium, Workload
from whichgpu.plan.runtime import batch_of
from whichgpu.tui.asking.json_options import MediaLimits
from whichgpu.tui.cli.tree import cli

_VL, _GEMMA = "Qwen/Qwen3-VL-8B-Instruct", "google/gemma-3-27b-it"
_ONE = Layout(tensor_parallel=1)


def _limits(text: str) -> tuple[MediaLimit, ...]:
    read: tuple[MediaLimit, ...] = MediaLimits().convert(text, None, None)
    return read


def _foot(name: str, text: str | None, **workload: Any) -> Footprint:
    limits = _limits(text) if text else ()
    return footprint(model(name), "h100_sxm", _ONE, media_limits=limits, **workload)


def _unloaded(name: str, text: str) -> frozenset[Part]:
    asked = Workload(context=8192, concurrency=1, media_limits=_limits(text))
    return unloaded_parts(served(model(name)), asked)


def test_an_encoder_stays_out_when_none_of_its_media_may_come() -> None:
    assert _unloaded(_VL, '{"image": 0, "video": 0}') == ENCODERS
    assert _unloaded(_VL, '{"video": 0}') == frozenset()
    assert _unloaded(_VL, '{"image": 0}') == frozenset()  # videos go through the same one
    assert _unloaded(_GEMMA, '{"image": 0}') == ENCODERS  # its class takes no videos


def test_no_media_at_all_is_what_text_only_is() -> None:
    none, text_only = _foot(_VL, '{"image": 0, "video": 0}'), _foot(_VL, None, text_only=True)
    assert (none.weights, none.pool, none.pool_low) == (text_only.weights, text_only.pool, text_only.pool_low)
    assert none.weights < _foot(_VL, None).weights


def test_small_images_are_profiled_small() -> None:
    def encoder(text: str | None) -> int:
        return max(t.high for t in _foot(_VL, text).terms if t.group is MemoryGroup.ACTIVATIONS)

    small = encoder('{"image": {"count": 1, "width": 512, "height": 512}, "video": 0}')
    assert small < encoder('{"video": 0}') == encoder(None)
    assert encoder('{"image": {"count": 1, "width": 512, "height": 512}}') == encoder(None)  # a video may still come


def test_patches_follow_from_sides_and_frames() -> None:
    inspection = model(_VL)
    assert inspection.architecture is not None
    tower, batch = (
        inspection.architecture.towers[0],
        batch_of(card("l4"), served(inspection).engine, Workload(context=8192, concurrency=1)),
    )
    assert batch.tokens == 2_048
    assert encoded_patches(tower, batch, _limits('{"image": {"width": 512, "height": 512}, "video": 0}')) == 32 * 32
    video = '{"image": 0, "video": {"count": 1, "width": 512, "height": 256, "num_frames": 8}}'
    assert encoded_patches(tower, batch, _limits(video)) == 4 * 32 * 16
    assert encoded_patches(tower, batch, _limits('{"image": 1, "video": 0}')) == 16_384 * 4


def test_the_command_has_the_limits_as_vllm_takes_them() -> None:
    text = '{"image": {"count": 2, "width": 512, "height": 512}, "video": 0}'
    plan = plan_for(ask(_VL, "h100_sxm", media_limits=_limits(text)), "h100_sxm")
    assert plan.command is not None
    words = shlex.split(plan.command)
    assert json.loads(words[words.index("--limit-mm-per-prompt") + 1]) == json.loads(text)
    lone = plan_for(ask("Qwen/Qwen3-8B", "h100_sxm", media_limits=_limits(text)), "h100_sxm")
    assert lone.command is not None
    assert "--limit-mm-per-prompt" not in lone.command


def test_the_older_spelling_is_read_too() -> None:
    assert _limits("video=0,image=2") == (
        MediaLimit(medium=Medium.IMAGE, count=2),
        MediaLimit(medium=Medium.VIDEO, count=0),
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "JSON"),
        ("[1]", "JSON"),
        ('{"smell": 1}', "image, video, audio"),
        ('{"image": -1}', "image"),
        ('{"image": {"colour": 1}}', "colour"),
        ("image=many", "image"),
        ("[" * 900, "JSON"),
    ],
)
def test_what_is_no_limit_is_refused_with_what_would_be(text: str, named: str) -> None:
    done = CliRunner().invoke(cli, ["--offline", "--model", _VL, "--limit-mm-per-prompt", text])
    assert done.exit_code == 2
    assert named in done.output


def test_limits_and_text_only_contradict() -> None:
    words = ["--offline", "--model", _VL, "--text-only", "--limit-mm-per-prompt", '{"image": 1}']
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2
    assert "--text-only" in done.output
    assert "--limit-mm-per-prompt" in done.output


def test_the_person_who_asked_is_answered() -> None:
    """vllm#34209: the encoder's budget is too much for a small card."""
    words = f"--offline --model {_VL} --gpu L4 --cards 1 --context 8192 --concurrency 1 --limit-mm-per-prompt"
    done = CliRunner().invoke(cli, [*words.split(), '{"video":0}'])
    assert done.exit_code == 0
    assert "--limit-mm-per-prompt" in done.stdout
