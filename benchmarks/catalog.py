"""The catalog under load: ratios to raw SQLite and growth, measured side by side in one run.

    python -m benchmarks.catalog [--findings 1000000]

``python -m benchmarks.stress`` writes it to docs/reliability.md beside what was broken on purpose.

Findings are notes on as many models as a large team would have, one in twenty an inspection and one an answer to it.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tabulate import tabulate
from tests import planning

from whichgpu.catalog import sharing
from whichgpu.catalog.bundles import Policy
from whichgpu.catalog.intake import merge, take
from whichgpu.catalog.query import compiled, search
from whichgpu.catalog.records import ANSWER, Finding, Stamp, canonical, identity_of, inspection_finding, note_finding
from whichgpu.catalog.rows import row_of
from whichgpu.catalog.store import Catalog
from whichgpu.catalog.stores import FileStore
from whichgpu.inspect.records import Inspection

_MODELS = 2_000


def stamp(number: int) -> Stamp:
    day, second = divmod(number, 86_400)
    hour, rest = divmod(second, 3600)
    at = f"2026-{1 + day // 28 % 9:02}-{1 + day % 28:02}T{hour:02}:{rest // 60:02}:{rest % 60:02}+00:00"
    return Stamp(made_at=at, made_by=f"p{number % 50}", tool_version="0.1.0")


@cache
def _model() -> tuple[Inspection, str]:
    """A real inspection, and the JSON of a real answer to it."""
    inspection = planning.model("Qwen/Qwen3-8B")
    return inspection, canonical(planning.ask("Qwen/Qwen3-8B", "h100_sxm", "l40s").model_dump(mode="json"))


def made(number: int) -> Finding:
    """Return the n-th finding; the same on every run."""
    now = stamp(number)
    if number % 10:
        name = f"org{number % 40}/model-{number % _MODELS}"
        return note_finding(name, f"note {number} on how it went with this model", now)
    base, answer = _model()
    first = number - number % 20
    origin = {"kind": "hub", "name": f"org{first % 40}/model-{first % _MODELS}", "commit": f"{first:040x}"}
    inspection = base.model_copy(update={"source": base.source.model_copy(update=origin)})
    finding = inspection_finding(inspection, stamp(first))
    if number == first:
        return finding
    about = {"kind": ANSWER, "about": finding.identity, "body": answer, "facts_date": json.loads(answer)["facts_date"]}
    identity = identity_of(ANSWER, finding.identity, now.tool_version, answer)
    return finding.model_copy(update={**about, "identity": identity, **now.model_dump(), "local_path": None})


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def bulk(folder: Path, count: int) -> list[tuple[str, str]]:
    """Import in bulk, beside ``executemany`` of the very rows that result, into the same tables with the same indexes."""
    ours = Catalog(folder / "ours.db")
    ours.add()
    findings = [made(n) for n in range(count)]
    spent = timed(lambda: take(ours, "bulk", findings))
    raw = Catalog(folder / "raw.db")
    raw.add()
    with ours.reading() as connection:
        rows = {t: connection.execute(f"SELECT * FROM {t}").fetchall() for t in ("findings", "plans", "notes")}

    def insert() -> None:
        with raw.writing() as target:
            for table, values in rows.items():
                target.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values[0]))})", values)

    plain = timed(insert)
    return [
        ("findings", f"{count:,}"),
        ("bulk import", f"{spent:.1f} s"),
        ("raw executemany of the resulting rows", f"{plain:.1f} s"),
        ("bulk import / raw", f"{spent / plain:.2f}"),
    ]


def reading(path: Path) -> list[tuple[str, str]]:
    """List and search a page, beside the same SQL on a bare connection."""
    store, rows = Catalog(path), list[tuple[str, str]]()
    for name, text in (("list", ""), ("search", "model-17 gpu:h100"), ("search", "tag:none")):
        sql, values = compiled(text)
        ours = statistics.median(timed(lambda t=text: search(store, t)) for _ in range(15))  # type: ignore[misc]

        def plain(sql: str = sql, values: list[Any] = values) -> None:
            connection = sqlite3.connect(path)
            connection.execute(f"{sql} LIMIT 50", values).fetchall()
            connection.close()

        raw = statistics.median(timed(plain) for _ in range(15))
        rows.append((f"{name} “{text}”: ours / raw SQL", f"{ours / raw:.2f} ({ours * 1e3:.1f} ms)"))
    return rows


_OPENING = """
import time, sqlite3
begun = time.process_time()
from pathlib import Path
from whichgpu.catalog.store import Catalog
Catalog(Path({path!r})).latest_inspection("a/b")
print(time.process_time() - begun)
"""


def opening(path: Path) -> list[tuple[str, str]]:
    """CPU time that opening adds to a process that has sqlite3 and the records that an answer needs anyway."""
    code = "import whichgpu.plan.records\n" + _OPENING.format(path=str(path))
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) for _ in range(7)
    ]
    return [("opening for a one-shot, CPU", f"{statistics.median(times) * 1e3:.0f} ms")]


def merging(folder: Path, count: int) -> list[tuple[str, str]]:
    """Merge two catalogs with half in common, at a quarter, a half and all of the size."""
    per_row: list[float] = []
    for size in (count // 4, count // 2, count):
        mine, theirs = (Catalog(folder / f"{who}{size}.db") for who in ("mine", "theirs"))
        take(mine, "mine", (made(n) for n in range(size)))
        take(theirs, "theirs", (made(n) for n in range(size // 2, size // 2 + size)))
        per_row.append(timed(lambda a=mine, b=theirs: merge(a, b.path)) / size)  # type: ignore[misc]
    microseconds = ", ".join(f"{p * 1e6:.0f}" for p in per_row)
    return [
        ("merge of 2 ×", f"{count:,} with half in common"),
        ("µs a finding at a quarter, half, all", microseconds),
        ("all / quarter (1 is linear)", f"{per_row[-1] / per_row[0]:.2f}"),
    ]


def pushing(folder: Path) -> list[tuple[str, str]]:
    """Push 1,000 new findings; bytes beside what they take compressed in the catalog."""
    store = Catalog(folder / "push.db")
    findings = [made(n) for n in range(1_000)]
    store.add(*findings)
    sent = sharing.push(store, FileStore(str(folder / "share")), "t", Policy(), stamp(0))
    stored_bytes = sum(len(row_of(f)["body"]) for f in findings)
    return [
        ("push of 1,000: bytes sent / compressed bodies", f"{sent.bytes / stored_bytes:.2f}"),
        ("in bundles", str(sent.bundles)),
    ]


_WRITER = """
import sys
from pathlib import Path
from benchmarks.catalog import stamp
from whichgpu.catalog.records import note_finding
from whichgpu.catalog.store import Catalog
store, who, count = Catalog(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
for number in range(count):
    store.add(note_finding(f"a/{number}", f"{who} {number}", stamp(number)))
    print(number, flush=True)
"""


def _writer(path: Path, who: int, count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _WRITER, str(path), str(who), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def concurrency(folder: Path) -> Iterator[tuple[str, str]]:
    """8 processes × 1,000 writes into one file."""
    path = folder / "many.db"
    begun = time.perf_counter()
    ended = [w.communicate() for w in [_writer(path, n, 1_000) for n in range(8)]]
    yield "8 processes × 1,000 writes", f"{Catalog(path).count():,} rows"
    yield "complaints", str(sum(bool(err) for _, err in ended))
    yield "writes a second", f"{8_000 / (time.perf_counter() - begun):,.0f}"


def load_table(findings: int, merged: int) -> list[tuple[str, str]]:
    """Measure everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = bulk(folder, findings)
        rows += reading(folder / "ours.db")
        rows += opening(folder / "ours.db")
        rows += merging(folder, merged)
        rows += pushing(folder)
        rows += concurrency(folder)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--findings", type=int, default=1_000_000)
    parser.add_argument("--merged", type=int, default=100_000)
    options = parser.parse_args()
    rows = load_table(options.findings, options.merged)
    print(tabulate(rows, ("what", "measured"), tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
