"""Fuzz what is read of others: ``python -m tests.attack.fuzz [READER …] [--seconds 3600] [--seed 1] [--keep FOLDER]``.

Honest inputs are turned and given to the command that reads them, in a child that the kernel holds to its memory and an alarm
to its time. Whatever ends in a defect (70), a traceback, a signal, a code that a terminal obeys, or not soon enough, is kept as a file
and named; it belongs into ``tests/attack/corpus/READER`` with the mend.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

MEBIBYTES, SECONDS = 300, 10
"""Of memory beside what starting takes, and of time for one command."""

CORPUS = Path(__file__).parent / "corpus"
_MAPPED = 500
"""MiB that an interpreter with our libraries, numpy and threads maps before it reads anything."""

_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_TOO_LONG = 99


def one(reader: str, data: bytes, folder: Path) -> str | None:
    """Run a reader on an input; return what is wrong with how it ended. ``folder`` is emptied."""
    from tests.attack.fuzzed_readers import READERS
    from whichgpu.tui.cli.tree import run

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.environ |= {"WHICHGPU_CATALOG": str(folder / "own.db"), "WHICHGPU_CONFIG": str(folder / "config.toml")}
    os.environ |= {"HF_HOME": str(folder / "hf"), "WHICHGPU_STATE": str(folder / "state.json")}
    for words in READERS[reader].place(folder, data):
        out, err = io.StringIO(), io.StringIO()
        signal.alarm(SECONDS)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(list(words))
        except BaseException as error:  # noqa: BLE001 - that nothing gets through is what is tested
            return f"{words[:2]}: {type(error).__name__} got through: {error}"
        finally:
            signal.alarm(0)
        said = out.getvalue() + err.getvalue()
        if code == 70 or "Traceback" in said:
            return f"{words[:2]}: a defect: {err.getvalue()[-600:]}"
        if not 0 <= code < 10:
            return f"{words[:2]}: exit code {code}"
        if (obeyed := _OBEYED.search(said.replace("\r", ""))) is not None:
            return f"{words[:2]}: prints {obeyed[0]!r}: {said[max(0, obeyed.start() - 60) : obeyed.end() + 20]!r}"
    return None


def inputs(reader: str, seed: int) -> Iterator[bytes]:
    """Yield what is kept, then honest inputs turned, for ever; the same for the same seed."""
    from tests.attack.fuzzed_readers import READERS

    random, kind = Random(f"{reader} {seed}"), READERS[reader]
    seeds = [*kind.seeds(), *(path.read_bytes() for path in kept(reader))]
    yield from seeds
    while True:
        data = kind.turn(random, random.choice(seeds))
        if random.random() < 0.2:
            data = kind.turn(random, data)
        yield data


def kept(reader: str) -> Sequence[Path]:
    """Inputs that once went wrong."""
    return sorted((CORPUS / reader).glob("*"))


def fuzz(reader: str, seconds: float, count: int, seed: int, keep: Path) -> dict[str, object]:
    """Fuzz in children until time or number is over; return how many inputs were tried and what went wrong."""
    faults: list[str] = []
    tried, begun, first = 0, time.monotonic(), 0
    while tried < count and time.monotonic() - begun < seconds:
        left = seconds - (time.monotonic() - begun)
        words = [reader, str(left), str(count - tried), str(seed), str(first), str(keep)]
        child = subprocess.run(
            [sys.executable, "-P", "-m", "tests.attack.fuzz", "--child", *words],
            capture_output=True, stdin=subprocess.DEVNULL, check=False, cwd=CORPUS.parent.parent.parent,
            env={**os.environ, "PYTHONPATH": str(CORPUS.parent.parent.parent)},
        )  # fmt: skip
        lines = child.stdout.decode(errors="replace").splitlines()
        done = [json.loads(line) for line in lines if line.startswith("{")]
        tried += len(done)
        first += len(done)
        faults += [f"{d['input']}: {d['fault']}" for d in done if d["fault"]]
        if child.returncode:  # the input that it was at ended the child
            how = "it took too long" if child.returncode == _TOO_LONG else f"the child ended with {child.returncode}"
            faults.append(f"{keep / reader}: input {first} of seed {seed}: {how}: {child.stderr.decode()[-500:]}")
            tried, first = tried + 1, first + 1
    return {"reader": reader, "tried": tried, "faults": faults}


def replay() -> list[str]:
    """Give every kept input to its reader, in this process; return what is wrong."""
    with tempfile.TemporaryDirectory() as name:
        _confine()
        found = [
            (path, one(folder.name, path.read_bytes(), Path(name) / "at"))
            for folder in sorted(CORPUS.iterdir())
            for path in kept(folder.name)
        ]
    return [f"{path}: {fault}" for path, fault in found if fault is not None]


def _child(reader: str, seconds: float, count: int, seed: int, first: int, keep: Path) -> None:
    _confine()
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as name:
        for number, data in enumerate(inputs(reader, seed)):
            if number >= first + count or time.monotonic() > until:
                break
            if number < first:
                continue
            where = _write(keep, reader, data)
            fault = one(reader, data, Path(name) / "at")
            if fault is None:
                where.unlink()
            print(json.dumps({"input": str(where), "fault": fault}), flush=True)


def _confine() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, ((_MAPPED + MEBIBYTES) * 2**20,) * 2)
    signal.signal(signal.SIGALRM, lambda *_: _too_long())
    for name in list(os.environ):
        if name.startswith(("HF_", "WHICHGPU_", "XDG_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ["HF_HUB_OFFLINE"] = "1"


def _write(keep: Path, reader: str, data: bytes) -> Path:
    """Before it is read: a child may not come so far as to say which it was."""
    folder = keep / reader
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:12]
    path.write_bytes(data)
    return path


def _too_long() -> None:
    os._exit(_TOO_LONG)


def main() -> int:
    """Fuzz the named readers, or all; exit 1 where anything went wrong."""
    if sys.argv[1:2] == ["--child"]:
        reader, seconds, count, seed, first, keep = sys.argv[2:]
        _child(reader, float(seconds), int(count), int(seed), int(first), Path(keep))
        return 0
    if sys.argv[1:] == ["--corpus"]:
        faults = replay()
        print("\n".join([*faults, f"{len(faults)} of the kept inputs wrong"]))
        return 1 if faults else 0
    from tests.attack.fuzzed_readers import READERS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("readers", nargs="*", choices=[[], *READERS], default=[])
    parser.add_argument("--seconds", type=float, default=120.0, help="for all of them together")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "whichgpu-fuzz")
    options = parser.parse_args()
    names = options.readers or list(READERS)
    totals: Counter[str] = Counter()
    for reader in names:
        result = fuzz(reader, options.seconds / len(names), 10**9, options.seed, options.keep)
        wrong = list(result["faults"])  # type: ignore[call-overload]
        totals += Counter(tried=int(str(result["tried"])), faults=len(wrong))
        print(f"{reader:<14} {result['tried']:>7} tried, {len(wrong)} wrong", flush=True)
        print("".join(f"    {fault}\n" for fault in wrong[:20]), end="", flush=True)
    print(f"{totals['tried']} inputs of seed {options.seed}, {totals['faults']} wrong")
    return 1 if totals["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
