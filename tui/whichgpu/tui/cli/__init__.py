"""The command line: a module per noun, imported when it is called."""
