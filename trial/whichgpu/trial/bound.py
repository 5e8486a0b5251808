"""``python -I bound.py WORDS…``: becomes another program that ends when its parent does (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    os.execvp(sys.argv[1], sys.argv[1:])
