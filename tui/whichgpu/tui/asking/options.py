"""The options of a question, by what they are about; ``helping`` says how ``--help`` shows them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from whichgpu.inspect.text import clean
from whichgpu.tui.asking.completing import complete_models
from whichgpu.tui.asking.table import ENGINE, SOURCE, WORKLOAD

_Command = Callable[..., Any]


def together(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Apply several options so that they are listed in the order in which they are written."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


workload_options = together(*(row.declared() for row in WORKLOAD))
"""What is asked of the model."""

question_options = together(
    click.option(
        "-m", "--model", shell_complete=complete_models,
        help="Hub id (ORG/NAME, ORG/NAME@REVISION), Hub URL, folder, .safetensors or .gguf file.",
    ),
    workload_options,
)  # fmt: skip
"""What is asked."""


def _take_layout(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Let ``TP2xPP3`` be what --tp and --pp are where they are left out."""
    if value is None:
        return
    sizes: dict[str, Any] = {}
    for word in re.split(r"[X×+,\s]+", value.strip().upper()):
        part = _LAYOUT_WORD.fullmatch(word)
        name = {"TP": "tp", "PP": "pp", "DP": "dp"}.get(part[1]) if part is not None else None
        if word == "EP":
            sizes["ep"] = True
        elif name is None or name in sizes or part is None:
            raise click.BadParameter(f"“{clean(value, 40)}” is no layout. Write it like TP2xPP3 or DP8xEP.")
        else:
            sizes[name] = int(part[2])
    context.default_map = {**(context.default_map or {}), **sizes}


_LAYOUT_WORD = re.compile(r"(TP|PP|DP)([0-9]{1,4})")

engine_options = together(
    *(row.declared() for row in ENGINE),
    click.option(
        "--draft", "draft_model", metavar="MODEL", help="Draft with this model, as many tokens as --speculative says.",
    ),
    click.option(
        "--layout", metavar="TP2xPP3", is_eager=True, expose_value=False, callback=_take_layout,
        help="This layout alone, in one word: TP, PP, DP and EP.",
    ),
)  # fmt: skip
"""How vLLM is started."""

source_options = together(
    *(row.declared() for row in SOURCE),
    click.option(
        "--catalog", metavar="PATH", help="Catalog file (default: WHICHGPU_CATALOG, else the user's data folder)."
    ),
)
"""Where the model is looked up."""

output_options = together(
    click.option("--second-opinion", is_flag=True, help="Ask aiconfigurator-core for the speed too (extra; seconds)."),
    click.option("--explain", is_flag=True, help="Break every byte of a card down, and say what would change it."),
    click.option("--json", "as_json", is_flag=True, help="Print the records as JSON."),
    click.option("-o", "--open", "opens", is_flag=True, help="Open the answer in the app afterwards."),
    click.option("-q", "--quiet", is_flag=True, help="Print the recommendation alone."),
    click.option("--version", is_flag=True, help="Print the version."),
)
"""How the answer is shown."""
