"""Silicon: custom chips: who can use them, and what serves there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from whichgpu import assets
from whichgpu.inspect.text import clean
from whichgpu.plan.silicon import parse_silicon
from whichgpu.tui.app.page import Export, Page
from whichgpu.tui.app.table import KeyTable
from whichgpu.tui.app.words import Words
from whichgpu.tui.words.silicon_words import chip_memory, whole


class SiliconScreen(Page):
    """All chips; Enter shows one in full, with its source."""

    HELP = (
        "Chips beside the GPUs, as the public knows them. Enter shows one in full. A model's tab 6 says what fits it."
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "whole", "In full", id="silicon.whole")]

    def __init__(self) -> None:
        super().__init__()
        self._chips = {c.key: c for c in parse_silicon(assets.read("silicon.json"))}

    def body(self) -> Iterable[Widget]:
        yield KeyTable(
            ("chip", "access", "vLLM", "GB", "GB/s", "who can use it"), right=(3, 4), wide_only=(4,), id="chips"
        )

    def on_mount(self) -> None:
        as_of = next(iter(self._chips.values())).as_of
        self.say(f"Silicon  {len(self._chips)} chips", f"as of {as_of}")
        rate = "{:,.0f}".format
        rows = [
            (
                key,
                (
                    clean(c.name, 30),
                    c.access.value,
                    c.vllm_state,
                    chip_memory(c),
                    rate(c.bandwidth_gbs) if c.bandwidth_gbs is not None else "–",
                    _cut(c.who),
                ),
            )
            for key, c in self._chips.items()
        ]
        table = self.query_one(KeyTable)
        table.show_rows(rows)
        self.set_focus(table)

    def on_data_table_row_selected(self) -> None:
        self.action_whole()

    def action_whole(self) -> None:
        """Everything that is known of the chip under the cursor."""
        chip = self._chips.get(self.query_one(KeyTable).current or "")
        if chip is not None:
            self.app.push_screen(Words(chip.name, whole(chip)))

    def one_shot(self) -> str | None:
        return f"whichgpu silicon {self.query_one(KeyTable).current or ''}".strip()

    def export(self) -> Export | None:
        chips = tuple(self._chips.values())
        return Export("silicon.json", lambda: json.dumps([c.model_dump(mode="json") for c in chips], indent=2))


def _cut(text: str) -> str:
    cell_text = clean(text, 200)
    return cell_text if len(cell_text) <= 34 else cell_text[:33] + "…"
