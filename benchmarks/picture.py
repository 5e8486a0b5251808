"""Draw docs/answer.svg, the picture in the README, from a real answer: ``python -m benchmarks.picture``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMAND = ("--model", "openai/gpt-oss-120b", "--offline", "--catalog", "/dev/null/none")


def main() -> None:
    """Run the command and write the picture; the web font that rich links to is left out."""
    done = subprocess.run([sys.executable, "-m", "whichgpu", *COMMAND], capture_output=True, text=True, check=True)
    console = Console(record=True, width=84, file=Path("/dev/null").open("w"))  # noqa: SIM115 - lives as long as we do
    console.print(Text("$ whichgpu --model openai/gpt-oss-120b", style="bold"))
    for line in done.stdout.splitlines():
        title = re.match(r"(What|Where|Recommended)", line) is not None
        console.print(Text(line, style="bold" if title else ""))
    svg = console.export_svg(title="whichgpu")
    Path("docs/answer.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


if __name__ == "__main__":
    main()
