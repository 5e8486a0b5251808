"""Records of the hardware: a card, and what vLLM does alike on all cards of its generation."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from whichgpu.inspect.records import Record

_Tokens = Annotated[int, Field(gt=0, le=65_536)]
_Rate = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
_Watts = Annotated[int, Field(gt=0, le=1_000_000)]
_Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class Support(StrEnum):
    """How a generation of cards runs a weight format."""

    NATIVE = "native"
    """Multiplied as it is stored."""
    WEIGHT_ONLY = "weight-only"
    """Unpacked to BF16 on the way."""
    NONE = "none"
    UNKNOWN = "unknown"


class Kernels(StrEnum):
    """Families of kernels that pad alike."""

    MARLIN = "marlin"
    TRITON = "triton"
    ROCM = "rocm"
    PLAIN = "plain"


class ExpertKernel(StrEnum):
    """Kernels that run routed experts; each has a workspace of its own (vLLM 0.32 fused_moe)."""

    TRITON = "triton"
    TRITON_MXFP4 = "triton-mxfp4"
    MARLIN = "marlin"
    DEEPGEMM = "deepgemm"


class Generation(Record):
    """What vLLM does alike on all cards of a generation; ``accelerators.json`` has them, found by name, capability or vendor."""

    name: str = "unknown"
    capabilities: tuple[str, ...] = ()
    fp8: Support = Support.UNKNOWN
    nvfp4: Support = Support.UNKNOWN
    mxfp4: Support = Support.UNKNOWN
    mxfp4_padding: Kernels = Kernels.PLAIN
    """Kernels of MXFP4 experts, which round rows and columns up."""
    packed_experts: ExpertKernel = ExpertKernel.TRITON
    """Kernel of experts in NVFP4, or in integers with a scale per group of inputs."""
    mxfp4_experts: ExpertKernel = ExpertKernel.TRITON
    deepgemm: bool = False
    """Block FP8 experts go through DeepGEMM."""
    block: _Tokens = 16
    """Tokens per block of the KV cache; of the attention backend that vLLM chooses."""
    latent_block: _Tokens = 16
    """The same for latent attention (MLA)."""
    indexed_latent_block: _Tokens = 64
    """The same where an indexer chooses among the latents."""
    delta_checkpoints: bool = False
    """FlashInfer prefills gated delta nets, and emits states on the way (vLLM 0.33 qwen_gdn_linear_attn.py)."""
    fp8_indexed_cache: bool = False
    """``--kv-cache-dtype auto`` is FP8 for indexed latents of some classes (``Engine.fp8_caches``)."""
    scaled_latent: bool = True
    """A sparse FP8 latent is kept with its scales."""
    wide_graphs: bool = False
    """CUDA graphs are captured to 1,024 tokens, else to 512."""
    built: bool = True
    """False where the vendor's build of vLLM leaves these parts out (its installation docs)."""
    timed_like: str = ""
    """Card whose kernel times (``kernel_times.json``) stand for cards of it that name no nearer relative."""
    kubernetes_resource: str = "nvidia.com/gpu"
    source: str = ""


class Accelerator(Record):
    """One accelerator; every figure has its source in ``sources``."""

    key: str
    name: str
    vendor: str
    copy_of: str = ""
    """Key of the known card that this is one of: as it stands in a machine, or with another memory."""
    aliases: tuple[str, ...] = ()
    listed_as: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(:[0-9]{1,5})?$")], ...] = ()
    """Spellings of price lists without punctuation; ``a100:80`` where the memory in GB tells cards apart."""
    names: dict[str, str] = Field(default_factory=dict)
    """What other tools call it: ``skypilot``, ``aiconfigurator``."""
    usable_gib: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
    """What torch reports as total memory, not the marketed figure."""
    marketed_gb: Annotated[int, Field(gt=0, le=1_000_000)]
    bandwidth_gbs: _Rate
    bf16_tflops: _Rate | None
    """Dense."""
    fp8_tflops: _Rate | None
    board_watts: _Watts | None
    facility_watts: _Watts | None = None
    """Power of one card at the utility's meter: with its share of server, network and cooling."""
    timed_like: str = ""
    """Card whose kernel times hold for this one: itself where its own were measured, else its nearest relative."""
    link_gbs: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 0
    """Two-way rate to the other cards of a node over NVLink or Infinity Fabric; 0 where PCIe is all."""
    linked_cards: Annotated[int, Field(gt=0, le=100_000)] = 1
    """Cards that such links join."""
    unified: bool = False
    """True where the host uses the same memory."""
    utilisation: _Share | None = None
    """Share of the memory to ask vLLM for, where its default leaves the host too little."""
    capability: str
    """CUDA compute capability, or the gfx name of an AMD part."""
    generation: Generation = Generation()
    small_batches: bool = False
    """vLLM's batch defaults stay small in spite of the memory (arg_utils: “a100” in the device's name)."""
    node_counts: Annotated[tuple[Annotated[int, Field(gt=0, le=1024)], ...], Field(min_length=1)]
    """Cards per rented node."""
    machine_cards: Annotated[int, Field(gt=0, le=1024)] | None = None
    """Cards of one machine, where people join several into a node of their own (DGX Spark); else the largest node's."""
    confidence: str
    default: bool = False
    """In the list that is considered when the user names none."""
    sources: dict[str, str] = Field(default_factory=dict)

    def __hash__(self) -> int:
        """By its key: two cards of one key in one answer are one, and ``sources`` can't be hashed."""
        return hash(self.key)

    @property
    def known_key(self) -> str:
        """Key under which the facts know it."""
        return self.copy_of or self.key

    @property
    def per_machine(self) -> int:
        """Cards that one machine has."""
        return self.machine_cards or max(self.node_counts)

    def machines(self, cards: int) -> int:
        """Return how many machines hold so many cards: vLLM is started on each of them."""
        return -(-cards // self.per_machine)

    @property
    def compute_capability(self) -> float | None:
        """CUDA's as a number; ``None`` for other vendors' cards and where it is unknown."""
        return float(self.capability) if self.capability.replace(".", "", 1).isdecimal() else None
