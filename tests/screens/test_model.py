"""One model: layers, precisions, tensors, config, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot
from textual.widgets import Static, TabbedContent

from tests.driving import drive, opened, until
from tests.hub import HubStandIn, shapes
from tests.planning import model as atlas_model
from whichgpu.inspect.records import Part, TensorGroup
from whichgpu.tui.app.application import WhichgpuApp
from whichgpu.tui.app.layers import layer_map
from whichgpu.tui.app.tensors import tree_of
from whichgpu.tui.app.words import Words

Start = Callable[..., HubStandIn]

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def said(app: WhichgpuApp) -> str:
    return str(app.screen.query_one("#words Static", Static).content)


class TestModel:
    def test_layers_precisions_and_tensors(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await opened(pilot, app)
            layers = str(screen.query_one("#layers-text", Static).content)
            assert "ABABABABAB ABABABABAB ABAB" in layers
            assert "A = 12 × sliding-window attention of 128" in layers
            await until(pilot, lambda: "NVFP4" in str(screen.query_one("#precisions-text", Static).content))
            await pilot.press("4", "enter")
            await pilot.pause()
            assert screen.query_one(TabbedContent).active == "tensors"

        drive(task, model="openai/gpt-oss-20b")

    def test_the_config_is_read_only_when_someone_looks(self, start_hub: Start) -> None:
        hub = start_hub({"acme/qwen": shapes.qwen3_06b()})

        def configs() -> int:
            return sum(r.path.endswith("/config.json") for r in hub.requests())

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await opened(pilot, app)
            before = configs()
            await pilot.press("5")
            await until(pilot, lambda: '"num_key_value_heads"' in str(screen.query_one("#config-text", Static).content))
            assert configs() == before + 1
            await pilot.press("4", "5")
            assert configs() == before + 1

        drive(task, offline=False, model="acme/qwen")

    def test_without_a_network_the_config_says_so(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await opened(pilot, app)
            await pilot.press("5")
            await until(pilot, lambda: "not on this machine" in str(screen.query_one("#config-text", Static).content))

        drive(task, model="Qwen/Qwen3-8B")

    def test_a_model_is_exported_and_never_over_another_file(self, tmp_path: Path) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await opened(pilot, app)
            await pilot.press("x", "x", "m")
            await until(pilot, lambda: isinstance(app.screen, Words))
            assert "whichgpu --model Qwen/Qwen3-8B" in said(app)

        drive(task, model="Qwen/Qwen3-8B")
        first, second = (tmp_path / f"Qwen-Qwen3-8B{tail}.json" for tail in ("", "-2"))
        assert json.loads(first.read_text())["source"]["name"] == "Qwen/Qwen3-8B"
        assert second.read_text() == first.read_text()

    def test_unknown_layouts_are_said(self) -> None:
        assert "unknown" in layer_map(None)
        architecture = atlas_model("Qwen/Qwen3-8B").architecture
        assert architecture is not None
        bare = architecture.model_copy(update={"mixer_layout": (), "feed_forward_layout": ()})
        assert "does not say" in layer_map(bare)


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("abc*"), min_size=1, max_size=4), st.integers(1, 9), st.integers(0, 10**9)),
        max_size=30,
    )
)
def test_the_tree_counts_every_tensor_once(named: list[tuple[list[str], int, int]]) -> None:
    groups = [
        TensorGroup(name=".".join(n), part=Part.OTHER, shape=(1,), count=c, dtype="BF16", parameters=0, bytes=b)
        for n, c, b in named
    ]
    root = tree_of(groups)
    assert root.count == sum(c for _, c, _ in named)
    assert root.bytes == sum(b for *_, b in named)
