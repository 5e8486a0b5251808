"""This machine's own GPUs: what NVML reports becomes an accelerator; a fake library at the seam, the real one absent."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import Result
from tests.planning import FACTS
from whichgpu.trial.errors import NoGpuError
from whichgpu.trial.gpus import LocalGpu, as_accelerators, gpus_here
from whichgpu.trial.rocm import amd_gpus
from whichgpu.trial.sampling import Sampler
from whichgpu.trial.server import Server

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
    with pytest.raises(NoGpuError, match="library is not installed"):
        gpus_here()


ROCM = {
    "card0": {
        "Average Graphics Package Power (W)": "133.0",
        "Temperature (Sensor junction) (C)": "35.0",
        "VRAM Total Memory (B)": str(192 * 2**30 - 16 * 2**20),
        "VRAM Total Used Memory (B)": str(40 * 2**30),
        "Card Series": "AMD Instinct MI300X OAM",
        "GFX Version": "gfx942",
    },
    "card1": {
        "Current Socket Graphics Package Power (W)": "141.5",
        "Temperature (Sensor edge) (C)": "N/A",
        "VRAM Total Memory (B)": str(192 * 2**30 - 16 * 2**20),
        "VRAM Total Used Memory (B)": "297123840",
        "Card series": "AMD Instinct MI300X OAM",
    },
    "card2": {"Card Series": "no memory was said"},
    "system": {"Driver version": "6.12"},
}
"""As ``rocm-smi --showproductname --showmeminfo vram --showpower --showtemp --json`` of ROCm 5 and 6 names its figures."""


def install_rocm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    tool = tmp_path / "bin" / "rocm-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setitem(sys.modules, "pynvml", None)


def test_amd_gpus_are_read_where_there_are_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., Result]
) -> None:
    install_rocm(tmp_path, monkeypatch, json.dumps(ROCM))
    first, second = amd_gpus()
    assert (first.watts, first.temperature, first.index) == (133.0, 35.0, 0)
    assert (second.watts, second.temperature) == (141.5, None), "what isn't a number is unknown"
    result = ask("-m", "Qwen/Qwen3-8B", "--offline", "--gpu", "here", "--json")
    plan = json.loads(result.out)["answer"]["recommended"]
    assert plan["accelerator"] == "mi300x_here"
    assert "GPU 0 has 152.0 of 192.0 GiB free;" in result.err


@pytest.mark.parametrize("said", ["", "no json", "[]", '{"card0": 5}', '{"card0": {"VRAM Total Memory (B)": "x"}}'])
def test_a_tool_that_says_nothing_leaves_no_gpu(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., Result]
) -> None:
    install_rocm(tmp_path, monkeypatch, said)
    assert amd_gpus() == ()
    assert (
        "NVIDIA's management library is not installed" in ask("-m", "Qwen/Qwen3-8B", "--offline", "--gpu", "here").err
    )


def test_power_of_amd_cards_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_rocm(tmp_path, monkeypatch, json.dumps(ROCM))
    with Sampler(Server("http://127.0.0.1:9"), (0, 1)) as sampler:
        time.sleep(1.3)
    power = sampler.power()
    assert power is not None
    assert power.watts == pytest.approx(133.0 + 141.5)
    assert (power.memory_used, power.temperature, power.clock_mhz) == (40 * 2**30, 35.0, None)
