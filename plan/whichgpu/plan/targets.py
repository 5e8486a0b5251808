"""A plan as other tools take it: docker, SGLang, TensorRT-LLM, Kubernetes, SkyPilot, vLLM over several nodes.

Sources: vLLM docs (deployment/docker, serving/parallelism_scaling), SGLang docs (server_arguments), TensorRT-LLM docs
(trtllm-serve), LeaderWorkerSet v1 (its 0.6 and newer set LWS_WORKER_INDEX), SkyPilot YAML reference. How several nodes are
started: ``nodes.py``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from whichgpu.inspect.records import Inspection
from whichgpu.plan.case import Case, ServedModel
from whichgpu.plan.commands import serve_words
from whichgpu.plan.errors import TargetError
from whichgpu.plan.nodes import Machines, launch
from whichgpu.plan.records import Accelerator, KvDtype, Layout, Plan, Precision, Workload
from whichgpu.plan.runtime import GRAPHS_OFF, overestimates_graphs, rocm_image, whole_version

_PORT = 8000
_SKY_RAY_PORT = 6380
"""SkyPilot's own Ray has 6379."""
_CACHE = "/root/.cache/huggingface"


@dataclass(frozen=True, slots=True)
class Deployment:
    """What every target is made from."""

    served: ServedModel
    case: Case
    plan: Plan

    @property
    def inspection(self) -> Inspection:
        return self.served.inspection

    @property
    def workload(self) -> Workload:
        return self.case.workload

    @property
    def layout(self) -> Layout:
        return self.case.layout

    @property
    def card(self) -> Accelerator:
        return self.case.card

    @property
    def vllm(self) -> str:
        """The version that was planned for."""
        return self.served.engine.version

    @property
    def nodes(self) -> int:
        return self.card.machines(self.layout.cards)

    @property
    def per_node(self) -> int:
        return self.layout.cards // self.nodes

    @property
    def words(self) -> list[str]:
        """``vllm serve …``, without what several nodes need beside it."""
        return serve_words(self.served, self.workload, self.case.precision, self.layout)

    @property
    def environment(self) -> tuple[str, ...]:
        """Variables that the server needs, as ``NAME=VALUE``."""
        return (GRAPHS_OFF,) if overestimates_graphs(self.layout) else ()

    @property
    def line(self) -> str:
        """The server's command line with its variables."""
        return " ".join([*self.environment, shlex.join(self.words)])

    @property
    def model(self) -> str:
        return self.words[2]

    @property
    def name(self) -> str:
        """The model's name as a DNS label."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.model.rsplit("/", 1)[-1].lower()).strip("-")
        return plain[:50].strip("-") or "model"

    @property
    def image(self) -> str:
        return rocm_image(self.vllm) if self.card.vendor == "amd" else f"vllm/vllm-openai:v{whole_version(self.vllm)}"


def render(target: str, deployment: Deployment) -> str:
    """Return the text of one target: a command line, or YAML.

    Raises:
        TargetError: this plan cannot be written so.
    """
    return _TARGETS[target](deployment)


def _vllm(d: Deployment) -> str:
    command = d.line
    if d.nodes == 1:
        return command
    over = launch(command, Machines(d.nodes, "RANK", "FIRST_ADDRESS"), d.vllm)
    return (
        f"# on the first of {d.nodes} nodes, whose address the others reach:\n{over.first}\n"
        f"# at the same time on each of the others, RANK being its number from 1:\n{over.other}"
    )


def _docker(d: Deployment) -> str:
    _one_node(d, "docker")
    cards = ["--gpus", "all"]
    if d.card.vendor == "amd":
        cards = ["--device", "/dev/kfd", "--device", "/dev/dri", "--group-add", "video"]
        cards += ["--security-opt", "seccomp=unconfined"]
    mounts = f"-v ~/.cache/huggingface:{_CACHE}"
    words, model = d.words[3:], d.model
    if d.inspection.source.kind == "folder":
        mounts += f" -v {shlex.quote(model)}:/model:ro"
        model = "/model"
    run = f"docker run --rm {shlex.join(cards)} --ipc=host -p {_PORT}:{_PORT} {mounts} -e HF_TOKEN" + "".join(
        f" -e {e}" for e in d.environment
    )
    return f"{run} {d.image} --model {shlex.quote(model)} {shlex.join(words)}".rstrip()


def _sglang(d: Deployment) -> str:
    _one_node(d, "sglang")
    words = ["python3", "-m", "sglang.launch_server", "--model-path", d.model, *_revision(d)]
    for option, size in (
        ("--tp", d.layout.tensor_parallel * d.layout.data_parallel),
        ("--pp-size", d.layout.pipeline_parallel),
    ):
        words += [option, str(size)] if size > 1 else []
    if d.layout.data_parallel > 1:
        words += ["--dp", str(d.layout.data_parallel), "--enable-dp-attention"]
    words += ["--ep-size", str(d.layout.tensor_parallel * d.layout.data_parallel)] if d.layout.expert_parallel else []
    words += ["--context-length", str(d.workload.context), "--max-running-requests", str(d.workload.concurrency)]
    words += ["--quantization", "fp8"] if _online_fp8(d) else []
    words += ["--kv-cache-dtype", "fp8_e4m3"] if d.workload.kv_dtype is KvDtype.FP8 else []
    return shlex.join([*words, "--host", "0.0.0.0", "--port", str(_PORT)])


def _trtllm(d: Deployment) -> str:
    _one_node(d, "trtllm")
    if d.card.vendor != "nvidia":
        raise TargetError("TensorRT-LLM needs NVIDIA cards.", "Name one with --gpu.")
    if _online_fp8(d):
        raise TargetError("TensorRT-LLM quantises no checkpoint while loading.", "Name one that is published in FP8.")
    words = ["trtllm-serve", d.model]
    tensor = d.layout.tensor_parallel * d.layout.data_parallel
    for option, size in (("--tp_size", tensor), ("--pp_size", d.layout.pipeline_parallel)):
        words += [option, str(size)] if size > 1 else []
    words += ["--ep_size", str(tensor)] if d.layout.expert_parallel else []
    words += ["--max_seq_len", str(d.workload.context), "--max_batch_size", str(d.workload.concurrency)]
    return shlex.join([*words, "--host", "0.0.0.0", "--port", str(_PORT)])


def _revision(d: Deployment) -> list[str]:
    source = d.inspection.source
    return ["--revision", source.revision] if source.revision and source.kind == "hub" else []


def _online_fp8(d: Deployment) -> bool:
    return d.case.precision is Precision.FP8 and d.inspection.quantisation is None


def _one_node(d: Deployment, target: str) -> None:
    if d.nodes > 1:
        raise TargetError(
            f"The plan spans {d.nodes} nodes, which {target} is not written for.", "Take vllm, k8s or sky."
        )


def _container(d: Deployment, command: list[str]) -> dict[str, Any]:
    resource = d.card.generation.kubernetes_resource
    return {
        "name": "vllm",
        "image": d.image,
        "command": command,
        "env": [
            {
                "name": "HF_TOKEN",
                "valueFrom": {"secretKeyRef": {"name": "hf-token", "key": "token", "optional": True}},
            },
            *({"name": k, "value": v} for k, _, v in (e.partition("=") for e in d.environment)),
            *([_OWN_ADDRESS] if d.nodes > 1 else []),
        ],
        "resources": {"limits": {resource: d.per_node}},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}, {"name": "cache", "mountPath": _CACHE}],
    }


_OWN_ADDRESS = {"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
"""Pods reach each other by it; vLLM would guess."""


def _pod(container: dict[str, Any]) -> dict[str, Any]:
    return {
        "containers": [container],
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}, {"name": "cache", "emptyDir": {}}],
    }


_READY = {
    "ports": [{"containerPort": _PORT}],
    "startupProbe": {"httpGet": {"path": "/health", "port": _PORT}, "periodSeconds": 10, "failureThreshold": 360},
    "readinessProbe": {"httpGet": {"path": "/health", "port": _PORT}, "periodSeconds": 5},
}


def _kubernetes(d: Deployment) -> str:
    if d.inspection.source.kind == "folder":
        raise TargetError("A folder of this machine is not on the cluster.", "Name a repository of the Hub.")
    labels = {"app": d.name}
    leader = {"leaderworkerset.sigs.k8s.io/name": d.name, "leaderworkerset.sigs.k8s.io/worker-index": "0"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": d.name},
        "spec": {"selector": labels if d.nodes == 1 else leader, "ports": [{"port": _PORT, "targetPort": _PORT}]},
    }
    return as_yaml(_deployment(d, labels) if d.nodes == 1 else _leader_worker_set(d), service)


def _deployment(d: Deployment, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": d.name, "labels": labels},
        "spec": {
            "replicas": d.plan.replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": _pod({**_container(d, d.words), **_READY}),
            },
        },
    }


def _leader_worker_set(d: Deployment) -> dict[str, Any]:
    over = launch(f"exec env {d.line}", Machines(d.nodes, "$LWS_WORKER_INDEX", "$LWS_LEADER_ADDRESS"), d.vllm)
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": d.name},
        "spec": {
            "replicas": d.plan.replicas,
            "leaderWorkerTemplate": {
                "size": d.nodes,
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": {"spec": _pod({**_container(d, ["sh", "-c", over.first]), **_READY})},
                "workerTemplate": {"spec": _pod(_container(d, ["sh", "-c", over.other]))},
            },
        },
    }


def skypilot_name(card: Accelerator) -> str:
    """What SkyPilot calls a card; most of its names are the keys, written large."""
    return card.names.get("skypilot", card.key.upper().replace("_", "-"))


def _sky(d: Deployment) -> str:
    if d.inspection.source.kind == "folder":
        raise TargetError("A folder of this machine is not in the cloud.", "Name a repository of the Hub.")
    name = skypilot_name(d.card)
    run = d.line
    if d.nodes > 1:
        over = launch(d.line, Machines(d.nodes, '"$SKYPILOT_NODE_RANK"', '"$FIRST"'), d.vllm, port=_SKY_RAY_PORT)
        run = f'if [ "$SKYPILOT_NODE_RANK" = 0 ]; then\n  {over.first}\nelse\n  {over.other}\nfi'
        run = f'FIRST=$(echo "$SKYPILOT_NODE_IPS" | head -n1)\n{run}'
    resources: dict[str, Any] = {"accelerators": f"{name}:{d.per_node}", "ports": _PORT, "disk_size": _disk(d)}
    if d.workload.price_kind == "spot":
        resources["use_spot"] = True
    task: dict[str, Any] = {"name": d.name, "resources": resources}
    if d.nodes > 1:
        task["num_nodes"] = d.nodes
    task["secrets"] = {"HF_TOKEN": None}
    version = f"vllm~={d.vllm}" if d.vllm.count(".") > 1 else f"vllm=={d.vllm}.*"
    if d.card.vendor == "amd":  # PyPI's wheel is CUDA's
        resources["image_id"] = f"docker:{d.image}"
    else:
        task["setup"] = f"pip install '{version}'"
    task["run"] = run
    return as_yaml(task)


def _disk(d: Deployment) -> int:
    """GB for the checkpoint and the image: the weights of all cards, and 150 GB."""
    footprint = d.plan.footprint
    weights = footprint.weights * d.layout.cards if footprint else 0
    return max(256, 150 + round(weights * 1.2 / 1e9))


def as_yaml(*documents: dict[str, Any]) -> str:
    """Return documents as people write them: keys in order, text of several lines as it stands."""
    import yaml

    class Plain(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
        """No aliases, and text of several lines as it stands."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Plain.add_representer(str, text)
    yaml_documents = (yaml.dump(d, Dumper=Plain, sort_keys=False, width=1000) for d in documents)
    return "---\n".join(yaml_documents).rstrip()


_TARGETS: dict[str, Callable[[Deployment], str]] = {
    "vllm": _vllm,
    "docker": _docker,
    "sglang": _sglang,
    "trtllm": _trtllm,
    "k8s": _kubernetes,
    "sky": _sky,
}
