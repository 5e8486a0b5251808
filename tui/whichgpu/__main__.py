"""``python -m whichgpu``."""

import os
import sys

if __name__ == "__main__":
    # The working folder stands first in sys.path here: a json.py of a model's repository would be run as Python's own.
    sys.path[:] = [path for path in sys.path if path not in ("", os.getcwd())]

    from whichgpu.tui.main import main

    main()
