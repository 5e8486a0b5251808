"""Does it start? What vLLM's selectors said of a model's layers on a card, as reasons (``kernels.KernelAnswers``)."""

from __future__ import annotations

from dataclasses import dataclass

from whichgpu.inspect.records import Architecture
from whichgpu.plan.case import Case, ServedModel
from whichgpu.plan.formats import experts_format
from whichgpu.plan.kernels import KernelAnswers
from whichgpu.plan.kv_layers import default_kv_dtype, kv_dtype_of
from whichgpu.plan.loading import is_read_elsewhere
from whichgpu.plan.records import Accelerator, KvDtype, Layout, Precision, StartCheck, Workload

_REFUSED = "!"


@dataclass(frozen=True, slots=True)
class Gate:
    """One model before the answers of one release; without answers it lets everything pass, unchecked."""

    model: ServedModel
    answers: KernelAnswers | None

    def attention_refusal(self, workload: Workload, card: Accelerator) -> str | None:
        """Return why no kernel serves the model's attention on a card, and the nearest that works; ``None`` where all is
        served, or nobody asked."""
        architecture, answers = self.model.architecture, self.answers
        if architecture is None or answers is None:
            return None
        cache = self._cache(workload.kv_dtype, card)
        refusal = _refusal(answers, architecture, cache, card)
        if refusal is None:
            return None
        if cache == "fp8" and _refusal(answers, architecture, "auto", card) is None:
            option = "auto" if workload.kv_dtype is KvDtype.FP8 and self._default(card) == "auto" else "bfloat16"
            cure = f"--kv-cache-dtype {option} starts; so may FlashInfer's kernels, which vLLM's image has"
        else:
            least = answers.least_served(architecture, cache)
            cure = (
                f"served from compute capability {least:g} on"
                if least is not None
                else "no card that was asked serves it"
            )
        return (
            f"vLLM {answers.vllm}: {refusal.rstrip('.')}; {card.name} has compute capability {card.capability}; {cure}"
        )

    def experts_refusal(self, layout: Layout, precision: Precision, card: Accelerator) -> str | None:
        """Return why no kernel serves the model's experts, cut as a layout cuts them; ``None`` where one does, or nobody
        asked."""
        word = self._experts_word(layout, precision, card)
        if word is None or not word.startswith(_REFUSED):
            return None
        assert self.answers is not None
        whole = "" if layout.expert_parallel else "; --enable-expert-parallel keeps experts whole"
        return f"vLLM {self.answers.vllm}: {word[1:].rstrip('.')} on compute capability {card.capability}{whole}"

    def refuses(self, case: Case) -> bool:
        """True where one of both speaks against a case."""
        attention = self.attention_refusal(case.workload, case.card)
        return attention is not None or self.experts_refusal(case.layout, case.precision, case.card) is not None

    def check(self, workload: Workload, layout: Layout, precision: Precision, card: Accelerator) -> StartCheck:
        """Say whether vLLM was asked about all that a plan needs."""
        architecture, answers = self.model.architecture, self.answers
        if architecture is None or answers is None or answers.column(card) is None or is_read_elsewhere(self.model):
            return StartCheck.NOT_CHECKED
        words = [*answers.attention_words(architecture, self._cache(workload.kv_dtype, card), card)]
        if self._has_experts(precision):
            words.append(self._experts_word(layout, precision, card))
        return StartCheck.CHECKED if all(word not in (None, "?") for word in words) else StartCheck.NOT_CHECKED

    def is_cut_by_width(self, precision: Precision) -> bool:
        """True where it depends on an expert's width on one card whether there is a kernel."""
        if self.answers is None or not self._has_experts(precision):
            return False
        rows = [row for row in self.answers.experts if row.format == self._format(precision)]
        return any(self.answers.words[i].startswith(_REFUSED) for row in rows for i in row.by)

    def _cache(self, kv_dtype: KvDtype, card: Accelerator) -> str:
        by_default = default_kv_dtype(self.model, card.generation)
        return "fp8" if kv_dtype_of(self.model.inspection, kv_dtype, by_default) == "fp8" else "auto"

    def _default(self, card: Accelerator) -> str:
        return self._cache(KvDtype.AUTO, card)

    def _has_experts(self, precision: Precision) -> bool:
        architecture = self.model.architecture
        return architecture is not None and any(b.kind == "moe" and b.intermediate for b in architecture.feed_forwards)

    def _format(self, precision: Precision) -> str:
        quantisation = self.model.inspection.quantisation
        weight_format = experts_format(self.model.inspection, precision)
        if weight_format is None:
            return "bf16"
        is_block = precision is Precision.PUBLISHED and quantisation is not None and quantisation.block is not None
        return f"{weight_format.value} block" if is_block else weight_format.value

    def _experts_word(self, layout: Layout, precision: Precision, card: Accelerator) -> str | None:
        architecture, answers = self.model.architecture, self.answers
        if architecture is None or answers is None:
            return None
        ways = 1 if layout.expert_parallel else layout.tensor_parallel * layout.data_parallel
        widths = [b.intermediate // ways for b in architecture.feed_forwards if b.kind == "moe" and b.intermediate]
        words = [answers.experts_word(self._format(precision), width, card) for width in widths]
        refused = [word for word in words if word is not None and word.startswith(_REFUSED)]
        return refused[0] if refused else None if None in words or not words else words[0]


def _refusal(answers: KernelAnswers, architecture: Architecture, cache: str, card: Accelerator) -> str | None:
    words = answers.attention_words(architecture, cache, card)
    return next((word[1:] for word in words if word is not None and word.startswith(_REFUSED)), None)
