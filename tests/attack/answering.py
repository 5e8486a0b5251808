"""A server on loopback that answers what it is told to, whatever that is: one for the whole process."""

from __future__ import annotations

import json
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_answers: dict[str, Any] = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        key = max((k for k in _answers if k and path.startswith(k)), key=len, default=None)
        answer = _answers.get(key, "") if key is not None else ""
        body = (answer if isinstance(answer, str) else json.dumps(answer)).encode(errors="surrogatepass")
        self.send_response(200 if key is not None else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@cache
def _address() -> str:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def answering(data: bytes) -> str:
    """Answer from now on by these bodies: a JSON object of text or JSON by the start of a path. Returns the address."""
    _answers.clear()
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = {}
    if isinstance(content, dict):
        _answers.update(content)
    return _address()
