"""A server that a trial is pointed at may be anybody's: what it answers ends in a sentence, soon, and runs nothing."""

from __future__ import annotations

import json
import shlex
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result
from whichgpu.trial.elsewhere import Machines, elsewhere
from whichgpu.trial.errors import TrialError
from whichgpu.trial.server import Server
from whichgpu.tui.words.exit_codes import ExitCode

Ask = Callable[..., Result]

_GOOD: dict[str, Any] = {
    "/v1/models": {"data": [{"id": "m", "max_model_len": 1024}]},
    "/version": {"version": "0.32"},
    "/v1/completions": {"usage": {"completion_tokens": 8}},
    "/collective_rpc": {"results": []},
}

ANSWERS: dict[str, dict[str, Any]] = {
    "models: a list": {"/v1/models": []},
    "models: nothing": {"/v1/models": {"data": [None]}},
    "models: text": {"/v1/models": {"data": "abc"}},
    "models: escapes": {"/v1/models": {"data": [{"id": "\x1b[2J" * 50, "max_model_len": 1}]}},
    "models: a length beyond all": {"/v1/models": {"data": [{"id": "m", "max_model_len": 10**400}]}},
    "version: a list": {"/version": ["0.32"]},
    "version: escapes": {"/version": {"version": "\x1b]0;x\x07"}},
    "completion: no usage": {"/v1/completions": {"usage": None}},
    "completion: a list": {"/v1/completions": {"usage": [1]}},
    "completion: many": {"/v1/completions": {"usage": {"completion_tokens": "many"}}},
    "workers: text": {"/collective_rpc": {"results": [{"model_memory_usage": "all"}, {"total_memory": 10**400}]}},
    "metrics: numbers that are none": {"/metrics": 'vllm:cache_config_info{num_gpu_blocks="inf",block_size="nan"} 1\n'},
    "metrics: noise": {"/metrics": 'a{b="c\\' * 1000},
    "no JSON": {"/v1/models": "<html>"},
    "deep": {"/v1/models": "[" * 100_000},
}


@pytest.fixture
def hostile() -> Iterator[Callable[[dict[str, Any]], str]]:
    servers: list[ThreadingHTTPServer] = []

    def start(changes: dict[str, Any]) -> str:
        answers = _GOOD | changes

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = answers.get(self.path, "")
                body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_it_answers(
    name: str, ask: Ask, hostile: Callable[[dict[str, Any]], str], fake: Callable[[str], str], tiny: str, tmp_path: Path
) -> None:
    where = hostile(ANSWERS[name])
    words = ("--vllm-at", fake("failing"), "--folder", str(tmp_path / "runs"), "--context", "1024", "--json")
    result = ask("trial", "-m", tiny, "--cpu", "--server", where, *words)
    assert result.code != ExitCode.BUG, result.err
    assert "\x1b" not in result.out + result.err
    assert "\\u001b" not in result.out
    if result.out:
        assert json.loads(result.out)["outcome"] == "failed"


class _Dripping(socketserver.BaseRequestHandler):
    """Answers for ever, a byte at a time."""

    def handle(self) -> None:
        self.request.recv(65_536)
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        try:
            while True:
                self.request.sendall(b" ")
                time.sleep(0.02)
        except OSError:
            pass


class _Nonsense(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(65_536)
        self.request.sendall(b"\x00\xff NONSENSE\r\n" * 100)


@pytest.mark.parametrize("handler", [_Dripping, _Nonsense])
def test_a_server_that_never_ends_or_speaks_no_http(
    handler: type[socketserver.BaseRequestHandler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whichgpu.trial.server._GRACE", -14.5)  # so that this takes half a second
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            with pytest.raises(TrialError, match="does not answer"):
                Server(f"http://127.0.0.1:{server.server_address[1]}").models()
        finally:
            server.shutdown()


def test_no_name_of_a_folder_ends_what_is_written_for_elsewhere(tmp_path: Path) -> None:
    """Printed for a person to run: a model's folder may be called anything."""
    canary = tmp_path / "ran"
    folder = f"/models/x\nEOF\ntouch {shlex.quote(str(canary))}\nEOFF\n"
    plan = elsewhere("slurm", ["-m", folder], Machines(gpu="H100", cards=1), 30)
    writing = plan.text().split("\nsbatch")[0]
    subprocess.run(["bash", "-c", writing], cwd=tmp_path, check=True, capture_output=True)
    assert not canary.exists()
    assert folder in (tmp_path / "whichgpu-trial.sbatch").read_text()
