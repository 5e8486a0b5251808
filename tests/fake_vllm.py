"""A stand-in for the ``vllm`` command, for what a real one is too slow to show: it starts an engine, ignores SIGTERM while it
starts, ends on SIGINT, serves the few paths that a trial asks for, and writes a benchmark's result.

Behaviour by FAKE_VLLM: ``ok``, ``hang`` (never ready), ``die`` (ends with FAKE_LOG), ``broken`` (healthy, but completions fail
and the engine's death is in the log), ``failing`` (requests fail), ``stubborn`` (ignores SIGINT too), ``slow-bench``, ``chatty`` (writes
more than a small disk holds).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOW = os.environ.get("FAKE_VLLM", "ok")
SERVED = "served"

METRICS = """# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",kv_cache_memory_bytes="268435456",kv_cache_size_tokens="65536",num_gpu_blocks="4096",kv_cache_max_concurrency="8.0"} 1.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0"} 0.25
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0"} 3.0
# TYPE vllm:num_preemptions counter
vllm:num_preemptions_total{engine="0"} 2.0
"""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        bodies = {
            "/health": "",
            "/version": json.dumps({"version": "9.9.9"}),
            "/v1/models": json.dumps({"data": [{"id": SERVED, "max_model_len": 4096}]}),
            "/metrics": METRICS,
        }
        self.answer(200 if self.path in bodies else 404, bodies.get(self.path, ""))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/collective_rpc":
            facts = {
                "model_memory_usage": 3 * 2**30,
                "available_kv_cache_memory_bytes": 2**28,
                "peak_activation_memory": 2**20,
            }
            self.answer(200, json.dumps({"results": [facts]}))
        elif HOW == "broken":
            print(
                "(EngineCore pid=7) ERROR 11-22 11:00:00 [core.py:1] AttributeError: '_OpNamespace' '_C' object has no attribute 'selective_scan_fwd'",
                flush=True,
            )
            self.answer(500, "EngineCore encountered an issue.")
        else:
            self.answer(200, json.dumps({"usage": {"completion_tokens": 8}}))

    def answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


def rendezvous(arguments: list[str]) -> socket.socket | None:
    """What number 0 of several machines opens for the others; as the real one, it goes on when one of them came."""
    if "--nnodes" not in arguments:
        return None
    opened = socket.create_server(("127.0.0.1", int(arguments[arguments.index("--master-port") + 1])))
    opened.accept()
    return opened


def headless(arguments: list[str]) -> None:
    """One of the others: it stays when number 0 leaves, as the real one does."""
    print("INFO Launching vLLM headless multiproc executor", *arguments, flush=True)
    if HOW == "die":
        print(os.environ.get("FAKE_LOG", ""), flush=True)
        sys.exit(1)
    time.sleep(600)


def serve(arguments: list[str]) -> None:
    if "--headless" in arguments:
        headless(arguments)
    opened = rendezvous(arguments)
    global SERVED
    SERVED = arguments[arguments.index("--served-model-name") + 1]
    port = int(arguments[arguments.index("--port") + 1])
    print("INFO vLLM API server version 9.9.9", flush=True)
    engine = subprocess.Popen(
        [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]
    )
    Path("engine.pid").write_text(str(engine.pid))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if HOW == "stubborn":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if HOW == "die":
        engine.kill()
        print(os.environ.get("FAKE_LOG", ""), flush=True)
        sys.exit(1)
    if HOW == "chatty":
        for _ in range(10_000):
            print("INFO", "words " * 100, flush=True)
    if HOW == "hang":
        print("INFO Starting to load model served...", flush=True)
        time.sleep(600)
    print("INFO Model loading took 3.0 GiB memory and 1.5 seconds", flush=True)
    try:
        ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever(0.05)
    except KeyboardInterrupt:
        engine.kill()
        engine.wait()
    if opened is not None:
        opened.close()


def bench(arguments: list[str]) -> None:
    def value(name: str) -> str:
        return arguments[arguments.index(name) + 1]

    if HOW == "slow-bench":
        time.sleep(600)
    concurrency, count = int(value("--max-concurrency")), int(value("--num-prompts"))
    output = int(value("--random-output-len"))
    times = {
        f"{kind}_{name}_ms": 0.0 if HOW == "failing" else 10.0 * n
        for n, name in enumerate(("ttft", "tpot", "itl", "e2el"), 1)
        for kind in ("mean", "p50", "p90", "p99")
    }
    result = {
        "duration": 2.0,
        "completed": 0 if HOW == "failing" else count,
        "failed": count if HOW == "failing" else 0,
        "output_throughput": 50.0 * concurrency,
        "total_token_throughput": 100.0 * concurrency,
        "total_output_tokens": count * output,
        **times,
    }
    Path(value("--result-dir"), value("--result-filename")).write_text(json.dumps(result))


if __name__ == "__main__":
    {"serve": serve, "bench": bench}[sys.argv[1]](sys.argv[2:])
