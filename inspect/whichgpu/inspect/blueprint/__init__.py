"""A tensor table from a config alone: the same rows that safetensors headers give, computed."""
