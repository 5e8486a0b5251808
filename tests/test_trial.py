"""Trials: on a stand-in for vLLM what a real one is too slow to show, on a real one (CPU build) the whole of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import sysconfig
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import Result
from tests.fake_vllm import Handler
from tests.tiny_models import CONFIGS
from tests.trying import VLLM, gone, left_over, needs_vllm, words_of
from whichgpu.catalog.store import Catalog
from whichgpu.inspect.errors import install_line
from whichgpu.trial.errors import TrialError
from whichgpu.trial.failures import explain
from whichgpu.trial.launch import launcher_of
from whichgpu.trial.logs import read_log
from whichgpu.trial.own_wheel import wheel_name, write_own_wheel
from whichgpu.trial.process import clean_up, living, state_of
from whichgpu.trial.sampling import Sampler, _Reading, energy
from whichgpu.trial.server import Server
from whichgpu.tui.words.exit_codes import ExitCode

Run = Callable[..., Result]
GIB = 2**30


class TestLogs:
    """Lines as versions print them (vLLM 0.5 to 0.32: worker, gpu_executor, kv_cache_utils)."""

    def test_0_32(self) -> None:
        found = read_log(
            "(APIServer pid=1) INFO 11-22 11:08:40 [utils.py:1] version 0.32.0\n"
            "(Worker_TP0 pid=2) INFO 11-22 [gpu_model_runner.py:5150] Model loading took 15.27 GiB memory and 3.210000 seconds\n"
            "(Worker_TP1 pid=3) INFO 11-22 [gpu_model_runner.py:5150] Model loading took 15.31 GiB memory and 3.310000 seconds\n"
            "(Worker_TP0 pid=2) INFO Available KV cache memory: 55.1 GiB\n"
            "(Worker_TP1 pid=3) INFO Available KV cache memory: 54.9 GiB\n"
            "(EngineCore pid=4) INFO GPU KV cache size: 412,345 tokens, Maximum concurrency for 8,192 tokens per request: 50.33x\n"
            "INFO Graph capturing finished in 12 secs, took 0.93 GiB\n"
            "INFO init engine (profile, create kv cache, warmup model) took 41.20 s (compilation: 20.10 s)\n"
            "INFO Application startup complete.\n"
        )
        said = found.memory
        assert found.version == "0.32.0"
        assert found.ready
        assert said.weights_bytes == round(15.31 * GIB), "the fullest rank"
        assert said.pool_bytes == round(54.9 * GIB), "the poorest rank"
        assert (said.tokens, said.concurrency, said.max_model_len) == (412_345, 50.33, 8192)
        assert said.graph_bytes == round(0.93 * GIB)
        assert found.stages == {"load weights": 3.31, "compile": 20.1, "capture graphs": 12.0, "engine": 41.2}

    def test_0_8_and_two_lines(self) -> None:
        found = read_log(
            "INFO 03-01 [llm_engine.py:234] Initializing a V1 LLM engine (v0.8.2) with config\n"
            "INFO Model loading took 14.99 GB and 4.1 seconds\n"
            "INFO GPU KV cache size: 389,264 tokens\n"
            "INFO Maximum concurrency for 131,072 tokens per request: 2.97x\n"
        )
        assert found.version == "0.8.2"
        assert (found.memory.tokens, found.memory.concurrency) == (389_264, 2.97)

    def test_0_6_and_0_7_of_v0(self) -> None:
        found = read_log(
            "INFO llm_engine.py:234] Initializing a V0 LLM engine (v0.7.0) with config\n"
            "INFO Loading model weights took 14.9888 GB\n"
            "INFO the rest of the memory reserved for KV Cache is 40.05GiB.\n"
            "INFO PyTorch activation peak memory takes 1.23GiB;\n"
            "INFO # cuda blocks: 20510, # CPU blocks: 2048\n"
            "INFO Maximum concurrency for 131072 tokens per request: 2.50x\n"
            "INFO Graph capturing finished in 20 secs, took 0.40 GiB\n"
        )
        said = found.memory
        assert said.weights_bytes == round(14.9888 * GIB)
        assert said.pool_bytes == round(40.05 * GIB)
        assert said.activation_bytes == round(1.23 * GIB)
        assert said.tokens == 20510 * 16
        old = read_log(
            "INFO llm_engine.py:161] Initializing an LLM engine (v0.5.4) with\nINFO # GPU blocks: 7,000, # CPU blocks: 4096\n"
        )
        assert (old.version, old.memory.tokens) == ("0.5.4", 112_000)

    def test_what_is_not_said_is_unknown(self) -> None:
        found = read_log("hello\n")
        assert found.version is None
        assert found.memory.weights_bytes is None
        assert not found.ready

    def test_the_command(self, ask: Run, tmp_path: Path) -> None:
        path = tmp_path / "vllm.log"
        path.write_text(
            "INFO Model loading took 15.27 GiB memory and 3.2 seconds\nRuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB\n"
        )
        out = ask("read-log", str(path)).out
        assert "weights      15.3 GiB" in out
        assert "The card ran out of memory when 2.00 GiB more were asked for." in out
        assert json.loads(ask("read-log", str(path), "--json").out)["memory"]["weights_bytes"] == round(15.27 * GIB)
        assert "cannot be read" in ask("read-log", str(tmp_path / "none")).err


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        # vLLM 0.32 on CPU, as it printed them
        ("ValueError: To serve at least one request with the model's max seq len (4096), (0.0 GiB KV cache is needed, which is larger than the available KV cache memory (0.0 GiB). Based on the available memory, the estimated maximum model length is 896. Try", "cache too small", "896 tokens at most, and 4096"),
        ("ValueError: Available memory on node 0 (15.82/18.09 GiB) on kv cache allocation is less than requested memory for kv (100.0 GiB).", "memory", "less than the 100.0 GiB"),
        ("  Value error, User-specified max_model_len (100000) is greater than the derived max_model_len (max_position_embeddings=4096.0 or", "too long", "4096.0 tokens at most"),
        ("  Value error, Model architectures ['FooBarForCausalLM'] are not supported for now.", "architecture", "does not know FooBarForCausalLM"),
        ("  Value error, The checkpoint you are trying to load has model type `foobar` but Transformers does not recognize this", "architecture", "knows foobar"),
        ("huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder", "not found", "does not find"),
        ("OSError: [Errno 98] Address already in use", "port", "port was taken"),
        ("vllm: error: unrecognized arguments: --no-such-flag", "flag", "does not know --no-such-flag"),
        ("AttributeError: '_OpNamespace' '_C' object has no attribute 'selective_scan_fwd'", "operator", "no selective_scan_fwd"),
        ("RuntimeError: Gloo connectFullMesh failed with [/__w/pytorch/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:152] timed out connecting: SO_ERROR: Connection refused, remote=[127.0.0.1]:41349$1", "machines apart", "at 127.0.0.1"),
        ("RuntimeError: [/__w/pytorch/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:57014: Connection reset by peer. This is typically", "machine lost", "machines was lost"),
        # from the source: v1/worker, config, and CUDA
        ("ValueError: Free memory on device cuda:0 (20.1/79.2 GiB) on startup is less than desired GPU memory utilization (0.92, 72.8 GiB).", "busy", "20.1 of 79.2 GiB"),
        ("ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`", "cache too small", "Nothing is left"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has", "out of memory", "when 1.50 GiB more were asked for"),
        ("Failed to load model - not enough GPU memory. Try lowering --gpu-memory-utilization", "out of memory", "weights do not fit"),
        ("ValueError: The model's max seq len (131072) is larger than the maximum number of tokens that can be stored in KV cache (40960).", "cache too small", "40960 tokens at most"),
        ("RuntimeError: The NVIDIA driver on your system is too old (found version 12020)", "driver", "driver is too old"),
        ("RuntimeError: No CUDA GPUs are available", "no gpu", "sees no GPU"),
        ("huggingface_hub.errors.GatedRepoError: 401 Client Error.", "gated", "gated"),
        ("Model architecture BambaForCausalLM was supported in vLLM until v0.23.0, and is not", "architecture", "dropped BambaForCausalLM after v0.23.0"),
        ("OSError: [Errno 28] No space left on device", "disk", "disk is full"),
        ("EngineDeadError: EngineCore encountered an issue.", "engine died", "engine died"),
        ("RuntimeError: CUDA error: no kernel image is available for execution on the device", "architecture of the card", "no kernels"),
    ],
)  # fmt: skip
def test_failures_are_one_sentence_with_what_mends_them(line: str, kind: str, words: str) -> None:
    log = f"WARNING 11-22 11:47:25 [x.py:1] OSError: [Errno 24] quoted\n(EngineCore pid=7) ERROR 11-22 11:47:25 [core.py:1] {line}\nRuntimeError: Engine core initialization failed. See root cause above.\n"
    found = explain(log, 1)
    assert found.kind == kind
    assert words in found.sentence
    assert found.hint


def test_unknown_failures_show_the_decisive_lines() -> None:
    found = explain(
        "INFO fine\nValueError: nobody has seen this\nRuntimeError: Engine core initialization failed. See root cause above.\n",
        3,
    )
    assert found.kind == "unknown"
    assert "with code 3" in found.sentence
    assert found.lines == ("ValueError: nobody has seen this",)
    assert explain("nothing at all", -9).kind == "killed"
    assert explain("\x1b[31mlast words\x1b[0m").lines == ("last words",)


@pytest.fixture
def running() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _heed_signals() -> None:
    """Under nohup and in the background of a script, hang-ups and interrupts are ignored, and children inherit that."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


class TestOnAStandIn:
    def test_a_whole_trial(self, ask: Run, fake: Callable[[str], str], tiny: str, tmp_path: Path) -> None:
        result = ask(*words_of(tiny, fake("ok"), tmp_path, "--sweep", "1,4", "--json"))
        assert result.code == ExitCode.OK, result.err
        trial = json.loads(result.out)
        assert (trial["outcome"], trial["vllm"], trial["dummy_weights"]) == ("measured", "9.9.9", True)
        assert trial["memory"]["weights_bytes"] == 3 * GIB
        assert (trial["memory"]["tokens"], trial["memory"]["blocks"], trial["memory"]["max_model_len"]) == (
            65_536,
            4096,
            4096,
        )
        first, second = trial["points"]
        assert (first["concurrency"], first["output_tokens_per_second"], first["failed"]) == (1, 50.0, 0)
        assert second["tpot_ms"]["p99"] == 20.0
        assert (second["cache_used"], second["waiting"], second["preemptions"]) == (0.25, 3, 0)
        assert trial["summary"]["tokens_per_second"] == 200.0
        assert "--load-format dummy" in trial["command"]
        assert not left_over(tmp_path)
        kept = Catalog(tmp_path / "catalog.db").find("kind = 'trial'")
        assert len(kept) == 1
        with sqlite3.connect(tmp_path / "catalog.db") as connection:
            row = connection.execute("SELECT succeeded, tokens_per_second, weights_bytes FROM trials").fetchone()
        connection.close()
        assert row == (1, 200.0, 3 * GIB)
        assert "200.0" in ask("trial", "report").out == ask("trials", "report").out
        assert not list((tmp_path / "runs").rglob("spec.json")), "the environment may hold a token"

    @pytest.mark.parametrize(
        ("how", "outcome", "words"),
        [
            ("broken", "failed", "no selective_scan_fwd"),
            ("failing", "failed", "requests failed"),
            ("die", "failed", "The KV cache holds 896 tokens at most"),
        ],
    )
    def test_a_green_light_is_not_success(
        self, ask: Run, fake: Callable[[str], str], tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        how: str, outcome: str, words: str,
    ) -> None:  # fmt: skip
        monkeypatch.setenv(
            "FAKE_LOG", "ValueError: the model's max seq len (4096), the estimated maximum model length is 896."
        )
        result = ask(*words_of(tiny, fake(how), tmp_path, "--json"))
        assert result.code == ExitCode.SYSTEM
        trial = json.loads(result.out)
        assert trial["outcome"] == outcome
        assert words in trial["failure"]["sentence"]
        assert all(p["tpot_ms"]["mean"] is None for p in trial["points"]), "unknown, not 0"
        assert not left_over(tmp_path)
        assert Catalog(tmp_path / "catalog.db").trial_facts() == [], "what failed teaches nothing"

    @pytest.mark.parametrize("how", ["hang", "slow-bench"])
    def test_the_budget_holds(self, ask: Run, fake: Callable[[str], str], tiny: str, tmp_path: Path, how: str) -> None:
        result = ask(*words_of(tiny, fake(how), tmp_path, "--budget", "20", "--json"))
        trial = json.loads(result.out)
        assert trial["outcome"] == "out of time"
        assert trial["seconds"] < 60
        assert not left_over(tmp_path)

    def start(self, tiny: str, at: str, tmp_path: Path) -> subprocess.Popen[bytes]:
        code = "from whichgpu.tui.main import main; main()"
        command = [sys.executable, "-c", code, *words_of(tiny, at, tmp_path, "--budget", "120")]
        started = subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=_heed_signals,  # noqa: PLW1509 - nothing of this process is touched
        )
        for _ in range(400):
            engines = list((tmp_path / "runs").rglob("engine.pid")) if (tmp_path / "runs").exists() else []
            if engines and engines[0].read_text():
                return started
            time.sleep(0.05)
        raise AssertionError(started.communicate())

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
    @pytest.mark.parametrize("how", ["hang", "slow-bench"])
    def test_however_we_end_nothing_is_left(
        self, fake: Callable[[str], str], tiny: str, tmp_path: Path, number: signal.Signals, how: str
    ) -> None:
        started = self.start(tiny, fake(how), tmp_path)
        assert left_over(tmp_path)
        started.send_signal(number)
        started.communicate(timeout=60)
        assert gone(tmp_path)

    def test_a_port_that_another_took_is_never_measured(
        self, ask: Run, fake: Callable[[str], str], tiny: str, running: str, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """The thief answers every request, all green."""
        port = int(running.rsplit(":", 1)[1])
        monkeypatch.setattr("whichgpu.trial.run.free_port", lambda: port)
        result = ask(*words_of(tiny, fake("ok"), tmp_path, "--json"))
        trial = json.loads(result.out)
        assert (trial["outcome"], trial["failure"]["kind"], trial["points"]) == ("failed", "port", [])
        assert not left_over(tmp_path)

    @pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted, which takes root")
    def test_a_full_disk_for_the_log(self, ask: Run, fake: Callable[[str], str], tiny: str, tmp_path: Path) -> None:
        disk = tmp_path / "runs"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "none", disk], check=False).returncode:
            pytest.skip("this root may not mount")
        try:
            trial = json.loads(ask(*words_of(tiny, fake("chatty"), tmp_path, "--json")).out)
            assert (trial["outcome"], trial["failure"]["kind"]) == ("failed", "disk")
            assert not left_over(tmp_path)
            with pytest.raises(OSError, match="No space left"):
                (disk / "rest").write_bytes(b"x" * 2**17)
        finally:
            subprocess.run(["umount", disk], check=True)

    def test_what_ignores_every_polite_word_is_killed(
        self, ask: Run, fake: Callable[[str], str], tiny: str, tmp_path: Path
    ) -> None:
        started = self.start(tiny, fake("stubborn"), tmp_path)
        (run,) = living(tmp_path / "runs")
        assert run.name in ask("trial", "list", "--folder", str(tmp_path / "runs")).out
        os.kill(state_of(run)["supervisor"], signal.SIGKILL)  # and nobody watches any more
        assert "1 stopped" in ask("trial", "stop", "--folder", str(tmp_path / "runs")).out
        assert not left_over(tmp_path)
        started.communicate(timeout=60)
        assert "No vLLM" in ask("trial", "list", "--folder", str(tmp_path / "runs")).out
        assert clean_up(tmp_path / "runs", keep=1) == 0
        assert clean_up(tmp_path / "runs") == 1

    def test_a_number_given_to_another_process_is_left_alone(self, tmp_path: Path) -> None:
        run = tmp_path / "runs" / "old"
        run.mkdir(parents=True)
        (run / "state.json").write_text(json.dumps({"pid": os.getpid(), "group": os.getpid(), "since": "1"}))
        assert living(tmp_path / "runs") == []

    def test_what_can_not_fit_is_refused(self, ask: Run, tmp_path: Path) -> None:
        result = ask(
            "trial", "-m", "deepseek-ai/DeepSeek-V3", "--offline", "--gpu", "L4", "--concurrency", "256", "--dry-run"
        )
        assert result.code == ExitCode.NOTHING_FITS
        assert "--anyway tries it" in result.err
        anyway = ask(
            "trial",
            "-m",
            "deepseek-ai/DeepSeek-V3",
            "--offline",
            "--gpu",
            "L4",
            "--concurrency",
            "256",
            "--dry-run",
            "--anyway",
        )
        assert anyway.out.startswith("vllm serve deepseek-ai/DeepSeek-V3")
        assert "machines" not in anyway.err, "it is started here alone"

    def test_before_it_says_what_it_does(self, ask: Run) -> None:
        result = ask("trial", "-m", "Qwen/Qwen3-8B", "--offline", "--gpu", "H100", "--dry-run", "--sweep", "1,16")
        assert result.out.startswith("vllm serve Qwen/Qwen3-8B --max-model-len 8192")
        said = " ".join(result.err.split())
        assert "Qwen/Qwen3-8B on 1 × H100 SXM5 (TP1), dummy weights: nothing is downloaded; 1, 16 at once" in said
        assert "about 120 s, at most 300" in said

    def test_a_server_that_runs_already(
        self, ask: Run, fake: Callable[[str], str], running: str, tmp_path: Path
    ) -> None:
        at = fake("ok")
        words = (
            "trial",
            "-m",
            "Qwen/Qwen3-8B",
            "--offline",
            "--gpu",
            "H100",
            "--vllm-at",
            at,
            "--folder",
            str(tmp_path / "runs"),
        )
        result = ask(*words, "--server", running)
        assert result.code == ExitCode.OK, result.err
        assert "tokens in the pool" in result.out
        assert Server(running).is_healthy(), "it was not stopped"
        assert "No vLLM server answers" in ask(*words, "--server", "http://127.0.0.1:9").err

    def test_from_then_on_it_is_used_and_named(
        self, ask: Run, fake: Callable[[str], str], running: str, tmp_path: Path
    ) -> None:
        at = fake("ok")
        words = ("-m", "Qwen/Qwen3-8B", "--offline", "--gpu", "H100")
        before = json.loads(ask(*words, "--json").out)["answer"]["recommended"]["speed"]
        ask("trial", *words, "--vllm-at", at, "--folder", str(tmp_path / "runs"), "--server", running)
        after = json.loads(ask(*words, "--json").out)["answer"]["recommended"]["speed"]
        assert after["tpot_ms"]["expected"] == pytest.approx(20.0), "the trial's mean time per token"
        assert after["learned"].startswith("a trial of this plan, last 20")
        assert after["tpot_ms"]["high"] < before["tpot_ms"]["high"] / before["tpot_ms"]["expected"] * 20.0
        assert "a trial of this plan, last" in " ".join(ask(*words).out.split())
        without = json.loads(ask(*words, "--json", "--no-calibration").out)["answer"]["recommended"]["speed"]
        assert without == before
        other = json.loads(ask("-m", "Qwen/Qwen3-14B", "--offline", "--gpu", "H100", "--json").out)
        assert "drawn towards the formula" in other["answer"]["recommended"]["speed"]["learned"]


class TestElsewhere:
    WORDS = ("trial", "-m", "Qwen/Qwen3-8B", "--offline", "--gpu", "H100")

    def test_ssh_slurm_and_sky_are_printed(self, ask: Run) -> None:
        out = ask(*self.WORDS, "--on", "ssh:gpu1").out
        assert out.startswith("whichgpu trial wheel .\nssh gpu1 ")
        assert f"< {wheel_name()} |" in out
        assert out.rstrip().endswith("| whichgpu trial import -")
        out = ask(*self.WORDS, "--on", "slurm").out
        assert "#SBATCH --gres=gpu:1" in out
        assert "sbatch --wait whichgpu-trial.sbatch\nwhichgpu trial import whichgpu-trial.json" in out
        out = ask(*self.WORDS, "--on", "sky").out
        assert "accelerators: H100:1" in out
        assert f"~/{wheel_name()}: ./{wheel_name()}" in out
        assert "sky down --yes whichgpu-trial" in out
        for place in ("mars", "ssh:", "ssh:-oProxyCommand=x"):
            assert "no place for a trial" in ask(*self.WORDS, "--on", place).err

    def test_a_record_comes_back_and_is_kept(
        self, ask: Run, fake: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A stand-in for ssh runs the words on this machine, with a trial on the stand-in for vLLM."""
        record = tmp_path / "record.json"
        record.write_text(ask(*self.WORDS, "--vllm-at", fake("ok"), "--folder", str(tmp_path / "runs"), "--json").out)
        (tmp_path / "ssh").write_text(f"#!/bin/sh\ncat {record}\n")
        (tmp_path / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        there = tmp_path / "there.db"
        result = ask(
            *self.WORDS, "--on", "ssh:gpu1", "--go", "--folder", str(tmp_path / "runs"), "--catalog", str(there)
        )
        assert result.code == ExitCode.OK, result.err
        assert len(Catalog(there).find("kind = 'trial'")) == 1
        other = tmp_path / "other.db"
        from huggingface_hub import constants  # reads the variable once, when it is imported

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert ask("trial", "import", str(record), "--catalog", str(other)).code == ExitCode.OK
        assert len(Catalog(other).trial_facts()) == 1
        record.write_text("nonsense")
        assert "no record of a trial" in ask("trial", "import", str(record)).err
        assert "no record" in ask(*self.WORDS, "--on", "ssh:gpu1", "--go", "--folder", str(tmp_path / "runs")).err


class TestOwnWheel:
    """What a machine elsewhere installs is this whichgpu, not whatever a registry has under its name."""

    def test_what_is_installed_from_it_writes_it_again(self, tmp_path: Path) -> None:
        wheel = write_own_wheel(tmp_path)
        names = zipfile.ZipFile(wheel).namelist()
        assert "whichgpu/trial/own_wheel.py" in names
        assert "whichgpu/assets/accelerators.json" in names
        there, again = tmp_path / "there", tmp_path / "again"
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(there)]
        subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
        code = "import sys; from whichgpu.tui.cli.tree import run; sys.exit(run(sys.argv[1:]))"
        again.mkdir()
        done = subprocess.run(
            [sys.executable, "-S", "-c", f"import sys; sys.path[1:1] = {[str(there), *_site_packages()]!r}; {code}",
             "trial", "wheel", str(again)],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (again / wheel.name).read_bytes() == wheel.read_bytes()

    def test_a_folder_that_is_none(self, ask: Run, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        result = ask("trial", "wheel", str(tmp_path / "file" / "in"))
        assert (result.code, "cannot be written" in result.err) == (ExitCode.SYSTEM, True)


def _site_packages() -> list[str]:
    return [sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]]


class TestPieces:
    def test_launchers(self, tmp_path: Path) -> None:
        for name in ("env/bin/vllm", "env/bin/python3"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)
        assert launcher_of(str(tmp_path / "env")).words == (str(tmp_path / "env/bin/vllm"),)
        assert launcher_of(str(tmp_path / "env/bin/python3")).command("serve")[1:] == [
            "-m",
            "vllm.entrypoints.cli.main",
            "serve",
        ]
        with pytest.raises(TrialError, match="no vLLM at"):
            launcher_of(str(tmp_path / "nowhere"))
        with pytest.raises(TrialError, match="runs no container"):
            launcher_of("docker build .")

    def test_containers_are_named_and_removed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "docker").write_text("#!/bin/sh\n")
        (tmp_path / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        made = launcher_of("docker run --gpus all vllm/vllm-openai")
        words = made.command("--model", "x", name="whichgpu-1")
        assert words[:5] == ["docker", "run", "--rm", "--init", "--name"]
        assert words[-4:] == ["all", "vllm/vllm-openai", "--model", "x"]
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        words = made.command("serve", "x", name="whichgpu-1", variables=["VLLM_HOST_IP"])
        assert [words[i + 1] for i, w in enumerate(words) if w == "-e"] == ["VLLM_HOST_IP", "HF_TOKEN"]
        assert "hf_secret" not in " ".join(words)
        assert made.after("whichgpu-1") == [["docker", "rm", "-f", "whichgpu-1"]]

    def test_no_vllm_says_how_to_get_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(TrialError, match="vLLM is not installed") as caught:
            launcher_of(None)
        assert install_line("vllm") in caught.value.hint

    def test_energy_is_the_area_under_power(self) -> None:
        readings = [_Reading(at, watts, 0, 0, 0, 0) for at, watts in ((0.0, 100.0), (1.0, 300.0), (3.0, 300.0))]
        assert energy(readings) == 200 + 600
        assert energy(readings[:1]) == 0

    def test_power_is_read_from_the_cards(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from types import SimpleNamespace

        fake = SimpleNamespace(
            NVML_CLOCK_SM=1, NVML_TEMPERATURE_GPU=0, nvmlInit=lambda: None, nvmlDeviceGetHandleByIndex=lambda i: i,
            nvmlDeviceGetPowerUsage=lambda _: 350_000, nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(used=2**30),
            nvmlDeviceGetClockInfo=lambda *_: 1980, nvmlDeviceGetTemperature=lambda *_: 61,
            nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: 0x4,
        )  # fmt: skip
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        with Sampler(Server("http://127.0.0.1:9"), (0, 1)) as sampler:
            time.sleep(1.2)
        power = sampler.power()
        assert power is not None
        assert (power.watts, power.memory_used, power.throttled) == (700.0, 2**30, ("power cap",))
        assert power.joules is not None
        assert power.joules > 0
        assert sampler.cache_used is None, "a server that says nothing leaves it unknown"

    def test_no_gpu_at_all_is_one_sentence(self, ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", None)
        result = ask("trial", "-m", "Qwen/Qwen3-8B", "--offline")
        assert result.code == ExitCode.USAGE
        assert "NVIDIA's management library is not installed" in result.err

    def test_sweeps_are_lists_of_numbers(self, ask: Run) -> None:
        for text in ("a", "0", "1,,2", "1@2", "1@0:5", "1@2:3:4", "1@:5", ""):
            assert ask("trial", "-m", "x", "--sweep", text).code == ExitCode.USAGE

    def test_a_load_longer_than_the_context(self, ask: Run) -> None:
        result = ask(
            "trial", "-m", "Qwen/Qwen3-8B", "--offline", "--gpu", "H100", "--dry-run", "--sweep", "16@8000:1024"
        )
        assert result.code == ExitCode.SYSTEM
        assert "--context 9024" in result.err

    def test_more_words_for_vllm(self, ask: Run) -> None:
        words = ("trial", "-m", "Qwen/Qwen3-8B", "--offline", "--gpu", "H100", "--dry-run")
        result = ask(*words, "--vllm-args", "--enable-lora --max-lora-rank 16")
        assert result.out.strip().endswith("--enable-lora --max-lora-rank 16")
        assert ask(*words, "--vllm-args", "'open").code == ExitCode.USAGE

    def test_each_load_stands_beside_its_own_prediction(
        self, ask: Run, running: str, tmp_path: Path, fake: Callable[[str], str]
    ) -> None:
        words = (
            "trial",
            "-m",
            "Qwen/Qwen3-8B",
            "--offline",
            "--gpu",
            "H100",
            "--server",
            running,
            "--vllm-at",
            fake("ok"),
        )
        result = ask(*words, "--sweep", "1,64,16@7168:1024", "--folder", str(tmp_path / "runs"), "--json")
        trial = json.loads(result.out)
        told = trial["predicted"]["points"]
        assert [(p["concurrency"], p["input_tokens"], p["output_tokens"]) for p in told] == [
            (1, 7168, 1024),
            (64, 7168, 1024),
            (16, 7168, 1024),
        ]
        assert told[1]["tpot_ms"] > told[2]["tpot_ms"] > told[0]["tpot_ms"]
        summary, busiest = trial["summary"], max(trial["points"], key=lambda p: p["output_tokens_per_second"])
        assert summary["predicted_tpot_ms"] == next(
            p["tpot_ms"] for p in told if p["concurrency"] == busiest["concurrency"]
        ), "of the load that was measured, whatever --concurrency said"


@pytest.mark.parametrize(
    ("name", "tokens"),
    [("dense", 262_144), ("moe", 262_144), ("mla", 116_496), ("mamba2", 1_980_416), ("hybrid", 149_796)],
)
def test_tokens_as_a_real_vllm_counted_them(ask: Run, tmp_path: Path, name: str, tokens: int) -> None:
    """ "CPU KV cache size" of vLLM 0.32.0 (CPU build, 2026-11-24) for these models at 256 MiB and 1,024 tokens."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIGS[name]))
    from whichgpu.inspect.inspector import inspect_model
    from whichgpu.plan.case import ServedModel
    from whichgpu.plan.records import Layout, Workload
    from whichgpu.plan.sizing import Sizer
    from whichgpu.tui.desk.facts import load_facts
    from whichgpu.tui.desk.trials import CPU

    facts = load_facts()
    served = ServedModel(inspect_model(str(folder)), facts.engines.of("0.32.0"), facts.architectures)
    sizer = Sizer(served)
    cache = sizer.cache(Workload(context=1024, concurrency=1), Layout(tensor_parallel=1), CPU)
    blocks = cache.blocks([256 * 2**20])
    assert blocks is not None
    assert cache.printed(blocks, 1024, sizer.engine.unified_count) == tokens


def members(group: int) -> set[int]:
    """Processes of a group."""
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(ValueError, ProcessLookupError):
            if os.getpgid(int(entry.name)) == group:
                found.add(int(entry.name))
    return found


@needs_vllm
class TestOnARealVllm:
    """vLLM's CPU build, served for real; figures beside our prediction."""

    def run(self, ask: Run, model: Path, tmp_path: Path, *more: str) -> dict[str, object]:
        at = str(Path(VLLM or "").parent.parent)
        words = (
            "trial",
            "-m",
            str(model),
            "--cpu",
            "--vllm-at",
            at,
            "--folder",
            str(tmp_path / "runs"),
            "--context",
            "1024",
        )
        result = ask(*words, "--input", "64", "--output", "16", "--budget", "400", "--json", *more)
        found: dict[str, object] = json.loads(result.out)
        return found

    @pytest.mark.parametrize("name", ["dense", "moe", "mla", "mamba2", "hybrid"])
    def test_a_trial_from_start_to_end(self, ask: Run, tiny_models: Path, tmp_path: Path, name: str) -> None:
        trial = self.run(ask, tiny_models / name, tmp_path, "--sweep", "2")
        assert trial["outcome"] == "measured", trial["failure"]
        memory, predicted = trial["memory"], trial["predicted"]
        assert isinstance(memory, dict)
        assert isinstance(predicted, dict)
        assert memory["weights_bytes"] == pytest.approx(predicted["weights_bytes"], rel=0.01)
        assert memory["tokens"] == pytest.approx(predicted["tokens"], rel=0.01)
        points = trial["points"]
        assert isinstance(points, list)
        point = points[0]
        assert point["failed"] == 0
        assert point["output_tokens_per_second"] > 0
        assert not left_over(tmp_path)
        assert len(Catalog(tmp_path / "catalog.db").find("kind = 'trial'")) == 1

    def test_a_cache_too_small_and_an_unknown_architecture(self, ask: Run, tiny_models: Path, tmp_path: Path) -> None:
        small = self.run(ask, tiny_models / "dense", tmp_path, "--kv-memory", "1", "--context", "4096")
        assert small["outcome"] == "failed"
        assert small["failure"]["kind"] == "cache too small"  # type: ignore[index]
        strange = self.run(ask, tiny_models / "unknown", tmp_path)
        assert strange["failure"]["sentence"] == "vLLM does not know NobodyKnowsForCausalLM."  # type: ignore[index]
        assert not left_over(tmp_path)

    def test_its_engine_is_killed_while_it_serves(self, ask: Run, tiny_models: Path, tmp_path: Path) -> None:
        def kill_when_loaded() -> None:
            for _ in range(2400):
                logs = list((tmp_path / "runs").rglob("vllm.log")) if (tmp_path / "runs").exists() else []
                if logs and "Starting main benchmark run" in logs[0].read_text(errors="replace"):
                    group = int(state_of(logs[0].parent)["group"])
                    for worker in members(group) - {group}:
                        os.kill(worker, signal.SIGKILL)
                    return
                time.sleep(0.1)

        killer = threading.Thread(target=kill_when_loaded)
        killer.start()
        trial = self.run(ask, tiny_models / "dense", tmp_path, "--output", "600")
        killer.join()
        assert trial["outcome"] == "failed"
        assert trial["failure"]["kind"] in ("engine died", "killed"), trial["failure"]  # type: ignore[index]
        assert not left_over(tmp_path)

    def test_we_are_killed_while_it_starts(self, tiny_models: Path, tmp_path: Path) -> None:
        at = str(Path(VLLM or "").parent.parent)
        words = words_of(str(tiny_models / "dense"), at, tmp_path, "--budget", "300")
        started = subprocess.Popen(
            [sys.executable, "-c", "from whichgpu.tui.main import main; main()", *words], cwd=tmp_path
        )
        for _ in range(1200):
            logs = list((tmp_path / "runs").rglob("vllm.log")) if (tmp_path / "runs").exists() else []
            if logs and "EngineCore" in logs[0].read_text(errors="replace"):
                break
            time.sleep(0.1)
        assert left_over(tmp_path)
        started.kill()
        started.wait()
        assert gone(tmp_path), "its supervisor stopped it"


def test_ports_are_free() -> None:
    from whichgpu.trial.launch import free_port

    with socket.create_server(("127.0.0.1", free_port())):
        pass
