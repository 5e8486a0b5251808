"""This machine's own GPUs: what NVML reports becomes an accelerator; a fake library at the seam, the real one absent."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from tests.planning import FACTS
from whichgpu.trial.errors import NoGpuError
from whichgpu.trial.gpus import LocalGpu, as_accelerators, gpus_here

MIB = 2**20


class FakeNvml:
    """NVML with given (name, MiB, free MiB, processes)."""

    class NVMLError(Exception):
        """What nvidia-ml-py raises."""

    def __init__(self, *devices: tuple[str, int, int, int], broken: bool = False) -> None:
        self.devices, self.broken, self.open = devices, broken, False

    def nvmlInit(self) -> None:
        if self.broken:
            raise self.NVMLError("Driver/library version mismatch")
        self.open = True

    def nvmlShutdown(self) -> None:
        self.open = False

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:
        return self.devices[handle][0]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(total=self.devices[handle][1] * MIB, free=self.devices[handle][2] * MIB)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[int]:
        return [0] * self.devices[handle][3]


def here(monkeypatch: pytest.MonkeyPatch, *devices: tuple[str, int, int, int], broken: bool = False) -> FakeNvml:
    fake = FakeNvml(*devices, broken=broken)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


@pytest.mark.parametrize(
    ("name", "mib", "key"),
    [
        ("NVIDIA H100 80GB HBM3", 81559, "h100_sxm"),
        ("NVIDIA H100 PCIe", 81559, "h100_pcie"),
        ("NVIDIA H100 NVL", 95830, "h100_nvl"),
        ("NVIDIA H200", 143771, "h200_sxm"),
        ("NVIDIA A100-SXM4-80GB", 81920, "a100_80_sxm"),
        ("NVIDIA A100-SXM4-40GB", 40960, "a100_40_sxm"),
        ("NVIDIA A100 80GB PCIe", 81920, "a100_80_pcie"),
        ("NVIDIA L4", 23034, "l4"),
        ("NVIDIA L40S", 46068, "l40s"),
        ("Tesla T4", 15360, "t4"),
        ("NVIDIA GeForce RTX 4090", 24564, "rtx_4090"),
        ("NVIDIA RTX A6000", 49140, "rtx_a6000"),
        ("NVIDIA RTX 6000 Ada Generation", 49140, "rtx_6000_ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 97887, "rtx_pro_6000_server"),
        ("NVIDIA B200", 183359, "b200"),
        ("NVIDIA A10G", 23028, "a10g"),
        ("NVIDIA GH200 480GB", 97871, "gh200_96"),
    ],
)
def test_names_as_drivers_report_them(name: str, mib: int, key: str) -> None:
    """Names and MiB as nvidia-smi printed them in public logs."""
    cards, notes = as_accelerators([LocalGpu(0, name, mib * MIB, mib * MIB, 0)], FACTS.accelerators)
    assert [c.key for c in cards] == [f"{key}_here"]
    assert cards[0].usable_gib == next(c.usable_gib for c in FACTS.accelerators if c.key == key)
    assert not notes


def test_a_card_with_other_memory_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards sold as RTX 4090 with 49,140 MiB exist."""
    here(monkeypatch, ("NVIDIA GeForce RTX 4090", 49140, 49140, 0))
    cards, _ = as_accelerators(gpus_here(), FACTS.accelerators)
    assert cards[0].usable_gib == pytest.approx(47.8, abs=0.05)


def test_as_many_as_there_are_and_what_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = here(
        monkeypatch,
        ("NVIDIA L4", 23034, 23034, 0),
        ("NVIDIA L4", 23034, 11000, 1),
        ("NVIDIA L4", 23034, 23034, 0),
        ("NVIDIA H100 80GB HBM3", 81559, 81559, 0),
    )
    cards, notes = as_accelerators(gpus_here(), FACTS.accelerators)
    assert [(c.key, c.node_counts) for c in cards] == [("l4_here", (1, 2, 3)), ("h100_sxm_here", (1,))]
    assert len(notes) == 1
    assert notes[0].startswith("GPU 1 has 10.7 of 22.5 GiB free, 1 process on it; vLLM wants its share free")
    assert notes[0].endswith("--gpu-memory-utilization 0.45")
    assert not fake.open


def test_no_driver_no_gpu_and_unknown_ones_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch, broken=True)
    with pytest.raises(NoGpuError, match="version mismatch"):
        gpus_here()
    here(monkeypatch)
    with pytest.raises(NoGpuError, match="no NVIDIA GPU"):
        gpus_here()
    here(monkeypatch, ("NVIDIA Weird 9999", 4096, 4096, 0))
    with pytest.raises(NoGpuError, match="no known card"):
        as_accelerators(gpus_here(), FACTS.accelerators)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(NoGpuError, match="library is missing"):
        gpus_here()
