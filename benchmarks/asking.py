"""A worker in another environment: questions in, one JSON object a line; answers out, as they come."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def answers_of(worker: Path, requests: Iterable[Row], python: str, places: Sequence[Path] = ()) -> Iterator[Row]:
    """Run ``worker`` with ``python`` and yield its rows; what else it prints (old releases of vLLM log there) is dropped.

    ``places`` hold the Python of another release than the installed one, and of what goes with it.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(place) for place in places)}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as lines:
        lines.writelines(json.dumps(request) + "\n" for request in requests)
        lines.seek(0)
        with subprocess.Popen(
            [python, str(worker)],
            stdin=lines,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        ) as process:
            assert process.stdout is not None
            yield from (json.loads(line) for line in process.stdout if line.startswith("{"))
