"""What fuzzing once found stays mended; ``python -m tests.attack.fuzz`` looks for more (two minutes of it in ``.ci/run``)."""

from __future__ import annotations

import subprocess
import sys

from tests.attack.fuzz import CORPUS, kept
from tests.attack.fuzzed_readers import READERS


def test_every_kept_input_ends_in_an_answer_or_a_sentence() -> None:
    folders = {path.name for path in CORPUS.iterdir()}
    assert folders <= set(READERS)
    assert all(kept(name) for name in folders)
    done = subprocess.run(
        [sys.executable, "-m", "tests.attack.fuzz", "--corpus"],
        capture_output=True, text=True, check=False, timeout=200, cwd=CORPUS.parent.parent.parent,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "0 of the kept inputs wrong\n"), done.stdout + done.stderr
