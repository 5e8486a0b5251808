"""The options of a trial; the app's form keeps to them too."""

from __future__ import annotations

import re
from typing import Any

import click

from whichgpu.tui.asking.options import engine_options, question_options, source_options, together
from whichgpu.tui.asking.table import Finite

_Asked = tuple[tuple[int, int | None, int | None], ...]


class Loads(click.ParamType[_Asked]):
    """``1,4,16@7168:1024``: sequences at once, and where they are named the tokens of a request."""

    name = "loads"
    _LOAD = re.compile(r"(\d{1,7})(?:@(\d{1,9}):(\d{1,9}))?")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> _Asked:
        if isinstance(value, tuple):
            return value
        parts = [self._LOAD.fullmatch(part.strip()) for part in str(value).split(",")]
        if None in parts:
            self.fail(f"“{value}” is no list of loads: write 1,4,16 or 16@7168:1024.", param, ctx)
        loads = [tuple(int(n) if n is not None else None for n in part.groups()) for part in parts if part]
        if any(number == 0 for load in loads for number in load):
            self.fail("each number must be at least 1", param, ctx)
        return tuple((load[0] or 0, load[1], load[2]) for load in loads)


folder_option = click.option(
    "--folder", metavar="PATH", help="Where runs and their logs are kept (default: your state folder)."
)

trial_options = together(
    question_options,
    engine_options,
    source_options,
    click.option(
        "--vllm-at", metavar="PATH|COMMAND", help='Where vLLM is: an environment, or "docker run --gpus all IMAGE".'
    ),
    click.option("--server", metavar="URL", help="Measure a server that runs already; nothing is started or stopped."),
    click.option(
        "--sweep",
        type=Loads(),
        default=(),
        metavar="N[@IN:OUT],…",
        help="Loads to measure: sequences at once (default: --concurrency), with the tokens of a request (--input, --output).",
    ),
    click.option(
        "--vllm-args",
        default="",
        metavar="WORDS",
        help="More arguments for vLLM, which the prediction knows nothing of.",
    ),
    click.option(
        "--budget",
        type=Finite(20, 86_400),
        default=300,
        show_default=True,
        help="Seconds that all of it may take.",
    ),
    click.option("--real-weights", is_flag=True, help="Download and load the weights; without it they are dummies."),
    click.option(
        "--tiny",
        is_flag=True,
        help="A start without the hardware: the model cut to a few narrow layers, with random weights written under its names.",
    ),
    click.option("--cpu", is_flag=True, help="On vLLM's CPU build: memory is checked, speed is only measured."),
    click.option(
        "--kv-memory",
        type=Finite(1, 10_000_000),
        default=256,
        show_default=True,
        metavar="MIB",
        help="With --cpu: the cache.",
    ),
    click.option(
        "--node",
        metavar="RANK@HOST[:PORT]",
        help="One of several machines that serve it together: its number, and where number 0 is.",
    ),
    click.option(
        "--on",
        metavar="ssh:HOST[,HOST]|slurm|sky",
        help="Say how to run it on another machine, or several; --vllm-at is there then.",
    ),
    click.option("--go", is_flag=True, help="With --on: run it there, and keep the record that comes back."),
    click.option("--anyway", is_flag=True, help="Try it though the prediction says that it does not fit."),
    click.option("--dry-run", is_flag=True, help="Only say what would run."),
    click.option("--json", "as_json", is_flag=True, help="Print the record as JSON."),
    folder_option,
)
"""What is tried, where, and for how long."""
