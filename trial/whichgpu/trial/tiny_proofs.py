"""What a trial of a tiny model proves, and what it does not, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from whichgpu.inspect.text import clean

MADE = "made"
"""Of a processor: no published one could be had, and this is the class's defaults."""


@dataclass(frozen=True, slots=True)
class Written:
    """What vLLM's Python said of the tiny model that it wrote."""

    model_class: str | None
    bytes: int | None
    fp8: bool
    processor: str | None
    """``published``, ``made`` of the class's defaults, or none."""
    why: str | None
    """Why no weights were written."""
    cpu: bool
    quantisation: str | None
    """How the published checkpoint is quantised."""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_dummy(self) -> bool:
        """True where vLLM fills its own class."""
        return self.model_class is None or self.why is not None

    @classmethod
    def of(cls, answer: Any, quantisation: Mapping[str, Any] | None) -> Self:
        """Read the answer.

        Raises:
            ValueError: it is none.
        """
        if not isinstance(answer, dict):
            raise ValueError("its writer left no answer")  # noqa: TRY004 - as of any text that is no answer
        size, versions = answer.get("bytes"), answer.get("versions")
        method = (quantisation or {}).get("quant_method")
        return cls(
            model_class=_text(answer.get("model_class")),
            bytes=size if isinstance(size, int) else None,
            fp8=answer.get("fp8") is True,
            processor=_text(answer.get("processor")),
            why=_text(answer.get("why")),
            cpu=answer.get("cpu") is True,
            quantisation=(_text(method) or "an unnamed method") if quantisation else None,
            versions={str(k): clean(v, 40) for k, v in versions.items() if isinstance(v, str)}
            if isinstance(versions, dict)
            else {},
        )


def _text(value: object) -> str | None:
    return clean(value, 300) if isinstance(value, str) and value else None


def proves(written: Written, architectures: str, encoders: bool) -> tuple[str, ...]:
    """Return what is certain once a completion came back."""
    sentences = [f"This vLLM reads the config and has {architectures}, with every kind of layer that the model has."]
    if not written.is_dummy:
        form = f"in FP8 with its scales ({written.quantisation})" if written.fp8 else "in sixteen bits"
        sentences.append(
            f"Its loader takes every tensor under the names of transformers' {written.model_class}, {form}."
        )
    if encoders:
        sentences.append("The encoders of images or sound load too.")
    sentences.append("It starts, and a completion comes back.")
    return tuple(sentences)


def not_proved(written: Written, has_encoders: bool, encoders: bool, cpu: bool) -> tuple[str, ...]:
    """Return what stays open."""
    sentences = ["Memory, speed and quality of the model: widths, layers and experts are cut, and weights are random."]
    sentences.append("A layout over several cards.")
    if cpu:
        sentences.append("A GPU's kernels: this is vLLM's build for CPUs.")
    if written.is_dummy:
        reason = f" ({written.why})" if written.why else ""
        sentences.append(f"The loader of weights: vLLM filled its own class{reason}.")
    if written.quantisation is not None and not (written.fp8 and not written.is_dummy):
        sentences.append(
            f"The quantised loader ({written.quantisation}) and its names: the tiny model has sixteen bits."
        )
    if has_encoders and not encoders:
        sentences.append(
            "The encoders of images or sound: no processor for them can be had here, so they were left out."
        )
    elif encoders:
        sentences.append("What the encoders make of a picture or a sound: only tokens were sent.")
    if not encoders or written.processor == MADE:
        sentences.append("The tokenizer and the chat template: token ids were sent.")
    return tuple(sentences)
