"""python -m benchmarks.on_gpu pack | run | collect: see README.md in this folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    """Do one of the three."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.on_gpu", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    pack = commands.add_parser("pack", help="make the pieces that a bare machine needs")
    pack.add_argument("--out", type=Path, default=Path(".pack"))
    pack.add_argument("--sets", default="ABCD", help="letters of the sets whose models to pack, or “tiny”")
    pack.add_argument("--python", default="3.12", help="the machine's Python")
    pack.add_argument("--no-engine", action="store_true", help="without vLLM: the machine has one")
    pack.add_argument("--piece", type=float, default=45, help="MiB of a piece")
    run = commands.add_parser("run", help="measure a set on this machine")
    run.add_argument("set")
    run.add_argument("--out", type=Path, required=True)
    run.add_argument("--python", help="of vLLM's environment (default: the engine that was unpacked beside)")
    run.add_argument("--budget", type=float, default=540, help="seconds that all of it may take")
    run.add_argument("--cpu", action="store_true", help="rehearse on vLLM's CPU build")
    collect = commands.add_parser("collect", help="take what came back into the project")
    collect.add_argument("source", type=Path)
    collect.add_argument("--truth", type=Path)
    collect.add_argument("--logs", type=Path)
    collect.add_argument("--cpu", action="store_true", help="rows of a rehearsal too")
    collect.add_argument("--published", type=Path, help="folder of published truth: render docs/accuracy.md again")
    collect.add_argument("--models", type=Path, help="folder of models' metadata for that")
    return _PARTS[parser.parse_args().command](parser.parse_args())


def _pack(options: argparse.Namespace) -> int:
    from benchmarks.on_gpu.pack import pack

    sets = ["tiny"] if options.sets == "tiny" else list(options.sets)
    for folder in pack(options.out, sets, options.python, not options.no_engine, int(options.piece * 2**20)):
        size = sum(f.stat().st_size for f in folder.iterdir())
        print(f"{folder}  {size / 2**20:.1f} MiB")
    return 0


def _run(options: argparse.Namespace) -> int:
    from benchmarks.on_gpu.session import Session

    here = Path(__file__).resolve().parent.parent.parent
    python = options.python or str(here.parent / "engine" / "python")
    return Session(options.set, here, options.out.resolve(), python, options.budget, options.cpu).run()


def _collect(options: argparse.Namespace) -> int:
    from benchmarks.on_gpu.collect import LOGS, ROOT, TRUTH, collect, render

    print("\n".join(collect(options.source, options.truth or TRUTH, options.logs or LOGS, options.cpu)))
    if options.published is not None:
        render(ROOT / "docs" / "accuracy.md", options.published, options.models)
    return 0


_PARTS = {"pack": _pack, "run": _run, "collect": _collect}

if __name__ == "__main__":
    sys.exit(main())
