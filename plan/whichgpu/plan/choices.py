"""The choices a user has, without the records that carry them: importing this costs nothing."""

from __future__ import annotations

from enum import StrEnum

DEFAULT_CONTEXT = 8192
DEFAULT_CONCURRENCY = 16
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values of ``--max-lora-rank`` (vLLM 0.32 config/lora.py MaxLoRARanks)."""
DEFAULT_LORA_RANK = 16


class Precision(StrEnum):
    """Precision of the weights."""

    PUBLISHED = "published"
    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"
    INT4 = "int4"
    NVFP4 = "nvfp4"
    MXFP4 = "mxfp4"


class Verdict(StrEnum):
    """Whether a plan holds what was asked."""

    FITS = "fits"
    """Even at the unfavourable end of the prediction."""
    TIGHT = "tight"
    """Inside the error of the prediction."""
    NO = "no"
    UNKNOWN = "unknown"
    """Not everything that has to fit is known."""


class StartCheck(StrEnum):
    """Whether vLLM itself was asked if it has kernels for all of a model's layers on a card."""

    CHECKED = "checked"
    NOT_CHECKED = "not checked"


class Sureness(StrEnum):
    """How much of a plan was ever seen."""

    PROVEN = "proven"
    """vLLM was asked about kernels for all its layers, and this card's own kernels were timed; or the team's trials say so."""
    SPEED_UNPROVEN = "speed unproven"
    """Its speed is a relative's."""
    START_UNPROVEN = "start unproven"
    """Nobody asked vLLM whether it has kernels for it there."""


class InsteadOf(StrEnum):
    """For what a plan may be taken instead of the recommended one."""

    CHEAPEST = "cheapest"
    SURER = "surer"
    OTHER_VENDOR = "other vendor"
    FAST = "fast"
    ROOMY = "roomy"


class Medium(StrEnum):
    """What a prompt may hold beside text."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


class MemoryGroup(StrEnum):
    """What a part of a card's memory belongs to."""

    WEIGHTS = "weights"
    ACTIVATIONS = "activations"
    """The peak of a step, beside what stays."""
    RUNTIME = "runtime"
    """What stays besides weights and cache."""


class Objective(StrEnum):
    """What a recommendation is best at."""

    COST = "cost"
    """Fewest dollars an hour for the asked load."""
    LATENCY = "latency"
    """Least time per token."""
    THROUGHPUT = "throughput"
    """Most output tokens a second."""
    FEWEST = "fewest"
    """Fewest cards."""
    POWER = "power"
    """Most tokens per joule of board power."""


TARGETS = ("vllm", "docker", "sglang", "trtllm", "k8s", "sky")
"""What a plan can be written for."""


class KvDtype(StrEnum):
    """Precision of the KV cache; ``auto`` is what the checkpoint asks for, else BF16."""

    AUTO = "auto"
    BF16 = "bf16"
    FP8 = "fp8"


class Seller(StrEnum):
    """What kind of provider sells card-hours: their prices differ by factors, so that they are never mixed in one figure."""

    CLOUD = "cloud"
    """Providers of GPUs: what a price is by default."""
    HYPERSCALER = "hyperscaler"
    MARKETPLACE = "marketplace"
    """Other people's machines."""


ON_DEMAND, SPOT = "on-demand", "spot"
"""Kinds of price."""


class Nearness(StrEnum):
    """How near a measurement is to a plan; the card and the model's shape are always the same."""

    SAME = "the same weights"
    OTHER_WEIGHTS = "weights of another format"


class SpeedBasis(StrEnum):
    """What the kernel times of a card rest on."""

    TABLES = "of its own kernels"
    RELATIVE = "of a relative's kernels, at its own rates"
    CONSUMER = "of a relative's kernels, on a card for desktops"
    AMD = "from whole runs on AMD's cards"
    INTEL = "of a relative's kernels, on other software"
    UNIFIED = "of a relative's kernels, on memory shared with the host"
