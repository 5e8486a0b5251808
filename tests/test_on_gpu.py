"""Minutes on a real GPU, rehearsed: pieces that travel, sets that fit, rows that are collected; with a real vLLM, all of it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import own_runs
from benchmarks.accuracy import run as compare
from benchmarks.accuracy_page import page
from benchmarks.on_gpu import pack as packing
from benchmarks.on_gpu.collect import LOGS, changed_logs, collect
from benchmarks.on_gpu.rows import controlled_row, serving_rows
from benchmarks.on_gpu.session import Session
from benchmarks.on_gpu.sets import SETS, Start, config_of
from benchmarks.on_gpu.stand_ins import write_stand_in

from tests.conftest import Result
from tests.test_own_gpus import here
from tests.trying import VLLM, needs_vllm

Run = Callable[..., Result]
GPU_SETS = [name for name in SETS if name != "tiny"]
STARTS = [pytest.param(start, id=f"{name}{i}") for name in GPU_SETS for i, start in enumerate(SETS[name])]


def take(piece: Path, at: Path) -> subprocess.CompletedProcess[str]:
    """Take a piece as a bare machine does."""
    return subprocess.run(
        ["sh", str(piece / "unpack.sh"), str(piece), str(at)],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


class TestPieces:
    @pytest.fixture
    def pieces(self, tmp_path: Path) -> list[Path]:
        def fill(at: Path) -> None:
            (at / "noise").write_bytes(os.urandom(50_000))

        (tmp_path / "out").mkdir()
        packing._make(tmp_path / "out", "thing", fill, 20_000)
        return sorted((tmp_path / "out").glob("thing-*"))

    def test_they_travel_and_unpack(self, pieces: list[Path], tmp_path: Path) -> None:
        assert len(pieces) == 3
        said = [take(piece, tmp_path / "at").stdout.strip() for piece in pieces]
        assert said == ["thing: piece 1 of 3", "thing: piece 2 of 3", "thing: unpacked"]
        assert (tmp_path / "at" / "thing" / "noise").stat().st_size == 50_000
        assert [p.name for p in (tmp_path / "at").iterdir()] == ["thing"], "the archive is gone"

    def test_a_damaged_one_and_one_out_of_turn_are_refused(self, pieces: list[Path], tmp_path: Path) -> None:
        late = take(pieces[1], tmp_path / "at")
        assert (late.returncode, "out of turn" in late.stderr) == (1, True)
        (pieces[0] / "part").write_bytes(b"x" * 20_000)
        bad = take(pieces[0], tmp_path / "at")
        assert (bad.returncode, "hash" in bad.stderr) == (1, True)

    def test_only_what_changed_is_packed_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[str] = []

        def fill(name: str, at: Path) -> None:
            made.append(name)
            (at / "x").touch()

        monkeypatch.setattr(packing, "_ours", lambda at, sets, python: fill("ours", at))
        monkeypatch.setattr(packing, "_engine", lambda at, python: fill("engine", at))
        first = packing.pack(tmp_path, ["A"], "3.12")
        assert [p.name for p in first] == ["engine-0", "ours-0"]
        assert packing.pack(tmp_path, ["A"], "3.12") == first
        assert made == ["engine", "ours"]
        packing.pack(tmp_path, ["B"], "3.12")
        assert made == ["engine", "ours", "ours"], "other models are another state of ours alone"


class TestSets:
    @pytest.mark.parametrize("name", GPU_SETS)
    def test_a_set_fits_its_minutes(self, name: str) -> None:
        assert sum(start.seconds for start in SETS[name]) <= 560
        assert len({(s.model, s.words, s.vllm_words, s.context) for s in SETS[name]}) == len(SETS[name])

    @pytest.mark.parametrize("start", STARTS)
    def test_what_runs_on_a_card_is_planned_for_it(
        self, ask: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start
    ) -> None:
        """The very words of a session, on a machine whose NVML (a stand-in) tells of one H100."""
        here(monkeypatch, ("NVIDIA H100 80GB HBM3", 81_559, 81_000, 0))
        write_stand_in(tmp_path / "models" / start.model.replace("/", "__"), config_of(start.model))
        session = Session("A", tmp_path, tmp_path / "out", sys.executable, 540)
        session.facts = {"versions": {"vllm": "0.25.1"}}
        words = session._trial_words(start, tmp_path, start.seconds)
        result = ask(*words[words.index("trial") :], "--dry-run")
        assert result.code == 0, result.err
        said = " ".join(result.err.split())
        assert "on 1 × H100 SXM5 (here) (TP1)" in said
        assert "the prediction is" not in said, "it fits, and is known to"
        assert f"--max-model-len {start.context}" in result.out
        assert ("--compilation-config" in result.out) is start.fast

    def test_a_stand_in_for_a_tokenizer_has_as_many_words(self, tmp_path: Path) -> None:
        write_stand_in(tmp_path / "m", config_of("Qwen/Qwen2.5-VL-7B-Instruct"))
        vocabulary = json.loads((tmp_path / "m" / "tokenizer.json").read_text())["model"]["vocab"]
        assert len(vocabulary) == 152_064
        assert vocabulary["<|image_pad|>"] == 151_655
        assert json.loads((tmp_path / "m" / "preprocessor_config.json").read_text())["max_pixels"] == 12_845_056

    def test_no_config_runs_code(self) -> None:
        assert all("auto_map" not in config_of(s.model) for name in GPU_SETS for s in SETS[name])


def record(gpu: str = "h100_sxm", trial: str = "20270101-000000-abc123") -> dict[str, object]:
    """A trial's record as a session keeps it, of Qwen3-8B on an H100: figures of no real run."""
    gib = 2**30
    nothing = {"mean": None, "p50": None, "p90": None, "p99": None}
    point = {
        "concurrency": 16, "input_tokens": 1024, "output_tokens": 256, "completed": 64, "failed": 0, "seconds": 20.0,
        "output_tokens_per_second": 1500.0, "total_tokens_per_second": 7500.0, "ttft_ms": {**nothing, "p50": 80.0},
        "tpot_ms": {**nothing, "p50": 9.0}, "power": {"watts": 500.0, "clock_mhz": 1900.0, "throttled": ["power cap"]},
        "output_tokens_per_joule": 3.0,
    }  # fmt: skip
    memory = {
        "weights_bytes": round(15.27 * gib), "pool_bytes": 54 * gib, "activation_bytes": 2 * gib, "beside_torch_bytes": gib // 4,
        "graph_bytes": gib, "graph_estimate_bytes": round(1.33 * gib), "total_bytes": round(79.19 * gib), "utilisation": 0.92, "tokens": 393_216,
        "concurrency": 48.0, "blocks": 24_576, "block_size": 16, "max_model_len": 8192,
    }  # fmt: skip
    predicted = {
        "weights_bytes": round(15.27 * gib), "pool_bytes": 54 * gib, "tokens": 393_000,
        "points": [{"concurrency": 16, "input_tokens": 1024, "output_tokens": 256, "tpot_ms": 8.5, "ttft_ms": 70.0, "tokens_per_second": 1600.0}],
    }  # fmt: skip
    facts = {
        "cards": [{"name": "NVIDIA H100 80GB HBM3", "power_limit_watts": 700.0}],
        "driver": "580.1",
        "versions": {"vllm": "0.25.1"},
    }
    return {
        "identity": trial, "accelerator": gpu, "vllm": "0.25.1", "outcome": "measured", "failure": None, "memory": memory,
        "layout": {"tensor_parallel": 1, "pipeline_parallel": 1, "data_parallel": 1}, "precision": "published", "context": 8192,
        "command": "vllm serve m --max-model-len 8192", "stages": [{"name": "stop", "seconds": 1.0}], "points": [point],
        "predicted": predicted, "started_at": "2027-01-01T00:00:00+00:00",
        "on_gpu": {"set": "A", "as_started": "defaults", "asked_model": "Qwen/Qwen3-8B", "facts": facts},
    }  # fmt: skip


def brought_back(folder: Path, *records: dict[str, object]) -> Path:
    """What a session leaves."""
    folder.mkdir()
    (folder / "controlled.jsonl").write_text("".join(json.dumps(controlled_row(r)) + "\n" for r in records))
    (folder / "serving.jsonl").write_text("".join(json.dumps(s) + "\n" for r in records for s in serving_rows(r)))
    with tarfile.open(folder / "logs.tar.gz", "w:gz") as archive:
        for r in records:
            log = folder / f"{r['identity']}.log"
            log.write_text("INFO Available KV cache memory: 54.0 GiB\n")
            archive.add(log, log.name)
            log.unlink()
    return folder


class TestCollecting:
    def test_rows_and_logs_are_taken_once_and_the_page_shows_them_apart(self, tmp_path: Path) -> None:
        source = brought_back(tmp_path / "out", record())
        done = collect(source, tmp_path / "truth", tmp_path / "logs")
        assert done == [
            "controlled.jsonl: 1 rows added, 0 were there",
            "serving.jsonl: 1 rows added, 0 were there",
            "1 logs added",
        ]
        assert collect(source, tmp_path / "truth", tmp_path / "logs")[-1] == "0 logs added"
        log = next((tmp_path / "logs").glob("*.log.gz"))
        assert "54.0 GiB" in gzip.decompress(log.read_bytes()).decode()
        fixture = next((tmp_path / "logs").glob("*.json"))
        said = json.loads(fixture.read_text())
        assert said["memory"]["pool_bytes"] == 54 * 2**30
        assert changed_logs(tmp_path / "logs") == []
        fixture.write_text(fixture.read_text().replace(str(54 * 2**30), "1"))
        assert changed_logs(tmp_path / "logs") == [log.name]
        nothing = tmp_path / "nothing"
        nothing.mkdir()
        outcome = compare(nothing, None, tmp_path / "truth")
        (row,) = outcome.memory["ours: controlled.jsonl"]
        assert (row.doubt, row.weights, row.kv) == (None, 15.27, 54.0)
        assert row.predicted_weights == pytest.approx(15.27, abs=0.02)
        assert "ours: controlled.jsonl" in page(outcome)
        text = "\n".join(own_runs.own_runs(tmp_path / "truth"))
        assert "9.0 / 8.5" in text
        assert "| 500 " in text
        assert own_runs.own_runs(nothing) == []

    def test_logs_of_real_cards_are_read_as_they_were(self) -> None:
        assert changed_logs(LOGS) == []

    def test_a_rehearsal_is_no_truth_of_a_card(self, tmp_path: Path) -> None:
        source = brought_back(tmp_path / "out", record("cpu"))
        assert collect(source, tmp_path / "truth", tmp_path / "logs")[-1] == "0 logs added"
        assert not (tmp_path / "truth").exists()

    def test_a_start_with_flags_that_the_prediction_does_not_know_is_left_out_of_the_score(
        self, tmp_path: Path
    ) -> None:
        odd = record()
        odd["on_gpu"]["as_started"] = "--enable-lora"  # type: ignore[index]
        collect(brought_back(tmp_path / "out", odd), tmp_path / "truth", tmp_path / "logs")
        nothing = tmp_path / "nothing"
        nothing.mkdir()
        (row,) = compare(nothing, None, tmp_path / "truth").memory["ours: controlled.jsonl"]
        assert row.doubt is not None


@needs_vllm
class TestRehearsal:
    def test_from_the_pack_to_the_page_on_a_bare_machine(self, tmp_path: Path) -> None:
        """An empty folder, an empty environment, no network; the set ``tiny`` on vLLM's CPU build."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        at, out = tmp_path / "at", tmp_path / "out"
        pieces = packing.pack(tmp_path / "pack", ["tiny"], version, engine=False, piece=2 * 2**20)
        assert len(pieces) > 1
        for piece in pieces:
            assert take(piece, at).returncode == 0
        words = [
            str(at / "ours" / "start"),
            "tiny",
            "--out",
            str(out),
            "--python",
            str(VLLM),
            "--cpu",
            "--budget",
            "420",
        ]
        alone = ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", *words]
        can = shutil.which("unshare") and subprocess.run(["unshare", "-n", "true"], check=False).returncode == 0
        python = Path(sys.executable).resolve().parent
        done = subprocess.run(
            alone if can and shutil.which("ip") else words,
            cwd=tmp_path, env={"PATH": f"{python}:/usr/bin:/bin"}, capture_output=True, text=True, timeout=480, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        kept = {"controlled.jsonl", "facts.json", "logs.tar.gz", "run.log", "serving.jsonl", "trials.jsonl"}
        assert {p.name for p in out.iterdir()} == kept, "six files come back"
        assert {p.name for p in tmp_path.iterdir()} == {"pack", "at", "out"}, "nothing else is left"
        collect(out, tmp_path / "truth", tmp_path / "logs", cpu=True)
        (row,) = [json.loads(line) for line in (tmp_path / "truth" / "controlled.jsonl").read_text().splitlines()]
        assert (row["outcome"], row["kv_tokens"]) == ("ok", row["predicted_kv_tokens"])
        assert row["weights_gib"] == pytest.approx(row["predicted_weights_gib"], abs=0.001)
        loads = [json.loads(line) for line in (tmp_path / "truth" / "serving.jsonl").read_text().splitlines()]
        assert [(r["concurrency"], r["input_len"]) for r in loads] == [(2, 64), (2, 256)]
        text = "\n".join(own_runs.own_runs(tmp_path / "truth"))
        assert text.count("tiny/dense") == 2
