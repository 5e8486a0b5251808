"""Parameters and bytes: from a tensor table, or from a config checked against file sizes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from whichgpu.inspect.design import Design
from whichgpu.inspect.names import part_of, pattern_of
from whichgpu.inspect.precisions import DTYPE_BITS, Scheme
from whichgpu.inspect.quantisation import Published
from whichgpu.inspect.records import Figure, Origin, Parameters, Part, TensorGroup, Weights

if TYPE_CHECKING:
    from whichgpu.inspect.blueprint.table import Row

UNREAD_WEIGHTS = "(weights of unknown dtype)"

_CLOSE = 0.005
"""Config and file sizes agree when they differ by less than this share: headers, padding, small unknown tensors."""

_FAR = 0.30
"""Beyond this share the config describes something else than the files hold."""


def unknown(unit: str, source: str) -> Figure:
    """A figure that could not be found out."""
    return Figure(value=None, unit=unit, origin=None, source=source)


def groups_from_rows(rows: Iterable[Row], dtype: str | None, published: Published | None) -> tuple[TensorGroup, ...]:
    """Give computed rows a dtype and bytes, quantised as published where the scheme replaces them."""
    stored = dtype or "BF16"
    rows = list(rows)
    expert_layers = max((r.count for r in rows if r.part is Part.ROUTER), default=1)
    groups: list[TensorGroup] = []
    for row in rows:
        scheme = published.scheme_for(row.name, row.part) if published and row.linear else None
        if published is None or scheme is None:
            groups.append(_group(row, stored, None))
            continue
        each = row.count // expert_layers if row.part is Part.ROUTED_EXPERTS else 1
        kept = published.tensors_kept(row.name, row.part, row.count, max(1, each))
        groups += [_group(replace(row, count=n), stored, s) for n, s in ((kept, None), (row.count - kept, scheme)) if n]
    return tuple(groups)


def _group(row: Row, stored: str, scheme: Scheme | None) -> TensorGroup:
    size = scheme.bytes_of(row.shape) if scheme else prod(row.shape) * (DTYPE_BITS[stored] // 8)
    return TensorGroup(
        name=row.name,
        part=row.part,
        shape=row.shape,
        count=row.count,
        dtype=scheme.name if scheme else stored,
        parameters=row.parameters,
        bytes=size * row.count,
        quantised=scheme is not None,
    )


def fit_to_names(rows: list[Row], names: Sequence[str], design: Design | None) -> list[Row]:
    """Correct computed rows by the tensor names of an index: head, next-token layers and encoders stored or not."""
    if not names or design is None:
        return rows
    patterns = {pattern_of(n, design.layers) for n in names}
    has_head = any(
        "lm_head" in p or (p.endswith(("output.weight", "embed_out.weight")) and "layers" not in p) for p in patterns
    )
    if not any(p.startswith("mtp.") or ".mtp." in p or "nextn" in p for p in patterns):
        rows = [r for r in rows if r.part is not Part.MTP]
    parts = {part_of(pattern) for pattern in patterns}
    if not parts & {Part.VISION, Part.AUDIO, Part.PROJECTOR}:
        rows = [r for r in rows if r.part not in (Part.VISION, Part.AUDIO, Part.PROJECTOR)]
    listed = any(r.part is Part.HEAD for r in rows)
    if has_head and not listed and design.vocabulary:
        from whichgpu.inspect.blueprint.table import Row

        rows = [*rows, Row("lm_head.weight", Part.HEAD, (design.vocabulary, design.hidden))]
    if not has_head and listed and not design.family.bare_head:
        rows = [r for r in rows if r.part is not Part.HEAD]
    return rows


@dataclass(frozen=True, slots=True)
class Fitted:
    """Computed groups after the comparison with file sizes."""

    groups: tuple[TensorGroup, ...]
    total: Figure
    note: str


def fit_to_bytes(rows: list[Row], dtype: str | None, published: Published | None, stored: int, source: str) -> Fitted:
    """Reconcile computed tensors with the bytes that the files hold.

    When both agree the architecture's count stands. When they differ, an unquantised checkpoint's parameters
    are its bytes over the width of its dtype (halved or doubled if the files are FP32 although the config says
    BF16), and what the config does not explain is put under ``other``.
    """
    groups = groups_from_rows(rows, dtype, published)
    expected = sum(g.bytes or 0 for g in groups)
    computed = sum(g.parameters for g in groups)
    if published is not None and published.scheme is not None:
        figure = Figure(
            value=computed or None, unit="parameters", origin=Origin.COMPUTED, source="config: architecture"
        )
        return Fitted(groups, figure, "")
    width = DTYPE_BITS[dtype or "BF16"] // 8
    actual, note = _actual_width(width, expected, stored)
    if actual != width:
        dtype, width = {4: "F32", 2: dtype or "BF16", 1: "F8_E4M3", 8: "F64"}[actual], actual
        groups = groups_from_rows(rows, dtype, None)
        expected = sum(g.bytes or 0 for g in groups)
    rest = stored - expected
    if computed and abs(rest) <= _CLOSE * stored:
        figure = Figure(value=computed, unit="parameters", origin=Origin.COMPUTED, source="config: architecture")
        return Fitted(groups, figure, note)
    if not computed and dtype is None:
        return Fitted((_unread_weights(stored),), unknown("parameters", "no dtype in the config"), note)
    if computed and abs(rest) > _FAR * stored:
        note = note or "The files hold much more or less than the config describes."
    total = Figure(
        value=stored // width, unit="parameters", origin=Origin.COMPUTED, source=f"{source} / {width} bytes each"
    )
    if rest > 0:
        groups = (*groups, _remainder(rest, width, dtype or "BF16"))
    elif (trimmed := _without_mtp(groups, stored)) is not None:
        groups = trimmed
    return Fitted(groups, total, note)


def _actual_width(width: int, expected: int, stored: int) -> tuple[int, str]:
    """Bytes per parameter that explain the file sizes, and a note when the config says otherwise."""
    if not expected:
        return width, ""
    for factor in (2, 0.5, 4, 0.25):
        if abs(stored / expected - factor) < 0.06 * factor and width * factor in (1, 2, 4, 8):
            return int(
                width * factor
            ), f"The files hold {int(width * factor)} bytes per parameter, not the {width} of the declared dtype."
    return width, ""


def _remainder(rest: int, width: int, dtype: str) -> TensorGroup:
    count = rest // width
    return TensorGroup(
        name="(not described by the config)",
        part=Part.OTHER,
        shape=(count,),
        count=1,
        dtype=dtype,
        parameters=count,
        bytes=rest,
    )


def _unread_weights(stored: int) -> TensorGroup:
    """Bytes of which nothing but their number is known."""
    return TensorGroup(
        name=UNREAD_WEIGHTS, part=Part.OTHER, shape=(), count=1, dtype="unknown", parameters=0, bytes=stored
    )


def _without_mtp(groups: tuple[TensorGroup, ...], stored: int) -> tuple[TensorGroup, ...] | None:
    """Drop next-token layers when the files are too small to hold them."""
    main_groups = tuple(g for g in groups if g.part is not Part.MTP)
    smaller = sum(g.bytes or 0 for g in main_groups)
    return main_groups if main_groups != groups and abs(smaller - stored) <= 0.02 * stored else None


def parameters(
    groups: Sequence[TensorGroup], total: Figure | None, design: Design | None, origin: Origin, source: str
) -> Parameters:
    """Sum a tensor table into the record."""
    by_part: dict[Part, int] = defaultdict(int)
    for group in groups:
        by_part[group.part] += group.parameters
    summed = sum(by_part.values())
    if total is None:
        total = Figure(value=summed or None, unit="parameters", origin=origin if summed else None, source=source)
    mtp = by_part.get(Part.MTP, 0)
    embedding = by_part.get(Part.EMBEDDING, 0)

    def figure(value: int | None, source: str) -> Figure:
        if value is None or not summed:
            return unknown("parameters", source)
        computed = Origin.COMPUTED if total.origin is Origin.READ else total.origin
        return Figure(value=value, unit="parameters", origin=computed, source=source)

    return Parameters(
        total=total,
        active=figure(_active(by_part, design, total.value), "the routed experts of one token and everything else"),
        embedding=figure(embedding or None, "embedding tensors"),
        without_mtp=figure((total.value or 0) - mtp if total.value else None, "next-token layers left out"),
        by_part={part: count for part, count in sorted(by_part.items(), key=lambda kv: -kv[1]) if count},
    )


def _active(by_part: dict[Part, int], design: Design | None, total: int | None) -> int | None:
    """Parameters that one token touches: all of them, but of the routed experts only top-k, and no MTP layer."""
    if not by_part or total is None:
        return None
    routed = by_part.get(Part.ROUTED_EXPERTS, 0)
    rest = sum(by_part.values()) - routed - by_part.get(Part.MTP, 0) - by_part.get(Part.LOOKUP, 0)
    if not routed:
        return rest
    mixture = next((f for f in design.ffns if f.kind == "moe"), None) if design else None
    if mixture is None or not mixture.experts or not mixture.top_k:
        return None
    return rest + routed * min(mixture.top_k, mixture.experts) // mixture.experts


def weights(groups: Sequence[TensorGroup], stored: int | None, origin: Origin | None, source: str) -> Weights:
    """Sum stored bytes; ``stored`` is what the files say, where they say it."""
    by_dtype: dict[str, int] = defaultdict(int)
    by_component: dict[str, int] = defaultdict(int)
    for group in groups:
        by_dtype[group.dtype] += group.bytes or 0
        by_component[group.component or group.part.value] += group.bytes or 0
    summed = sum(by_dtype.values())
    value = stored if stored is not None else summed or None
    return Weights(
        total=Figure(value=value, unit="bytes", origin=origin if value is not None else None, source=source),
        by_dtype=dict(sorted(by_dtype.items(), key=lambda kv: -kv[1])),
        by_component=dict(sorted(by_component.items(), key=lambda kv: -kv[1])),
    )
