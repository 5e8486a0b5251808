"""Options that vLLM takes as JSON, as click reads them."""

from __future__ import annotations

import json
from typing import Any

import click

from whichgpu.inspect.text import clean
from whichgpu.plan.choices import Medium

_LONGEST = 2_000


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        BadParameter: it is none.
    """
    try:
        value = json.loads(text) if len(text) <= _LONGEST else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise click.BadParameter(f"“{clean(text, 60)}” is no JSON object.")
    return value


class MediaLimits(click.ParamType[Any]):
    """``{"image": 2, "video": 0}``, sizes in place of a count, or ``image=2,video=0`` as older versions of vLLM took it."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the limits, in the order in which media are declared."""
        if not isinstance(value, str):
            return value
        from pydantic import ValidationError

        from whichgpu.plan.records import MediaLimit  # records, which --help does without

        limits = []
        for word, given in _pairs(value).items():
            if word not in [medium.value for medium in Medium]:
                known = ", ".join(medium.value for medium in Medium)
                self.fail(f"“{clean(word, 40)}” is no medium that is known here; there are {known}.", param, ctx)
            sizes = given if isinstance(given, dict) else {"count": given}
            try:
                limits.append(MediaLimit.model_validate({**sizes, "medium": word}, strict=False))
            except ValidationError as error:
                where = ".".join(str(part) for part in error.errors()[0]["loc"])
                self.fail(f"{word}: {clean(where, 40)}: {error.errors()[0]['msg']}", param, ctx)
        return tuple(sorted(limits, key=lambda limit: list(Medium).index(limit.medium)))


def _pairs(text: str) -> dict[str, Any]:
    if "=" in text and not text.lstrip().startswith("{"):
        words = (word.partition("=") for word in text.split(","))
        return {name.strip(): count.strip() for name, _, count in words}
    return json_object(text)


def limits_words(limits: Any) -> list[str]:
    """Return limits as they are written on a command line."""
    if not limits:
        return []
    from whichgpu.plan.media import limits_as_given

    return ["--limit-mm-per-prompt", json.dumps(limits_as_given(limits))]
