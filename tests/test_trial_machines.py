"""A trial over several machines: vLLM's own launch, the machines that lend their cards, and how it gets there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Result
from tests.trying import VLLM, left_over, needs_vllm, words_of
from whichgpu.catalog.store import Catalog
from whichgpu.plan.records import Layout, Precision
from whichgpu.trial.errors import TrialError
from whichgpu.trial.launch import free_port, launcher_of
from whichgpu.trial.nodes import Left, Place, lend, read_place
from whichgpu.trial.own_wheel import wheel_name
from whichgpu.trial.records import Load, Predicted
from whichgpu.trial.run import Step, TrialRequest
from whichgpu.tui.words.exit_codes import ExitCode

Run = Callable[..., Result]
UNKNOWN = Predicted(
    weights_bytes=None, pool_bytes=None, tokens=None, tokens_per_second=None, tpot_ms=None, usd_per_hour=None
)
LARGE = ("trial", "-m", "deepseek-ai/DeepSeek-V3", "--offline", "--gpu", "H100")
"""Two machines of eight."""


def request_of(place: Place, budget: float = 20.0) -> TrialRequest:
    return TrialRequest(
        model="served",
        name="served",
        commit=None,
        accelerator="cpu",
        layout=Layout(tensor_parallel=2),
        precision=Precision.PUBLISHED,
        context=1024,
        serve=("serve", "served", *place.words(2)),
        loads=(Load(concurrency=1),),
        prompt=64,
        output=16,
        budget=budget,
        predicted=UNKNOWN,
        nodes=2,
    )


class TestPlaces:
    def test_number_and_address(self) -> None:
        assert read_place("0@gpu1") == Place(0, "gpu1", 29501)
        assert read_place("3@10.0.0.1:29555") == Place(3, "10.0.0.1", 29555)
        assert read_place("1@[fe80::1]:29555") == Place(1, "fe80::1", 29555)

    @pytest.mark.parametrize(
        "text", ["", "1", "1@", "@h", "x@h", "-1@h", "1@h:port", "1@h:99999", "1@u@h", "1@h/x", "²@h"]
    )
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(TrialError, match="is no machine's place"):
            read_place(text)

    @given(st.text())
    def test_any_text_is_a_place_or_one_sentence(self, text: str) -> None:
        try:
            found = read_place(text)
        except TrialError:
            return
        assert found.rank >= 0
        assert 0 < found.port < 65_536

    def test_all_but_number_0_have_no_server(self) -> None:
        assert "--headless" not in Place(0, "h").words(2)
        assert Place(1, "h").words(2)[-1] == "--headless"

    @pytest.mark.skipif(sys.platform != "linux", reason="interfaces are asked for as Linux does")
    def test_the_network_of_number_0_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert Place(0, "127.0.0.1").environment() == {"VLLM_HOST_IP": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}
        assert Place(1, "no-such-machine.invalid").environment() == {}
        monkeypatch.setenv("VLLM_HOST_IP", "10.1.2.3")
        assert Place(0, "127.0.0.1").environment() == {"GLOO_SOCKET_IFNAME": "lo"}, "the user's goes before"


class TestLending:
    """On the stand-in, which stays when number 0 leaves."""

    def lent(
        self, fake: Callable[[str], str], how: str, tmp_path: Path, place: Place, tell: Any, budget: float
    ) -> Left:
        found = lend(request_of(place, budget), place, launcher_of(fake(how)), tmp_path / "runs", tell)
        assert not left_over(tmp_path)
        return found.left

    def test_it_ends_when_number_0_does(self, fake: Callable[[str], str], tmp_path: Path) -> None:
        first = socket.create_server(("127.0.0.1", 0))
        said: list[str] = []

        def tell(step: Step) -> None:
            said.append(step.what)
            if len(said) == 3:
                first.close()

        place = Place(1, "127.0.0.1", int(first.getsockname()[1]))
        assert self.lent(fake, "ok", tmp_path, place, tell, 20) is Left.SERVED
        assert said[0] == "lending cards to 127.0.0.1"

    def test_it_waits_no_longer_than_the_budget(self, fake: Callable[[str], str], tmp_path: Path) -> None:
        place = Place(1, "127.0.0.1", free_port())
        assert self.lent(fake, "ok", tmp_path, place, lambda _: None, 1.5) is Left.ALONE
        with socket.create_server(("127.0.0.1", 0)) as first:
            place = Place(1, "127.0.0.1", int(first.getsockname()[1]))
            assert self.lent(fake, "ok", tmp_path, place, lambda _: None, 1.5) is Left.OUT_OF_TIME

    def test_what_ends_by_itself_is_explained(
        self, fake: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FAKE_LOG", "RuntimeError: No CUDA GPUs are available")
        place = Place(1, "127.0.0.1", free_port())
        found = lend(request_of(place), place, launcher_of(fake("die")), tmp_path / "runs", lambda _: None)
        assert found.left is Left.FAILED
        assert found.failure is not None
        assert found.failure.sentence == "vLLM sees no GPU here."

    def test_whoever_listens_may_end_it(self, fake: Callable[[str], str], tmp_path: Path) -> None:
        def interrupt(_: Step) -> None:
            raise KeyboardInterrupt

        place = Place(1, "127.0.0.1", free_port())
        with pytest.raises(KeyboardInterrupt):
            lend(request_of(place), place, launcher_of(fake("ok")), tmp_path / "runs", interrupt)
        assert not left_over(tmp_path)


class TestTheCommand:
    def test_a_plan_of_several_says_how(self, ask: Run) -> None:
        result = ask(*LARGE, "--dry-run")
        assert result.code == ExitCode.SYSTEM
        assert "This plan needs 16 cards, and a machine has 8. On each of 2 machines: --node RANK@HOST" in result.err
        result = ask(*LARGE, "--node", "1@gpu1", "--dry-run")
        assert result.out.rstrip().endswith(
            "--nnodes 2 --node-rank 1 --master-addr gpu1 --master-port 29501 --headless"
        )
        said = " ".join(result.err.split())
        assert "on 16 × H100 SXM5 in 2 machines" in said
        assert "this is machine 1 of 0 to 1; number 0 measures" in said

    def test_places_that_there_are_not(self, ask: Run) -> None:
        assert "there is no 2" in ask(*LARGE, "--node", "2@gpu1").err
        assert "One machine has the cards" in ask(*LARGE[:2], "Qwen/Qwen3-8B", *LARGE[3:], "--node", "0@gpu1").err
        assert ask(*LARGE, "--node", "0@gpu1", "--server", "http://x").code == ExitCode.USAGE

    def test_two_machines_on_a_stand_in(self, ask: Run, fake: Callable[[str], str], tiny: str, tmp_path: Path) -> None:
        """Number 1 in a process of its own, number 0 here."""
        words = words_of(tiny, fake("ok"), tmp_path, "--cards", "2", "--json")
        at = f"127.0.0.1:{free_port()}"
        code = "from whichgpu.tui.main import main; main()"
        other = subprocess.Popen(
            [sys.executable, "-c", code, *words, "--node", f"1@{at}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(400):  # the stand-in's whole trial takes less time than a start
            if any("headless" in log.read_text() for log in (tmp_path / "runs").rglob("vllm.log")):
                break
            time.sleep(0.05)
        result = ask(*words, "--node", f"0@{at}")
        out, err = other.communicate(timeout=60)
        assert result.code == ExitCode.OK, result.err
        trial = json.loads(result.out)
        assert (trial["outcome"], trial["nodes"], trial["cards"]) == ("measured", 2, 2)
        assert (other.returncode, out) == (ExitCode.OK, b""), err
        assert b"lent 1 card for" in err
        assert b"number 0 has ended" in err
        assert not left_over(tmp_path)
        assert len(Catalog(tmp_path / "catalog.db").find("kind = 'trial'")) == 1, "number 0 alone keeps it"


class TestElsewhere:
    def test_sky_asks_for_as_many_nodes(self, ask: Run) -> None:
        out = ask(*LARGE, "--on", "sky").out
        task = yaml.safe_load(out.split("<<'EOF'\n")[1].split("EOF")[0])
        assert (task["num_nodes"], task["resources"]["accelerators"]) == (2, "H100:8")
        assert 'FIRST=$(echo "$SKYPILOT_NODE_IPS" | head -n1)' in task["run"]
        assert "--cards 16" in task["run"]
        assert '--node "$SKYPILOT_NODE_RANK@$FIRST" > ~/whichgpu-trial.json' in task["run"]

    def test_slurm_starts_one_on_each(self, ask: Run) -> None:
        out = ask(*LARGE, "--on", "slurm").out
        assert "#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=1\n#SBATCH --gres=gpu:8\n" in out
        assert '--node "$SLURM_PROCID@$FIRST"' in out

    def test_ssh_wants_them_all(self, ask: Run) -> None:
        out = ask(*LARGE, "--on", "ssh:me@gpu1,gpu2").out.splitlines()
        assert out[0] == "whichgpu trial wheel ."
        assert out[1].startswith("ssh gpu2 ")
        assert "--node 1@gpu1" in out[1]
        assert out[1].endswith(f"< {wheel_name()} &")
        assert out[2].startswith("ssh me@gpu1 ")
        assert "--node 0@gpu1" in out[2]
        assert out[2].endswith("| whichgpu trial import -")
        assert out[3:] == ["wait"]
        assert "takes 2 machines, not 1" in ask(*LARGE, "--on", "ssh:gpu1").err
        assert "no place for a trial" in ask(*LARGE, "--on", "ssh:gpu1,").err
        assert "no place for a trial" in ask(*LARGE, "--on", "ssh:gpu1,-oProxyCommand=x").err

    def test_a_machine_beside_that_fails_is_named(
        self, ask: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script = "#!/bin/sh\ncase $1 in gpu2) exit 3;; *) sleep 0.5; exit 255;; esac\n"
        (tmp_path / "ssh").write_text(script)
        (tmp_path / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        result = ask(*LARGE, "--on", "ssh:gpu1,gpu2", "--go", "--folder", str(tmp_path / "runs"))
        assert result.code == ExitCode.SYSTEM
        assert "ssh ended with 255; gpu2 ended with 3" in result.err


SSH = """#!/bin/sh
# A machine is a folder, on the loopback; installing whichgpu there links this one.
mkdir -p "{root}/$1" && cd "{root}/$1" && PATH="{root}:$PATH" && export PATH && eval "$2"
"""
PYTHON3 = """#!/bin/sh
mkdir -p .whichgpu/bin
printf '#!/bin/sh\\n' > .whichgpu/bin/pip
printf '#!/bin/sh\\nexec {python} -m whichgpu "$@"\\n' > .whichgpu/bin/whichgpu
chmod +x .whichgpu/bin/*
"""


@needs_vllm
class TestOnARealVllm:
    def test_two_machines_through_ssh(
        self, ask: Run, tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A real vLLM split over two \u201cmachines\u201d by its own launch, there and back again."""
        for name, text in (("ssh", SSH), ("python3", PYTHON3)):
            (tmp_path / name).write_text(text.format(root=tmp_path, python=sys.executable))
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        words = words_of(str(tiny_models / "dense"), str(Path(VLLM or "").parent.parent), tmp_path, "--json")
        result = ask(*words, "--cards", "2", "--budget", "300", "--on", "ssh:127.0.0.1,localhost", "--go")
        assert result.code == ExitCode.OK, result.err
        trial = json.loads(result.out)
        assert (trial["outcome"], trial["nodes"], trial["layout"]["tensor_parallel"]) == ("measured", 2, 2)
        memory, predicted = trial["memory"], trial["predicted"]
        assert memory["weights_bytes"] == pytest.approx(predicted["weights_bytes"], rel=0.01)
        assert memory["tokens"] == predicted["tokens"]
        assert trial["points"][0]["failed"] == 0
        assert not left_over(tmp_path)
