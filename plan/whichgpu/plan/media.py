"""Which encoders a server loads, and the largest batch that it profiles them with.

Sources: vLLM 0.32 model_executor/models/interfaces.py _mark_tower_model (an encoder whose media are all limited to none is not
loaded), multimodal/encoder_budget.py (items of a batch), config/multimodal.py (limits, and the size of what is profiled).
"""

from __future__ import annotations

from collections.abc import Sequence

from whichgpu.inspect.records import Part, Tower
from whichgpu.plan.case import ServedModel
from whichgpu.plan.choices import Medium
from whichgpu.plan.engine import Batch
from whichgpu.plan.records import MediaLimit, Workload

ENCODERS = frozenset({Part.VISION, Part.AUDIO, Part.PROJECTOR})

_ANY_SIZE_TOKENS = 16_384
"""Largest image of processors that take any size (Qwen-VL and its kin: max_pixels), in tokens."""

_FRAMES_OF_A_PATCH = 2
"""Frames that encoders of video fold into one patch (Qwen-VL and its kin: temporal_patch_size)."""


def unloaded_parts(model: ServedModel, workload: Workload) -> frozenset[Part]:
    """Return the parts of a model that are not loaded, as nothing that they encode may come."""
    architecture = model.architecture
    if workload.text_only:
        return ENCODERS
    if architecture is None or not workload.media_limits:
        return frozenset()
    barred = {limit.medium for limit in workload.media_limits if limit.count == 0}
    seen = {Medium.IMAGE, Medium.VIDEO} if model.is_listed("takes_video") else {Medium.IMAGE}
    parts = {Part.VISION} if seen <= barred else set()
    parts |= {Part.AUDIO} if Medium.AUDIO in barred else set()
    modalities = {Part(tower.modality) for tower in architecture.towers}
    return ENCODERS if modalities and modalities <= parts else frozenset(parts)


def encoded_patches(tower: Tower, batch: Batch, limits: Sequence[MediaLimit] = ()) -> int:
    """Patches of the images, videos or clips that one step may encode (v1/core/encoder_cache_manager)."""
    if tower.modality != Part.VISION:
        return 2 * batch.tokens
    by_medium = {limit.medium: limit for limit in limits}
    open_media = [m for m in (Medium.IMAGE, Medium.VIDEO) if m not in by_medium or by_medium[m].count]
    return max((_patches(tower, batch, by_medium.get(m, MediaLimit(medium=m))) for m in open_media), default=0)


def _patches(tower: Tower, batch: Batch, limit: MediaLimit) -> int:
    """Patches of the largest batch of one medium: as many items as the step's tokens, the sequences and their limits allow."""
    merge, most = tower.merge or 1, batch.sequences * limit.count
    if not tower.image_size or not tower.patch_size:
        items = max(1, min(max(batch.tokens, _ANY_SIZE_TOKENS) // _ANY_SIZE_TOKENS, most))
        whole = max(batch.tokens, _ANY_SIZE_TOKENS) * merge**2
        return min(whole, items * (_sized(tower, limit) or whole))
    per_image = (tower.image_size // tower.patch_size) ** 2
    tokens = tower.tokens_per_item or max(1, per_image // merge**2)
    return max(1, min(batch.tokens // tokens, most)) * per_image


def _sized(tower: Tower, limit: MediaLimit) -> int | None:
    """Patches of one item of the size that is profiled; ``None`` where none is named, or the patches are not known."""
    if limit.width is None or limit.height is None or not tower.patch_size:
        return None
    frames = 1
    if limit.medium is Medium.VIDEO:
        if limit.num_frames is None:
            return None
        frames = -(-limit.num_frames // _FRAMES_OF_A_PATCH)
    side = tower.patch_size * (tower.merge or 1)
    tokens = -(-limit.width // side) * -(-limit.height // side)
    return frames * tokens * (tower.merge or 1) ** 2


def limits_as_given(limits: Sequence[MediaLimit]) -> dict[str, int | dict[str, int]]:
    """Return the object that ``--limit-mm-per-prompt`` takes: a count, or an object where sizes are named."""
    given: dict[str, int | dict[str, int]] = {}
    for limit in limits:
        sizes = limit.model_dump(exclude={"medium"}, exclude_none=True)
        given[limit.medium.value] = sizes if len(sizes) > 1 else limit.count
    return given
