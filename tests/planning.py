"""Shared by the tests of plans: models of the bundled atlas, the bundled facts, and short ways to ask."""

from __future__ import annotations

from whichgpu import assets
from whichgpu.catalog.atlas import Atlas
from whichgpu.catalog.atlas_index import FILE_NAME
from whichgpu.inspect.records import Inspection
from whichgpu.plan.case import Case, ServedModel
from whichgpu.plan.footprint import footprint_of
from whichgpu.plan.hardware import find
from whichgpu.plan.kv_layers import CacheSetting, block_size, cache_layers, kv_dtype_of
from whichgpu.plan.kv_pool import Grouping, Pool, Schedule
from whichgpu.plan.recommend import answer
from whichgpu.plan.records import Accelerator, Answer, Footprint, Kernels, KvDtype, Layout, Plan, Precision, Workload
from whichgpu.plan.sizing import Sizer
from whichgpu.plan.weight_table import ROUNDING, WeightTable
from whichgpu.tui.desk.facts import load_facts

ATLAS = Atlas(assets.read(FILE_NAME))
FACTS = load_facts()
GIB = 2**30
ONE = Layout(tensor_parallel=1)


def model(name: str) -> Inspection:
    found = ATLAS.find(name)
    assert found is not None, name
    return found


def card(name: str) -> Accelerator:
    return find(name, FACTS.accelerators)


def served(inspection: Inspection, version: str | None = None) -> ServedModel:
    return ServedModel(inspection, FACTS.engines.of(version), FACTS.architectures)


def ask(name: str, *cards: str, **workload: object) -> Answer:
    asked = Workload.model_validate({"context": 8192, "concurrency": 16, "accelerators": cards, **workload})
    return answer(model(name), asked, FACTS)


def plan_for(result: Answer, key: str, precision: Precision = Precision.PUBLISHED) -> Plan:
    return next(p for p in result.plans if p.accelerator == key and p.precision is precision)


def footprint(
    inspection: Inspection,
    key: str,
    layout: Layout = ONE,
    precision: Precision = Precision.PUBLISHED,
    **workload: object,
) -> Footprint:
    asked = Workload.model_validate({"context": 8192, "concurrency": 1, **workload})
    sizer = Sizer(served(inspection, asked.vllm))
    case = Case(asked, precision, card(key), layout)
    return footprint_of(sizer, case, sizer.size(case))


def tensors_per_card(
    inspection: Inspection,
    layout: Layout,
    precision: Precision = Precision.PUBLISHED,
    kernels: Kernels = Kernels.PLAIN,
    copies: bool = False,
) -> int:
    """Parameters and buffers on the fullest card, without what the allocator rounds up."""
    left_out = (ROUNDING,) if copies else (ROUNDING, "MLA copies")
    parts = WeightTable(served(inspection), precision).stages(layout, kernels)
    return max(map(sum, zip(*(v for k, v in parts.items() if k not in left_out), strict=True)))


def pool_of(
    name: str,
    tp: int = 1,
    in_flight: int = 16_384,
    state_blocks: int = 2,
    kv: KvDtype = KvDtype.AUTO,
    shared: int = 1,
    **setting: object,
) -> Pool:
    """Return the cache geometry of a model on cards of Hopper's kind."""
    inspection = model(name)
    architecture = inspection.architecture
    assert architecture is not None
    made = CacheSetting(
        kv_dtype=kv_dtype_of(inspection, kv),
        tp=tp,
        block=block_size(architecture, card("h100").generation),
        state_blocks=state_blocks,
        **setting,  # type: ignore[arg-type]
    )
    schedule = Schedule(in_flight, shared=shared)
    return Pool(Grouping(cache_layers(served(inspection), made)), [range(10**6)], schedule)
