"""The plan as a picture: dots, frontier, limits, one cursor, sorting, and all that the command line says beside them."""

from __future__ import annotations

import re

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from tests.driving import drive, parsed_with, planned, until
from tests.planning import ask as plans_of
from whichgpu.plan.records import Precision, Verdict, Workload
from whichgpu.tui.app import plan_text
from whichgpu.tui.app.application import WhichgpuApp
from whichgpu.tui.app.frontier import Axis, FrontierPlot, Standing, axis_of, dots
from whichgpu.tui.app.plan import PlanScreen
from whichgpu.tui.app.reading import PLAIN
from whichgpu.tui.app.state import load as load_state
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.words import units
from whichgpu.tui.words.answer_lines import answer_lines

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

MODEL = "openai/gpt-oss-120b"


def picture(screen: PlanScreen) -> list[str]:
    return screen.query_one(FrontierPlot).render().plain.splitlines()


def words(text: str) -> str:
    """Without line breaks and indentation."""
    return re.sub(r"\s+", " ", text)


def text_of(screen: PlanScreen, *names: str) -> str:
    return words(" ".join(str(screen.query_one(name, Static).content) for name in names))


class TestDots:
    def test_every_priced_plan_with_a_speed_is_one_and_the_front_is_the_answers(self) -> None:
        answer = plans_of(MODEL)
        found = dots(answer)
        asked = [p for p in answer.plans if p.precision is answer.workload.precision]
        expected = {p.accelerator for p in asked if p.speed and p.total_usd_per_hour and p.verdict is not Verdict.NO}
        assert {d.key for d in found} == expected
        front = [answer.plans[i].accelerator for i in answer.front]
        assert {d.key for d in found if d.standing is Standing.FRONT} == set(front)
        assert len(front) > 2
        for dot in found:
            plan = next(p for p in asked if p.accelerator == dot.key)
            assert plan.speed is not None
            assert (dot.cost, dot.ms) == (plan.total_usd_per_hour, plan.speed.tpot_ms.expected)

    def test_an_axis_holds_its_values_and_its_ticks(self) -> None:
        axis = axis_of([0.7, 90.0])
        assert 0 < axis.share(0.7) < axis.share(8) < axis.share(90) < 1
        assert all(0 <= axis.share(t) <= 1 for t in axis.ticks(5))
        assert 2 <= len(axis.ticks(5)) <= 5
        assert Axis(0, 2).share(10) == 0.5
        assert axis_of([3.0]).share(3.0) == pytest.approx(0.5), "one card alone is in the middle"


class TestPicture:
    @pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 50)])
    def test_a_glyph_stands_where_each_dot_is_reckoned(self, size: tuple[int, int]) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            if size[0] < 120:
                await pilot.press("t")
            await pilot.pause(0.3)
            lines, plot = picture(screen), screen.query_one(FrontierPlot)
            assert plot.size.height > 8
            glyphs = {"◆", *map(str, Standing)}
            for column, line, dot in plot._places():
                assert lines[line][column] in glyphs, (dot, lines[line])
            (cursor,) = [(c, r) for r, line in enumerate(lines) for c, x in enumerate(line) if x == "◆" and r]
            current = screen.query_one("#plans", KeyTable).current
            assert cursor in [(column, line) for column, line, dot in plot._places() if dot.key == current]
            assert all(len(line) == plot.size.width for line in lines)
            assert "$/hour" in lines[-2]
            assert "ms per token" in lines[0]

        drive(task, model=MODEL, size=size)

    def test_table_and_picture_have_one_cursor(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            table, plot = screen.query_one("#plans", KeyTable), screen.query_one(FrontierPlot)
            await pilot.pause(0.3)
            await pilot.press("j", "j")
            await pilot.pause(0.1)
            assert plot._cursor == table.current
            plot.focus()
            await pilot.press("down")
            await until(pilot, lambda: table.cursor_row == 3 and plot._cursor == table.current)
            before = next(d for d in dots(screen.result) if d.key == table.current)
            await pilot.press("right")
            await until(pilot, lambda: plot._cursor == table.current != before.key)
            after = next(d for d in dots(screen.result) if d.key == table.current)
            assert after.cost >= before.cost
            column, line, dot = max(plot._places(), key=lambda place: place[0])
            await pilot.click(FrontierPlot, offset=(column, line))
            await until(pilot, lambda: table.current == dot.key)
            assert screen.chosen is not None
            assert screen.chosen.accelerator == dot.key

        drive(task, model=MODEL, size=(120, 36))

    def test_dots_move_with_the_workload(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.pause(0.3)
            before = picture(screen)
            await pilot.press("n", "n")
            await until(pilot, lambda: screen.terms == screen._settled)
            await pilot.pause(0.1)
            assert picture(screen) != before

        drive(task, model=MODEL, size=(120, 36))

    def test_limits_are_lines(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            assert not {"┆", "╌"} & set("".join(picture(screen)))
            screen.ask(parsed_with(screen, ["--max-tpot", "20", "--max-price", "5"]))
            await until(pilot, lambda: screen.terms == screen._settled)
            await pilot.pause(0.2)
            lines = picture(screen)
            assert max(line.count("╌") for line in lines) > 40
            assert sum("┆" in line for line in lines) > 5
            chip = text_of(screen, "#counted")
            assert "not default: max-tpot 20, max-price 5 × R resets" in chip

        drive(task, model=MODEL, size=(120, 36))

    def test_nothing_to_draw_is_said(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.press("t")
            await pilot.pause(0.2)
            assert "Nothing here has both a price and a time per token" in " ".join(picture(screen))

        drive(task, model="BAAI/bge-large-en-v1.5")

    def test_views_turn_and_the_keys_go_to_what_is_shown(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            shown = []
            for _ in range(4):
                shown.append(screen.focused.id if screen.focused is not None else None)
                assert screen.focused is not None
                assert screen.focused.display
                await pilot.press("t")
                await pilot.pause(0.1)
            assert shown == ["plans", "plot", "said", "plans"]

        drive(task, model=MODEL)


class TestSaid:
    @pytest.mark.parametrize("model", [MODEL, "Qwen/Qwen3-32B", "deepseek-ai/DeepSeek-V3", "BAAI/bge-large-en-v1.5"])
    def test_every_line_of_the_command_line_is_on_the_screen(self, model: str) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.press("t", "t")
            await pilot.pause(0.3)
            shown = text_of(screen, "#rent", "#said-text")
            blocks = answer_lines(screen.reply, PLAIN).split("\n\n")[1:]
            statements = re.split(r"\n(?=  ?\S|- |More)", "\n".join(blocks))
            left_out = [s for s in map(words, statements) if s.strip() not in shown]
            assert all("HOLDS" in s for s in left_out), "which the bar of memory shows"

        drive(task, model=model)

    def test_a_wide_screen_has_the_doubts_beside_the_picture(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.pause(0.3)
            doubts = text_of(screen, "#doubts")
            for said in ("Sure?", "start checked", "No: T4", "cards have a price", "Seen"):
                assert said in doubts
            rent = text_of(screen, "#rent")
            assert "days old" in rent
            assert re.search(r"tok/s in all \([\d,]+ to [\d,]+\)", rent), "the range"

        drive(task, model=MODEL, size=(120, 36))

    def test_a_limit_that_nothing_keeps_is_said(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            screen.ask(parsed_with(screen, ["--max-price", "0.01"]))
            await until(pilot, lambda: screen.result.recommended is None)
            await pilot.pause(0.2)
            assert "Nothing keeps the limits" in text_of(screen, "#rent")

        drive(task, model=MODEL)


class TestTable:
    def test_it_is_sorted_by_key_and_by_a_click_on_a_head(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            table = screen.query_one("#plans", KeyTable)
            ranked = list(table._shown)
            await pilot.press("j")
            chosen = table.current
            await pilot.press("z", "z", "z", "z")
            assert "$/h▲" in [str(c.label) for c in table.ordered_columns]
            by_price = {
                p.accelerator: p.total_usd_per_hour for p in screen.result.plans if p.precision is Precision.PUBLISHED
            }
            prices = [by_price[k] for k in table._shown]
            assert prices == sorted(prices, key=lambda p: (p is None, p))
            assert table.current == chosen, "the cursor stays on its card"
            await pilot.press("Z")
            assert "$/h▼" in [str(c.label) for c in table.ordered_columns]
            await pilot.click(KeyTable, offset=(4, 0))
            await until(pilot, lambda: list(table._shown) == sorted(ranked, key=lambda k: k.replace("_", " ").upper()))
            for _ in range(7):
                await pilot.press("z")
            assert list(table._shown) == ranked, "after the last column comes the answer's own order"

        drive(task, model=MODEL)

    def test_what_has_no_figure_is_last_both_ways(self) -> None:
        plans = [
            p.model_copy(update={"usd_per_hour": u})
            for p, u in zip(plans_of(MODEL).plans, (2.0, None, 1.0), strict=False)
        ]
        for down, expected in ((False, [1.0, 2.0, None]), (True, [2.0, 1.0, None])):
            assert [p.usd_per_hour for p in plan_text.in_order(plans, 3, down)] == expected

    def test_the_frontier_has_a_star_and_what_is_beaten_is_dim(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            table = screen.query_one("#plans", KeyTable)
            front = {screen.result.plans[i].accelerator for i in screen.result.front}
            for key in list(table._shown)[:20]:
                name, *_, memory = table.get_row(key)
                assert str(name).startswith("★ ") is (key in front)
                assert (memory.style == "dim") is (key not in front)

        drive(task, model=MODEL)

    def test_all_cards_are_asked_by_a_key_and_back(self) -> None:
        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            asked = len(screen.query_one("#plans", KeyTable)._shown)
            every = len(screen.reply.facts.accelerators)
            assert f"{asked} of {every} cards have a price" in text_of(screen, "#counted")
            await pilot.press("a")
            await until(pilot, lambda: len(screen.query_one("#plans", KeyTable)._shown) == every)
            assert f"{asked} of {every} cards have a price" in text_of(screen, "#counted")
            assert f"gpu × {every}" in text_of(screen, "#counted")
            await pilot.press("a")
            await until(pilot, lambda: len(screen.query_one("#plans", KeyTable)._shown) == asked)

        drive(task, model=MODEL)

    def test_costs_are_in_the_currency_that_is_shown(self) -> None:
        plan = next(p for p in plans_of(MODEL).plans if p.fits and p.speed and p.speed.usd_per_million_output)
        assert plan.speed is not None
        cost = plan.speed.usd_per_million_output
        assert cost is not None
        units.show(units.Shown(currency="EUR", per_usd=10.0))
        assert plan_text.row(plan, plan_text.most_of([plan]), "")[5].split()[0] == f"{10 * cost.expected:.2f}"
        assert plan_text.headers()[5] == "€/Mtok"

        async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
            screen = await planned(pilot, app)
            await pilot.pause(0.2)
            labels = [float(word) for word in re.findall(r"€([\d.]+)", picture(screen)[-1])]
            costs = [10 * d.cost for d in dots(screen.result)]
            assert len(labels) > 2
            assert min(costs) * 0.7 < labels[0] < labels[-1] < max(costs) * 1.5

        units.show(units.Shown(currency="EUR", per_usd=10.0))
        drive(task, model=MODEL, size=(120, 36))

    def test_several_machines_are_another_verdict(self) -> None:
        plan = next(p for p in plans_of(MODEL).plans if p.fits)
        assert plan_text.row(plan, (1, 1), "")[1] == "✓ fits"
        assert plan_text.row(plan.model_copy(update={"machines": 8}), (1, 1), "")[1] == "✓ on 8"


def test_r_goes_back_to_the_defaults_of_everything() -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        screen = await planned(pilot, app)
        assert screen.unusual == ()
        await pilot.press("c", "n", "o", "v")
        screen.ask(parsed_with(screen, ["--cards", "2", "--gpu", "H100", "--gpu", "L40S"]))
        await until(pilot, lambda: screen.terms == screen._settled)
        assert "cards 2" in screen.unusual
        assert "gpu × 2" in screen.unusual
        assert load_state().workload != Workload(context=8192, concurrency=16)
        await pilot.press("R")
        await until(pilot, lambda: screen.terms == screen._settled)
        assert screen.unusual == ()
        assert load_state().workload == Workload(context=8192, concurrency=16), "for the next model too"
        assert "not default" not in text_of(screen, "#counted")

    drive(task, model=MODEL)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_what_a_model_has_not_got_is_no_knob(size: tuple[int, int]) -> None:
    async def task(pilot: Pilot[None], app: WhichgpuApp) -> None:
        screen = await planned(pilot, app)
        asked = str(screen.query_one("#workload", Static).content)
        assert "at once" in asked
        assert not re.search(r"context|tokens|KV|reply|\bin\b", asked)
        before = screen.terms
        await pilot.press("c", "v", "i", "r", "L")
        assert screen.terms == before

    drive(task, model="black-forest-labs/FLUX.1-dev", size=size)
