"""How a person asks: the command line and the terminal app."""
