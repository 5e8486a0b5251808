"""From headers and from the config alone: the same weights on every card, for every family.

``tests/families`` holds public configs with the names and shapes that transformers gives their tensors.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning import tensors_per_card
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.records import Grade, Inspection
from whichgpu.inspect.reference import parse_reference
from whichgpu.plan.records import Layout, Precision

FAMILIES = sorted((Path(__file__).parent / "families").glob("*.json"))

STAGES_APART = {
    "moonshotai__Kimi-Linear-48B-A3B-Instruct": 0.035,
    "google__recurrentgemma-2b": 0.009,
    "google__gemma-4-26B-A4B": 0.003,
}
"""Share by which pipeline stages may differ: where layers of two kinds give their tensors the same names, headers alone
do not say which stage holds which."""


def tensors(rows: list[Any]) -> Iterator[tuple[str, list[int]]]:
    """Yield (name, shape) of every tensor of a compact table."""
    for pattern, shape, ranges in rows:
        parts = pattern.split("*")
        for numbers in itertools.product(*map(numbers_of, ranges)):
            yield (
                "".join(itertools.chain.from_iterable(itertools.zip_longest(parts, map(str, numbers), fillvalue=""))),
                shape,
            )


def numbers_of(text: str) -> list[int]:
    """``0-2,5`` as 0, 1, 2, 5."""
    found: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        found += range(int(low), int(high or low) + 1)
    return found


def write_weights(path: Path, rows: list[Any]) -> None:
    """Write a safetensors file with a real header and nothing behind it, of the size that the header says."""
    header: dict[str, Any] = {}
    offset = 0
    for name, shape in tensors(rows):
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    data = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(data).to_bytes(8, "little") + data)
        file.truncate(8 + len(data) + offset)


@cache
def both(path: Path, root: str) -> tuple[Inspection, Inspection]:
    """Inspect a family from its config alone, and with headers."""
    family = json.loads(path.read_text())
    bare, full = Path(root) / f"{path.stem}-bare", Path(root) / f"{path.stem}-full"
    for folder in (bare, full):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(family["config"]))
    write_weights(full / "model.safetensors", family["tensors"])
    made = tuple(inspect_model(parse_reference(str(f))) for f in (bare, full))
    return made[0], made[1]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("families"))


@pytest.mark.parametrize("path", FAMILIES, ids=lambda p: p.stem)
def test_headers_and_config_agree(path: Path, root: str) -> None:
    from_config, from_headers = both(path, root)
    assert (from_config.grade, from_headers.grade) == (Grade.CONFIG, Grade.HEADERS)
    for tp, precision in itertools.product((1, 2, 4, 8), (Precision.BF16, Precision.FP8)):
        layout = Layout(tensor_parallel=tp)
        config, headers = (tensors_per_card(i, layout, precision) for i in (from_config, from_headers))
        assert config == pytest.approx(headers, rel=0.0005), (tp, precision)


@settings(max_examples=80, deadline=None)
@given(
    path=st.sampled_from(FAMILIES),
    tp=st.sampled_from([1, 2, 4, 8, 16]),
    pp=st.sampled_from([1, 2, 3, 4]),
    dp=st.sampled_from([1, 2, 8]),
    precision=st.sampled_from([Precision.BF16, Precision.FP8]),
)
def test_they_agree_on_any_layout(path: Path, tp: int, pp: int, dp: int, precision: Precision, root: str) -> None:
    layout = Layout(tensor_parallel=tp, pipeline_parallel=pp, data_parallel=dp, expert_parallel=dp > 1)
    config, headers = (tensors_per_card(i, layout, precision) for i in both(path, root))
    assert config == pytest.approx(headers, rel=STAGES_APART.get(path.stem, 0.0005) if pp > 1 else 0.0005)
