"""The terminal app: each screen's tasks with keys alone, at 80×24 and 120×36, offline, and in a real terminal."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot
from textual.widgets import Input, Static

from tests.driving import drive, listed, opened, planned, title, until
from tests.hub import HubStandIn, shapes
from tests.planning import ATLAS, plan_for
from tests.planning import ask as plans_of
from whichgpu.catalog.store import Catalog
from whichgpu.plan.records import Precision
from whichgpu.tui.app import state as kept
from whichgpu.tui.app.application import WhichgpuApp
from whichgpu.tui.app.bars import legend, memory_parts, stacked
from whichgpu.tui.app.browse import Browse
from whichgpu.tui.app.catalog import CatalogScreen
from whichgpu.tui.app.compare import CompareScreen
from whichgpu.tui.app.curve import CurveScreen
from whichgpu.tui.app.knowledge import Known, matching
from whichgpu.tui.app.model import ModelScreen
from whichgpu.tui.app.plan import PlanScreen
from whichgpu.tui.app.reading import Replanned, plan
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.app.tensors import TensorTree
from whichgpu.tui.app.words import Words
from whichgpu.tui.desk.replanning import Terms
from whichgpu.tui.desk.settings import THEMES

Start = Callable[..., HubStandIn]

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHICHGPU_STATE", str(tmp_path / "app.json"))


def test_find_filter_and_open_with_keys_alone() -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await listed(pilot, app)
        assert f"{len(ATLAS.names())} models" in title(app)
        await pilot.press("slash", *"qwen3-32b")
        await pilot.pause()
        table = app.screen.query_one(KeyTable)
        assert "filter “qwen3-32b”" in title(app)
        assert table.current == "Qwen/Qwen3-32B"
        await pilot.press("enter")
        screen = await opened(pilot, app)
        assert "Qwen/Qwen3-32B  ·  dense  ·  2 × A100 80GB PCIe" in title(app)
        assert "64 × full attention" in str(screen.query_one("#what-text", Static).content)
        await pilot.press("escape")
        assert isinstance(app.screen, Browse)
        await until(pilot, lambda: "recent" in str(app.screen.query_one(KeyTable).get_row_at(0)))
        await pilot.press("escape", "escape")
        assert app.screen.query_one(Input).value == ""

    drive(task)


def test_lists_move_by_vi_keys_and_others() -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await listed(pilot, app)
        table = app.screen.query_one(KeyTable)
        await pilot.press("j", "j", "down")
        assert table.cursor_row == 3
        await pilot.press("k", "up")
        assert table.cursor_row == 1
        await pilot.press("G")
        assert table.cursor_row == table.row_count - 1
        await pilot.press("g")
        assert table.cursor_row == 0
        await pilot.press("pagedown")
        assert table.cursor_row > 5

    drive(task)


def test_an_id_that_is_nowhere_is_a_state_on_the_screen() -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await listed(pilot, app)
        await pilot.press("slash", *"nobody/nothing", "enter")
        await until(pilot, lambda: "not read" in title(app))
        assert "neither the catalog nor the bundled atlas knows" in str(
            app.screen.query_one("#what-text", Static).content
        )
        await pilot.press("p")
        assert isinstance(app.screen, ModelScreen), "nothing to plan yet"
        await pilot.press("escape")
        assert isinstance(app.screen, Browse)

    drive(task)


def test_the_workload_turns_and_every_figure_moves() -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        screen = await planned(pilot, app)
        await pilot.press("c", "c", "n")
        assert (screen.workload.context, screen.workload.concurrency) == (32_768, 32)
        await until(pilot, lambda: screen.result.workload.concurrency == 32)
        same = plans_of("Qwen/Qwen3-32B", context=32_768, concurrency=32)
        assert [p.footprint for p in screen.result.plans] == [p.footprint for p in same.plans], (
            "as the command line says"
        )
        await pilot.press("C", "N", "p")
        await until(pilot, lambda: screen.result.workload.precision is Precision.BF16)
        assert kept.load().workload.context == 16_384, "remembered for the next run"
        assert kept.load().workload.precision is Precision.PUBLISHED, "this model's alone"
        for _ in range(12):
            await pilot.press("c")
        assert screen.workload.context == 32_768, "no more than the model allows"

    drive(task, model="Qwen/Qwen3-32B")


def test_copy_explain_and_show_as_command() -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await planned(pilot, app)
        await pilot.press("y")
        assert app.clipboard == "vllm serve Qwen/Qwen3-32B --tensor-parallel-size 2 --max-model-len 8192"
        await pilot.press("e")
        assert isinstance(app.screen, Words)
        await until(pilot, lambda: "CUDA graphs" in str(app.screen.query_one(Static).content))
        await pilot.press("escape", "m")
        await pilot.pause()
        said = str(app.screen.query_one(Static).content)
        assert "whichgpu --model Qwen/Qwen3-32B --context 8192 --concurrency 16 --gpu a100_80_pcie" in said
        await pilot.press("escape", "question_mark")
        await pilot.pause()
        assert "Copy" in str(app.screen.query_one(Static).content)
        await pilot.press("escape")
        assert isinstance(app.screen, PlanScreen)

    drive(task, model="Qwen/Qwen3-32B")


def test_models_are_marked_and_compared() -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await listed(pilot, app)
        await pilot.press("c")
        assert isinstance(app.screen, Browse), "comparing needs two"
        for name in ("qwen3-8b", "gpt-oss-20b"):
            await pilot.press("slash", *["backspace"] * 12, *name)
            await pilot.pause()
            await pilot.press("escape", "space")
        assert "2 marked" in title(app)
        await pilot.press("c")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, CompareScreen) and "≠" in str(app.screen.query_one("#compared", Static).content)
            ),
        )
        said = str(app.screen.query_one("#compared", Static).content)
        assert "Qwen3-8B" in said
        assert "gpt-oss-20b" in said
        await pilot.press("escape")
        assert isinstance(app.screen, Browse)

    drive(task)


def test_the_catalog_is_searched_and_annotated(tmp_path: Path) -> None:
    async def opening(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await opened(pilot, app)

    for name in ("openai/gpt-oss-20b", "Qwen/Qwen3-8B"):
        drive(opening, model=name)

    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await listed(pilot, app)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, CatalogScreen) and "2 models" in title(app))
        await pilot.press("slash", *"class:moe", "enter")
        await until(pilot, lambda: "1 models" in title(app))
        table = app.screen.query_one(KeyTable)
        assert table.current == "openai/gpt-oss-20b"
        await pilot.press("n", *"fast", "enter")
        await pilot.press("plus", *"served", "enter")
        await until(pilot, lambda: "served" in str(table.get_row_at(0)[-1]))
        await pilot.press("slash", *["backspace"] * 12, *"foo:1", "enter")
        await until(pilot, lambda: "is no field" in title(app))
        await pilot.press("escape")
        assert isinstance(app.screen, Browse)

    drive(task)
    assert [f.kind for f in Catalog(tmp_path / "catalog.db").find("kind IN ('note', 'tag')")].count("note") == 1


def test_tabs_tensors_and_silicon() -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        screen = await opened(pilot, app)
        await pilot.press("4")
        await pilot.pause()
        assert "layers.*" in str(screen.query_one(TensorTree).root.children[0].label)
        await pilot.press("6")
        await pilot.pause()
        assert "not on its list" in str(screen.query_one("#silicon-text", Static).content)

    drive(task, model="state-spaces/mamba-2.8b-hf")


@pytest.mark.parametrize(("width", "shown"), [(80, True), (120, True), (59, False)])
def test_it_fits_the_terminal_or_says_so(width: int, shown: bool) -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        screen = await planned(pilot, app)
        assert screen.query_one("#plans").display is shown or not shown
        await pilot.resize_terminal(width, 24)
        await pilot.pause()
        if shown:
            assert screen.query_one(KeyTable).size.width > 40
        else:
            assert "60 columns" in str(screen.query_one("#small", Static).content)
            assert screen.query_one("#small").display
            assert not screen.query_one("#panes").display

    drive(task, model="Qwen/Qwen3-32B", size=(100, 24))


def test_themes_turn_and_no_color_takes_the_ansi_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def turned(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await listed(pilot, app)
        seen = {app.theme}
        for _ in range(len(THEMES)):
            await pilot.press("f2")
            seen.add(app.theme)
        assert seen == set(THEMES)

    drive(turned)
    monkeypatch.setenv("NO_COLOR", "1")

    async def plain(pilot: Pilot[None], app: WhichgpuApp) -> None:
        assert app.theme == "ansi-dark"

    drive(plain)


def test_the_hub_is_searched_as_you_type(start_hub: Start) -> None:
    hub = start_hub({"acme/secret-qwen": shapes.qwen3_06b(), "acme/other": shapes.qwen3_06b()})

    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await listed(pilot, app)
        await pilot.press("slash", *"secret")
        await until(pilot, lambda: app.screen.query_one(KeyTable).current == "acme/secret-qwen")
        await pilot.press("enter")
        await opened(pilot, app)
        assert "acme/secret-qwen" in title(app)

    drive(task, offline=False)
    searches = [r.path for r in hub.requests()].count("/api/models")
    assert searches < len("secret"), "a search when the keys rest, not one a key"


def test_read_anew_asks_the_hub_again(start_hub: Start) -> None:
    hub = start_hub({"acme/qwen": shapes.qwen3_06b()})

    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await opened(pilot, app)
        before = len(hub.requests())
        await pilot.press("r")
        await until(pilot, lambda: len(hub.requests()) > before and "reading" not in title(app))

    drive(task, offline=False, model="acme/qwen")
    assert [r.path for r in hub.requests()].count("/api/models/acme/qwen") == 2


def test_without_a_network_the_search_is_a_word_in_the_title(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")

    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await listed(pilot, app)
        await pilot.press("slash", *"llama")
        await until(pilot, lambda: "offline: atlas and catalog" in title(app))
        assert app.screen.query_one(KeyTable).row_count > 3

    drive(task, offline=False)


def test_what_was_found_is_kept_and_listed(tmp_path: Path) -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        await opened(pilot, app)

    drive(task, model="openai/gpt-oss-20b")
    assert Catalog(tmp_path / "catalog.db").count() == 2
    assert kept.load().recent == ("openai/gpt-oss-20b",)


def test_no_worker_touches_a_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change of a widget happens on the UI's thread."""
    main, strangers = threading.get_ident(), list[str]()
    for kind, name in ((Static, "update"), (KeyTable, "show_rows"), (KeyTable, "add_row")):
        real = getattr(kind, name)

        def watched(self: Any, *args: Any, real: Any = real, name: str = name, **options: Any) -> Any:
            if threading.get_ident() != main:
                strangers.append(name)
            return real(self, *args, **options)

        monkeypatch.setattr(kind, name, watched)

    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        screen = await planned(pilot, app)
        before = screen.result
        await pilot.press("c")
        await until(pilot, lambda: screen.result is not before)

    drive(task, model="Qwen/Qwen3-32B")
    assert strangers == []


@pytest.mark.parametrize("text", ["", "{", '{"recent": 3}', "\x00"])
def test_a_state_that_cannot_be_read_is_a_new_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "app.json").write_text(text)
    assert kept.load() == kept.State()


def _binders() -> list[type]:
    """Every class of the app that binds keys."""
    from importlib import import_module
    from pkgutil import iter_modules

    from whichgpu.tui import app

    modules = [import_module(f"whichgpu.tui.app.{m.name}") for m in iter_modules(app.__path__)]
    kinds = {
        k for m in modules for k in vars(m).values() if isinstance(k, type) and k.__module__.startswith("whichgpu")
    }
    found = [k for k in kinds if "BINDINGS" in k.__dict__]
    assert len(found) > 15
    return found


def test_keys_have_ids_and_none_is_swallowed_on_the_way() -> None:
    swallowed = {"ctrl+s", "ctrl+q", "ctrl+b", "ctrl+w", "ctrl+t", "ctrl+n"}
    for owner in _binders():
        for binding in owner.__dict__.get("BINDINGS", ()):
            assert binding.id, (owner, binding)
            assert not swallowed & set(binding.key.split(",")), binding


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=6), st.integers(10, 200))
def test_bars_are_as_wide_as_asked(sizes: list[int], width: int) -> None:
    parts = [(f"p{i}", s) for i, s in enumerate(sizes)]
    for unicode in (True, False):
        bar = stacked(parts, width, unicode)
        assert len(bar) == (width if sum(sizes) else 0)
        assert unicode or bar.isascii()


def test_a_cards_memory_adds_up() -> None:
    plan = plan_for(plans_of("Qwen/Qwen3-32B", "h200_sxm"), "h200_sxm")
    parts = memory_parts(plan)
    assert plan.footprint is not None
    assert sum(size for _, size in parts) == plan.footprint.usable
    assert legend(parts).startswith("█ weights 61.0")


def test_matching_puts_names_first() -> None:
    models = [
        Known("a/moe-less", "atlas", ("dense",), 10**9),
        Known("b/x", "atlas", ("moe",), 2 * 10**9, licence="mit", gated=False, date="2026-02-01"),
        Known("c/Qwen3-32B", "Hub", licence="apache-2.0", gated=True),
    ]
    assert [k.name for k in matching(models, "moe")] == ["a/moe-less", "b/x"]
    assert [k.name for k in matching(models, "qwn32")] == ["c/Qwen3-32B"]
    assert matching(models, "zzz") == []


def test_the_curve_gives_the_one_shot_of_every_load() -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        screen = await planned(pilot, app)
        accelerator = screen.query_one(KeyTable).current
        await pilot.press("u")
        await until(
            pilot, lambda: isinstance(app.screen, CurveScreen) and app.screen.query_one(KeyTable).row_count == 11
        )
        table = app.screen.query_one(KeyTable)
        for at, concurrency in ((0, 1), (6, 64)):
            workload = screen.workload.model_copy(update={"concurrency": concurrency})
            found = plan(app.desk, screen.reply, Terms(workload), screen.terms)
            assert isinstance(found, Replanned)
            (expected,) = [
                p
                for p in found.reply.answer.plans
                if p.accelerator == accelerator and p.precision is workload.precision
            ]
            shown = [str(cell) for cell in table.get_row_at(at)]
            assert expected.speed is not None
            assert shown[2:4] == [str(expected.count), f"{expected.speed.output_tokens_per_second.expected:,.0f}"]
        await pilot.press("G", "m")
        await until(pilot, lambda: isinstance(app.screen, Words))
        assert "--concurrency 1024" in str(app.screen.query_one("#words Static", Static).render())
        await pilot.press("escape", "escape")
        await pilot.pause()
        assert app.screen is screen

    drive(task, model="Qwen/Qwen3-32B")


def hidden_text(screen: str) -> str:
    """Return what is written in the colour of its background, by the codes that a terminal got."""
    hidden, front, back = "", "39", "49"
    for code, text in re.findall(r"\x1b\[([\d;]*)m|([^\x1b])", screen):
        if text:
            hidden += text if text.strip() and front[1:] == back[1:] and front != "39" else ""
            continue
        for part in re.findall(r"[34]8;[25];[\d;]*?\d+(?=;|$)|\d+", code) or ["0"]:
            if part == "0":
                front, back = "39", "49"
            elif part.startswith("3"):
                front = part
            elif part.startswith("4"):
                back = part
    return hidden


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
class TestInATerminal:
    """The real program in a real terminal of 80×24, driven by keys, without colour and with a dead network."""

    def tmux(self, tmp_path: Path, *words: str) -> str:
        socket = str(tmp_path / "tmux")
        return subprocess.run(["tmux", "-S", socket, *words], capture_output=True, text=True, check=False).stdout

    def until(self, tmp_path: Path, text: str) -> str:
        for _ in range(400):
            shown = self.tmux(tmp_path, "capture-pane", "-p", "-t", "app")
            if text in shown:
                return shown
            time.sleep(0.1)
        raise AssertionError(shown)

    @pytest.mark.parametrize("terminal", ["xterm", "xterm-256color", "screen", "linux"])
    def test_find_a_model_and_read_its_plan(self, tmp_path: Path, terminal: str) -> None:
        environment = {"TERM": terminal, "NO_COLOR": "1", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
        own = {k: os.environ[k] for k in ("WHICHGPU_STATE", "WHICHGPU_CATALOG", "HF_HOME")}
        words = " ".join(f"{k}={v}" for k, v in {**own, **environment}.items())
        code = "from whichgpu.tui.main import main; main()"
        command = f"env {words} {sys.executable} -c '{code}'"
        self.tmux(tmp_path, "new-session", "-d", "-s", "app", "-x", "80", "-y", "24", command)
        try:
            self.until(tmp_path, "27.8 B")
            time.sleep(1)  # the terminal's own answers to Textual's questions come first
            self.tmux(
                tmp_path, "send-keys", "-t", "app", "/gpt-oss-20b"
            )  # at once, as a paste or a slow line brings it
            self.until(tmp_path, "filter “gpt-oss-20b”")
            self.tmux(tmp_path, "send-keys", "-t", "app", "Enter")
            self.until(tmp_path, "mxfp4 experts")
            self.tmux(tmp_path, "send-keys", "-t", "app", "p")
            shown = self.until(tmp_path, "vllm serve openai/gpt-oss-20b")
            assert "✓ fits" in shown
            assert all(len(line) <= 80 for line in shown.splitlines())
            coloured = self.tmux(tmp_path, "capture-pane", "-p", "-e", "-t", "app")
            self.tmux(tmp_path, "send-keys", "-t", "app", "t")
            assert "★" in self.until(tmp_path, "ms per token")
            coloured += self.tmux(tmp_path, "capture-pane", "-p", "-e", "-t", "app")
            assert not re.search(r"[34]8;[25];", coloured), "the terminal's own colours alone"
            assert not hidden_text(coloured), "text has another colour than what is behind it"
            self.tmux(tmp_path, "send-keys", "-t", "app", "C-c")
            for _ in range(50):
                if not self.tmux(tmp_path, "list-sessions"):
                    break
                time.sleep(0.1)
            assert not self.tmux(tmp_path, "list-sessions")
        finally:
            self.tmux(tmp_path, "kill-server")

    def test_an_answer_is_opened_in_the_app_by_a_key(self, tmp_path: Path) -> None:
        """The settings offer it; the app shows the answer's own workload and cards, and reads nothing again."""
        (tmp_path / "config.toml").write_text("press_o = true\n")
        names = ("WHICHGPU_STATE", "WHICHGPU_CATALOG", "WHICHGPU_CONFIG", "HF_HOME")
        words = " ".join(f"{n}={os.environ[n]}" for n in names)
        asked = "-m Qwen/Qwen3-8B --offline --context 4096 --gpu H100:80GB:$2"
        code = f"import sys; sys.argv[1:] = {asked.split()!r}; from whichgpu.tui.main import main; main()"
        (tmp_path / "ask.py").write_text(code)
        command = f"env {words} {sys.executable} {tmp_path / 'ask.py'}"
        self.tmux(tmp_path, "new-session", "-d", "-s", "app", "-x", "80", "-y", "24", command)
        try:
            self.until(tmp_path, "press o to open it in the app")
            self.tmux(tmp_path, "send-keys", "-t", "app", "o")
            shown = self.until(tmp_path, "c 4,096 tokens")
            assert "$2.00" in shown
            time.sleep(1)
            self.tmux(tmp_path, "send-keys", "-t", "app", "m")
            shown = self.until(tmp_path, "'H100:80GB:$2'")
            assert "--context 4096" in shown
        finally:
            self.tmux(tmp_path, "kill-server")


def test_without_a_terminal_it_says_so() -> None:
    code = "from whichgpu.tui.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "app"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 2
    assert "The app needs a terminal" in done.stderr
