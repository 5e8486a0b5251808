"""``python -m whichgpu``."""

from whichgpu.tui.main import main

if __name__ == "__main__":
    main()
