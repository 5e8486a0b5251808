"""A plan written for other tools: parsed by their own parsers where they can be had, by YAML and shell rules elsewhere."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable

import pytest
import yaml

from tests.conftest import Result
from whichgpu.plan.choices import TARGETS
from whichgpu.tui.words.exit_codes import ExitCode

Ask = Callable[..., Result]
VLLM = os.environ.get("WHICHGPU_VLLM_PYTHON")
MODELS = {
    "one card": ("Qwen/Qwen3-8B", "h100"),
    "one node": ("Qwen/Qwen3-32B", "h100"),
    "two nodes": ("deepseek-ai/DeepSeek-V3", "h100"),
    "amd": ("deepseek-ai/DeepSeek-V3", "mi300x"),
}
_PARSE = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
for line in sys.stdin:
    print(make_arg_parser(FlexibleArgumentParser()).parse_args(json.loads(line)).model_tag)
"""


def written(ask: Ask, case: str, target: str, *more: str) -> str:
    name, card = MODELS[case]
    result = ask("command", "--model", name, "--gpu", card, "--offline", "--target", target, *more)
    assert result.code == ExitCode.OK, result.err
    return result.out


def one(ask: Ask, case: str, target: str, *more: str) -> list[str]:
    line = written(ask, case, target, *more).strip()
    assert "\n" not in line
    return shlex.split(line)


def test_vllm_is_one_line_that_pastes(ask: Ask) -> None:
    assert one(ask, "one node", "vllm") == (
        ["vllm", "serve", "Qwen/Qwen3-32B", "--tensor-parallel-size", "2", "--max-model-len", "8192"]
    )


def over_nodes(ask: Ask, *more: str) -> list[str]:
    """The commands on the first of two nodes, and on the second."""
    lines = written(ask, "two nodes", "vllm", *more).splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_several_nodes_start_by_vllm_s_own_launch(ask: Ask) -> None:
    first, other = over_nodes(ask)
    assert first.endswith("--nnodes 2 --node-rank 0 --master-addr FIRST_ADDRESS")
    assert other.endswith("--nnodes 2 --node-rank RANK --master-addr FIRST_ADDRESS --headless")
    assert first.split(" --nnodes")[0] == other.split(" --nnodes")[0]
    assert "--pipeline-parallel-size 2" in first


def test_a_vllm_without_that_joins_a_ray_cluster(ask: Ask) -> None:
    first, other = over_nodes(ask, "--vllm", "0.11")
    assert "ray start --head --port=6379 && vllm serve" in first
    assert first.endswith("--distributed-executor-backend ray")
    assert other.endswith("ray start --block --address=FIRST_ADDRESS:6379")
    assert over_nodes(ask, "--vllm", "0.12")[0].endswith("--master-addr FIRST_ADDRESS")


def test_docker_has_the_vendor_s_devices(ask: Ask) -> None:
    nvidia, amd = one(ask, "one node", "docker"), one(ask, "amd", "docker")
    assert nvidia[nvidia.index("--gpus") :][:2] == ["--gpus", "all"]
    assert "vllm/vllm-openai:v0.33.0" in nvidia
    assert "/dev/kfd" in amd
    assert "vllm/vllm-openai-rocm:v0.33.0" in amd
    assert "--ipc=host" in nvidia


def test_other_engines_get_the_same_layout(ask: Ask) -> None:
    sglang = one(ask, "one node", "sglang", "--kv-dtype", "fp8")
    assert sglang[sglang.index("--tp") :][:2] == ["--tp", "2"]
    assert "fp8_e4m3" in sglang
    trtllm = one(ask, "one node", "trtllm")
    assert trtllm[:2] == ["trtllm-serve", "Qwen/Qwen3-32B"]
    assert trtllm[trtllm.index("--tp_size") :][:2] == ["--tp_size", "2"]


def test_kubernetes_is_a_deployment_on_one_node(ask: Ask) -> None:
    deployment, service = yaml.safe_load_all(written(ask, "one node", "k8s"))
    pod = deployment["spec"]["template"]["spec"]
    assert deployment["kind"] == "Deployment"
    assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 2}
    assert pod["containers"][0]["command"][:3] == ["vllm", "serve", "Qwen/Qwen3-32B"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    assert {m["name"] for m in pod["containers"][0]["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


def test_kubernetes_is_a_leader_worker_set_on_several(ask: Ask) -> None:
    group, service = yaml.safe_load_all(written(ask, "two nodes", "k8s"))
    template = group["spec"]["leaderWorkerTemplate"]
    assert group["kind"] == "LeaderWorkerSet"
    assert template["size"] == 2
    leader, worker = (template[k]["spec"]["containers"][0] for k in ("leaderTemplate", "workerTemplate"))
    assert leader["command"][2].endswith("--nnodes 2 --node-rank 0 --master-addr $LWS_LEADER_ADDRESS")
    assert worker["command"][2].endswith("--node-rank $LWS_WORKER_INDEX --master-addr $LWS_LEADER_ADDRESS --headless")
    assert all("VLLM_HOST_IP" in [e["name"] for e in c["env"]] for c in (leader, worker))
    assert leader["resources"] == worker["resources"] == {"limits": {"nvidia.com/gpu": 8}}
    assert service["spec"]["ports"][0]["port"] == 8000


def test_skypilot_asks_for_the_cards_and_spot(ask: Ask) -> None:
    task = yaml.safe_load(written(ask, "one node", "sky", "--spot"))
    assert task["resources"]["accelerators"] == "H100:2"
    assert task["resources"]["use_spot"] is True
    many = yaml.safe_load(written(ask, "two nodes", "sky"))
    assert many["num_nodes"] == 2
    assert many["resources"]["disk_size"] > 700  # the checkpoint is 689 GB
    assert '--node-rank "$SKYPILOT_NODE_RANK" --master-addr "$FIRST" --headless' in many["run"]


def test_replicas_go_into_the_files(ask: Ask) -> None:
    deployment, _ = yaml.safe_load_all(written(ask, "one node", "k8s", "--rate", "5"))
    assert deployment["spec"]["replicas"] > 1


@pytest.mark.parametrize("target", TARGETS)
def test_no_target_names_a_dtype_that_does_not_exist(ask: Ask, target: str) -> None:
    assert "--dtype fp8" not in written(
        ask, "one node", target, *(() if target == "trtllm" else ("--precision", "fp8"))
    )


@pytest.mark.parametrize(
    ("case", "target", "more"),
    [("two nodes", "docker", ()), ("amd", "trtllm", ()), ("one node", "trtllm", ("--precision", "fp8"))],
)
def test_what_cannot_be_written_is_one_sentence(ask: Ask, case: str, target: str, more: tuple[str, ...]) -> None:
    name, card = MODELS[case]
    result = ask("command", "--model", name, "--gpu", card, "--offline", "--target", target, *more)
    assert result.code == ExitCode.USAGE
    assert result.out == ""
    assert result.err.count("whichgpu: error:") == 1


def test_nothing_fits_is_said_and_no_command_is_printed(ask: Ask) -> None:
    result = ask("command", "--model", "deepseek-ai/DeepSeek-V3", "--gpu", "t4", "--offline")
    assert result.code == ExitCode.NOTHING_FITS
    assert result.out == ""


def test_a_model_is_needed(ask: Ask) -> None:
    assert ask("command").code == ExitCode.USAGE


@pytest.mark.skipif(VLLM is None, reason="needs vLLM (see CONTRIBUTING.md)")
def test_vllm_says_its_parser_takes_every_command(ask: Ask) -> None:
    lines = [
        json.dumps(shlex.split(line.replace(" RANK ", " 1 "))[2:])
        for case in MODELS
        for more in (
            (),
            ("--precision", "fp8"),
            ("--kv-dtype", "fp8", "--max-num-seqs", "64", "--enforce-eager", "--gpu-memory-utilization", "0.9"),
            ("--max-num-batched-tokens", "4096", "--text-only"),
        )
        if not (more == ("--precision", "fp8") and "DeepSeek" in MODELS[case][0])
        for line in written(ask, case, "vllm", *more).splitlines()
        if not line.startswith("#")
    ]
    assert VLLM is not None
    done = subprocess.run(
        [VLLM, "-c", _PARSE],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [json.loads(line)[0] for line in lines]
