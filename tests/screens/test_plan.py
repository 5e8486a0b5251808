"""Plans and the workload: fixes, the form, counts, comparison."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from tests.driving import drive, parsed_with, planned, title, until
from whichgpu.plan.records import KvDtype, Objective, Precision, Workload
from whichgpu.tui.app.application import WhichgpuApp
from whichgpu.tui.app.compare import ComparePlans
from whichgpu.tui.app.counts import CountsScreen
from whichgpu.tui.app.fixes import Fixes
from whichgpu.tui.app.plan import PlanScreen
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.app.words import Words
from whichgpu.tui.app.workload_form import WorkloadForm, parsed
from whichgpu.tui.asking.question import workload_words
from whichgpu.tui.desk.replanning import over_counts

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def said(app: WhichgpuApp) -> str:
    return str(app.screen.query_one("#words Static", Static).content)


class TestPlan:
    def test_a_fix_is_chosen_and_asked(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            screen.ask(parsed_with(screen, ["--gpu", "H100", "--context", "40960", "--concurrency", "512"]))
            await until(pilot, lambda: screen.chosen is not None and bool(screen.chosen.remedies))
            assert screen.chosen is not None
            remedies = screen.chosen.remedies
            await pilot.press("f")
            await until(pilot, lambda: isinstance(app.screen, Fixes))
            first = next(r for r in remedies if r.changes)
            app.screen.query_one(OptionList).highlighted = remedies.index(first)
            await pilot.press("enter")
            await until(pilot, lambda: screen.terms == screen._settled and isinstance(app.screen, PlanScreen))
            name, value = next(iter(first.changes.items()))
            assert screen.workload.model_dump(mode="json")[name] == value
            plan = next(p for p in screen.result.plans if p.precision is screen.workload.precision)
            assert plan.footprint is not None
            assert (plan.verdict, plan.footprint.pool) == (first.verdict, first.pool), "as it was recomputed"

        drive(task, model="Qwen/Qwen3-32B")

    def test_the_form_asks_and_refuses_by_the_command_lines_rules(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.press("w")
            await until(pilot, lambda: isinstance(app.screen, WorkloadForm))
            app.screen.query_one("#ooutput", Input).value = "9000"
            app.screen.query_one("#ocontext", Input).focus()
            await pilot.press("enter")
            assert "more than the context" in str(app.screen.query_one("#form-trouble", Static).content)
            app.screen.query_one("#ooutput", Input).value = "256"
            app.screen.query_one("#ogpu", Input).value = "H100:80GB:$1.85 L40S"
            app.screen.query_one("#omax-tpot", Input).value = "50"
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, PlanScreen) and screen.terms == screen._settled)
            assert {p.accelerator for p in screen.result.plans} == {"h100_sxm", "l40s"}
            assert (screen.workload.output, screen.workload.max_tpot_ms) == (256, 50)
            await pilot.press("m")
            await until(pilot, lambda: isinstance(app.screen, Words))
            assert "--output 256 --max-tpot 50" in said(app).replace("\n", " ")

        drive(task, model="Qwen/Qwen3-8B")

    def test_hints_of_the_form_are_marked_where_they_are_cut(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await planned(pilot, app)
            await pilot.press("w")
            await until(pilot, lambda: app.screen.query_one("#ocards", Input).placeholder.endswith("…"))
            await pilot.resize_terminal(160, 40)
            await until(pilot, lambda: app.screen.query_one("#ocards", Input).placeholder.endswith("as serve)."))

        drive(task, model="Qwen/Qwen3-8B")

    def test_a_card_that_is_none_leaves_the_last_answer(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            before = screen.result
            screen.ask(parsed_with(screen, ["--gpu", "H9000"]))
            await until(pilot, lambda: "✗" in title(app))
            assert "H9000" in title(app)
            assert screen.result is before
            assert screen.terms.own.accelerators == ()

        drive(task, model="Qwen/Qwen3-8B")

    def test_lengths_are_stepped_within_the_context(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.press("I", "I", "r")
            assert (screen.workload.prompt, screen.workload.output) == (2048, 2048)
            await pilot.press("C", "C", "C")
            assert screen.workload.context == 1024
            assert (screen.workload.prompt or 1) + (screen.workload.output or 1) <= 1024

        drive(task, model="Qwen/Qwen3-8B")

    def test_every_card_with_every_count(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.press("h")
            await until(
                pilot, lambda: isinstance(app.screen, CountsScreen) and app.screen.query_one(KeyTable).row_count > 3
            )
            table = app.screen.query_one(KeyTable)
            row = [str(c) for c in table.get_row("h100_sxm")]
            assert row[1] == "✗ no", "the weights alone have twice one card's memory"
            assert row[3].startswith("✓ "), "Llama 70B on four H100"
            await pilot.press("v")
            assert "tokens/s" in title(app)
            plans = over_counts(screen.reply, screen.workload, (4,))["h100_sxm"]
            assert plans[4].count == 4

        drive(task, model="meta-llama/Llama-3.1-70B-Instruct")

    def test_plans_are_marked_and_compared(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            await planned(pilot, app)
            await pilot.press("equals_sign")
            assert isinstance(app.screen, PlanScreen), "comparing needs two"
            await pilot.press("space", "j", "space", "equals_sign")
            await until(pilot, lambda: isinstance(app.screen, ComparePlans))
            text = str(app.screen.query_one("#compared", Static).content)
            assert "≠" in text
            assert "ms per token" in text

        drive(task, model="Qwen/Qwen3-8B")

    def test_a_tall_screen_plots_the_row(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await until(pilot, lambda: "to 1,024" in str(screen.query_one("#bar", Static).content))
            assert "longest" in str(screen.query_one("#bar", Static).content)

        drive(task, model="Qwen/Qwen3-8B", size=(120, 36))

    def test_a_tired_request_is_not_shown(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            shown = screen.result
            await pilot.press("n", "n", "n", "N", "N", "N")
            await until(pilot, lambda: screen.result is not shown and screen.terms == screen._settled)
            assert screen.result.workload.concurrency == screen.workload.concurrency == 16

        drive(task, model="Qwen/Qwen3-8B")


workloads = st.builds(
    Workload,
    context=st.integers(4096, 10**6),
    concurrency=st.integers(1, 10**4),
    prompt=st.none() | st.integers(1, 2000),
    output=st.none() | st.integers(1, 2000),
    rate=st.none() | st.floats(0.01, 1e4),
    precision=st.sampled_from(Precision),
    kv_dtype=st.sampled_from(KvDtype),
    objective=st.sampled_from(Objective),
    price_kind=st.sampled_from(["on-demand", "spot"]),
    busy=st.floats(0.01, 1),
    max_tpot_ms=st.none() | st.floats(0.1, 1e4),
    max_usd_per_hour=st.none() | st.floats(0.1, 1e4),
    vllm=st.none() | st.just("0.19"),
    max_sequences=st.none() | st.integers(1, 10**4),
    batched_tokens=st.none() | st.integers(1, 10**5),
    eager=st.booleans(),
    speculative_tokens=st.integers(0, 8),
    text_only=st.booleans(),
)


@given(workloads)
def test_a_workload_as_words_is_the_same_workload(workload: Workload) -> None:
    """What the app shows as a command asks what the app asked."""
    found = parsed(workload_words(workload)).workload
    close = {n: pytest.approx(v, rel=1e-9) if isinstance(v, float) else v for n, v in workload.model_dump().items()}
    assert found.model_dump() == close


def test_a_share_that_was_asked_for_is_in_the_words() -> None:
    asked = Workload(context=8192, concurrency=4, utilisation=0.8, utilisation_asked=True)
    assert parsed(workload_words(asked)).workload == asked
    with pytest.raises(click.ClickException):
        parsed(["--context", "none"])
