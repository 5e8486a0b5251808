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


class Drafting(click.ParamType[Any]):
    """``{"model": …, "num_speculative_tokens": 5}``: a draft model, an EAGLE head or the like, or ``{"method": "ngram", …}``."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what drafts."""
        if not isinstance(value, str):
            return value
        from pydantic import ValidationError

        from whichgpu.plan.records import Draft  # records, which --help does without

        given = json_object(value)
        unread = sorted(set(given) - set(_DRAFT_KEYS))
        if unread:
            self.fail(f"{clean(', '.join(unread), 80)}: not read here; there are {', '.join(_DRAFT_KEYS)}.", param, ctx)
        if given.get("model") is None and given.get("method") is None:
            self.fail("it names neither a model nor a method.", param, ctx)
        if given.get("model") is None and given["method"] not in _WITHOUT_MODEL and not _is_own(given["method"]):
            self.fail(f"the method “{clean(str(given['method']), 40)}” needs a model.", param, ctx)
        try:
            return Draft.model_validate({_DRAFT_KEYS[key]: part for key, part in given.items()})
        except ValidationError as error:
            self.fail(f"num_speculative_tokens and the like: {error.errors()[0]['msg']}", param, ctx)


_DRAFT_KEYS = {
    "model": "model",
    "method": "method",
    "num_speculative_tokens": "tokens",
    "prompt_lookup_max": "lookup",
}
_WITHOUT_MODEL = ("ngram", "ngram_gpu", "suffix")


def _is_own(method: Any) -> bool:
    """True for the model's own next-token layers (vLLM 0.32 config/speculative.py MTPModelTypes)."""
    return isinstance(method, str) and (method == "mtp" or method.endswith("_mtp"))


def own_tokens(draft: Any) -> int:
    """Return how many tokens the model's own next-token layers draft; 0 where something else drafts."""
    return draft.tokens if draft is not None and draft.model is None and _is_own(draft.method) else 0


def draft_words(draft: Any) -> list[str]:
    """Return what drafts as it is written on a command line."""
    if draft is None:
        return []
    from whichgpu.plan.drafting import config_of

    return ["--speculative-config", json.dumps(config_of(draft))]
