"""Minutes on a real GPU, prepared beforehand: pack here, run there, collect here. README.md has the steps."""
