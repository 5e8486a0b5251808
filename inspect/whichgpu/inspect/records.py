"""The records that leave this room: frozen, versioned, the same in JSON, in the catalog and on screen.

Sizes are bytes, counts are plain integers. ``None`` means *unknown*; it is never 0 and never a guess.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from whichgpu.inspect.mixer_kinds import MixerKind
from whichgpu.inspect.weight_formats import WeightFormat, formats_of_label

SCHEMA_VERSION = 3
"""Version of every record below; raised when a field changes its meaning or disappears."""


class Record(BaseModel):
    """Base of all records: immutable, and nothing unexpected in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Origin(StrEnum):
    """Where a number comes from."""

    READ = "read"
    COMPUTED = "computed"
    ASSUMED = "assumed"
    MEASURED = "measured"


class Grade(StrEnum):
    """How much of the model could be read, best first."""

    HEADERS = "tensor headers"
    """Every tensor's name, shape and dtype: exact."""
    SIZES = "file sizes"
    """Bytes exact (file sizes or an index); the structure comes from the config."""
    CONFIG = "config"
    """Only a config: parameters computed from the architecture."""
    NOTHING = "file names"
    """No sizes and no usable config."""


class ModelClass(StrEnum):
    """What a model is; a model can be several at once."""

    DENSE = "dense"
    MOE = "moe"
    SSM = "ssm"
    HYBRID = "hybrid"
    MULTIMODAL = "multimodal"
    DIFFUSION = "diffusion"
    ENCODER = "encoder"
    ENCODER_DECODER = "encoder-decoder"
    UNKNOWN = "unknown"


class OwnCode(StrEnum):
    """What a repository brings Python of its own for; it is never run here."""

    CONFIG = "config"
    MODEL = "model"
    TOKENIZER = "tokenizer"


class Part(StrEnum):
    """The component a tensor belongs to."""

    EMBEDDING = "embedding"
    LOOKUP = "lookup table"
    """Embeddings of word groups (n-grams): tens of gigabytes of which a token reads a few rows."""
    HEAD = "head"
    ATTENTION = "attention"
    DENSE_FFN = "dense ffn"
    ROUTED_EXPERTS = "routed experts"
    SHARED_EXPERTS = "shared experts"
    ROUTER = "router"
    SSM = "ssm"
    NORM = "norm"
    VISION = "vision"
    AUDIO = "audio"
    PROJECTOR = "projector"
    MTP = "mtp"
    ADAPTER = "adapter"
    DENOISER = "denoiser"
    TEXT_ENCODER = "text encoder"
    AUTOENCODER = "autoencoder"
    OTHER = "other"


class Figure(Record):
    """One number with its unit and where it comes from."""

    value: int | None
    unit: str
    origin: Origin | None
    """``None`` only where the value is unknown."""
    source: str
    """File, key or rule: ``model.safetensors header``, ``config.json: hidden_size``."""


class Evidence(Record):
    """Why the model belongs to a class."""

    model_class: ModelClass
    because: str
    where: str


class Mixer(Record):
    """One kind of token mixer and the number of layers that have it. Sizes are elements, not bytes."""

    kind: MixerKind
    layers: int
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    v_head_dim: int | None = None
    window: int | None = None
    """Tokens that a sliding or chunked layer sees; for cross attention the longest encoder output."""
    kv_lora_rank: int | None = None
    q_lora_rank: int | None = None
    rope_head_dim: int | None = None
    nope_head_dim: int | None = None
    index_head_dim: int | None = None
    """Width of the sparse-attention indexer's key cache, where the layer has an indexer."""
    compress_ratio: int | None = None
    """DeepSeek-V4: tokens folded into one cache entry; 0 means the sliding window alone."""
    state_size: int | None = None
    """Elements of recurrent state per sequence and layer (without the convolution)."""
    state_dtype: str | None = None
    conv_size: int | None = None
    """Elements of convolution state per sequence and layer."""
    conv_kernel: int | None = None
    groups: int | None = None
    """Mamba 2: groups that share B and C; engines keep a single group whole on every card."""
    group_conv_size: int | None = None
    """Elements of convolution state that one group adds (already in ``conv_size``)."""
    key_heads: int | None = None
    """Gated delta net: key heads, beside the value heads in ``heads``."""
    shared_key_value: bool = False
    """True where one stored projection serves as key and value; engines load it twice."""
    shares_kv: bool = False
    """True where the layer reads another layer's KV cache and stores none."""


class FeedForward(Record):
    """One kind of feed-forward block and the number of layers that have it."""

    kind: str
    """dense, moe or none."""
    layers: int
    intermediate: int | None = None
    experts: int | None = None
    top_k: int | None = None
    shared_experts: int | None = None
    shared_intermediate: int | None = None
    gated: bool = True
    latent: int | None = None
    """Width that the routed experts work in, where it is not the hidden size."""


class Tower(Record):
    """A vision or audio encoder beside the language model."""

    modality: str
    layers: int | None
    hidden: int | None
    intermediate: int | None
    heads: int | None
    patch_size: int | None = None
    image_size: int | None = None
    """Side of the square image that the encoder was made for, in pixels; ``None`` where any size is taken."""
    merge: int | None = None
    """Patches along one side that become one token of the language model."""
    tokens_per_item: int | None = None
    """Tokens that one image or clip becomes, where the config says it."""


class RotaryTable(Record):
    """A table of rotary positions that an engine keeps beside the weights."""

    width: int
    """Rotated dimensions of a head."""
    positions: int
    bytes_per_value: int
    image_positions: bool = False
    """True for tables of three directions that some engines make four times as long."""


class Architecture(Record):
    """What the config says about the language model (or the only model) in the repository."""

    model_type: str | None
    names: tuple[str, ...]
    """config.json: architectures."""
    known: bool
    """False when the model_type is not in our table and everything follows from structure alone."""
    hidden: int | None
    layers: int | None
    heads: int | None
    kv_heads: int | None
    head_dim: int | None
    vocabulary: int | None
    context: int | None
    """Longest sequence in tokens that the config allows."""
    dtype: str | None
    tied_embeddings: bool | None
    mixers: tuple[Mixer, ...] = ()
    feed_forwards: tuple[FeedForward, ...] = ()
    mixer_layout: tuple[int, ...] = ()
    """Per layer, the index into ``mixers``."""
    feed_forward_layout: tuple[int, ...] = ()
    """Per layer, the index into ``feed_forwards``."""
    mtp_layers: int = 0
    rotary_tables: tuple[RotaryTable, ...] = ()
    towers: tuple[Tower, ...] = ()
    config_type: str | None = None
    """``model_type`` of the whole config, by which engines find the class that reads it; empty where the config has none,
    ``None`` where they read another file, or nobody looked."""
    nested: bool = False
    """True where the language model has a config of its own inside the whole one (``text_config``)."""
    saved_by: str | None = None
    """Version of transformers that wrote the config."""
    own_code: tuple[OwnCode, ...] = ()
    """What is read by the repository's own Python where no library knows it."""
    sources: dict[str, str] = Field(default_factory=dict)
    """Per field the file and key it was read from, or the rule that gave it."""


class Quantisation(Record):
    """How the weights are published."""

    method: str
    """fp8, gptq, awq, mxfp4, nvfp4, compressed-tensors, bitsandbytes, modelopt, gguf, mlx, …"""
    label: str
    """Short form for a table: ``fp8 128x128``, ``int4 g128``."""
    format: WeightFormat | None
    """Of the linear weights that are no routed experts; ``None`` where they stay in high precision or it is unknown."""
    experts_format: WeightFormat | None
    """Of the routed experts, whether or not it is the same."""
    bits: float | None
    """Bits per quantised weight, scales not counted."""
    group: int | None = None
    block: tuple[int, ...] | None = None
    symmetric: bool | None = None
    """False where integer codes have zero points; ``None`` where it does not say."""
    kv_cache: str | None = None
    """KV cache dtype that the checkpoint asks for."""
    unquantised: tuple[str, ...] = ()
    """What it leaves in high precision, as published."""
    source: str = ""

    @model_validator(mode="before")
    @classmethod
    def _type_kept_record(cls, data: Any) -> Any:
        """Records that were kept before formats were typed have a label alone."""
        if not isinstance(data, dict) or not isinstance(data.get("label"), str):
            return data
        by_key: dict[str, Any] = {"format": None, "experts_format": None}
        if not data.keys() & by_key:
            by_key = dict(zip(by_key, formats_of_label(data["label"]), strict=True))
        return {**by_key, **data}

    @property
    def formats(self) -> frozenset[WeightFormat]:
        """The formats that most of its weights have."""
        return frozenset(f for f in (self.format, self.experts_format) if f is not None)


class TensorGroup(Record):
    """All tensors of one name pattern, shape and dtype: ``model.layers.*.mlp.up_proj.weight`` × 32."""

    name: str
    part: Part
    shape: tuple[int, ...]
    """Logical shape of one tensor, unpacked."""
    count: int
    dtype: str
    """Stored dtype: BF16, F8_E4M3, … or the scheme's name where the config alone is known."""
    parameters: int
    """Model parameters in the whole group; 0 for scales, zero points and buffers."""
    bytes: int | None
    """Bytes of the whole group as stored."""
    quantised: bool = False
    component: str = ""
    """Pipeline component or tower it lies in; empty for the main model."""


class Parameters(Record):
    """How many parameters, in all and where."""

    total: Figure
    """As published, MTP layers included."""
    active: Figure
    """Touched by one token: all but the routed experts it skips, MTP left out."""
    embedding: Figure
    without_mtp: Figure
    by_part: dict[Part, int]


class Weights(Record):
    """Stored bytes."""

    total: Figure
    by_dtype: dict[str, int]
    by_component: dict[str, int]


class Variant(Record):
    """One of several precisions in a repository, for example one GGUF quantisation with its split files."""

    name: str
    files: tuple[str, ...]
    bytes: int | None


class Component(Record):
    """One component of a pipeline."""

    name: str
    kind: str
    """Class named in model_index.json, else what the component does."""
    part: Part
    parameters: Figure
    bytes: Figure


class Selection(Record):
    """Which weight files were counted, and which were not and why."""

    counted: tuple[str, ...]
    """Names, shortened to ``model-*-of-00163.safetensors (163)`` for shards."""
    ignored: tuple[tuple[str, str], ...] = ()
    """(name, reason) pairs."""


class ModelSource(Record):
    """Where the model was read from."""

    kind: str
    """hub, folder, file, cache, atlas."""
    name: str
    """Repository id, or the last part of a local path."""
    revision: str | None = None
    commit: str | None = None
    endpoint: str | None = None
    path: str | None = None
    private: bool = False
    licence: str | None = None
    """As the Hub lists it: ``apache-2.0``."""
    gated: bool | None = None
    """True where access must be asked for; ``None`` where nobody said."""
    modified: str | None = None
    """ISO date of the Hub's lastModified."""
    read_on: str | None = None
    """ISO date on which the files were read."""
    requests: int = 0


class Inspection(Record):
    """What a model is: the record that ``inspect`` hands on."""

    schema_version: int = SCHEMA_VERSION
    source: ModelSource
    grade: Grade
    grade_note: str
    classes: tuple[ModelClass, ...]
    modalities: tuple[str, ...] = ()
    """``image in``, ``audio in``, ``video in``, ``image out``, ``audio out``, ``video out``; text is not listed."""
    evidence: tuple[Evidence, ...]
    architecture: Architecture | None
    parameters: Parameters
    weights: Weights
    quantisation: Quantisation | None
    tensors: tuple[TensorGroup, ...]
    components: tuple[Component, ...] = ()
    variants: tuple[Variant, ...] = ()
    adapter_of: str | None = None
    """The base model, when the repository holds only an adapter; ``(not named)`` when it does not say."""
    selection: Selection
    warnings: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    """What could not be read, in words."""

    @property
    def label(self) -> str:
        """The class as one word or a combination: ``multimodal + moe``."""
        return " + ".join(c.value for c in self.classes)
