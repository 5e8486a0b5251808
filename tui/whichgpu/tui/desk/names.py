"""What people call a model when they leave its owner out: ``qwen3-32b``."""

from __future__ import annotations

from whichgpu.inspect.errors import UsageError
from whichgpu.inspect.text import clean
from whichgpu.tui.desk.bundled import bundled_atlas

_SHOWN = 3


def named_alike(short: str) -> list[str]:
    """Return the repositories of the atlas whose name without its owner is this, whatever its case."""
    plain = short.lower()
    return sorted(name for name in bundled_atlas().names() if name.rsplit("/", 1)[-1].lower() == plain)


def whole_name(short: str) -> str | None:
    """Return the one repository that is called so, or ``None``.

    Raises:
        UsageError: several are.
    """
    names = named_alike(short)
    if len(names) > 1:
        raise UsageError(
            f"“{clean(short, 60)}” is a name of several: {', '.join(names[:_SHOWN])}.", "Write one of them."
        )
    return names[0] if names else None
