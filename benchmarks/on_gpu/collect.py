"""What came back from a card, into the project: rows to ``benchmarks/truth``, whole logs to the fixtures of ``read-log``."""

from __future__ import annotations

import gzip
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

from whichgpu.trial.logs import read_log

ROOT = Path(__file__).resolve().parent.parent.parent
TRUTH = ROOT / "benchmarks" / "truth"
LOGS = ROOT / "tests" / "logs"
FILES = ("controlled.jsonl", "serving.jsonl")
_LONGEST = 4 * 2**20
"""Bytes of a log that is kept: a start's is about 20 KB."""


def collect(source: Path, truth: Path, logs: Path, cpu: bool = False) -> list[str]:
    """Add a run's rows and logs to those that are there, each trial once; return what was done, in lines.

    Rows of a CPU say nothing of a card, so they are only taken where ``cpu`` says so (the rehearsal).
    """
    done = []
    for name in FILES:
        rows = [r for r in _rows(source / name) if cpu or r["gpu"] != "cpu"]
        there = _rows(truth / name)
        row_keys = {_key(r) for r in there}
        added = [r for r in rows if _key(r) not in row_keys]
        if added:
            truth.mkdir(parents=True, exist_ok=True)
            (truth / name).write_text("".join(json.dumps(r) + "\n" for r in there + added), encoding="utf-8")
        done.append(f"{name}: {len(added)} rows added, {len(there)} were there")
    trials = {r["trial"] for name in FILES for r in _rows(truth / name)}
    done.append(f"{_logs(source / 'logs.tar.gz', logs, trials)} logs added")
    return done


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["trial"], row.get("concurrency"), row.get("input_len")


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _logs(archive: Path, logs: Path, trials: set[str]) -> int:
    """Keep the log of each trial that has a row, compressed, beside what ``read-log`` makes of it now."""
    count = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            trial = Path(member.name).stem
            content = tar.extractfile(member) if member.isfile() and member.size <= _LONGEST else None
            if content is None or trial not in trials or (logs / f"{trial}.log.gz").exists():
                continue
            logs.mkdir(parents=True, exist_ok=True)
            text = content.read().decode(errors="replace")
            (logs / f"{trial}.log.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
            (logs / f"{trial}.json").write_text(read_log(text).model_dump_json(indent=1) + "\n", encoding="utf-8")
            count += 1
    return count


def changed_logs(logs: Path) -> list[str]:
    """Return the logs of which ``read-log`` no longer makes what it made when they were taken."""
    changed = []
    for log in sorted(logs.glob("*.log.gz")):
        now = json.loads(read_log(gzip.decompress(log.read_bytes()).decode(errors="replace")).model_dump_json())
        then = json.loads(log.with_name(log.name.removesuffix(".log.gz") + ".json").read_text(encoding="utf-8"))
        if now != then:
            changed.append(log.name)
    return changed


def render(page: Path, published: Path, models: Path | None) -> None:
    """Write docs/accuracy.md again, with our own rows apart."""
    from benchmarks import accuracy
    from benchmarks.accuracy_page import page as page_of

    page.write_text(page_of(accuracy.run(published, models)), encoding="utf-8")
    print(f"{page} rendered", file=sys.stderr)
