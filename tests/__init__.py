"""Tests of whichgpu."""
