"""``python -m whichgpu``."""

from whichgpu.tui.cli import main

if __name__ == "__main__":
    main()
