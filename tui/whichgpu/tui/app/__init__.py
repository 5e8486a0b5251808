"""The terminal app: screens over the same functions as the command line."""
