"""Break what can break, and count what ended as it should.

    python -m benchmarks.stress [--thin 1] [--kills 1000] [--findings 200000] [--write docs/reliability.md]

Root mounts small disks for the full ones. Whatever is not green is printed with how it ended.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tabulate import tabulate

from benchmarks.catalog import load_table
from benchmarks.stress import disks, kills, network
from benchmarks.stress.cells import Cell, table

_HEAD = """# What was broken on purpose, and how it ended

<!-- Written by `python -m benchmarks.stress --write docs/reliability.md`. -->

A cell is one thing broken on purpose: a network failure of one kind for one repository at one place, a kill at one moment, a disk
with so much room. It is green where the answer is the one without the fault, or one that says what it lacks, or one sentence with its exit
code; where nothing that was acknowledged is lost, no file is broken, and the same work done once more comes to its end. The kinds of
network failures, repositories and places are listed in `benchmarks/stress/network.py`.
"""
_LOAD = """
## The catalog under load

One run on one machine; what holds elsewhere are the ratios and the zeros. Bulk import checks every finding whole (its form, its
identity, what it rests on) and derives its columns; raw is `executemany` of the resulting rows into the same tables and indexes.
"""


def page(cells: list[Cell], load: list[tuple[str, str]]) -> str:
    """Render the page."""
    rows = [(part, f"{tried:,}", f"{green:,}") for part, tried, green in table(cells)]
    rows.append(("all", f"{len(cells):,}", f"{sum(not c.fault for c in cells):,}"))
    counts = tabulate(rows, ("what", "cells", "green"), tablefmt="github", disable_numparse=True)
    faults = "".join(f"- {c.part}: {c.name}: {c.fault}\n" for c in cells if c.fault) or "Nothing is red.\n"
    measured = tabulate(load, ("what", "measured"), tablefmt="github", disable_numparse=True)
    return f"{_HEAD}\n{counts}\n\n{faults}{_LOAD}\n{measured}\n"


def main() -> int:
    """Run everything; exit 1 where a cell is red."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--thin", type=int, default=1, help="every so many-th cell of the network's matrix")
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--bundles", type=int, default=500)
    parser.add_argument("--findings", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    cells = network.cells(options.thin)
    cells += kills.cells(options.kills, options.trials, options.seed)
    cells += disks.full(8)
    cells += disks.hostile(options.bundles, options.seed)
    cells += disks.writers()
    text = page(cells, load_table(options.findings, options.findings // 4))
    print(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    return 1 if any(c.fault for c in cells) else 0


if __name__ == "__main__":
    sys.exit(main())
