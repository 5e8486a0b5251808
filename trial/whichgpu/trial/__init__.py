"""Proof by a short real vLLM run; the only room that knows vLLM's process."""
